package correlate

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"logscan/internal/incident"
	"logscan/internal/rule"
)

// arm has the rules of kind absent wait for the lines of a container that runs. At its
// start they wait anew.
func (e *Engine) arm(c *containerState, at int64, started bool) {
	if e.snapshot == nil {
		return
	}
	for _, r := range e.snapshot.ForContainer(c.scope()).Correlated() {
		// Where matches are early, it is up to resume.
		if rs := e.rules[r.ID]; r.Kind == rule.KindAbsent && len(rs.early[scopeOf(r, &c.Container)]) == 0 {
			e.armRule(rs, c, at, started)
		}
	}
}

func (e *Engine) armRule(rs *ruleState, c *containerState, at int64, started bool) {
	r, scope := rs.rule, scopeOf(rs.rule, &c.Container)
	if !r.UpdatedAt.IsZero() {
		at = max(at, r.UpdatedAt.UnixNano()) // it doesn't wait for what was before it
	}
	if r.Arm == rule.ArmStart {
		key := Key{r.ID, scope, ""}
		s := rs.keys[key]
		switch {
		case s == nil:
			s = e.key(rs, key, at)
			s.container = c.ID
		case !started: // it is known what it waits for
			return
		}
		e.wait(rs, s, at)
		return
	}
	if !started {
		return
	}
	for _, s := range rs.in(scope) {
		e.passAbsent(rs, s, at-slack)
		if s.paused() || s.armed && r.Per == rule.PerContainer {
			e.wait(rs, s, at)
		}
	}
}

// leave forgets what rules wait for where they aren't in effect any more:
// they are overridden there, or were narrowed. What a workload's containers did that are
// all removed is known by the workload's name alone.
func (e *Engine) leave(now int64) {
	known, held := map[Key]bool{}, map[Key]bool{}
	for _, c := range e.containers {
		in := e.snapshot.ForContainer(c.scope()).Correlated()
		for _, rs := range e.rules {
			if !waitsFor(rs.rule) {
				continue
			}
			known[Key{Rule: rs.rule.ID, Scope: scopeOf(rs.rule, &c.Container)}] = true
			known[runKey(rs, c.ID)] = true
		}
		for _, r := range in {
			held[Key{Rule: r.ID, Scope: scopeOf(r, &c.Container)}] = true
			held[Key{Rule: r.ID, Scope: containerScope + c.ID}] = true
		}
	}
	isHeld := func(k Key) bool {
		k.By = ""
		if workload, ok := strings.CutPrefix(k.Scope, workloadScope); ok && !known[k] {
			return slices.ContainsFunc(e.snapshot.For(workload).Correlated(), func(r *rule.Rule) bool { return r.ID == k.Rule })
		}
		return held[k] || !known[k]
	}
	for _, rs := range e.sorted() {
		if !waitsFor(rs.rule) {
			continue
		}
		for _, s := range rs.all() {
			if !isHeld(s.key) {
				e.forget(rs, s, now, "the rule isn't for it any more")
			}
		}
		for scope := range rs.early {
			if !isHeld(Key{Rule: rs.rule.ID, Scope: scope}) {
				e.dropEarly(rs, scope)
			}
		}
	}
}

// waitsFor reports whether a rule waits for lines, or the end of a run, which it doesn't
// see any more where it isn't in effect.
func waitsFor(r *rule.Rule) bool {
	return r.Kind == rule.KindAbsent || r.Kind == rule.KindRun || r.Kind == rule.KindSequence
}

func (c *containerState) scope() rule.Container {
	return rule.Container{Workload: c.Workload, Name: c.Name, Image: c.Image, Labels: c.Labels}
}

// paused reports whether a key has had a match, and isn't waited for since nothing runs.
func (s *state) paused() bool { return !s.armed && s.last != 0 }

