package journal

import (
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// nameOf returns the name of the file that a segment lies in.
func (j *Journal) nameOf(s *segment) string {
	if s.compressed {
		return segmentPath(j.path, s.base, compressedSuffix)
	}
	return segmentPath(j.path, s.base, rawSuffix)
}

// dropGone forgets the segment at base, whose file somebody else has removed, and
// reports what it held. Lines that are written to the active segment then go to
// another file. Where the file is there after all, nothing happens.
func (j *Journal) dropGone(base int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := slices.IndexFunc(j.segments, func(s *segment) bool { return s.base == base })
	if i < 0 {
		return
	}
	s := j.segments[i]
	if _, err := os.Stat(j.nameOf(s)); !errors.Is(err, os.ErrNotExist) {
		return
	}
	if act := j.active; act != nil && i == len(j.segments)-1 {
		if j.owner != nil {
			j.owner.abandonLocked("corrupt")
		} else {
			j.cutLocked("corrupt")
		}
		j.closeActive()
		j.tail = tail{}
		j.fresh.drop()
	}
	j.log.Error("the file of a segment is gone; going on behind it", "container", j.id, "file", j.nameOf(s), "bytes", s.size)
	j.segments = slices.Delete(j.segments, i, i+1)
	if j.firstLocked(); j.state.First < s.base {
		j.of.missing.Add(s.size) // recovery would tell of it again
	}
	if s.size > 0 {
		j.dir.loss(Loss{ContainerID: j.id, Reason: "corrupt", Bytes: s.size, Frames: s.frames, From: s.base, To: s.end()})
	}
	j.changedLocked()
}

// firstLocked finds the offset of the oldest frame that is kept.
func (j *Journal) firstLocked() {
	j.state.First = j.state.End
	if len(j.segments) > 0 {
		j.state.First = j.segments[0].base
	}
}

// dropUnlinked does so for an active segment that is written to a file without a
// name, which nobody can open any more.
func (j *Journal) dropUnlinked() {
	j.mu.Lock()
	var base int64
	unlinked := false
	if j.active != nil {
		var st unix.Stat_t
		unlinked = unix.Fstat(int(j.active.file.Fd()), &st) == nil && st.Nlink == 0
		base = j.segments[len(j.segments)-1].base
	}
	j.mu.Unlock()
	if unlinked {
		j.dropGone(base)
	}
}
