package journal

import (
	"context"
	"slices"
	"time"
)

// retainEvery is how often age and budget are looked at.
const retainEvery = 30 * time.Second

// tidy removes what is beyond max-file and compresses what was rotated.
func (d *Dir) tidy(ctx context.Context) {
	d.mu.Lock()
	js := make([]*Journal, 0, len(d.open))
	for _, j := range d.open {
		j.refs++
		js = append(js, j)
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
		if ctx.Err() == nil {
			j.trim()
			j.compressRotated(ctx)
		}
		j.Release()
	}
}

func (j *Journal) compressRotated(ctx context.Context) {
	j.mu.Lock()
	var rotated []*segment
	if j.meta.Options.Compress {
		for i, s := range j.segments {
			if !s.compressed && s.size > 0 && time.Since(s.rotated) >= j.dir.cfg.CompressAfter && (i < len(j.segments)-1 || j.active == nil) {
				rotated = append(rotated, s)
			}
		}
	}
	j.mu.Unlock()
	if len(rotated) == 0 {
		return
	}
	enc, err := newEncoder()
	if err != nil {
		j.log.Error("compress", "err", err)
		return
	}
	defer enc.Close()
	for _, s := range rotated {
		if ctx.Err() != nil {
			return
		}
		if err := j.compress(s, enc); err != nil {
			j.log.Warn("rotated segment stays as it is", "container", j.id, "segment", s.base, "err", err)
		}
	}
}

// retain removes the logs of containers that stopped long ago, and while all
// together pass the budget, the oldest ones.
func (d *Dir) retain() {
	infos := d.List()
	slices.SortFunc(infos, func(a, b Info) int { return a.Latest.Compare(b.Latest) })
	var total int64
	for _, i := range infos {
		total += i.Bytes
	}
	for _, i := range infos {
		old := d.cfg.StoppedAge > 0 && time.Since(i.Latest) > d.cfg.StoppedAge
		over := d.cfg.Budget > 0 && total > d.cfg.Budget
		if i.Attached > 0 || !old && !over || !d.remove(i.ID) {
			continue
		}
		total -= i.Bytes
		d.cfg.Logger.Info("removed the logs of a stopped container", "container", i.ID, "bytes", i.Bytes, "age", time.Since(i.Latest).Round(time.Second), "over_budget", over && !old)
		if over && !old {
			d.loss(Loss{ContainerID: i.ID, Reason: "budget", Bytes: i.Bytes, From: i.First, To: i.End})
		}
	}
	// Then running ones' rotated segments, the longest log first.
	for d.cfg.Budget > 0 && total > d.cfg.Budget {
		freed := d.dropLongest()
		if freed == 0 {
			return
		}
		total -= freed
	}
}

// dropLongest removes the oldest rotated segment of the journal that keeps the
// most, and returns the bytes freed; 0 if nobody has one.
func (d *Dir) dropLongest() int64 {
	infos := d.List()
	slices.SortFunc(infos, func(a, b Info) int { return int(min(max(b.Bytes-a.Bytes, -1), 1)) })
	for _, i := range infos {
		j, err := d.Acquire(i.ID)
		if err != nil {
			continue
		}
		j.mu.Lock()
		n := len(j.segments)
		if n > 1 {
			s := j.segments[0]
			d.loss(Loss{ContainerID: i.ID, Reason: "budget", Bytes: s.size, From: s.base, To: s.end()})
			j.dropOldestLocked()
		}
		j.mu.Unlock()
		j.Release()
		if n > 1 {
			after, _ := usage(j.path)
			return max(1, i.Bytes-after)
		}
	}
	return 0
}
