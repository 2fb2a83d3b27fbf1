package integration

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// segments returns a container's segments on disk, oldest first, and the bytes
// each takes uncompressed.
func segments(t testing.TB, e *enginetest.Engine, id string) (names []string, sizes []int64) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(e.PluginData(), ".logscan/journal", id, "*.seg*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		r := io.Reader(f)
		if strings.HasSuffix(name, ".zst") {
			z, err := zstd.NewReader(f)
			if err != nil {
				t.Fatal(err)
			}
			defer z.Close()
			r = z
		}
		n, err := io.Copy(io.Discard, r)
		f.Close()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sizes = append(sizes, n)
	}
	return names, sizes
}

// TestRotation shows max-size, max-file and compress at work: the newest lines
// are kept, without a gap, in no more than so many files of that size.
func TestRotation(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin()
	client := engineClient(e)
	const lines = 20_000
	for _, c := range []struct {
		opts       []string
		files      int
		size       int64 // 0 = no bound
		compressed bool
	}{
		{[]string{"max-size=100k", "max-file=3", "compress=false"}, 3, 100_000, false},
		{[]string{"max-size=200k", "max-file=4"}, 4, 200_000, true},
		{[]string{"max-size=150k", "max-file=1"}, 1, 150_000, false},
		{[]string{"max-size=-1"}, 1, 0, false},
		{nil, 1, 20 << 20, false}, // less than is rotated by default
	} {
		name := strings.Join(c.opts, " ")
		flags := []string{"--log-driver", enginetest.Plugin}
		for _, o := range c.opts {
			flags = append(flags, "--log-opt", o)
		}
		box := e.Run(flags, "loggen", "-n", fmt.Sprint(lines), "-len", "60")
		e.Wait(box)
		id := e.ContainerID(box)
		var names []string
		var sizes []int64
		t.Cleanup(func() {
			if all, _ := filepath.Glob(filepath.Join(e.PluginData(), ".logscan/journal", id, "*")); t.Failed() {
				t.Logf("%s: %v", name, all)
			}
		})
		e.Eventually(time.Minute, fmt.Sprintf("%s: %d files", name, c.files), func() bool {
			names, sizes = nil, nil
			if all, _ := filepath.Glob(filepath.Join(e.PluginData(), ".logscan/journal", id, "*.seg*")); len(all) != c.files {
				return false
			}
			if all, _ := filepath.Glob(filepath.Join(e.PluginData(), ".logscan/journal", id, "*.zst")); c.compressed != (len(all) > 0) || c.compressed && len(all) != c.files-1 {
				return false
			}
			names, sizes = segments(t, e, id)
			return true
		})
		var total int64
		for i, n := range sizes {
			total += n
			if c.size > 0 && n > c.size+200 { // a segment ends with the frame that fills it
				t.Errorf("%s: %s has %d bytes", name, names[i], n)
			}
		}
		logs := readLogs(t, client, box, logOptions{})
		for i, k := range logs {
			if !strings.HasPrefix(string(k.text), fmt.Sprintf("%010d ", lines-len(logs)+i)) {
				t.Fatalf("%s: line %d of %d is %q", name, i, len(logs), k.text)
			}
		}
		// All that fits is there: every file but the newest is full.
		if total < c.size*int64(c.files-1) || len(logs) != lines && (c.size == 0 || c.opts == nil) {
			t.Errorf("%s: %d lines in %d bytes are kept", name, len(logs), total)
		}
	}
}

