package integration

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// TestTwoHundredContainers has 200 containers start, log and stop at once. Each
// of their lines is kept once and each matching one is a hit; and then nothing
// of them is left but their logs, which go when their time has come, and with
// them what the scanner knew.
func TestTwoHundredContainers(t *testing.T) {
	t.Parallel()
	const containers, every = 200, 10
	// Its debug mode makes dockerd say how many goroutines it has.
	e := enginetest.Start(t, enginetest.Options{Daemon: map[string]any{"debug": true}})
	e.InstallPlugin(unbounded...)
	client, c := engineClient(e), control(t, e)
	addRule(t, c, "mark", `^(?P<n>\d+) MARK`)
	data := filepath.Join(e.PluginData(), ".logscan")

	ids := make([]string, containers)
	for i := range ids {
		config := logscanContainer(nil, "loggen", "-n", "0", "-rate", "5", "-mark", strconv.Itoa(every))
		// Where several containers end at once, Docker 20.10 may lock itself up in what
		// it does for their network, be that "none": libnetwork's unWatchSvcRecord waits
		// for watchLoop, and that for a lock which the other holds. So they have none.
		config.NetworkDisabled = true
		ids[i] = create(t, client, config)
	}
	started := 0
	run := func(ids []string) {
		t.Helper()
		started += len(ids)
		together(t, ids, func(id string) error {
			return engineAPI(client, http.MethodPost, "/containers/"+id+"/start", nil, nil)
		})
		e.Eventually(time.Minute, "lines of every container", func() bool {
			logs, _ := filepath.Glob(filepath.Join(data, "journal/*/*.seg"))
			return len(logs) >= started
		})
		together(t, ids, func(id string) error {
			if err := engineAPI(client, http.MethodPost, "/containers/"+id+"/kill?signal=TERM", nil, nil); err != nil {
				return err
			}
			return engineAPI(client, http.MethodPost, "/containers/"+id+"/wait", nil, nil)
		})
	}
	check := func(ids []string) {
		t.Helper()
		want := make(map[string]int)
		total := 0
		for _, id := range ids {
			f := flow{e: e, client: client, name: id}
			lines, err := f.count(t)
			if err != nil {
				t.Fatalf("docker logs of %s: %v", id, err)
			}
			for n := 0; n < lines; n += every {
				want[fmt.Sprintf("%s %010d", id, n)] = 1
			}
			total += lines
		}
		events := allHits(t, e, c, "mark", len(want))
		for _, ev := range events {
			captures, _ := ev.Metadata["captures"].(map[string]any)
			want[fmt.Sprintf("%s %s", ev.Metadata["container_id"], captures["n"])]--
		}
		for line, missing := range want {
			if missing != 0 {
				t.Fatalf("hits of %s: %d too few", line, missing)
			}
		}
		t.Logf("%d containers, %d lines, %d hits", len(ids), total, len(events))
	}

	// A few first: what both sides open once and for all is open then.
	run(ids[:2])
	check(ids[:2])
	var before, after held
	before.plugin = pluginGoroutines(t, e)
	c = control(t, e) // of the new process
	run(ids[2:4])
	check(ids[:4])
	before.dockerd = dockerdGoroutines(t, client)
	before.files(t, e, client, c)

	start := time.Now()
	run(ids[4:])
	t.Logf("started, logged and stopped in %s", time.Since(start))
	check(ids)
	e.Eventually(time.Minute, "as many files open as before", func() bool {
		after.files(t, e, client, c)
		return after.pluginFiles <= before.pluginFiles && after.dockerdFiles <= before.dockerdFiles
	})
	after.dockerd = dockerdGoroutines(t, client)
	after.plugin = pluginGoroutines(t, e)
	t.Logf("held before: %+v, after: %+v", before, after)
	// A few come and go with connections; a leak would be one for each container.
	if after.plugin > before.plugin+20 || after.dockerd > before.dockerd+20 {
		t.Errorf("goroutines before: %+v, after: %+v", before, after)
	}
	if logs := logsIn(t, filepath.Join(data, "journal")); len(logs) != containers {
		t.Errorf("%d logs of %d containers: %v", len(logs), containers, logs[:min(len(logs), 5)])
	}
	for dir, want := range map[string]int{e.PluginData(): 1, filepath.Join(data, "attachments"): 0} {
		if names, err := os.ReadDir(dir); err != nil || len(names) != want {
			t.Errorf("%d files instead of %d are in %s (%v): %v", len(names), want, dir, err, names[:min(len(names), 5)])
		}
	}
	inDatabase(t, e, "SELECT count(*) FROM cursors", containers)
	inDatabase(t, e, "SELECT count(*) FROM event_log WHERE metadata ->> '$.reason' IS NOT NULL", 0)

	// The time of their logs comes.
	e.DisablePlugin()
	e.Docker("plugin", "set", enginetest.Plugin, "LOGSCAN_STOPPED_AGE=1ms")
	e.EnablePlugin()
	e.Eventually(time.Minute, "no log and no cursor left", func() bool {
		return len(logsIn(t, filepath.Join(data, "journal"))) == 0 && count(t, e, "SELECT count(*) FROM cursors") == 0
	})
}

