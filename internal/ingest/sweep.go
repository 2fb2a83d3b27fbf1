package ingest

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/pipe"
)

// resumeAll attaches again what the last process had attached, and removes records
// whose FIFO has gone.
func (i *Ingest) resumeAll() {
	i.sweep()
	files, err := os.ReadDir(i.cfg.RecordDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		i.log.Error("attachment records", "err", err)
	}
	for _, file := range files {
		name, isRecord := strings.CutSuffix(file.Name(), recordSuffix)
		if !isRecord || !IsFIFO(name) {
			os.Remove(filepath.Join(i.cfg.RecordDir, file.Name())) // one that was being written
			continue
		}
		if _, err := os.Lstat(filepath.Join(i.cfg.FIFODir, name)); errors.Is(err, os.ErrNotExist) {
			i.forget(name)
		}
	}
	if n := len(i.all()); n > 0 {
		i.log.Info("attachments resumed", "count", n)
	}
}

// sweep looks for FIFOs that aren't being read. Those with a record are
// attached again. Those without, that nobody told us about, are drained too, so
// that their containers aren't blocked. What has no writer is unlinked, once it
// is old enough not to be one that dockerd is just making.
func (i *Ingest) sweep() {
	i.attach.Lock()
	defer i.attach.Unlock()
	files, err := os.ReadDir(i.cfg.FIFODir)
	if err != nil {
		i.log.Error("FIFO directory", "err", err)
		return
	}
	then := time.Now().Add(recordPatience)
	var live, dead []*fifo
	for _, file := range files {
		if !IsFIFO(file.Name()) || file.Type()&os.ModeNamedPipe == 0 || i.lookup(file.Name()) != nil {
			continue
		}
		f, err := i.open(file.Name())
		if err != nil {
			i.log.Warn("FIFO not opened", "err", err)
			continue
		}
		r, known := i.recall(f.name, then)
		if known {
			f.container, f.since = r.ContainerID, r.Since
		} else if info, err := file.Info(); err == nil {
			f.unknown, f.since = true, info.ModTime()
		}
		if pipe.Waiting(f.fd) == io.EOF {
			dead = append(dead, f)
		} else {
			live = append(live, f)
		}
	}
	// The newest first: where a container has several, it is the one that counts.
	slices.SortFunc(live, func(f, b *fifo) int { return b.since.Compare(f.since) })
	for _, f := range live {
		i.resume(f)
	}
	for _, f := range dead {
		i.closeStale(f)
	}
}

// resume begins to read a FIFO that has a writer.
func (i *Ingest) resume(f *fifo) {
	newer := slices.ContainsFunc(i.of(f.container, f.name), func(b *fifo) bool {
		return b.since.Sub(f.since) >= startWindow // since changes in Start only, which waits
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.retired = !f.unknown && newer
	if !f.unknown && !newer {
		if j, err := i.cfg.Journals.Acquire(f.container); err == nil {
			f.bind(j, true)
		} else { // tried again when it says something
			i.log.Error("attachment resumed without its journal", "container", f.container, "err", err)
		}
	}
	if err := i.add(f); err != nil {
		i.log.Error("FIFO not watched", "err", err)
		f.ended = true
		unix.Close(f.fd)
	}
}

// closeStale clears away a FIFO without a writer, which epoll never reports.
func (i *Ingest) closeStale(f *fifo) {
	others := i.of(f.container, f.name)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !f.unknown:
		// Its end is the container's, unless there is another attachment, and
		// then an unfinished frame may be that one's.
		if len(others) == 0 {
			if j, err := i.cfg.Journals.Acquire(f.container); err == nil {
				f.bind(j, true)
			}
		}
		f.end()
	case time.Since(f.since) > i.cfg.StaleAge:
		i.log.Info("unlinked a FIFO without a writer", "fifo", f.name)
		f.end()
	default:
		f.ended = true
		unix.Close(f.fd)
	}
}

// closeEnded ends those FIFOs whose writer went before they were opened: epoll never
// reports such an end.
func (i *Ingest) closeEnded() {
	for _, f := range i.all() {
		f.mu.Lock()
		if !f.ended && !f.parked && time.Since(f.since) > i.cfg.StaleAge && pipe.Waiting(f.fd) == io.EOF {
			if _, err := f.take(); err == io.EOF {
				f.end()
			}
		}
		f.mu.Unlock()
	}
}
