package integration

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
	"logscan/internal/enginetest/timeshift"
)

// stopTime is how long a stopped plugin stands still.
const stopTime = time.Minute

// What can be on its way from a container to the plugin, in bytes of its
// output: in the pipe that the container writes to and its shim's copy; in the
// FIFO from there to dockerd; in dockerd, whose buffer between the FIFO and the
// logging driver grows by up to 1 MB until it holds as much, so to almost twice
// that (moby, pkg/ioutils/bytespipe.go); and in the FIFO from dockerd to the
// plugin.
const (
	inShim    = 64<<10 + 32<<10
	toDockerd = 64 << 10
	inDockerd = 2_000_000 + 64<<10
	toPlugin  = 1 << 20
)

// fault is one row of the table.
type fault struct {
	name   string
	opts   enginetest.Options
	do     func(t *testing.T, e *enginetest.Engine, container string)
	driver string // of the container; "" = the plugin
	// bursts says that the container writes a fifth of the time only, because the
	// fault takes long.
	bursts bool
	// ends says that the container doesn't outlive the fault.
	ends bool
	// mayLose bounds the output, in bytes, that may be lost because both ends of
	// a pipe died, or dockerd with what it had read; why says so.
	mayLose int
	why     string
}

var faults = []fault{
	{name: "none, for comparison", bursts: true, do: func(t *testing.T, e *enginetest.Engine, _ string) {
		beat(e, 10)
	}},
	{name: "SIGKILL of the worker, 20 times", bursts: true, do: func(t *testing.T, e *enginetest.Engine, _ string) {
		for range 20 {
			e.KillWorker()
		}
	}},
	{name: "SIGKILL of PID 1, 5 times", bursts: true, do: func(t *testing.T, e *enginetest.Engine, _ string) {
		for range 5 {
			e.KillPlugin()
		}
	}},
	{name: "SIGKILL of the plugin's shim", do: func(t *testing.T, e *enginetest.Engine, _ string) {
		pid := e.SupervisorPID()
		kill(t, e.PluginShimPID(), syscall.SIGKILL)
		e.Eventually(time.Minute, "another plugin process", func() bool { again := e.SupervisorPID(); return again != 0 && again != pid })
		control(t, e)
	}},
	{name: fmt.Sprintf("SIGSTOP of the plugin for %s", stopTime), do: func(t *testing.T, e *enginetest.Engine, _ string) {
		pids := []int{e.SupervisorPID(), e.PluginPID()}
		for _, pid := range pids {
			kill(t, pid, syscall.SIGSTOP)
		}
		time.Sleep(stopTime)
		for _, pid := range pids {
			kill(t, pid, syscall.SIGCONT)
		}
	}},
	{name: "clock stepped back and forth by an hour", do: func(t *testing.T, e *enginetest.Engine, _ string) {
		stepClock(t, e, e.DockerdPID(), e.SupervisorPID(), e.PluginPID())
	}},
	{name: "the same of dockerd's clock alone", bursts: true, do: func(t *testing.T, e *enginetest.Engine, _ string) {
		stepClock(t, e, e.DockerdPID())
	}},
	{name: "the same of the plugin's clock alone", bursts: true, do: func(t *testing.T, e *enginetest.Engine, _ string) {
		stepClock(t, e, e.SupervisorPID(), e.PluginPID())
	}},
	{name: "plugin disable -f, enable", do: func(t *testing.T, e *enginetest.Engine, _ string) {
		e.DisablePlugin()
		e.EnablePlugin()
	}},
	{name: "plugin disable -f, set, enable", do: func(t *testing.T, e *enginetest.Engine, _ string) {
		e.DisablePlugin()
		e.Docker("plugin", "set", enginetest.Plugin, "LOGSCAN_LOG_LEVEL=debug")
		e.EnablePlugin()
	}},
	{name: "plugin disable -f, upgrade, enable", bursts: true, do: func(t *testing.T, e *enginetest.Engine, _ string) {
		remote := e.Registry() + "/logscan:next"
		e.PushPlugin(enginetest.VariantPlugin(t, enginetest.BuildPlugin(t), "next"), remote)
		e.DisablePlugin()
		e.UpgradePlugin(remote)
		e.EnablePlugin()
	}},
	{name: "dockerd restart, live-restore", opts: enginetest.Options{LiveRestore: true},
		do:      func(t *testing.T, e *enginetest.Engine, _ string) { e.Restart() },
		mayLose: inDockerd, why: "dockerd ends with what it had read; so under any driver"},
	{name: "SIGKILL of dockerd, live-restore", opts: enginetest.Options{LiveRestore: true},
		do:      func(t *testing.T, e *enginetest.Engine, _ string) { e.Kill(); e.Resume() },
		mayLose: inDockerd, why: "dockerd ends with what it had read; so under any driver"},
	{name: "the same under json-file", opts: enginetest.Options{LiveRestore: true}, driver: "json-file",
		do:      func(t *testing.T, e *enginetest.Engine, _ string) { e.Kill(); e.Resume() },
		mayLose: inDockerd, why: "for comparison"},
	{name: "dockerd restart", ends: true,
		do: func(t *testing.T, e *enginetest.Engine, _ string) { e.Restart() }},
	{name: "SIGKILL of dockerd", ends: true,
		do:      func(t *testing.T, e *enginetest.Engine, _ string) { e.Kill(); e.Resume() },
		mayLose: inShim + toDockerd + inDockerd, why: "dockerd ends with what it had read, and then ends the container; so under any driver"},
	{name: "SIGKILL of the container's shim", ends: true,
		do: func(t *testing.T, e *enginetest.Engine, c string) {
			kill(t, e.ContainerShimPID(c), syscall.SIGKILL)
			e.Wait(c)
		},
		mayLose: inShim, why: "the container dies with its shim, and so do both ends of its pipe; so under any driver"},
	{name: "SIGKILL of everything", ends: true,
		do: func(t *testing.T, e *enginetest.Engine, _ string) {
			for _, f := range []func() error{e.KillEverything, e.StartAgain} {
				if err := f(); err != nil {
					t.Fatal(err)
				}
			}
			control(t, e)
		},
		mayLose: inShim + toDockerd + inDockerd + toPlugin, why: "both ends of every pipe die"},
}

