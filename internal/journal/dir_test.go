package journal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// While one log's disk work doesn't end, all others are made, written, opened,
// listed, ended and removed.
func TestOneSlowLogHoldsUpNobody(t *testing.T) {
	root := t.TempDir()
	g := newRig(t, root, DefaultOptions, Config{})
	stopped(t, root, 3)
	g.dir.Close()
	g.open(DefaultOptions, false)
	slow, other := g.dir.listed(t)[0], g.dir.listed(t)[1]
	// Opening it waits for whoever writes to what it reads first.
	note := filepath.Join(root, slow, noteName)
	if err := unix.Mkfifo(note, 0o600); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error)
	go func() {
		j, err := g.dir.Acquire(slow)
		if err == nil {
			j.Release()
		}
		opened <- err
	}()
	waiting := func() (yes bool) {
		g.dir.mu.Lock()
		defer g.dir.mu.Unlock()
		return g.dir.logs[slow].refs > 0
	}
	for !waiting() {
		time.Sleep(time.Millisecond)
	}
	// None of these returns before its time, unless it waits for the slow one.
	g.feed(frames(0, 10))
	j, err := g.dir.Create(Container{ID: "new", Options: DefaultOptions})
	if err != nil {
		t.Fatal(err)
	}
	a := j.Attach(false)
	a.Detach()
	j.Release()
	if j, err = g.dir.Acquire(other); err != nil {
		t.Fatal(err)
	}
	j.Release()
	if !g.dir.Remove(other) || g.dir.Remove(slow) {
		t.Error("one is not removed, or one that is being opened is")
	}
	if n := len(g.dir.IDs()) + len(g.dir.List()); n == 0 {
		t.Error("nothing is listed")
	}
	g.dir.maintain(t.Context())
	g.dir.retain()
	g.a.Detach()
	g.j.Release()
	if !waiting() {
		t.Error("the slow one was opened meanwhile")
	}
	w, err := os.OpenFile(note, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

// listed returns the ids of all logs that stopped made, whether they are scanned or
// not.
func (d *Dir) listed(t *testing.T) (ids []string) {
	t.Helper()
	for _, i := range d.List() {
		if len(i.ID) == 64 {
			ids = append(ids, i.ID)
		}
	}
	return ids
}

// Logs that are kept cost nothing from look to look: no directory is listed but of
// those that have changed, until one is to be removed.
func TestKeptLogsAreLeftAlone(t *testing.T) {
	const n = 200
	root := t.TempDir()
	stopped(t, root, n)
	for _, budget := range []int64{0, 1 << 40} {
		d, err := OpenDir(Config{Root: root, StoppedAge: time.Hour, Budget: budget})
		if err != nil {
			t.Fatal(err)
		}
		listed := 0
		d.readDir = func(name string) ([]os.DirEntry, error) {
			listed++
			return os.ReadDir(name)
		}
		looks := func() (count int) {
			listed = 0
			for range 10 {
				d.maintain(t.Context())
				d.retain()
				d.List()
				d.IDs()
			}
			return listed
		}
		if count := looks(); count != n {
			t.Errorf("%d directories were listed at first", count)
		}
		if count := looks(); count != 0 {
			t.Errorf("%d directories were listed, though nothing changes", count)
		}
		ids := d.IDs()
		j, err := d.Create(Container{ID: "runs", Scan: true, Options: DefaultOptions})
		if err != nil {
			t.Fatal(err)
		}
		if count := looks(); count != 1 {
			t.Errorf("%d directories were listed for one new log", count)
		}
		if again := d.IDs(); len(again) != len(ids)+1 {
			t.Errorf("%d ids, then %d", len(ids), len(again))
		}
		j.Release()
		if count := looks(); count > 1 {
			t.Errorf("%d directories were listed for one that was closed", count)
		}
		if !d.Remove("runs") {
			t.Error("not removed")
		}
		if count := looks(); count != 0 || len(d.List()) != n {
			t.Errorf("%d directories were listed behind a removal; %d logs", count, len(d.List()))
		}
		d.Close()
	}
}

// What somebody else has taken away is not removed a second time: before a log
// loses its lines to the budget, its directory is looked at.
func TestBudgetLooksAgain(t *testing.T) {
	root := t.TempDir()
	stopped(t, root, 3)
	var losses []Loss
	d, err := OpenDir(Config{Root: root, OnLoss: func(l Loss) { losses = append(losses, l) }})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.retain()
	size := d.bytes / 3
	d.cfg.Budget = 2 * size
	oldest := d.byAge()[0]
	for _, f := range []string{segmentPath(d.pathOf(oldest.ID), 0, rawSuffix), filepath.Join(d.pathOf(oldest.ID), metaName)} {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	d.retain()
	if len(d.List()) != 3 || len(losses) > 0 || d.bytes > 2*size {
		t.Errorf("%d logs are left, of %d bytes; reported: %v", len(d.List()), d.bytes, losses)
	}
}

// What is known of a container's runs may be written behind another one's end: that makes
// its log no younger.
func TestAgeGoesByLines(t *testing.T) {
	root := t.TempDir()
	stopped(t, root, 3)
	oldest := ""
	for range 2 {
		d, err := OpenDir(Config{Root: root})
		if err != nil {
			t.Fatal(err)
		}
		d.retain()
		if got := d.byAge()[0].ID; oldest != "" && got != oldest {
			t.Errorf("the oldest is %s, not %s", got, oldest)
		}
		oldest = d.byAge()[0].ID
		if err := os.WriteFile(filepath.Join(d.pathOf(oldest), runsName), []byte("[]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		d.Close()
	}
}

// A root that can't be used is no reason to stop: what a container says is
// drained, dropped and reported, and kept as soon as there is a root.
func TestRootComesBack(t *testing.T) {
	for name, row := range map[string]struct {
		break_ func(t *testing.T, root string)
		mend   func(t *testing.T, root string)
		kept   int // logs that were there
	}{
		"not a directory": {
			func(t *testing.T, root string) {
				if err := os.WriteFile(root, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			},
			func(t *testing.T, root string) { os.Remove(root) }, 0,
		},
		"on a read-only disk": {
			func(t *testing.T, root string) { readOnly(t, filepath.Dir(root)) },
			func(t *testing.T, root string) { unix.Unmount(filepath.Dir(root), unix.MNT_DETACH) }, 0,
		},
		"it can't be listed": {
			func(t *testing.T, root string) {
				stopped(t, root, 2)
				os.Rename(root, root+".away")
				os.Symlink(root, root)
			},
			func(t *testing.T, root string) { os.Remove(root); os.Rename(root+".away", root) }, 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "journal")
			row.break_(t, root)
			g := &rig{t: t}
			d, err := OpenDir(Config{Root: root, SegmentMin: 1, OnLoss: func(l Loss) { g.losses = append(g.losses, l) }})
			if !errors.Is(err, ErrUnavailable) || d.Err() == nil {
				t.Fatal(err)
			}
			g.dir = d
			c := Container{ID: testID, Name: "started meanwhile", Scan: true, Options: DefaultOptions}
			if _, err := d.Create(c); !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
			d.gracePeriod = 0
			g.a = d.Stray(testID, err)
			var p [2]int
			if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			defer unix.Close(p[0])
			defer unix.Close(p[1])
			g.r, g.w = p[0], p[1]
			g.pour(frames(1, 11))
			if _, frames := g.lost("dropped"); frames != 10 {
				t.Errorf("%+v", g.losses)
			}
			if c, ok := d.Container(testID); !ok || c.Name != "started meanwhile" {
				t.Error("its name is forgotten")
			}
			row.mend(t, root)
			ctx, done := t.Context(), make(chan struct{})
			go func() { d.comeBack(ctx); close(done) }()
			<-done
			if d.Err() != nil || len(d.List()) != row.kept+1 {
				t.Fatal(d.Err(), d.List())
			}
			g.a.Detach()
			j, err := d.Acquire(testID)
			if err != nil {
				t.Fatal(err)
			}
			g.j, g.a = j, j.Attach(true)
			g.feed(frames(20, 30))
			wantRun(t, numbers(t, readAll(t, j, 0)), 20, 30)
			if kept, err := readMeta(j.path); err != nil || kept.Name != c.Name || kept.Born != j.State().Birth {
				t.Errorf("%+v, %v; begins at %d", kept, err, j.State().Birth)
			}
		})
	}
}
