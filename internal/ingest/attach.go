package ingest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/journal"
)

const (
	// stopDeadline is how long StopLogging may drain, and then how long a FIFO is
	// read after it was answered, if dockerd doesn't close it.
	stopDeadline = 5 * time.Second
	// startPatience is how long StartLogging waits for what must come before it.
	startPatience = time.Second
)

var (
	fifoName = regexp.MustCompile(`^[0-9a-f]{64}$`)

	errGone   = errors.New("the FIFO has no writer any more")
	errInside = errors.New("the FIFO is in the middle of an entry of before StartLogging")
)

// IsFIFO tells whether a name is one that dockerd gives its FIFOs.
func IsFIFO(name string) bool { return fifoName.MatchString(name) }

// Start attaches the FIFO, given as dockerd names it, to a container's journal.
// When it returns, the attachment survives a kill. What older attachments of
// the container still hold is taken first; they end when their writers do.
func (i *Ingest) Start(ctx context.Context, fifo string, c journal.Container) error {
	name := filepath.Base(fifo)
	if !IsFIFO(name) {
		return fmt.Errorf("%q is not the name of one of the Engine's FIFOs", fifo)
	}
	if !journal.ValidID(c.ID) {
		return fmt.Errorf("%q is no container's id", c.ID)
	}
	if err := i.Ready(ctx); err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	c.FIFO = name
	older := i.of(c.ID, name)
	for _, f := range older {
		if err := f.drain(short); err != nil {
			i.log.Warn("an older attachment isn't empty yet", "container", c.ID, "err", err)
		}
	}
	if f := i.lookup(name); f != nil {
		f.settle(short)
	}
	now := time.Now()
	if err := i.remember(name, record{c.ID, now}); err != nil {
		// After a kill its lines would be found under an unknown name: not a
		// reason to keep the container from starting.
		i.log.Error("attachment not recorded", "container", c.ID, "err", err)
	}
	if err := i.start(name, c, now); err != nil {
		if i.lookup(name) == nil {
			i.forget(name)
		}
		return err
	}
	for _, f := range older {
		f.supersede(now)
	}
	return nil
}

// Ready waits until what the last process had attached is attached again.
func (i *Ingest) Ready(ctx context.Context) error {
	select {
	case <-i.resumed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (i *Ingest) start(name string, c journal.Container, now time.Time) error {
	i.attach.Lock()
	defer i.attach.Unlock()
	f := i.lookup(name)
	fresh := f == nil
	if fresh {
		var err error
		if f, err = i.open(name); err != nil {
			return err
		}
	}
	if err := f.startable(c.ID); err != nil {
		return err
	}
	// Not while f is locked: the loop, and so everybody, would wait for this disk.
	j, err := i.cfg.Journals.Create(c)
	f.mu.Lock()
	defer f.mu.Unlock()
	again := f.container == c.ID && f.writer != nil
	if refused := f.startableLocked(c.ID); refused != nil || again {
		// Again: started by a process that ended before it could say so. What is
		// known of the container may have been what was known at its start before.
		if err == nil {
			j.Release()
		}
		return refused
	}
	switch {
	case err == nil:
		f.unbind() // what it said while it was unknown stays where it is
		f.bind(j, false)
	case f.container != c.ID || f.stray == nil:
		// Not a reason to keep the container from starting: what it says waits, and
		// is then dropped, and told of, until there is a place for it.
		i.log.Error("no log for a container yet", "container", c.ID, "err", err)
		f.unbind()
		f.container, f.stray = c.ID, i.cfg.Journals.Stray(c.ID, err)
	}
	f.about, f.since, f.unknown, f.retired = c, now, false, false
	if !fresh {
		return nil
	}
	if err := i.add(f); err != nil {
		f.unbind()
		unix.Close(f.fd)
		return err
	}
	return nil
}

// startable returns why a container can't be started with the FIFO; nil if it can.
func (f *fifo) startable(id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.startableLocked(id)
}

func (f *fifo) startableLocked(id string) error {
	switch {
	case f.ended:
		return errGone
	case f.container != id && f.writer != nil && f.writer.Unfinished():
		return errInside
	}
	return nil
}

// settle takes what an unknown FIFO holds, to the end of an entry, so that
// another journal can take over.
func (f *fifo) settle(ctx context.Context) {
	for ctx.Err() == nil && f.drain(ctx) == nil {
		f.mu.Lock()
		inside := !f.ended && f.writer != nil && f.writer.Unfinished()
		f.mu.Unlock()
		if !inside {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond):
		}
	}
}

// Stop takes all that is in the FIFO and returns; the loop reads on until
// dockerd has closed it. The error says that some of it could not be written
// yet: it waits in the FIFO. A FIFO that is not attached is no error.
func (i *Ingest) Stop(ctx context.Context, fifo string) error {
	if err := i.Ready(ctx); err != nil {
		return err
	}
	f := i.lookup(filepath.Base(fifo))
	if f == nil {
		return nil
	}
	defer time.AfterFunc(stopDeadline, f.abandon)
	short, cancel := context.WithTimeout(ctx, stopDeadline)
	defer cancel()
	return f.drain(short)
}

// Refuse removes a FIFO whose StartLogging failed, because dockerd never does:
// it makes another one for the next try. One that is attached is left alone.
func (i *Ingest) Refuse(fifo string) {
	name := filepath.Base(fifo)
	if !IsFIFO(name) {
		return
	}
	i.attach.Lock()
	defer i.attach.Unlock()
	if f := i.lookup(name); f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.unknown && f.writer == nil { // the sweep has met it, and it was silent
			f.end()
		}
		return
	}
	if f, err := i.open(name); err == nil { // it is a FIFO
		unix.Close(f.fd)
		i.unlink(name)
	}
}

// Flush takes what is in the FIFOs of a container now. Before that it waits, as
// Start and Stop do, until attachments are resumed.
func (i *Ingest) Flush(ctx context.Context, containerID string) {
	if i.Ready(ctx) != nil {
		return
	}
	for _, f := range i.of(containerID, "") {
		f.mu.Lock()
		if !f.ended && !f.parked {
			f.take()
		}
		f.mu.Unlock()
	}
}
