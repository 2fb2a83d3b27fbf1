package lines

import (
	"bytes"
	"time"
)

// Bounds of a record.
const (
	MaxRecordLines = 500
	MaxRecord      = 64 << 10 // bytes, with a line break between lines
	// RecordGap is how much later than the line before, or than the record's first line, by
	// the entries' time, a line no longer goes on with it.
	RecordGap = time.Second
	// soon is RecordGap behind a first line that may as well be all of its record: what
	// belongs to it is written with it.
	soon = 200 * time.Millisecond
)

// grouping tells which lines of a stream go on with the one before. It is a pure function
// of the lines and their times, in order.
type grouping struct {
	form    form
	phase   uint8 // of the form
	alone   bool  // the first line may as well be all
	whole   bool  // nothing goes on with it
	behind  bool  // the record began soon behind a plain line
	plain   bool  // the latest line is a record of its own, and a plain one
	headers bool  // traces were behind plain lines, so that any line may go on
	open    int32 // brackets of an object
	lines   int   // of the record that a line may go on with; 0 for none
	size    int   // bytes of it
	first   int64 // time of its first line, in nanoseconds
	last    int64 // time of the latest line, in nanoseconds
}

// start says how a line is known to be the first of its record.
type start uint8

const (
	byForm start = iota
	begins
	continues
)

// next takes a line, and reports whether it goes on with the one before. What may go on
// with it, isOpen tells.
func (g *grouping) next(text []byte, nano int64, how start) (more bool) {
	size, gap := len(text), max(distance(g.last, nano), distance(g.first, nano))
	if g.lines == 0 {
		gap = distance(g.last, nano)
	}
	if size > 0 && text[size-1] == '\r' {
		text = bytes.TrimRight(text, "\r")
	}
	of, alone := anything, false
	if how == byForm {
		if of, alone = plain, true; g.form == plain || g.lines == 0 {
			of, alone = beginning(text)
		}
	}
	fits := g.lines > 0 && g.lines < MaxRecordLines && g.size+1+size <= MaxRecord && gap < uint64(g.wait())
	switch {
	case !fits || how == begins:
	case g.form == plain:
		if more = follows(of, text); more {
			g.become(of, text)
		}
	default:
		more = goesOn[g.form](g, text)
	}
	if more {
		if g.form == trace && g.lines == 1 && g.behind {
			g.headers = true
		}
		g.lines++
		g.size += 1 + size
	} else {
		if how == byForm && g.lines > 0 && g.form != plain {
			of, alone = beginning(text)
		}
		g.behind = g.plain && gap < uint64(soon) && follows(of, text)
		if g.behind && of != trace {
			g.headers = true
		}
		g.alone, g.lines, g.size, g.first = alone, 1, size, nano
		g.become(of, text)
		g.whole = how == continues || of == plain && !g.headers
	}
	g.last = nano
	g.plain = g.form == plain && g.lines == 1
	if g.whole || g.size >= MaxRecord || g.lines >= MaxRecordLines {
		g.close()
	}
	return more
}

// single takes a line that is a plain record by itself, and is false where it may be more.
// It is next for nearly all lines.
func (g *grouping) single(text []byte, nano int64) bool {
	if g.lines > 0 || g.headers {
		return false
	}
	if n := len(text); n > 0 && text[n-1] == '\r' {
		text = bytes.TrimRight(text, "\r")
	}
	if f, _ := beginning(text); f != plain {
		return false
	}
	g.form, g.plain, g.behind, g.alone, g.phase, g.open, g.last = plain, true, false, true, 0, 0, nano
	return true
}

// become has the record be of a form that begins with a line.
func (g *grouping) become(f form, text []byte) {
	g.form, g.phase, g.open, g.whole = f, 0, 0, false
	switch {
	case f == object:
		g.open = brackets(0, text)
	case f == rust && text[len(text)-1] == ':':
		g.phase = rustMessage
	case f == nodeSource:
		g.alone = true
	}
}

// close has nothing go on with the record.
func (g *grouping) close() { g.lines, g.size, g.whole = 0, 0, false }

// isOpen reports whether a line may go on with the latest one.
func (g *grouping) isOpen() bool { return g.lines > 0 }

// wait is how long a line may come behind the latest one that goes on with it.
func (g *grouping) wait() time.Duration {
	if g.alone && g.lines == 1 {
		return soon
	}
	return RecordGap
}

// distance is |a-b|, which may not fit an int64.
func distance(a, b int64) uint64 {
	if a > b {
		a, b = b, a
	}
	return uint64(b) - uint64(a)
}
