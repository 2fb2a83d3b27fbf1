package journal

import (
	"os"
	"testing"
)

// Of several attachments that were there before a restart, none finishes the frame
// that another has begun: each keeps its own whole frames.
func TestUnfinishedFrameOfOneOfTwo(t *testing.T) {
	for _, first := range []bool{true, false} {
		g := newRig(t, t.TempDir(), DefaultOptions, Config{})
		g.feed(frames(1, 10))
		long := frame(10, 11, 300)
		g.feed(long[:100])
		g.reopen()
		inside, other := g.a, g.j.Attach(true)
		write := func(a *Writer, b []byte) {
			g.a = a
			g.feed(b)
		}
		if first {
			write(inside, append(append([]byte(nil), long[100:]...), frames(11, 20)...))
			write(other, frames(20, 30))
		} else {
			write(other, frames(11, 20))
			write(inside, append(append([]byte(nil), long[100:]...), frames(20, 30)...))
		}
		got := numbers(t, readAll(t, g.j, 0))
		wantRun(t, got[:9], 1, 10)
		wantRun(t, got[9:], 11, 30)
		torn, _ := g.lost("torn")
		corrupt, _ := g.lost("corrupt")
		if torn != 100 || int(corrupt) != len(long)-100 {
			t.Errorf("%+v", g.losses)
		}
	}
}

// What a kill left of a segment that was being removed is removed, and what was set
// aside is the first that the budget takes.
func TestLeftovers(t *testing.T) {
	g := newRig(t, t.TempDir(), Options{MaxSize: 100_000, MaxFile: 100}, Config{Budget: 1 << 30})
	g.feed(frames(1, 1000))
	g.j.mu.Lock()
	g.j.dropOldestLocked()
	g.j.mu.Unlock()
	orphan := segmentPath(g.j.path, 0, indexSuffix)
	aside := segmentPath(g.j.path, 0, rawSuffix) + asideSuffix
	for _, name := range []string{orphan, aside} {
		if err := os.WriteFile(name, make([]byte, 50_000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g.reopen()
	if _, err := os.Stat(orphan); err == nil {
		t.Error("an index without a segment is still there")
	}
	before := readAll(t, g.j, 0)
	g.dir.survey()
	g.dir.cfg.Budget = g.dir.bytes - 1
	g.dir.retain()
	if _, err := os.Stat(aside); err == nil {
		t.Error("what was set aside is still there")
	}
	if after := readAll(t, g.j, 0); len(after) != len(before) || len(g.losses) > 0 {
		t.Errorf("%d bytes of %d are left; %+v", len(after), len(before), g.losses)
	}
}

// What the blocks in memory hold of a log is given back when it is removed or
// closed.
func TestBlocksAreGivenBack(t *testing.T) {
	before := freshBlocks.Load()
	g := newRig(t, t.TempDir(), DefaultOptions, Config{})
	for _, remove := range []bool{true, false} {
		j, err := g.dir.Create(Container{ID: "c", Scan: true, Options: DefaultOptions})
		if err != nil {
			t.Fatal(err)
		}
		b := frames(1, 500)
		g.j.mu.Lock()
		for range freshMax {
			buf := buffers.Get().(*[]byte)
			j.fresh.add(0, buf, copy(*buf, b))
		}
		g.j.mu.Unlock()
		if freshBlocks.Load() == before {
			t.Fatal("there are none")
		}
		j.needsMaintenance.Store(remove) // so that it is still open
		j.Release()
		if remove && !g.dir.Remove("c") {
			t.Error("not removed")
		}
		if n := freshBlocks.Load(); n != before {
			t.Errorf("%d blocks are held of none, removed %t", n-before, remove)
		}
	}
}
