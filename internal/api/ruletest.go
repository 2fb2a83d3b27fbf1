package api

import (
	"time"

	"logscan/internal/correlate"
	"logscan/internal/rule"
)

// TestOutcome is what lines add up to, or time, for a rule whose kind isn't line.
type TestOutcome struct {
	At   float64 `json:"at" doc:"When, in seconds behind the first line"`
	What string  `json:"what" enum:"hit,more,held,end,learning" doc:"A hit, what belongs to the one before, one that is held back since there are too many, the end of one, or that the rule doesn't know yet what is usual"`
	By   string  `json:"by,omitempty" doc:"The values that it is about"`
	Text string  `json:"text"`
}

// testedSums adds up what lines of a test match, as the engine does that runs live.
type testedSums struct {
	rule      *rule.Rule
	engine    *correlate.Engine
	container correlate.Container
	runs      []*rule.Rule // of kind run: all lines are of one run
}

// testStart is the time of the first line of a test.
var testStart = time.Unix(1e9, 0).UnixNano()

// newTestedSums returns nil for a rule whose hits are lines.
func newTestedSums(r *rule.Rule, snapshot *rule.Snapshot) *testedSums {
	if !r.Correlated() {
		return nil
	}
	s := &testedSums{rule: r, engine: correlate.New(rule.DefaultBucket), container: correlate.Container{ID: "test", Name: "test"}}
	s.engine.SetRules(snapshot, testStart)
	for _, c := range snapshot.Correlated() {
		s.engine.Seed(c, correlate.Before{})
	}
	s.engine.Started(s.container, testStart)
	if s.runs, _ = snapshot.For("").Runs(); len(s.runs) > 0 {
		s.engine.Began(s.container, testRun, testStart, s.runs)
	}
	return s
}

// testRun is the number of the run that the lines of a test are.
const testRun = 1

// nanos is a time so many seconds behind the first line, within thirty years.
func (s *testedSums) nanos(at float64) int64 {
	return testStart + int64(min(max(at, -1e9), 1e9)*1e9)
}

// line adds a line, whatever it matches.
func (s *testedSums) line() { s.engine.Lines(s.container.ID, 1, s.runs) }

// add adds matches, and returns what comes of them.
func (s *testedSums) add(matches []rule.Match) []TestOutcome {
	for i := range matches {
		s.engine.Match(&s.container, &matches[i])
	}
	return s.outcomes()
}

// until has time pass, and a run end by then, and returns what comes of that. Nothing comes
// late in a test.
func (s *testedSums) until(at float64) []TestOutcome {
	upTo := s.nanos(at) + int64(correlate.Slack)
	s.engine.Advance(upTo, upTo, func(string) int64 { return upTo })
	s.engine.Ended(s.container.ID, testRun, s.nanos(at))
	out := s.outcomes()
	if text := s.engine.Learning(s.rule, upTo); text != "" {
		out = append(out, TestOutcome{At: float64(s.nanos(at)-testStart) / 1e9, What: "learning", Text: text})
	}
	return out
}

func (s *testedSums) outcomes() (out []TestOutcome) {
	all, _ := s.engine.Take()
	for _, o := range all {
		t := TestOutcome{By: o.By}
		var nano int64
		switch {
		case o.Hit != nil:
			nano, t.What, t.Text = o.Hit.TimeNano, "hit", o.Hit.Text
		case o.End != nil:
			nano, t.What, t.Text = o.End.TimeNano, "end", o.End.Why
		case o.Rule.Kind == rule.KindRun:
			nano, t.What, t.Text = o.More.Last, "more", o.More.Text
		case o.More.Held:
			nano, t.What, t.Text = o.More.Last, "held", o.More.Text
		default:
			continue
		}
		t.At = float64(nano-testStart) / 1e9
		out = append(out, t)
	}
	return out
}
