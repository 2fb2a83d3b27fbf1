package journal

import (
	"io"
	"sort"

	"logscan/internal/entry"
)

// SeekTail returns the offset of the n-th frame from the end, or of the oldest
// one if there are fewer. It reads no more than an index and a block.
func (j *Journal) SeekTail(n int64) (int64, error) {
	j.mu.Lock()
	segs := make([]segment, len(j.segments))
	for i, s := range j.segments {
		segs[i] = *s
	}
	st := j.state
	j.mu.Unlock()
	if n <= 0 {
		return st.End, nil
	}
	for i := len(segs) - 1; i >= 0; i-- {
		if n > segs[i].frames {
			n -= segs[i].frames
			continue
		}
		points, err := j.pointsOf(&segs[i])
		if err != nil { // a reader passes over what it can't read of it
			return segs[i].base, nil
		}
		target := segs[i].frames - n // frames of the segment to pass over
		k := sort.Search(len(points), func(k int) bool { return points[k].frames > target }) - 1
		return j.walk(segs[i].base+points[k].offset, target-points[k].frames)
	}
	return st.First, nil
}

// walk returns the offset of the n-th frame after the one at off.
func (j *Journal) walk(off, n int64) (int64, error) {
	r := j.NewReader(off)
	defer r.Close()
	for n > 0 {
		b, at, err := r.Next()
		if err == io.EOF {
			return r.pos, nil
		}
		if err != nil {
			return off, err
		}
		size, frames, err := entry.Skip(b, n)
		if off, n = at+int64(size), n-frames; err != nil {
			return off, err
		}
	}
	return off, nil
}

// SeekTime returns an offset at or before the first entry whose time is nano or
// later, and behind all blocks before that one: End if there is none. Entries
// before nano may follow it.
func (j *Journal) SeekTime(nano int64) (int64, error) {
	j.mu.Lock()
	st := j.state
	var found *segment
	for _, s := range j.segments {
		if s.frames > 0 && s.maxTime >= nano {
			c := *s
			found = &c
			break
		}
	}
	j.mu.Unlock()
	if found == nil {
		return st.End, nil
	}
	points, err := j.pointsOf(found)
	if err != nil { // as in SeekTail
		return found.base, nil
	}
	k := sort.Search(len(points), func(k int) bool { return points[k].maxTime >= nano }) - 1
	return found.base + points[max(k, 0)].offset, nil
}

// SeekOffset returns the offset of a frame at or before off, no farther than a block, or
// that of the oldest frame where off is before it.
func (j *Journal) SeekOffset(off int64) int64 {
	first, _ := j.Bounds()
	seg, from, ok := j.lookup(max(off, first))
	if !ok || from < seg.base {
		return seg.base // the end, or behind what is gone
	}
	points, err := j.pointsOf(&seg)
	if err != nil { // as in SeekTail
		return seg.base
	}
	k := sort.Search(len(points), func(k int) bool { return points[k].offset > from-seg.base }) - 1
	return seg.base + points[max(k, 0)].offset
}

// pointsOf returns a segment's index, reading it where it is compressed.
func (j *Journal) pointsOf(s *segment) ([]point, error) {
	if !s.compressed {
		return s.points, nil
	}
	t, err := readTrailer(segmentPath(j.path, s.base, compressedSuffix))
	return t.points, err
}
