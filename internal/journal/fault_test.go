package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// failing makes every read and write of an open file fail with EIO: nothing is
// mapped where it would read or write.
func failing(t *testing.T, f *os.File) (undo func()) {
	t.Helper()
	mem, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	old, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Dup3(int(mem.Fd()), int(f.Fd()), unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	return func() {
		unix.Dup3(old, int(f.Fd()), unix.O_CLOEXEC)
		unix.Close(old)
	}
}

// A file that can't be written to is left for another one. Nothing is lost.
func TestWriteError(t *testing.T) {
	g := newRig(t, t.TempDir(), Options{MaxSize: -1, MaxFile: 5}, Config{})
	g.feed(frames(0, 100))
	g.j.noSplice = true // the fault would refuse it
	failing(t, g.j.active.file)
	unix.Write(g.w, frames(100, 101))
	if err := g.drain(); !errors.Is(err, unix.EIO) {
		t.Fatal(err)
	}
	g.feed(frames(101, 200))
	wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, 200)
	if len(g.segments()) != 2 || len(g.losses) > 0 {
		t.Errorf("%v, %+v", g.segments(), g.losses)
	}
	g.reopen()
	wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, 200)
}

// The same inside a frame, where the rest can't be put into another file: that
// frame is lost, and reported.
func TestWriteErrorInsideFrame(t *testing.T) {
	for _, cut := range []int{1, 3, 4, 50} {
		g := newRig(t, t.TempDir(), Options{MaxSize: -1, MaxFile: 5}, Config{})
		g.feed(frames(0, 100))
		long := frame(100, 101, 300)
		g.feed(long[:cut])
		g.j.noSplice = true
		failing(t, g.j.active.file)
		unix.Write(g.w, long[cut:])
		if err := g.drain(); !errors.Is(err, unix.EIO) {
			t.Fatal(err)
		}
		g.dir.gracePeriod = 0
		rest := append(frames(101, 110), frames(110, 150)...)
		unix.Write(g.w, rest)
		g.drain()
		for range 3 {
			g.a.drop.tried = time.Time{}
			unix.Write(g.w, frames(150, 151))
			g.drain()
		}
		got := numbers(t, readAll(t, g.j, 0))
		wantRun(t, got[:100], 0, 100)
		if got[len(got)-1] != 150 {
			t.Errorf("cut at %d: writing does not go on: %d", cut, got[len(got)-1])
		}
		_, frames := g.lost("dropped")
		_, known := g.lost("corrupt")
		if cut > 3 && len(got)+int(frames) != 153 { // of a header not read back the frame isn't known
			t.Errorf("cut at %d: %d lines kept, %d reported (%d)", cut, len(got), frames, known)
		}
		g.reopen()
		again := numbers(t, readAll(t, g.j, 0))
		if fmt.Sprint(again) != fmt.Sprint(got) {
			t.Errorf("cut at %d: after a restart %d lines of %d", cut, len(again), len(got))
		}
	}
}

// A write that fails and was done all the same: what it left in the file is in
// no reader's way, now and after a restart.
func TestWriteErrorThoughWritten(t *testing.T) {
	g := newRig(t, t.TempDir(), Options{MaxSize: -1, MaxFile: 5}, Config{})
	g.dir.gracePeriod = 0
	g.j.noSplice = true // the fault would refuse it
	g.j.mu.Lock()
	err := g.j.prepareLocked()
	g.j.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	undo := failing(t, g.j.active.file)
	lost := frames(0, 200)
	g.pour(lost)
	undo()
	if _, err := g.j.active.file.WriteAt(lost, 0); err != nil {
		t.Fatal(err)
	}
	g.a.drop.tried = time.Time{}
	g.pour(frames(200, 210))
	all := readAll(t, g.j, 0)
	g.wantAccounted(all, len(frames(0, 210)), 210)
	g.reopen()
	if again := readAll(t, g.j, 0); !bytes.Equal(again, all) {
		t.Errorf("after a restart %d bytes of %d", len(again), len(all))
	}
}

// What was just written and can't be read back is read later; nothing is lost.
func TestReadBackError(t *testing.T) {
	g := newRig(t, t.TempDir(), Options{MaxSize: 5_000, MaxFile: 1000}, Config{})
	g.feed(frames(1, 10))
	file := g.j.active.file
	// Only writing works.
	w, err := os.OpenFile(file.Name(), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	g.j.active.file = w
	unix.Write(g.w, frames(10, 20))
	g.drain()
	if n := len(numbers(t, readAll(t, g.j, 0))); n != 9 {
		t.Errorf("%d lines served before they were seen", n)
	}
	g.j.active.file = file
	w.Close()
	g.feed(frames(20, 30))
	wantRun(t, numbers(t, readAll(t, g.j, 0)), 1, 30)
}

// readOnly makes every change below dir fail with EROFS, but for files that are
// open.
func readOnly(t *testing.T, dir string) (undo func()) {
	t.Helper()
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		t.Fatal("bind mount (the tests run as root):", err)
	}
	undo = func() { unix.Unmount(dir, unix.MNT_DETACH) }
	t.Cleanup(undo)
	if err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	return undo
}

