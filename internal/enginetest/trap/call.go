package trap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pathMax is the kernel's PATH_MAX.
const pathMax = 4096

// Call is a system call that waits for its answer. Its methods fail once the
// caller has been killed.
type Call struct {
	Name string
	TID  int // the calling thread's id
	Args [6]uint64

	id       uint64
	listener int
}

// PID returns the calling process's id; 0 if it has gone.
func (c *Call) PID() int {
	pid, _ := strconv.Atoi(c.status("Tgid"))
	return pid
}

func (c *Call) status(field string) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.TID))
	_, after, _ := bytes.Cut(b, []byte("\n"+field+":\t"))
	line, _, _ := bytes.Cut(after, []byte("\n"))
	return string(line)
}

// Kill ends the calling process by SIGKILL, before the call is done, if it isn't
// already.
func (c *Call) Kill() error {
	fd, err := c.pidfd()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
}

// pidfd is the calling process's.
func (c *Call) pidfd() (int, error) {
	fd, err := unix.PidfdOpen(c.PID(), 0)
	if err != nil {
		return 0, err
	}
	if err := c.waits(); err != nil { // it was another process's id
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

// waits is an error where the caller doesn't wait any more, so that what was
// found by its id may be another's.
func (c *Call) waits() error {
	id := c.id
	return ioctl(c.listener, unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&id))
}

// File returns the open file that an argument is the descriptor of: the same one
// that the caller has, its position included.
func (c *Call) File(arg int) (*os.File, error) {
	fd, err := c.pidfd()
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	got, err := unix.PidfdGetfd(fd, int(int32(c.Args[arg])), 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(got), fmt.Sprintf("argument %d", arg)), nil
}

// Read fills b from the caller's memory where an argument points to; Write puts b
// there.
func (c *Call) Read(arg int, b []byte) error {
	_, err := c.read(arg, b)
	return err
}

func (c *Call) Write(arg int, b []byte) error {
	_, err := c.memory(os.O_WRONLY, func(mem *os.File) (int, error) { return mem.WriteAt(b, int64(c.Args[arg])) })
	return err
}

func (c *Call) memory(flag int, do func(*os.File) (int, error)) (int, error) {
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", c.TID), flag, 0)
	if err != nil {
		return 0, err
	}
	defer mem.Close()
	if err := c.waits(); err != nil {
		return 0, err
	}
	return do(mem)
}

func (c *Call) read(arg int, b []byte) (int, error) {
	return c.memory(os.O_RDONLY, func(mem *os.File) (int, error) { return mem.ReadAt(b, int64(c.Args[arg])) })
}

// Text returns the string that an argument points to, such as a path.
func (c *Call) Text(arg int) (string, error) {
	b := make([]byte, pathMax)
	n, err := c.read(arg, b)
	text, _, ended := bytes.Cut(b[:n], []byte{0})
	if !ended {
		return "", fmt.Errorf("argument %d is no text: %w", arg, err)
	}
	return string(text), nil
}

// Target returns the path of the file or directory that the call is about, of two
// the first, as the caller sees it; such as "pipe:[123]" where it is no file. It is
// empty where the caller has gone, and for calls that are about none.
func (c *Call) Target() string {
	var target string
	var err error
	if dir, name, ok := c.named(); ok {
		if target, err = c.Text(name); err == nil && !filepath.IsAbs(target) {
			var base string
			base, err = os.Readlink(c.base(dir))
			target = filepath.Join(base, target)
		}
	} else {
		switch c.Name {
		case "clock_gettime":
		case "splice":
			target, err = c.link(2)
		default:
			target, err = c.link(0)
		}
	}
	if err != nil || c.waits() != nil {
		return ""
	}
	return target
}

func (c *Call) link(arg int) (string, error) {
	return os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", c.TID, int32(c.Args[arg])))
}

// named tells which arguments say what a call is about, where it says so by a
// name: a directory's descriptor, -1 where there is none, and a path.
func (c *Call) named() (dir, name int, ok bool) {
	switch c.Name {
	case "linkat", "mkdirat", "openat", "renameat", "renameat2", "unlinkat":
		return 0, 1, true
	case "symlinkat":
		return 1, 2, true
	case "mkdir", "open", "rename", "rmdir", "unlink":
		return -1, 0, true
	}
	return 0, 0, false
}

// base is the directory that a relative path starts from.
func (c *Call) base(dir int) string {
	if dir < 0 || int32(c.Args[dir]) == unix.AT_FDCWD {
		return fmt.Sprintf("/proc/%d/cwd", c.TID)
	}
	return fmt.Sprintf("/proc/%d/fd/%d", c.TID, int32(c.Args[dir]))
}

// path is a path of the caller's, from here.
func (c *Call) path(dir, name int) (string, error) {
	path, err := c.Text(name)
	if err != nil {
		return "", err
	}
	base := c.base(dir)
	if filepath.IsAbs(path) {
		base = fmt.Sprintf("/proc/%d/root", c.TID)
	}
	return base + "/" + path, c.waits()
}

// mode is that of a new file: an argument, and the caller's umask.
func (c *Call) mode(arg int) uint32 {
	umask, _ := strconv.ParseUint(c.status("Umask"), 8, 32)
	return uint32(c.Args[arg]) &^ uint32(umask)
}

// Do does a call that changes something, in the caller's place, and returns what
// it returned. A file that it opens is made, and closed again.
func (c *Call) Do() (value int64, err error) {
	if dir, name, ok := c.named(); ok {
		path, err := c.path(dir, name)
		if err != nil {
			return 0, err
		}
		return 0, c.doNamed(path, name)
	}
	if c.Name == "splice" {
		return c.splice(false)
	}
	f, err := c.File(0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	fd := int(f.Fd())
	switch c.Name {
	case "write", "pwrite64":
		b := make([]byte, c.Args[2])
		if err := c.Read(1, b); err != nil {
			return 0, err
		}
		n := 0
		if c.Name == "write" {
			n, err = unix.Write(fd, b)
		} else {
			n, err = unix.Pwrite(fd, b, int64(c.Args[3]))
		}
		return int64(n), err
	case "ftruncate":
		return 0, unix.Ftruncate(fd, int64(c.Args[1]))
	case "fallocate":
		return 0, unix.Fallocate(fd, uint32(c.Args[1]), int64(c.Args[2]), int64(c.Args[3]))
	case "fsync":
		return 0, unix.Fsync(fd)
	case "fdatasync":
		return 0, unix.Fdatasync(fd)
	}
	return 0, fmt.Errorf("%s: %w", c.Name, errors.ErrUnsupported)
}

// doNamed does a call that is about a path, which is that of argument name.
func (c *Call) doNamed(path string, name int) error {
	const here = unix.AT_FDCWD
	switch c.Name {
	case "open", "openat":
		fd, err := unix.Open(path, int(c.Args[name+1])|unix.O_CLOEXEC, c.mode(name+2))
		if err != nil {
			return err
		}
		return unix.Close(fd)
	case "mkdir", "mkdirat":
		return unix.Mkdir(path, c.mode(name+1))
	case "unlink":
		return unix.Unlink(path)
	case "rmdir":
		return unix.Rmdir(path)
	case "unlinkat":
		return unix.Unlinkat(here, path, int(c.Args[2]))
	case "symlinkat":
		text, err := c.Text(0)
		if err != nil {
			return err
		}
		return unix.Symlink(text, path)
	}
	dir, other := 2, 3
	if c.Name == "rename" {
		dir, other = -1, 1
	}
	to, err := c.path(dir, other)
	if err != nil {
		return err
	}
	switch c.Name {
	case "linkat":
		return unix.Linkat(here, path, here, to, int(c.Args[4]))
	case "renameat2":
		return unix.Renameat2(here, path, here, to, uint(c.Args[4]))
	}
	return unix.Rename(path, to)
}

// DoKeeping does a splice from a pipe, as Do, and leaves in the pipe what is
// written, as the kernel does where the write fails.
func (c *Call) DoKeeping() (int64, error) { return c.splice(true) }

// splice waits for nothing in the caller's place.
func (c *Call) splice(keep bool) (int64, error) {
	in, err := c.File(0)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := c.File(2)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	var at [2]*int64 // positions, which the kernel moves on
	for i, arg := range []int{1, 3} {
		if c.Args[arg] == 0 {
			continue
		}
		var b [8]byte
		if err := c.Read(arg, b[:]); err != nil {
			return 0, err
		}
		position := int64(binary.NativeEndian.Uint64(b[:]))
		at[i] = &position
	}
	size := int(c.Args[4])
	if keep {
		from, to, err := os.Pipe()
		if err != nil {
			return 0, err
		}
		defer from.Close()
		defer to.Close()
		unix.FcntlInt(to.Fd(), unix.F_SETPIPE_SZ, size)
		n, err := unix.Tee(int(in.Fd()), int(to.Fd()), size, unix.SPLICE_F_NONBLOCK)
		if err != nil {
			return 0, err
		}
		in, size = from, int(n)
	}
	n, err := unix.Splice(int(in.Fd()), at[0], int(out.Fd()), at[1], size, int(c.Args[5])|unix.SPLICE_F_NONBLOCK)
	if err != nil {
		return 0, err
	}
	for i, arg := range []int{1, 3} {
		if at[i] == nil || keep {
			continue
		}
		if err := c.Write(arg, binary.NativeEndian.AppendUint64(nil, uint64(*at[i]))); err != nil {
			return 0, err
		}
	}
	return n, nil
}
