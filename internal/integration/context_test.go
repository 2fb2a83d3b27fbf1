package integration

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// TestContext has a container write lines around a hit, those after it only once the
// plugin's worker was killed: its event has all of them, without the password.
func TestContext(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin("LOGSCAN_ALLOW_TARGETS=127.0.0.1")
	c := control(t, e)
	makeRule(t, c, "login", "login failed", api.RuleFields{"before": 2, "after": 2, "siblings_seconds": 60})
	hook := newPhone(t)
	told := api.TriggerCreate{Name: "hook", ActionURL: hook.URL, TriggerFields: api.TriggerFields{"mode": "events", "sources": "logscan", "context_wait_seconds": 10}}
	if _, err := c.CreateTrigger(ctx, told); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const project = "com.docker.compose.project="
	e.Run([]string{"--log-driver", enginetest.Plugin, "--label", project + "blog"}, "echo", "not of the project")
	db := e.Run([]string{"--log-driver", enginetest.Plugin, "--label", project + "shop"}, "echo", "no such user: password=hunter2")
	id := e.Run([]string{"--log-driver", enginetest.Plugin, "--label", project + "shop", "-v", dir + ":/sync"}, "sh", "-c", `
		echo one; echo two
		until [ -e /sync/stderr ]; do sleep 0.05; done
		echo three >&2
		until [ -e /sync/hit ]; do sleep 0.05; done
		echo 'login failed: user=alice password=hunter2'
		until [ -e /sync/after ]; do sleep 0.05; done
		echo four; echo five; echo six; sleep 600`)
	goOn := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for file, line := range []string{"two", "three"} { // Docker doesn't keep the order of the streams
		e.Eventually(time.Minute, "line "+line, func() bool {
			stdout, stderr := e.Logs(id)
			return strings.Contains(string(stdout)+string(stderr), line)
		})
		goOn([]string{"stderr", "hit"}[file])
	}
	var d api.EventDetails
	shown := func() (out []string) {
		page, err := c.Events(ctx, api.EventQuery{Rule: "login"})
		if err != nil || len(page.Items) == 0 {
			return nil
		}
		if d, err = c.Event(ctx, page.Items[0].ID); err != nil {
			return nil
		}
		for _, l := range d.Context {
			text := l.Stream + " " + l.Text
			if l.Own {
				text = "> " + text
			}
			out = append(out, text)
		}
		return out
	}
	before := []string{"stdout two", "stderr three", "> stdout login failed: user=alice password=[redacted]"}
	e.Eventually(time.Minute, "the lines before the hit", func() bool { return slices.Equal(shown(), before) })
	if d.Whole || d.Message != "login failed: user=alice password=[redacted]" {
		t.Errorf("%+v", d)
	}
	if err := syscall.Kill(e.WorkerOf(e.SupervisorPID()), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	goOn("after")
	all := append(before, "stdout four", "stdout five")
	e.Eventually(time.Minute, "the lines after the hit", func() bool { return slices.Equal(shown(), all) })
	var message struct {
		Data struct {
			Context []api.ContextLine `json:"context"`
		} `json:"data"`
	}
	e.Eventually(time.Minute, "the webhook", func() bool { return hook.last(&message) })
	if got := message.Data.Context; len(got) < len(before) || got[0].Text != "two" || !got[2].Own || !strings.HasSuffix(got[2].Text, "password=[redacted]") {
		t.Errorf("the webhook has %+v", got)
	}
	if logs, _ := e.Logs(id); !strings.Contains(string(logs), "login failed: user=alice password=hunter2\nfour\nfive\nsix") {
		t.Errorf("docker logs: %s", logs)
	}
	e.Eventually(2*time.Minute, "the line of the container beside", func() bool {
		shown()
		return len(d.Siblings) > 0
	})
	if l := d.Siblings[0]; len(d.Siblings) != 1 || l.Container != db || l.Text != "no such user: password=[redacted]" {
		t.Errorf("siblings are %+v", d.Siblings)
	}
	e.Docker("rm", "-f", id)
}

// last reads what the phone was told last; false for nothing.
func (p *phone) last(v any) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.got) == 0 {
		return false
	}
	b, err := json.Marshal(p.got[len(p.got)-1])
	return err == nil && json.Unmarshal(b, v) == nil
}
