package correlate

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"logscan/internal/rule"
)

// keptWithin is how exactly it is stored when a shape was last seen: to the hour, so
// that a line that comes often isn't written each time.
const keptWithin = time.Hour

// Seen is a shape that a container has written before there was the rule.
type Seen struct {
	Container *Container
	Shape     string
	TimeNano  int64 // when it last was
}

// see takes note of a match of a rule of kind new. The first of its shape is a hit;
// those behind it count in its incident while that is open.
func (e *Engine) see(rs *ruleState, c *Container, m *rule.Match) {
	key := Key{rs.rule.ID, scopeOf(rs.rule, c), m.Shape}
	s := rs.keys[key]
	if s != nil && m.TimeNano-s.seen > int64(rs.rule.Forget()) {
		e.forget(rs, s, m.TimeNano, "")
		s = nil
	}
	if s != nil {
		if s.unsure {
			s.matches++
			e.dirty[key] = true
		} else {
			e.more(s, m)
			s.more.OnlyOpen = true
		}
		s.container = c.ID
		e.saw(rs, s, m.TimeNano)
		return
	}
	e.know(c)
	s = &state{key: key, container: c.ID, seen: m.TimeNano, line: m.Text, stream: m.Stream, unsure: rs.seeding, last: m.TimeNano}
	e.room(rs, m.TimeNano)
	rs.keys[key] = s
	e.saw(rs, s, m.TimeNano)
	if !s.unsure {
		e.first(rs, s)
	}
}

// saw notes when a shape was seen.
func (e *Engine) saw(rs *ruleState, s *state, at int64) {
	s.seen = max(s.seen, at)
	if s.kept == 0 || s.seen-s.kept >= int64(keptWithin) {
		s.kept = s.seen
		e.dirty[s.key] = true
	}
	e.plan(rs, s)
}

// first gives the hit that a shape is new.
func (e *Engine) first(rs *ruleState, s *state) {
	e.hit(rs, s, Hit{TimeNano: s.last, Text: s.line, Line: s.line, Stream: s.stream, LineTime: s.last, Matches: 1})
	if s.matches > 0 {
		s.more = &More{Matches: s.matches, First: s.last, Last: s.seen, Text: s.line, OnlyOpen: true}
		e.tellMore(rs, s)
	}
	s.line, s.stream, s.last, s.matches = "", "", 0, 0
}

// Unseeded is a rule of which it isn't known yet what matched it before there was it.
type Unseeded struct {
	Rule   *rule.Rule
	Before int64 // that was until then, in nanoseconds
}

// Unseeded returns the rules of kinds new and spike that are to be seeded. Until Seed has
// told, nothing is a hit of theirs.
func (e *Engine) Unseeded() (out []Unseeded) {
	for _, rs := range e.sorted() {
		if !rs.seeding {
			continue
		}
		before := rs.since.Since
		if rs.rule.Kind == rule.KindNew {
			before = rs.rule.UpdatedAt.UnixNano()
		}
		out = append(out, Unseeded{rs.rule, before})
	}
	return out
}

// Before is what matched a rule before there was it.
type Before struct {
	Seen    []Seen    // of kind new
	Counted []Counted // of kind spike
}

// Seed tells of what matched a rule before there was it, all of it. A rule that isn't
// waiting for it is left alone.
func (e *Engine) Seed(r *rule.Rule, all Before) {
	rs := e.rules[r.ID]
	if rs == nil || !rs.seeding || meaning(rs.rule) != meaning(r) {
		return
	}
	rs.seeding = false
	e.dirty[seededKey(r.ID)] = true
	if r.Kind == rule.KindSpike {
		e.seedSpike(rs, all.Counted)
		return
	}
	e.seedNew(rs, all.Seen)
}

func (e *Engine) seedNew(rs *ruleState, all []Seen) {
	r := rs.rule
	for _, v := range all {
		key := Key{r.ID, scopeOf(rs.rule, v.Container), v.Shape}
		s := rs.keys[key]
		if s == nil {
			e.room(rs, v.TimeNano)
			s = &state{key: key, container: v.Container.ID, seen: v.TimeNano}
			rs.keys[key] = s
		}
		s.unsure, s.line, s.stream, s.last, s.matches = false, "", "", 0, 0
		e.dirty[key] = true
		e.saw(rs, s, v.TimeNano)
	}
	unsure := slices.Collect(maps.Values(rs.keys))
	unsure = slices.DeleteFunc(unsure, func(s *state) bool { return !s.unsure })
	slices.SortFunc(unsure, func(a, b *state) int { return cmp.Or(cmp.Compare(a.last, b.last), compareKeys(a.key, b.key)) })
	for _, s := range unsure {
		s.unsure = false
		e.dirty[s.key] = true
		e.first(rs, s)
	}
}
