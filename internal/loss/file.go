package loss

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// layout tells a file that holds sums from one that doesn't, and from one of
// another version.
const layout = 1

// headerSize is how much of a table is before its slots, in bytes.
const headerSize = int(unsafe.Offsetof(table{}.slots))

// bytes is the table as it is kept.
func (t *table) bytes() []byte { return unsafe.Slice((*byte)(unsafe.Pointer(t)), tableSize) }

// Resume takes over what Save has kept at path, if no process with this memory
// has done so before, and makes room for the next Save, which may come when the
// disk is full. Call it before anything is added. An error says what of that
// can't be; sums are kept in memory all the same.
func (l *Ledger) Resume(path string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.path = path
	f, err := l.openLocked()
	if err != nil {
		return err
	}
	if l.t.resumed.Load() == 0 {
		if err := l.resumeLocked(f); err != nil {
			return err
		}
		l.t.resumed.Store(1)
	}
	// From here on it is the memory that has the sums.
	if _, err := f.WriteAt(make([]byte, headerSize), 0); err != nil {
		return fmt.Errorf("losses: %w", err)
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(tableSize)); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("losses: room for them: %w", err)
	}
	return nil
}

func (l *Ledger) openLocked() (*os.File, error) {
	if l.file != nil {
		return l.file, nil
	}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("losses: %w", err)
	}
	l.file = f
	return f, nil
}

func (l *Ledger) resumeLocked(f *os.File) error {
	kept := new(table)
	n, err := f.ReadAt(kept.bytes(), 0)
	if err != nil && err != io.EOF {
		return fmt.Errorf("losses: %w", err)
	}
	if n < headerSize || kept.layout != layout {
		return nil
	}
	kept.taking, kept.layout = taking{}, 0
	kept.resumed.Store(0)
	copy(l.t.bytes(), kept.bytes()) // once more, if a kill comes before resumed is set
	l.recover(0)
	return nil
}

// Save keeps what has not been told, for the next process where the memory has
// gone by then. Call it last before Close.
func (l *Ledger) Save() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t == nil || l.path == "" || len(l.slots) == 0 {
		return nil
	}
	f, err := l.openLocked()
	if err != nil {
		return err
	}
	l.t.layout = layout
	b := l.t.bytes()
	if _, err = f.WriteAt(b[headerSize:], int64(headerSize)); err == nil {
		err = f.Sync()
	}
	if err == nil { // this makes it one that holds sums
		_, err = f.WriteAt(b[:headerSize], 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return fmt.Errorf("losses: %w", err)
	}
	return nil
}
