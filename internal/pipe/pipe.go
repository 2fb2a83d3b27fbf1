// Package pipe looks into pipes without taking anything out of them, and takes
// what is not wanted out of them in one step.
//
// A kill between two system calls must not come between what was taken out of a
// pipe and what is known of it. So what is in it is first duplicated into a pipe
// of our own with tee(2), and looked at there; and what has been dealt with is
// taken by one splice(2).
//
// The pipes that this takes are shared by all of the process, and made when they
// are first needed. An error in making them is not remembered: descriptors may be
// short for a moment only. All is safe concurrently, and nothing waits for
// whoever writes to a pipe.
package pipe

import (
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// own is a pipe of ours, through which others' are looked into.
type own struct {
	mu   sync.Mutex // held in use
	made bool
	fds  [2]int // read end, write end; empty but in use
	size int    // bytes
}

// openLocked makes the pipe if it is not there.
func (p *own) openLocked() error {
	if p.made {
		return nil
	}
	if err := unix.Pipe2(p.fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return fmt.Errorf("pipe to look through: %w", err)
	}
	p.made = true
	size, err := unix.FcntlInt(uintptr(p.fds[0]), unix.F_GETPIPE_SZ, 0)
	if p.size = size; err != nil {
		p.closeLocked()
	}
	return err
}

// closeLocked gives up the pipe, with whatever is left in it.
func (p *own) closeLocked() {
	if p.made {
		unix.Close(p.fds[0])
		unix.Close(p.fds[1])
		p.made = false
	}
}

// resizeLocked gives the pipe another size in bytes.
func (p *own) resizeLocked(size int) error {
	size, err := unix.FcntlInt(uintptr(p.fds[0]), unix.F_SETPIPE_SZ, size)
	if err == nil {
		p.size = size
	}
	return err
}

// peekLocked reads what is in the pipe fd, at most len(b) bytes, without taking
// it: it goes through p. 0 bytes mean that fd is empty and nobody can write to it.
func (p *own) peekLocked(fd int, b []byte) (int, error) {
	n, err := unix.Tee(fd, p.fds[1], len(b), unix.SPLICE_F_NONBLOCK)
	if err == unix.EINTR {
		err = unix.EAGAIN
	}
	if err != nil {
		return 0, err
	}
	for got := 0; got < int(n); {
		m, err := unix.Read(p.fds[0], b[got:n])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			p.closeLocked() // something may be left in it
			return 0, err
		}
		got += m
	}
	return int(n), nil
}

// Two pipes, so that whoever only asks whether there is anything need not wait.
var byteWide, wide own

// Waiting returns nil if the non-blocking pipe fd holds anything, io.EOF if it
// is empty and nobody can write to it, unix.EAGAIN if it is empty, else another
// error. Unlike poll(2) it knows a FIFO whose writers were gone before it was
// opened.
func Waiting(fd int) error {
	p := &byteWide
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.openLocked(); err != nil {
		return err
	}
	var b [1]byte
	n, err := p.peekLocked(fd, b[:])
	if err == nil && n == 0 {
		return io.EOF
	}
	return err
}

// Peek reads what is in the non-blocking pipe fd, at most len(b) bytes. It sees no
// more than goes through a pipe of size bytes at once; zero is any. Its errors are
// those of Waiting.
func Peek(fd int, b []byte, size int) (int, error) {
	p := &wide
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.openLocked(); err != nil {
		return 0, err
	}
	if size > 0 && size < p.size {
		if err := p.resizeLocked(size); err != nil {
			return 0, err
		}
	}
	n, err := p.peekLocked(fd, b)
	if err == nil && n == 0 {
		return 0, io.EOF
	}
	return n, err
}

// Mover has two pipes as large as may be, which are alike: so what was looked at
// through the one can be taken out through the other at once. There is one, which
// one at a time uses.
type Mover struct {
	look, waste own
	null        int // /dev/null, which holds nothing
}

var mover struct {
	sync.Mutex // held in use
	m          *Mover
}

// TryMover returns the Mover, whose user has to Release it; nil, while somebody
// else uses it.
func TryMover() (*Mover, error) {
	if !mover.TryLock() {
		return nil, nil
	}
	return openMover()
}

// TheMover waits for it.
func TheMover() (*Mover, error) {
	mover.Lock()
	return openMover()
}

// openMover makes the Mover if it is not there; after an error its lock is free.
func openMover() (*Mover, error) {
	if mover.m == nil {
		m := &Mover{null: -1}
		if err := m.open(); err != nil {
			m.close()
			mover.Unlock()
			return nil, err
		}
		mover.m = m
	}
	return mover.m, nil
}

// Release ends a use.
func (m *Mover) Release() { mover.Unlock() }

const (
	largest  = 1 << 20 // bytes of a pipe that every process may have
	smallest = 64 << 10
)

func (m *Mover) open() (err error) {
	if m.null, err = unix.Open(os.DevNull, unix.O_WRONLY|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	least := largest
	for _, p := range []*own{&m.look, &m.waste} {
		if err := p.openLocked(); err != nil {
			return err
		}
		// As many buffers as the largest has, where that is allowed.
		for size := largest; size > smallest && p.resizeLocked(size) != nil; size /= 2 {
		}
		least = min(least, p.size)
	}
	return m.look.resizeLocked(least)
}

func (m *Mover) close() {
	m.look.closeLocked()
	m.waste.closeLocked()
	if m.null >= 0 {
		unix.Close(m.null)
	}
}

// reset gives up the pipes, with whatever is left in them.
func (m *Mover) reset() {
	m.close()
	mover.m = nil
}

// Peek reads what is in the pipe fd, at most len(b) bytes. 0 bytes mean that it
// is empty and nobody can write to it.
func (m *Mover) Peek(fd int, b []byte) (int, error) {
	n, err := m.look.peekLocked(fd, b)
	if err != nil && err != unix.EAGAIN {
		m.reset()
	}
	return n, err
}

// Take takes n bytes out of the pipe fd, which has them, and returns how many it
// took. All go by one system call, which a kill doesn't interrupt.
func (m *Mover) Take(fd, n int) (taken int, err error) {
	k, _ := unix.Splice(fd, nil, m.waste.fds[1], nil, n, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	if taken = max(int(k), 0); taken < n {
		rest, err := Discard(fd, n-taken)
		m.reset()
		return taken + rest, err
	}
	for left := taken; left > 0; {
		k, err := unix.Splice(m.waste.fds[0], nil, m.null, nil, left, unix.SPLICE_F_NONBLOCK)
		if err != nil && err != unix.EINTR || err == nil && k == 0 {
			m.reset()
			break
		}
		left -= int(max(k, 0))
	}
	return taken, nil
}

// Discard reads n bytes from the pipe fd, which has them, and returns how many it
// took.
func Discard(fd, n int) (int, error) {
	b := make([]byte, n)
	for {
		m, err := unix.Read(fd, b)
		if err == unix.EINTR {
			continue
		}
		return max(m, 0), err
	}
}
