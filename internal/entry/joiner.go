package entry

// Joiner puts the chunks of one stream's long lines together again. Lines that
// are no chunks pass through without a copy. It is bounded: of a line longer
// than Max bytes the first Max are kept, and the rest is dropped.
//
// A line is over at its last chunk, at an entry that is no chunk, at a chunk of
// another line, and at Flush: the Engine never marks the last chunk of a final
// line without a newline.
type Joiner struct {
	Max int // bytes of a line that are kept

	pending   bool
	id        string
	timeNano  int64
	buf       []byte
	truncated bool
}

// Line is a whole line.
type Line struct {
	TimeNano  int64  // of its first chunk
	Text      []byte // valid until the Joiner is used again
	Truncated bool   // longer than Max
}

// Pending reports whether chunks of an unfinished line are held.
func (j *Joiner) Pending() bool { return j.pending }

// Interrupts reports whether e shows that the pending line is over although
// its last chunk never came: Flush it before e is added.
func (j *Joiner) Interrupts(e *Entry) bool {
	return j.pending && (!e.Partial || e.ID != j.id)
}

// Add takes the next entry of the stream, and returns the line that it ends,
// if it ends one.
func (j *Joiner) Add(e *Entry) (Line, bool) {
	if !e.Partial {
		text, cut := e.Line, false
		if len(text) > j.Max {
			text, cut = text[:j.Max], true
		}
		return Line{e.TimeNano, text, cut}, true
	}
	if !j.pending {
		j.pending, j.id, j.timeNano = true, e.ID, e.TimeNano
		j.buf, j.truncated = j.buf[:0], false
	}
	if room := j.Max - len(j.buf); len(e.Line) > room {
		j.buf, j.truncated = append(j.buf, e.Line[:room]...), true
	} else {
		j.buf = append(j.buf, e.Line...)
	}
	if !e.Last {
		return Line{}, false
	}
	return j.Flush()
}

// Flush returns what is held of an unfinished line as if it were whole.
func (j *Joiner) Flush() (Line, bool) {
	if !j.pending {
		return Line{}, false
	}
	j.pending = false
	l := Line{j.timeNano, j.buf, j.truncated}
	if cap(j.buf) > keepBuf {
		j.buf = nil // one long line must not hold memory for ever
	}
	return l, true
}

// keepBuf is the buffer size in bytes that is kept from one long line to the
// next.
const keepBuf = 64 << 10
