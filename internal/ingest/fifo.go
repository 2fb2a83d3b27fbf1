package ingest

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/journal"
	"logscan/internal/pipe"
)

const (
	// batchMax is how much is taken from one FIFO in one step: as much as the
	// largest pipe holds.
	batchMax = 1 << 20
	// batchMin is as much as a journal keeps in a segment at least; of a container
	// with small ones no more than batchSegments' are taken in one step. Each of
	// them has files to be made and closed, for which all others would wait.
	batchMin      = 64 << 10
	batchSegments = 2
	// retryAfter is the pause after a journal could not be written to, or
	// another attachment had to finish first.
	retryAfter = 100 * time.Millisecond
	// directFrom is how many bytes a visit has to take for its FIFO to be visited
	// from then on without being asked for, see watchLess, until one takes less
	// than a quarter of that. Two calls of epoll cost what some fifty writes save.
	directFrom = 32 << 10
	// tellEvery is how often the log says that one FIFO waits. On a full disk where
	// room is made again and again, that is many times a second.
	tellEvery = time.Minute
	// startWindow is how long a container may take from StartLogging to running.
	// Meanwhile `docker logs` makes the Engine attach it once more, and the
	// older attachment is no orphan.
	startWindow = 10 * time.Second
)

// errBinding means that a journal is being opened: what there is has to wait.
var errBinding = errors.New("the log is being opened")

// fifo is one FIFO that is read.
type fifo struct {
	name string
	i    *Ingest

	mu            sync.Mutex // held while it is drained; guards all below
	fd            int
	container     string            // its journal's id; empty for an unknown FIFO that was silent
	unknown       bool              // no StartLogging announced it
	about         journal.Container // what StartLogging said; without an id: a process before had it
	since         time.Time
	journal       *journal.Journal
	writer        *journal.Writer // nil while it has no journal, see bindAgain
	stray         *journal.Writer // in place of writer while the journal can't be opened
	binding       bool            // a journal is being opened for it
	awaited       bool            // and then it is to be watched again
	strayed       bool            // that has failed: the next step is the stray's
	pipeSize      int
	batch         int // what is taken in one step at most
	bytes         int64
	ended         bool
	retired       bool // its container has a newer attachment, see supersede
	failing       bool // the last try to write failed
	told          bool // the log says so
	toldAt        time.Time
	toldErrno     unix.Errno // the latest that it told of; 0: none, or an error of another kind
	parked        bool       // out of epoll until retryAfter
	toldUnwatched bool       // the log says that epoll refuses it
	direct        bool       // out of epoll while it is busy: the loop visits it in each round
}

// visit takes what is in the FIFO once, and returns how full its pipe was, in
// percent, and whether the loop has to visit it in the next round, whatever
// epoll says.
func (f *fifo) visit() (fill int, direct bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended || f.parked {
		return 0, false
	}
	n, err := f.take()
	if fill = n * 100 / f.pipeSize; n >= f.batch {
		fill = 100 // and there may be more
	}
	if fill > fillBusy && f.pipeSize < batchMax {
		// Only the busy ones grow: what all pipes of root may hold is bounded,
		// and past that the pipes inside containers shrink. EPERM says so.
		if size, err := unix.FcntlInt(uintptr(f.fd), unix.F_SETPIPE_SZ, min(f.pipeSize*4, batchMax)); err == nil {
			f.pipeSize = size
		}
	}
	switch {
	case err == nil || err == unix.EAGAIN:
		f.watchLess(n)
	case err == io.EOF:
		f.end()
	case err == errBinding:
		f.unwatch()
		f.awaited = true
	default:
		f.park()
	}
	return fill, f.direct
}

// watchLess takes a FIFO through which much comes out of epoll, and puts it back
// when that is over. While epoll watches a pipe, each write to it runs epoll's
// callback, about 80 ns of dockerd's time for each line (Linux, fs/pipe.c: a pipe
// that was ever polled is woken for at every write).
func (f *fifo) watchLess(n int) {
	switch {
	case n >= directFrom && !f.direct:
		f.direct = unix.EpollCtl(f.i.epoll, unix.EPOLL_CTL_DEL, f.fd, nil) == nil
	case n < directFrom/4 && f.direct:
		f.direct = f.i.watch(f.fd) != nil // again in the next round
	}
}

