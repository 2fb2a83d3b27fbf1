// Package ingest carries the containers' lines from the FIFOs that dockerd
// writes into to the journals.
//
// One epoll loop serves all FIFOs, level-triggered, and
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
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/journal"
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
	event   int                // wakes the loop
	ending  atomic.Bool        // the loop is to end when it is woken
	turns   chan chan struct{} // closed by the loop when it is woken
	resumed chan struct{}      // closed when what the last process had attached is attached again

	binding sync.WaitGroup // calls of fifo.bindAgain

	attach sync.Mutex // held while a FIFO is opened and added, so that each is opened once

	mu    sync.Mutex // guards the maps; taken after a fifo's, never before
	fifos map[string]*fifo
	fds   map[int]*fifo
	done  bool // Run has ended; nothing is added any more

	bytes, rounds, failures atomic.Int64
}

// FIFOStatus describes one FIFO being read.
type FIFOStatus struct {
	FIFO        string    `json:"fifo"`
	ContainerID string    `json:"container_id"` // or the journal's id where unknown; empty while that is silent
	Since       time.Time `json:"since"`
	Bytes       int64     `json:"bytes"`   // carried by this process
	Unknown     bool      `json:"unknown"` // no StartLogging announced it
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
	if err := os.MkdirAll(cfg.RecordDir, 0o700); err != nil { // remember tries again
		cfg.Logger.Error("attachments are not remembered", "err", err)
	}
	i := &Ingest{cfg: cfg, log: cfg.Logger, resumed: make(chan struct{}), turns: make(chan chan struct{}, 1), fifos: map[string]*fifo{}, fds: map[int]*fifo{}}
	var err error
	if i.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if i.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(i.epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	if err := i.watch(i.event); err != nil {
		unix.Close(i.epoll)
		unix.Close(i.event)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return i, nil
}

func (i *Ingest) watch(fd int) error {
	return unix.EpollCtl(i.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// Run resumes what was attached, and carries lines until ctx ends. Then it
// leaves FIFOs and records as they are, for the next process. Any other error
// than ctx's says that it can't go on, and that no FIFO is drained any more: the
// process should end, and another one begin.
func (i *Ingest) Run(ctx context.Context) error {
	looped := make(chan error, 1)
	go func() { looped <- i.loop() }()
	i.resumeAll()
	close(i.resumed)
	tick := time.NewTicker(i.cfg.StaleAge)
	defer tick.Stop()
	var err error
	for err == nil {
		select {
		case <-tick.C:
			i.sweep()
			i.closeEnded()
		case err = <-looped:
		case <-ctx.Done():
			i.ending.Store(true)
			i.wake()
			if err = <-looped; err == nil {
				err = ctx.Err()
			}
		}
	}
	i.mu.Lock()
	i.done = true
	i.mu.Unlock()
	for _, f := range i.all() {
		f.mu.Lock()
		f.ended = true
		unix.Close(f.fd)
		f.mu.Unlock()
	}
	i.binding.Wait()
	unix.Close(i.epoll)
	unix.Close(i.event)
	return err
}

// open opens a FIFO by name.
func (i *Ingest) open(name string) (*fifo, error) {
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
	return &fifo{name: name, i: i, fd: fd, pipeSize: size, batch: batchMax, since: time.Now()}, nil
}

// add makes an opened FIFO part of the loop.
func (i *Ingest) add(f *fifo) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.done {
		return errors.New("logscan is stopping")
	}
	if err := i.watch(f.fd); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	i.fifos[f.name], i.fds[f.fd] = f, f
	return nil
}

func (i *Ingest) lookup(name string) *fifo {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fifos[name]
}

func (i *Ingest) all() []*fifo {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Collect(maps.Values(i.fifos))
}

// of returns the attachments of a journal, but not the one called except.
func (i *Ingest) of(id, except string) []*fifo {
	return slices.DeleteFunc(i.all(), func(f *fifo) bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.container != id || f.name == except
	})
}

// Attachments lists the FIFOs being read.
func (i *Ingest) Attachments() []FIFOStatus {
	out := []FIFOStatus{}
	for _, f := range i.all() {
		f.mu.Lock()
		out = append(out, FIFOStatus{f.name, f.container, f.since, f.bytes, f.unknown})
		f.mu.Unlock()
	}
	return out
}

// Stats returns the counters.
func (i *Ingest) Stats() Stats {
	return Stats{len(i.all()), i.bytes.Load(), i.rounds.Load(), i.failures.Load()}
}
