package lines

import (
	"io"
	"math"
	"math/bits"
	"time"

	"logscan/internal/entry"
	"logscan/internal/journal"
)

// Line is a whole line, without its newline.
type Line struct {
	Stream   string // "stdout", "stderr", or "other" for what the Engine doesn't have
	TimeNano int64  // of its first chunk
	Text     []byte // valid until the Source is used again
	Cut      bool   // longer than Config.Max
	From, To int64  // from its first frame on, up to behind its last; frames of other streams may lie between
	Torn     bool   // its first frame may not be the line's first: reading began behind that, or it is lost
}

// Config is a Source's.
type Config struct {
	Max int           // bytes of a line that are kept; 1 MiB
	Gap time.Duration // by the entries' time, after which the other stream ends an unfinished line; 10 s
	// Patient has a disk that fails tried again for a while: Fill returns the error.
	Patient bool
	// Aside leaves memory to others, as a journal.Reader's.
	Aside bool
}

const (
	defaultMax = 1 << 20
	defaultGap = 10 * time.Second
)

// Source gives a journal's lines in the order in which they end. One goroutine
// uses it at a time.
type Source struct {
	Skipped   int64 // bytes that the journal no longer had, or that could not be read; for the caller to reset
	Malformed int64 // entries that could not be decoded; likewise

	j     *journal.Journal
	r     *journal.Reader
	block []byte // frames from off on
	off   int64

	filled  []byte // block as it was filled
	skimmed bool   // a Finder has been told it

	ends    uint64 // of j's attachments, taken into account
	ended   uint64 // of them, as of the latest block
	endedAt int64  // where the last of these was; never for none that is still to come
	passed  int64  // one that TakeEnd tells; 0 for none

	assembler
}

// never is an offset that no journal has.
const never = math.MaxInt64

// New returns the source of j's lines from p on. j belongs to the caller, who
// closes the source before it.
func New(j *journal.Journal, p Position, cfg Config) *Source {
	s := &Source{j: j, r: j.NewReader(p.Start()), endedAt: never}
	s.r.Patient, s.r.Aside = cfg.Patient, cfg.Aside
	s.off = p.Start()
	s.assembler.init(cfg, p)
	return s
}

// Restart has the source go on from p on, anywhere in the journal, as a new one would.
func (s *Source) Restart(p Position) {
	s.r.GoTo(p.Start())
	s.block, s.off = nil, p.Start()
	s.ends, s.ended, s.endedAt, s.passed = 0, 0, never, 0
	s.assembler.init(Config{Max: s.max, Gap: time.Duration(s.gap)}, p)
}

// Close releases the source's file and memory.
func (s *Source) Close() { s.r.Close() }

// Next returns the next line, or io.EOF at the journal's present end: it may be
// called again when that has grown.
func (s *Source) Next() (Line, error) {
	for {
		for {
			l, more := s.Step()
			if l != nil {
				return *l, nil
			}
			if !more {
				break
			}
		}
		if err := s.Fill(); err == io.EOF {
			if l, _ := s.Step(); l != nil {
				return *l, nil
			}
			return Line{}, err
		} else if err != nil {
			return Line{}, err
		}
	}
}

// Fill reads the next frames, at the journal's present end none: io.EOF. Either
// way Step tells what comes of it. All of the block before has to be stepped
// through, or released.
func (s *Source) Fill() error {
	st := s.j.State() // before the block: what ended has been written
	from := s.r.Offset()
	block, off, err := s.r.Next()
	if err != nil && err != io.EOF {
		return err
	}
	if birth := s.j.State().Birth; s.next < birth {
		// It was empty, and began with its first line: nothing was there before.
		from, s.next = max(from, birth), birth
	}
	if off > from && off > s.next {
		// Retention was faster, or the disk has damaged what was here, maybe up
		// to the very end: unfinished lines have lost their rest.
		s.Skipped += off - s.next
		s.endBefore(off)
		s.next = off
	}
	s.block, s.off = block, off
	s.filled, s.skimmed = block, false
	if st.Ends > s.ends {
		s.ended, s.endedAt = st.Ends, st.LastEnd
	}
	return err
}

// Step goes on by a frame, and returns the line that is whole with it, if one is.
// It is false where the block is used up.
func (s *Source) Step() (line *Line, more bool) {
	if s.due != 0 || s.off >= s.endedAt {
		if line := s.stepEnds(); line != nil {
			return line, true
		}
	}
	if len(s.block) == 0 {
		return nil, false
	}
	frame, rest, err := entry.Next(s.block)
	if err != nil { // the reader gives whole frames
		s.Malformed++
		s.off += int64(len(s.block))
		s.next = max(s.next, s.off)
		s.block = nil
		return nil, false
	}
	to := s.off + int64(len(frame))
	var e entry.Entry
	switch err := entry.Decode(frame[entry.HeaderLen:], &e); {
	case err != nil && s.off >= s.next:
		s.Malformed++
	case err != nil:
	case s.off < s.next:
		s.replay(s.off, to, &e)
	case s.oldest != never && s.interrupts(s.off, &e):
		return s.endDue(), true // the frame's turn comes after that
	default:
		line = s.add(s.off, to, &e)
	}
	s.off = to
	s.next = max(s.next, to)
	s.block = rest
	return line, true
}

// stepEnds ends one of the lines that are to be ended before the next frame.
func (s *Source) stepEnds() *Line {
	if s.off >= s.endedAt && s.off >= s.next {
		s.endBefore(s.endedAt)
		s.ends, s.endedAt, s.passed = s.ended, never, s.endedAt
	}
	if s.due != 0 {
		return s.endDue()
	}
	return nil
}

// TakeEnd returns where attachments of the journal have ended, once all lines from before
// that are given; not ok where there is no such place since it was last called.
func (s *Source) TakeEnd() (at int64, ok bool) {
	if s.passed == 0 || s.due != 0 {
		return 0, false
	}
	at, s.passed = s.passed, 0
	return at, true
}

// Release gives back the memory of the block; what wasn't stepped through comes
// with the next Fill.
func (s *Source) Release() {
	s.block = nil
	s.r.SetOffset(s.off)
	s.r.Release()
}

// End has Step give all unfinished lines as they are.
func (s *Source) End() { s.endBefore(never) }

// Offset is where the next frame to be read begins.
func (s *Source) Offset() int64 { return s.off }

// Taken is behind the frames that are in lines that were given, or unfinished.
func (s *Source) Taken() int64 { return s.next }

// Replaying reports whether what was read last lies before the position from
// which the source began. Until that is over it has no position of its own:
// lines that were unfinished there would lose their beginning.
func (s *Source) Replaying() bool { return s.off < s.next }

// Unfinished reports whether a line has begun.
func (s *Source) Unfinished() bool { return s.oldest != never }

// UnfinishedTo reports whether a line has begun of which nothing, so far, lies behind an
// offset: what comes may end it there.
func (s *Source) UnfinishedTo(off int64) bool {
	for i := range s.streams {
		if st := &s.streams[i]; st.joiner.Pending() && st.end <= off {
			return true
		}
	}
	return false
}

// Position is where a source goes on whose lines follow those that this one has
// given.
func (s *Source) Position() Position { return s.position() }

// endDue ends one of the lines that are due.
func (s *Source) endDue() *Line {
	i := bits.TrailingZeros8(s.due)
	s.due &^= 1 << i
	return s.end(i)
}
