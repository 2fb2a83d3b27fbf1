package integration

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"logscan/internal/api"
	"logscan/internal/enginetest"
	"logscan/internal/script"
)

// madeUp are the scripts of package main about containers, hits, losses, receivers
// and tokens that are made up; containers.txtar shows the same commands with real
// ones, and TestCommandLineOverTCP has real tokens.
var madeUp = []string{"events", "rulestats", "show", "status", "tokens", "incidents", "triggertest", "shadow", "search", "tail", "backtest", "uncovered", "why", "packsuggest"}

// TestCommandLineScripts runs scripts with `docker logscan …` as logscan against
// the running plugin: its own, about real containers, and those of package main
// that need nothing made up. Each begins with a plugin just installed. Besides
// the commands of package script there is
//
//	run FLAGS -- COMMAND
//
// which runs a container under the plugin and waits until it has ended and each
// of its lines was seen.
func TestCommandLineScripts(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	installCommand(t, e)
	own, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(own) == 0 {
		t.Fatal("no scripts", err)
	}
	files, err := filepath.Glob("../../plugin/testdata/*.txtar")
	if err != nil || len(files) <= len(madeUp) {
		t.Fatal("no scripts of package main", err)
	}
	files = slices.DeleteFunc(files, func(file string) bool {
		return slices.Contains(madeUp, strings.TrimSuffix(filepath.Base(file), ".txtar"))
	})
	dir := enginetest.BuildPlugin(t)
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "logscan"), []byte("#!/bin/sh\nexec docker logscan \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	type runner struct{}
	testscript.RunT(inTurn{t}, script.Params(append(own, files...), func(env *testscript.Env) error {
		t := env.T().(testing.TB)
		e := e.With(t)
		e.CreatePlugin(dir, "LOGSCAN_ALLOW_TARGETS=hooks.example.com,h.example.com,other.example.com,127.0.0.9")
		e.EnablePlugin()
		t.Cleanup(func() {
			for _, id := range strings.Fields(e.Docker("ps", "-aq")) {
				e.Docker("rm", "-f", id)
			}
			e.Docker("plugin", "rm", "-f", enginetest.Plugin)
		})
		c := control(t, e)
		env.Values[runner{}] = func(flags, command []string) { runToTheEnd(t, e, c, flags, command) }
		for _, v := range e.Env() {
			if strings.HasPrefix(v, "DOCKER_") {
				env.Vars = append(env.Vars, v)
			}
		}
		env.Setenv("PATH", bin+":"+env.Getenv("PATH"))
		env.Setenv("TZ", "UTC")
		return nil
	}, map[string]script.Command{
		"run": func(ts *testscript.TestScript, neg bool, args []string) {
			at := slices.Index(args, "--")
			if neg || at < 0 {
				ts.Fatalf("usage: run FLAGS -- COMMAND")
			}
			ts.Value(runner{}).(func(flags, command []string))(args[:at], args[at+1:])
		},
	}))
}

// inTurn runs scripts one after the other: an Engine has one plugin of a name.
type inTurn struct{ *testing.T }

func (t inTurn) Parallel()     {}
func (t inTurn) Verbose() bool { return testing.Verbose() }
func (t inTurn) Run(name string, f func(testscript.T)) {
	t.T.Run(name, func(t *testing.T) { f(inTurn{t}) })
}

func runToTheEnd(t testing.TB, e *enginetest.Engine, c *api.Client, flags, command []string) {
	args := append([]string{"run", "--network", "none", "--log-driver", enginetest.Plugin}, flags...)
	e.Docker(append(append(args, enginetest.Image), command...)...)
	e.Eventually(time.Minute, "each line having been seen and each hit stored", func() bool {
		st, err := c.Stats(t.Context())
		return err == nil && st.Ingest.Attachments == 0 && st.Scan.Lag == 0 && st.Scan.Waiting == 0
	})
}

// installCommand puts the binary where docker finds its CLI plugins.
func installCommand(t *testing.T, e *enginetest.Engine) {
	t.Helper()
	dir := filepath.Join(e.Dir, "config/cli-plugins")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(enginetest.BuildPlugin(t), "rootfs/logscan"), filepath.Join(dir, "docker-logscan")); err != nil {
		t.Fatal(err)
	}
}

// TestCommandLineOverTCP shows the whole way to a plugin from elsewhere: the
// setting, the token, and what is refused without it. A port that is taken
// keeps the plugin from nothing else.
func TestCommandLineOverTCP(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	installCommand(t, e)
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	addr := held.Addr().String()
	e.InstallPlugin("LOGSCAN_LISTEN="+addr, "LOGSCAN_DISK_BUDGET=plenty")
	c := control(t, e)
	e.Eventually(time.Minute, "both settings being told", func() bool {
		h, err := c.Health(t.Context())
		details := fmt.Sprint(h.Reasons)
		return err == nil && h.Status == "degraded" && strings.Contains(details, addr) && strings.Contains(details, "LOGSCAN_DISK_BUDGET")
	})
	name := e.Run([]string{"--log-driver", enginetest.Plugin}, "echo", "carried all the same")
	e.Wait(name)
	if out, _ := e.Logs(name); string(out) != "carried all the same\n" {
		t.Errorf("docker logs prints %q", out)
	}
	held.Close()
	e.Eventually(time.Minute, "the port being listened at", func() bool {
		resp, err := http.Get("http://" + addr + "/healthz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})

	token := e.Docker("logscan", "token")
	remote := func(token string, args ...string) (string, error) {
		cmd := e.Command(t.Context(), append([]string{"logscan"}, args...)...)
		cmd.Env = append(cmd.Env, "LOGSCAN_HOST=tcp://"+addr, "LOGSCAN_TOKEN="+token)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := remote(token, "rule", "add", "oom", "Out of memory"); err != nil || out != "1\n" {
		t.Errorf("%s %v", out, err)
	}
	if out, err := remote(token, "container", "ls", "--format", "{{.Name}}"); err != nil || out != name+"\n" {
		t.Errorf("%s %v", out, err)
	}
	if out, err := remote("", "rule", "ls"); err == nil || !strings.Contains(out, "Bearer") || !strings.Contains(out, "docker logscan token") {
		t.Errorf("without a token: %s %v", out, err)
	}
	if out, err := remote("no such token", "rule", "ls"); err == nil || !strings.Contains(out, "the token is wrong") {
		t.Errorf("with a wrong token: %s %v", out, err)
	}
	if out, err := remote(token, "token"); err == nil || strings.Contains(out, token) {
		t.Errorf("the token over TCP: %s %v", out, err)
	}

	req, err := http.NewRequest("GET", "http://"+addr+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	for _, want := range []string{"logscan_lines_total 1\n", "logscan_containers 1\n", `logscan_degraded{reason="settings"} 1`, "process_open_fds "} {
		if !strings.Contains(string(body), "\n"+want) {
			t.Errorf("no %q in %s", want, body)
		}
	}
}