// beat lets the container write for a while: it starts and removes others.
func beat(e *enginetest.Engine, n int) {
	for range n {
		e.Docker("rm", "-f", e.Run([]string{"--log-driver", enginetest.Plugin}, "loggen", "-n", "100"))
	}
}

func kill(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if pid <= 1 {
		t.Fatalf("no process to send %s to", sig)
	}
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("%s to %d: %v", sig, pid, err)
	}
}

// clockSteps are by how many hours a clock is wrong, one after the other: forward
// an hour, back, back another one, forward again.
var clockSteps = []int8{1, 0, -1, 0}

// setClock makes the clock of processes wrong by that many hours.
func setClock(t *testing.T, hours int8, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		if err := timeshift.Set(pid, hours); err != nil {
			t.Fatal(err)
		}
	}
}

// stepClock steps the clock of processes, about every second, while the container
// writes.
func stepClock(t *testing.T, e *enginetest.Engine, pids ...int) {
	t.Helper()
	worker, dockerd := e.PluginPID(), slices.Contains(pids, e.DockerdPID())
	for range 2 {
		for _, hours := range clockSteps {
			setClock(t, hours, pids...)
			if at, err := time.Parse(time.RFC3339Nano, e.Docker("info", "-f", "{{.SystemTime}}")); err != nil || dockerd && time.Until(at).Round(time.Hour) != time.Duration(hours)*time.Hour {
				t.Errorf("a clock set wrong by %d hours says %s (%v) at %s", hours, at, err, time.Now())
			}
			beat(e, 1)
		}
	}
	if pid := e.PluginPID(); pid != worker {
		t.Errorf("the worker was process %d and is %d", worker, pid)
	}
}

// outcome is what a fault did.
type outcome struct {
	written, lost, doubled, cut         int // lines; cut: the rest of one whose beginning was lost
	hitsLost, hitsDoubled               int
	deliveries, delivLost, delivDoubled int
	blocked                             time.Duration
}

