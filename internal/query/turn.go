package query

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"time"

	"logscan/internal/journal"
	"logscan/internal/lines"
	"logscan/internal/rule"
)

// advance looks at a container's next blocks, or finds out which these are.
func (s *search) advance(c *cursor) error {
	if err := s.tell(); err != nil {
		return err
	}
	done, err := s.pool.turn(s.ctx)
	if err != nil {
		return err
	}
	defer done()
	return s.turn(c)
}

// tell has what was given be shown before more is read. No journal is held meanwhile, since
// whoever is told may be slow; nor is one for long.
func (s *search) tell() error {
	s.letGo()
	if s.given && time.Since(s.shown) > showEvery {
		s.close()
		if s.out.Wait != nil {
			if err := s.out.Wait(); err != nil {
				return err
			}
		}
		s.given, s.shown = false, time.Now()
	}
	if s.out.Progress == nil || time.Since(s.told) < tellEvery {
		return nil
	}
	s.told = time.Now()
	s.done.Hits = s.sum.Hits
	s.close()
	return s.out.Progress(s.done)
}

// turn is what advance does of its own.
func (s *search) turn(c *cursor) error {
	left := c.size()
	defer func() { s.done.Bytes += left - c.size() }()
	if err := s.open(s.journals, c.container.ID); err != nil {
		if !errors.Is(err, journal.ErrNotFound) {
			s.sum.Unreadable++
		}
		s.skipped += left
		c.segments, c.blocks, c.evicted = nil, nil, nil
		return nil
	}
	if len(c.blocks) == 0 {
		next := c.pop()
		blocks, ok := s.journal.Blocks(next.at, s.has.blocks)
		if !ok {
			s.skipped += next.to - next.at
		}
		c.unfold(next, blocks, s.ahead)
		return nil
	}
	return s.look(c)
}

// look looks at the next blocks for hits.
func (s *search) look(c *cursor) error {
	blocks := c.take()
	c.evicted = nil
	for i := range blocks {
		s.sum.Bytes += blocks[i].to - blocks[i].after
	}
	g := gathered{search: s, cursor: c, blocks: blocks}
	passed, err := s.each(blocks, s.has.frames, g.line)
	s.sum.Lines += passed
	for _, n := range s.state.TakeCounts() {
		s.sum.Undecided += n.GivenUp
	}
	if s.ctx.Err() != nil {
		return s.ctx.Err()
	}
	if err != nil { // the disk fails; what was found before is right
		s.skipped += blocks[len(blocks)-1].to - max(blocks[0].after, s.src.Offset())
	}
	g.finish()
	c.width = s.widthLeast
	if len(c.hits) == 0 {
		c.width = min(2*len(blocks), widthMost)
	}
	return nil
}

// gathered is what was found in some blocks.
type gathered struct {
	*search
	cursor *cursor
	blocks []block
	hits   []Hit
	bytes  int

	// Where there is too much, what lies, in the order wanted, behind an offset is left for
	// another turn.
	cut    bool
	cutAt  int64
	cutKey int64
}

// line looks at a line of a block.
func (g *gathered) line(l *lines.Line, of int) error {
	g.sum.Lines++
	b := &g.blocks[of]
	at := max(l.TimeNano, b.before)
	if !g.span.has(at) || g.Stream != rule.Streams[0] && l.Stream != g.Stream {
		return nil
	}
	if !g.match.Match(&g.state, rule.Line{Stream: l.Stream, TimeNano: l.TimeNano, Text: l.Text}) {
		return nil
	}
	if g.Show != Lines {
		g.counted++
		return nil
	}
	if g.cut && (l.To > g.cutAt) == g.oldest {
		return nil
	}
	g.hits = append(g.hits, Hit{Line: lineOf(l, len(l.Text)), Container: &g.cursor.container, place: place{at, g.cursor.container.ID, l.To}})
	if g.bytes += hitSize + len(l.Text); g.bytes > g.turnMost && len(g.hits) > 1 {
		g.shorten()
	}
	return nil
}

// lineOf copies a line, up to most bytes of its text.
func lineOf(l *lines.Line, most int) Line {
	text := bytes.TrimRight(l.Text, "\r")
	short := text[:min(len(text), most)]
	return Line{Stream: l.Stream, TimeNano: l.TimeNano, Text: bytes.Clone(short), Cut: l.Cut || len(short) < len(text), From: l.From, To: l.To}
}

