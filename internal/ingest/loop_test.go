package ingest

import (
	"context"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A turn of the loop ends when it is done with what it has begun, and not before.
func TestTurn(t *testing.T) {
	h := newHost(t)
	h.start()
	name, f := h.fifo(1)
	h.mustStart(name, "a")
	if err := h.in.Turn(context.Background()); err != nil { // idle
		t.Fatal(err)
	}
	a := h.in.lookup(name)
	a.mu.Lock() // whoever holds it hangs
	before := h.in.Stats().Rounds
	lines(f, 0, 1)
	eventually(t, "the loop at the FIFO", func() bool { return h.in.Stats().Rounds > before })
	turned := make(chan error, 1)
	go func() { turned <- h.in.Turn(context.Background()) }()
	eventually(t, "Turn waiting", func() bool { return len(h.in.turns) == 1 })
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.in.Turn(ended); err != context.Canceled {
		t.Error(err)
	}
	select {
	case <-turned:
		t.Error("the loop has come round, though it hangs")
	default:
	}
	a.mu.Unlock()
	if err := <-turned; err != nil {
		t.Error(err)
	}
	eventually(t, "the line", func() bool { return len(read(t, h.dir, "a")) == 1 })
}

// Where the loop can't go on, Run says so.
func TestALoopThatFailsEndsRun(t *testing.T) {
	h := newHost(t)
	log := logTo(t)
	dir, in, err := open(h.root, log)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	ran := make(chan error, 1)
	running, ended := context.WithCancel(context.Background())
	go func() {
		defer ended()
		ran <- in.Run(context.Background())
	}()
	if err := in.Turn(context.Background()); err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := unix.Dup3(int(null.Fd()), in.epoll, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	in.Turn(running) // it has the loop look again
	if err := <-ran; err == nil || !strings.Contains(err.Error(), "epoll") {
		t.Errorf("Run returns %v", err)
	}
}