// Where nothing can be made, renamed or removed, what is there is served, lines
// go on as far as they can, and nothing in memory runs ahead of the disk.
func TestReadOnlyDisk(t *testing.T) {
	root := t.TempDir()
	g := newRig(t, root, Options{MaxSize: 50_000, MaxFile: 3, Compress: true}, Config{Budget: 60_000})
	g.feed(frames(0, 500))
	undo := readOnly(t, filepath.Join(root, testID))
	before := readAll(t, g.j, 0)
	g.dir.maintain(context.Background())
	g.dir.retain()
	if got := readAll(t, g.j, 0); !bytes.Equal(got, before) {
		t.Fatalf("%d bytes of %d are left, though nothing could be removed", len(got), len(before))
	}
	if len(g.losses) > 0 {
		t.Errorf("reported: %+v", g.losses)
	}
	g.dir.gracePeriod = 0
	g.pour(frames(500, 900)) // the open segment takes some
	if !g.a.Dropping() {
		t.Error("written, but where?")
	}
	undo()
	g.a.drop.tried = time.Time{}
	g.pour(frames(900, 950))
	all := readAll(t, g.j, 0)
	written := len(frames(0, 950))
	g.wantAccounted(all, written, 950)
	g.dir.maintain(context.Background())
	if n := len(g.segments()); n > 3 {
		t.Errorf("%d segments once they can be removed", n)
	}
	g.a.Detach()
	g.j.Release()
	g.dir.maintain(context.Background()) // closes it

	// A stopped container's log, opened again.
	undo = readOnly(t, filepath.Join(root, testID))
	j, err := g.dir.Acquire(testID)
	if err != nil {
		t.Fatal(err)
	}
	kept := readAll(t, j, 0)
	g.dir.gracePeriod = 0
	g.j, g.a = j, j.Attach(false)
	g.pour(frames(950, 1000))
	undo()
	g.a.drop.tried = time.Time{}
	g.pour(frames(1000, 1010))
	after := numbers(t, readAll(t, j, 0))
	if len(after) != len(numbers(t, kept))+10 || after[len(after)-1] != 1009 {
		t.Errorf("%d lines, then %d", len(numbers(t, kept)), len(after))
	}
}

// A container starts and says something while the disk is full, of bytes or of
// files; its log is there as soon as there is space.
func TestStartWhileFull(t *testing.T) {
	for what, full := range map[string]struct {
		size string
		fill func(t *testing.T, root string) (undo func())
	}{
		"bytes": {"256k", fill},
		"files": {"256k,nr_inodes=40", func(t *testing.T, root string) (undo func()) {
			var made []string
			for n := 0; ; n++ {
				name := filepath.Join(root, fmt.Sprint("filler", n))
				if err := os.WriteFile(name, nil, 0o600); err != nil {
					break
				}
				made = append(made, name)
			}
			return func() {
				for _, name := range made {
					os.Remove(name)
				}
			}
		}},
	} {
		t.Run(what, func(t *testing.T) {
			root := smallDisk(t, full.size)
			g := newRig(t, filepath.Join(root, "j"), DefaultOptions, Config{})
			g.dir.gracePeriod = 0
			undo := full.fill(t, root)
			want := Container{ID: "new", Name: "new one", Options: DefaultOptions, Tag: string(bytes.Repeat([]byte("x"), 10_000))}
			j, err := g.dir.Create(want)
			if err != nil {
				t.Fatal("a container can't start on a full disk:", err)
			}
			g.a = j.Attach(false)
			g.pour(frames(1, 10))
			if got := numbers(t, readAll(t, j, 0)); len(got) != 0 {
				t.Errorf("%d lines are read of none", len(got))
			}
			undo()
			g.a.drop.tried = time.Time{}
			g.pour(frames(10, 20))
			wantRun(t, numbers(t, readAll(t, j, 0)), 10, 20)
			if c, err := readMeta(j.path); err != nil || c.Name != want.Name {
				t.Errorf("%+v, %v", c, err)
			}
			if _, frames := g.lost("dropped"); frames != 9 {
				t.Errorf("%+v", g.losses)
			}
		})
	}
}

