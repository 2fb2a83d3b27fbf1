package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
)

// smallDisk mounts a filesystem of its own.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	root := t.TempDir()
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal("mount a small tmpfs (the tests run as root):", err)
	}
	t.Cleanup(func() { unix.Unmount(root, unix.MNT_DETACH) })
	return root
}

// fill takes all that is left of a disk.
func fill(t *testing.T, root string) (undo func()) {
	t.Helper()
	name := filepath.Join(root, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for b := make([]byte, 64<<10); len(b) > 0; {
		if _, err := f.Write(b); err != nil {
			b = b[:len(b)/2]
		}
	}
	return func() { os.Remove(name) }
}

// pour writes b into the pipe and ingests, whatever fails.
func (g *rig) pour(b []byte) {
	g.t.Helper()
	for len(b) > 0 {
		n, err := unix.Write(g.w, b)
		if err != nil && err != unix.EAGAIN {
			g.t.Fatal(err)
		}
		b = b[max(n, 0):]
		g.drain()
	}
}

// ingest hands b over in a pipe of its own.
func (g *rig) ingest(b []byte) {
	g.t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		g.t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	unix.Write(p[1], b)
	if n, err := g.a.Ingest(p[0], 1<<20); n != len(b) || err != nil {
		g.t.Fatal(n, err)
	}
}

// frames are those from one number to another, of several sizes.
func frames(from, to int) (out []byte) {
	for i := from; i < to; i++ {
		size := 20 + i*37%300
		if i%40 == 0 {
			size = 16000
		}
		out = append(out, frame(i, int64(i+1), size)...)
	}
	return out
}

// lost sums up what was reported for a reason.
func (g *rig) lost(reason string) (bytes, frames int64) {
	for _, l := range g.losses {
		if l.Reason == reason {
			bytes += l.Bytes
			frames += l.Frames
		}
	}
	return bytes, frames
}

// wantAccounted checks that the lines in b are in order, and that with those
// reported as dropped they are all that were written.
func (g *rig) wantAccounted(b []byte, written, end int) {
	g.t.Helper()
	got := numbers(g.t, b)
	for i := 1; i < len(got); i++ {
		if got[i] <= got[i-1] {
			g.t.Fatalf("line %d after %d", got[i], got[i-1])
		}
	}
	bytes, frames := g.lost("dropped")
	if len(got)+int(frames) != end || len(b)+int(bytes) != written {
		g.t.Errorf("%d lines of %d bytes are kept and %d of %d reported; %d of %d were written", len(got), len(b), frames, bytes, end, written)
	}
	if len(got) == 0 || got[len(got)-1] != end-1 {
		g.t.Error("the last line is not kept")
	}
	if c := g.dir.Losses()["dropped"]; c.Bytes != bytes || c.Frames != frames {
		g.t.Errorf("counted %+v, reported %d bytes and %d frames", c, bytes, frames)
	}
}

// A disk that stays full costs the newest lines, whole and counted, and nobody
// waits; with space again the log goes on. The disk fills up anywhere in a frame.
func TestDropWhileFull(t *testing.T) {
	for _, noSplice := range []bool{false, true} {
		for _, maxSize := range []int64{-1, 30_000} {
			t.Run(fmt.Sprintf("splice %v, max-size %d", !noSplice, maxSize), func(t *testing.T) {
				root := smallDisk(t, "1m")
				g := newRig(t, filepath.Join(root, "j"), Options{MaxSize: maxSize, MaxFile: 1000}, Config{})
				g.j.noSplice = noSplice
				var written, n int
				pour := func(lines int) {
					b := frames(n, n+lines)
					n += lines
					written += len(b)
					g.pour(b)
				}
				pour(100)
				for round := range 5 {
					g.dir.patience = time.Hour
					undo := fill(t, root)
					if round%2 == 1 { // some trickles in
						filler := filepath.Join(root, "filler")
						info, err := os.Stat(filler)
						if err != nil {
							t.Fatal(err)
						}
						truncate(t, filler, info.Size()-int64(round)*5000)
					}
					g.dir.patience = 0
					pour(500)
					if !g.a.Dropping() {
						t.Fatal("nothing is dropped")
					}
					if g.dir.Losses()["dropped"].Frames == 0 {
						t.Error("not counted at once")
					}
					undo()
					g.a.drop.tried = time.Time{} // the next try is due
					pour(20)
					if g.a.Dropping() {
						t.Fatal("still dropping with space again")
					}
				}
				all := readAll(t, g.j, 0)
				g.wantAccounted(all, written, n)
				g.reopen()
				if again := readAll(t, g.j, 0); !bytes.Equal(again, all) {
					t.Errorf("after a restart %d bytes of %d", len(again), len(all))
				}
			})
		}
	}
}

// A kill while lines are dropped: the pipe is at a frame's start, so that the
// next process goes on with whole frames.
func TestRestartWhileDropping(t *testing.T) {
	root := smallDisk(t, "1m")
	g := newRig(t, filepath.Join(root, "j"), Options{MaxSize: -1, MaxFile: 5}, Config{})
	g.pour(frames(0, 50))
	g.dir.patience = 0
	undo := fill(t, root)
	all := frames(50, 400)
	for cut := 1000; cut < len(all); cut += 30_011 { // wherever the writer is
		g.pour(all[:cut])
		all = all[cut:]
		g.dir.Close()
		g.dir, _ = OpenDir(g.cfg)
		g.dir.patience = 0
		var err error
		if g.j, err = g.dir.Acquire(testID); err != nil {
			t.Fatal(err)
		}
		g.a = g.j.Attach(true)
	}
	g.pour(all)
	undo()
	g.a.drop.tried = time.Time{}
	g.feed(frames(400, 450))
	got := numbers(t, readAll(t, g.j, 0))
	if len(got) < 100 || got[len(got)-1] != 449 {
		t.Fatalf("%d lines", len(got))
	}
	wantRun(t, got[len(got)-50:], 400, 450)
	for i := 1; i < len(got); i++ {
		if got[i] <= got[i-1] {
			t.Fatalf("line %d after %d", got[i], got[i-1])
		}
	}
}

// A full disk first costs the oldest lines: those of stopped containers, then
// rotated ones of running ones.
func TestRoom(t *testing.T) {
	root := smallDisk(t, "4m")
	g := newRig(t, filepath.Join(root, "j"), Options{MaxSize: 100_000, MaxFile: 1000}, Config{})
	g.dir.patience = time.Hour
	stopped, err := g.dir.Create(Container{ID: "stopped", Options: Options{MaxSize: 100_000, MaxFile: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	a := stopped.Attach(false)
	for n := 0; n < 2000; n += 100 {
		unix.Write(g.w, frames(n, n+100))
		for {
			if _, err := a.Ingest(g.r, 1<<20); err != nil {
				break
			}
		}
	}
	a.Detach()
	stopped.Release()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); g.dir.roomLoop(ctx) }()
	defer func() { cancel(); <-done }()
	const lines = 20_000
	for i := 0; i < lines; i += 100 {
		b := frames(i, i+100)
		for len(b) > 0 {
			n, _ := unix.Write(g.w, b)
			b = b[max(n, 0):]
			for g.drain() != nil {
				time.Sleep(time.Millisecond) // until there is room
			}
		}
	}
	cancel()
	<-done
	got := numbers(t, readAll(t, g.j, 0))
	wantRun(t, got, got[0], lines)
	if got[0] == 0 {
		t.Error("nothing of the running one's is gone: the disk never was full")
	}
	if infos := g.dir.List(); len(infos) != 1 || infos[0].ID != testID {
		t.Errorf("left: %+v", infos)
	}
	bytes, frames := g.lost("full")
	var reported int64
	for _, l := range g.losses {
		if l.ContainerID == testID {
			reported += l.Frames
		}
		if l.Reason != "full" {
			t.Errorf("%+v", l)
		}
	}
	if first, _ := g.j.Bounds(); reported != int64(got[0]) || bytes <= first || frames <= reported {
		t.Errorf("%d frames of the running one are gone and %d reported", got[0], reported)
	}
}

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
		g.dir.patience = 0
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
	g.dir.tidy(context.Background())
	g.dir.retain()
	if got := readAll(t, g.j, 0); !bytes.Equal(got, before) {
		t.Fatalf("%d bytes of %d are left, though nothing could be removed", len(got), len(before))
	}
	if len(g.losses) > 0 {
		t.Errorf("reported: %+v", g.losses)
	}
	g.dir.patience = 0
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
	g.dir.tidy(context.Background())
	if n := len(g.segments()); n > 3 {
		t.Errorf("%d segments once they can be removed", n)
	}
	g.a.Detach()
	g.j.Release()

	// A stopped container's log, opened again.
	undo = readOnly(t, filepath.Join(root, testID))
	j, err := g.dir.Acquire(testID)
	if err != nil {
		t.Fatal(err)
	}
	kept := readAll(t, j, 0)
	g.dir.patience = 0
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

// A container starts and says something while the disk is full; its log is there
// as soon as there is space.
func TestStartWhileFull(t *testing.T) {
	root := smallDisk(t, "256k")
	g := newRig(t, filepath.Join(root, "j"), DefaultOptions, Config{})
	g.dir.patience = 0
	undo := fill(t, root)
	want := Container{ID: "new", Name: "new one", Options: DefaultOptions, Tag: string(bytes.Repeat([]byte("x"), 10_000))}
	j, err := g.dir.Create(want)
	if err != nil {
		t.Fatal("a container can't start on a full disk:", err)
	}
	g.a = j.Attach(false)
	g.pour(frames(1, 10))
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
			enc, _ := newEncoder()
			defer enc.Close()
			if err := g.j.compress(s, enc); err != nil {
				g.t.Fatal(err)
			}
			os.WriteFile(segmentPath(g.j.path, 0, rawSuffix), raw, 0o600)
			g.reopen()
			return func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := smallDisk(t, "8m")
			g := newRig(t, filepath.Join(root, "j"), Options{MaxSize: 200_000, MaxFile: 100, Compress: true}, Config{})
			g.feed(frames(0, 1000))
			all := readAll(t, g.j, 0)
			undo := fail(g)
			for range 2 {
				g.dir.tidy(context.Background())
				if got := readAll(t, g.j, 0); !bytes.Equal(got, all) {
					t.Fatalf("%d bytes of %d", len(got), len(all))
				}
			}
			if left, _ := filepath.Glob(filepath.Join(g.j.path, "*"+tmpSuffix)); len(left) > 0 {
				t.Error("left:", left)
			}
			undo()
			g.reopen()
			if got := readAll(t, g.j, 0); !bytes.Equal(got, all) {
				t.Fatalf("after a restart %d bytes of %d", len(got), len(all))
			}
			g.dir.tidy(context.Background())
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
		g.dir.tidy(context.Background())
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
	g.dir.tidy(context.Background())
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

// One of two attachments stays inside a frame for ever: the other one gets its
// turn, and both go on with whole frames.
func TestStalledAttachment(t *testing.T) {
	for _, cut := range []int{2, 30} {
		g := newRig(t, t.TempDir(), DefaultOptions, Config{})
		g.dir.stallAfter = 0
		f := frame(1, 1, 100)
		g.feed(f[:cut])
		other := g.j.Attach(false)
		var p [2]int
		unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC)
		defer unix.Close(p[0])
		defer unix.Close(p[1])
		unix.Write(p[1], frame(2, 2, 100))
		if n, err := other.Ingest(p[0], 1<<20); n == 0 || err != nil {
			t.Fatal(n, err)
		}
		g.feed(append(f[cut:], frame(3, 3, 100)...))
		wantRun(t, numbers(t, readAll(t, g.j, 0)), 2, 4)
		g.a.Detach()
		other.Detach()
		if bytes, frames := g.lost("torn"); int(bytes) != len(f) || frames != 1 {
			t.Errorf("cut at %d: %+v", cut, g.losses)
		}
	}
}

// Behind rubbish the Engine's frames are found again, and the rubbish is counted
// to the byte.
func TestResync(t *testing.T) {
	for name, rubbish := range map[string][]byte{
		"length 0":         make([]byte, 4),
		"length 2³¹":       {0x80, 0, 0, 0},
		"zeros":            make([]byte, 70_000),
		"text":             bytes.Repeat([]byte("rubbish "), 50_000),
		"a lookalike":      append([]byte{0xff, 0xff, 0xff, 0xff}, "\x0a\x06stdout\x10"...),
		"a broken entry":   append([]byte{0xff, 0, 0, 20}, "\x0a\x06stdout\x10\x01\x1a\xffxxxxxxxxxxxxxx"...),
		"half of an entry": append([]byte{0xff, 0, 0}, frame(7, 7, 100)[:40]...),
	} {
		t.Run(name, func(t *testing.T) {
			for _, together := range []bool{true, false} {
				if name == "half of an entry" && !together {
					continue // then nothing tells what follows from its other half
				}
				g := newRig(t, t.TempDir(), DefaultOptions, Config{})
				g.feed(frame(0, 1, 100))
				if together {
					g.feed(append(rubbish, frames(1, 50)...))
				} else {
					g.feed(rubbish)
					g.feed(frames(1, 50))
				}
				wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, 50)
				g.a.Detach()
				if bytes, _ := g.lost("corrupt"); int(bytes) != len(rubbish) || len(g.losses) == 0 {
					t.Errorf("together %v: %d bytes of rubbish, reported %+v", together, len(rubbish), g.losses)
				}
				g.reopen()
				wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, 50)
			}
		})
	}
}

func FuzzIngest(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add(frames(1, 4), uint16(5))
	f.Add([]byte{0x80, 0, 0, 0, 1, 2, 3}, uint16(2))
	f.Add(append(make([]byte, 9), frames(1, 3)...), uint16(11))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		g := newRig(t, t.TempDir(), Options{MaxSize: 1000, MaxFile: 1 << 20}, Config{})
		g.feed(b[:min(int(cut), len(b))])
		g.feed(b[min(int(cut), len(b)):])
		torn := g.a.Detach()
		kept := readAll(t, g.j, 0)
		for rest := kept; len(rest) > 0; {
			var err error
			if _, rest, err = entry.Next(rest); err != nil {
				t.Fatal("not whole frames")
			}
		}
		var lost int64
		for _, l := range g.losses {
			lost += l.Bytes
		}
		if int64(len(kept))+lost != int64(len(b)) || torn > lost {
			t.Errorf("%d bytes kept and %d reported of %d", len(kept), lost, len(b))
		}
		g.a = g.j.Attach(false)
		g.feed(frames(7, 8))
		if after := readAll(t, g.j, 0); !bytes.Equal(after, append(kept, frames(7, 8)...)) {
			t.Error("what follows is not kept")
		}
	})
}
