package correlate

import (
	"sort"

	"logscan/internal/rule"
)

// maxPending is how many matches of a key wait for those that may be before them.
// Beyond, the first of them count as they come.
const maxPending = 1000

// pending is a match that counts once those are known that may be before it.
type pending struct {
	At     int64     `json:"t"`
	Role   rule.Role `json:"r,omitempty"`
	N      int       `json:"n,omitempty"`
	Text   string    `json:"x"`
	Stream string    `json:"s,omitempty"`
	Value  string    `json:"v,omitempty"`
	LineNo uint32    `json:"l,omitempty"` // as a Match's
}

// same reports whether two are of one line.
func (p *pending) same(o *pending) bool {
	return p.At == o.At && p.LineNo == o.LineNo && p.Text == o.Text && p.Stream == o.Stream
}

// later has a match count in its place among those that are about as late.
func (s *state) later(m *rule.Match) {
	at := sort.Search(len(s.pending), func(i int) bool { return s.pending[i].At > m.TimeNano })
	if m.Role == rule.Until && at > 0 && s.pending[at-1].Role == rule.Until { // one ends as much as two
		at--
		s.pending = append(s.pending[:at], s.pending[at+1:]...)
	}
	s.pending = append(s.pending, pending{})
	copy(s.pending[at+1:], s.pending[at:])
	s.pending[at] = pending{m.TimeNano, m.Role, m.N, m.Text, m.Stream, m.Distinct, m.LineNo}
	s.seen = max(s.seen, m.TimeNano)
}

// settled takes the matches that none can be before any more, up to a time.
func (s *state) settled(upTo int64) []pending {
	n := sort.Search(len(s.pending), func(i int) bool { return s.pending[i].At > upTo })
	n = max(n, len(s.pending)-maxPending)
	out := s.pending[:n:n]
	if s.pending = s.pending[n:]; len(s.pending) == 0 {
		s.pending = nil
	}
	return out
}

// noLaterThan has no match be of after a time.
func (s *state) noLaterThan(now int64) {
	for i := range s.pending {
		s.pending[i].At = min(s.pending[i].At, now)
	}
}
