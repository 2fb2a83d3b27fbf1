package scan

import (
	"strings"
	"testing"
	"time"

	"logscan/internal/entry"
	"logscan/internal/rule"
)

// A turn whose time is over ends behind the frame or line that took it, however
// few frames those were: 64 of 16 KiB are a whole block.
func TestTurnEndsOnTime(t *testing.T) {
	large := strings.Repeat("x", 16<<10)
	for _, c := range []struct {
		name    string
		entries []entry.Entry
		turns   int // that it takes when each look at the clock finds it late
	}{
		{"large frames", []entry.Entry{{Line: []byte(large)}, {Line: []byte(large)}, {Line: []byte(large)}, {Line: []byte(large)}}, 4},
		{"a long line's short end", []entry.Entry{
			chunk("stdout", "a", large, false), chunk("stdout", "a", "x", true), {Line: []byte("short")}, {Line: []byte("short")},
		}, 3},
		{"short lines", make([]entry.Entry, 2*lookFrames), 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t)
			w := g.container(0)
			defer w.end()
			w.put(c.entries...)
			g.cfg.Journals, g.cfg.Store = g.dir, g.db
			s := New(g.cfg)
			now := time.Unix(0, 1e18)
			s.now = func() time.Time {
				now = now.Add(2 * turnTime)
				return now
			}
			s.SetSnapshot(compile(t, rule.Rule{Pattern: "nothing"}))
			f := s.newFollower(containerID(0))
			defer s.closeJournal(f)
			turns := 1
			for ; s.turn(f) == more; turns++ {
			}
			if turns != c.turns {
				t.Errorf("%d turns, want %d", turns, c.turns)
			}
		})
	}
}
