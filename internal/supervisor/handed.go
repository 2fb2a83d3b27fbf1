package supervisor

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// AtOnce is how many bytes of an answer the kernel takes in one step, whatever
	// happens to the process meanwhile: they fit into a socket's buffer.
	AtOnce = 64 << 10
	// storedMax bounds what is kept of all calls' requests together, in bytes. A
	// call that doesn't fit in ends with its worker.
	storedMax = 64 << 20
)

// handed is a worker's end of calls. A call that is read from one of its
// connections is the next worker's, from its first byte on, if this one ends
// before it has begun to answer. An answer that is one Write of at most AtOnce
// bytes is either sent whole or left to the next worker.
type handed struct {
	from   *net.UnixConn
	closed atomic.Bool
	stored atomic.Int64 // bytes
}

// Accept returns the next call's connection.
func (h *handed) Accept() (net.Conn, error) {
	var id [saidLen - 1]byte
	room := make([]byte, unix.CmsgSpace(2*4))
	n, oobn, _, _, err := h.from.ReadMsgUnix(id[:], room)
	switch {
	case h.closed.Load():
		return nil, net.ErrClosed
	case err != nil:
		return nil, err
	case n != len(id):
		return nil, io.ErrUnexpectedEOF
	}
	c := &handedConn{from: h, id: binary.BigEndian.Uint64(id[:])}
	if err := c.open(room[:oobn]); err != nil {
		h.say(c.id, saysAgain)
		return nil, noRoom{err}
	}
	h.say(c.id, saysHas)
	return c, nil
}

// noRoom is an error after which net/http waits a moment and accepts again.
type noRoom struct{ error }

func (noRoom) Timeout() bool   { return false }
func (noRoom) Temporary() bool { return true }

// Close ends Accept. Connections stay as they are.
func (h *handed) Close() error {
	if h.closed.Swap(true) {
		return net.ErrClosed
	}
	return h.from.CloseRead()
}

func (h *handed) Addr() net.Addr { return h.from.LocalAddr() }

func (h *handed) say(id uint64, what byte) error {
	_, err := h.from.Write(append(binary.BigEndian.AppendUint64(nil, id), what))
	return err
}

// handedConn is one of handed's connections.
//
// What is read from it is moved to a file that outlives this process. Each step
// peeks at what is there, which moves the socket's peek offset (SO_PEEK_OFF) from
// 0 on; appends that to the file; takes it out of the socket, whereby the kernel
// moves the offset back to 0; and moves the file's own position to its end. What
// is behind that position was being moved when a process ended, and the offset
// tells whether it was.
type handedConn struct {
	*net.UnixConn
	raw  syscall.RawConn
	from *handed
	id   uint64

	mu     sync.Mutex // guards all below
	before []byte     // of the request, read by processes before and not yet again here
	file   *os.File   // nil once the answer has begun
	stored int64      // its length
}

// open makes a connection of what was received beside its id.
func (c *handedConn) open(control []byte) error {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return err
	}
	var fds []int
	for _, m := range messages {
		more, err := unix.ParseUnixRights(&m)
		if err != nil {
			return err
		}
		fds = append(fds, more...)
	}
	if len(fds) != 2 {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return os.NewSyscallError("recvmsg", syscall.EMFILE)
	}
	sock := os.NewFile(uintptr(fds[0]), "call")
	defer sock.Close()
	c.file = os.NewFile(uintptr(fds[1]), "request")
	if err := c.resume(fds[0]); err != nil {
		c.file.Close()
		return err
	}
	conn, err := net.FileConn(sock) // a duplicate
	if err == nil {
		c.UnixConn = conn.(*net.UnixConn)
		c.raw, err = c.UnixConn.SyscallConn()
	}
	if err != nil {
		c.file.Close()
		return err
	}
	c.from.stored.Add(c.stored)
	return nil
}

// resume reads what processes before have read.
func (c *handedConn) resume(sock int) error {
	done, err := c.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	info, err := c.file.Stat()
	if err != nil {
		return err
	}
	c.stored = info.Size()
	if c.stored > done {
		offset, err := unix.GetsockoptInt(sock, unix.SOL_SOCKET, unix.SO_PEEK_OFF)
		if err != nil {
			return err
		}
		if offset == 0 { // it was taken out of the socket
			_, err = c.file.Seek(c.stored, io.SeekStart)
		} else {
			c.stored, err = done, c.file.Truncate(done)
		}
		if err != nil {
			return err
		}
	}
	c.before = make([]byte, c.stored)
	if _, err := c.file.ReadAt(c.before, 0); err != nil && c.stored > 0 {
		return err
	}
	return unix.SetsockoptInt(sock, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 0)
}

func (c *handedConn) Read(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	waitErr := c.raw.Read(func(fd uintptr) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		n, err = c.readLocked(int(fd), b)
		return err != unix.EAGAIN
	})
	switch {
	case waitErr != nil:
		return 0, waitErr
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func (c *handedConn) readLocked(sock int, b []byte) (int, error) {
	if len(c.before) > 0 {
		n := copy(b, c.before)
		c.before = c.before[n:]
		return n, nil
	}
	if c.file == nil {
		return receive(sock, b, 0)
	}
	n, err := receive(sock, b, unix.MSG_PEEK)
	if n == 0 || err != nil {
		return n, err
	}
	if c.from.stored.Add(int64(n)) > storedMax {
		err = unix.ENOSPC
	} else {
		_, err = c.file.WriteAt(b[:n], c.stored)
	}
	c.stored += int64(n)
	if err != nil {
		c.takeLocked()
		return receive(sock, b, 0)
	}
	for moved := 0; moved < n; {
		m, err := receive(sock, b[moved:n], 0)
		if err != nil {
			return 0, err
		}
		moved += m
	}
	_, err = c.file.Seek(c.stored, io.SeekStart)
	return n, err
}

func receive(sock int, b []byte, flags int) (int, error) {
	for {
		n, _, err := unix.Recvfrom(sock, b, flags|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// Write begins the answer. The call is the next worker's until what is to be
// written is, where that is in one step.
func (c *handedConn) Write(b []byte) (int, error) {
	if len(b) > AtOnce {
		c.take()
	}
	n, err := c.UnixConn.Write(b)
	c.take()
	return n, err
}

// Close also ends a call that was not answered.
func (c *handedConn) Close() error {
	c.take()
	return c.UnixConn.Close()
}

// take tells the supervisor that this call is nobody else's any more.
func (c *handedConn) take() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.takeLocked()
}

func (c *handedConn) takeLocked() {
	if c.file == nil {
		return
	}
	c.from.say(c.id, saysTaken)
	c.from.stored.Add(-c.stored)
	c.file.Close()
	c.file = nil
}
