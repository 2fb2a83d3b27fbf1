package integration

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"logscan/internal/enginetest"
)

// TestTwoHundredContainers has 200 containers start, log and stop at once. Each
// of their lines is kept once and each matching one is a hit; and then nothing
// of them is left but their logs, which go when their time has come, and with
// them what the scanner knew.
func TestTwoHundredContainers(t *testing.T) {
	t.Parallel()
	const containers, every = 200, 20
	// Its debug mode makes dockerd say how many goroutines it has.
	e := enginetest.Start(t, enginetest.Options{Daemon: map[string]any{"debug": true}})
	e.InstallPlugin(unbounded...)
	client, c := engineClient(e), control(t, e)
	addRule(t, c, "mark", `^(?P<n>\d+) MARK`)
	data := filepath.Join(e.PluginData(), ".logscan")

	ids := make([]string, containers)
	for i := range ids {
		ids[i] = create(t, client, logscanContainer(nil, "loggen", "-n", "0", "-rate", "25", "-mark", strconv.Itoa(every)))
	}
	run := func(ids []string) {
		t.Helper()
		together(t, ids, func(id string) error {
			return engineAPI(client, http.MethodPost, "/containers/"+id+"/start", nil, nil)
		})
		e.Eventually(time.Minute, "lines of every container", func() bool {
			logs, _ := filepath.Glob(filepath.Join(data, "journal/*/*.seg"))
			return len(logs) >= len(ids)
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
		caughtUp(t, e, c)
		events := hits(t, c, "mark")
		for _, ev := range events {
			captures, _ := ev.Metadata["captures"].(map[string]any)
			want[fmt.Sprintf("%s %s", ev.Metadata["container_id"], captures["n"])]--
		}
		for line, missing := range want {
			if missing != 0 {
				t.Fatalf("%d hits of %s too few", missing, line)
			}
		}
		t.Logf("%d containers, %d lines, %d hits", len(ids), total, len(events))
	}

	// One first: what both sides open once and for all is open then.
	run(ids[:1])
	check(ids[:1])
	before := use{plugin: pluginGoroutines(t, e), dockerd: dockerdGoroutines(t, client)}
	client.CloseIdleConnections()
	c.Close()
	e.Eventually(30*time.Second, "quiet", func() bool { return quiet(t, e.PluginPID()) })
	before.pluginFiles, before.dockerdFiles = files(t, e.PluginPID()), files(t, e.DockerdPID())
	started := time.Now()
	run(ids[1:])
	t.Logf("started, logged and stopped in %s", time.Since(started))
	check(ids)
	t.Logf("checked after %s", time.Since(started))

	client.CloseIdleConnections()
	c.Close()
	t.Logf("before %+v", before)
	last := use{}
	e.Eventually(time.Minute, "as many files open as before", func() bool {
		now := use{pluginFiles: files(t, e.PluginPID()), dockerdFiles: files(t, e.DockerdPID())}
		if now != last {
			t.Logf("now %+v", now)
		}
		last = now
		return now.pluginFiles <= before.pluginFiles && now.dockerdFiles <= before.dockerdFiles
	})
	now := use{plugin: pluginGoroutines(t, e), dockerd: dockerdGoroutines(t, client)}
	t.Logf("now %+v", now)
}

// use is what processes hold.
type use struct{ plugin, dockerd, pluginFiles, dockerdFiles int }

// quiet reports that a plugin has no log open.
func quiet(t testing.TB, pid int) bool {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if target, err := os.Readlink(filepath.Join(dir, n.Name())); err == nil && strings.Contains(target, "/journal/") {
			return false
		}
	}
	return true
}

// together does the same with many containers, a few at a time.
func together(t testing.TB, ids []string, do func(id string) error) {
	t.Helper()
	var wg sync.WaitGroup
	next := make(chan string)
	for range 16 {
		wg.Go(func() {
			for id := range next {
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
	e.Eventually(30*time.Second, "a new plugin process", func() bool {
		said = string(e.Log()[before:])
		return strings.Contains(said, started)
	})
	said, _, _ = strings.Cut(said, started)
	n := len(goroutine.FindAllString(said, -1))
	if n == 0 {
		t.Fatalf("the plugin tells no goroutines: %.2000s", said)
	}
	return n
}
