package journal

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// log is one container's log as its Dir knows it, open or not.
type log struct {
	id, path string

	// disk is held while the log's files are opened, closed or removed, and while
	// container.json is written: the others' go on meanwhile. It is taken before a
	// Journal's lock and before the Dir's.
	disk  sync.Mutex
	fault diskFault // guarded by disk: since when it can't be opened

	missing atomic.Int64 // bytes that are known to be missing in it

	// The rest is guarded by the Dir's lock.
	meta    Container
	journal *Journal // nil while it is not open
	unsaved bool     // container.json does not say what meta does
	refs    int      // of those who use the journal, or wait for it
	removed bool     // there is another one of that id, or none
	usage   usage
}

// errRemoved means that a log has been removed while somebody waited for it.
var errRemoved = errors.New("journal: just removed")

// Create opens the journal of c.ID, making it if there is none, with what c now
// says. The caller owes a Release. After ErrUnavailable, what c says is remembered
// for when the journal is acquired.
func (d *Dir) Create(c Container) (*Journal, error) {
	if !ValidID(c.ID) {
		return nil, fmt.Errorf("journal: %q is no container id", c.ID)
	}
	for {
		l, made, err := d.refer(c)
		if err != nil {
			return nil, err
		}
		j, err := d.create(l, c, made)
		if err != errRemoved {
			return j, err
		}
	}
}

// refer finds a container's log, or makes it, and counts one who uses it.
func (d *Dir) refer(c Container) (l *log, made bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l = d.logs[c.ID]; l == nil {
		made = true
		c.Born = max(d.now(), d.passed)
		l = &log{id: c.ID, path: d.pathOf(c.ID), meta: c}
		d.logs[c.ID], d.unlisted[c.ID], d.ids = l, l, nil
	}
	if d.down != nil {
		c.Born = l.meta.Born
		l.meta, l.unsaved = c, true
		return nil, false, d.down
	}
	l.refs++
	return l, made, nil
}

// create opens a log with what c says of its container.
func (d *Dir) create(l *log, c Container, made bool) (*Journal, error) {
	l.disk.Lock()
	defer l.disk.Unlock()
	d.mu.Lock()
	removed := l.removed
	c.Born = l.meta.Born
	d.mu.Unlock()
	if removed {
		return nil, errRemoved
	}
	err := writeMeta(l.path, c, true)
	if err != nil {
		// Not a reason to keep the container from starting.
		d.cfg.Logger.Error("container.json not written; trying again with its first line", "container", c.ID, "err", err)
	}
	unsaved := err != nil
	d.mu.Lock()
	if l.meta.Scan != c.Scan {
		d.ids = nil
	}
	before := l.meta
	l.meta, l.unsaved = c, unsaved
	d.mu.Unlock()
	j, err := d.openLocked(l)
	if err != nil {
		if made {
			d.forget(l)
		}
		return nil, err
	}
	j.mu.Lock()
	if before.Scan != c.Scan {
		j.hold = holdFor(c)
	}
	j.meta, j.unsaved, j.made = c, unsaved, j.made || made
	j.beginRunLocked(c, d.cfg.Clock())
	j.onDisk.Store(false)
	j.mu.Unlock()
	j.saveRuns()
	return j, nil
}

// Acquire opens the journal of a container. The caller owes a Release. Opening
// one that nobody uses takes as long as its disk does, and longer where its index
// is lost.
func (d *Dir) Acquire(id string) (*Journal, error) {
	for {
		d.mu.Lock()
		l, err := d.logs[id], d.down
		if err == nil && l == nil {
			err = ErrNotFound
		}
		if err != nil {
			d.mu.Unlock()
			return nil, err
		}
		l.refs++
		j := l.journal
		d.mu.Unlock()
		if j != nil {
			return j, nil
		}
		l.disk.Lock()
		j, err = d.openLocked(l)
		l.disk.Unlock()
		if err != errRemoved {
			return j, err
		}
	}
}

