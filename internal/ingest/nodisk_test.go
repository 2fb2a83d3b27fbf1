package ingest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Where attachments can't be remembered, lines are carried all the same, and
// where they can be again, they are.
func TestNoPlaceForRecords(t *testing.T) {
	h := newHost(t)
	records := filepath.Join(h.root, "data", "attachments")
	if err := os.WriteFile(records, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h.start()
	for n, id := range []string{"a", "b"} {
		name, f := h.fifo(n)
		h.mustStart(name, id)
		lines(f, 0, 100)
		eventually(t, "the lines of "+id, func() bool { return len(read(t, h.dir, id)) == 100 })
		_, err := os.Stat(h.in.recordPath(name))
		if remembered := err == nil; remembered != (id == "b") {
			t.Errorf("%s is remembered: %v", id, remembered)
		}
		if id == "a" {
			if err := os.Remove(records); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A container that starts where there is no place for its log is not kept from
// it, nor from writing: what it writes is dropped, and reported, and with a place
// again its log begins, with all that is known of the container.
func TestStartWithoutAPlace(t *testing.T) {
	for _, wrong := range []string{"a file in its place", "a disk that is read-only"} {
		t.Run(wrong, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			data := filepath.Join(h.root, "data")
			if err := unix.Mount("tmpfs", data, "tmpfs", 0, "size=8m"); err != nil {
				t.Fatal("mount a small tmpfs (the tests run as root):", err)
			}
			t.Cleanup(func() { unix.Unmount(data, unix.MNT_DETACH) })
			losses := h.startCounting()
			if err := h.in.Ready(context.Background()); err != nil {
				t.Fatal(err)
			}
			log := filepath.Join(data, "journal", "a")
			mend := func() error { return os.Remove(log) }
			err := os.WriteFile(log, nil, 0o600)
			if wrong == "a disk that is read-only" {
				os.Remove(log)
				err = unix.Mount("", data, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
				mend = func() error { return unix.Mount("", data, "", unix.MS_REMOUNT, "") }
			}
			if err != nil {
				t.Fatal(err)
			}
			name, f := h.fifo(1)
			c := container("a")
			c.Name, c.Workload = "web", "shop/web"
			if err := h.in.Start(context.Background(), name, c); err != nil {
				t.Fatal("the container can't start:", err)
			}
			n := 20_000 // several pipes full
			if err := lines(f, 0, n); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the pipe is empty", func() bool {
				left, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCINQ)
				return err == nil && left == 0
			})
			if err := mend(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "lines that are kept", func() bool {
				lines(f, n, n+1)
				n++
				_, ok := h.dir.Container("a")
				return ok && len(read(t, h.dir, "a")) > 0
			})
			if err := h.in.Stop(context.Background(), name); err != nil {
				t.Error(err)
			}
			got := read(t, h.dir, "a")
			if _, frames := losses.of("dropped"); frames == 0 || len(got)+int(frames) != n || got[len(got)-1] != n-1 {
				t.Errorf("%d lines are kept and %d reported; %d were written", len(got), frames, n)
			}
			if c, _ := h.dir.Container("a"); c.Name != "web" || c.Workload != "shop/web" {
				t.Errorf("known of the container: %+v", c)
			}
		})
	}
}

// However much a container with tiny segments writes, one step for it makes few
// files.
func TestTinySegmentsTakeTurns(t *testing.T) {
	h := newHost(t)
	h.startCounting()
	h.in.Ready(context.Background())
	for n, row := range []struct {
		size          int64
		least, begins int // bytes and segments
	}{
		{1, 60_000, 3}, {1000, 60_000, 3}, {200_000, 200_000, 3}, {20 << 20, 500_000, 1}, {-1, 500_000, 1},
	} {
		name, f := h.fifo(n)
		c := container(fmt.Sprint("c", n))
		c.Options.MaxSize = row.size
		if err := h.in.Start(context.Background(), name, c); err != nil {
			t.Fatal(err)
		}
		a := h.in.lookup(name)
		a.mu.Lock()
		if _, err := unix.FcntlInt(f.Fd(), unix.F_SETPIPE_SZ, batchMax); err != nil {
			t.Fatal(err)
		}
		if err := lines(f, 0, 4500); err != nil { // about 500 KB
			t.Fatal(err)
		}
		took, err := a.take()
		if begun := a.writer.Rotated(); err != nil || took < row.least || begun < 1 || begun > row.begins {
			t.Errorf("max-size %d: a step takes %d bytes and begins %d segments, %v", row.size, took, begun, err)
		}
		a.mu.Unlock()
		eventually(t, "all lines", func() bool { return len(read(t, h.dir, c.ID)) == 4500 || row.size > 0 && row.size < 1<<20 })
	}
}
