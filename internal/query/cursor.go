package query

import (
	"cmp"
	"math"
	"slices"

	"logscan/internal/journal"
)

// span is the times that lines are wanted of, in nanoseconds; not those of until.
type span struct{ since, until int64 }

func (s span) has(at int64) bool { return at >= s.since && at < s.until }

// cursor goes over what is kept of a container, in the order that is wanted.
type cursor struct {
	container journal.Container
	all       []block // its segments, in the order of the log
	segments  []block // of them, those to be looked at that aren't open
	blocks    []block // of the open one, those to be looked at
	taken     []block // those that hits are of
	rest      []block // what was to be looked at besides
	width     int     // how many are looked at next
	hits      []Hit   // in the order wanted
	bytes     int     // that they take
	evicted   *place  // of the first hit, where the hits were given up
	oldest    bool    // first
	record    extent  // of the last hit, where hits are records

	index int // in the heap
}

// How many blocks are looked at in one turn. What isn't compressed is read so many at once
// as the least are.
const (
	widthLeast = 4
	widthMost  = 16
)

// newCursor plans what is to be looked at of a container: segments as they are now, of a
// time, and not beyond a place.
func newCursor(c journal.Container, segments []journal.Span, of span, oldest bool) *cursor {
	out := &cursor{container: c, oldest: oldest, width: 1}
	before := int64(math.MinInt64)
	for _, s := range segments {
		b := block{at: s.From, after: s.From, to: s.To, before: before, max: max(before, s.MaxTime), run: before}
		before = b.max
		out.all = append(out.all, b)
		if b.max >= of.since && b.before < of.until {
			out.segments = append(out.segments, b)
		}
	}
	return out
}

// size is how many bytes are to be looked at.
func (c *cursor) size() (n int64) {
	for _, b := range c.segments {
		n += b.to - b.after
	}
	for _, b := range c.blocks {
		n += b.to - b.after
	}
	return n
}

// pop takes the next segment.
func (c *cursor) pop() (s block) {
	if c.oldest {
		s, c.segments = c.segments[0], c.segments[1:]
		return s
	}
	last := len(c.segments) - 1
	s, c.segments = c.segments[last], c.segments[:last]
	return s
}

// unfold has the blocks of a segment be the next ones, those of a time.
func (c *cursor) unfold(s block, blocks []journal.Span, of span) {
	c.blocks = nil
	for _, b := range blocks {
		if b.From >= s.to {
			break
		}
		in := block{at: b.From, after: b.From, to: min(b.To, s.to), before: max(s.before, b.Before), max: max(s.before, b.MaxTime)}
		in.run = in.before
		if in.max >= of.since && in.before < of.until {
			c.blocks = append(c.blocks, in)
		}
	}
}

// take takes the next blocks, as far as they are adjacent.
func (c *cursor) take() []block {
	most := min(c.width, len(c.blocks))
	n := 1
	if c.oldest {
		for n < most && c.blocks[n].at == c.blocks[n-1].to {
			n++
		}
		c.taken, c.blocks = c.blocks[:n], c.blocks[n:]
	} else {
		last := len(c.blocks)
		for n < most && c.blocks[last-n].at == c.blocks[last-n-1].to {
			n++
		}
		left := last - n
		c.taken, c.blocks = c.blocks[left:], c.blocks[:left]
	}
	c.rest = c.blocks
	return c.taken
}

// putBack has what was taken be looked at again: oldest first, from behind an offset on,
// where the latest hit has a time, and newest first, up to it.
func (c *cursor) putBack(at, key int64) {
	k, _ := slices.BinarySearchFunc(c.taken, at, func(b block, at int64) int { return cmp.Compare(b.to, at) })
	if !c.oldest {
		again := slices.Clone(c.taken[:k+1])
		again[k].to = at
		c.blocks = append(slices.Clip(c.rest), again...)
		return
	}
	again := slices.Clone(c.taken[k:])
	if again[0].to == at {
		again = again[1:]
	} else {
		again[0].after, again[0].run = at, key
	}
	c.blocks = append(again, c.rest...)
}

// evict gives up the hits: they are looked for again when it is their turn.
func (c *cursor) evict() {
	first := c.hits[0].place
	at := first.to
	if c.oldest {
		at-- // the first one comes again
	}
	c.putBack(at, first.key)
	c.hits, c.bytes, c.evicted = nil, 0, &first
}

// next is the place of the next hit, or one that no hit to come lies before, in the order
// wanted, and whether it is a hit; not more if there is neither.
func (c *cursor) next() (p place, hit, more bool) {
	var bound *block
	switch {
	case len(c.hits) > 0:
		return c.hits[0].place, true, true
	case c.evicted != nil:
		return *c.evicted, false, true
	case len(c.blocks) > 0 && c.oldest:
		bound = &c.blocks[0]
	case len(c.blocks) > 0:
		bound = &c.blocks[len(c.blocks)-1]
	case len(c.segments) > 0 && c.oldest:
		bound = &c.segments[0]
	case len(c.segments) > 0:
		bound = &c.segments[len(c.segments)-1]
	default:
		return place{}, false, false
	}
	if c.oldest {
		return place{bound.before, "", 0}, false, true
	}
	return place{bound.max, lastID, math.MaxInt64}, false, true
}

// cursors is a heap: first comes what is next in the order wanted.
type cursors []*cursor

func (s cursors) Len() int { return len(s) }
func (s cursors) Less(i, j int) bool {
	p, _, _ := s[i].next()
	q, _, _ := s[j].next()
	if s[i].oldest {
		return p.before(q)
	}
	return q.before(p)
}
func (s cursors) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}
func (s *cursors) Push(x any) {
	c := x.(*cursor)
	c.index = len(*s)
	*s = append(*s, c)
}
func (s *cursors) Pop() any {
	last := len(*s) - 1
	c := (*s)[last]
	*s = (*s)[:last]
	return c
}
