package query

import (
	"math"
	"slices"

	"logscan/internal/lines"
	"logscan/internal/rule"
)

// How much of a log is read to find the record of a line, in bytes before it and behind: a
// record is no longer than lines.MaxRecord, and what stands before it tells how it begins.
const (
	recordBefore = 2 * lines.MaxRecord
	recordBehind = 3 * lines.MaxRecord / 2
)

// extent is where a record lies, which is of one stream.
type extent struct {
	stream   string
	from, to int64
}

func (e *extent) has(l *Line) bool {
	return l.Stream == e.stream && l.To > e.from && l.To <= e.to
}

// widen has a hit be the record that its line lies in, and reports whether that was given
// before, for another of its lines.
func (s *search) widen(c *cursor, h *Hit) (again bool, err error) {
	if c.record.has(&h.Line) {
		return true, nil
	}
	if h.Record, err = s.record(c, h); err != nil {
		return false, err
	}
	c.record = extent{h.Stream, h.Record[0].From, h.Record[len(h.Record)-1].To}
	if s.from == nil {
		return false, nil
	}
	// An earlier page may have had it: that ended at s.from.
	p := place{math.MinInt64, c.container.ID, 0}
	for i := range h.Record {
		l := &h.Record[i]
		p.key, p.to = max(p.key, l.TimeNano), l.To
		was := !p.before(*s.from)
		if s.oldest {
			was = !s.from.before(p)
		}
		if s.from.id == p.id {
			was = l.To == s.from.to || (l.To < s.from.to) == s.oldest
		}
		if was && l.To != h.to && s.wants(l) {
			return true, nil
		}
	}
	return false, nil
}

// wants reports whether a line is one that is looked for.
func (s *search) wants(l *Line) bool {
	return s.span.has(l.TimeNano) && (s.Stream == rule.Streams[0] || l.Stream == s.Stream) && s.match.Match(&s.state, rule.Line{Stream: l.Stream, TimeNano: l.TimeNano, Text: l.Text})
}

// record returns the lines of the record that a hit lies in, by their form.
func (s *search) record(c *cursor, h *Hit) (found []Line, err error) {
	if s.open(s.journals, c.container.ID) != nil {
		return []Line{h.Line}, nil // it is gone, or the disk fails
	}
	first, _ := s.journal.Bounds()
	var near []lines.Line
	s.stop = h.to + recordBehind
	if err := s.reading.from(s.src, s.journal.Boundary(max(first, h.From-recordBefore)), noSkim, func(l *lines.Line) error {
		if l.Stream != h.Stream || l.To > c.all[len(c.all)-1].to {
			return nil
		}
		line := *l
		line.Text = slices.Clone(l.Text)
		near = append(near, line)
		if l.To > h.to && l.TimeNano > h.TimeNano && uint64(l.TimeNano)-uint64(h.TimeNano) > uint64(2*lines.RecordGap) {
			s.stop = 0
		}
		return nil
	}, func(int64, int64) {}); err != nil {
		return nil, err
	}
	// What traces there look like tells what belongs to the first of them, too.
	var records lines.Records
	for range 2 {
		found = nil
		take := func(r *lines.Record) {
			if !slices.ContainsFunc(r.Lines, func(l lines.Line) bool { return l.To == h.to }) {
				return
			}
			for i := range r.Lines {
				found = append(found, lineOf(&r.Lines[i], len(r.Lines[i].Text)))
			}
		}
		for i := range near {
			records.Add(&near[i], nil, take)
		}
		records.End(math.MaxInt64, take)
	}
	if len(found) == 0 {
		return []Line{h.Line}, nil
	}
	return found, nil
}
