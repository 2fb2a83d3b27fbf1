package journal

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

// A segment whose file was removed by hand costs its own lines: they are counted,
// and reported once, and whoever reads goes on behind them.
func TestSegmentRemovedByHand(t *testing.T) {
	for name, row := range map[string]struct {
		which      int // of the segments; -1: the newest
		compressed bool
	}{
		"the oldest":                        {0, false},
		"one between":                       {2, false},
		"one between, compressed":           {2, true},
		"the one being written":             {-1, false},
		"the one behind compressed ones":    {-1, true},
		"all":                               {-2, false},
		"all, of which some are compressed": {-2, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, t.TempDir(), Options{MaxSize: 100_000, MaxFile: 100, Compress: row.compressed}, Config{})
			g.feed(frames(0, 1000))
			g.dir.maintain(t.Context())
			long := frame(1000, 1001, 300)
			g.feed(long[:50]) // the one being written ends inside a frame
			written := append([]byte(nil), readAll(t, g.j, 0)...)
			segments := g.segments()
			remove := segments
			switch {
			case row.which >= 0:
				remove = segments[row.which : row.which+1]
			case row.which == -1:
				remove = segments[len(segments)-1:]
			}
			for _, s := range remove {
				if err := os.Remove(filepath.Join(g.j.path, s)); err != nil {
					t.Fatal(err)
				}
			}
			_, end := g.j.Bounds()
			g.j.mu.Lock()
			g.j.tail = tail{} // as if it held other lines
			g.j.mu.Unlock()
			r := g.j.NewReader(0)
			defer r.Close()
			var read int64
			got := map[int]bool{}
			for {
				b, _, err := r.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				read += int64(len(b))
				for _, n := range numbers(t, b) {
					got[n] = true
				}
			}
			if r.Offset() != end {
				t.Errorf("read up to %d of %d", r.Offset(), end)
			}
			lost, lines := g.lost("corrupt")
			var torn int64
			if row.which < 0 { // and the frame that was begun
				torn = 50
			}
			if read+r.Skipped != int64(len(written)) || lost != r.Skipped+torn || r.Skipped == 0 {
				t.Errorf("%d bytes read and %d skipped of %d; %d reported", read, r.Skipped, len(written), lost)
			}
			if torn > 0 {
				lines-- // its beginning was seen
			}
			if len(got)+int(lines) != 1000 {
				t.Errorf("%d lines read, %d reported, of 1000", len(got), lines)
			}
			before := len(g.losses)
			g.feed(long[50:])
			g.feed(frames(1001, 1100))
			from := 1000
			if torn > 0 {
				from++
			}
			wantRun(t, numbers(t, readAll(t, g.j, end)), from, 1100)
			readAll(t, g.j, 0)
			g.reopen()
			wantRun(t, numbers(t, readAll(t, g.j, end)), from, 1100)
			told := g.losses[before:]
			if torn > 0 {
				told = told[1:] // the rest of the frame
			}
			if len(told) > 1 { // another process tells of a gap that it finds
				t.Errorf("reported again: %+v", told)
			}
		})
	}
}

// Of a container whose lines nobody reads from its files, the file being written
// is missed all the same.
func TestActiveSegmentRemovedByHand(t *testing.T) {
	g := newRig(t, t.TempDir(), DefaultOptions, Config{})
	g.feed(frames(0, 100))
	if err := os.Remove(filepath.Join(g.j.path, g.segments()[0])); err != nil {
		t.Fatal(err)
	}
	g.dir.maintain(t.Context())
	g.feed(frames(100, 200))
	wantRun(t, numbers(t, readAll(t, g.j, 0)), 100, 200)
	if _, frames := g.lost("corrupt"); frames != 100 || len(g.losses) != 1 {
		t.Errorf("%+v", g.losses)
	}
}