// Compression fails at each step, or its last step is done and yet fails: the
// log is the same, now and after a restart, and is compressed when it can be.
func TestCompressionFails(t *testing.T) {
	for name, fail := range map[string]func(g *rig) (undo func()){
		"no space": func(g *rig) func() { return fill(g.t, filepath.Dir(g.cfg.Root)) },
		"nothing can be made or renamed": func(g *rig) func() {
			return readOnly(g.t, g.j.path)
		},
		"the name is taken by a directory": func(g *rig) func() { // rename fails
			name := segmentPath(g.j.path, 0, compressedSuffix)
			os.MkdirAll(filepath.Join(name, "x"), 0o700)
			return func() { os.RemoveAll(name) }
		},
		"renamed, but the raw one stays": func(g *rig) func() {
			s := g.j.segments[0]
			raw, _ := os.ReadFile(segmentPath(g.j.path, 0, rawSuffix))
			with, _ := newCompressor()
			defer with.close()
			if err := g.j.compress(s, with); err != nil {
				g.t.Fatal(err)
			}
			os.WriteFile(segmentPath(g.j.path, 0, rawSuffix), raw, 0o600)
			g.reopen()
			return func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := smallDisk(t, "8m")
			var log bytes.Buffer
			g := newRig(t, filepath.Join(root, "j"), Options{MaxSize: 200_000, MaxFile: 100, Compress: true}, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			g.feed(frames(0, 1000))
			all := readAll(t, g.j, 0)
			undo := fail(g)
			for range 2 {
				g.dir.maintain(context.Background())
				if got := readAll(t, g.j, 0); !bytes.Equal(got, all) {
					t.Fatalf("%d bytes of %d", len(got), len(all))
				}
			}
			if said := strings.Count(log.String(), "rotated segment stays as it is"); said > 1 {
				t.Errorf("tried %d times, without a pause", said)
			}
			if left, _ := filepath.Glob(filepath.Join(g.j.path, "*"+tmpSuffix)); len(left) > 0 {
				t.Error("left:", left)
			}
			undo()
			g.reopen()
			if got := readAll(t, g.j, 0); !bytes.Equal(got, all) {
				t.Fatalf("after a restart %d bytes of %d", len(got), len(all))
			}
			g.dir.maintain(context.Background())
			if got := readAll(t, g.j, 0); !bytes.Equal(got, all) {
				t.Fatalf("compressed %d bytes of %d", len(got), len(all))
			}
			for _, s := range g.j.segments[:len(g.j.segments)-1] {
				if !s.compressed {
					t.Error("not compressed:", s.base)
				}
			}
		})
	}
}

// A reader passes over what the disk does not give back, and counts it.
func TestReadError(t *testing.T) {
	for _, compress := range []bool{false, true} {
		g := newRig(t, t.TempDir(), Options{MaxSize: 300_000, MaxFile: 100, Compress: compress}, Config{})
		g.feed(frames(0, 3000))
		g.dir.maintain(context.Background())
		r := g.j.NewReader(0)
		b, _, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		read := int64(len(b))
		got := numbers(t, b)
		failing(t, r.file)
		for {
			b, _, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			read += int64(len(b))
			got = append(got, numbers(t, b)...)
		}
		if _, end := g.j.Bounds(); r.Skipped == 0 || read+r.Skipped != end {
			t.Errorf("compressed %v: %d bytes read and %d skipped of %d", compress, read, r.Skipped, end)
		}
		for i := 1; i < len(got); i++ {
			if got[i] <= got[i-1] {
				t.Fatalf("line %d after %d", got[i], got[i-1])
			}
		}
		if got[len(got)-1] != 2999 {
			t.Error("the reader stops at the error")
		}
		r.Close()
	}
}

// A segment that is damaged while the journal is open costs its own lines only,
// for a tail and a time too.
func TestDamagedWhileOpen(t *testing.T) {
	g := newRig(t, t.TempDir(), Options{MaxSize: 100_000, MaxFile: 100, Compress: true}, Config{})
	g.feed(frames(0, 1000))
	g.dir.maintain(context.Background())
	for _, s := range g.segments()[:2] {
		truncate(t, filepath.Join(g.j.path, s), 10)
	}
	whole := g.j.segments[2].base
	kept := numbers(t, readAll(t, g.j, whole))
	for _, n := range []int64{1000, 990, int64(len(kept)), 5} {
		off, err := g.j.SeekTail(n)
		if err != nil {
			t.Fatal(err)
		}
		got := numbers(t, readAll(t, g.j, off))
		wantRun(t, got, 1000-min(int(n), len(kept)), 1000)
	}
	off, err := g.j.SeekTime(1)
	if err != nil {
		t.Fatal(err)
	}
	wantRun(t, numbers(t, readAll(t, g.j, off)), 1000-len(kept), 1000)
}
