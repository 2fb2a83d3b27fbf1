package lines

import "logscan/internal/entry"

// Finder says where in frames there may be lines that are wanted, as match.Finder does: it
// is told the frames by Begin, and From returns the first place at or behind one where
// begins what all such lines have; the length of the frames where there is none.
type Finder interface {
	Begin(frames []byte)
	From(at int) int
}

// Skim passes over the next frames that begin before an offset, as far as each is a line by
// itself that isn't wanted, and returns how many these were. Step goes on behind them.
func (s *Source) Skim(f Finder, before int64) (passed int64) {
	if len(s.block) == 0 || s.due != 0 || s.oldest != never || s.off < s.next || s.skips() {
		return 0
	}
	if !s.skimmed {
		f.Begin(s.filled)
		s.skimmed = true
	}
	before = min(before, s.endedAt)
	at := len(s.filled) - len(s.block)
	found := f.From(at)
	for s.off < before {
		frame, rest, err := entry.Next(s.block)
		if at += len(frame); err != nil || at > found {
			break
		}
		if _, _, plain := entry.Plain(frame[entry.HeaderLen:]); !plain {
			break
		}
		s.off += int64(len(frame))
		s.block = rest
		passed++
	}
	s.next = s.off
	return passed
}

// skips reports whether the rest of a line is passed over that was too long.
func (a *assembler) skips() bool {
	for i := range a.streams {
		if a.streams[i].skipping {
			return true
		}
	}
	return false
}
