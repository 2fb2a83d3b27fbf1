package correlate

import (
	"fmt"

	"logscan/internal/rule"
)

// change is what is kept of a key of a rule of kind change.
type change struct {
	Value string `json:"v"`
	At    int64  `json:"t"` // since when
}

func (e *Engine) matchChange(rs *ruleState, s *state, m *rule.Match) {
	s.later(m)
	e.passChange(rs, s, s.seen-slack)
}

// passChange has the matches up to a time count.
func (e *Engine) passChange(rs *ruleState, s *state, upTo int64) {
	for _, p := range s.settled(upTo) {
		was := s.change
		if was != nil && was.Value == p.Value {
			continue
		}
		s.change = &change{p.Value, p.At}
		if was == nil {
			continue // the first one
		}
		e.hit(rs, s, Hit{
			TimeNano: p.At, Line: p.Text, Stream: p.Stream, LineTime: p.At, Since: was.At, Matches: 1,
			Text: fmt.Sprintf("%s is %.128q, and was %.128q%s: %s", rs.rule.Field, p.Value, was.Value, s.of(), p.Text),
		})
	}
}

func (s *state) dueChange(*ruleState) int64 {
	if len(s.pending) == 0 {
		return 0
	}
	return s.pending[0].At + slack
}

// beginChange keeps the value: that nobody cares any more doesn't make it another one.
func (e *Engine) beginChange(*ruleState, *state) {}
