package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"logscan/internal/entry"
	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/lines"
	"logscan/internal/rule"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

func TestHitBecomesEvent(t *testing.T) {
	g := newRig(t)
	g.cfg.Route = func(e event.Event) []int64 { return []int64{1} }
	if _, err := g.db.CreateTrigger(context.Background(), trigger.Trigger{Name: "t", Mode: trigger.ModeEvents, Enabled: true, ActionURL: "http://h/"}); err != nil {
		t.Fatal(err)
	}
	g.start(compile(t, rule.Rule{ID: 7, Pattern: `user=(?P<user>\w+) failed`, Streams: "stderr", CooldownSeconds: 60}))
	w := g.container(0)
	defer w.end()
	failed := entry.Entry{Source: "stderr", Line: []byte("user=bob failed\r"), TimeNano: 1e18 + 123456789}
	again := failed
	again.TimeNano += 1e9
	after := failed
	after.TimeNano += 61e9
	w.put(failed, again, entry.Entry{Source: "stdout", Line: failed.Line}, after)
	events := g.wait(2)
	e := events[0]
	want := map[string]any{
		"workload_id": "w0", "container_id": containerID(0), "container_name": "c0", "image": "busybox",
		"rule_id": 7.0, "rule_name": "rule user=(?P<user>\\w+) failed", "stream": "stderr",
		"line_time": "2001-09-09T01:46:40.123456789Z", "captures": map[string]any{"user": "bob"},
	}
	if e.Source != "logscan" || e.Severity != "warn" || e.Message != "user=bob failed" || !reflect.DeepEqual(e.Metadata, want) {
		t.Errorf("%+v", e)
	}
	want["line_time"] = "2001-09-09T01:47:41.123456789Z"
	want["suppressed"], want["suppressed_since"] = 1.0, "2001-09-09T01:46:41.123456789Z"
	if !reflect.DeepEqual(events[1].Metadata, want) {
		t.Errorf("%+v", events[1])
	}
	if d, err := g.db.Deliveries(context.Background(), store.DeliveryFilter{State: trigger.Pending}); err != nil || len(d) != 2 {
		t.Errorf("%d deliveries, %v", len(d), err)
	}
	g.caughtUp()
	if st := g.s.Stats(); st.Lines != 4 || st.Hits != 2 || st.Suppressed != 1 || st.Cooldown != 1 {
		t.Errorf("%+v", st)
	}
	if st := g.s.RuleStats(); len(st) != 1 || st[7] != (rule.Counts{Hits: 2, Cooldown: 1}) {
		t.Errorf("%+v", st)
	}
}

// Rules of several workloads, side by side.
func TestWorkloads(t *testing.T) {
	g := newRig(t)
	g.start(compile(t,
		rule.Rule{ID: 1, Pattern: "x"},
		rule.Rule{ID: 2, Pattern: "y", WorkloadID: "w1", OverridesID: 1},
		rule.Rule{ID: 3, Pattern: "z", WorkloadID: "w2"},
	))
	want := []string{"x", "y", "x z"}
	for n := range want {
		w := g.container(n)
		w.lines("x", "y", "z")
		w.end()
	}
	events := g.wait(4)
	for n, want := range want {
		var got []event.Event
		for _, e := range events {
			if e.Metadata["workload_id"] == fmt.Sprint("w", n) {
				got = append(got, e)
			}
		}
		if messages(got) != want {
			t.Errorf("w%d: %s, want %s", n, messages(got), want)
		}
	}
}

func TestScanOff(t *testing.T) {
	g := newRig(t)
	g.start(compile(t, rule.Rule{Pattern: "x"}))
	off := g.attach(0, journal.DefaultOptions, false, false)
	defer off.end()
	on := g.container(1)
	defer on.end()
	off.lines("x", "x")
	on.lines("x")
	g.wait(1)
	g.caughtUp()
	off.lines("x")
	on.lines("x")
	g.wait(2)
	if st := g.s.Stats(); st.Lines != 2 {
		t.Errorf("%d lines", st.Lines)
	}
}

