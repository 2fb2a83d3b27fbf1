package journal

import (
	"errors"
	"maps"
	"time"
)

// Loss is something that could not be kept.
type Loss struct {
	ContainerID string
	Reason      string // "torn", "corrupt", "unscanned", "budget", "full" or "dropped"
	Bytes       int64
	Frames      int64 // 0 where unknown
	From, To    int64 // offsets; equal where the bytes never got one
	More        bool  // this goes on with the loss reported before
}

// Times is how often it counts.
func (l Loss) Times() int64 {
	if l.More {
		return 0
	}
	return 1
}

// first is what was lost with the first n of l's bytes.
func (l Loss) first(n int) Loss {
	if int64(n) != l.Bytes {
		l.Bytes, l.Frames = int64(n), 0
	}
	return l
}

// LossCount sums up the losses of one reason since the start.
type LossCount struct {
	Times  int64
	Bytes  int64
	Frames int64 // where known
	Latest time.Time
}

// lossLocked describes what has no offset, since it was not kept.
func (j *Journal) lossLocked(reason string, bytes, frames int64) Loss {
	return Loss{ContainerID: j.id, Reason: reason, Bytes: bytes, Frames: frames, From: j.state.End, To: j.state.End}
}

// Losses returns what could not be kept since the start, by Loss.Reason.
func (d *Dir) Losses() map[string]LossCount {
	d.lossMu.Lock()
	defer d.lossMu.Unlock()
	return maps.Clone(d.losses)
}

// count adds a loss to the counters.
func (d *Dir) count(l Loss) {
	d.lossMu.Lock()
	defer d.lossMu.Unlock()
	c := d.losses[l.Reason]
	d.losses[l.Reason] = LossCount{Times: c.Times + l.Times(), Bytes: c.Bytes + l.Bytes, Frames: c.Frames + l.Frames, Latest: time.Now()}
}

// loss counts and reports a loss.
func (d *Dir) loss(l Loss) {
	d.count(l)
	if d.cfg.OnLoss != nil {
		d.cfg.OnLoss(l)
	}
}

// losing announces a loss by a removal that is about to be tried, and returns what
// is to be told whether it has happened: only then is the loss counted.
func (d *Dir) losing(l Loss) (happened func(lost bool)) {
	if d.cfg.Losing == nil {
		return func(lost bool) {
			if lost {
				d.loss(l)
			}
		}
	}
	end := d.cfg.Losing(l)
	return func(lost bool) {
		if end(lost); lost {
			d.count(l)
		}
	}
}

// Gone reports whether a container's log has lost what Losing was told of: the
// bytes between two offsets, or, where they are equal, all of it.
func (d *Dir) Gone(id string, from, to int64) bool {
	j, err := d.Acquire(id)
	if err != nil {
		return errors.Is(err, ErrNotFound)
	}
	defer j.Release()
	first, _ := j.Bounds()
	return from < to && first >= to
}
