package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest/gate"
	"logscan/internal/enginetest/private"
	"logscan/internal/rule"
	"logscan/internal/store"
)

const (
	image       = "box"
	logscan     = "logscan"
	jsonPlugin  = "jsonplugin"
	copyPlugin  = "copyplugin"
	commandTime = 10 * time.Minute
	patience    = 2 * time.Minute // for what takes seconds, on a busy machine
)

// engine is a private Engine with what is measured in it.
type engine struct {
	*private.Engine
	b    *bench
	env  []string
	last int // numbers containers
}

// buildTools builds the programs that are measured or measured with.
func buildTools() (string, error) {
	dir, err := private.TempDir()
	if err != nil {
		return "", err
	}
	for name, pkg := range map[string]string{"loggen": "logscan/internal/enginetest/loggen", jsonPlugin: "logscan/internal/bench/jsonplugin", copyPlugin: "logscan/internal/bench/copyplugin"} {
		cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, name), pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("building %s: %w: %s", name, err, out)
		}
	}
	return dir, nil
}

// start starts an Engine with the image in it.
func (b *bench) start() (*engine, error) {
	p, err := private.Start(private.Options{})
	if err != nil {
		return nil, err
	}
	e := &engine{Engine: p, b: b}
	e.env = append(os.Environ(), "DOCKER_HOST="+p.Host(), "DOCKER_CONFIG="+filepath.Join(p.Dir, "config"), "DOCKER_CONTEXT=")
	fs, err := private.Image(map[string]string{"loggen": filepath.Join(b.tools, "loggen")})
	if err == nil {
		_, err = e.dockerIn(fs, "import", "-", image)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return e, nil
}

func (e *engine) docker(args ...string) (string, error) { return e.dockerIn(nil, args...) }

func (e *engine) dockerIn(stdin []byte, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	cmd := e.command(ctx, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

func (e *engine) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = e.env
	return cmd
}

// installLogscan installs the plugin with the given rules and settings
// (NAME=value), and waits until it has them.
func (e *engine) installLogscan(rules []rule.Rule, settings ...string) error {
	if _, err := e.docker("plugin", "create", logscan, e.b.plugin); err != nil {
		return err
	}
	if len(settings) > 0 {
		if _, err := e.docker(append([]string{"plugin", "set", logscan}, settings...)...); err != nil {
			return err
		}
	}
	if err := e.enable(logscan); err != nil {
		return err
	}
	return e.setRules(rules)
}

func (e *engine) enable(name string) error {
	_, err := e.docker("plugin", "enable", "--timeout", "0", name)
	return err
}

// setRules replaces all rules. They go into the database while the plugin is
// off: through the API, each would have all of them compiled again.
func (e *engine) setRules(rules []rule.Rule) error {
	id, err := e.pluginID(logscan)
	if err != nil {
		return err
	}
	if err := e.await("the plugin to answer", func() bool { _, err := e.stats(id); return err == nil }); err != nil {
		return err
	}
	if _, err := e.docker("plugin", "disable", "-f", logscan); err != nil {
		return err
	}
	if err := storeRules(e.database(id), rules); err != nil {
		return err
	}
	if err := e.enable(logscan); err != nil {
		return err
	}
	return e.await("the rules", func() bool {
		st, err := e.stats(id)
		return err == nil && st.Scan.Rules == len(rules)
	})
}

// database is where logscan keeps its rules and events.
func (e *engine) database(pluginID string) string {
	return filepath.Join(e.Dir, "data/plugins", pluginID, "propagated-mount/.logscan/logscan.db")
}

func storeRules(path string, rules []rule.Rule) error {
	ctx := context.Background()
	db, err := store.Open(path, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	old, err := db.Rules(ctx)
	if err != nil {
		return err
	}
	for _, r := range old {
		if err := db.DeleteRule(ctx, r.ID); err != nil {
			return err
		}
	}
	for _, r := range rules {
		if _, err := db.CreateRule(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// installPeer installs a plugin to measure against.
func (e *engine) installPeer(name, description string) error {
	dir := filepath.Join(e.Dir, name)
	root := filepath.Join(dir, "rootfs")
	for _, d := range []string{"run/docker/plugins", "logs"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	b, err := os.ReadFile(filepath.Join(e.b.tools, name))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, name), b, 0o755); err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"description": description,
		"entrypoint":  []string{"/" + name},
		"interface":   map[string]any{"types": []string{"docker.logdriver/1.0"}, "socket": name + ".sock"},
		"network":     map[string]any{"type": "none"},
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o644); err != nil {
		return err
	}
	if _, err := e.docker("plugin", "create", name, dir); err != nil {
		return err
	}
	return e.enable(name)
}

func (e *engine) pluginID(name string) (string, error) {
	return e.docker("plugin", "inspect", "-f", "{{.Id}}", name)
}

// stats asks logscan's control socket.
func (e *engine) stats(id string) (api.Stats, error) {
	c := api.Dial(controlSocket(id))
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return c.Stats(ctx)
}

func controlSocket(id string) string {
	return filepath.Join("/run/docker/plugins", id, "logscan-api.sock")
}

func (e *engine) await(what string, ok func() bool) error {
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %v for %s\n%s", patience, what, e.LogTail(20))
		}
	}
	return nil
}

// pluginPID finds the process that does a plugin's work by its program; 0 if it
// doesn't run.
func (e *engine) pluginPID(program string) int { return working(e.KeeperPID(), program) }

// working returns the process below root that runs a program and does its work:
// where one of them supervises another, that other one.
func working(root int, program string) (found int) {
	for _, pid := range private.Descendants(root) { // parents first
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && filepath.Base(exe) == program {
			found = pid
		}
	}
	return found
}

// create makes a container that runs loggen; it will write when its gate is opened.
func (e *engine) create(driver string, opts []string, loggen ...string) (string, error) {
	return e.createAny(driver, opts, append([]string{"loggen", "-gate"}, loggen...)...)
}

func (e *engine) createAny(driver string, opts []string, command ...string) (string, error) {
	e.last++
	name := fmt.Sprintf("box-%d", e.last)
	args := []string{"create", "--name", name, "--network", "none", "--log-driver", driver}
	for _, o := range opts {
		args = append(args, "--log-opt", o)
	}
	_, err := e.docker(append(append(args, image), command...)...)
	return name, err
}

// start starts a container, and returns once its loggen stands at its gate.
func (e *engine) start(name string) (gate.Gate, error) {
	if _, err := e.docker("start", name); err != nil {
		return gate.Gate{}, err
	}
	s, err := e.docker("inspect", "-f", "{{.State.Pid}}", name)
	if err != nil {
		return gate.Gate{}, err
	}
	pid, err := strconv.Atoi(s)
	if err != nil {
		return gate.Gate{}, err
	}
	g, err := gate.Find(pid, patience)
	if err != nil {
		return g, fmt.Errorf("%s: %w\n%s", name, err, e.LogTail(20))
	}
	return g, nil
}

func (e *engine) containerID(name string) (string, error) {
	return e.docker("inspect", "-f", "{{.Id}}", name)
}

func (e *engine) remove(names ...string) error {
	_, err := e.docker(append([]string{"rm", "-f"}, names...)...)
	return err
}