// Lines wait for the first snapshot, and are shown to.
func TestNoSnapshotYet(t *testing.T) {
	g := newRig(t)
	g.start(nil)
	w := g.container(0)
	defer w.end()
	w.lines("x")
	eventually(t, "lag", func() bool { return g.s.Lag()[containerID(0)] > 0 })
	g.s.SetSnapshot(compile(t, rule.Rule{Pattern: "x"}))
	g.wait(1)
	g.caughtUp()
}

// What was scanned stays scanned, also without hits.
func TestRestartScansNothingAgain(t *testing.T) {
	g := newRig(t)
	rules := compile(t, rule.Rule{Pattern: "x"})
	g.start(rules)
	w := g.container(0)
	defer w.end()
	w.lines("x", "y", "z")
	g.wait(1)
	g.caughtUp()
	w.lines("u", "v")
	g.caughtUp()
	g.stop()
	w.lines("x")
	g.start(rules)
	g.wait(2)
	if st := g.s.Stats(); st.Lines != 1 {
		t.Errorf("%d lines scanned, 1 was new", st.Lines)
	}
	// And without a clean end: the cursor follows by itself.
	eventually(t, "cursor at the end", func() bool {
		c, _, err := g.db.Cursor(context.Background(), containerID(0))
		var p lines.Position
		perr := p.UnmarshalBinary(c.Position)
		_, end := w.j.Bounds()
		return err == nil && perr == nil && p.Next == end
	})
}

// A journal that is idle isn't kept open, so that retention can have it.
func TestIdleJournalIsReleased(t *testing.T) {
	g := newRig(t)
	g.start(compile(t, rule.Rule{Pattern: "x"}))
	w := g.container(0)
	w.lines("x")
	g.wait(1)
	w.end()
	v, _ := g.s.followers.Load(containerID(0))
	eventually(t, "release", func() bool { return !v.(*follower).wantsTick.Load() })
	w = g.container(0)
	defer w.end()
	w.lines("x")
	g.wait(2)
}

func TestRemovedContainer(t *testing.T) {
	g := newRig(t)
	ctx := context.Background()
	gone := store.Cursor{ContainerID: containerID(5), Position: encoded(lines.Position{Next: 10})}
	if _, err := g.db.Commit(ctx, store.Batch{Cursors: []store.Cursor{gone}}, nil); err != nil {
		t.Fatal(err)
	}
	g.start(compile(t, rule.Rule{Pattern: "x"}))
	eventually(t, "end of the cursor", func() bool {
		_, ok, err := g.db.Cursor(ctx, gone.ContainerID)
		return err == nil && !ok
	})
	eventually(t, "end of the follower", func() bool {
		_, ok := g.s.followers.Load(gone.ContainerID)
		return !ok
	})
	w := g.container(5) // the same id, a new journal
	defer w.end()
	w.lines("x")
	g.wait(1)
}

func TestUnreadableCursors(t *testing.T) {
	g := newRig(t)
	var ws []*writer
	for n := range 3 {
		w := g.container(n)
		defer w.end()
		w.lines("x", "y")
		ws = append(ws, w)
	}
	end := func(n int) int64 {
		_, end := ws[n].j.Bounds()
		return end
	}
	cursors := []store.Cursor{
		{ContainerID: containerID(0), Position: []byte("no cursor")},
		{ContainerID: containerID(1), Position: encoded(lines.Position{Next: end(1)}), State: []byte("no state")},
		{ContainerID: containerID(2), Position: encoded(lines.Position{Next: end(2) + 1000})}, // the log has lost its end
	}
	if _, err := g.db.Commit(context.Background(), store.Batch{Cursors: cursors}, nil); err != nil {
		t.Fatal(err)
	}
	g.start(compile(t, rule.Rule{Pattern: "x"}))
	g.wait(1)
	g.caughtUp()
	for _, w := range ws {
		w.lines("x")
	}
	g.wait(4)
}