// Stray returns an attachment for a container whose journal can't be opened; why
// is the error. The attachment keeps its writer waiting, and then drops its lines,
// as where the disk can't be written to.
func (d *Dir) Stray(id string, why error) *Writer {
	j := &Journal{dir: d, id: id, path: d.pathOf(id), log: d.cfg.Logger, stray: why}
	return j.Attach(true)
}

// openLocked opens a log whose disk lock the caller holds and of whose users it
// is one; with an error it no longer is. While a disk that fails may get well,
// that is an error; later, what can't be read is done without.
func (d *Dir) openLocked(l *log) (*Journal, error) {
	d.mu.Lock()
	j, meta, unsaved, removed := l.journal, l.meta, l.unsaved, l.removed
	d.mu.Unlock()
	if removed {
		return nil, errRemoved
	}
	if j != nil {
		return j, nil
	}
	j = &Journal{dir: d, of: l, id: l.id, path: l.path, log: d.cfg.Logger, meta: meta, unsaved: unsaved, hold: holdFor(meta)}
	err := j.recover(l.fault.since.IsZero() || time.Since(l.fault.since) < d.gracePeriod)
	l.fault.withinGrace(err, d.gracePeriod)
	d.mu.Lock()
	if err != nil {
		l.refs--
	} else {
		l.journal, d.open[l.id] = j, l
		delete(d.unlisted, l.id)
	}
	d.mu.Unlock()
	if err != nil {
		j.close()
		return nil, fmt.Errorf("recover the log of %s: %w", l.id, err)
	}
	return j, nil
}

// release gives up one use of a journal. Where there is something to do about it
// still, such as behind the end of a container, it is left to Run.
func (d *Dir) release(j *Journal) {
	l := j.of
	d.mu.Lock()
	l.refs--
	unused := l.refs == 0
	d.mu.Unlock()
	switch {
	case !unused:
	case j.needsMaintenance.Load():
		d.wakeUp()
	default:
		d.closeUnused(l)
	}
}

// closeUnused closes a journal that nobody uses any more, once it is maintained: what is
// known of it, such as how far it was scanned, goes with it.
func (d *Dir) closeUnused(l *log) {
	l.disk.Lock()
	defer l.disk.Unlock()
	d.mu.Lock()
	j := l.journal
	d.mu.Unlock()
	if j != nil {
		j.saveRuns()
	}
	d.mu.Lock()
	if j = l.journal; j == nil || l.refs > 0 || j.needsMaintenance.Load() {
		d.mu.Unlock()
		return
	}
	d.closedLocked(l)
	d.mu.Unlock()
	j.close()
}

// closedLocked notes that a log is no longer open.
func (d *Dir) closedLocked(l *log) {
	if l.journal.onDisk.Load() && l.usage.err == nil {
		d.ageLocked(l)
	} else {
		d.unlisted[l.id] = l
	}
	l.journal = nil
	delete(d.open, l.id)
}

// Remove deletes the log of a container, unless somebody writes or reads it, or
// it can't be found out what is there: then it is false, and nothing happens.
func (d *Dir) Remove(id string) bool {
	d.mu.Lock()
	l := d.logs[id]
	busy := l != nil && l.refs > 0
	d.mu.Unlock()
	if l == nil || busy {
		return !busy
	}
	l.disk.Lock()
	defer l.disk.Unlock()
	d.mu.Lock()
	if l.refs > 0 || l.removed {
		defer d.mu.Unlock()
		return l.removed
	}
	j := l.journal
	if j != nil {
		d.closedLocked(l)
	}
	d.mu.Unlock()
	if j != nil {
		j.close()
	}
	end, err := lastOffset(l.path)
	if err == nil {
		d.pass(end)
		err = os.RemoveAll(l.path)
	}
	if err != nil {
		d.cfg.Logger.Error("remove old logs", "container", id, "err", err)
		d.mu.Lock()
		d.unlisted[id] = l
		d.mu.Unlock()
		return false
	}
	d.forget(l)
	return true
}

// forget takes a log out of the Dir.
func (d *Dir) forget(l *log) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l.removed = true
	d.bytes -= l.usage.bytes
	delete(d.logs, l.id)
	delete(d.unlisted, l.id)
	d.ids = nil
}
