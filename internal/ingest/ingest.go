// Package ingest carries the containers' lines from the FIFOs that dockerd
// writes into to the journals.
//
// One epoll loop on a thread of its own serves all FIFOs, level-triggered, and
// naps between rounds when they are busy: waking for every line, as Go's own
// poller does, is what makes a logging plugin slow. Nothing on this path waits
// for a rule, a database or the network.
//
// Attachments, which FIFO belongs to which container, are kept on disk and
// resumed when the process starts again: dockerd holds the FIFOs open and does
// not repeat StartLogging. A FIFO ends when its last writer has closed it.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/journal"
)

const (
	// batchMax is how much is taken from one FIFO before the next one's turn.
	batchMax = 1 << 20
	// stopDeadline is how long a FIFO is read after StopLogging was answered, if
	// dockerd doesn't close it.
	stopDeadline = 5 * time.Second
	// retryAfter is the pause after a journal could not be written to, or
	// another attachment had to finish first.
	retryAfter = 100 * time.Millisecond
)

// Config is an Ingest's.
type Config struct {
	FIFODir   string // where dockerd makes the FIFOs
	RecordDir string // where attachments are remembered
	Journals  *journal.Dir
	Logger    *slog.Logger
	StaleAge  time.Duration // FIFOs without a writer or a record are unlinked when older; default 1 minute
}

// Ingest is the road from FIFOs to journals. All methods are safe concurrently.
type Ingest struct {
	cfg     Config
	log     *slog.Logger
	epoll   int
	event   int           // wakes the loop to end it
	resumed chan struct{} // closed when what the last process had attached is attached again

	attach sync.Mutex // held while a FIFO is opened and added, so that each is opened once

	mu    sync.Mutex // guards the maps; taken after an attachment's, never before
	fifos map[string]*attachment
	fds   map[int]*attachment

	bytes, rounds, failures atomic.Int64
}

// attachment is one FIFO.
type attachment struct {
	name string
	i    *Ingest

	mu        sync.Mutex // held while it is drained; guards all below
	fd        int
	container string // empty for an unknown FIFO
	since     time.Time
	journal   *journal.Journal
	writer    *journal.Attachment
	pipeSize  int
	bytes     int64
	ended     bool
	failing   bool // the last try to write failed
	parked    bool // out of epoll until retryAfter
}

// Attachment describes one FIFO being read.
type Attachment struct {
	FIFO        string    `json:"fifo"`
	ContainerID string    `json:"container_id"`
	Since       time.Time `json:"since"`
	Bytes       int64     `json:"bytes"`
}

// Stats are counters since the process started.
type Stats struct {
	Attachments int   `json:"attachments"`
	Bytes       int64 `json:"bytes"`    // carried
	Rounds      int64 `json:"rounds"`   // of the loop: how often it was woken
	Failures    int64 `json:"failures"` // writes that had to be repeated
}

// New prepares an Ingest; Run starts it.
func New(cfg Config) (*Ingest, error) {
	if cfg.StaleAge == 0 {
		cfg.StaleAge = time.Minute
	}
	if err := os.MkdirAll(cfg.RecordDir, 0o700); err != nil {
		return nil, err
	}
	i := &Ingest{cfg: cfg, log: cfg.Logger, resumed: make(chan struct{}), fifos: map[string]*attachment{}, fds: map[int]*attachment{}}
	var err error
	if i.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if i.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(i.epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	if err := i.watch(i.event); err != nil {
		return nil, err
	}
	return i, nil
}

func (i *Ingest) watch(fd int) error {
	return unix.EpollCtl(i.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// Run resumes what was attached, and carries lines until ctx ends. Then it
// leaves FIFOs and records as they are, for the next process.
func (i *Ingest) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // not unlocked: the thread ends with the loop
		i.loop()
	}()
	i.resume()
	i.sweep()
	close(i.resumed)
	tick := time.NewTicker(i.cfg.StaleAge)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			i.sweep()
			continue
		case <-ctx.Done():
		}
		break
	}
	unix.Write(i.event, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	<-done
	for _, a := range i.all() {
		a.mu.Lock()
		a.ended = true
		unix.Close(a.fd)
		a.mu.Unlock()
	}
	unix.Close(i.epoll)
	unix.Close(i.event)
	return ctx.Err()
}

// nap bounds, see loop.
const (
	napMin = 250 * time.Microsecond
	napMax = 10 * time.Millisecond
)

// loop waits for FIFOs to have something, takes it, and naps before it looks
// again, so that one round carries many lines. The nap adapts: shorter while
// pipes run full, longer while they hold little. With nothing to carry it
// sleeps in the kernel until there is.
func (i *Ingest) loop() {
	events := make([]unix.EpollEvent, 256)
	nap := napMin
	for {
		n, err := unix.EpollWait(i.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			i.log.Error("epoll", "err", err)
			return
		}
		i.rounds.Add(1)
		fullest := 0 // percent of its pipe
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == i.event {
				return
			}
			i.mu.Lock()
			a := i.fds[int(e.Fd)]
			i.mu.Unlock()
			if a != nil {
				fullest = max(fullest, a.turn())
			}
		}
		if fullest > 35 {
			nap = max(napMin, nap/2)
		} else if fullest < 15 {
			nap = min(napMax, nap*5/4)
		}
		ts := unix.NsecToTimespec(int64(nap))
		unix.Nanosleep(&ts, nil)
	}
}

