package journal

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// age makes a journal's files two hours older.
func (g *rig) age() {
	g.t.Helper()
	then := time.Now().Add(-2 * time.Hour)
	files, err := filepath.Glob(filepath.Join(g.cfg.Root, testID, "*"))
	if err != nil || len(files) == 0 {
		g.t.Fatal(files, err)
	}
	for _, f := range files {
		if err := os.Chtimes(f, then, then); err != nil {
			g.t.Fatal(err)
		}
	}
	g.dir.mu.Lock()
	defer g.dir.mu.Unlock()
	for id, l := range g.dir.logs { // the Dir does not ask anew what nobody has changed
		if l.journal != nil {
			l.journal.onDisk.Store(false)
		} else {
			g.dir.unlisted[id] = l
		}
	}
}

// A container's logs grow old from its end on, however long it had been silent
// before.
func TestStoppedAge(t *testing.T) {
	g := newRig(t, t.TempDir(), DefaultOptions, Config{StoppedAge: time.Hour})
	kept := func() bool { return len(g.dir.List()) == 1 }
	g.feed(frame(0, 1, 100))
	g.age()
	if g.dir.retain(); !kept() {
		t.Fatal("removed while the container runs")
	}
	g.a.Detach()
	g.j.Release()
	if g.dir.retain(); !kept() {
		t.Fatal("removed as soon as the container stopped")
	}
	g.age()
	j, err := g.dir.Acquire(testID) // as the scanner does at each start
	if err != nil {
		t.Fatal(err)
	}
	j.Release()
	if g.dir.retain(); kept() {
		t.Error("kept for longer than the age")
	}
}

// A stopped container's log that alone is too large loses its oldest lines, not
// all of them.
func TestBudgetOfAStoppedContainer(t *testing.T) {
	g := newRig(t, t.TempDir(), Options{MaxSize: 50_000, MaxFile: 100}, Config{Budget: 200_000})
	const lines = 4000
	for i := range lines {
		g.feed(frame(i, int64(i), 100))
	}
	g.a.Detach()
	g.j.Release()
	g.dir.retain()
	j, err := g.dir.Acquire(testID)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Release()
	got := numbers(t, readAll(t, j, 0))
	wantRun(t, got, got[0], lines)
	if u, err := g.dir.list(j.path); err != nil || u.bytes > 200_000 || u.bytes < 130_000 {
		t.Errorf("%d bytes are left", u.bytes)
	}
	first, _ := j.Bounds()
	var end, frames int64
	for _, l := range g.losses { // each segment at once
		if l.ContainerID != testID || l.Reason != "budget" || l.From != end || l.Bytes != l.To-l.From || l.More != (end > 0) {
			t.Errorf("reported behind %d: %+v", end, l)
		}
		end, frames = l.To, frames+l.Frames
	}
	if end != first || frames != int64(got[0]) {
		t.Errorf("%d bytes and %d frames are reported, %d and %d have gone", end, frames, first, got[0])
	}
}

// What others have taken of the budget, the logs may not.
func TestBudgetWithOthers(t *testing.T) {
	var others int64
	g := newRig(t, t.TempDir(), Options{MaxSize: 50_000, MaxFile: 100}, Config{Budget: 1_000_000, Beside: func() int64 { return others }})
	for i := range 4000 {
		g.feed(frame(i, int64(i), 100))
	}
	bytes := func() int64 {
		g.dir.retain()
		u, err := g.dir.list(g.j.path)
		if err != nil {
			t.Fatal(err)
		}
		return u.bytes
	}
	all := bytes()
	if others = 1_000_000 - all; bytes() != all {
		t.Errorf("%d bytes of %d, all of which fit beside the others'", bytes(), all)
	}
	if others = 800_000; bytes() > 200_000 || bytes() < 130_000 {
		t.Errorf("%d bytes are left beside the others'", bytes())
	}
}

