package integration

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"logscan/internal/enginetest"
)

// makeEnv is the environment of a user at a terminal, for whom `docker` means
// the given Engine. What make install writes goes into directories of the test.
func makeEnv(t testing.TB, e *enginetest.Engine) []string {
	t.Helper()
	// An outer `make test` has left its own variables.
	env := slices.DeleteFunc(e.Env(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains([]string{"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "CC", "GOARCH", "CGO_ENABLED", enginetest.PluginDirEnv}, name)
	})
	return append(env,
		"BUILD="+filepath.Join(e.Dir, "build"),
		"CLI_DIR="+filepath.Join(e.Dir, "config/cli-plugins"),
		"DEBIAN_FRONTEND=noninteractive",
	)
}

// root is the top of this clone.
func root(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// tryMake runs a make target as the manual prints it.
func tryMake(t testing.TB, env []string, target string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "make", "--no-print-directory", target)
	cmd.Dir, cmd.Env = root(t), env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), errors.Join(err, ctx.Err())
}

func mustMake(t testing.TB, env []string, target string) string {
	t.Helper()
	out, err := tryMake(t, env, target)
	if err != nil {
		t.Fatalf("make %s: %v\n%s", target, err, out)
	}
	return out
}

// TestMakeInstallUpgradesUnderRunningContainers installs, upgrades twice while
// containers write, and uninstalls.
func TestMakeInstallUpgradesUnderRunningContainers(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	env := makeEnv(t, e)
	if out := mustMake(t, env, "install"); !strings.Contains(out, "Installed and enabled plugin logscan") {
		t.Errorf("the first make install said:\n%s", out)
	}
	e.DisablePlugin()
	files := t.TempDir()
	if err := os.WriteFile(filepath.Join(files, "logscan.yaml"), []byte("version: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.Docker(append([]string{"plugin", "set", enginetest.Plugin, "dockersock.source=" + e.Socket(), "config.source=" + files}, unbounded...)...)
	e.EnablePlugin()
	control(t, e)
	e.Docker("logscan", "rule", "add", "kept", "never written", "--severity", "info")
	before, id := e.Docker("logscan", "rule", "ls", "--format", "json"), e.PluginID()

	f := startFlow(t, e, "-duty", "20ms", "-idle", "80ms")
	for range 2 {
		pid := e.PluginPID()
		if out := mustMake(t, env, "install"); !strings.Contains(out, "Upgraded") {
			t.Errorf("make install over a plugin that is there said:\n%s", out)
		}
		if now := e.PluginPID(); now == 0 || now == pid {
			t.Errorf("process %d before the upgrade and %d after it", pid, now)
		}
		last := readLogs(t, f.client, f.name, logOptions{tail: "1"})
		e.Eventually(time.Minute, "more lines after the upgrade", func() bool {
			return diff(readLogs(t, f.client, f.name, logOptions{tail: "1"}), last) != ""
		})
	}
	control(t, e)
	if now := e.PluginID(); now != id {
		t.Errorf("the plugin's id was %s and is %s", id, now)
	}
	if now := e.Docker("logscan", "rule", "ls", "--format", "json"); !strings.HasPrefix(now, before) {
		t.Errorf("rules before the upgrades:\n%s\nand after:\n%s", before, now)
	}
	if set := e.Docker("plugin", "inspect", "-f", "{{.Settings.Env}}", enginetest.Plugin); !strings.Contains(set, unbounded[0]) {
		t.Errorf("settings after the upgrades: %s", set)
	}
	if mounts := e.Docker("plugin", "inspect", "-f", "{{range .Settings.Mounts}}{{.Name}}={{.Source}} {{end}}", enginetest.Plugin); !strings.Contains(mounts, "dockersock="+e.Socket()+" ") || !strings.Contains(mounts, "config="+files+" ") {
		t.Errorf("mounted after the upgrades: %s", mounts)
	}

	if out, err := tryMake(t, env, "uninstall"); err == nil || !strings.Contains(out, f.name) {
		t.Errorf("make uninstall under a running container: %v\n%s", err, out)
	}
	f.check(t)
	data := e.PluginData()
	mustMake(t, env, "uninstall")
	if left := e.Docker("plugin", "ls", "-q"); left != "" {
		t.Errorf("plugins after make uninstall: %s", left)
	}
	for _, path := range []string{data, filepath.Join(e.Dir, "config/cli-plugins/docker-logscan")} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after make uninstall, %s: %v", path, err)
		}
	}
	if out := mustMake(t, env, "uninstall"); !strings.Contains(out, "not installed") {
		t.Errorf("make uninstall again said:\n%s", out)
	}
}

// TestMakeInstallInterrupted shows that an upgrade that is broken off while the
// plugin is away brings it back, whatever the Engine is busy with for it at that
// moment: containers wait.
func TestMakeInstallInterrupted(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	env := makeEnv(t, e)
	mustMake(t, env, "install")
	enabled := func() bool {
		return e.Docker("plugin", "inspect", "-f", "{{.Enabled}}", enginetest.Plugin) == "true"
	}
	for _, after := range []time.Duration{0, 100 * time.Millisecond, 250 * time.Millisecond} {
		cmd := exec.Command("make", "--no-print-directory", "install")
		cmd.Dir, cmd.Env = root(t), env
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a terminal's foreground job
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		e.Eventually(3*time.Minute, "the plugin being away", func() bool { return !enabled() })
		time.Sleep(after)
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Errorf("an interrupted make install succeeds:\n%s", out.String())
		}
		if !enabled() {
			t.Errorf("the plugin stays disabled:\n%s", out.String())
		}
		c := e.Run([]string{"--log-driver", enginetest.Plugin}, "echo", "hello")
		e.Wait(c)
		if stdout, _ := e.Logs(c); string(stdout) != "hello\n" {
			t.Errorf("docker logs prints %q", stdout)
		}
	}
	mustMake(t, env, "install")
}

