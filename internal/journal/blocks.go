package journal

import (
	"os"
	"sort"

	"logscan/internal/blockfilter"
)

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

// Blocks returns the blocks of the segment that begins at an offset, oldest first, but for
// those that surely have no end of a line that holds what is wanted; nil wants all. It is
// false where the segment is gone. Where its index can't be read, it is one block.
func (j *Journal) Blocks(from int64, wanted *blockfilter.Wanted) ([]Span, bool) {
	j.mu.Lock()
	seg, ok := j.lookupLocked(from)
	j.mu.Unlock()
	if !ok || seg.base != from || seg.size == 0 {
		return nil, false
	}
	points, may, err := j.pointsHolding(&seg, wanted)
	if err != nil || len(points) == 0 {
		points, may = []point{{maxTime: noTime}}, anyBlock
	}
	out := make([]Span, 0, len(points))
	for i, p := range points {
		b := Span{seg.base + p.offset, seg.end(), p.maxTime, seg.maxTime}
		if i+1 < len(points) {
			b.To, b.MaxTime = seg.base+points[i+1].offset, points[i+1].maxTime
		}
		if b.From < b.To && may(i) {
			out = append(out, b)
		}
	}
	return out, true
}

func anyBlock(int) bool { return true }

// pointsHolding returns a segment's index, and which of its blocks may hold what is wanted.
func (j *Journal) pointsHolding(s *segment, wanted *blockfilter.Wanted) ([]point, func(block int) bool, error) {
	if !s.compressed || wanted == nil {
		points, err := j.pointsOf(s)
		return points, anyBlock, err
	}
	f, err := os.Open(segmentPath(j.path, s.base, compressedSuffix))
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	t, err := trailerOf(f)
	if err != nil {
		return nil, nil, err
	}
	return t.points, t.holding(f, wanted), nil
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
