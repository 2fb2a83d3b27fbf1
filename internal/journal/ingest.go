package journal

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
)

// buffers hold what was just spliced while frames are found in it, and what
// readers have read. One is in use per thread that does so, not per container.
var buffers = sync.Pool{New: func() any { b := make([]byte, readSize); return &b }}

// Attachment is one writer of a journal: a FIFO.
type Attachment struct {
	j        *Journal
	spill    []byte // read but not yet written: where splice is refused, and behind rubbish
	detached bool
	drop     dropping
	waits    time.Time // since when another attachment's unfinished frame has not grown
	waitSize int64     // the file's size then
	flow     int       // bytes that the latest turn with any has moved
	more     bool      // there was more than a transfer moves
	doubt    note      // what may be in the pipe and in the journal
	doubted  time.Time // since when that can't be found out
}

// Attach adds a writer. resumed says that it was attached before the process
// was restarted, so that an unfinished frame at the end may be its own; a new
// writer never finishes another's frame.
func (j *Journal) Attach(resumed bool) *Attachment {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !resumed && j.state.Attached == 0 {
		j.cutLocked("torn")
	}
	j.state.Attached++
	j.changedLocked()
	a := &Attachment{j: j}
	if resumed {
		a.doubt = j.doubt
	}
	return a
}

// Ingest moves up to max bytes from the non-blocking pipe fd to the journal,
// and returns how many. The errors: io.EOF, the pipe is empty and nobody holds
// its other end; unix.EAGAIN, it is empty; ErrBusy, another attachment of this
// container is inside a frame; any other, such as unix.ENOSPC, the bytes could
// not be written and wait in the pipe: call again soon. When that lasts, they
// are dropped, see Dropping.
func (a *Attachment) Ingest(fd, max int) (int, error) {
	j := a.j
	j.mu.Lock()
	n, err := a.ingestLocked(fd, max)
	for n > 0 && err == nil && n < max && (a.more || j.atLimitLocked()) && Waiting(fd) == nil {
		var more int // maybe into the next segment
		more, err = a.ingestLocked(fd, max-n)
		n += more
	}
	if n > 0 {
		a.flow = n
		err = nil // what it was comes again
		j.changedLocked()
	}
	j.mu.Unlock()
	if n > 0 && j.dir.cfg.OnAppend != nil {
		j.dir.cfg.OnAppend(j.id)
	}
	return n, err
}

func (a *Attachment) ingestLocked(fd, max int) (total int, err error) {
	if a.doubt.phase != phaseNone {
		if err := a.settleLocked(fd); err != nil && !a.hopelessLocked() {
			return 0, err
		}
	}
	for {
		n, err := a.stepLocked(fd, max)
		total += n
		if err != nil || len(a.spill) == 0 {
			if total > 0 {
				err = nil
			}
			return total, err
		}
	}
}

// hopelessLocked notes that it can't be found out what the pipe and the journal
// both have, and reports whether that has lasted too long to go on waiting.
func (a *Attachment) hopelessLocked() bool {
	if a.doubted.IsZero() {
		a.doubted = time.Now()
	}
	if time.Since(a.doubted) < a.j.dir.patience {
		return false
	}
	a.j.log.Error("entries that were written before a kill may come twice", "container", a.j.id)
	a.doubt = note{}
	return true
}

// stepLocked writes once, or drops where it can't be written.
func (a *Attachment) stepLocked(fd, max int) (int, error) {
	j := a.j
	if j.owner != nil && j.owner != a && !a.overdueLocked() {
		return 0, ErrBusy
	}
	a.waits = time.Time{}
	if a.drop.inside() || a.drop.on && time.Since(a.drop.tried) < writeAgain {
		return a.dropLocked(fd)
	}
	n, err := a.writeLocked(fd, max)
	switch {
	case n > 0:
		a.wroteLocked(fd, n)
		return n, nil
	case err == nil || err == unix.EAGAIN || err == io.EOF:
		return n, err
	case a.patientLocked(err):
		return 0, err
	}
	return a.dropLocked(fd)
}