// TestMakeInstallWithoutAnEngine shows that it says how to get one, before
// anything is built.
func TestMakeInstallWithoutAnEngine(t *testing.T) {
	t.Parallel()
	build := filepath.Join(t.TempDir(), "build")
	// A PATH with all that make needs but docker.
	bin := t.TempDir()
	for _, program := range []string{"make", "bash", "sh", "env", "id", "git", "go", "gcc", "dirname"} {
		path, err := exec.LookPath(program)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, program)); err != nil {
			t.Fatal(err)
		}
	}
	for name, extra := range map[string]string{
		"no docker command": "PATH=" + bin,
		"no Engine":         "DOCKER_HOST=unix:///nonexistent/docker.sock",
	} {
		out, err := tryMake(t, append(os.Environ(), "BUILD="+build, "MAKEFLAGS=", "MAKELEVEL=", extra), "install")
		if err == nil || !strings.Contains(out, "apt-get install docker.io") || !strings.Contains(out, "make demo") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	if _, err := os.Stat(build); err == nil {
		t.Error("something was built")
	}
}

// TestMakeDemoInterrupted shows that a demo that is broken off leaves nothing
// behind: no Engine, no receiver.
func TestMakeDemoInterrupted(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("make", "--no-print-directory", "demo")
	cmd.Dir, cmd.Env = root(t), append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=", "BUILD="+filepath.Join(t.TempDir(), "build"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(5*time.Minute, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer stuck.Stop()
	var all []string
	var dir, receiver string
	interrupted := false
	for out := bufio.NewScanner(r); out.Scan(); {
		line := out.Text()
		all = append(all, line)
		if _, rest, ok := strings.Cut(line, "for this demo alone, in "); ok {
			dir = strings.TrimSuffix(rest, ".")
		}
		if _, rest, ok := strings.Cut(line, "trigger add ops http://"); ok {
			receiver, _, _ = strings.Cut(rest, "/")
		}
		if strings.HasPrefix(line, "  kill 1 of ") {
			interrupted = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) == nil
		}
	}
	if err := cmd.Wait(); err == nil || !interrupted || dir == "" || receiver == "" {
		t.Fatalf("%v, interrupted: %t, Engine in %q, receiver at %q; it said:\n%s", err, interrupted, dir, receiver, strings.Join(all, "\n"))
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the Engine's directory: %v", err)
	}
	if c, err := net.Dial("tcp", receiver); err == nil {
		c.Close()
		t.Error("the receiver still listens")
	}
}
