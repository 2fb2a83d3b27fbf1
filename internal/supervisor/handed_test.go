package supervisor

import (
	"bytes"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A process may end at each step of moving what was said; the next one reads all
// of it, and nothing twice.
func TestReadOn(t *testing.T) {
	const first, second, third = "what was moved, ", "what was being moved, ", "what came later"
	type ended struct {
		sock int
		file *os.File
	}
	peek := func(e ended) error {
		_, _, err := unix.Recvfrom(e.sock, make([]byte, len(second)), unix.MSG_PEEK)
		return err
	}
	keep := func(n int) func(ended) error {
		return func(e ended) error {
			_, err := e.file.WriteAt([]byte(second)[:n], int64(len(first)))
			return err
		}
	}
	remove := func(e ended) error {
		_, _, err := unix.Recvfrom(e.sock, make([]byte, len(second)), 0)
		return err
	}
	move := func(e ended) error {
		_, err := e.file.Seek(int64(len(first+second)), io.SeekStart)
		return err
	}
	for name, steps := range map[string][]func(ended) error{
		"before all":              nil,
		"peeked":                  {peek},
		"kept a part":             {peek, keep(5)},
		"kept":                    {peek, keep(len(second))},
		"removed from the socket": {peek, keep(len(second)), remove},
		"moved":                   {peek, keep(len(second)), remove, move},
	} {
		t.Run(name, func(t *testing.T) {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			caller := os.NewFile(uintptr(fds[0]), "caller")
			defer caller.Close()
			defer unix.Close(fds[1])
			file, err := memfd()
			if err != nil {
				t.Fatal(err)
			}
			kept := os.NewFile(uintptr(file), "file")
			defer kept.Close()
			read := func(c *handedConn, most int64) string {
				c.SetReadDeadline(time.Now().Add(time.Minute))
				b, err := io.ReadAll(io.LimitReader(c, most))
				if err != nil {
					t.Error(err)
				}
				return string(b)
			}

			io.WriteString(caller, first)
			if got := read(handedTo(t, fds[1], file), int64(len(first))); got != first {
				t.Fatalf("%q", got)
			}
			io.WriteString(caller, second)
			for _, step := range steps {
				if err := step(ended{fds[1], kept}); err != nil {
					t.Fatal(err)
				}
			}
			io.WriteString(caller, third)
			next := handedTo(t, fds[1], file)
			if got := read(next, int64(len(first+second))); got != first+second {
				t.Fatalf("%q", got)
			}
			unix.Shutdown(fds[0], unix.SHUT_WR)
			if got := read(handedTo(t, fds[1], file), 1<<20); got != first+second+third {
				t.Errorf("%q", got)
			}
		})
	}
}

// handedTo returns the connection that a worker makes of what it is handed.
func handedTo(t *testing.T, sock, file int) *handedConn {
	t.Helper()
	ours, theirs, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	conn, err := net.FileConn(theirs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); ours.Close() })
	h := &handed{from: conn.(*net.UnixConn)}
	if _, _, err := ours.WriteMsgUnix(make([]byte, saidLen-1), unix.UnixRights(sock, file), nil); err != nil {
		t.Fatal(err)
	}
	c, err := h.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.(*handedConn).UnixConn.Close() })
	return c.(*handedConn)
}

// What is kept of all requests is bounded; one that would exceed it is read all
// the same.
func TestKeptIsBounded(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	caller := os.NewFile(uintptr(fds[0]), "caller")
	defer unix.Close(fds[1])
	file, err := memfd()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(file)
	c := handedTo(t, fds[1], file)
	c.from.stored.Store(storedMax - 5)
	said := bytes.Repeat([]byte("said "), 100)
	caller.Write(said)
	caller.Close()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, said) {
		t.Errorf("%q, %v", got, err)
	}
	if n := c.from.stored.Load(); n != storedMax-5 {
		t.Errorf("%d bytes are still counted", n)
	}
}
