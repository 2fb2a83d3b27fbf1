package journal

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// diskFault tells since when a disk has refused to have something read. Some disks
// do so for a moment, and what a reader gives up then would have been readable in
// the next.
type diskFault struct{ since time.Time }

// withinGrace reports whether an error is the disk's and may still pass: it has
// lasted for less than the grace period. Without one, the next begins anew.
func (f *diskFault) withinGrace(err error, gracePeriod time.Duration) bool {
	if !errors.Is(err, unix.EIO) {
		f.since = time.Time{}
		return false
	}
	if f.since.IsZero() {
		f.since = time.Now()
	}
	return time.Since(f.since) < gracePeriod
}