// take moves what is in the pipe now. What is written meanwhile is left for the
// next time: otherwise a busy writer would be followed line by line. Its errors
// are those of journal.Writer.Ingest.
func (f *fifo) take() (int, error) {
	if f.writer == nil { // unknown or superseded, until it says something
		if err := pipe.Waiting(f.fd); err != nil {
			return 0, err
		}
		if f.stray == nil || !f.strayed && !f.stray.Unfinished() {
			if !f.binding {
				f.binding = true
				id, about := f.journalID(), f.about
				f.i.binding.Go(func() { f.bindAgain(id, about) })
			}
			return 0, errBinding
		}
		f.strayed = false
	}
	w := f.writer
	if w == nil {
		w = f.stray
	}
	n, err := w.Ingest(f.fd, f.batch)
	if !f.report(w, n, err) {
		f.bytes += int64(n)
		f.i.bytes.Add(int64(n))
	}
	if n > 0 && f.retired && w == f.writer && !w.Unfinished() {
		f.unbind()
	}
	return n, err
}

// report counts failures to write, logs when they begin, become others and end,
// though not again and again, and reports whether lines are dropped.
func (f *fifo) report(w *journal.Writer, n int, err error) (dropping bool) {
	failed := err != nil && err != unix.EAGAIN && err != io.EOF && err != journal.ErrBusy
	if failed {
		f.i.failures.Add(1)
	}
	switch {
	case failed:
		f.failing = true
		var errno unix.Errno
		errors.As(err, &errno)
		if errno == f.toldErrno && (f.told || time.Since(f.toldAt) < tellEvery) {
			break
		}
		f.told, f.toldAt, f.toldErrno = true, time.Now(), errno
		f.i.log.Error("lines wait in their FIFO: the journal can't be written", "container", f.container, "err", err)
	case f.failing && n > 0:
		if dropping = w.Dropping(); !dropping {
			if f.failing = false; f.told {
				f.i.log.Info("the journal can be written again", "container", f.container)
			}
			f.told = false
		}
	}
	return dropping
}

// bind ties the FIFO to a container's journal.
func (f *fifo) bind(j *journal.Journal, resumed bool) {
	f.unbind()
	c := j.Container()
	f.container, f.journal, f.writer = c.ID, j, j.Attach(resumed)
	f.batch = batchOf(c.Options.MaxSize)
}

// batchOf is what is taken in one step for a container with segments of that
// many bytes; -1: without a limit.
func batchOf(segment int64) int {
	if segment < 0 {
		return batchMax
	}
	return int(min(batchMax, batchSegments*max(segment, batchMin)))
}

func (f *fifo) unbind() {
	if f.stray != nil {
		f.stray.Detach()
		f.stray = nil
	}
	if f.writer != nil {
		f.writer.Detach()
		f.journal.Release()
		f.writer, f.journal = nil, nil
	}
}