// Where the kernel refuses to splice into a file, as it does for one opened to
// be appended to, bytes are copied, and nothing changes but the cost.
func TestSpliceRefused(t *testing.T) {
	g := newRig(t, t.TempDir(), Options{MaxSize: 200_000, MaxFile: 100}, Config{})
	var all []byte
	for i := range 4000 {
		f := frame(i, int64(i+1), 100)
		all = append(all, f...)
		g.feed(f)
		if i == 100 {
			if _, err := unix.FcntlInt(g.j.active.file.Fd(), unix.F_SETFL, unix.O_APPEND); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !g.j.noSplice {
		t.Fatal("the kernel did not refuse")
	}
	if got := readAll(t, g.j, 0); !bytes.Equal(got, all) {
		t.Fatalf("%d bytes of %d", len(got), len(all))
	}
	if n := len(g.segments()); n < 3 {
		t.Errorf("%d segments", n)
	}
	g.reopen()
	if got := readAll(t, g.j, 0); !bytes.Equal(got, all) {
		t.Errorf("after a restart %d bytes of %d", len(got), len(all))
	}
}

// A container may end before anybody has looked after the segments that it
// filled, and its last lines may be scanned just before its log is closed: what
// max-file and compress ask for is done all the same, also after a kill.
func TestTidyAfterTheEnd(t *testing.T) {
	for _, killed := range []bool{false, true} {
		g := newRig(t, t.TempDir(), Options{MaxSize: 50_000, MaxFile: 3, Compress: true}, Config{HoldMax: 1 << 30})
		const lines = 5000
		for i := range lines {
			g.feed(frame(i, int64(i), 100))
		}
		g.j.SetHold(math.MaxInt64)
		g.a.Detach()
		if killed {
			g.dir.Close()
			var err error
			if g.dir, err = OpenDir(g.cfg); err != nil {
				t.Fatal(err)
			}
			if g.j, err = g.dir.Acquire(testID); err != nil {
				t.Fatal(err)
			}
			g.j.SetHold(math.MaxInt64)
		}
		g.j.Release()
		g.dir.maintain(context.Background())
		if n := len(g.dir.open); n != 0 {
			t.Errorf("killed %t: %d logs are open", killed, n)
		}
		names, _ := filepath.Glob(filepath.Join(g.cfg.Root, testID, "*.zst"))
		if all := g.segments(); len(all) != 3 || len(names) != 2 {
			t.Errorf("killed %t: segments %v", killed, all)
		}
	}
}

// Of a container whose options can't be read any more, nothing is removed that they
// may have allowed; what is left behind half-written is.
func TestOptionsUnreadable(t *testing.T) {
	root := t.TempDir()
	g := newRig(t, root, Options{MaxSize: 10_000, MaxFile: 1000}, Config{})
	g.feed(frames(0, 1000))
	all := readAll(t, g.j, 0)
	before := len(g.segments())
	g.dir.Close()
	meta := filepath.Join(root, testID, metaName)
	for _, name := range []string{meta, meta + tmpSuffix, segmentPath(filepath.Join(root, testID), 0, rawSuffix+tmpSuffix)} {
		if err := os.WriteFile(name, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := OpenDir(Config{Root: root, SegmentMin: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	j, err := dir.Acquire(testID)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Release()
	j.SetHold(math.MaxInt64)
	dir.maintain(context.Background())
	if got := readAll(t, j, 0); !bytes.Equal(got, all) || before <= DefaultOptions.MaxFile {
		t.Errorf("%d bytes of %d, in %d segments", len(got), len(all), before)
	}
	if left, _ := filepath.Glob(filepath.Join(root, testID, "*"+tmpSuffix)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// What List says of the disk is what is there, whatever has changed since it
// last looked.
func TestListLooksAgain(t *testing.T) {
	g := newRig(t, t.TempDir(), Options{MaxSize: 50_000, MaxFile: 3, Compress: true}, Config{})
	check := func(after string) {
		t.Helper()
		for range 2 {
			infos := g.dir.List()
			u, err := g.dir.list(g.j.path)
			if err != nil || len(infos) != 1 || infos[0].Bytes != u.bytes || !infos[0].Latest.Equal(u.latest) || !infos[0].LastLine.Equal(u.lastLine) || u.bytes == 0 {
				t.Errorf("%s: %+v, not %+v", after, infos, u)
			}
		}
	}
	check("nothing")
	if lines := g.dir.List()[0].LastLine; !lines.IsZero() {
		t.Errorf("lines of %s, where there are none", lines)
	}
	n := 0
	write := func(lines int) {
		for range lines {
			g.feed(frame(n, int64(n), 100))
			n++
		}
	}
	write(1000)
	check("rotations")
	g.a.Detach()
	g.dir.maintain(t.Context())
	check("a compression, still open")
	g.j.Release()
	g.dir.maintain(t.Context())
	check("its end")
	g.j, _ = g.dir.Create(Container{ID: testID, Options: Options{MaxSize: 50_000, MaxFile: 2, Compress: true}, Name: "of another length"})
	g.a = g.j.Attach(false)
	check("another start")
	write(1000)
	g.a.Detach()
	g.j.Release()
	check("a stop")
	g.dir.maintain(t.Context())
	check("a compression, of one that is not in use")
	r, err := g.dir.Acquire(testID)
	if err != nil {
		t.Fatal(err)
	}
	readAll(t, r, 0)
	r.Release()
	check("a reader")
	if !g.dir.Remove(testID) || len(g.dir.List()) != 0 || g.dir.bytes != 0 || len(g.dir.unlisted) != 0 {
		t.Errorf("removed: %+v", g.dir.List())
	}
}

// When the last line was written is known from its segment, whatever becomes of that
// and of the container.
func TestLastLine(t *testing.T) {
	g := newRig(t, t.TempDir(), Options{MaxSize: 50_000, MaxFile: 3, Compress: true}, Config{})
	for n := range 1000 {
		g.feed(frame(n, int64(n), 100))
	}
	segments, err := filepath.Glob(filepath.Join(g.j.path, "*"+rawSuffix))
	if err != nil || len(segments) < 2 {
		t.Fatal(segments, err)
	}
	written := time.Now().Add(-time.Hour).Truncate(time.Second)
	for _, s := range segments {
		if err := os.Chtimes(s, written, written); err != nil {
			t.Fatal(err)
		}
	}
	g.a.Detach()
	g.j.Release()
	g.dir.maintain(t.Context())
	if left, err := filepath.Glob(filepath.Join(g.j.path, "*"+rawSuffix)); err != nil || len(left) >= len(segments) {
		t.Fatalf("nothing was compressed: %v, %v", left, err)
	}
	g.j, err = g.dir.Create(Container{ID: testID, Options: Options{MaxSize: 50_000, MaxFile: 3, Compress: true}, Name: "another start"})
	if err != nil {
		t.Fatal(err)
	}
	g.a = g.j.Attach(false)
	if i := g.dir.List()[0]; !i.LastLine.Equal(written) || !i.Latest.After(written) {
		t.Errorf("the last line was written at %s, not %s; all at %s", i.LastLine, written, i.Latest)
	}
	g.feed(frame(1000, 1000, 100))
	if i := g.dir.List()[0]; !i.LastLine.After(written) {
		t.Errorf("the last line was written at %s, not now", i.LastLine)
	}
}

// BenchmarkList lists 800 logs of containers that have stopped, with a segment
// each of their own and three that are compressed.
func BenchmarkList(b *testing.B) {
	root := b.TempDir()
	for n := range 800 {
		path := filepath.Join(root, fmt.Sprint("c", n))
		if err := writeMeta(path, Container{ID: fmt.Sprint("c", n), Scan: true, Options: DefaultOptions}, false); err != nil {
			b.Fatal(err)
		}
		for i := range int64(3) {
			os.WriteFile(segmentPath(path, i, compressedSuffix), nil, 0o600)
		}
		os.WriteFile(segmentPath(path, 3, rawSuffix), nil, 0o600)
		os.WriteFile(segmentPath(path, 3, indexSuffix), nil, 0o600)
	}
	d, err := OpenDir(Config{Root: root, SegmentMin: 1})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if n := len(d.List()); n != 800 {
			b.Fatal(n)
		}
	}
}