// wait has a match be waited for from a start on.
func (e *Engine) wait(rs *ruleState, s *state, at int64) {
	if s.open || s.armed && s.last >= at || at <= s.cleared {
		return
	}
	e.passAbsent(rs, s, at-slack)
	if s.open {
		return
	}
	s.armed, s.last, s.wait = true, max(at, s.last), int64(rs.rule.Grace())
	e.plan(rs, s)
	e.dirty[s.key] = true
}

// pause has no match be waited for.
func (e *Engine) pause(rs *ruleState, s *state, at int64) {
	if !s.armed && !s.open && s.from == 0 {
		return
	}
	e.settle(rs, s, s.to)
	e.passAbsent(rs, s, at-slack)
	if s.open {
		e.end(rs, s, at, "no container runs any more")
	}
	s.armed = false
	e.plan(rs, s)
	e.dirty[s.key] = true
}

func (e *Engine) matchAbsent(rs *ruleState, s *state, m *rule.Match) {
	e.passAbsent(rs, s, m.TimeNano-slack)
	e.present(rs, s, m.TimeNano)
	if m.TimeNano >= s.seen {
		s.seen, s.line, s.stream = m.TimeNano, m.Text, m.Stream
	}
}

// beginAbsent waits for nothing until the next match.
func (e *Engine) beginAbsent(_ *ruleState, s *state) { s.armed, s.from, s.to = false, 0, 0 }

// present takes note of a match. It counts once those are known that may be before it.
func (e *Engine) present(rs *ruleState, s *state, at int64) {
	if s.from == 0 {
		s.from, s.to = at, at
	}
	s.from, s.to = min(s.from, at), max(s.to, at)
	e.settle(rs, s, max(at, s.seen)-slack) // those that came late
}

// settle has the matches count that none can be before any more.
func (e *Engine) settle(rs *ruleState, s *state, upTo int64) {
	for s.from != 0 && s.from <= upTo {
		e.came(rs, s, s.from)
		if s.from == s.to {
			s.from, s.to = 0, 0
			return
		}
		s.from = s.to // those between them are as close to each as they are
	}
}

// came has a match at a time count. Those before it have.
func (e *Engine) came(rs *ruleState, s *state, at int64) {
	if s.armed && !s.open && at > s.deadline(rs) {
		e.missed(rs, s)
	}
	if s.open && at >= s.last {
		e.end(rs, s, at, fmt.Sprintf("there was a match again, after %s", incident.Span(time.Duration(at-s.last))))
	}
	s.armed = true
	if at > s.last {
		s.last, s.wait = at, e.lost(at)
	}
}

// deadline is until when there has to be a match.
func (s *state) deadline(rs *ruleState) int64 {
	last, within := time.Unix(0, s.last+s.wait), rs.rule.For()
	at := rs.active.After(last, within)
	if at.IsZero() { // never: the hours of a rule are long enough
		return math.MaxInt64 / 2
	}
	return at.UnixNano()
}

// missed gives the hit that no match came.
func (e *Engine) missed(rs *ruleState, s *state) {
	h := Hit{TimeNano: s.deadline(rs), Since: s.last}
	h.Text = fmt.Sprintf("no match for %s%s", incident.Span(rs.rule.For()), s.of())
	if s.line != "" {
		h.Line, h.Stream, h.LineTime = s.line, s.stream, s.seen
		h.Text += "; the last: " + s.line
	}
	s.open = true
	e.hit(rs, s, h)
}

func (s *state) dueAbsent(rs *ruleState) int64 {
	due := int64(0)
	if s.from != 0 {
		due = s.from + slack
	}
	if s.armed && !s.open {
		if at := s.deadline(rs) + slack; due == 0 || at < due {
			due = at
		}
	}
	return due
}

// passAbsent has the matches up to a time count, and says what is missing by then.
func (e *Engine) passAbsent(rs *ruleState, s *state, upTo int64) {
	e.settle(rs, s, upTo)
	if s.armed && !s.open && s.deadline(rs) <= upTo {
		e.missed(rs, s)
	}
}
