package trap

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"logscan/internal/enginetest/private"
)

// Answer is what becomes of a call.
type Answer struct {
	value int64
	errno unix.Errno
	flags uint32
}

// Continue lets the kernel do the call.
var Continue = Answer{flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}

// Fail fails the call; nothing is done.
func Fail(errno unix.Errno) Answer { return Answer{errno: errno} }

// Value says that the call was done, and what it returned.
func Value(v int64) Answer { return Answer{value: v} }

// notification and response are the kernel's struct seccomp_notif and
// seccomp_notif_resp.
type notification struct {
	id    uint64
	pid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

type response struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

// Trap answers the calls of the programs that were launched for it.
type Trap struct {
	t       testing.TB
	socket  *net.UnixListener
	handle  func(*Call) Answer
	closing *os.File // its other end is stop
	stop    *os.File
	serving sync.WaitGroup
}

// Listen makes a trap whose socket is at a path. It calls handle for each trapped
// call, for several at once where a program has several threads. The trap ends
// with the test. Programs are to have ended by then: calls that nobody answers
// any more fail with ENOSYS.
func Listen(t testing.TB, path string, handle func(*Call) Answer) *Trap {
	t.Helper()
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	tr := &Trap{t: t, socket: socket, handle: handle}
	if tr.closing, tr.stop, err = os.Pipe(); err != nil {
		t.Fatal(err)
	}
	tr.serving.Go(tr.accept)
	t.Cleanup(func() {
		tr.socket.Close()
		tr.stop.Close()
		tr.serving.Wait()
		tr.closing.Close()
	})
	return tr
}

// Command is a command that runs a program with calls of some kinds trapped, as in
// "write,openat/2&0x40,clock_gettime/0=0": all writes, openat where its argument 2
// (they count from 0) has one of these bits, and clock_gettime where argument 0 is 0.
func (tr *Trap) Command(calls, program string, args ...string) *exec.Cmd {
	tr.t.Helper()
	return exec.Command(Launcher(tr.t), append([]string{tr.socket.Addr().String(), calls, "--", program}, args...)...)
}

// Launcher returns the path of program launch, static, built once in a process,
// which is one of enginetest.Main.
func Launcher(t testing.TB) string {
	t.Helper()
	path, err := launcher()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var launcher = sync.OnceValues(func() (string, error) {
	dir, err := private.TempDir()
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "launch")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "logscan/internal/enginetest/trap/launch")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building launch: %w: %s", err, said)
	}
	return out, nil
})

// WithoutVDSO copies a program, Go's or C's, into dir, so that the copy asks the
// kernel for the time, by a call that can be trapped, and returns the copy's path.
func WithoutVDSO(t testing.TB, program, dir string) string {
	t.Helper()
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	// By these names a program finds the functions in the memory that the kernel
	// gives it; what isn't found is called properly.
	for _, function := range []string{"__vdso_clock_gettime", "__vdso_gettimeofday", "__kernel_clock_gettime"} {
		b = bytes.ReplaceAll(b, []byte(function), []byte("__gone"+function[len("__gone"):]))
	}
	out := filepath.Join(dir, filepath.Base(program))
	if err := os.WriteFile(out, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return out
}

// accept takes the listener of each program that is launched.
func (tr *Trap) accept() {
	for {
		conn, err := tr.socket.AcceptUnix()
		if err != nil {
			return // closed
		}
		listener, err := receive(conn)
		conn.Close()
		if err != nil {
			tr.t.Errorf("trap: %v", err)
			continue
		}
		tr.serving.Go(func() { tr.serve(listener) })
	}
}

func receive(conn *net.UnixConn) (listener int, err error) {
	b, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(b, rights)
	if err != nil {
		return 0, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return 0, fmt.Errorf("no listener came: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return 0, fmt.Errorf("no listener came: %w", err)
	}
	unix.CloseOnExec(fds[0])
	return fds[0], nil
}

// serve answers calls until none of the program's processes is left, or the trap
// is closed.
func (tr *Trap) serve(listener int) {
	var calls sync.WaitGroup
	defer func() {
		calls.Wait()
		unix.Close(listener)
	}()
	for {
		poll := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}, {Fd: int32(tr.closing.Fd()), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); err != nil && !errors.Is(err, unix.EINTR) {
			tr.t.Errorf("trap: poll: %v", err)
			return
		}
		switch {
		case poll[1].Revents != 0:
			return
		case poll[0].Revents&unix.POLLIN != 0:
		case poll[0].Revents != 0: // nobody is left
			return
		default:
			continue
		}
		var n notification
		switch err := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); {
		case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINTR): // whoever called has been killed
			continue
		case err != nil:
			tr.t.Errorf("trap: receive: %v", err)
			return
		}
		calls.Go(func() {
			c := &Call{Name: name(int(n.nr)), TID: int(n.pid), Args: n.args, id: n.id, listener: listener}
			a := tr.handle(c)
			r := response{id: n.id, value: a.value, errno: -int32(a.errno), flags: a.flags}
			err := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r))
			if err != nil && !errors.Is(err, unix.ENOENT) { // as above
				tr.t.Errorf("trap: answer: %v", err)
			}
		})
	}
}

func ioctl(fd int, request uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
