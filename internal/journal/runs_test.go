package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// starts has the container be started, as ingest does.
func (g *rig) starts(fifo string) *Writer {
	g.t.Helper()
	c := g.j.Container()
	c.FIFO, c.Started = fifo, time.Now()
	j, err := g.dir.Create(c)
	if err != nil {
		g.t.Fatal(err)
	}
	j.Release()
	return j.Attach(false)
}

func (g *rig) runs(n int) []Run {
	g.t.Helper()
	runs, _ := g.j.Runs()
	if len(runs) != n {
		g.t.Fatalf("%d runs, not %d: %+v", len(runs), n, runs)
	}
	return runs
}

func TestRuns(t *testing.T) {
	g := newRig(t, t.TempDir(), DefaultOptions, Config{})
	g.feed(frame(0, 1e18, 10))
	g.a.Detach()
	first := g.runs(1)[0]
	if _, goesOn := g.j.Runs(); goesOn || first.From != 0 || first.Started.IsZero() || time.Since(first.Ended) > time.Minute || first.Ended.Before(first.Started) {
		t.Errorf("%+v", first)
	}
	_, end := g.j.Bounds()
	a := g.starts("a")
	if again := g.starts("a"); len(g.runs(2)) != 2 { // repeated, since a process was killed in the call
		t.Error("the same start is two")
	} else {
		again.Detach()
	}
	beside := g.starts("b") // docker logs, while it is about to run
	runs := g.runs(2)
	if _, goesOn := g.j.Runs(); !goesOn || runs[1].From != end || runs[1].N <= runs[0].N || !runs[1].Ended.IsZero() {
		t.Errorf("%+v", runs)
	}
	beside.Detach()
	a.Detach()
	if runs := g.runs(2); runs[1].Ended.IsZero() || runs[0] != first {
		t.Errorf("%+v", runs)
	}
}

// TestRunsOfAKilledProcess has starts be known to the next process, and ends as far as
// they can be.
func TestRunsOfAKilledProcess(t *testing.T) {
	g := newRig(t, t.TempDir(), DefaultOptions, Config{})
	g.starts("a") // beside the rig's own attachment, which begins the only run
	nano := time.Now().Add(time.Minute).UnixNano()
	g.feed(frame(0, nano, 10))
	before := g.runs(1)[0]
	g.dir.Close()
	g.reopenAlone()
	run := g.runs(1)[0]
	if run.N != before.N || !run.Started.Equal(before.Started) || run.Ended.UnixNano() != nano {
		t.Errorf("%+v, and before the kill %+v", run, before)
	}
	g.a = g.j.Attach(true)
	if run, goesOn := g.j.Runs(); !goesOn || !run[0].Ended.IsZero() {
		t.Errorf("attached again: %+v", run)
	}
	g.a.Detach() // its other end was closed long ago
	if run := g.runs(1)[0]; run.Ended.UnixNano() != nano {
		t.Errorf("it ended with its last line, or later: %+v", run)
	}
	// A log that is closed keeps what is known.
	b := g.starts("b")
	b.Detach()
	want := g.runs(2)
	g.j.Release()
	g.dir.maintain(t.Context())
	j, err := g.dir.Acquire(testID)
	if err != nil {
		t.Fatal(err)
	}
	if j == g.j {
		t.Fatal("it wasn't closed")
	}
	g.j = j
	if got := g.runs(2); !got[1].Ended.Equal(want[1].Ended) || got[1].N != want[1].N {
		t.Errorf("%+v, and before %+v", got, want)
	}
}

// reopenAlone opens the log as a new process does that knows of no attachment.
func (g *rig) reopenAlone() {
	g.t.Helper()
	var err error
	if g.dir, err = OpenDir(g.cfg); err != nil {
		g.t.Fatal(err)
	}
	if g.j, err = g.dir.Acquire(testID); err != nil {
		g.t.Fatal(err)
	}
}

// TestAsked has a process know after a kill that an attachment was that of `docker logs`.
func TestAsked(t *testing.T) {
	g := newRig(t, t.TempDir(), DefaultOptions, Config{})
	g.a.Detach()
	g.starts("a")
	g.j.Asked()
	g.dir.Close()
	g.reopenAlone()
	if runs := g.runs(2); runs[0].Asked || !runs[1].Asked {
		t.Errorf("%+v", runs)
	}
	now := time.Now()
	for _, c := range []struct {
		run      Run
		ended    bool
		is, sure bool
	}{
		{Run{Started: now}, false, true, false},
		{Run{Started: now}, true, true, true},
		{Run{Started: now.Add(-time.Minute)}, false, true, true},
		{Run{Started: now, Asked: true}, true, false, true},
		{Run{Started: now.Add(-time.Minute), Asked: true}, false, false, false},
	} {
		if is, sure := c.run.Sure(now, c.ended); is != c.is || sure != c.sure {
			t.Errorf("%+v, ended %t: %t, %t", c.run, c.ended, is, sure)
		}
	}
	// A line is asked for that is there.
	b := g.starts("b")
	g.a = b
	g.feed(frame(0, 1, 10))
	g.j.Asked()
	if runs := g.runs(3); runs[2].Asked {
		t.Errorf("%+v", runs)
	}
	b.Detach()
}

func TestRunsAreBounded(t *testing.T) {
	g := newRig(t, t.TempDir(), DefaultOptions, Config{})
	g.a.Detach()
	for n := range maxRuns + 10 {
		g.starts(fmt.Sprint(n)).Detach()
	}
	runs := g.runs(maxRuns)
	if last := runs[maxRuns-1]; last.FIFO != fmt.Sprint(maxRuns+9) {
		t.Errorf("%+v", last)
	}
	// What can't be read is done without.
	g.dir.Close()
	if err := os.WriteFile(filepath.Join(g.cfg.Root, testID, runsName), []byte(`[{"n":2,"from":5},{"n":1,"from":7}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	g.reopenAlone()
	if runs := g.runs(1); runs[0].N != g.j.Container().Started.UnixMicro() {
		t.Errorf("%+v", runs)
	}
}
