package journal

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"
)

// compressAgain is the pause after a compression that the disk did not allow.
const compressAgain = 10 * time.Second

// maintain removes what is beyond max-file, and compresses what was rotated, of all
// journals that are open.
func (d *Dir) maintain(ctx context.Context) { d.maintainSome(ctx, func(*Journal) bool { return true }) }

// maintainMarked does so for those that may have something.
func (d *Dir) maintainMarked(ctx context.Context) {
	d.maintainSome(ctx, func(j *Journal) bool { return j.needsMaintenance.Load() })
}

func (d *Dir) maintainSome(ctx context.Context, which func(*Journal) bool) {
	var js []*Journal
	d.mu.Lock()
	for _, l := range d.open {
		if which(l.journal) {
			l.refs++
			js = append(js, l.journal)
		}
	}
	d.mu.Unlock()
	d.dueMu.Lock()
	due := slices.Compact(slices.Sorted(slices.Values(d.due)))
	d.due = nil
	d.dueMu.Unlock()
	for _, id := range due {
		if j, err := d.Acquire(id); err == nil {
			js = append(js, j)
		}
	}
	for _, j := range js {
		j.needsMaintenance.Store(false)
		if ctx.Err() == nil {
			j.dropUnlinked()
			j.trim()
			j.compressRotated(ctx)
			j.syncMeta()
		}
		j.Release()
	}
}

// syncMeta makes a container.json that was written in haste outlast a power cut.
func (j *Journal) syncMeta() {
	j.of.disk.Lock()
	defer j.of.disk.Unlock()
	j.mu.Lock()
	unsynced, meta := j.unsynced, j.meta
	j.unsynced = false
	j.mu.Unlock()
	if !unsynced {
		return
	}
	if err := writeMeta(j.path, meta, true); err != nil {
		j.log.Warn("container.json not synced", "container", j.id, "err", err)
	}
}

// uncompressedLocked returns the segments that are to be compressed.
func (j *Journal) uncompressedLocked() (rotated []*segment) {
	if !j.meta.Options.Compress {
		return nil
	}
	for i, s := range j.segments {
		if !s.compressed && !s.keepRaw && s.size > 0 && time.Since(s.rotated) >= j.dir.cfg.CompressAfter && (i < len(j.segments)-1 || j.active == nil) {
			rotated = append(rotated, s)
		}
	}
	return rotated
}

// compressRotated compresses what has been rotated. A segment that is damaged
// is passed over; where the disk fails, the others have to wait too.
func (j *Journal) compressRotated(ctx context.Context) {
	j.mu.Lock()
	rotated := j.uncompressedLocked()
	wait := time.Now().Before(j.compressNext)
	j.mu.Unlock()
	if len(rotated) == 0 || wait {
		return
	}
	with, err := newCompressor()
	if err != nil {
		j.log.Error("compress", "err", err)
		return
	}
	defer with.close()
	for _, s := range rotated {
		if ctx.Err() != nil {
			return
		}
		err := j.compress(s, with)
		if errors.Is(err, os.ErrNotExist) {
			j.dropGone(s.base)
		} else if err != nil {
			j.log.Warn("rotated segment stays as it is", "container", j.id, "segment", s.base, "err", err)
			if !errors.Is(err, errIndex) {
				j.mu.Lock()
				j.compressNext = time.Now().Add(compressAgain)
				time.AfterFunc(compressAgain, func() { j.dir.compressSoon(j.id) })
				j.mu.Unlock()
				return
			}
		}
	}
}