// Long lines of both streams, chunk by chunk in turn, over block borders and
// over restarts of the scanner in the middle of them.
func TestPartialsOverBlocksAndRestarts(t *testing.T) {
	g := newRig(t)
	rules := compile(t, rule.Rule{Pattern: `end(\d+)$`}) // quick on long lines
	w := g.container(0)
	defer w.end()
	rng := rand.New(rand.NewPCG(3, 4))
	part := strings.Repeat("0123456789abcdef", 1024)
	var left [2]int
	n, lines := 0, 0
	number := [2]int{}
	step := func(s int) {
		source := streams[s]
		id := func() string { return fmt.Sprint("id", number[s]) }
		if left[s] == 0 {
			n++
			number[s], left[s] = n, 1+rng.IntN(40)
			w.put(chunk(source, id(), fmt.Sprintf("%d %s", n, part[:16384-20]), false))
			return
		}
		if left[s]--; left[s] > 0 {
			w.put(chunk(source, id(), part, false))
			return
		}
		lines++
		w.put(chunk(source, id(), fmt.Sprintf(" end%d", number[s]), true))
	}
	g.start(rules)
	for i := range 3000 { // 48 MiB
		step(rng.IntN(2))
		if i%150 == 149 {
			g.stop()
			g.start(rules)
		}
	}
	for s := range left {
		for left[s] > 0 {
			step(s)
		}
	}
	seen := map[string]bool{}
	for _, e := range g.wait(lines) {
		number, _, _ := strings.Cut(e.Message, " ")
		if end := e.Metadata["captures"].(map[string]any)["$1"]; end != number {
			t.Errorf("line %s ends with end%s", number, end)
		}
		if seen[number] {
			t.Errorf("line %s twice", number)
		}
		seen[number] = true
	}
	t.Log(lines, "long lines")
}

func TestLastLineWithoutNewline(t *testing.T) {
	g := newRig(t)
	g.cfg.FlushAfter = time.Hour
	g.start(compile(t, rule.Rule{Pattern: "^.+$"}))
	w := g.container(0)
	w.put(chunk("stdout", "1", "first ", false), chunk("stderr", "2", "second", false))
	g.caughtUp()
	if n := len(g.events()); n > 0 {
		t.Fatalf("%d events before the end", n)
	}
	w.put(chunk("stdout", "1", "part", false))
	w.end()
	g.wait(2)
	// The next start's lines are others, also with the same ids.
	w = g.container(0)
	w.put(chunk("stdout", "1", "third", false))
	g.stop() // and the end is found by a scanner that comes later
	w.end()
	g.cfg.FlushAfter = 30 * time.Millisecond
	g.start(compile(t, rule.Rule{Pattern: "^.+$"}))
	if got := messages(g.wait(3)); got != "first part second third" {
		t.Error(got)
	}
}

// A program that prompts without a newline and waits is heard.
func TestUnfinishedLineIsEvaluatedInTime(t *testing.T) {
	g := newRig(t)
	g.cfg.FlushAfter = 30 * time.Millisecond
	g.start(compile(t, rule.Rule{Pattern: "^.+$"}))
	w := g.container(0)
	defer w.end()
	w.put(chunk("stdout", "1", "password:", false))
	g.wait(1)
	w.put(chunk("stdout", "1", "rest", true))
	if got := messages(g.wait(2)); got != "password: rest" {
		t.Error(got)
	}
}

