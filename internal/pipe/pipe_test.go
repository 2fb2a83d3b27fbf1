package pipe

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func newPipe(t *testing.T) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	return p[0], p[1]
}

// What is looked at stays, and what is taken is gone.
func TestLookAndTake(t *testing.T) {
	r, w := newPipe(t)
	b := make([]byte, 100)
	m, err := TheMover()
	if err != nil {
		t.Fatal(err)
	}
	if other, err := TryMover(); other != nil || err != nil {
		t.Error("two use it at once", err)
	}
	check := func(want string) {
		t.Helper()
		n, err := Peek(r, b, 0)
		k, merr := m.Peek(r, b[n:])
		if err != nil || merr != nil || string(b[:n]) != want || !bytes.Equal(b[n:n+k], b[:n]) || Waiting(r) != nil {
			t.Errorf("%q and %q, not %q: %v, %v", b[:n], b[n:n+k], want, err, merr)
		}
	}
	if _, err := Peek(r, b, 0); err != unix.EAGAIN || Waiting(r) != unix.EAGAIN {
		t.Error("an empty pipe:", err, Waiting(r))
	}
	unix.Write(w, []byte("0123456789"))
	check("0123456789")
	if n, err := m.Take(r, 3); n != 3 || err != nil {
		t.Error(n, err)
	}
	check("3456789")
	if n, err := Discard(r, 4); n != 4 || err != nil {
		t.Error(n, err)
	}
	check("789")
	m.Take(r, 3)
	m.Release()
	r2, w2 := newPipe(t)
	dup, err := unix.Dup(r2)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dup)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	unix.Dup3(int(null.Fd()), w2, unix.O_CLOEXEC) // its only writer is gone
	if _, err := Peek(dup, b, 0); err != io.EOF || Waiting(dup) != io.EOF {
		t.Error("a pipe without a writer:", err, Waiting(dup))
	}
	if m, err = TryMover(); m == nil || err != nil {
		t.Fatal("still in use", err)
	}
	if n, err := m.Peek(dup, b); n != 0 || err != nil {
		t.Error(n, err)
	}
	m.Release()
}

// Descriptors may be short when a pipe is first needed: that is over when they
// are there again.
func TestErrorsAreNotRemembered(t *testing.T) {
	r, w := newPipe(t)
	unix.Write(w, []byte("x"))
	b := make([]byte, 10)
	byteWide.closeLocked()
	wide.closeLocked()
	if mover.m != nil {
		mover.m.reset()
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	for _, more := range []int{0, 1, 2, 3, 4} { // the Mover has five
		low := limit
		probe, err := unix.Dup(r) // the lowest that is free
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(probe)
		low.Cur = uint64(probe + more)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
			t.Fatal(err)
		}
		if more < 2 {
			_, err := Peek(r, b, 0)
			if werr := Waiting(r); !errors.Is(err, unix.EMFILE) || !errors.Is(werr, unix.EMFILE) {
				t.Errorf("%d descriptors: %v, %v", more, err, werr)
			}
		}
		if _, err := TheMover(); !errors.Is(err, unix.EMFILE) {
			t.Errorf("%d descriptors: %v", more, err)
		}
		unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	}
	if n, err := Peek(r, b, 0); n != 1 || err != nil {
		t.Error(n, err)
	}
	if err := Waiting(r); err != nil {
		t.Error(err)
	}
	m, err := TryMover()
	if m == nil || err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	if n, err := m.Peek(r, b); n != 1 || err != nil {
		t.Error(n, err)
	}
}
