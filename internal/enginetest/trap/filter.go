package trap

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in the kernel's struct seccomp_data.
const (
	offsetNr   = 0
	offsetArch = 4
	offsetArgs = 16
)

// kind is one kind of calls: all with a number or, narrowed, those of them with
// an argument whose lower 32 bits are a value or have one of its bits.
type kind struct {
	nr       int
	narrowed bool
	arg      int
	masked   bool
	value    uint32
}

// parse reads a list of kinds as Command takes it.
func parse(calls string) (out []kind, err error) {
	for _, call := range strings.Split(calls, ",") {
		name, rest, narrowed := strings.Cut(call, "/")
		nr, ok := numbers[name]
		if !ok {
			return nil, fmt.Errorf("no call is named %q here", name)
		}
		k := kind{nr: nr, narrowed: narrowed}
		if narrowed {
			at := strings.IndexAny(rest, "=&")
			if at < 0 {
				return nil, fmt.Errorf("%q: it is ARGUMENT=VALUE or ARGUMENT&BITS", call)
			}
			k.masked = rest[at] == '&'
			if k.arg, err = strconv.Atoi(rest[:at]); err != nil || k.arg < 0 || k.arg > 5 {
				return nil, fmt.Errorf("%q: arguments are 0 to 5", call)
			}
			value, err := strconv.ParseUint(rest[at+1:], 0, 32)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", call, err)
			}
			k.value = uint32(value)
		}
		out = append(out, k)
	}
	return out, nil
}

// filter is the program that the kernel runs on each call.
func filter(kinds []kind) []unix.SockFilter {
	load := func(offset int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: uint32(offset)}
	}
	answer := func(what uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: what}
	}
	unless := func(test uint16, value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: value, Jf: skip}
	}
	out := []unix.SockFilter{
		load(offsetArch),
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: arch, Jt: 1},
		answer(unix.SECCOMP_RET_ALLOW),
	}
	for _, k := range kinds {
		out = append(out, load(offsetNr))
		if k.narrowed {
			test := uint16(unix.BPF_JEQ)
			if k.masked {
				test = unix.BPF_JSET
			}
			out = append(out, unless(unix.BPF_JEQ, uint32(k.nr), 3), load(offsetArgs+8*k.arg), unless(test, k.value, 1))
		} else {
			out = append(out, unless(unix.BPF_JEQ, uint32(k.nr), 1))
		}
		out = append(out, answer(unix.SECCOMP_RET_USER_NOTIF))
	}
	return append(out, answer(unix.SECCOMP_RET_ALLOW))
}

// Launch is program launch: it traps the calls of this process, hands the
// listener to whoever listens on the socket, and runs another program in its
// place. It returns only where that fails.
func Launch(socket, calls string, args []string) error {
	kinds, err := parse(calls)
	if err != nil {
		return err
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return err
	}
	raw, err := conn.File()
	if err != nil {
		return err
	}
	// The filter is this thread's alone; so is what it becomes.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	code := filter(kinds)
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	listener, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	if err := unix.Sendmsg(int(raw.Fd()), []byte{0}, unix.UnixRights(int(listener)), nil, 0); err != nil {
		return fmt.Errorf("handing the listener over: %w", err)
	}
	return unix.Exec(args[0], args, os.Environ())
}
