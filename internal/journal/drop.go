package journal

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
	"logscan/internal/pipe"
)

const (
	// gracePeriod is how long lines wait in their FIFO for a disk that can't be
	// written to. A container blocks when its FIFO is full, so it is not long.
	gracePeriod = 5 * time.Second
	// stallAfter is how long an attachment may be inside a frame without going
	// on while another one of the same container waits for it.
	stallAfter = 30 * time.Second
	// writeAgain is how often writing is tried while lines are dropped.
	writeAgain = 100 * time.Millisecond
	// wellAfter is how many bytes must be written before a disk counts as
	// working again; an empty pipe will do as well.
	wellAfter = 256 << 10
)

// Dropping reports whether the attachment's lines are thrown away, because the
// disk could not be written to for some seconds: else the container would block.
// Only whole frames are; they are counted and reported at once.
func (w *Writer) Dropping() bool {
	w.j.mu.Lock()
	defer w.j.mu.Unlock()
	return w.drop.on
}

// withinGraceLocked notes that writing failed, does what can be done about it, and
// reports whether to wait longer. Where it is false, the next byte of the pipe
// begins a frame, or belongs to one that is not kept.
func (w *Writer) withinGraceLocked(err error) bool {
	j, d, now := w.j, &w.drop, time.Now()
	if d.failingSince.IsZero() {
		d.failingSince, d.wrote = now, 0
	}
	d.tried = now
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		j.dir.makeRoom()
	} else if act := j.active; act != nil && act.need == 0 && !act.behind && act.size > 0 && act.cut() == nil {
		j.closeActive() // another file may have better luck
		j.dir.wakeUp()
	}
	if !d.on && now.Sub(d.failingSince) < j.dir.gracePeriod {
		return true
	}
	if !d.on {
		d.on = true
		j.log.Error("the log can't be written; the newest lines are dropped", "container", j.id, "err", err)
	}
	// What a process before has begun is the attachment's, as it is where the disk
	// can be written to.
	if act := j.active; j.owner == w || act != nil && (act.need != 0 || act.behind) {
		w.abandonLocked("dropped")
	}
	d.reason = "dropped"
	return false
}

// wroteLocked notes that n bytes were written.
func (w *Writer) wroteLocked(fd, n int) {
	d := &w.drop
	if d.failingSince.IsZero() {
		return
	}
	if d.wrote += n; d.wrote < wellAfter && pipe.Waiting(fd) == nil {
		return
	}
	if d.on {
		w.j.log.Info("the log can be written again", "container", w.j.id)
	}
	d.on, d.failingSince, d.goesOn = false, time.Time{}, false
}

// overdueLocked reports whether the attachment that is inside a frame has kept
// this one waiting for too long. Then its frame is given up.
func (w *Writer) overdueLocked() bool {
	j, now := w.j, time.Now()
	if size := j.active.size; w.waits.IsZero() || w.waitSize != size || now.Sub(w.waits) > 2*j.dir.stallAfter {
		w.waits, w.waitSize = now, size
	}
	if now.Sub(w.waits) < j.dir.stallAfter {
		return false
	}
	w.waits = time.Time{}
	j.owner.abandonLocked("torn")
	return true
}

// abandonLocked removes the frame that the attachment has begun and not finished;
// its rest won't be kept either.
func (w *Writer) abandonLocked(reason string) {
	j, d := w.j, &w.drop
	act, seg := j.active, j.segments[len(j.segments)-1]
	torn := act.size - seg.size
	frames := int64(0)
	switch {
	case act.behind:
		d.lost = true
	case torn >= entry.HeaderLen:
		d.rest, frames = int(act.need-act.size), 1
	case torn > 0:
		d.head = make([]byte, torn)
		if _, err := act.file.ReadAt(d.head, seg.size); err != nil {
			d.head, d.lost = nil, true
		}
	}
	j.truncateLocked()
	d.goesOn = d.goesOn && d.reason == reason
	d.reason = reason
	j.dir.loss(d.next(j.lossLocked(reason, torn, frames)))
}

// dropLocked takes bytes that are not to be kept out of the pipe.
func (w *Writer) dropLocked(fd int) (int, error) {
	j, d := w.j, &w.drop
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	b := w.spill
	if len(b) == 0 {
		n, err := pipe.Peek(fd, *buf, j.dir.cfg.DropRoom)
		if err != nil {
			return 0, pipeError(err)
		}
		b = (*buf)[:n]
	}
	n, frames, rubbish := d.pass(b)
	if n == 0 {
		return 0, nil
	}
	var l Loss
	if rubbish > 0 {
		l = j.lossLocked("corrupt", int64(rubbish), 0)
	} else {
		l = d.next(j.lossLocked(d.reason, int64(n), frames))
	}
	if len(w.spill) > 0 {
		w.spill = append(w.spill[:0], w.spill[n:]...)
		j.dir.loss(l)
	} else {
		m, err := j.dir.drop(fd, (*buf)[:n], l)
		if err != nil || m != n { // nobody else reads it
			d.lost = true
			return max(m, 0), err
		}
	}
	if !d.on && !d.inside() {
		d.goesOn = false
	}
	return n, nil
}

// drop takes the len(b) bytes that l is out of the pipe fd, whose content b may
// be given, and reports l; of both as much as there is.
func (d *Dir) drop(fd int, b []byte, l Loss) (n int, err error) {
	if d.cfg.Drop != nil {
		n, err = d.cfg.Drop(fd, l)
	} else if n, err = unix.Read(fd, b); n > 0 && d.cfg.OnLoss != nil {
		d.cfg.OnLoss(l.first(n))
	}
	if n > 0 {
		d.count(l.first(n))
	}
	return n, err
}
