package scan

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"logscan/internal/journal"
	"logscan/internal/rule"
)

// What max-file asks for happens as soon as the lines were scanned, also where
// their container has ended by then.
func TestScannedLinesMayGo(t *testing.T) {
	for _, when := range []string{"scanned later", "scanned meanwhile"} {
		t.Run(when, func(t *testing.T) { scannedLinesMayGo(t, when == "scanned meanwhile") })
	}
}

func scannedLinesMayGo(t *testing.T, meanwhile bool) {
	g := newRig(t)
	g.openJournals(journal.Config{HoldMax: 1 << 30})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { g.dir.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	if meanwhile {
		g.start(compile(t))
	}
	w := g.attach(0, journal.Options{MaxSize: 10_000, MaxFile: 3}, true, false)
	for range 1000 {
		w.lines("a line of some length, so that a few hundred of them fill many segments")
	}
	w.end()
	segments := func() int {
		names, _ := filepath.Glob(filepath.Join(g.root, "journal/*/*.seg"))
		return len(names)
	}
	if !meanwhile {
		if n := segments(); n < 6 {
			t.Fatalf("%d segments before anything is scanned", n)
		}
		g.start(compile(t))
	}
	eventually(t, "three segments", func() bool { return segments() == 3 })
}

// A container's lines count as seen once they were evaluated and that is stored,
// not before, and then nothing uses its log any more.
func TestFinished(t *testing.T) {
	g := newRig(t)
	st := &flaky{Store: g.db}
	g.cfg.Store = st
	w := g.container(0)
	w.lines("x 1")
	off := g.attach(1, journal.DefaultOptions, false, false)
	off.lines("x 1")
	id := containerID(0)
	g.start(nil)
	if g.s.Finished(id) {
		t.Error("finished without rules")
	}
	if !g.s.Finished(containerID(1)) || !g.s.Finished(containerID(2)) {
		t.Error("a container that isn't scanned, or has no log, isn't finished")
	}
	g.s.SetSnapshot(compile(t, rule.Rule{Pattern: "x"}))
	finished := func() bool { return g.s.Finished(id) }
	eventually(t, "end of the first line", finished)

	st.failing.Store(true)
	w.lines("x 2")
	eventually(t, "refused commit", func() bool { return g.s.Stats().Failing })
	if finished() {
		t.Error("finished with a hit that isn't stored")
	}
	st.failing.Store(false)
	eventually(t, "end of the second line", finished)
	g.wait(2)

	// Nor does a line count that may go on.
	w.put(chunk("stdout", "1", "x 3", false))
	eventually(t, "beginning of a line", func() bool { return g.s.Stats().Lines == 2 && len(g.s.Lag()) == 0 })
	if finished() {
		t.Error("finished in the middle of a line")
	}
	if g.dir.Remove(id) {
		t.Error("removed while it is written")
	}
	w.end()
	off.end()
	g.wait(3)
	eventually(t, "end of the third line", finished)
	g.stop()
	g.start(compile(t))
	eventually(t, "end of all lines after a restart", finished)
	eventually(t, "log that nobody reads", func() bool { return g.dir.Remove(id) })
	if !finished() || len(g.dir.List()) != 1 {
		t.Errorf("left: %+v", g.dir.List())
	}
	eventually(t, "end of its cursor", func() bool { _, ok, err := g.db.Cursor(context.Background(), id); return err == nil && !ok })
}
