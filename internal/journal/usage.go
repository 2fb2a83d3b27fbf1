package journal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// usage is what a log's files take, and when the newest was written. It stays
// known while the log is closed: tens of thousands may be kept, and none of them
// costs anything until it is to be removed.
type usage struct {
	bytes    int64
	latest   time.Time
	lastLine time.Time // when the newest segment was, zero where there is none
	err      error     // why it could not be found out the last time
}

func (d *Dir) pathOf(id string) string { return filepath.Join(d.cfg.Root, id) }

// survey finds out the usage of the logs that have changed, and of those of which
// it is not known yet.
func (d *Dir) survey() {
	d.mu.Lock()
	look := make([]*log, 0, len(d.unlisted)+len(d.open))
	for _, l := range d.unlisted {
		look = append(look, l)
	}
	for _, l := range d.open {
		// Before it is listed: what comes meanwhile is for the next time.
		if !l.journal.onDisk.Swap(true) || l.usage.err != nil {
			look = append(look, l)
		}
	}
	d.mu.Unlock()
	for _, l := range look {
		d.look(l)
	}
}

// look finds out the usage of a log.
func (d *Dir) look(l *log) usage {
	u, err := d.list(l.path)
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.removed {
		return usage{err: errRemoved}
	}
	if l.usage.err = err; err != nil {
		return l.usage
	}
	d.bytes += u.bytes - l.usage.bytes
	l.usage = u
	if l.journal == nil {
		delete(d.unlisted, l.id)
	}
	if l.refs == 0 {
		d.ageLocked(l)
	}
	return l.usage
}

// ageLocked notes when a log that nobody uses is old enough to be removed. One
// without a time never is.
func (d *Dir) ageLocked(l *log) {
	if d.cfg.StoppedAge == 0 || l.usage.latest.IsZero() {
		return
	}
	if due := l.usage.latest.Add(d.cfg.StoppedAge); d.ageDue.IsZero() || due.Before(d.ageDue) {
		d.ageDue = due
	}
}

// old returns the logs that nobody uses and that were last written before then.
// It looks at all only where one of them may be.
func (d *Dir) old(then time.Time) (old []*log) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ageDue.IsZero() || !d.ageDue.Before(then.Add(d.cfg.StoppedAge)) {
		return nil
	}
	d.ageDue = time.Time{}
	for _, l := range d.logs {
		switch {
		case l.refs > 0 || l.usage.err != nil || l.usage.latest.IsZero():
		case l.usage.latest.Before(then):
			old = append(old, l)
		}
		if l.refs == 0 {
			d.ageLocked(l) // also of those returned: removing one may fail
		}
	}
	return old
}

// byAge lists all journals of which it is known what they take, those that were
// written last at the end. One whose directory can't be listed now may hold
// anything, such as lines that were just written, and so it is not a candidate
// for removal.
func (d *Dir) byAge() []Info {
	infos := slices.DeleteFunc(d.List(), func(i Info) bool { return i.Err != nil })
	slices.SortFunc(infos, func(a, b Info) int { return a.Latest.Compare(b.Latest) })
	return infos
}

// list returns what a log's files take, and when the newest was written. A directory
// that is not there takes nothing. With an error nothing is known: a directory that
// can't be listed is not an empty one.
func (d *Dir) list(path string) (u usage, err error) {
	files, err := d.readDir(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return usage{}, err
	}
	for _, f := range files {
		info, err := f.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return usage{}, err
		}
		u.bytes += info.Size()
		if f.Name() != runsName && info.ModTime().After(u.latest) { // what is known of runs is written a while after their end
			u.latest = info.ModTime()
		}
		_, suffix, ok := parseName(f.Name())
		if ok && (suffix == rawSuffix || suffix == compressedSuffix) && info.Size() > 0 && info.ModTime().After(u.lastLine) {
			u.lastLine = info.ModTime()
		}
	}
	return u, nil
}