// TestFaults makes every fault while a container writes numbered lines as fast
// as they are taken, and prints what it did: the table in internal/docs/guarantees.md.
func TestFaults(t *testing.T) {
	var mu sync.Mutex
	outcomes := make([]outcome, len(faults))
	t.Run("table", func(t *testing.T) {
		for i, f := range faults {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				o := f.run(t)
				mu.Lock()
				outcomes[i] = o
				mu.Unlock()
			})
		}
	})
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| fault\t| lines\t| lost\t| cut\t| doubled\t| hits lost\t| doubled\t| deliveries\t| lost\t| repeated\t| blocked at most\t| why\t|")
	for i, o := range outcomes {
		fmt.Fprintf(w, "| %s\t| %d\t| %d\t| %d\t| %d\t| %d\t| %d\t| %d\t| %d\t| %d\t| %s\t| %s\t|\n", faults[i].name,
			o.written, o.lost, o.cut, o.doubled, o.hitsLost, o.hitsDoubled, o.deliveries, o.delivLost, o.delivDoubled,
			o.blocked.Round(10*time.Millisecond), faults[i].why)
	}
	w.Flush()
	t.Logf("\n%s", out.String())
}

// lineLen is the length of a numbered line, with its newline.
const lineLen = 41

func (f fault) run(t *testing.T) (o outcome) {
	e := enginetest.Start(t, f.opts)
	e.InstallPlugin(append([]string{"LOGSCAN_ALLOW_TARGETS=127.0.0.1"}, unbounded...)...)
	client, c := engineClient(e), control(t, e)
	hooks := startHookCounter(t)
	addRule(t, c, "mark", `^(?P<n>\d+) MARK`)
	if _, err := c.CreateTrigger(t.Context(), api.TriggerCreate{Name: "hooks", ActionURL: hooks.URL, TriggerFields: api.TriggerFields{"mode": "events", "sources": "logscan"}}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	loggen := []string{"loggen", "-n", "0", "-len", strconv.Itoa(lineLen - 1), "-mark", strconv.Itoa(markEvery), "-buf", "4096", "-tally", "/tally/n"}
	if f.bursts {
		loggen = append(loggen, "-duty", "20ms", "-idle", "80ms")
	}
	flags := []string{"-v", dir + ":/tally", "--log-driver", cmp.Or(f.driver, enginetest.Plugin)}
	if f.driver == "" {
		flags = append(flags, "--log-opt", "max-file=1000")
	}
	name := e.Run(flags, loggen...)
	e.Eventually(time.Minute, "first lines", func() bool {
		return len(readLogs(t, client, name, logOptions{tail: "1"})) > 0 && tally(dir).lines > 100*markEvery
	})

	f.do(t, e, name)

	client.CloseIdleConnections()
	if up := e.Docker("inspect", "-f", "{{.State.Running}}", name); up == "true" == f.ends {
		t.Errorf("the container runs: %s", up)
	}
	if !f.ends {
		before := tally(dir).lines
		e.Eventually(time.Minute, "the container writing on", func() bool { return tally(dir).lines > before+markEvery })
		e.Docker("kill", "-s", "TERM", name)
		e.Wait(name)
	}
	// The Engine is well: it runs another container, and its log is whole.
	after := e.Run([]string{"--log-driver", enginetest.Plugin}, "loggen", "-n", "1000")
	e.Wait(after)
	if lines := readLogs(t, client, after, logOptions{}); len(lines) != 1000 {
		t.Errorf("%d of 1000 lines of a container started afterwards", len(lines))
	}

	written := tally(dir)
	o.written, o.blocked = written.lines, written.longest
	marks := o.count(t, client, name)
	// Of the first and the last of the lost lines, a part may be all that is lost.
	if (o.lost-2)*lineLen > f.mayLose || f.mayLose == 0 && o.lost+o.cut > 0 || o.cut > 1 || o.doubled != 0 {
		t.Errorf("%d lines lost, %d cut and %d doubled, with at most %d bytes on their way", o.lost, o.cut, o.doubled, f.mayLose)
	}
	if f.driver != "" {
		return o
	}
	c = control(t, e)
	caughtUp(t, e, c)
	e.Eventually(2*time.Minute, "a hit for each marked line", func() bool { return len(hits(t, c, "mark")) >= len(marks) })
	o.countHits(t, c, marks)
	e.Eventually(2*time.Minute, "every event delivered", func() bool {
		st, err := c.Stats(t.Context())
		return err == nil && st.Deliveries.Pending == 0
	})
	o.countDeliveries(hooks, len(hits(t, c, "mark")))

	if o.hitsLost != 0 || o.hitsDoubled != 0 || o.delivLost != 0 {
		t.Errorf("%+v", o)
	}
	return o
}

type written struct {
	lines   int
	longest time.Duration
}

// tally reads what loggen keeps about its own writes.
func tally(dir string) written {
	b, err := os.ReadFile(filepath.Join(dir, "n"))
	return decodeTally(b, err)
}

func decodeTally(b []byte, err error) written {
	if err != nil || len(b) != 16 {
		return written{} // nothing yet
	}
	return written{int(binary.LittleEndian.Uint64(b)), time.Duration(binary.LittleEndian.Uint64(b[8:]))}
}

// count compares the container's whole log with the numbers that were written,
// and returns which of the marked lines are in it.
func (o *outcome) count(t *testing.T, client *http.Client, name string) (marks []int) {
	t.Helper()
	body := openLogs(t, client, name, logOptions{})
	defer body.Close()
	r := bufio.NewReaderSize(body, 1<<20)
	seen := make([]bool, o.written)
	next := 0
	var header [8]byte
	var line []byte
	for {
		if _, err := io.ReadFull(r, header[:]); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("docker logs: %v", err)
		}
		size := int(binary.BigEndian.Uint32(header[4:]))
		line = slices.Grow(line[:0], size)[:size]
		if _, err := io.ReadFull(r, line); err != nil {
			t.Fatalf("docker logs: %v", err)
		}
		if bytes.HasPrefix(line, []byte("end ")) {
			o.written-- // loggen counts it too
			continue
		}
		n, err := strconv.Atoi(string(line[:min(10, len(line))]))
		if err != nil || len(line) != lineLen {
			o.cut++
			t.Logf("after line %d: %q", next-1, line)
			continue
		}
		if n < next {
			o.doubled++
		}
		next = n + 1
		// A write that was cut short by a kill has lines that weren't counted.
		if n < len(seen) {
			seen[n] = true
		}
		if n%markEvery == 0 {
			marks = append(marks, n)
		}
	}
	for _, ok := range seen[:o.written] {
		if !ok {
			o.lost++
		}
	}
	return marks
}

