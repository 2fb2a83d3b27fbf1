package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// retainEvery is how often age and budget are looked at, and budgetEvery how
// often the budget alone may be, when journals grow fast.
const (
	retainEvery = 30 * time.Second
	budgetEvery = time.Second
)

// Of a full disk, about this share or at most that many bytes is freed at once,
// and no more often than this where there is nothing to free.
const (
	roomShare = 64
	roomMax   = 64 << 20
	roomEvery = time.Second
)

// compressAgain is the pause after a compression that the disk did not allow.
const compressAgain = 10 * time.Second

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
			if !errors.Is(err, errIndex) {
				j.mu.Lock()
				j.compressNext = time.Now().Add(compressAgain)
				j.mu.Unlock()
				return
			}
		}
	}
}

// retain removes the logs of containers that stopped long ago, and while all
// together pass the budget, the oldest lines.
func (d *Dir) retain() {
	infos, now := d.byAge(), d.clock.Now()
	var over int64
	if d.cfg.Budget > 0 {
		over = -d.cfg.Budget
		for _, i := range infos {
			over += i.Bytes
		}
	}
	for k := range infos {
		i := &infos[k]
		age := now.Sub(i.Latest)
		if d.cfg.StoppedAge == 0 || age <= d.cfg.StoppedAge || i.Attached > 0 || !d.Remove(i.ID) {
			continue
		}
		d.cfg.Logger.Info("removed the logs of a stopped container", "container", i.ID, "bytes", i.Bytes, "age", age.Round(time.Second))
		over -= i.Bytes
		i.ID = ""
	}
	infos = slices.DeleteFunc(infos, func(i Info) bool { return i.ID == "" })
	d.reclaim(infos, over, "budget")
}

// byAge lists all journals, those that were written last at the end. It looks at
// every directory: others may have taken something away.
func (d *Dir) byAge() []Info {
	d.mu.Lock()
	clear(d.disk)
	d.mu.Unlock()
	infos := d.List()
	slices.SortFunc(infos, func(a, b Info) int { return a.Latest.Compare(b.Latest) })
	return infos
}

// makeRoom asks for some logs to be removed, because the disk is full.
func (d *Dir) makeRoom() {
	select {
	case d.room <- struct{}{}:
	default:
	}
}

// roomLoop makes room when it is asked to.
func (d *Dir) roomLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.room:
		}
		if d.reclaimDisk() > 0 {
			continue
		}
		select { // there is nothing to be had
		case <-ctx.Done():
			return
		case <-time.After(roomEvery):
		}
	}
}

// reclaimDisk removes the oldest lines of a full disk, as those beyond the
// budget, and returns the bytes freed.
func (d *Dir) reclaimDisk() int64 {
	var fs unix.Statfs_t
	if err := unix.Statfs(d.cfg.Root, &fs); err != nil {
		d.cfg.Logger.Error("full disk", "err", err)
		return 0
	}
	step := min(roomMax, int64(fs.Blocks)*fs.Bsize/roomShare)
	if int64(fs.Bavail)*fs.Bsize >= step && (fs.Files == 0 || fs.Ffree > 0) {
		return 0 // there is some by now
	}
	return d.reclaim(d.byAge(), step, "full")
}

// reclaim frees that many bytes by removing the oldest lines: those of stopped
// containers first, beginning with the one that stopped first.
func (d *Dir) reclaim(infos []Info, over int64, reason string) (freed int64) {
	told := map[string]bool{} // of which containers a loss has been reported
	losing := func(l Loss) func(lost bool) {
		l.Reason, l.More = reason, told[l.ContainerID]
		happened := d.losing(l)
		return func(lost bool) {
			happened(lost)
			told[l.ContainerID] = told[l.ContainerID] || lost
		}
	}
	for k := range infos {
		i := &infos[k]
		if i.Attached > 0 || freed >= over {
			continue
		}
		for freed < over {
			n := d.dropOldest(i, losing)
			if n == 0 {
				break
			}
			freed += n
		}
		if freed >= over {
			continue
		}
		happened := losing(d.rest(i))
		removed := d.Remove(i.ID)
		if happened(removed); !removed {
			continue
		}
		freed += i.Bytes
		d.cfg.Logger.Info("removed the logs of a stopped container", "container", i.ID, "bytes", i.Bytes, "reason", reason)
		i.Bytes = 0
	}
	// Then running ones' rotated segments, the longest log first.
	for len(infos) > 0 && freed < over {
		longest := 0
		for k := range infos {
			if infos[k].Bytes > infos[longest].Bytes {
				longest = k
			}
		}
		n := d.dropOldest(&infos[longest], losing)
		if n == 0 {
			infos = slices.Delete(infos, longest, longest+1)
		}
		freed += n
	}
	return freed
}

// rest is what a journal loses that is removed.
func (d *Dir) rest(i *Info) Loss {
	l := Loss{ContainerID: i.ID}
	j, err := d.Acquire(i.ID)
	if err != nil {
		l.Bytes = i.Bytes // more or less
		return l
	}
	defer j.Release()
	j.mu.Lock()
	defer j.mu.Unlock()
	l.From, l.To = j.state.First, j.state.End
	for _, s := range j.segments {
		l.Bytes, l.Frames = l.Bytes+s.size, l.Frames+s.frames
	}
	return l
}

// dropOldest removes the oldest segment of a journal, unless it is the only one,
// and returns the bytes freed on disk.
func (d *Dir) dropOldest(i *Info, losing func(Loss) func(lost bool)) int64 {
	j, err := d.Acquire(i.ID)
	if err != nil {
		return 0
	}
	defer j.Release()
	j.mu.Lock()
	n := len(j.segments)
	dropped := false
	if n > 1 {
		s := j.segments[0]
		happened := losing(Loss{ContainerID: i.ID, Bytes: s.size, Frames: s.frames, From: s.base, To: s.end()})
		dropped = j.dropOldestLocked()
		happened(dropped)
	}
	j.mu.Unlock()
	if !dropped {
		return 0
	}
	left, _ := usage(j.path)
	freed := max(1, i.Bytes-left)
	i.Bytes = left
	return freed
}
