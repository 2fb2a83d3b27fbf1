package scan

import (
	"math"
	"time"

	"logscan/internal/entry"
)

// other stands for streams that the Engine doesn't have.
const other = "other"

var sources = [...]string{"stdout", "stderr", other}

func sourceIndex(source string) int {
	switch source {
	case "stdout":
		return 0
	case "stderr":
		return 1
	}
	return 2
}

// assembler makes lines of a container's entries, each stream for itself. What
// it does depends on the entries and their offsets alone, but for flushes.
type assembler struct {
	max     int   // bytes of a line
	span    int64 // bytes of journal that an unfinished line may reach over
	emit    func(source string, l entry.Line)
	now     time.Time // of the present turn
	oldest  int64     // where the first unfinished line begins; MaxInt64 if there is none
	streams [len(sources)]stream
}

type stream struct {
	joiner entry.Joiner
	start  int64     // offset of the unfinished line's first entry
	size   int       // bytes of it so far
	grown  time.Time // when it last grew

	skipping bool // the rest of a line that was too long
	skipID   string
}

func newAssembler(maxLine int, emit func(string, entry.Line)) *assembler {
	a := &assembler{max: maxLine, span: max(16<<20, 4*int64(maxLine)), emit: emit, oldest: math.MaxInt64}
	for i := range a.streams {
		a.streams[i].joiner.Max = maxLine
	}
	return a
}

// add takes the entry at offset off.
func (a *assembler) add(off int64, e *entry.Entry) {
	if off-a.oldest > a.span {
		// A cursor can't go behind an unfinished line: without this, a prompt
		// on stderr would have gigabytes of stdout read again and again.
		a.flushBefore(off - a.span)
	}
	i := sourceIndex(e.Source)
	s := &a.streams[i]
	if !e.Partial && !s.skipping && !s.joiner.Pending() { // as nearly all are
		l, _ := s.joiner.Add(e)
		a.emit(sources[i], l)
		return
	}
	if s.skipping {
		if e.Partial && clipID(e.ID) == s.skipID {
			s.skipping = !e.Last
			return
		}
		s.skipping = false
	}
	if s.joiner.Interrupts(e) {
		a.flush(i)
	}
	if e.Partial && !s.joiner.Pending() {
		a.begin(s, off)
	}
	s.size += len(e.Line)
	s.grown = a.now
	if l, ok := s.joiner.Add(e); ok {
		a.ended(e.Partial)
		a.emit(sources[i], l)
		return
	}
	if s.size > a.max {
		a.flush(i)
		s.skipping, s.skipID = true, clipID(e.ID)
	}
}

// replay takes an entry that add had already when the cursor was made: it can
// only be a part of a line that was unfinished then.
func (a *assembler) replay(off int64, e *entry.Entry) {
	s := &a.streams[sourceIndex(e.Source)]
	if off < s.start || !e.Partial || s.skipping || s.joiner.Interrupts(e) {
		return
	}
	if !s.joiner.Pending() {
		if off != s.start {
			return // its beginning is gone
		}
		a.begin(s, off)
	}
	s.size += len(e.Line)
	s.grown = a.now
	s.joiner.Add(e)
}

func (a *assembler) begin(s *stream, off int64) {
	s.start, s.size = off, 0
	a.oldest = min(a.oldest, off)
}

// ended finds the oldest unfinished line when one has ended.
func (a *assembler) ended(partial bool) {
	if !partial {
		return
	}
	a.oldest = math.MaxInt64
	for i := range a.streams {
		if s := &a.streams[i]; s.joiner.Pending() {
			a.oldest = min(a.oldest, s.start)
		}
	}
}

// flush ends a stream's unfinished line.
func (a *assembler) flush(i int) {
	l, ok := a.streams[i].joiner.Flush()
	if ok {
		a.ended(true)
		a.emit(sources[i], l)
	}
}

// flushBefore ends the lines that began before off.
func (a *assembler) flushBefore(off int64) (flushed bool) {
	for i := range a.streams {
		if s := &a.streams[i]; s.joiner.Pending() && s.start < off {
			a.flush(i)
			flushed = true
		}
	}
	return flushed
}

// flushIdle ends the lines that haven't grown for d.
func (a *assembler) flushIdle(d time.Duration) (flushed bool) {
	for i := range a.streams {
		if s := &a.streams[i]; s.joiner.Pending() && a.now.Sub(s.grown) >= d {
			a.flush(i)
			flushed = true
		}
	}
	return flushed
}

// pending reports whether there is an unfinished line.
func (a *assembler) pending() bool { return a.oldest != math.MaxInt64 }

// clipID bounds what a cursor keeps of a line's id.
func clipID(id string) string { return id[:min(len(id), maxID)] }
