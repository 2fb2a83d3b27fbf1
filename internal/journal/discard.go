package journal

import (
	"math"
	"time"

	"logscan/internal/entry"
)

// dropping is the state of an attachment whose lines can't be kept: what it
// throws away, always up to the end of a frame.
type dropping struct {
	failingSince time.Time // since when writing fails; zero where it doesn't
	tried        time.Time // when it last did
	wrote        int       // bytes since then
	on           bool      // gracePeriod is over: lines are dropped

	head []byte // the beginning of a header, of a frame that is not kept
	rest int    // bytes to come of a frame that is not kept
	lost bool   // in rubbish: the next frame is being looked for

	reason string // why
	goesOn bool   // what is not kept now is one loss with what was reported before
}

// inside reports whether the next byte belongs to a frame that is not kept.
func (d *dropping) inside() bool { return len(d.head) > 0 || d.rest > 0 || d.lost }

// pass returns how many bytes of b are not to be kept, none only where b begins
// with the frame that was being looked for, and of them how many frames begin there and how many bytes are rubbish. A frame counts
// where it begins: a kill before its end leaves only rubbish of it.
func (d *dropping) pass(b []byte) (n int, frames int64, rubbish int) {
	switch {
	case d.lost:
		n, found := entry.Sync(b)
		d.lost = !found
		return n, 0, n
	case len(d.head) > 0:
		n = min(entry.HeaderLen-len(d.head), len(b))
		if d.head = append(d.head, b[:n]...); len(d.head) < entry.HeaderLen {
			return n, 0, 0
		}
		var err error
		d.rest, err = entry.BodyLen(d.head)
		if d.head, d.lost = nil, err != nil; !d.lost {
			frames = 1
		}
		return n, frames, 0
	case d.rest > 0:
		n = min(d.rest, len(b))
		d.rest -= n
		return n, 0, 0
	}
	n, frames, err := entry.Skip(b, math.MaxInt64)
	switch {
	case n > 0: // the next call deals with what follows
	case err == entry.ErrFrame:
		n, d.lost = 1, true
		rubbish = 1
	case len(b) < entry.HeaderLen:
		n, d.head = len(b), append([]byte(nil), b...)
	default: // larger than what is there
		size, _ := entry.BodyLen(b)
		n, d.rest = len(b), entry.HeaderLen+size-len(b)
		frames = 1
	}
	return n, frames, rubbish
}

// next marks what goes on with the loss before.
func (d *dropping) next(l Loss) Loss {
	l.More = d.goesOn
	d.goesOn = true
	return l
}

// resyncLocked removes what is no frame from the segment's end. Frames behind it
// are found again by how the Engine's begin.
func (w *Writer) resyncLocked() (again int) {
	j := w.j
	act, seg := j.active, j.segments[len(j.segments)-1]
	tail := make([]byte, act.size-seg.size)
	_, err := act.file.ReadAt(tail, seg.size)
	j.truncateLocked()
	rubbish, found := len(tail), false
	if err == nil {
		n := 0
		n, found = entry.Sync(tail[1:])
		rubbish = n + 1
	}
	if w.drop.lost = !found; found {
		w.spill = append(tail[rubbish:], w.spill...)
		again = len(tail) - rubbish
	}
	j.dir.loss(j.lossLocked("corrupt", int64(rubbish), 0))
	return again
}
