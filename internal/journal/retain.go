package journal

import (
	"context"
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

// touch notes that the container is stopped now: its age counts from here, also
// where it had been silent for long.
func (j *Journal) touch() {
	now := time.Now()
	if err := os.Chtimes(filepath.Join(j.path, metaName), now, now); err != nil {
		j.log.Warn("time of a container's end not noted", "container", j.id, "err", err)
	}
}

// retain removes the logs of containers that stopped long ago, and while all
// together pass what is left of the budget, the oldest lines.
func (d *Dir) retain() {
	d.survey()
	if d.cfg.StoppedAge > 0 {
		d.removeOld(d.clock.Now())
	}
	if d.cfg.Budget == 0 {
		return
	}
	budget := d.cfg.Budget
	if d.cfg.Beside != nil {
		budget -= d.cfg.Beside()
	}
	d.mu.Lock()
	over := d.bytes - budget
	d.mu.Unlock()
	if over > 0 {
		d.reclaim(d.byAge(), over, "budget")
	}
}

// removeOld removes logs that were last written longer than the age ago. That is
// looked at again before.
func (d *Dir) removeOld(now time.Time) {
	then := now.Add(-d.cfg.StoppedAge)
	for _, l := range d.old(then) {
		u := d.look(l)
		if u.err != nil || u.latest.IsZero() || !u.latest.Before(then) || !d.Remove(l.id) {
			continue
		}
		d.cfg.Logger.Info("removed the logs of a stopped container", "container", l.id, "bytes", u.bytes, "age", now.Sub(u.latest).Round(time.Second))
	}
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
		// Others may have taken something away, or the disk fails.
		before := i.Bytes
		if !d.lookAgain(i) {
			continue
		}
		freed += max(0, before-i.Bytes)
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

// dropOldest removes what was set aside of a journal, or its oldest segment, unless
// it is the only one, and returns the bytes freed on disk.
func (d *Dir) dropOldest(i *Info, losing func(Loss) func(lost bool)) int64 {
	j, err := d.Acquire(i.ID)
	if err != nil {
		return 0
	}
	defer j.Release()
	if size := j.dropAside(); size > 0 {
		i.Bytes -= size
		return size
	}
	j.mu.Lock()
	n := len(j.segments)
	dropped, size := false, int64(0)
	if n > 1 {
		s := j.segments[0]
		size = s.size
		happened := losing(Loss{ContainerID: i.ID, Bytes: s.size, Frames: s.frames, From: s.base, To: s.end()})
		dropped = j.dropOldestLocked()
		happened(dropped)
	}
	j.mu.Unlock()
	if !dropped {
		return 0
	}
	before := i.Bytes
	if !d.lookAgain(i) {
		i.Bytes -= size
	}
	return max(1, before-i.Bytes)
}

// lookAgain finds out what a log takes now, and reports whether it could.
func (d *Dir) lookAgain(i *Info) bool {
	d.mu.Lock()
	l := d.logs[i.ID]
	d.mu.Unlock()
	if l == nil {
		return false
	}
	u := d.look(l)
	if u.err == nil {
		i.Bytes = u.bytes
	}
	return u.err == nil
}

// dropAside removes the files that were set aside because they can't be read,
// which was reported then, and returns the bytes freed.
func (j *Journal) dropAside() (freed int64) {
	names, _ := filepath.Glob(filepath.Join(j.path, "*"+asideSuffix))
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			continue
		}
		if err := os.Remove(name); err != nil {
			j.log.Warn("retention", "err", err)
			continue
		}
		freed += info.Size()
	}
	j.onDisk.Store(j.onDisk.Load() && freed == 0)
	return freed
}
