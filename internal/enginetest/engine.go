package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"logscan/internal/enginetest/private"
)

// Image is the name of the image in every Engine: busybox and loggen.
const Image = "box"

// commandTime bounds a docker command, so that a hang shows up as a failure of
// the test that met it.
const commandTime = 3 * time.Minute

// Options describe an Engine.
type Options struct {
	LiveRestore bool           // containers outlive dockerd
	LogDriver   string         // the default driver, in daemon.json
	Daemon      map[string]any // anything else for daemon.json
	BinDir      string         // see private.Options
}

// Engine is a private Docker Engine that ends with its test.
type Engine struct {
	*private.Engine
	t    testing.TB
	env  []string
	last *atomic.Int64 // numbers containers
}

// Main is TestMain's body in packages whose tests use an Engine.
func Main(m *testing.M) {
	private.Main()
	os.Exit(m.Run())
}

// Start starts an Engine with the image in it.
func Start(t testing.TB, o Options) *Engine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("an Engine needs root: run the tests as root")
	}
	daemon := map[string]any{}
	for k, v := range o.Daemon {
		daemon[k] = v
	}
	if o.LiveRestore {
		daemon["live-restore"] = true
	}
	if o.LogDriver != "" {
		daemon["log-driver"] = o.LogDriver
	}
	p, err := private.Start(private.Options{Daemon: daemon, BinDir: o.BinDir})
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{Engine: p, t: t, last: new(atomic.Int64)}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of dockerd's log:\n%s", e.LogTail(40))
		}
		if err := p.Close(); err != nil {
			t.Errorf("ending the Engine: %v", err)
		}
	})
	config := filepath.Join(p.Dir, "config")
	if err := os.Mkdir(config, 0o700); err != nil {
		t.Fatal(err)
	}
	e.env = append(os.Environ(), "DOCKER_HOST="+p.Host(), "DOCKER_CONFIG="+config, "DOCKER_CONTEXT=")
	image, err := testImage()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.docker(image, "import", "-", Image); err != nil {
		t.Fatal(err)
	}
	return e
}

// With returns the Engine as a subtest uses it: what fails, fails that one.
func (e *Engine) With(t testing.TB) *Engine {
	sub := *e
	sub.t = t
	return &sub
}

// Docker runs the docker command and returns what it prints on standard
// output, without the last newline.
func (e *Engine) Docker(args ...string) string {
	e.t.Helper()
	out, err := e.TryDocker(args...)
	if err != nil {
		e.t.Fatal(err)
	}
	return out
}

// TryDocker is Docker for commands that may fail. The error has what the
// command said.
func (e *Engine) TryDocker(args ...string) (string, error) { return e.docker(nil, args...) }

func (e *Engine) docker(stdin []byte, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	cmd := e.Command(ctx, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	out := strings.TrimSuffix(stdout.String(), "\n")
	if ctx.Err() != nil {
		err = fmt.Errorf("no end within %s", commandTime)
	}
	if err != nil {
		return out, fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// Command returns a docker command for this Engine, not started.
func (e *Engine) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = e.env
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Env is the environment in which docker, and what calls it, uses this Engine.
func (e *Engine) Env() []string { return slices.Clone(e.env) }

// Logs returns what `docker logs FLAGS name` prints on its two streams.
func (e *Engine) Logs(name string, flags ...string) (stdout, stderr []byte) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	cmd := e.Command(ctx, append(append([]string{"logs"}, flags...), name)...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		e.t.Fatalf("docker logs %s %s: %v: %.500s", strings.Join(flags, " "), name, errors.Join(err, ctx.Err()), errOut.Bytes())
	}
	return out.Bytes(), errOut.Bytes()
}

// Run starts a container in the background and returns its name, made unique.
// The flags are those of `docker run`.
func (e *Engine) Run(flags []string, command ...string) string {
	e.t.Helper()
	name := fmt.Sprintf("box-%d", e.last.Add(1))
	args := append([]string{"run", "-d", "--name", name, "--network", "none"}, flags...)
	e.Docker(append(append(args, Image), command...)...)
	return name
}

// Wait waits until a container has ended and returns its exit code.
func (e *Engine) Wait(name string) string {
	e.t.Helper()
	return e.Docker("wait", name)
}

// ContainerID returns a container's full id.
func (e *Engine) ContainerID(name string) string {
	e.t.Helper()
	return e.Docker("inspect", "--type", "container", "-f", "{{.Id}}", name)
}

// Stop stops dockerd in the ordinary way, Kill kills it, Resume starts it
// again and Restart is Stop and Resume.
func (e *Engine) Stop() {
	e.t.Helper()
	e.must(e.StopDockerd())
}

func (e *Engine) Kill() {
	e.t.Helper()
	e.must(e.KillDockerd())
}

func (e *Engine) Resume() {
	e.t.Helper()
	e.must(e.StartDockerd())
}

func (e *Engine) Restart() {
	e.t.Helper()
	e.Stop()
	e.Resume()
}

func (e *Engine) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatalf("%v\n%s", err, e.LogTail(20))
	}
}

// Eventually waits until ok, and fails the test when that takes too long.
func (e *Engine) Eventually(within time.Duration, what string, ok func() bool) {
	e.t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			e.t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// testImage builds loggen and the image, once in a process.
var testImage = sync.OnceValues(func() ([]byte, error) {
	dir, err := buildDir()
	if err != nil {
		return nil, err
	}
	loggen := filepath.Join(dir, "loggen")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", loggen, "logscan/internal/enginetest/loggen")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building loggen: %w: %s", err, out)
	}
	return private.Image(map[string]string{"loggen": loggen})
})

// buildDir is where things are built once in a process. It ends with it.
var buildDir = sync.OnceValues(private.TempDir)