func TestLineTooLong(t *testing.T) {
	g := newRig(t)
	rules := compile(t, rule.Rule{Pattern: "START"}, rule.Rule{Pattern: "END"}, rule.Rule{Pattern: "after"})
	g.start(rules)
	w := g.container(0)
	defer w.end()
	part := strings.Repeat("x", 16<<10)
	w.put(chunk("stdout", "1", "START", false))
	for i := range 3 << 20 / len(part) {
		w.put(chunk("stdout", "1", part, false))
		if i == 100 { // its rest is passed over also by the next scanner
			g.wait(1)
			g.caughtUp()
			if st := g.s.Stats(); st.Overflow != 1 || st.Lines != 1 {
				t.Errorf("%+v", st)
			}
			g.stop()
			g.start(rules)
		}
	}
	w.put(chunk("stdout", "1", "END", true))
	w.lines("after")
	got := g.wait(2)
	if len(got[0].Message) != rule.MaxText || got[1].Message != "after" {
		t.Errorf("%s", messages(got))
	}
	if st := g.s.Stats(); st.Overflow != 0 || st.Lines != 1 {
		t.Errorf("%+v", st)
	}
}

// flaky is a store that fails while it is told to.
type flaky struct {
	*store.Store
	failing atomic.Bool
	failed  atomic.Int64
}

var errFull = errors.New("disk full")

func (s *flaky) Commit(ctx context.Context, b store.Batch, route func(event.Event) []int64) ([]event.Event, error) {
	if s.failing.Load() {
		s.failed.Add(1)
		return nil, errFull
	}
	return s.Store.Commit(ctx, b, route)
}

func (s *flaky) Cursor(ctx context.Context, id string) (store.Cursor, bool, error) {
	if s.failing.Load() {
		s.failed.Add(1)
		return store.Cursor{}, false, errFull
	}
	return s.Store.Cursor(ctx, id)
}

// While the store fails, lines are taken in as ever, what waits is bounded, and
// the journal holds what isn't committed; afterwards everything is there once.
func TestStoreFails(t *testing.T) {
	g := newRig(t)
	g.dir.Close()
	g.openJournals(journal.Config{HoldMax: 1 << 30})
	ctx, cancel := context.WithCancel(context.Background())
	var keep sync.WaitGroup
	keep.Go(func() { g.dir.Run(ctx) })
	defer keep.Wait()
	defer cancel()
	st := &flaky{Store: g.db}
	g.cfg.Store = st
	rules := compile(t, rule.Rule{Pattern: `^n \d+`})
	g.start(rules)
	small := journal.Options{MaxSize: 64 << 10, MaxFile: 2, Compress: true}
	var ws []*writer
	for n := range 3 {
		w := g.attach(n, small, true, false)
		defer w.end()
		w.lines("n 0")
		ws = append(ws, w)
	}
	g.wait(3)
	st.failing.Store(true)
	const lines = 6000
	for i := 1; i < lines; i++ {
		for n, w := range ws {
			w.lines(fmt.Sprint("n ", i))
			if i == lines/2 && n == 0 { // a new one meanwhile, whose cursor can't be read
				w := g.container(3)
				defer w.end()
				w.lines("n 0")
			}
		}
	}
	eventually(t, "held back scanning", func() bool { return g.s.Stats().Waiting >= maxWaiting && st.failed.Load() > 1 })
	if n := g.s.Stats().Waiting; n > maxWaiting+2*(turnEvents+1) {
		t.Errorf("%d events wait", n)
	}
	for _, w := range ws {
		if st := w.j.State(); st.First > st.Birth {
			t.Errorf("log from %d on, although nothing was committed", st.First-st.Birth)
		}
	}
	st.failing.Store(false)
	events := g.wait(3*lines + 1)
	next := map[any]int{}
	for _, e := range events {
		id := e.Metadata["container_id"]
		if e.Message != fmt.Sprint("n ", next[id]) {
			t.Fatalf("%s after %d", e.Message, next[id]-1)
		}
		next[id]++
	}
	g.caughtUp()
	for _, w := range ws {
		eventually(t, "trimmed log", func() bool { first, _ := w.j.Bounds(); return first > 0 })
	}
}

