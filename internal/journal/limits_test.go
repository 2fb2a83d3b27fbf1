package journal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What a container's options ask for is kept within the journal's own bounds.
func TestLimits(t *testing.T) {
	d, err := OpenDir(Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		o     Options
		size  int64
		files int
	}{
		{DefaultOptions, 20 << 20, 5},
		{Options{MaxSize: 1, MaxFile: 5}, 64 << 10, 5},
		{Options{MaxSize: 64<<10 + 1, MaxFile: 0}, 64<<10 + 1, 1},
		{Options{MaxSize: 20 << 20, MaxFile: 1e9}, 20 << 20, filesMax},
		{Options{MaxSize: -1, MaxFile: 1}, 1 << 30, filesMax},
		{Options{MaxSize: 1 << 30, MaxFile: 3}, 1 << 30, 3},
		{Options{MaxSize: 3 << 30, MaxFile: 2}, 1 << 30, 6},
		{Options{MaxSize: 1<<30 + 1<<29, MaxFile: 2}, 3 << 28, 4},
		{Options{MaxSize: 1 << 60, MaxFile: 1 << 40}, 1 << 30, filesMax},
	} {
		if size, files := d.limits(row.o); size != row.size || files != row.files {
			t.Errorf("%+v: %d files of %d bytes", row.o, files, size)
		}
	}
}

// A container with the smallest max-size there is does not begin a file for each
// of its lines, and who ingests is told of those that it begins.
func TestTinySegments(t *testing.T) {
	g := newRig(t, t.TempDir(), Options{MaxSize: 1, MaxFile: 1 << 30}, Config{SegmentMin: segmentMin})
	b := frames(0, 3000)
	rotated := 0
	for rest := b; len(rest) > 0; {
		n := min(len(rest), 256<<10)
		n, err := unix.Write(g.w, rest[:n])
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = g.a.Ingest(g.r, 1<<20)
			rotated += g.a.Rotated()
		}
		rest = rest[n:]
	}
	raw := 0
	for _, name := range g.segments() {
		if strings.HasSuffix(name, rawSuffix) {
			raw++
		}
	}
	if most := len(b)/segmentMin + 1; raw > most || raw < 5 || rotated != raw {
		t.Errorf("%d files of %d bytes, at most %d are right; Ingest told of %d", raw, len(b), most, rotated)
	}
	wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, 3000)
}

// A container without a limit of its own is within the budget all the same, and
// what it loses is reported.
func TestBudgetOfAnUnlimitedContainer(t *testing.T) {
	g := newRig(t, t.TempDir(), Options{MaxSize: -1, MaxFile: 1}, Config{Budget: 1 << 20})
	g.dir.segmentMax = 100_000 // 1 GiB
	g.feed(frames(0, 10_000))
	if n := len(g.segments()); n < 10 {
		t.Fatalf("%d segments", n)
	}
	g.j.trim()
	if lost, _ := g.lost("unscanned"); lost > 0 {
		t.Errorf("max-file=1 has removed %d bytes of what has no limit", lost)
	}
	g.dir.retain()
	if bytes := g.dir.List()[0].Bytes; bytes > 1<<20 || bytes < 1<<19 {
		t.Errorf("%d bytes are left of a budget of 1 MiB", bytes)
	}
	if lost, _ := g.lost("budget"); lost == 0 {
		t.Error("nothing was reported")
	}
	if points := len(g.j.segments[len(g.j.segments)-1].points); points > 3 {
		t.Errorf("%d points of the active segment's index are in memory", points)
	}
	files, err := filepath.Glob(filepath.Join(g.j.path, "*"+rawSuffix))
	if err != nil || len(files) != len(g.j.segments) {
		t.Errorf("%d files, %v", len(files), err)
	}
	if _, err := os.Stat(segmentPath(g.j.path, 0, rawSuffix)); err == nil {
		t.Error("the oldest segment is still there")
	}
}
