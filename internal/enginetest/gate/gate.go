// Package gate holds a program in a container back until it is told to go on.
// The gate is a FIFO in the container's root: the program inside waits for it to
// be closed by its writer, and whoever starts it outside is that writer. Neither
// can come too early for the other, unlike a signal, which is lost or kills
// where it comes before the program has asked for it.
package gate

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// path is where the gate is, seen from the container.
const path = "/loggen.gate"

// Wait returns once the gate was opened. It is for the program in the container.
func Wait() error {
	if err := syscall.Mkfifo(path, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make %s: %w", path, err)
	}
	f, err := os.Open(path) // until there is a writer
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(io.Discard, f) // until it has closed its end
	return err
}

// Gate is held by who started the container.
type Gate struct{ f *os.File }

// Find waits, for at most limit, until the process pid, seen from here, stands
// before its gate.
func Find(pid int, limit time.Duration) (Gate, error) {
	var err error
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var f *os.File
		// Without a reader it fails by ENXIO; before the container's root is
		// the process's, or the FIFO is made, there is no such file.
		f, err = os.OpenFile(fmt.Sprintf("/proc/%d/root%s", pid, path), os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			return Gate{f}, nil
		}
		if _, gone := os.Stat(fmt.Sprintf("/proc/%d", pid)); gone != nil {
			return Gate{}, fmt.Errorf("process %d ended before it stood at its gate", pid)
		}
	}
	return Gate{}, fmt.Errorf("process %d did not come to its gate within %v: %w", pid, limit, err)
}

// Open lets the program go on. It may be called once.
func (g Gate) Open() error { return g.f.Close() }
