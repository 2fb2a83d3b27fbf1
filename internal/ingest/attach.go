package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/journal"
)

// record is what is kept on disk about an attachment, in a file named as its
// FIFO.
type record struct {
	ContainerID string    `json:"container_id"`
	Since       time.Time `json:"since"`
}

const recordSuffix = ".json"

// Start attaches the FIFO, given as dockerd names it, to a container's journal.
// When it returns, the attachment survives a kill. What older attachments of
// the container still hold is taken first; they end when their writers do.
func (i *Ingest) Start(ctx context.Context, fifo string, c journal.Container) error {
	name := filepath.Base(fifo)
	if !fifoName.MatchString(name) {
		return fmt.Errorf("%q is not the name of one of the Engine's FIFOs", fifo)
	}
	select {
	case <-i.resumed:
	case <-ctx.Done():
		return ctx.Err()
	}
	older := i.of(c.ID, name)
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, a := range older {
		if err := a.drain(short); err != nil {
			i.log.Warn("an older attachment isn't empty yet", "container", c.ID, "err", err)
		}
	}
	if err := i.start(name, c); err != nil {
		return err
	}
	for _, a := range older {
		a.supersede()
	}
	return nil
}

func (i *Ingest) start(name string, c journal.Container) error {
	i.attach.Lock()
	defer i.attach.Unlock()
	j, err := i.cfg.Journals.Create(c)
	if err != nil {
		return err
	}
	if err := i.remember(name, record{c.ID, time.Now()}); err != nil {
		// After a kill its lines would be found under an unknown name: not a
		// reason to keep the container from starting.
		i.log.Error("attachment not recorded", "container", c.ID, "err", err)
	}
	if a := i.lookup(name); a != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.container == c.ID && a.writer != nil {
			j.Release() // dockerd repeats itself
			return nil
		}
		a.unbind() // it was unknown
		a.bind(j, false)
		return nil
	}
	a, err := i.open(name)
	if err != nil {
		i.forget(name)
		j.Release()
		return err
	}
	a.bind(j, false)
	return i.add(a)
}

// Stop takes all that is in the FIFO and returns; the loop reads on until
// dockerd has closed it. A FIFO that is not attached is not an error: dockerd
// would never let go of it.
func (i *Ingest) Stop(ctx context.Context, fifo string) {
	select {
	case <-i.resumed:
	case <-ctx.Done():
		return
	}
	a := i.lookup(filepath.Base(fifo))
	if a == nil {
		return
	}
	short, cancel := context.WithTimeout(ctx, stopDeadline)
	defer cancel()
	if err := a.drain(short); err != nil {
		i.log.Warn("stopped, but not all could be written yet; it waits in the FIFO", "container", a.container, "err", err)
	}
	time.AfterFunc(stopDeadline, a.giveUp)
}

// Flush takes what is in the FIFOs of a container now.
func (i *Ingest) Flush(containerID string) {
	for _, a := range i.of(containerID, "") {
		a.mu.Lock()
		if !a.ended && !a.parked {
			a.ingest()
		}
		a.mu.Unlock()
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
	if n, err := a.ingest(); n > 0 || err != nil && err != unix.EAGAIN && err != io.EOF {
		time.AfterFunc(stopDeadline, a.giveUp)
		return
	}
	a.end()
}

// remember writes a record so that it is there after a power cut.
func (i *Ingest) remember(name string, r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := filepath.Join(i.cfg.RecordDir, name+recordSuffix)
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(path + ".tmp")
		return err
	}
	return os.Rename(path+".tmp", path)
}

func (i *Ingest) forget(name string) {
	if err := os.Remove(filepath.Join(i.cfg.RecordDir, name+recordSuffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
		i.log.Warn("remove attachment record", "err", err)
	}
}

// resume attaches again what the records name.
func (i *Ingest) resume() {
	files, err := os.ReadDir(i.cfg.RecordDir)
	if err != nil {
		i.log.Error("attachment records", "err", err)
	}
	resumed := 0
	for _, f := range files {
		name, isRecord := cutSuffix(f.Name())
		if !isRecord {
			os.Remove(filepath.Join(i.cfg.RecordDir, f.Name())) // a record that was being written
			continue
		}
		if err := i.resumeOne(name); err != nil {
			if !errors.Is(err, os.ErrNotExist) {
				i.log.Error("attachment not resumed", "fifo", name, "err", err)
			}
			i.forget(name)
			continue
		}
		resumed++
	}
	if resumed > 0 {
		i.log.Info("attachments resumed", "count", resumed)
	}
}

func cutSuffix(file string) (name string, ok bool) {
	name = file[:max(0, len(file)-len(recordSuffix))]
	return name, file[len(name):] == recordSuffix && fifoName.MatchString(name)
}

func (i *Ingest) resumeOne(name string) error {
	b, err := os.ReadFile(filepath.Join(i.cfg.RecordDir, name+recordSuffix))
	if err != nil {
		return err
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("record: %w", err) // the sweep finds its FIFO
	}
	a, err := i.open(name)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	j, err := i.cfg.Journals.Acquire(r.ContainerID)
	if err != nil {
		unix.Close(a.fd)
		return err
	}
	a.bind(j, true)
	a.since = r.Since
	if err := i.add(a); err != nil {
		return err
	}
	// A FIFO whose writers are gone never wakes the loop.
	if journal.Waiting(a.fd) == io.EOF {
		a.end()
	}
	return nil
}

// sweep looks for FIFOs that nobody told us about. One with a writer is
// drained, so that its container isn't blocked; one without is unlinked once it
// is old enough not to be one that dockerd is just making.
func (i *Ingest) sweep() {
	files, err := os.ReadDir(i.cfg.FIFODir)
	if err != nil {
		i.log.Error("FIFO directory", "err", err)
		return
	}
	for _, f := range files {
		if fifoName.MatchString(f.Name()) && f.Type()&os.ModeNamedPipe != 0 {
			i.inspect(f)
		}
	}
}

func (i *Ingest) inspect(f os.DirEntry) {
	i.attach.Lock()
	defer i.attach.Unlock()
	info, err := f.Info()
	if err != nil || i.lookup(f.Name()) != nil {
		return
	}
	a, err := i.open(f.Name())
	if err != nil {
		return
	}
	if journal.Waiting(a.fd) != io.EOF {
		if err := i.add(a); err != nil {
			i.log.Error("epoll", "err", err)
		}
		return
	}
	unix.Close(a.fd)
	if time.Since(info.ModTime()) > i.cfg.StaleAge {
		i.log.Info("unlinked a FIFO without a writer", "fifo", a.name)
		os.Remove(filepath.Join(i.cfg.FIFODir, a.name))
	}
}
