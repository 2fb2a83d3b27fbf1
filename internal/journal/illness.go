package journal

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// illness is since when a disk doesn't let something be read. Some do so for a
// moment, and what is given up then would have been readable in the next.
type illness struct{ since time.Time }

// patient reports whether an error is the disk's and may still pass: it is not
// older than for. Without one, the next begins anew.
func (f *illness) patient(err error, patience time.Duration) bool {
	if !errors.Is(err, unix.EIO) {
		f.since = time.Time{}
		return false
	}
	if f.since.IsZero() {
		f.since = time.Now()
	}
	return time.Since(f.since) < patience
}
