package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// TestPacks has a container write what nginx writes: it is told to look like nginx, and
// what the pack would have told; once the pack is added, a line is a hit; once it is
// removed, none is.
func TestPacks(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := enginetest.Start(t, enginetest.Options{})
	installCommand(t, e)
	e.CreatePlugin(enginetest.BuildPlugin(t))
	e.EnablePlugin()
	c := control(t, e)
	const refused = `2026/11/30 21:00:00 [error] 29#29: *1 connect() failed (111: Connection refused) while connecting to upstream, client: 172.17.0.1, server: localhost, request: "GET /app HTTP/1.1", upstream: "http://127.0.0.1:81/app", host: "localhost"`
	says := func(lines ...string) { // as the container front
		t.Helper()
		e.Docker("run", "--rm", "--name", "front", "--log-driver", enginetest.Plugin, enginetest.Image, "echo", strings.Join(lines, "\n"))
	}
	hits := func() (n int) {
		events, err := c.Events(ctx, api.EventQuery{Source: "logscan"})
		if err != nil {
			t.Fatal(err)
		}
		return len(events.Items)
	}
	says("2026/11/30 20:59:00 [notice] 1#1: start worker processes", refused, "2026/11/30 21:00:00 [info] 29#29: *3 client 172.17.0.1 closed keepalive connection")
	e.Docker("run", "--rm", "--name", "other", "--log-driver", enginetest.Plugin, enginetest.Image, "echo", "write /data/x: no space left on device")

	suggested := func() string { return e.Docker("logscan", "pack", "suggest") }
	e.Eventually(time.Minute, "the pack for what runs", func() bool {
		return strings.Contains(suggested(), "front looks like nginx (3 kinds of its lines): the pack would have told you once in 7 days\n")
	})
	for _, want := range []string{"nginx-upstream-unreachable once, last by front: 2026/11/30 21:00:00 [error]", "docker logscan pack add nginx --workload front\n", "the pack common would have told you once in 7 days\n", "docker logscan pack add common"} {
		if said := suggested(); !strings.Contains(said, want) {
			t.Errorf("there is no %q in %s", want, said)
		}
	}
	if rules, err := c.Rules(ctx); err != nil || len(rules) != 0 || hits() != 0 {
		t.Errorf("unasked, there are %d rules, %v", len(rules), err)
	}
	if said := e.Docker("logscan", "pack", "test", "nginx"); !strings.Contains(said, "\nnginx-upstream-unreachable") || !strings.Contains(said, "front | 2026/11/30") {
		t.Error(said)
	}

	e.Docker("logscan", "pack", "add", "nginx", "--workload", "front")
	if said := suggested(); strings.Contains(said, "nginx") || !strings.Contains(said, "common") {
		t.Errorf("after it was added: %s", said)
	}
	says(refused)
	e.Eventually(time.Minute, "a hit", func() bool { return hits() == 1 })
	e.KillPlugin()
	c = control(t, e)
	if p, err := c.Pack(ctx, "nginx"); err != nil || !p.Added || p.Outdated || p.Scope.Workload != "front" {
		t.Errorf("after a restart: %+v, %v", p, err)
	}

	e.Docker("logscan", "pack", "rm", "nginx")
	addRule(t, c, "after", "^over$")
	says(refused, "over")
	e.Eventually(time.Minute, "the line behind it", func() bool { return hits() == 2 })
	events, err := c.Events(ctx, api.EventQuery{Source: "logscan"})
	if err != nil || len(events.Items) != 2 || events.Items[0].Message != refused || events.Items[1].Message != "over" {
		t.Errorf("%+v, %v", events.Items, err)
	}
}
