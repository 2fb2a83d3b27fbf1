package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"logscan/internal/enginetest"
)

// TestRemovedContainers removes containers while the plugin lives and while it
// is away. Their logs stay until their time has come; with the Engine's socket
// mounted they go at once, but not before rules have seen every line, and those
// of stopped containers stay.
func TestRemovedContainers(t *testing.T) {
	t.Parallel()
	const lines, marks = 20_000, 20
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin(unbounded...)
	c := control(t, e)
	addRule(t, c, "mark", `^(?P<n>\d+) MARK`)
	journals := filepath.Join(e.PluginData(), ".logscan/journal")
	kept := func(id string) bool {
		_, err := os.Stat(filepath.Join(journals, id))
		return err == nil
	}
	goes := func(when, id string) {
		t.Helper()
		e.Eventually(time.Minute, when+": the log gone", func() bool { return !kept(id) })
	}
	// run runs a container to its end and returns its id.
	run := func() string {
		t.Helper()
		name := e.Run([]string{"--log-driver", enginetest.Plugin}, "loggen", "-n", "20000", "-mark", "1000")
		e.Wait(name)
		return e.ContainerID(name)
	}
	stays, early, away, forgotten := run(), run(), run(), run()
	running := e.ContainerID(e.Run([]string{"--log-driver", enginetest.Plugin}, "loggen", "-n", "1", "-hold", "1h"))

	e.Docker("rm", early)
	if allHits(t, e, c, "mark", 4*marks); !kept(early) {
		t.Error("without the Engine's socket, the log of a removed container is gone")
	}

	e.DisablePlugin()
	e.Docker("rm", away)
	e.Docker("plugin", "set", enginetest.Plugin, "dockersock.source="+e.Socket())
	e.EnablePlugin()
	goes("removed before the socket was mounted", early)
	goes("removed while the plugin was away", away)

	// At once, also where all there is of a container is over in a moment.
	c = control(t, e)
	id := e.Docker("run", "-d", "--rm", "--network", "none", "--log-driver", enginetest.Plugin, enginetest.Image,
		"loggen", "-n", "20000", "-mark", "1000")
	e.Eventually(time.Minute, "the container gone", func() bool { return e.Docker("ps", "-aq", "--filter", "id="+id) == "" })
	goes("run with --rm", id)
	n := 0
	for _, ev := range allHits(t, e, c, "mark", 5*marks) {
		if meta(ev, "container_id") == id {
			n++
		}
	}
	if n != marks {
		t.Errorf("%d hits of the %d in a container that was removed at once", n, marks)
	}
	// A worker that takes over asks again.
	e.KillWorker()
	control(t, e)
	short := run()
	e.Docker("rm", short)
	goes("removed after a crash", short)

	// The Engine forgets its events, and what it had is what it doesn't list.
	e.DisablePlugin()
	e.Docker("rm", forgotten)
	e.Restart()
	e.EnablePlugin()
	goes("removed while nobody looked", forgotten)

	for _, id := range []string{stays, running} {
		if !kept(id) {
			t.Errorf("the log of %s is gone, which was not removed", id)
		}
	}
	if stdout, _ := e.Logs(stays); strings.Count(string(stdout), "\n") != lines {
		t.Errorf("%d lines of %d are left of a container that stopped", strings.Count(string(stdout), "\n"), lines)
	}
	if left := logsIn(t, journals); len(left) != 2 {
		t.Errorf("logs left: %v", left)
	}
}
