package journal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A log that is made again after its removal begins behind all that it ever had,
// and what reads on from there misses nothing and counts nothing as lost.
func TestOffsetsAreNeverReused(t *testing.T) {
	const day = int64(24 * 3600 * 1e6)
	for name, between := range map[string]struct {
		first   int64 // the time at which the first log is made
		second  int64 // and the one after it
		closed  bool  // the first is closed when it is removed
		restart bool
	}{
		"time has passed":                        {1e15, 1e15 + day, true, false},
		"at the same time":                       {1e15, 1e15, true, false},
		"still open":                             {1e15, 1e15, false, false},
		"the clock was set back":                 {1e15, 1e15 - day, true, false},
		"a restart, and the clock was set back":  {1e15, 1e15 - day, true, true},
		"the first began at 0, as they once did": {0, 1e15, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, t.TempDir(), Options{MaxSize: 50_000, MaxFile: 100, Compress: true}, Config{})
			g.dir.now = func() int64 { return between.first }
			c := Container{ID: "again", Options: g.j.Container().Options}
			make := func() {
				var err error
				if g.j, err = g.dir.Create(c); err != nil {
					t.Fatal(err)
				}
				g.a = g.j.Attach(false)
			}
			make()
			if between.first != g.j.State().End || between.first != g.j.State().First {
				t.Fatalf("%+v of one that begins at %d", g.j.State(), between.first)
			}
			g.feed(frames(0, 1000))
			cursor := g.j.State().End
			g.a.Detach()
			if !between.closed {
				g.j.needsMaintenance.Store(true) // there is something to do: it stays open
			}
			g.j.Release()
			if !g.dir.Remove("again") {
				t.Fatal("not removed")
			}
			if between.restart {
				g.dir.Close()
				var err error
				if g.dir, err = OpenDir(g.cfg); err != nil {
					t.Fatal(err)
				}
			}
			g.dir.now = func() int64 { return between.second }
			make()
			st := g.j.State()
			if st.First <= cursor || st.First != st.End || st.Birth != st.First {
				t.Fatalf("the first log ended at %d, of the second %+v", cursor, st)
			}
			r := g.j.NewReader(cursor)
			defer r.Close()
			if _, off, err := r.Next(); err == nil || off != st.First || r.Offset() != st.First {
				t.Errorf("an empty log that begins at %d is read up to %d, %v", st.First, r.Offset(), err)
			}
			g.feed(frames(1000, 1100))
			for _, from := range []int64{0, cursor - 1, cursor, cursor + 1, st.First} {
				r := g.j.NewReader(from)
				_, off, err := r.Next()
				if err != nil || off != st.First || r.Skipped != 0 {
					t.Errorf("from %d: at %d, %v; %d bytes are said to be lost", from, off, err, r.Skipped)
				}
				r.Close()
				wantRun(t, numbers(t, readAll(t, g.j, from)), 1000, 1100)
			}
			// It stays so when it is opened again, and when it loses its beginning.
			g.feed(frames(1100, 2000))
			g.a.Detach()
			g.j.Release()
			g.dir.maintain(t.Context())
			g.dir.Close()
			var err error
			if g.dir, err = OpenDir(g.cfg); err != nil {
				t.Fatal(err)
			}
			if g.j, err = g.dir.Acquire("again"); err != nil {
				t.Fatal(err)
			}
			defer g.j.Release()
			if again := g.j.State(); again.Birth != st.Birth || again.First != st.First {
				t.Errorf("opened again %+v, was %+v", again, st)
			}
			g.j.mu.Lock()
			lost := g.j.segments[0].size
			g.j.dropOldestLocked()
			g.j.mu.Unlock()
			r = g.j.NewReader(cursor)
			defer r.Close()
			if _, off, err := r.Next(); err != nil || r.Skipped != lost || off != st.First+lost {
				t.Errorf("%d bytes of %d were skipped, %v", r.Skipped, lost, err)
			}
		})
	}
}

// A log that began at 0, and of which nothing says where it began, goes on.
func TestLogOfAnOlderVersion(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, testID)
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		metaName: []byte(`{"id": "` + testID + `", "name": "test", "scan": true, "options": {"max_size": 50000, "max_file": 100}}`),
		filepath.Base(segmentPath(path, 0, rawSuffix)): frames(0, 100),
	} {
		if err := os.WriteFile(filepath.Join(path, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := newRig(t, root, Options{MaxSize: 50_000, MaxFile: 100}, Config{})
	g.feed(frames(100, 1000))
	g.reopen()
	wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, 1000)
	if st := g.j.State(); st.First != 0 || st.Birth != 0 || st.End != int64(len(frames(0, 1000))) {
		t.Errorf("%+v", st)
	}
	for _, name := range g.segments() {
		if base, _, _ := parseName(name); base > g.j.State().End || !strings.HasSuffix(name, rawSuffix) {
			t.Error(name)
		}
	}
}