// shorten leaves half of the hits for another turn: the later ones in the order wanted.
func (g *gathered) shorten() {
	g.assign()
	half := len(g.hits) / 2
	left := g.hits[:half]
	if g.oldest {
		left, g.hits = g.hits[half:], left
		g.cutAt, g.cutKey = g.hits[half-1].to, g.hits[half-1].key
		g.stop = g.cutAt
	} else {
		g.hits = slices.Clone(g.hits[half:])
		g.cutAt, g.cutKey = left[half-1].to, left[half-1].key
	}
	g.cut = true
	for i := range left {
		g.bytes -= hitSize + len(left[i].Text)
	}
	clear(left)
}

// assign sorts hits by where they end, and has the time of each be no less than that of one
// before it in its block.
func (g *gathered) assign() {
	byPlace := func(a, b Hit) int { return cmp.Compare(a.to, b.to) }
	if !slices.IsSortedFunc(g.hits, byPlace) {
		slices.SortFunc(g.hits, byPlace)
	}
	of := -1
	var run int64
	for i := range g.hits {
		h := &g.hits[i]
		for of < 0 || h.to > g.blocks[of].to {
			of++
			run = g.blocks[of].run
			if b := &g.blocks[of]; g.cut && !g.oldest && g.cutAt > b.at && g.cutAt <= b.to {
				run = g.cutKey
			}
		}
		run = max(run, h.key)
		h.key = run
	}
}

// finish hands the hits to the cursor, without those that were given before.
func (g *gathered) finish() {
	g.assign()
	if g.cut {
		g.cursor.putBack(g.cutAt, g.cutKey)
	}
	if g.from != nil {
		g.hits = slices.DeleteFunc(g.hits, func(h Hit) bool {
			if g.oldest {
				return !g.from.before(h.place)
			}
			return !h.place.before(*g.from)
		})
	}
	if !g.oldest {
		slices.Reverse(g.hits)
	}
	c := g.cursor
	c.hits, c.bytes = g.hits, 0
	for i := range c.hits {
		c.bytes += hitSize + len(c.hits[i].Text)
	}
	g.waiting += c.bytes
}

// surround finds the lines before and behind a hit.
func (s *search) surround(c *cursor, h *Hit) (err error) {
	if s.open(s.journals, c.container.ID) != nil {
		return nil // it is gone, or the disk fails: there are none
	}
	begin, end := h.to, h.to
	if len(h.Record) > 0 {
		begin, end = h.Record[0].To, h.Record[len(h.Record)-1].To
	}
	if s.Request.Before > 0 {
		if h.Before, err = s.linesBefore(begin, s.Request.Before); err != nil {
			return err
		}
	}
	if s.Request.After > 0 {
		h.After, err = s.linesAfter(end, c.all[len(c.all)-1].to, s.Request.After)
	}
	return err
}

// linesBefore returns the last n lines that end before an offset.
func (s *search) linesBefore(to int64, n int) (out []Line, err error) {
	first, _ := s.journal.Bounds()
	for to--; len(out) < n && to > first; {
		at := s.journal.Boundary(to - 1)
		if at >= to {
			break
		}
		var part []Line
		if _, err := s.each([]block{{at: at, after: at, to: to}}, nil, func(l *lines.Line, _ int) error {
			if len(part) == 2*n {
				slices.SortFunc(part, byEnd)
				part = slices.Delete(part, 0, n)
			}
			part = append(part, lineOf(l, maxContextText))
			return nil
		}); err != nil {
			return nil, err
		}
		slices.SortFunc(part, byEnd)
		out = append(part[max(0, len(part)-(n-len(out))):], out...)
		to = at
	}
	return out, nil
}

// linesAfter returns the first n lines that end behind an offset, and up to another.
func (s *search) linesAfter(from, to int64, n int) (out []Line, err error) {
	if from >= to {
		return nil, nil
	}
	_, err = s.each([]block{{at: s.journal.Boundary(from), after: from, to: to}}, nil, func(l *lines.Line, _ int) error {
		out = append(out, lineOf(l, maxContextText))
		if len(out) == n {
			s.stop = slices.MaxFunc(out, byEnd).To
		}
		return nil
	})
	slices.SortFunc(out, byEnd)
	return out[:min(n, len(out))], err
}

func byEnd(a, b Line) int { return cmp.Compare(a.To, b.To) }
