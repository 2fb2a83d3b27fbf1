package journal

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/loss"
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
					g.dir.gracePeriod = time.Hour
					undo := fill(t, root)
					if round%2 == 1 { // some trickles in
						filler := filepath.Join(root, "filler")
						info, err := os.Stat(filler)
						if err != nil {
							t.Fatal(err)
						}
						truncate(t, filler, info.Size()-int64(round)*5000)
					}
					g.dir.gracePeriod = 0
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

// What is dropped goes through a pipe that may hold less than is there.
func TestDropThroughASmallPipe(t *testing.T) {
	files, err := loss.Files()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(files[2].Fd(), unix.F_SETPIPE_SZ, 2*os.Getpagesize()); err != nil {
		t.Fatal(err)
	}
	ledger, err := loss.Open(files)
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	key := loss.Key{Container: testID, Reason: "dropped"}
	root := smallDisk(t, "1m")
	g := newRig(t, filepath.Join(root, "j"), Options{MaxSize: -1, MaxFile: 5}, Config{
		Drop: func(fd int, l Loss) (int, error) {
			n, _, err := ledger.Drop(fd, key, loss.Sum{Times: l.Times(), Bytes: l.Bytes, Frames: l.Frames})
			return n, err
		},
		DropRoom: ledger.Room(),
	})
	g.pour(frames(0, 50))
	g.dir.gracePeriod = 0
	undo := fill(t, root)
	b := frames(50, 2000)
	g.pour(b)
	undo()
	g.a.drop.tried = time.Time{}
	g.pour(frames(2000, 2050))
	got := numbers(t, readAll(t, g.j, 0))
	_, told := ledger.Take(time.Now(), ledger.Waiting())
	if sum := told[key]; len(got)+int(sum.Frames) != 2050 || sum.Frames == 0 {
		t.Errorf("%d lines are kept and %+v told of; 2050 were written", len(got), told)
	}
}

// A kill while lines are dropped: the pipe is at a frame's start, so that the
// next process goes on with whole frames.
func TestRestartWhileDropping(t *testing.T) {
	root := smallDisk(t, "1m")
	g := newRig(t, filepath.Join(root, "j"), Options{MaxSize: -1, MaxFile: 5}, Config{})
	g.pour(frames(0, 50))
	g.dir.gracePeriod = 0
	undo := fill(t, root)
	all := frames(50, 400)
	for cut := 1000; cut < len(all); cut += 30_011 { // wherever the writer is
		g.pour(all[:cut])
		all = all[cut:]
		g.dir.Close()
		g.dir, _ = OpenDir(g.cfg)
		g.dir.gracePeriod = 0
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

// A kill where a disk was full in the middle of a frame: the next process drops
// that frame whole, its beginning in the file and its rest in the pipe.
func TestRestartInsideADroppedFrame(t *testing.T) {
	for _, cut := range []int{1, 3, 4, 5, 100, 299} {
		root := smallDisk(t, "1m")
		g := newRig(t, filepath.Join(root, "j"), Options{MaxSize: -1, MaxFile: 5}, Config{})
		g.feed(frames(0, 50))
		// The file's last page is full: not a byte more goes into it.
		last := frame(50, 51, 300)
		for size := 301; (g.j.State().End+int64(len(last)+cut))%int64(os.Getpagesize()) != 0; size++ {
			last = frame(50, 51, size)
		}
		g.feed(last)
		begun := frame(51, 52, 300)
		g.feed(begun[:cut])
		g.reopen()
		g.dir.gracePeriod = 0
		undo := fill(t, root)
		rest := begun[cut:]
		for n := 52; n < 400; n++ {
			rest = append(rest, frame(n, int64(n+1), 300)...)
		}
		g.pour(rest)
		undo()
		g.a.drop.tried = time.Time{}
		g.feed(frames(400, 450))
		got := numbers(t, readAll(t, g.j, 0))
		if len(got) != 101 {
			t.Fatalf("cut at %d: %v", cut, got)
		}
		wantRun(t, got[:51], 0, 51)
		wantRun(t, got[51:], 400, 450)
		bytes, frames := g.lost("dropped")
		if len(g.losses) == 0 || int(frames) != 400-51 || int(bytes) != cut+len(rest) {
			t.Errorf("cut at %d: %d frames and %d bytes of %d are told: %+v", cut, frames, bytes, cut+len(rest), g.losses)
		}
	}
}

// A full disk first costs the oldest lines: those of stopped containers, then
// rotated ones of running ones.
func TestRoom(t *testing.T) {
	root := smallDisk(t, "4m")
	g := newRig(t, filepath.Join(root, "j"), Options{MaxSize: 100_000, MaxFile: 1000}, Config{})
	g.dir.gracePeriod = time.Hour
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