// When the store fails until the very end, the next scanner finds the hits.
func TestStoreFailsUntilTheEnd(t *testing.T) {
	g := newRig(t)
	st := &flaky{Store: g.db}
	g.cfg.Store = st
	rules := compile(t, rule.Rule{Pattern: `x`})
	g.start(rules)
	w := g.container(0)
	defer w.end()
	w.lines("x1")
	g.wait(1)
	st.failing.Store(true)
	for i := range 3 * maxWaiting {
		w.lines(fmt.Sprint("x", i+2))
	}
	eventually(t, "held back scanning", func() bool { return g.s.Stats().Waiting >= maxWaiting })
	begin := time.Now()
	g.stop()
	if took := time.Since(begin); took > finishWithin+2*time.Second {
		t.Errorf("stopping took %v", took)
	}
	st.failing.Store(false)
	g.start(rules)
	for i, e := range g.wait(3*maxWaiting + 1) {
		if e.Message != fmt.Sprint("x", i+1) {
			t.Fatalf("%s at %d", e.Message, i)
		}
	}
}

// One container with a long backlog doesn't keep 49 others waiting.
func TestFairness(t *testing.T) {
	g := newRig(t)
	g.cfg.Workers = 2
	loud := g.container(0)
	defer loud.end()
	filler := entry.Append(nil, &entry.Entry{Source: "stdout", TimeNano: 1e18, Line: bytes.Repeat([]byte("x"), 200)})
	marker := entry.Append(nil, &entry.Entry{Source: "stdout", TimeNano: 1e18, Line: []byte("loud")})
	block := append(bytes.Repeat(filler, 1<<20/len(filler)), marker...)
	const blocks = 32 // of 1 MiB
	for range blocks {
		loud.raw(block)
	}
	for n := range 49 {
		w := g.container(n + 1)
		defer w.end()
		w.lines("quiet")
	}
	g.start(compile(t, rule.Rule{Pattern: "u"}))
	loudBefore, quiet := 0, 0
	for _, e := range g.wait(blocks + 49) {
		if e.Message == "quiet" {
			quiet++
		} else if quiet < 49 {
			loudBefore++
		}
	}
	if loudBefore > blocks/4 {
		t.Errorf("%d of %d MiB came before the others", loudBefore, blocks)
	}
}

// Snapshots are swapped while lines flow. Each holds a rule that matches all of
// them: no line is evaluated twice or not at all, and what is written behind
// SetSnapshot's return is evaluated with the new one.
func TestSnapshotSwap(t *testing.T) {
	g := newRig(t)
	snapshots := make([]*rule.Snapshot, 20)
	for i := range snapshots {
		snapshots[i] = compile(t, rule.Rule{ID: int64(i + 1), Pattern: `^\d+ `})
	}
	g.start(snapshots[0])
	const containers = 4
	var current atomic.Int64
	var wg sync.WaitGroup
	var counts [containers]int
	// A turn is some lines, so that a slow machine has no more to do than a fast one.
	var turns [containers]chan struct{}
	const turn = 500
	for n := range containers {
		turns[n] = make(chan struct{}, 1)
		w := g.container(n)
		defer w.end()
		wg.Go(func() {
			for range turns[n] {
				for range turn {
					w.lines(fmt.Sprintf("%d %d", counts[n], current.Load()))
					counts[n]++
				}
			}
		})
	}
	for i, s := range snapshots {
		before := g.s.Stats().Lines
		for _, c := range turns {
			c <- struct{}{}
		}
		g.s.SetSnapshot(s)
		current.Store(int64(i))
		eventually(t, "lines under this snapshot", func() bool { return g.s.Stats().Lines > before+200 })
	}
	for _, c := range turns {
		close(c)
	}
	wg.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	next := map[any]int{}
	for _, e := range g.wait(total) {
		var number, under int
		fmt.Sscan(e.Message, &number, &under)
		id := e.Metadata["container_id"]
		if number != next[id] {
			t.Fatalf("line %d, want %d", number, next[id])
		}
		next[id]++
		if by := int(e.Metadata["rule_id"].(float64)) - 1; by < under {
			t.Fatalf("a line written under snapshot %d was evaluated with %d", under, by)
		}
	}
	t.Log(total, "lines")
}