// bindAgain finds a journal for a FIFO that has none and isn't silent: its
// container's, or, where no StartLogging ever named one, a journal of its own.
// There is always one, because a container blocks whose lines nobody reads. It
// runs beside the loop, for which opening a log may take too long.
func (f *fifo) bindAgain(id string, c journal.Container) {
	j, err := f.i.cfg.Journals.Acquire(id)
	if errors.Is(err, journal.ErrNotFound) { // of a known container: removed meanwhile, or not made yet
		if c.ID == "" {
			c = journal.Container{ID: id, Name: id, Workload: id, Scan: true, Options: journal.DefaultOptions, Started: time.Now()}
		}
		j, err = f.i.cfg.Journals.Create(c)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.binding = false
	switch needless := f.ended || f.writer != nil || f.journalID() != id; {
	case needless && err == nil:
		j.Release()
	case needless:
	case err == nil:
		if f.container == "" {
			f.i.log.Warn("a FIFO that no StartLogging announced; its lines are kept under a name of their own", "fifo", f.name, "journal", id)
		}
		f.bind(j, true)
		f.retired = false
	default:
		if f.strayed = true; f.stray == nil {
			f.stray = f.i.cfg.Journals.Stray(id, err)
		}
	}
	if f.awaited {
		f.awaited = false
		f.unparkLocked()
	}
}

// journalID is its container's id, or what its journal is called without one.
func (f *fifo) journalID() string {
	if f.container == "" {
		return "unknown-" + f.name[:12]
	}
	return f.container
}

// supersede lets go of the journal, because the container has an attachment
// since then. dockerd never closes a FIFO whose StopLogging went unanswered, so
// the end of such a one would never come, and neither would that of whoever
// follows the log. Should it speak again, it is bound again. A frame that it is
// inside of is finished first.
func (f *fifo) supersede(then time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended || f.writer == nil || then.Sub(f.since) < startWindow {
		return
	}
	if f.retired = true; !f.writer.Unfinished() {
		f.unbind()
	}
}

// park leaves the FIFO alone for a moment.
func (f *fifo) park() {
	f.unwatch()
	time.AfterFunc(retryAfter, f.unpark)
}

// unwatch leaves the FIFO alone until unpark.
func (f *fifo) unwatch() {
	f.parked = true
	if !f.direct {
		unix.EpollCtl(f.i.epoll, unix.EPOLL_CTL_DEL, f.fd, nil)
	}
	f.direct = false
}

// unpark has epoll watch the FIFO again, if need be later: there may be no room for
// it now.
func (f *fifo) unpark() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unparkLocked()
}

func (f *fifo) unparkLocked() {
	if f.ended {
		return
	}
	if err := f.i.watch(f.fd); err != nil {
		if !f.toldUnwatched {
			f.i.log.Error("FIFO not watched; trying again", "container", f.container, "err", err)
		}
		f.toldUnwatched = true
		time.AfterFunc(retryAfter, f.unpark)
		return
	}
	f.parked, f.toldUnwatched = false, false
}

// end closes the FIFO for good: its writers are gone, and it is empty.
func (f *fifo) end() {
	if f.ended {
		return
	}
	f.ended, f.direct = true, false
	i := f.i
	i.mu.Lock()
	if i.fifos[f.name] == f {
		delete(i.fifos, f.name)
		delete(i.fds, f.fd)
	}
	i.mu.Unlock()
	unix.Close(f.fd)
	f.unbind()
	i.forget(f.name)
	i.unlink(f.name)
	i.log.Debug("attachment ended", "container", f.container, "fifo", f.name, "bytes", f.bytes)
}

// unlink removes a FIFO that nobody writes to any more; dockerd may have done so.
func (i *Ingest) unlink(name string) {
	if err := os.Remove(filepath.Join(i.cfg.FIFODir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		i.log.Warn("unlink FIFO", "err", err)
	}
}

// drain takes all that is in the FIFO, waiting for a journal that can't be
// written or is busy until ctx ends.
func (f *fifo) drain(ctx context.Context) error {
	for {
		f.mu.Lock()
		if f.ended {
			f.mu.Unlock()
			return nil
		}
		n, err := f.take()
		if err == io.EOF {
			f.end()
		}
		f.mu.Unlock()
		switch {
		case err == io.EOF || err == unix.EAGAIN:
			return nil
		case err == nil && n > 0:
			if ctx.Err() != nil {
				return ctx.Err() // a writer that doesn't stop
			}
		default:
			select {
			case <-ctx.Done():
				return err
			case <-time.After(retryAfter):
			}
		}
	}
}

// abandon ends a stopped attachment that dockerd didn't close, unless there is
// still something in it.
func (f *fifo) abandon() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return
	}
	if n, err := f.take(); n > 0 || err != nil && err != unix.EAGAIN && err != io.EOF {
		time.AfterFunc(stopDeadline, f.abandon)
		return
	}
	f.end()
}
