package correlate

import (
	"fmt"
	"strings"
	"time"

	"logscan/internal/incident"
	"logscan/internal/rule"
)

// sequence is what is kept of a key of a rule of kind sequence.
type sequence struct {
	Began  int64  `json:"b,omitempty"` // when its first step was
	Step   int    `json:"n,omitempty"` // how many have been done; 0 where none is waited for
	First  string `json:"f,omitempty"` // line
	Line   string `json:"l,omitempty"` // the last one
	Stream string `json:"s,omitempty"`
	At     int64  `json:"t,omitempty"` // the time of that
	Wait   int64  `json:"w,omitempty"` // so much longer

	// Of one that was missed: its steps may come late.
	MissedBegan int64 `json:"mb,omitempty"`
	MissedStep  int   `json:"mn,omitempty"`
	MissedAt    int64 `json:"mt,omitempty"`
}

// lateFor is how long, at least, steps that were missed may come late.
const lateFor = int64(24 * time.Hour)

func (e *Engine) matchSequence(rs *ruleState, s *state, m *rule.Match) {
	if s.sequence == nil {
		s.sequence = &sequence{}
	}
	s.later(m)
	e.passSequence(rs, s, s.seen-slack)
}

// passSequence has the steps up to a time count, and says what is missing by then.
func (e *Engine) passSequence(rs *ruleState, s *state, upTo int64) {
	e.stepsUpTo(rs, s, upTo)
	e.passDeadline(rs, s, upTo)
}

// stepsUpTo has the steps up to a time count. A line is one step, the latest that it can
// be.
func (e *Engine) stepsUpTo(rs *ruleState, s *state, upTo int64) {
	var took *pending
	all := s.settled(upTo)
	for i := range all {
		p := &all[i]
		if took != nil && p.Role == rule.Step && p.same(took) {
			continue
		}
		e.passDeadline(rs, s, p.At-1)
		if e.step(rs, s, p) {
			took = p
		}
	}
}

// passDeadline gives up what hasn't been completed by a time.
func (e *Engine) passDeadline(rs *ruleState, s *state, upTo int64) {
	if q := s.sequence; q.Step > 0 && q.deadline(rs.rule) <= upTo {
		e.giveUp(rs, s, q.deadline(rs.rule), "within "+incident.Span(rs.rule.Within()))
	}
	if q := s.sequence; q.MissedStep > 0 && q.MissedAt+max(lateFor, int64(rs.rule.Within())) <= upTo {
		q.MissedBegan, q.MissedStep, q.MissedAt = 0, 0, 0
		s.open = false // its incident is over, or waits for somebody
	}
}

// deadline is until when the last step has to be done.
func (q *sequence) deadline(r *rule.Rule) int64 { return q.Began + int64(r.Within()) + q.Wait }

// step has a step count, or what ends the waiting, and reports whether it was one that was
// waited for. Those before it have.
func (e *Engine) step(rs *ruleState, s *state, p *pending) bool {
	q, r := s.sequence, rs.rule
	switch {
	case p.Role == rule.Until:
		q.stop()
		if s.open {
			q.MissedBegan, q.MissedStep, q.MissedAt = 0, 0, 0
			e.end(rs, s, p.At, "it isn't waited for any more: "+p.Text)
		}
	case q.Step > 0 && p.N == q.Step:
		q.took(p)
		if q.Step == len(r.Steps) {
			e.complete(rs, s, p)
		}
	case p.N == 0 && (q.Step == 0 || r.Hit == rule.HitComplete && q.Step == 1):
		q.stop()
		q.Began, q.First, q.Wait = p.At, p.Text, e.lost(p.At)
		q.took(p)
	case q.MissedStep > 0 && p.N == q.MissedStep:
		if q.MissedStep++; q.MissedStep == len(r.Steps) {
			began := q.MissedBegan
			q.MissedBegan, q.MissedStep, q.MissedAt = 0, 0, 0
			e.end(rs, s, p.At, fmt.Sprintf("it was completed after all, in %s", incident.Span(time.Duration(p.At-began))))
		}
	default:
		return false
	}
	return true
}

// took notes a step.
func (q *sequence) took(p *pending) {
	q.Step++
	q.Line, q.Stream, q.At = p.Text, p.Stream, p.At
}

// stop has nothing be waited for.
func (q *sequence) stop() {
	*q = sequence{MissedBegan: q.MissedBegan, MissedStep: q.MissedStep, MissedAt: q.MissedAt}
}

// complete is called behind the last step.
func (e *Engine) complete(rs *ruleState, s *state, p *pending) {
	q, r := s.sequence, rs.rule
	first, began := q.First, q.Began
	q.stop()
	took := time.Duration(p.At - began)
	if r.Hit == rule.HitComplete {
		if took > r.SlowerThan() {
			e.hit(rs, s, Hit{
				TimeNano: p.At, Line: p.Text, Stream: p.Stream, LineTime: p.At, FirstLine: first, Since: began, Matches: int64(len(r.Steps)),
				Text: fmt.Sprintf("%d steps in %s%s: %s", len(r.Steps), incident.Span(took), s.of(), p.Text),
			})
		}
		return
	}
	if s.open {
		q.MissedBegan, q.MissedStep, q.MissedAt = 0, 0, 0
		e.end(rs, s, p.At, fmt.Sprintf("it was completed again, in %s", incident.Span(took)))
	}
}

// giveUp is called where the last step can't be in time any more.
func (e *Engine) giveUp(rs *ruleState, s *state, at int64, when string) {
	q, r := s.sequence, rs.rule
	was := *q
	q.stop()
	if r.Hit == rule.HitComplete {
		return
	}
	missing, _, _ := strings.Cut(r.Steps[was.Step], "\n")
	text := fmt.Sprintf("step %d (%.80s) didn't come %s%s; the last: %s", was.Step+1, missing, when, s.of(), was.Line)
	q.MissedBegan, q.MissedStep, q.MissedAt = was.Began, was.Step, at
	s.open = true
	e.hit(rs, s, Hit{TimeNano: at, Text: text, Line: was.Line, Stream: was.Stream, LineTime: was.At, FirstLine: was.First, Since: was.Began})
}

// stopSequence does what a rule says of a container that runs no more, where gone says
// that it was removed.
func (e *Engine) stopSequence(rs *ruleState, s *state, at int64, gone bool) {
	e.stepsUpTo(rs, s, s.seen)
	switch q := s.sequence; {
	case q.Step == 0:
	case rs.rule.OnStop == rule.StopForget:
		q.stop()
	case rs.rule.OnStop == rule.StopHit || gone:
		e.giveUp(rs, s, min(at, q.deadline(rs.rule)), "before the container ended")
	}
	e.plan(rs, s)
	e.dirty[s.key] = true
}

// beginSequence waits for nothing until the next first step.
func (e *Engine) beginSequence(_ *ruleState, s *state) { s.sequence = &sequence{} }

func (s *state) dueSequence(rs *ruleState) int64 {
	r := rs.rule
	q, due := s.sequence, int64(0)
	first := func(at int64) {
		if due == 0 || at < due {
			due = at
		}
	}
	if len(s.pending) > 0 {
		first(s.pending[0].At + slack)
	}
	if q.Step > 0 {
		first(q.deadline(r) + slack)
	}
	if q.MissedStep > 0 {
		first(q.MissedAt + max(lateFor, int64(r.Within())) + slack)
	}
	if due == 0 {
		due = max(s.seen+slack, s.cleared+2*slack) // to be forgotten
	}
	return due
}
