package lines

import (
	"logscan/internal/entry"
)

// streams are told apart; the last stands for those that the Engine doesn't have.
var streams = [...]string{"stdout", "stderr", "other"}

func streamIndex(name string) int {
	switch name {
	case "stdout":
		return 0
	case "stderr":
		return 1
	}
	return 2
}

// assembler makes lines of a container's entries, each stream for itself.
type assembler struct {
	max     int   // bytes of a line
	span    int64 // bytes of journal that an unfinished line may reach over
	gap     uint64
	next    int64 // behind the entries that it had
	clock   int64 // time of the latest entry that goes on no earlier one
	oldest  int64 // where the first unfinished line begins; never if there is none
	due     uint8 // streams, by bit, whose unfinished line is to be ended
	line    Line  // the last
	streams [len(streams)]stream
}

type stream struct {
	joiner entry.Joiner
	start  int64 // offset of the unfinished line's first entry
	end    int64 // behind its last
	size   int   // bytes of it so far
	grown  int64 // the clock, when it last grew
	torn   bool  // its first entry may go on an earlier one

	skipping bool // the rest of a line that was too long
	skipID   string
}

func (a *assembler) init(cfg Config, p Position) {
	if cfg.Max <= 0 {
		cfg.Max = defaultMax
	}
	if cfg.Gap <= 0 {
		cfg.Gap = defaultGap
	}
	*a = assembler{
		max: cfg.Max, span: max(16<<20, 4*int64(cfg.Max)), gap: uint64(cfg.Gap),
		next: p.Next, clock: p.Clock, oldest: never,
	}
	for i := range a.streams {
		a.streams[i].joiner.Max = cfg.Max
		a.streams[i].start = p.Next // replays nothing
	}
	for _, u := range p.Streams {
		s := &a.streams[streamIndex(u.Stream)]
		if u.Skipping {
			s.skipping, s.skipID = true, u.ID
		} else {
			s.start, s.grown = u.Start, u.Grown
		}
	}
}

func (a *assembler) position() Position {
	p := Position{Next: a.next}
	for i := range a.streams {
		switch s := &a.streams[i]; {
		case s.skipping:
			p.Streams = append(p.Streams, Unfinished{Stream: streams[i], Skipping: true, ID: s.skipID})
		case s.joiner.Pending():
			p.Streams = append(p.Streams, Unfinished{Stream: streams[i], Start: s.start, Grown: s.grown})
			p.Clock = a.clock
		}
	}
	return p
}

// interrupts finds the lines that the entry at offset off shows to be over, or
// that have lasted long enough. They are to be ended before it is added.
func (a *assembler) interrupts(off int64, e *entry.Entry) bool {
	if off-a.oldest > a.span {
		// A position can't go behind an unfinished line: without this, a prompt
		// on stderr would have gigabytes of stdout read again and again.
		a.endBefore(off - a.span)
	}
	own := streamIndex(e.Source)
	if a.streams[own].joiner.Interrupts(e) {
		a.due |= 1 << own
	}
	for i := range a.streams {
		// Chunks bear the time of their line's beginning: only what another
		// stream writes shows how late it is.
		s := &a.streams[i]
		if i != own && s.joiner.Pending() && e.TimeNano > s.grown && uint64(e.TimeNano)-uint64(s.grown) >= a.gap {
			a.due |= 1 << i
		}
	}
	return a.due != 0
}

// add takes the entry that lies from offset off to to, and returns the line that
// it completes, if it does.
func (a *assembler) add(off, to int64, e *entry.Entry) *Line {
	i := streamIndex(e.Source)
	s := &a.streams[i]
	if !e.Partial && !s.skipping { // as nearly all are; none is pending, or it would have been interrupted
		text := e.Line
		if len(text) > a.max {
			text = text[:a.max]
		}
		a.clock = e.TimeNano
		a.line = Line{streams[i], e.TimeNano, text, len(text) < len(e.Line), off, to, false}
		return &a.line
	}
	if s.skipping {
		if e.Partial && clipID(e.ID) == s.skipID {
			s.skipping = !e.Last
			return nil
		}
		s.skipping = false
	}
	from := off
	if e.Partial {
		if !s.joiner.Pending() {
			a.begin(s, off, e)
			a.clock = e.TimeNano
		}
		from = s.start
		s.grew(e, to, a.clock)
	} else {
		a.clock = e.TimeNano
	}
	if l, ok := s.joiner.Add(e); ok {
		a.findOldest()
		return a.give(i, l, from, to)
	}
	if s.size > a.max {
		s.skipping, s.skipID = true, clipID(e.ID)
		return a.end(i)
	}
	return nil
}

// replay takes an entry that add had already when the position was made: it can
// only be a part of a line that was unfinished then.
func (a *assembler) replay(off, to int64, e *entry.Entry) {
	s := &a.streams[streamIndex(e.Source)]
	if off < s.start || !e.Partial || s.skipping || s.joiner.Interrupts(e) {
		return
	}
	if !s.joiner.Pending() {
		if off != s.start {
			return // its beginning is gone
		}
		a.begin(s, off, e)
	}
	s.grew(e, to, s.grown)
	s.joiner.Add(e)
}

func (a *assembler) begin(s *stream, off int64, e *entry.Entry) {
	s.start, s.size, s.torn = off, 0, !e.HasMeta || e.Ordinal != 1
	a.oldest = min(a.oldest, off)
}

func (s *stream) grew(e *entry.Entry, to, clock int64) {
	s.size += len(e.Line)
	s.end, s.grown = to, clock
}

func (a *assembler) findOldest() {
	a.oldest = never
	for i := range a.streams {
		if s := &a.streams[i]; s.joiner.Pending() {
			a.oldest = min(a.oldest, s.start)
		}
	}
}

// endBefore has the lines ended that began before off.
func (a *assembler) endBefore(off int64) {
	for i := range a.streams {
		if s := &a.streams[i]; s.joiner.Pending() && s.start < off {
			a.due |= 1 << i
		}
	}
}

// end ends a stream's unfinished line.
func (a *assembler) end(i int) *Line {
	s := &a.streams[i]
	l, ok := s.joiner.Flush()
	if !ok {
		return nil
	}
	a.findOldest()
	return a.give(i, l, s.start, s.end)
}

func (a *assembler) give(i int, l entry.Line, from, to int64) *Line {
	a.line = Line{Stream: streams[i], TimeNano: l.TimeNano, Text: l.Text, Cut: l.Truncated, Torn: a.streams[i].torn, From: from, To: to}
	return &a.line
}

// clipID bounds what a position keeps of a line's id.
func clipID(id string) string { return id[:min(len(id), maxID)] }
