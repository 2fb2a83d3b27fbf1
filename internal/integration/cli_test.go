package integration

import (
	"bytes"
	"context"
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

	"logscan/internal/api"
	"logscan/internal/enginetest"
	"logscan/internal/transcript"
)

// TestCommandLineTranscripts runs transcripts as `docker logscan …` against the
// running plugin: its own, about real containers, and those of package main
// that need nothing made up. Each begins with a plugin just installed.
func TestCommandLineTranscripts(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	installCommand(t, e)
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, name := range []string{"help", "mistakes", "rules", "test", "triggers", "workloads"} {
		files = append(files, "../../plugin/testdata/"+name+".txt")
	}
	dir := enginetest.BuildPlugin(t)
	for _, file := range files {
		transcript.Run(t, file, func(t *testing.T) transcript.Command {
			e := e.With(t)
			e.CreatePlugin(dir, "LOGSCAN_ALLOW_TARGETS=hooks.example.com,h.example.com,other.example.com,127.0.0.9")
			e.EnablePlugin()
			t.Cleanup(func() {
				for _, id := range strings.Fields(e.Docker("ps", "-aq")) {
					e.Docker("rm", "-f", id)
				}
				e.Docker("plugin", "rm", "-f", enginetest.Plugin)
			})
			return (&shell{e: e, control: control(t, e)}).command
		})
	}
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

// shell is what the transcripts' commands run in. Besides logscan there is "run
// FLAGS -- COMMAND", which runs a container under the plugin and waits until it
// has ended and each of its lines was seen.
type shell struct {
	e       *enginetest.Engine
	control *api.Client
}

func (s *shell) command(t *testing.T, words []string, stdin string) string {
	t.Helper()
	switch words[0] {
	case "run":
		at := slices.Index(words, "--")
		if at < 0 {
			t.Fatal("run FLAGS -- COMMAND")
		}
		args := append([]string{"run", "--network", "none", "--log-driver", enginetest.Plugin}, words[1:at]...)
		s.e.Docker(append(append(args, enginetest.Image), words[at+1:]...)...)
		s.e.Eventually(time.Minute, "each line having been seen and each hit stored", func() bool {
			st, err := s.control.Stats(t.Context())
			return err == nil && st.Ingest.Attachments == 0 && st.Scan.Lag == 0 && st.Scan.Waiting == 0
		})
		return ""
	case "logscan":
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := s.e.Command(ctx, words...)
		cmd.Env = append(cmd.Env, "TZ=UTC", "TERM=dumb")
		cmd.Stdin = strings.NewReader(stdin)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		if code := cmd.ProcessState.ExitCode(); code != 0 {
			fmt.Fprintf(&out, "[%d]\n", code)
		}
		return out.String()
	}
	t.Fatalf("unknown command %q", words[0])
	return ""
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
