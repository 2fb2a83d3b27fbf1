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
)

const (
	// batchMax is how much is taken from one FIFO in one step: as much as the
	// largest pipe holds.
	batchMax = 1 << 20
	// retryAfter is the pause after a journal could not be written to, or
	// another attachment had to finish first.
	retryAfter = 100 * time.Millisecond
	// directFrom is how many bytes a turn has to take for its FIFO to be visited
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

// attachment is one FIFO.
type attachment struct {
	name string
	i    *Ingest

	mu        sync.Mutex // held while it is drained; guards all below
	fd        int
	container string // its journal's id; empty for an unknown FIFO that was silent
	unknown   bool   // no StartLogging announced it
	since     time.Time
	journal   *journal.Journal
	writer    *journal.Attachment // nil while it has no journal, see bindAgain
	stray     *journal.Attachment // in place of writer while the journal can't be opened
	pipeSize  int
	bytes     int64
	ended     bool
	retired   bool // its container has a newer attachment, see supersede
	failing   bool // the last try to write failed
	told      bool // the log says so
	toldAt    time.Time
	parked    bool // out of epoll until retryAfter
	direct    bool // out of epoll while it is busy: the loop visits it in each round
}

// turn takes what is in the FIFO once, and returns how full its pipe was, in
// percent, and whether the loop has to visit it in the next round, whatever
// epoll says.
func (a *attachment) turn() (fill int, direct bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended || a.parked {
		return 0, false
	}
	n, err := a.take()
	fill = n * 100 / a.pipeSize
	if fill > fillBusy && a.pipeSize < batchMax {
		// Only the busy ones grow: what all pipes of root may hold is bounded,
		// and past that the pipes inside containers shrink. EPERM says so.
		if size, err := unix.FcntlInt(uintptr(a.fd), unix.F_SETPIPE_SZ, min(a.pipeSize*4, batchMax)); err == nil {
			a.pipeSize = size
		}
	}
	switch {
	case err == nil || err == unix.EAGAIN:
		a.watchLess(n)
	case err == io.EOF:
		a.end()
	default:
		a.park()
	}
	return fill, a.direct
}

// watchLess takes a FIFO through which much comes out of epoll, and puts it back
// when that is over. While epoll watches a pipe, each write to it runs epoll's
// callback, about 80 ns of dockerd's time for each line (Linux, fs/pipe.c: a pipe
// that was ever polled is woken for at every write).
func (a *attachment) watchLess(n int) {
	switch {
	case n >= directFrom && !a.direct:
		a.direct = unix.EpollCtl(a.i.epoll, unix.EPOLL_CTL_DEL, a.fd, nil) == nil
	case n < directFrom/4 && a.direct:
		a.direct = a.i.watch(a.fd) != nil // again in the next round
	}
}

// take moves what is in the pipe now. What is written meanwhile is left for the
// next time: otherwise a busy writer would be followed line by line. Its errors
// are those of journal.Attachment.Ingest.
func (a *attachment) take() (int, error) {
	if a.writer == nil { // unknown or superseded, until it says something
		if err := journal.Waiting(a.fd); err != nil {
			return 0, err
		}
		if a.stray == nil || !a.stray.Unfinished() {
			if err := a.bindAgain(); err != nil && a.stray == nil {
				a.stray = a.i.cfg.Journals.Stray(a.journalID(), err)
			}
		}
	}
	w := a.writer
	if w == nil {
		w = a.stray
	}
	n, err := w.Ingest(a.fd, batchMax)
	if !a.report(w, n, err) {
		a.bytes += int64(n)
		a.i.bytes.Add(int64(n))
	}
	if n > 0 && a.retired && w == a.writer && !w.Unfinished() {
		a.unbind()
	}
	return n, err
}

// report counts failures to write, logs when they begin and end, though not again
// and again, and reports whether lines are dropped.
func (a *attachment) report(w *journal.Attachment, n int, err error) (dropping bool) {
	failed := err != nil && err != unix.EAGAIN && err != io.EOF && err != journal.ErrBusy
	if failed {
		a.i.failures.Add(1)
	}
	switch {
	case failed:
		a.failing = true
		if a.told || time.Since(a.toldAt) < tellEvery {
			break
		}
		a.told, a.toldAt = true, time.Now()
		a.i.log.Error("lines wait in their FIFO: the journal can't be written", "container", a.container, "err", err)
	case a.failing && n > 0:
		if dropping = w.Dropping(); !dropping {
			if a.failing = false; a.told {
				a.i.log.Info("the journal can be written again", "container", a.container)
			}
			a.told = false
		}
	}
	return dropping
}

// bind ties the FIFO to a container's journal.
func (a *attachment) bind(j *journal.Journal, resumed bool) {
	a.unbind()
	a.container, a.journal, a.writer = j.Container().ID, j, j.Attach(resumed)
}

func (a *attachment) unbind() {
	if a.stray != nil {
		a.stray.Detach()
		a.stray = nil
	}
	if a.writer != nil {
		a.writer.Detach()
		a.journal.Release()
		a.writer, a.journal = nil, nil
	}
}

// bindAgain finds a journal for a FIFO that has none and isn't silent: its
// container's, or, where no StartLogging ever named one, a journal of its own.
// There is always one, because a container blocks whose lines nobody reads.
func (a *attachment) bindAgain() error {
	id := a.journalID()
	j, err := a.i.cfg.Journals.Acquire(id)
	if errors.Is(err, journal.ErrNotFound) { // of a known container: removed meanwhile
		j, err = a.i.cfg.Journals.Create(journal.Container{ID: id, Name: id, Workload: id, Scan: true, Options: journal.DefaultOptions, Started: time.Now()})
	}
	if err != nil {
		return err
	}
	if a.container == "" {
		a.i.log.Warn("a FIFO that no StartLogging announced; its lines are kept under a name of their own", "fifo", a.name, "journal", id)
	}
	a.bind(j, true)
	a.retired = false
	return nil
}

// journalID is its container's id, or what its journal is called without one.
func (a *attachment) journalID() string {
	if a.container == "" {
		return "unknown-" + a.name[:12]
	}
	return a.container
}

// supersede lets go of the journal, because the container has an attachment
// since then. dockerd never closes a FIFO whose StopLogging went unanswered, so
// the end of such a one would never come, and neither would that of whoever
// follows the log. Should it speak again, it is bound again. A frame that it is
// inside of is finished first.
func (a *attachment) supersede(then time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended || a.writer == nil || then.Sub(a.since) < startWindow {
		return
	}
	if a.retired = true; !a.writer.Unfinished() {
		a.unbind()
	}
}

// park leaves the FIFO alone for a moment.
func (a *attachment) park() {
	a.parked = true
	if !a.direct {
		unix.EpollCtl(a.i.epoll, unix.EPOLL_CTL_DEL, a.fd, nil)
	}
	a.direct = false
	time.AfterFunc(retryAfter, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.ended {
			return
		}
		a.parked = false
		if err := a.i.watch(a.fd); err != nil {
			a.i.log.Error("epoll", "err", err)
		}
	})
}