// turn takes what is in the FIFO once, and returns how full its pipe was, in
// percent.
func (a *attachment) turn() (fill int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended || a.parked {
		return 0
	}
	n, err := a.ingest()
	fill = n * 100 / a.pipeSize
	if fill > 35 && a.pipeSize < 1<<20 {
		// Only the busy ones grow: what all pipes of root may hold is bounded,
		// and past that the pipes inside containers shrink. EPERM says so.
		if size, err := unix.FcntlInt(uintptr(a.fd), unix.F_SETPIPE_SZ, min(a.pipeSize*4, 1<<20)); err == nil {
			a.pipeSize = size
		}
	}
	switch {
	case err == nil || err == unix.EAGAIN:
	case err == io.EOF:
		a.end()
	default:
		a.park()
	}
	return fill
}

// ingest moves one batch; its errors are those of journal.Attachment.Ingest.
func (a *attachment) ingest() (int, error) {
	if a.writer == nil { // unknown or superseded, until it says something
		if err := journal.Waiting(a.fd); err != nil {
			return 0, err
		}
		if err := a.bindAgain(); err != nil {
			return 0, err
		}
	}
	n, err := a.writer.Ingest(a.fd, batchMax)
	a.bytes += int64(n)
	a.i.bytes.Add(int64(n))
	failed := err != nil && err != unix.EAGAIN && err != io.EOF && err != journal.ErrBusy
	if failed {
		a.i.failures.Add(1)
	}
	if failed != a.failing && (failed || n > 0) {
		a.failing = failed
		if failed {
			a.i.log.Error("lines wait in their FIFO: the journal can't be written", "container", a.container, "err", err)
		} else {
			a.i.log.Info("the journal can be written again", "container", a.container)
		}
	}
	return n, err
}

// bind ties the FIFO to a container's journal.
func (a *attachment) bind(j *journal.Journal, resumed bool) {
	a.container, a.journal, a.writer = j.Container().ID, j, j.Attach(resumed)
}

func (a *attachment) unbind() {
	if a.writer != nil {
		a.writer.Detach()
		a.journal.Release()
		a.writer, a.journal = nil, nil
	}
}

// bindAgain finds a journal for a FIFO that has none and isn't silent: its
// container's, or, where no StartLogging ever named one, a journal of its own,
// because its container would block if nobody read it.
func (a *attachment) bindAgain() error {
	if a.container != "" {
		j, err := a.i.cfg.Journals.Acquire(a.container)
		if err != nil {
			return err
		}
		a.bind(j, true)
		return nil
	}
	id := "unknown-" + a.name[:12]
	j, err := a.i.cfg.Journals.Create(journal.Container{ID: id, Name: id, Workload: id, Scan: true, Options: journal.DefaultOptions, Started: time.Now()})
	if err != nil {
		return err
	}
	a.i.log.Warn("a FIFO that no StartLogging announced; its lines are kept under a name of their own", "fifo", a.name, "journal", id)
	a.bind(j, true)
	return nil
}

// supersede lets go of the journal, because the container has a newer
// attachment. dockerd never closes a FIFO whose StopLogging went unanswered, so
// the end of such a one would never come. Should it speak again, it is bound
// again.
func (a *attachment) supersede() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.ended && a.writer != nil && !a.writer.Unfinished() {
		a.unbind()
	}
}

// park leaves the FIFO alone for a moment.
func (a *attachment) park() {
	a.parked = true
	unix.EpollCtl(a.i.epoll, unix.EPOLL_CTL_DEL, a.fd, nil)
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
	a.ended = true
	i := a.i
	i.mu.Lock()
	delete(i.fifos, a.name)
	delete(i.fds, a.fd)
	i.mu.Unlock()
	unix.Close(a.fd)
	a.unbind()
	i.forget(a.name)
	if err := os.Remove(filepath.Join(i.cfg.FIFODir, a.name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		i.log.Warn("unlink FIFO", "err", err)
	}
	i.log.Debug("attachment ended", "container", a.container, "fifo", a.name, "bytes", a.bytes)
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
		n, err := a.ingest()
		if err == io.EOF {
			a.end()
		}
		a.mu.Unlock()
		switch {
		case n > 0:
		case err == io.EOF || err == unix.EAGAIN:
			return nil
		default:
			select {
			case <-ctx.Done():
				return err
			case <-time.After(retryAfter):
			}
		}
	}
}

var fifoName = regexp.MustCompile(`^[0-9a-f]{64}$`)

// open opens a FIFO by name and begins to watch it.
func (i *Ingest) open(name string) (*attachment, error) {
	path := filepath.Join(i.cfg.FIFODir, name)
	// O_RDONLY, because holding a writing end ourselves would hide the end;
	// O_NONBLOCK, because opening one without a writer would hang.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		unix.Close(fd)
		return nil, fmt.Errorf("%s is not a FIFO", path)
	}
	size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	if err != nil || size <= 0 {
		size = 64 << 10
	}
	return &attachment{name: name, i: i, fd: fd, pipeSize: size, since: time.Now()}, nil
}

// add makes an opened FIFO part of the loop.
func (i *Ingest) add(a *attachment) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fifos[a.name], i.fds[a.fd] = a, a
	return i.watch(a.fd)
}

func (i *Ingest) lookup(name string) *attachment {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fifos[name]
}

func (i *Ingest) all() []*attachment {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Collect(maps.Values(i.fifos))
}

// of returns the attachments of a container, but not the one called except.
func (i *Ingest) of(id, except string) []*attachment {
	return slices.DeleteFunc(i.all(), func(a *attachment) bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.container != id || a.name == except
	})
}

// Attachments lists the FIFOs being read.
func (i *Ingest) Attachments() []Attachment {
	out := []Attachment{}
	for _, a := range i.all() {
		a.mu.Lock()
		out = append(out, Attachment{a.name, a.container, a.since, a.bytes})
		a.mu.Unlock()
	}
	return out
}

// Stats returns the counters.
func (i *Ingest) Stats() Stats {
	return Stats{len(i.all()), i.bytes.Load(), i.rounds.Load(), i.failures.Load()}
}
