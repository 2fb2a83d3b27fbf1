package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

const (
	recordSuffix = ".json"
	tmpSuffix    = ".tmp"
	recordMax    = 64 << 10 // bytes that are read of one
	// recordPatience is how long all that can't be read may keep the others waiting.
	recordPatience = 5 * time.Second
)

func (i *Ingest) recordPath(name string) string {
	return filepath.Join(i.cfg.RecordDir, name+recordSuffix)
}

// remember writes a record. The rename commits it.
func (i *Ingest) remember(name string, r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := i.recordPath(name)
	f, err := os.OpenFile(path+tmpSuffix, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
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
	if err == nil {
		err = os.Rename(path+tmpSuffix, path)
	}
	if err != nil {
		os.Remove(path + tmpSuffix)
	}
	return err
}

func (i *Ingest) forget(name string) {
	if err := os.Remove(i.recordPath(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		i.log.Warn("remove attachment record", "err", err)
	}
}

// recall reads the record of a FIFO; false if there is none that makes sense. A
// disk that fails is tried again until then: without its record, a container's
// lines would go on under another name.
func (i *Ingest) recall(name string, then time.Time) (record, bool) {
	r, err := readRecord(i.recordPath(name))
	for ; errors.Is(err, unix.EIO) && time.Now().Before(then); r, err = readRecord(i.recordPath(name)) {
		time.Sleep(retryAfter)
	}
	if err == nil && !journal.ValidID(r.ContainerID) {
		err = fmt.Errorf("no container in it")
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		i.log.Error("attachment record", "fifo", name, "err", err)
	}
	return r, err == nil
}

func readRecord(path string) (r record, err error) {
	f, err := os.Open(path)
	if err != nil {
		return r, err
	}
	defer f.Close()
	return r, json.NewDecoder(io.LimitReader(f, recordMax)).Decode(&r)
}

// resume attaches again what the last process had attached, and removes records
// whose FIFO has gone.
func (i *Ingest) resume() {
	i.sweep()
	files, err := os.ReadDir(i.cfg.RecordDir)
	if err != nil {
		i.log.Error("attachment records", "err", err)
	}
	for _, f := range files {
		name, isRecord := strings.CutSuffix(f.Name(), recordSuffix)
		if !isRecord || !IsFIFO(name) {
			os.Remove(filepath.Join(i.cfg.RecordDir, f.Name())) // one that was being written
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
	var live, dead []*attachment
	for _, f := range files {
		if !IsFIFO(f.Name()) || f.Type()&os.ModeNamedPipe == 0 || i.lookup(f.Name()) != nil {
			continue
		}
		a, err := i.open(f.Name())
		if err != nil {
			i.log.Warn("FIFO not opened", "err", err)
			continue
		}
		r, known := i.recall(a.name, then)
		if known {
			a.container, a.since = r.ContainerID, r.Since
		} else if info, err := f.Info(); err == nil {
			a.unknown, a.since = true, info.ModTime()
		}
		if journal.Waiting(a.fd) == io.EOF {
			dead = append(dead, a)
		} else {
			live = append(live, a)
		}
	}
	// The newest first: where a container has several, it is the one that counts.
	slices.SortFunc(live, func(a, b *attachment) int { return b.since.Compare(a.since) })
	for _, a := range live {
		i.adopt(a)
	}
	for _, a := range dead {
		i.bury(a)
	}
}

// adopt begins to read a FIFO that has a writer.
func (i *Ingest) adopt(a *attachment) {
	newer := slices.ContainsFunc(i.of(a.container, a.name), func(b *attachment) bool {
		return b.since.Sub(a.since) >= startWindow // since changes in Start only, which waits
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	a.retired = !a.unknown && newer
	if !a.unknown && !newer {
		if j, err := i.cfg.Journals.Acquire(a.container); err == nil {
			a.bind(j, true)
		} else { // tried again when it says something
			i.log.Error("attachment resumed without its journal", "container", a.container, "err", err)
		}
	}
	if err := i.add(a); err != nil {
		i.log.Error("FIFO not watched", "err", err)
		a.ended = true
		unix.Close(a.fd)
	}
}

// bury clears away a FIFO without a writer, which epoll never reports.
func (i *Ingest) bury(a *attachment) {
	others := i.of(a.container, a.name)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !a.unknown:
		// Its end is the container's, unless there is another attachment, and
		// then an unfinished frame may be that one's.
		if len(others) == 0 {
			if j, err := i.cfg.Journals.Acquire(a.container); err == nil {
				a.bind(j, true)
			}
		}
		a.end()
	case time.Since(a.since) > i.cfg.StaleAge:
		i.log.Info("unlinked a FIFO without a writer", "fifo", a.name)
		a.end()
	default:
		a.ended = true
		unix.Close(a.fd)
	}
}

// reap ends those FIFOs whose writer went before they were opened: epoll never
// reports such an end.
func (i *Ingest) reap() {
	for _, a := range i.all() {
		a.mu.Lock()
		if !a.ended && !a.parked && time.Since(a.since) > i.cfg.StaleAge && journal.Waiting(a.fd) == io.EOF {
			if _, err := a.take(); err == io.EOF {
				a.end()
			}
		}
		a.mu.Unlock()
	}
}