// TestOptionsOfTheEngine shows that what the Engine itself understands is passed
// by, and what scan and workload do.
func TestOptionsOfTheEngine(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin(unbounded...)
	client, c := engineClient(e), control(t, e)
	addRule(t, c, "word", "hello")
	for opts, workload := range map[string]string{
		"mode=non-blocking max-buffer-size=4m": "",
		"mode=blocking":                        "",
		"cache-disabled=true cache-max-size=5m cache-max-file=2 cache-compress=false": "",
		"workload=shop":            "shop",
		"scan=off workload=silent": "none",
		"scan=on":                  "",
	} {
		flags := []string{"--log-driver", enginetest.Plugin}
		for o := range strings.FieldsSeq(opts) {
			flags = append(flags, "--log-opt", o)
		}
		box := e.Run(flags, "echo", "hello", opts)
		e.Wait(box)
		if logs := readLogs(t, client, box, logOptions{}); len(logs) != 1 || string(logs[0].text) != "hello "+opts+"\n" {
			t.Errorf("%s: docker logs has %v", opts, logs)
		}
		if workload == "" {
			workload = box
		}
		if workload == "none" {
			continue
		}
		e.Eventually(time.Minute, "a hit of "+box, func() bool {
			for _, ev := range hits(t, c, "word") {
				if ev.Metadata["container_name"] == box {
					if ev.Metadata["workload_id"] != workload {
						t.Errorf("%s: the event says %v", opts, ev.Metadata)
					}
					return true
				}
			}
			return false
		})
	}
	if events := hits(t, c, "word"); len(events) != 5 {
		t.Errorf("%d hits of 5", len(events))
	}
}

// TestDiskBudget sets a budget for all logs: those of containers that stopped go
// first, the oldest before others, and of a running one the oldest lines; what
// went is an event.
func TestDiskBudget(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	const budget = 6_000_000 // of which the database takes up to a half
	e.InstallPlugin(fmt.Sprint("LOGSCAN_DISK_BUDGET=", budget))
	client, c := engineClient(e), control(t, e)
	kept := func(name string) int { return len(readLogs(t, client, name, logOptions{})) }
	opts := []string{"--log-driver", enginetest.Plugin, "--log-opt", "compress=false", "--log-opt", "max-size=200k", "--log-opt", "max-file=100"}
	bytes := func() int64 {
		st, err := c.Stats(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return st.Journal.Bytes
	}

	oldest := e.Run(opts, "loggen", "-n", "40000", "-len", "100") // 5 MB
	e.Wait(oldest)
	running := e.Run(opts, "sh", "-c", "loggen -n 2000 -len 100; trap 'loggen -n 80000 -len 100; exit' TERM; while :; do sleep 0.1; done")
	for range 2 {
		e.Wait(e.Run(opts, "loggen", "-n", "10000", "-len", "100")) // 1.25 MB each
	}
	e.Eventually(4*time.Minute, "the budget held", func() bool { return bytes() <= budget })
	if n := kept(oldest); n > 30_000 {
		t.Errorf("%d lines of the container that stopped first are there", n)
	}
	for name, want := range map[string]int{running: 2000, "box-3": 10000, "box-4": 10000} {
		if n := kept(name); n != want {
			t.Errorf("%d lines of %s are there instead of %d", n, name, want)
		}
	}

	e.Docker("kill", "-s", "TERM", running) // 10 MB alone
	e.Wait(running)
	// Of a log that is being read or scanned just then, the last segment stays.
	e.Eventually(4*time.Minute, "the budget held by one container", func() bool { return bytes() <= budget && kept("box-4") < 2000 })
	logs := readLogs(t, client, running, logOptions{})
	if n := len(logs); n < 20_000 {
		t.Errorf("%d lines are left of the container that stopped last", n)
	}
	for i, k := range logs {
		if !strings.HasPrefix(string(k.text), fmt.Sprintf("%010d ", 80_000-len(logs)+i)) {
			t.Fatalf("line %d of %d is %q", i, len(logs), k.text)
		}
	}
	e.Eventually(4*time.Minute, "an event about what is lost", func() bool {
		page, err := c.Events(context.Background(), api.EventQuery{Source: "system"})
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(page.Items, func(ev api.Event) bool {
			return ev.Metadata["reason"] == "budget" && ev.Metadata["container_id"] == e.ContainerID(oldest)
		})
	})
}
