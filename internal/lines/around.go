package lines

import (
	"bytes"
	"io"
	"slices"
	"time"

	"logscan/internal/journal"
)

// Place is where a record lies in a journal.
type Place struct {
	Stream   string
	From, To int64 // from its first frame on, up to behind its last
	TimeNano int64 // of the line that matters
}

// PlaceAt returns the place in a journal of the line of a stream that was written at a
// time; where there is none, or the stream is "", an empty one, behind what was written up
// to then.
func PlaceAt(j *journal.Journal, stream string, nano int64) (Place, error) {
	p := Place{Stream: stream, TimeNano: nano}
	start, err := j.SeekTime(nano)
	if err != nil {
		return p, err
	}
	src := New(j, Position{Next: start}, Config{Max: 1})
	defer src.Close()
	for src.Offset() < start+farthest {
		l, err := src.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return p, err
		}
		if l.TimeNano > nano {
			p.From, p.To = l.From, l.From
			return p, nil
		}
		if l.TimeNano == nano && l.Stream == stream {
			p.From, p.To = l.From, l.To
			return p, nil
		}
	}
	p.From, p.To = src.Offset(), src.Offset()
	return p, nil
}

// ReadTimes returns copies of lines of a journal that were written between two times, both
// included: those next to a time between them, so many before it and behind, each up to so
// many bytes. It reads a bounded part of the journal.
func ReadTimes(j *journal.Journal, since, at, until int64, want Surroundings) ([]Line, error) {
	p, err := PlaceAt(j, "", at)
	if err != nil {
		return nil, err
	}
	want.Within, want.Last = time.Duration(until-at), true
	around, err := ReadAround(j, p, want)
	in := func(l Line) bool { return l.TimeNano < since || l.TimeNano > until }
	return slices.DeleteFunc(append(around.Before, around.After...), in), err
}

// Surroundings is how much is wanted around a record.
type Surroundings struct {
	Before, After int           // lines
	Within        time.Duration // after it, by the lines' times
	Bytes         int           // of each part, of which the lines are given that are next to the record
	Max           int           // bytes of a line
	// Last says that no more is waited for: a line that doesn't end is one.
	Last bool
}

// Around is what lies around a record: copies of lines, in the order in which they begin.
type Around struct {
	Before []Line
	At     []Line // the record's, and those of other streams between
	After  []Line
	Whole  bool // nothing can come any more that would be in After
}

// How much of a journal is read.
const (
	nearby   = 64 << 10 // before a record, at first
	farthest = 1 << 20  // before it, and behind it
)

// ReadAround returns what lies around a record in a journal. It depends on the journal's
// frames alone, and reads a bounded part of them, from an index point on.
func ReadAround(j *journal.Journal, p Place, want Surroundings) (Around, error) {
	for back := int64(nearby); ; back *= 4 {
		first, _ := j.Bounds()
		start := first
		if want.Before > 0 || p.From < first {
			start = j.SeekOffset(p.From - back)
		} else {
			start = j.SeekOffset(p.From)
		}
		around, all, err := readAround(j, start, p, want)
		if err != nil || all || want.Before == 0 || start <= first || back >= farthest {
			return around, err
		}
	}
}

// readAround reads from an offset on, and reports whether there were as many lines before
// the record as are wanted.
func readAround(j *journal.Journal, start int64, p Place, want Surroundings) (out Around, all bool, err error) {
	first, _ := j.Bounds()
	src := New(j, Position{Next: start}, Config{Max: want.Max})
	defer src.Close()
	before := nearest{most: want.Before, bytes: want.Bytes}
	at, after := want.Bytes, want.Bytes
	take := func(l *Line) (more bool) {
		switch {
		case l.Torn && start > first && l.From < p.From: // it may begin before what is read
		case l.From < p.From:
			before.add(l)
		case l.From < p.To:
			if at -= len(l.Text) + 1; at >= 0 || len(out.At) == 0 {
				out.At = insert(out.At, l)
			}
		case l.TimeNano > p.TimeNano && l.TimeNano-p.TimeNano > int64(want.Within):
			return false
		case len(out.After) < want.After:
			if after -= len(l.Text) + 1; after < 0 && len(out.After) > 0 {
				return false
			}
			out.After = insert(out.After, l)
		}
		return len(out.After) < want.After || src.Offset() < p.To
	}
	for src.Offset() < p.To+farthest {
		l, err := src.Next()
		if err == io.EOF {
			if !want.Last {
				out.Before, all = before.lines, before.full
				return out, all, nil
			}
			src.End()
			for l, more := src.Step(); l != nil && take(l) && more; l, more = src.Step() {
			}
			break
		}
		if err != nil {
			return out, false, err
		}
		if !take(&l) {
			break
		}
	}
	out.Before, all, out.Whole = before.lines, before.full, true
	return out, all, nil
}

// insert has a line be among others in the order in which they begin, copied.
func insert(lines []Line, l *Line) []Line {
	c := *l
	c.Text = bytes.Clone(l.Text)
	at := len(lines)
	for at > 0 && lines[at-1].From > l.From {
		at--
	}
	lines = append(lines, Line{})
	copy(lines[at+1:], lines[at:])
	lines[at] = c
	return lines
}

// nearest keeps the last lines.
type nearest struct {
	most, bytes int
	lines       []Line
	size        int
	full        bool // there were more
}

func (n *nearest) add(l *Line) {
	if n.most == 0 {
		n.full = true
		return
	}
	n.lines = insert(n.lines, l)
	n.size += len(l.Text) + 1
	for len(n.lines) > 1 && n.size > n.bytes || len(n.lines) > n.most {
		n.size -= len(n.lines[0].Text) + 1
		n.lines = n.lines[1:]
		n.full = true
	}
	n.full = n.full || len(n.lines) == n.most
}
