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
	if err := i.Ready(ctx); err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	older := i.of(c.ID, name)
	for _, a := range older {
		if err := a.drain(short); err != nil {
			i.log.Warn("an older attachment isn't empty yet", "container", c.ID, "err", err)
		}
	}
	if a := i.lookup(name); a != nil {
		a.settle(short)
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
	for _, a := range older {
		a.supersede(now)
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
	a := i.lookup(name)
	fresh := a == nil
	if fresh {
		var err error
		if a, err = i.open(name); err != nil {
			return err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.ended:
		return errGone
	case a.container == c.ID && a.writer != nil:
		// Started by a process that ended before it could say so. What is known
		// of the container may be what was known at its start before.
		if j, err := i.cfg.Journals.Create(c); err == nil {
			j.Release()
		}
		return nil
	case a.writer != nil && a.writer.Unfinished():
		return errInside
	}
	j, err := i.cfg.Journals.Create(c)
	if err != nil {
		if fresh {
			unix.Close(a.fd)
		}
		return err
	}
	a.unbind() // what it said while it was unknown stays where it is
	a.bind(j, false)
	a.since, a.unknown, a.retired = now, false, false
	if !fresh {
		return nil
	}
	if err := i.add(a); err != nil {
		a.unbind()
		unix.Close(a.fd)
		return err
	}
	return nil
}

// settle takes what an unknown FIFO holds, to the end of an entry, so that
// another journal can take over.
func (a *attachment) settle(ctx context.Context) {
	for ctx.Err() == nil && a.drain(ctx) == nil {
		a.mu.Lock()
		inside := !a.ended && a.writer != nil && a.writer.Unfinished()
		a.mu.Unlock()
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
	a := i.lookup(filepath.Base(fifo))
	if a == nil {
		return nil
	}
	defer time.AfterFunc(stopDeadline, a.giveUp)
	short, cancel := context.WithTimeout(ctx, stopDeadline)
	defer cancel()
	return a.drain(short)
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
	if a := i.lookup(name); a != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.unknown && a.writer == nil { // the sweep has met it, and it was silent
			a.end()
		}
		return
	}
	if a, err := i.open(name); err == nil { // it is a FIFO
		unix.Close(a.fd)
		i.unlink(name)
	}
}

// Flush takes what is in the FIFOs of a container now. Before that it waits, as
// Start and Stop do, until attachments are resumed.
func (i *Ingest) Flush(ctx context.Context, containerID string) {
	if i.Ready(ctx) != nil {
		return
	}
	for _, a := range i.of(containerID, "") {
		a.mu.Lock()
		if !a.ended && !a.parked {
			a.take()
		}
		a.mu.Unlock()
	}
}
