// Package timeshift steps the clock that one process reads, while it runs. The
// machine's own, and every other process's, stays as it is.
//
// A process reads the time in the vDSO, a page of code that the kernel maps into
// it. Set puts another clock_gettime into its copy of that page: it asks the
// kernel, and adds hours to the real time. Timers and the monotonic clock go on
// as they do when an administrator sets a clock, and what the kernel itself notes
// (the times of files) stays right. What the process starts reads the true time.
//
// It needs root and amd64, and is for programs that read the time as Go's do.
package timeshift

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	symbol = "__vdso_clock_gettime"
	// stopTime bounds the wait for all threads to stand still.
	stopTime = 10 * time.Second
)

// program is the clock_gettime that Set puts in place. Its last byte is the
// hours, of which one can be written while the process runs.
var program = []byte{
	0xb8, 228, 0, 0, 0, // mov eax, SYS_clock_gettime
	0x0f, 0x05, // syscall
	0x85, 0xc0, // test eax, eax
	0x75, 22, // jnz end: it failed
	0x85, 0xff, // test edi, edi
	0x75, 18, // jnz end: not CLOCK_REALTIME
	0x48, 0x0f, 0xbe, 0x0d, 11, 0, 0, 0, // movsx rcx, byte [hours]
	0x48, 0x69, 0xc9, 0x10, 0x0e, 0, 0, // imul rcx, rcx, 3600
	0x48, 0x01, 0x0e, // add [rsi], rcx
	0xc3, // end: ret
	0,    // hours
}

// Set makes a process's clock wrong by that many hours, -128 to 127; 0 is right.
func Set(pid int, hours int8) error {
	if err := set(pid, hours); err != nil {
		return fmt.Errorf("clock of process %d: %w", pid, err)
	}
	return nil
}

func set(pid int, hours int8) error {
	from, to, err := vdso(pid)
	if err != nil {
		return err
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer mem.Close()
	image := make([]byte, to-from)
	if _, err := mem.ReadAt(image, from); err != nil {
		return err
	}
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return err
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return err
	}
	for _, s := range symbols {
		if s.Name != symbol {
			continue
		}
		if s.Size < uint64(len(program)) || f.Machine != elf.EM_X86_64 {
			return fmt.Errorf("no room in %s, of %d bytes, on %s", symbol, s.Size, f.Machine)
		}
		start, last := int64(s.Value), int64(len(program)-1)
		if !bytes.Equal(image[start:start+last], program[:last]) {
			err := stopped(pid, from, to, func() error {
				_, err := mem.WriteAt(program, from+start)
				return err
			})
			if err != nil {
				return err
			}
		}
		_, err := mem.WriteAt([]byte{byte(hours)}, from+start+last)
		return err
	}
	return errors.New("its vDSO has no " + symbol)
}

// vdso returns where a process has its vDSO.
func vdso(pid int) (from, to int64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(line, "[vdso]\n") {
			_, err := fmt.Sscanf(line, "%x-%x ", &from, &to)
			return from, to, err
		}
	}
	return 0, 0, errors.New("it has no vDSO")
}

// stopped stops a process for as long as f takes, at an instant when none of its
// threads is between from and to.
func stopped(pid int, from, to int64, f func() error) error {
	deadline := time.Now().Add(stopTime)
	for {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return err
		}
		still, err := outside(pid, from, to, deadline)
		if err == nil && still {
			err = f()
		}
		if e := syscall.Kill(pid, syscall.SIGCONT); err == nil {
			err = e
		}
		if err != nil || still {
			return err
		}
	}
}

// outside waits until all threads of a stopped process stand still, and reports
// whether none of them is between from and to.
func outside(pid int, from, to int64, deadline time.Time) (bool, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	if err != nil || len(threads) == 0 {
		return false, errors.Join(err, os.ErrProcessDone)
	}
	for _, thread := range threads {
		for {
			b, err := os.ReadFile(thread)
			if err != nil {
				return false, err
			}
			if fields := strings.Fields(string(b)); len(fields) > 1 { // the last is where it goes on
				at, err := strconv.ParseInt(fields[len(fields)-1], 0, 64)
				if err != nil || from <= at && at < to {
					return false, err
				}
				break
			}
			if time.Now().After(deadline) {
				return false, fmt.Errorf("a thread doesn't stop within %s", stopTime)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return true, nil
}
