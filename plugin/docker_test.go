package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDockerClient builds the binary and has the real docker command run it.
func TestDockerClient(t *testing.T) {
	docker, err := exec.LookPath("docker")
	if err != nil {
		t.Fatal("the docker command is needed (Debian: apt-get install docker.io): ", err)
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "cli-plugins", "docker-logscan")
	build := exec.Command("go", "build", "-o", bin, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	command := func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+dir, "DOCKER_HOST=", "DOCKER_CONTEXT=")
		return cmd
	}
	run := func(args ...string) (stdout, stderr string, code int) {
		t.Helper()
		cmd := command(docker, args...)
		var o, e strings.Builder
		cmd.Stdout, cmd.Stderr = &o, &e
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return o.String(), e.String(), cmd.ProcessState.ExitCode()
	}

	out, err := command(bin, "docker-cli-plugin-metadata").Output()
	if err != nil {
		t.Fatal(err)
	}
	var meta map[string]string
	if err := json.Unmarshal(out, &meta); err != nil || meta["SchemaVersion"] != "0.1.0" || meta["Vendor"] == "" || meta["Version"] == "" || meta["ShortDescription"] == "" {
		t.Errorf("metadata %s: %v", out, err)
	}

	if stdout, stderr, code := run("logscan", "--help"); code != 0 || !strings.Contains(stdout, "Usage:  docker logscan COMMAND") || !strings.Contains(stdout, "rule") {
		t.Errorf("help: %d\n%s%s", code, stdout, stderr)
	}
	if stdout, _, code := run("help", "logscan"); code != 0 || !strings.Contains(stdout, "Usage:  docker logscan COMMAND") {
		t.Errorf("docker help: %d\n%s", code, stdout)
	}
	if stdout, _, code := run("--help"); code != 0 || !strings.Contains(stdout, "logscan") {
		t.Errorf("docker --help does not list logscan (%d)", code)
	}
	if _, stderr, code := run("-H", "unix:///nonexistent", "logscan", "rule", "ls"); code != exitFailed || !strings.Contains(stderr, "no Docker Engine answers at unix:///nonexistent") {
		t.Errorf("no engine: %d %s", code, stderr)
	}
	if _, stderr, code := run("-D", "-l", "debug", "--tls=false", "--host=unix:///nonexistent", "logscan", "events"); code != exitFailed || !strings.Contains(stderr, "unix:///nonexistent") {
		t.Errorf("global flags: %d %s", code, stderr)
	}
	if _, stderr, code := run("logscan", "rule", "add", "x"); code != exitUsage || !strings.Contains(stderr, "say which lines") {
		t.Errorf("usage: %d %s", code, stderr)
	}

	// Nobody reads: the command ends, and says nothing about it.
	unread := command(docker, "logscan", "help", "rules")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	var told strings.Builder
	unread.Stdout, unread.Stderr = w, &told
	unread.Run()
	w.Close()
	if code := unread.ProcessState.ExitCode(); code != exitBrokenPipe || told.String() != "" {
		t.Errorf("nobody reads: %d %q", code, told.String())
	}

	p := newTestPlugin(t)
	if stdout, stderr, code := run("logscan", "--socket", p.socket, "rule", "add", "oom", "Out of memory", "--severity", "error"); code != 0 || stdout != "1\n" {
		t.Errorf("add: %d %q %q", code, stdout, stderr)
	}
	if stdout, _, code := run("logscan", "--socket", p.socket, "rule", "ls", "--format", "{{.Name}} {{.Severity}}"); code != 0 || stdout != "oom error\n" {
		t.Errorf("ls: %d %q", code, stdout)
	}

	// Following ends with the docker command, also when that alone is told to
	// end.
	follow := command(docker, "logscan", "--socket", p.socket, "events", "-f", "--format", "{{.Message}}")
	pipe, err := follow.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.emit("error", "oom", "before", nil)
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(pipe)
	for _, want := range []string{"before", "after"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("followed %q, want %q (%v)", lines.Text(), want, lines.Err())
		}
		if want == "before" {
			p.emit("error", "oom", "after", nil)
		}
	}
	if err := follow.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// The pipe's end shows that the plugin's process has gone too.
	for lines.Scan() {
		t.Errorf("unexpected %q", lines.Text())
	}
	follow.Wait()
}
