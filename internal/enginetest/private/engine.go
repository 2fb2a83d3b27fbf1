package private

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	startTime = 60 * time.Second // an Engine takes about 1 s
	stopTime  = 60 * time.Second // dockerd gives its containers 10 s each, side by side
)

// BinDirEnv names a directory whose dockerd, containerd, shim and runc are used
// before those in PATH.
const BinDirEnv = "LOGSCAN_ENGINE_BIN"

// Options describe an Engine.
type Options struct {
	// Daemon is added to daemon.json.
	Daemon map[string]any
	// BinDir is used before PATH to find dockerd and the programs it needs.
	// Empty: the directory that LOGSCAN_ENGINE_BIN names, if any.
	BinDir string
}

// Engine is a private Docker Engine. Its methods are for one goroutine.
type Engine struct {
	Dir string // everything of it is here

	k          *keeper
	opts       Options
	containerd *Process
	dockerd    *Process // nil while it is stopped
}

// Start returns an Engine that answers. Close it.
func Start(opts Options) (*Engine, error) {
	if opts.BinDir == "" {
		opts.BinDir = os.Getenv(BinDirEnv)
	}
	opts.Daemon = maps.Clone(opts.Daemon)
	if opts.Daemon == nil {
		opts.Daemon = make(map[string]any)
	}
	dir, k, err := keptDir()
	if err != nil {
		return nil, err
	}
	e := &Engine{Dir: dir, k: k, opts: opts}
	if err := e.start(); err != nil {
		err = fmt.Errorf("%w\n%s", err, e.LogTail(20))
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// TempDir returns a directory that is removed when this process ends, however
// it ends.
func TempDir() (string, error) {
	dir, _, err := keptDir()
	return dir, err
}

// keptDir returns a new directory and its keeper.
func keptDir() (string, *keeper, error) {
	// A short name: unix socket paths are bounded at 107 bytes.
	dir, err := os.MkdirTemp("", "engine-")
	if err != nil {
		return "", nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", nil, err
	}
	k, err := startKeeper(dir)
	if err != nil {
		os.RemoveAll(dir)
		return "", nil, err
	}
	return dir, k, nil
}

// KillEverything kills, with SIGKILL, every process of the Engine, containers
// and plugins included, as a power cut would but for what the kernel keeps.
// StartAgain starts it again.
func (e *Engine) KillEverything() error {
	deadline := time.Now().Add(stopTime)
	for pids := Descendants(e.KeeperPID()); len(pids) > 0; pids = Descendants(e.KeeperPID()) {
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v don't end", pids)
		}
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(5 * time.Millisecond) // the keeper reaps them meanwhile
	}
	e.dockerd, e.containerd = nil, nil
	os.Remove(filepath.Join(e.Dir, "docker.pid"))
	return nil
}

// StartAgain starts an Engine after KillEverything.
func (e *Engine) StartAgain() error { return e.start() }

func (e *Engine) start() error {
	config := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = %q
`, filepath.Join(e.Dir, "containerd"), filepath.Join(e.Dir, "containerd-state"), containerdSocket(e.Dir))
	file := filepath.Join(e.Dir, "containerd.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	var err error
	// Our own containerd, so that dockerd neither joins the machine's nor takes
	// it down when it is killed.
	if e.containerd, err = e.Run(e.program("containerd"), "--config", file); err != nil {
		return err
	}
	err = e.waitFor(e.containerd, "containerd", func() error {
		c, err := net.Dial("unix", containerdSocket(e.Dir))
		if err == nil {
			c.Close()
		}
		return err
	})
	if err != nil {
		return err
	}
	return e.StartDockerd()
}

// Run starts a program that ends with the Engine; what it prints goes to a
// file named like it in the Engine's directory.
func (e *Engine) Run(argv ...string) (*Process, error) {
	var env []string
	if e.opts.BinDir != "" {
		env = append(env, "PATH="+e.opts.BinDir+":"+os.Getenv("PATH"))
	}
	return e.k.start(request{Argv: argv, Env: env, Log: filepath.Join(e.Dir, filepath.Base(argv[0])+".log")})
}

// StartDockerd starts a stopped dockerd and waits until it answers.
func (e *Engine) StartDockerd() error {
	config, err := json.Marshal(e.opts.Daemon)
	if err != nil {
		return err
	}
	file := filepath.Join(e.Dir, "daemon.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return err
	}
	e.dockerd, err = e.Run(e.program("dockerd"),
		"--config-file", file,
		"--data-root", filepath.Join(e.Dir, "data"),
		"--exec-root", filepath.Join(e.Dir, "exec"),
		"--pidfile", filepath.Join(e.Dir, "docker.pid"),
		"--containerd", containerdSocket(e.Dir),
		"--host", e.Host(),
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
	)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", e.Socket())
		},
	}}
	return e.waitFor(e.dockerd, "dockerd", func() error {
		res, err := client.Get("http://engine/_ping")
		if err != nil {
			return err
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("ping: %s", res.Status)
		}
		return nil
	})
}

func (e *Engine) waitFor(p *Process, name string, ready func() error) error {
	deadline := time.Now().Add(startTime)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.Done():
			return fmt.Errorf("%s ended at its start: %s", name, p.Status())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s did not answer within %s: %w", name, startTime, err)
		}
	}
}

// StopDockerd stops dockerd as an administrator would.
func (e *Engine) StopDockerd() error { return e.stopDockerd(syscall.SIGTERM) }

// KillDockerd kills dockerd with SIGKILL.
func (e *Engine) KillDockerd() error {
	err := e.stopDockerd(syscall.SIGKILL)
	// It could not take these away itself, and refuses to start beside them.
	os.Remove(filepath.Join(e.Dir, "docker.pid"))
	return err
}

func (e *Engine) stopDockerd(sig syscall.Signal) error {
	if e.dockerd == nil {
		return errors.New("dockerd is not running")
	}
	p := e.dockerd
	e.dockerd = nil
	return p.Stop(sig, stopTime)
}

// Configure changes daemon.json; it counts from dockerd's next start.
func (e *Engine) Configure(key string, value any) { e.opts.Daemon[key] = value }

// Close ends the Engine with all of its containers and plugins, at once, and
// removes every trace of it; an error says what could not be removed.
func (e *Engine) Close() error { return e.k.close() }

// Socket is the path of the Engine's unix socket, and Host what DOCKER_HOST
// has to be.
func (e *Engine) Socket() string { return filepath.Join(e.Dir, "docker.sock") }
func (e *Engine) Host() string   { return "unix://" + e.Socket() }

// DockerdPID returns dockerd's process id, 0 while it is stopped.
func (e *Engine) DockerdPID() int {
	if e.dockerd == nil {
		return 0
	}
	return e.dockerd.PID
}

// KeeperPID returns the process that all of the Engine's descend from.
func (e *Engine) KeeperPID() int { return e.k.cmd.Process.Pid }

// Log returns what dockerd has printed, plugins' output included.
func (e *Engine) Log() []byte {
	b, _ := os.ReadFile(filepath.Join(e.Dir, "dockerd.log"))
	return b
}

// LogTail returns the last lines of dockerd's log, but for those that it writes
// about its library and each container.
func (e *Engine) LogTail(n int) string {
	var lines []string
	for line := range strings.Lines(string(e.Log())) {
		if !strings.Contains(line, " module=grpc") && !strings.Contains(line, `msg="ignoring event"`) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "")
}

func (e *Engine) program(name string) string {
	if e.opts.BinDir != "" {
		if p := filepath.Join(e.opts.BinDir, name); isFile(p) {
			return p
		}
	}
	return name
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

func containerdSocket(dir string) string { return filepath.Join(dir, "containerd.sock") }
