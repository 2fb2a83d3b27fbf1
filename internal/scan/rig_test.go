package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/lines"
	"logscan/internal/rule"
	"logscan/internal/store"
)

// rig is a scanner over a real journal and a real store.
type rig struct {
	t    testing.TB
	root string
	cfg  Config // for start; Journals and Store are filled in
	dir  *journal.Dir
	db   *store.Store
	s    *Scanner
	stop func() // ends Run and waits for it
	seen []event.Event
}

func newRig(t testing.TB) *rig {
	g := &rig{t: t, root: t.TempDir()}
	g.openJournals(journal.Config{})
	g.openStore()
	t.Cleanup(func() {
		if g.stop != nil {
			g.stop()
		}
		g.db.Close()
		g.dir.Close()
	})
	return g
}

func (g *rig) openJournals(cfg journal.Config) {
	cfg.Root = filepath.Join(g.root, "journal")
	notify := func(id string) {
		if g.s != nil {
			g.s.Notify(id)
		}
	}
	cfg.OnAppend, cfg.OnAttach, cfg.OnDetach = notify, notify, notify
	cfg.SegmentMin = 1
	var err error
	if g.dir, err = journal.OpenDir(cfg); err != nil {
		g.t.Fatal(err)
	}
}

func (g *rig) openStore() {
	var err error
	if g.db, err = store.Open(filepath.Join(g.root, "test.db"), nil); err != nil {
		g.t.Fatal(err)
	}
}

// start runs a new scanner with these rules.
func (g *rig) start(rules *rule.Snapshot) {
	g.cfg.Journals = g.dir
	if g.cfg.Store == nil {
		g.cfg.Store = g.db
	}
	g.s = New(g.cfg)
	g.s.tick = 20 * time.Millisecond
	if rules != nil {
		g.s.SetSnapshot(rules)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { g.s.Run(ctx) })
	g.stop = func() {
		cancel()
		wg.Wait()
		g.stop = nil
	}
}

// events returns the events so far, oldest first.
func (g *rig) events() []event.Event {
	g.t.Helper()
	for {
		f := store.EventFilter{Ascending: true}
		if n := len(g.seen); n > 0 {
			f.After = g.seen[n-1].ID
		}
		page, err := g.db.Events(context.Background(), f)
		if err != nil {
			g.t.Fatal(err)
		}
		if len(page) == 0 {
			return slices.Clone(g.seen)
		}
		g.seen = append(g.seen, page...)
	}
}

// wait returns the events once there are n.
func (g *rig) wait(n int) []event.Event {
	g.t.Helper()
	var events []event.Event
	eventually(g.t, fmt.Sprintf("%d events", n), func() bool {
		events = g.events()
		return len(events) >= n
	})
	if len(events) > n {
		g.t.Fatalf("%d events, want %d", len(events), n)
	}
	return events
}

// caughtUp waits until all that was written is evaluated and committed.
func (g *rig) caughtUp() {
	g.t.Helper()
	eventually(g.t, "end of the lag", func() bool { return len(g.s.Lag()) == 0 && g.s.Stats().Waiting == 0 })
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within five minutes", what)
		}
	}
}

func encoded(p lines.Position) []byte {
	b, _ := p.MarshalBinary()
	return b
}

// messages are the events' messages, joined by " ".
func messages(events []event.Event) string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = e.Message
	}
	return strings.Join(out, " ")
}

// compile makes a snapshot of rules that have no limits, unless they say so.
func compile(t testing.TB, rules ...rule.Rule) *rule.Snapshot {
	t.Helper()
	for i := range rules {
		r := &rules[i]
		if r.ID == 0 {
			r.ID = int64(i + 1)
		}
		r.Name, r.Severity, r.Enabled = "rule "+r.Pattern, "warn", true
		if r.Streams == "" {
			r.Streams = "all"
		}
	}
	s, bad := rule.Compile(rules, rule.WithBucket(rule.Bucket{}))
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	return s
}

// writer writes a container's log as dockerd and ingest would.
type writer struct {
	t    testing.TB
	j    *journal.Journal
	a    *journal.Writer
	r, w int
	nano int64
	buf  []byte
}

func containerID(n int) string { return fmt.Sprintf("%064x", n+1) }

func (g *rig) container(n int, set ...func(*journal.Container)) *writer {
	return g.attach(n, journal.DefaultOptions, true, false, set...)
}

func (g *rig) attach(n int, o journal.Options, scan, resumed bool, set ...func(*journal.Container)) *writer {
	g.t.Helper()
	c := journal.Container{
		ID: containerID(n), Name: fmt.Sprint("c", n), Image: "busybox", Workload: fmt.Sprint("w", n),
		Scan: scan, Options: o,
	}
	for _, f := range set {
		f(&c)
	}
	j, err := g.dir.Create(c)
	if err != nil {
		g.t.Fatal(err)
	}
	w := &writer{t: g.t, j: j, a: j.Attach(resumed), nano: 1e18}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		g.t.Fatal(err)
	}
	w.r, w.w = p[0], p[1]
	unix.FcntlInt(uintptr(w.r), unix.F_SETPIPE_SZ, 256<<10)
	return w
}

// end ends the attachment.
func (w *writer) end() {
	w.a.Detach()
	w.j.Release()
	unix.Close(w.r)
	unix.Close(w.w)
}

// put writes entries; those without a time get one a millisecond later than
// the last.
func (w *writer) put(entries ...entry.Entry) {
	w.t.Helper()
	w.buf = w.buf[:0]
	for _, e := range entries {
		if e.Source == "" {
			e.Source = "stdout"
		}
		if e.TimeNano == 0 {
			w.nano += 1e6
			e.TimeNano = w.nano
		}
		w.buf = entry.Append(w.buf, &e)
	}
	w.raw(w.buf)
}

func (w *writer) raw(b []byte) {
	w.t.Helper()
	for len(b) > 0 {
		n, err := unix.Write(w.w, b)
		if err != nil && err != unix.EAGAIN {
			w.t.Fatal(err)
		}
		b = b[max(n, 0):]
		for {
			if _, err := w.a.Ingest(w.r, 1<<20); errors.Is(err, unix.EAGAIN) || err == io.EOF {
				break
			} else if err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

func (w *writer) lines(lines ...string) {
	w.t.Helper()
	var es []entry.Entry
	for _, l := range lines {
		es = append(es, entry.Entry{Line: []byte(l)})
	}
	w.put(es...)
}

var streams = [...]string{"stdout", "stderr"}

// chunk is a part of a long line.
func chunk(source, id, text string, last bool) entry.Entry {
	return entry.Entry{Source: source, Line: []byte(text), Partial: true, HasMeta: true, ID: id, Last: last, Ordinal: 1}
}