// end closes the FIFO for good: its writers are gone, and it is empty.
func (a *attachment) end() {
	if a.ended {
		return
	}
	a.ended, a.direct = true, false
	i := a.i
	i.mu.Lock()
	if i.fifos[a.name] == a {
		delete(i.fifos, a.name)
		delete(i.fds, a.fd)
	}
	i.mu.Unlock()
	unix.Close(a.fd)
	a.unbind()
	i.forget(a.name)
	i.unlink(a.name)
	i.log.Debug("attachment ended", "container", a.container, "fifo", a.name, "bytes", a.bytes)
}

// unlink removes a FIFO that nobody writes to any more; dockerd may have done so.
func (i *Ingest) unlink(name string) {
	if err := os.Remove(filepath.Join(i.cfg.FIFODir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		i.log.Warn("unlink FIFO", "err", err)
	}
}

// drain takes all that is in the FIFO, waiting for a journal that can't be
// written or is busy until ctx ends.
func (a *attachment) drain(ctx context.Context) error {
	for {
		a.mu.Lock()
		if a.ended {
			a.mu.Unlock()
			return nil
		}
		n, err := a.take()
		if err == io.EOF {
			a.end()
		}
		a.mu.Unlock()
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

// giveUp ends a stopped attachment that dockerd didn't close, unless there is
// still something in it.
func (a *attachment) giveUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return
	}
	if n, err := a.take(); n > 0 || err != nil && err != unix.EAGAIN && err != io.EOF {
		time.AfterFunc(stopDeadline, a.giveUp)
		return
	}
	a.end()
}