// writeLocked moves bytes from the pipe to the active segment.
func (a *Attachment) writeLocked(fd, max int) (int, error) {
	j := a.j
	if j.active != nil && j.active.behind {
		switch err := j.hopLocked(); {
		case errors.Is(err, entry.ErrFrame):
			a.resyncLocked()
		case err != nil:
			return 0, err
		}
		j.active.behind = false
	}
	if (j.active == nil || j.rotatesLocked()) && len(a.spill) == 0 {
		// No segment for a container that says nothing.
		if err := Waiting(fd); err != nil {
			return 0, err
		}
	}
	if err := j.prepareLocked(); err != nil {
		return 0, err
	}
	act := j.active
	room := int64(max)
	if limit := j.meta.Options.MaxSize; limit > 0 {
		// Never past max-size, but for the rest of a frame already begun.
		if left := limit - act.size; left > 0 {
			room = min(room, left)
		} else {
			room = min(room, act.need-act.size)
		}
	}
	n, done, err := a.transferLocked(fd, int(room))
	if done {
		return n, err
	}
	if err := act.cut(); err != nil {
		return 0, err
	}
	if err := j.clearNoteLocked(); err != nil {
		return 0, err
	}
	n, err = a.move(fd, int(room))
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
		return n - a.resyncLocked(), nil
	} else if err != nil {
		j.log.Error("read back", "container", j.id, "err", err)
		act.behind = true // the next call hops over it again, before it writes
	}
	j.owner = nil
	if act.need != 0 || act.behind {
		j.owner = a
	}
	return n, nil
}

// move transfers n bytes at most from the pipe to the end of the active
// segment: one system call, no copy.
func (a *Attachment) move(fd, n int) (int, error) {
	j := a.j
	if !j.noSplice && len(a.spill) == 0 {
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
	if len(a.spill) == 0 {
		m, err := unix.Read(fd, (*buf)[:min(n, len(*buf))])
		if err != nil {
			return 0, pipeError(err)
		}
		if m == 0 {
			return 0, io.EOF
		}
		a.spill = append(a.spill, (*buf)[:m]...)
	}
	m, err := unix.Pwrite(int(j.active.file.Fd()), a.spill[:min(n, len(a.spill))], j.active.size)
	if m <= 0 {
		return 0, pipeError(err)
	}
	a.spill = append(a.spill[:0], a.spill[m:]...)
	return m, nil
}

func pipeError(err error) error {
	if err == unix.EAGAIN || err == unix.EINTR {
		return unix.EAGAIN
	}
	return fmt.Errorf("write log: %w", err)
}

// probe is a pipe into which Waiting duplicates a byte, to see whether there is
// one without taking it.
var probe struct {
	mu   sync.Mutex
	once sync.Once
	pipe [2]int
	err  error
}

// Waiting returns nil if the non-blocking pipe fd holds anything, io.EOF if it
// is empty and nobody can write to it, else unix.EAGAIN. It takes nothing out
// of it. Unlike poll(2) it knows a FIFO whose writers were gone before it was
// opened.
func Waiting(fd int) error {
	probe.once.Do(func() { probe.err = unix.Pipe2(probe.pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK) })
	if probe.err != nil {
		return fmt.Errorf("probe a pipe: %w", probe.err)
	}
	probe.mu.Lock()
	defer probe.mu.Unlock()
	n, err := unix.Tee(fd, probe.pipe[1], 1, unix.SPLICE_F_NONBLOCK)
	if err != nil {
		return pipeError(err)
	}
	if n == 0 {
		return io.EOF
	}
	var b [1]byte
	unix.Read(probe.pipe[0], b[:])
	return nil
}

// Unfinished reports whether the attachment is inside a frame.
func (a *Attachment) Unfinished() bool {
	a.j.mu.Lock()
	defer a.j.mu.Unlock()
	return a.j.owner == a || len(a.spill) > 0 || len(a.drop.head) > 0 || a.drop.rest > 0
}

// Detach ends the attachment: its writer is gone, and a frame that it left
// unfinished is removed. It returns that frame's bytes. Calling it again does
// nothing.
func (a *Attachment) Detach() (torn int64) {
	j := a.j
	j.mu.Lock()
	if a.detached {
		j.mu.Unlock()
		return 0
	}
	a.detached = true
	if n := int64(len(a.spill)); n > 0 {
		j.dir.loss(j.lossLocked("torn", n, 0))
		a.spill = nil
	}
	if j.owner == a || j.state.Attached == 1 {
		torn = j.cutLocked("torn")
	}
	j.state.Attached--
	if j.state.Attached == 0 {
		j.state.Ends++
		j.state.LastEnd = j.state.End
		j.touch()
	}
	j.changedLocked()
	j.mu.Unlock()
	if j.dir.cfg.OnDetach != nil {
		j.dir.cfg.OnDetach(j.id)
	}
	return torn
}
