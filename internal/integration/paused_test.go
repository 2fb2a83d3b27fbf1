package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

const (
	// hourOfLines is what a container writes in an hour at 1,000 lines a second.
	hourOfLines = 3_600_000
	// hitEvery is how many of them there are for each hit: so few that what may
	// wait for the database is soon full, and scanning stands still.
	hitEvery = 250
	// grace is what docker stop gives a container before it kills it.
	grace = 10 * time.Second
	// pausedMemory bounds the worker's memory, in bytes.
	pausedMemory = 200 << 20
)

// TestScanningPausedForAnHour keeps lines from being scanned, by a lock on the
// database, while a container writes as many as in an hour and the clock goes on
// by an hour. That is felt neither by containers nor by docker stop, and then
// each line is checked once.
func TestScanningPausedForAnHour(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := enginetest.Start(t, enginetest.Options{Daemon: map[string]any{"debug": true}})
	e.InstallPlugin(unbounded...)
	client, c := engineClient(e), control(t, e)
	addRule(t, c, "mark", `^(?P<n>\d+) MARK`)
	makeRule(t, c, "minute", `^(?P<n>\d+) MARK`, api.RuleFields{"cooldown_seconds": 60})

	carryAndStop(t, e, client, hourOfLines/20, func() {})
	caughtUp(t, e, c)
	var before, after held
	before.plugin = pluginGoroutines(t, e)
	c = control(t, e) // of the new process
	normal := carryAndStop(t, e, client, hourOfLines/20, func() {})
	caughtUp(t, e, c)
	before.dockerd = dockerdGoroutines(t, client)
	before.files(t, e, client, c)
	start, err := c.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	known := len(hits(t, c, "mark"))

	release := lockDatabase(t, e)
	paused := carryAndStop(t, e, client, hourOfLines, func() { setClock(t, 1, e.DockerdPID(), e.PluginPID()) })
	st, err := c.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if done := st.Scan.Lines - start.Scan.Lines; done > hourOfLines/4 || st.Scan.Waiting == 0 || st.Scan.Lag == 0 {
		t.Errorf("scanning was not held up: %d lines, %+v", done, st.Scan)
	}
	waiting := st.Scan.Waiting
	release()
	caughtUp(t, e, c)

	if st, err = c.Stats(ctx); err != nil {
		t.Fatal(err)
	}
	lines, found, held := st.Scan.Lines-start.Scan.Lines, st.Scan.Hits-start.Scan.Hits, st.Scan.Suppressed-start.Scan.Suppressed
	const marks = hourOfLines / hitEvery
	if lines != int64(hourOfLines+paused.otherLines) || found+held != 2*marks || st.Scan.Skipped != 0 || st.Journal.Losses != 0 {
		t.Errorf("%d and %d lines, %d matches: %+v", hourOfLines, paused.otherLines, 2*marks, st.Scan)
	}
	events := hits(t, c, "mark")[known:]
	if len(events) != marks {
		t.Errorf("%d hits instead of %d", len(events), marks)
	}
	for i, ev := range events {
		if n, _ := lineOf(t, ev); n != i*hitEvery {
			t.Fatalf("hit %d is of line %d", i, n)
		}
	}
	minutes := 0
	for _, ev := range allEvents(t, c, api.EventQuery{Rule: "minute"}) {
		if meta(ev, "container_name") == paused.name {
			minutes++
		}
	}
	// The first, and the first after the hour; one more for each minute that the
	// container really took.
	if minutes < 2 || int64(len(events)+minutes) != found {
		t.Errorf("%d and %d events for %d hits", len(events), minutes, found)
	}
	if end := readLogs(t, client, paused.name, logOptions{tail: "1"}); len(end) != 1 || !strings.HasPrefix(string(end[0].text), fmt.Sprintf("%010d ", hourOfLines-1)) {
		t.Errorf("docker logs ends with %v", end)
	}

	most := memory(t, e.PluginPID())
	// The lines around so many hits are read behind all this.
	e.Eventually(5*time.Minute, "files of the plugin being let go", func() bool {
		after.files(t, e, client, c)
		return after.pluginFiles <= before.pluginFiles
	})
	after.dockerd = dockerdGoroutines(t, client)
	after.plugin = pluginGoroutines(t, e)
	if after.plugin > before.plugin+20 || after.dockerd > before.dockerd+20 || after.pluginFiles > before.pluginFiles || most > pausedMemory {
		t.Errorf("before: %+v, after: %+v, %d bytes of memory", before, after, most)
	}
	if names, err := os.ReadDir(e.PluginData()); err != nil || len(names) != 1 {
		t.Errorf("FIFOs are left: %v: %v", names, err)
	}
	t.Logf("blocked at most: normally %s, paused %s; %d events waited; %d hits and %d held back of %d lines; %d MiB, held before %+v, after %+v",
		normal.longest, paused.longest, waiting, found, held, lines, most>>20, before, after)
}

// carried is what became of a container, and of another one that was stopped
// while it wrote.
type carried struct {
	written
	name       string
	otherLines int
}

// carryAndStop has a container write lines as fast as they are taken, stops
// another one halfway and this one in the end. No write may be blocked for as
// long as docker stop waits, and neither container may have to be killed.
func carryAndStop(t *testing.T, e *enginetest.Engine, client *http.Client, lines int, halfway func()) carried {
	t.Helper()
	dir := t.TempDir()
	flags := []string{"-v", dir + ":/tally", "--log-driver", enginetest.Plugin, "--log-opt", "max-size=-1"}
	other := flow{e: e, client: client, name: e.Run(flags, "loggen", "-n", "0", "-rate", "1000", "-len", strconv.Itoa(lineLen-1))}
	name := e.Run(flags, "loggen", "-n", strconv.Itoa(lines), "-len", strconv.Itoa(lineLen-1), "-mark", strconv.Itoa(hitEvery), "-hold", "1h", "-tally", "/tally/n")
	e.Eventually(3*time.Minute, "half of the lines written", func() bool { return tally(dir).lines >= lines/2 })
	halfway()
	e.Docker("stop", other.name)
	n, err := other.count(t)
	if err != nil {
		t.Errorf("docker logs: %v", err)
	}
	e.Eventually(3*time.Minute, "all lines written", func() bool { return tally(dir).lines == lines })
	e.Docker("stop", name)
	for _, c := range []string{name, other.name} {
		if code := e.Docker("inspect", "-f", "{{.State.ExitCode}}", c); code != "0" {
			t.Errorf("docker stop: %s ended with %s", c, code)
		}
	}
	w := tally(dir)
	if w.longest >= grace {
		t.Errorf("a write was blocked for %s", w.longest)
	}
	return carried{w, name, n + 1}
}
