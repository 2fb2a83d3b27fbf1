package journal

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// retainEvery is how often age and budget are looked at, and budgetEvery how
// often the budget alone may be, when journals grow fast.
const (
	retainEvery = 30 * time.Second
	budgetEvery = time.Second
)

// touch notes that the container is stopped now: its age counts from here, also
// where it had been silent for long.
func (j *Journal) touch() {
	now := time.Now()
	if err := os.Chtimes(filepath.Join(j.path, metaName), now, now); err != nil {
		j.log.Warn("time of a container's end not noted", "container", j.id, "err", err)
	}
}

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
		j.mu.Lock()
		j.untidy = false
		j.mu.Unlock()
		if ctx.Err() == nil {
			j.trim()
			j.compressRotated(ctx)
		}
		j.Release()
	}
}

// uncompressedLocked returns the segments that are to be compressed.
func (j *Journal) uncompressedLocked() (rotated []*segment) {
	if !j.meta.Options.Compress {
		return nil
	}
	for i, s := range j.segments {
		if !s.compressed && s.size > 0 && time.Since(s.rotated) >= j.dir.cfg.CompressAfter && (i < len(j.segments)-1 || j.active == nil) {
			rotated = append(rotated, s)
		}
	}
	return rotated
}

func (j *Journal) compressRotated(ctx context.Context) {
	j.mu.Lock()
	rotated := j.uncompressedLocked()
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
// together pass the budget, the oldest lines: those of stopped containers first,
// beginning with the one that stopped first.
func (d *Dir) retain() {
	infos := d.List()
	slices.SortFunc(infos, func(a, b Info) int { return a.Latest.Compare(b.Latest) })
	var over int64
	if d.cfg.Budget > 0 {
		over = -d.cfg.Budget
		for _, i := range infos {
			over += i.Bytes
		}
	}
	lost := map[string]Loss{}
	for k := range infos {
		i := &infos[k]
		old := d.cfg.StoppedAge > 0 && time.Since(i.Latest) > d.cfg.StoppedAge
		if i.Attached > 0 || !old && over <= 0 {
			continue
		}
		for !old && over > 0 {
			freed := d.dropOldest(i, lost)
			if freed == 0 {
				break
			}
			over -= freed
		}
		if !old && over <= 0 || !d.Remove(i.ID) {
			continue
		}
		over -= i.Bytes
		d.cfg.Logger.Info("removed the logs of a stopped container", "container", i.ID, "bytes", i.Bytes, "age", time.Since(i.Latest).Round(time.Second), "over_budget", !old)
		if !old {
			lose(lost, Loss{ContainerID: i.ID, Bytes: i.Bytes, From: i.First, To: i.End})
		}
		i.Bytes = 0
	}
	// Then running ones' rotated segments, the longest log first.
	for len(infos) > 0 && over > 0 {
		longest := 0
		for k := range infos {
			if infos[k].Bytes > infos[longest].Bytes {
				longest = k
			}
		}
		freed := d.dropOldest(&infos[longest], lost)
		if freed == 0 {
			infos = slices.Delete(infos, longest, longest+1)
		}
		over -= freed
	}
	for _, l := range lost {
		d.loss(l)
	}
}

// dropOldest removes the oldest segment of a journal, unless it is the only one,
// and returns the bytes freed on disk.
func (d *Dir) dropOldest(i *Info, lost map[string]Loss) int64 {
	j, err := d.Acquire(i.ID)
	if err != nil {
		return 0
	}
	defer j.Release()
	j.mu.Lock()
	n := len(j.segments)
	if n > 1 {
		s := j.segments[0]
		lose(lost, Loss{ContainerID: i.ID, Bytes: s.size, From: s.base, To: s.end()})
		j.dropOldestLocked()
	}
	j.mu.Unlock()
	if n <= 1 {
		return 0
	}
	left, _ := usage(j.path)
	freed := max(1, i.Bytes-left)
	i.Bytes = left
	return freed
}

// lose adds to what the budget has cost a container.
func lose(lost map[string]Loss, l Loss) {
	if before, ok := lost[l.ContainerID]; ok {
		l.Bytes += before.Bytes
		l.From = min(l.From, before.From)
		l.To = max(l.To, before.To)
	}
	l.Reason = "budget"
	lost[l.ContainerID] = l
}
