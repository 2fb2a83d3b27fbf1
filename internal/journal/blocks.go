package journal

import "sort"

// Span is a run of frames that an index tells of. Times are in nanoseconds since 1970.
type Span struct {
	From, To int64 // offsets
	Before   int64 // the greatest time of the entries before it in its segment; the least int64 for none
	MaxTime  int64 // with those in it
}

// Segments returns the journal's segments that hold anything, oldest first. The last one
// may be growing.
func (j *Journal) Segments() []Span {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]Span, 0, len(j.segments))
	for _, s := range j.segments {
		if s.size > 0 {
			out = append(out, Span{s.base, s.end(), noTime, s.maxTime})
		}
	}
	return out
}

// Blocks returns the blocks of the segment that begins at an offset, oldest first; none
// where it is gone. Where its index can't be read, it is one block.
func (j *Journal) Blocks(from int64) []Span {
	j.mu.Lock()
	seg, ok := j.lookupLocked(from)
	j.mu.Unlock()
	if !ok || seg.base != from || seg.size == 0 {
		return nil
	}
	points, err := j.pointsOf(&seg)
	if err != nil || len(points) == 0 {
		points = []point{{maxTime: noTime}}
	}
	out := make([]Span, 0, len(points))
	for i, p := range points {
		b := Span{seg.base + p.offset, seg.end(), p.maxTime, seg.maxTime}
		if i+1 < len(points) {
			b.To, b.MaxTime = seg.base+points[i+1].offset, points[i+1].maxTime
		}
		if b.From < b.To {
			out = append(out, b)
		}
	}
	return out
}

// Boundary returns where the block begins that holds an offset, or else the one behind
// which it lies.
func (j *Journal) Boundary(off int64) int64 {
	j.mu.Lock()
	i := sort.Search(len(j.segments), func(i int) bool { return j.segments[i].base > off }) - 1
	if i < 0 {
		defer j.mu.Unlock()
		return j.state.First
	}
	seg := *j.segments[i]
	j.mu.Unlock()
	points, err := j.pointsOf(&seg)
	if err != nil {
		return seg.base
	}
	k := sort.Search(len(points), func(k int) bool { return seg.base+points[k].offset > off }) - 1
	return seg.base + points[max(k, 0)].offset
}

// Containers returns what is known of all containers whose logs are kept, in no order.
func (d *Dir) Containers() []Container {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]Container, 0, len(d.logs))
	for _, l := range d.logs {
		out = append(out, l.meta)
	}
	return out
}