// countHits compares events with the marked lines that docker logs has.
func (o *outcome) countHits(t *testing.T, c *api.Client, marks []int) {
	t.Helper()
	found := map[int]int{}
	for _, ev := range hits(t, c, "mark") {
		captures, _ := ev.Metadata["captures"].(map[string]any)
		n, err := strconv.Atoi(fmt.Sprint(captures["n"]))
		if err != nil {
			n = math.MinInt
		}
		found[n]++
	}
	for n, times := range found {
		if !slices.Contains(marks, n) {
			t.Errorf("a hit on line %d, which isn't there", n)
		}
		o.hitsDoubled += times - 1
	}
	for _, n := range marks {
		if found[n] == 0 {
			o.hitsLost++
		}
	}
}

// hookCounter is a real receiver of webhooks; it counts each delivery's attempts.
type hookCounter struct {
	*httptest.Server
	mu  sync.Mutex
	got map[string]int // by the delivery's id
}

func startHookCounter(t *testing.T) *hookCounter {
	r := &hookCounter{got: map[string]int{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		io.Copy(io.Discard, req.Body)
		r.mu.Lock()
		r.got[req.Header.Get("webhook-id")]++
		r.mu.Unlock()
	}))
	t.Cleanup(r.Close)
	return r
}

func (o *outcome) countDeliveries(r *hookCounter, events int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o.deliveries = len(r.got)
	o.delivLost = events - len(r.got)
	for _, times := range r.got {
		o.delivDoubled += times - 1
	}
}
