package journal

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
	"logscan/internal/pipe"
)

// buffers hold what was just spliced while frames are found in it, and what
// readers have read. One is in use per thread that does so, not per container.
var buffers = sync.Pool{New: func() any { b := make([]byte, readSize); return &b }}

// Writer is one way into a journal: that of an attachment, which is a FIFO.
type Writer struct {
	j        *Journal
	spill    []byte // read but not yet written: where splice is refused, and behind rubbish
	detached bool
	drop     dropping
	waits    time.Time // since when another attachment's unfinished frame has not grown
	waitSize int64     // the file's size then
	flow     int       // bytes that the latest turn with any has moved
	more     bool      // there was more than a transfer moves
	rotated  int       // segments that the latest Ingest has begun; its caller's
	doubt    note      // what may be in the pipe and in the journal
	doubted  time.Time // since when that can't be found out
	resumed  time.Time // when what a process before had attached was attached again
}

// Attach adds a writer. resumed says that it was attached before the process
// was restarted, so that an unfinished frame at the end may be its own; a new
// writer never finishes another's frame. Where there are several that were, it
// isn't known whose the frame is: it is removed, and each of them goes on with the
// first frame that it begins.
func (j *Journal) Attach(resumed bool) *Writer {
	if j.dir.cfg.OnAttach != nil {
		defer j.dir.cfg.OnAttach(j.id)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if !resumed && j.state.Attached == 0 {
		j.cutLocked("torn")
	}
	j.state.Attached++
	j.goOnLocked()
	j.starting = time.Time{}
	j.changedLocked()
	w := &Writer{j: j}
	if resumed {
		w.resumed = j.dir.cfg.Clock()
		w.doubt = j.doubt
		j.resumedLocked(w)
	}
	return w
}

// resumedLocked deals with what the last process left unfinished.
func (j *Journal) resumedLocked(w *Writer) {
	if j.recovery.Torn == 0 {
		return
	}
	if j.resumed = append(j.resumed, w); len(j.resumed) < 2 {
		return
	}
	if j.owner == nil && j.active != nil && j.active.need != 0 {
		j.cutLocked("torn")
		j.whose = true
	}
	for _, a := range j.resumed {
		a.drop.lost = a.drop.lost || j.whose
	}
	if j.whose {
		j.resumed = j.resumed[:1] // those that come yet
	}
}

// Ingest moves up to max bytes from the non-blocking pipe fd to the journal,
// and returns how many. The errors: io.EOF, the pipe is empty and nobody holds
// its other end; unix.EAGAIN, it is empty; ErrBusy, another attachment of this
// container is inside a frame; any other, such as unix.ENOSPC, the bytes could
// not be written and wait in the pipe: call again soon. When that lasts, they
// are dropped, see Dropping.
func (w *Writer) Ingest(fd, max int) (int, error) {
	j := w.j
	j.mu.Lock()
	j.rotations = 0
	n, err := w.ingestLocked(fd, max)
	for n > 0 && err == nil && n < max && (w.more || j.atLimitLocked()) && pipe.Waiting(fd) == nil {
		var more int // maybe into the next segment
		more, err = w.ingestLocked(fd, max-n)
		n += more
	}
	if n > 0 {
		w.flow = n
		err = nil // what it was comes again
		j.changedLocked()
	}
	w.rotated = j.rotations
	j.mu.Unlock()
	if n > 0 && j.dir.cfg.OnAppend != nil {
		j.dir.cfg.OnAppend(j.id)
	}
	return n, err
}

// Rotated returns how many segments the latest call of Ingest has begun: each
// costs as much as some thousand lines. It is for whoever calls Ingest.
func (w *Writer) Rotated() int { return w.rotated }

func (w *Writer) ingestLocked(fd, max int) (total int, err error) {
	if w.doubt.phase != phaseNone {
		if err := w.settleLocked(fd); err != nil && !w.hopelessLocked() {
			return 0, err
		}
	}
	for {
		n, err := w.stepLocked(fd, max)
		total += n
		if err != nil || len(w.spill) == 0 {
			if total > 0 {
				err = nil
			}
			return total, err
		}
	}
}

// hopelessLocked notes that it can't be found out what the pipe and the journal
// both have, and reports whether that has lasted too long to go on waiting.
func (w *Writer) hopelessLocked() bool {
	if w.doubted.IsZero() {
		w.doubted = time.Now()
	}
	if time.Since(w.doubted) < w.j.dir.gracePeriod {
		return false
	}
	w.j.log.Error("entries that were written before a kill may come twice", "container", w.j.id)
	w.doubt = note{}
	return true
}

// stepLocked writes once, or drops where it can't be written.
func (w *Writer) stepLocked(fd, max int) (int, error) {
	j := w.j
	if j.owner != nil && j.owner != w && !w.overdueLocked() {
		return 0, ErrBusy
	}
	w.waits = time.Time{}
	for w.drop.inside() || w.drop.on && time.Since(w.drop.tried) < writeAgain {
		if n, err := w.dropLocked(fd); n != 0 || err != nil {
			return n, err
		}
	}
	n, err := w.writeLocked(fd, max)
	switch {
	case n > 0:
		w.wroteLocked(fd, n)
		return n, nil
	case err == nil || err == unix.EAGAIN || err == io.EOF:
		return n, err
	case w.withinGraceLocked(err):
		return 0, err
	}
	return w.dropLocked(fd)
}

// writeLocked moves bytes from the pipe to the active segment.
func (w *Writer) writeLocked(fd, max int) (int, error) {
	j := w.j
	if j.active != nil && j.active.behind {
		switch err := j.hopLocked(); {
		case errors.Is(err, entry.ErrFrame):
			w.resyncLocked()
		case err != nil:
			return 0, err
		}
		j.active.behind = false
	}
	if (j.active == nil || j.rotatesLocked()) && len(w.spill) == 0 {
		// No segment for a container that says nothing.
		if err := pipe.Waiting(fd); err != nil {
			return 0, pipeError(err)
		}
	}
	if err := j.prepareLocked(); err != nil {
		return 0, err
	}
	act := j.active
	room := int64(max)
	// Never past max-size, but for the rest of a frame already begun.
	size, _ := j.dir.limits(j.meta.Options)
	if left := size - act.size; left > 0 {
		room = min(room, left)
	} else {
		room = min(room, act.need-act.size)
	}
	n, done, err := w.transferLocked(fd, int(room))
	if done {
		return n, err
	}
	if err := act.cut(); err != nil {
		return 0, err
	}
	if err := j.clearNoteLocked(); err != nil {
		return 0, err
	}
	n, err = w.move(fd, int(room))
	if n <= 0 {
		if err != nil && err != unix.EAGAIN && err != io.EOF {
			// What failed may have been done all the same, and the next process
			// would take it for lines. It is cut off again before more is written.
			act.file.Truncate(act.size)
			act.stale = true
		}
		return 0, err
	}
	act.size += int64(n)
	if err := j.hopLocked(); errors.Is(err, entry.ErrFrame) {
		return n - w.resyncLocked(), nil
	} else if err != nil {
		j.log.Error("read back", "container", j.id, "err", err)
		act.behind = true // the next call hops over it again, before it writes
	}
	j.owner = nil
	if act.need != 0 || act.behind {
		j.owner = w
	}
	return n, nil
}

// move transfers n bytes at most from the pipe to the end of the active
// segment: one system call, no copy.
func (w *Writer) move(fd, n int) (int, error) {
	j := w.j
	if !j.noSplice && len(w.spill) == 0 {
		off := j.active.size
		m, err := unix.Splice(fd, nil, int(j.active.file.Fd()), &off, n, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		switch {
		case err == nil && m == 0:
			return 0, io.EOF
		case err == nil:
			return int(m), nil
		case err != unix.EINVAL:
			return 0, pipeError(err)
		}
		j.noSplice = true
		j.log.Info("the filesystem refuses splice; copying instead", "path", j.path)
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	if len(w.spill) == 0 {
		m, err := unix.Read(fd, (*buf)[:min(n, len(*buf))])
		if err != nil {
			return 0, pipeError(err)
		}
		if m == 0 {
			return 0, io.EOF
		}
		w.spill = append(w.spill, (*buf)[:m]...)
	}
	m, err := unix.Pwrite(int(j.active.file.Fd()), w.spill[:min(n, len(w.spill))], j.active.size)
	if m <= 0 {
		return 0, pipeError(err)
	}
	w.spill = append(w.spill[:0], w.spill[m:]...)
	return m, nil
}

func pipeError(err error) error {
	switch err {
	case io.EOF:
		return io.EOF
	case unix.EAGAIN, unix.EINTR:
		return unix.EAGAIN
	}
	return fmt.Errorf("write log: %w", err)
}

// Unfinished reports whether the attachment is inside a frame.
func (w *Writer) Unfinished() bool {
	w.j.mu.Lock()
	defer w.j.mu.Unlock()
	return w.j.owner == w || len(w.spill) > 0 || len(w.drop.head) > 0 || w.drop.rest > 0
}

// endedAt is when the attachment ended that is detached now; zero where it was before
// this process.
func (w *Writer) endedAt(now time.Time) time.Time {
	if !w.resumed.IsZero() && now.Sub(w.resumed) < endedAway {
		return time.Time{}
	}
	return now
}

// Detach ends the attachment: its writer is gone, and a frame that it left
// unfinished is removed. It returns that frame's bytes. Calling it again does
// nothing.
func (w *Writer) Detach() (torn int64) {
	j := w.j
	j.mu.Lock()
	if w.detached {
		j.mu.Unlock()
		return 0
	}
	w.detached = true
	if n := int64(len(w.spill)); n > 0 {
		j.dir.loss(j.lossLocked("torn", n, 0))
		w.spill = nil
	}
	if j.owner == w || j.state.Attached == 1 {
		torn = j.cutLocked("torn")
	}
	j.state.Attached--
	if j.state.Attached == 0 {
		j.state.Ends++
		j.state.LastEnd = j.state.End
		j.endRunLocked(w.endedAt(j.dir.cfg.Clock()))
		j.touch()
	}
	if j.of != nil {
		j.needsMaintenanceLocked() // what is to be done about its end, such as closing it, is Run's
	}
	j.changedLocked()
	j.mu.Unlock()
	if j.dir.cfg.OnDetach != nil {
		j.dir.cfg.OnDetach(j.id)
	}
	return torn
}
