package ingest

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// While one container's log takes its time to be opened, the others' lines are
// carried: also where its FIFO is read already.
func TestSlowLogHoldsUpNobody(t *testing.T) {
	for _, announced := range []bool{false, true} {
		h := newHost(t)
		name, f := h.fifo(1)
		id := "unknown-" + name[:12]
		if announced {
			id = "slow"
		}
		// What is read when a log is opened: it comes when somebody writes to it.
		note := filepath.Join(h.root, "data", "journal", id, "transfer")
		if err := os.MkdirAll(filepath.Dir(note), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mkfifo(note, 0o600); err != nil {
			t.Fatal(err)
		}
		h.start()
		eventually(t, "found", func() bool { h.in.sweep(); return h.in.lookup(name) != nil })
		other, g := h.fifo(2)
		h.mustStart(other, "b")
		started := make(chan error, 1)
		var w *os.File
		if announced {
			go func() { started <- h.in.Start(t.Context(), name, container(id)) }()
		} else {
			lines(f, 0, 10)
		}
		eventually(t, "its log is being opened", func() bool {
			fd, err := unix.Open(note, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err == nil {
				w = os.NewFile(uintptr(fd), note)
			}
			return err == nil
		})
		if announced {
			lines(f, 0, 10)
		}
		for n := range 5 {
			lines(g, n*10, n*10+10)
			eventually(t, "the other's lines", func() bool { return len(read(t, h.dir, "b")) == n*10+10 })
		}
		w.Close()
		if announced {
			if err := <-started; err != nil {
				t.Error(err)
			}
		}
		eventually(t, "its lines", func() bool { return bytesOf(h, name) > 0 })
		h.stop()
		os.Remove(note)
	}
}

// bytesOf returns how much came through a FIFO.
func bytesOf(h *host, name string) int64 {
	for _, a := range h.in.Attachments() {
		if a.FIFO == name {
			return a.Bytes
		}
	}
	return 0
}
