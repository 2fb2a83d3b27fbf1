package correlate

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"logscan/internal/incident"
	"logscan/internal/rule"
)

func (e *Engine) matchCount(rs *ruleState, s *state, m *rule.Match) {
	e.endCount(rs, s, m.TimeNano, m.TimeNano-slack)
	e.count(rs, s, m)
	s.seen = max(s.seen, m.TimeNano)
}

func (e *Engine) beginCount(_ *ruleState, s *state) { s.times, s.values, s.first = nil, nil, "" }

// count adds a match to a key of a rule of kind count. The match that makes AtLeast of
// them, within Within, is a hit, whatever the order in which they come; those behind it
// only count, until there were fewer than half for one Within.
func (e *Engine) count(rs *ruleState, s *state, m *rule.Match) {
	r := rs.rule
	if r.Distinct != "" {
		if was := slices.Index(s.values, m.Distinct); was >= 0 {
			if m.TimeNano <= s.times[was] { // one that came late: it may have made a hit then
				late := state{times: slices.Clone(s.times), values: slices.Clone(s.values)}
				late.remove(was)
				at := late.insert(r, m)
				e.decide(rs, s, m, late.times, late.window(r, at))
				return
			}
			s.remove(was)
		}
	}
	at := s.insert(r, m)
	e.decide(rs, s, m, s.times, s.window(r, at))
	s.prune(r)
}

// insert puts a match among the others, and returns where.
func (s *state) insert(r *rule.Rule, m *rule.Match) int {
	at := sort.Search(len(s.times), func(i int) bool { return s.times[i] > m.TimeNano })
	s.times = slices.Insert(s.times, at, m.TimeNano)
	if r.Distinct != "" {
		s.values = slices.Insert(s.values, at, m.Distinct)
	}
	if at == 0 {
		s.first = m.Text
	}
	return at
}

func (s *state) remove(at int) {
	s.times, s.values = slices.Delete(s.times, at, at+1), slices.Delete(s.values, at, at+1)
	if at == 0 {
		s.first = ""
	}
}

// ahead forgets the matches behind a time.
func (s *state) ahead(now int64) {
	n := sort.Search(len(s.times), func(i int) bool { return s.times[i] > now })
	s.times = s.times[:n]
	if len(s.values) > 0 {
		s.values = s.values[:n]
	}
}

// window is where AtLeast matches within Within begin among s.times, of which one is
// at a place; -1 where there are none.
func (s *state) window(r *rule.Rule, at int) int {
	n := int(r.AtLeast)
	for from := min(at, len(s.times)-n); from >= max(0, at-n+1); from-- {
		if s.times[from+n-1]-s.times[from] <= int64(r.Within()) {
			return from
		}
	}
	return -1
}

// prune forgets the matches that can't be part of a hit any more, however late the next
// ones come.
func (s *state) prune(r *rule.Rule) {
	latest := s.times[len(s.times)-1]
	n := sort.Search(len(s.times), func(i int) bool { return s.times[i] >= latest-int64(r.Within())-slack })
	settled := sort.Search(len(s.times), func(i int) bool { return s.times[i] > latest-slack })
	n = max(n, settled-int(r.AtLeast))
	if s.open { // half of them say when that is over
		n = len(s.times) - int(r.AtLeast)
	}
	if n <= 0 {
		return
	}
	s.times = slices.Delete(s.times, 0, n)
	if len(s.values) > 0 {
		s.values = slices.Delete(s.values, 0, n)
	}
	s.first = ""
}

// decide says what a match is: a hit, one more of an open one, or nothing yet.
// The times are those among which a window was looked for.
func (e *Engine) decide(rs *ruleState, s *state, m *rule.Match, times []int64, window int) {
	if s.open {
		e.more(s, m)
		return
	}
	if window < 0 {
		return
	}
	r := rs.rule
	what, first, last := "matches", times[window], times[window+int(r.AtLeast)-1]
	if r.Distinct != "" {
		what = "values of " + r.Distinct
	}
	h := Hit{
		TimeNano: m.TimeNano, Line: m.Text, Stream: m.Stream, LineTime: m.TimeNano, Matches: r.AtLeast, Since: first,
		Text: fmt.Sprintf("%d %s in %s%s: %s", r.AtLeast, what, incident.Span(time.Duration(last-first)), s.of(), m.Text),
	}
	if window == 0 {
		h.FirstLine = s.first
	}
	s.open = true
	e.hit(rs, s, h)
}

// over is when there were fewer than half of AtLeast for one Within.
func (s *state) over(r *rule.Rule) int64 {
	half := min(int(r.AtLeast+1)/2, len(s.times))
	return s.times[len(s.times)-half] + 2*int64(r.Within())
}

func (s *state) dueCount(rs *ruleState) int64 {
	r := rs.rule
	switch {
	case len(s.times) == 0:
		return 0
	case s.open:
		return s.over(r) + slack
	}
	return s.times[len(s.times)-1] + int64(r.Within()) + slack + 1
}

func (e *Engine) passCount(rs *ruleState, s *state, upTo int64) { e.endCount(rs, s, upTo, upTo) }

// endCount ends what is over by a time, and forgets matches that can't be part of a hit
// any more, where none comes that is before a time.
func (e *Engine) endCount(rs *ruleState, s *state, upTo, before int64) {
	if len(s.times) == 0 {
		return
	}
	r := rs.rule
	if s.open {
		over := s.over(r)
		if over > upTo {
			return
		}
		e.end(rs, s, over, fmt.Sprintf("less than half of %d within %s", r.AtLeast, incident.Span(r.Within())))
	}
	if s.times[len(s.times)-1]+int64(r.Within()) < before {
		s.times, s.values, s.first = nil, nil, ""
	}
}