// logsIn returns the ids of the containers whose logs are in the journals' root.
func logsIn(t testing.TB, root string) (ids []string) {
	t.Helper()
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			ids = append(ids, e.Name())
		}
	}
	return ids
}

// held is what processes hold.
type held struct{ plugin, dockerd, pluginFiles, dockerdFiles int }

// files counts what is open while nobody asks for anything, but for the
// database, which has more connections after more work.
func (h *held) files(t testing.TB, e *enginetest.Engine, client *http.Client, c *api.Client) {
	t.Helper()
	client.CloseIdleConnections()
	c.Close()
	e.Eventually(30*time.Second, "no log being open", func() bool {
		return !slices.ContainsFunc(openFiles(t, e.PluginPID()), func(name string) bool { return strings.Contains(name, "/journal/") })
	})
	h.pluginFiles = len(slices.DeleteFunc(openFiles(t, e.PluginPID()), func(name string) bool { return strings.Contains(name, "/logscan.db") }))
	h.dockerdFiles = files(t, e.DockerdPID())
}

// openFiles returns the names of the files that a process has open.
func openFiles(t testing.TB, pid int) (open []string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if target, err := os.Readlink(filepath.Join(dir, n.Name())); err == nil {
			open = append(open, target)
		}
	}
	return open
}

// together does the same with many containers, a few at a time.
func together(t testing.TB, ids []string, do func(id string) error) {
	t.Helper()
	var wg sync.WaitGroup
	next := make(chan string)
	for range 16 {
		wg.Go(func() {
			for id := range next {
				if t.Failed() {
					continue
				}
				if err := do(id); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, id := range ids {
		next <- id
	}
	close(next)
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// dockerdGoroutines asks dockerd.
func dockerdGoroutines(t testing.TB, client *http.Client) int {
	t.Helper()
	res, err := client.Get("http://engine/debug/pprof/goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	var n int
	if err == nil {
		_, err = fmt.Sscanf(string(b), "goroutine profile: total %d", &n)
	}
	if err != nil {
		t.Fatalf("dockerd's goroutines: %v: %.200s", err, b)
	}
	return n
}

var goroutine = regexp.MustCompile(`goroutine \d+ .{0,40}\[`)

// pluginGoroutines ends the plugin by SIGQUIT, at which a Go program says what
// its goroutines do, and counts them when the next process has started.
func pluginGoroutines(t testing.TB, e *enginetest.Engine) int {
	t.Helper()
	const started = "logscan started"
	before := len(e.Log())
	if err := syscall.Kill(e.PluginPID(), syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	var said string
	e.Eventually(30*time.Second, "what the goroutines did, and a new plugin process", func() bool {
		// The process that is to end may have started just now.
		_, rest, quit := strings.Cut(string(e.Log()[before:]), "SIGQUIT: quit")
		var again bool
		said, _, again = strings.Cut(rest, started)
		return quit && again
	})
	n := len(goroutine.FindAllString(said, -1))
	if n == 0 {
		t.Fatalf("the plugin tells no goroutines: %.2000s", said)
	}
	return n
}
