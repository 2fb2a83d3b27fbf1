// Package trial tries a rule on lines that are given, by the steps that run live.
package trial

import (
	"time"

	"logscan/internal/correlate"
	"logscan/internal/rule"
)

// Start is the time of the first line of a trial.
var Start = time.Unix(1e9, 0).UnixNano()

// Nanos is a time so many seconds behind the first line of a trial, within thirty years.
func Nanos(at float64) int64 { return Start + int64(min(max(at, -1e9), 1e9)*1e9) }

// run is the number of the run that the lines of a trial are.
const run = 1

// Sums adds up what the lines of one container match, as the engine does that runs live.
type Sums struct {
	rule      *rule.Rule
	engine    *correlate.Engine
	container correlate.Container
	runs      []*rule.Rule // of kind run: all lines are of one run
}

// NewSums returns nil for a rule whose hits are lines. The snapshot is of the rule alone.
func NewSums(r *rule.Rule, snapshot *rule.Snapshot) *Sums {
	if !r.Correlated() {
		return nil
	}
	s := &Sums{rule: r, engine: correlate.New(rule.DefaultBucket), container: correlate.Container{ID: "test", Name: "test"}}
	s.engine.SetRules(snapshot, Start)
	for _, c := range snapshot.Correlated() {
		s.engine.Seed(c, correlate.Before{})
	}
	s.engine.Started(s.container, Start)
	if s.runs, _ = snapshot.For("").Runs(); len(s.runs) > 0 {
		s.engine.Began(s.container, run, Start, s.runs)
	}
	return s
}

// Line adds a line, whatever it matches.
func (s *Sums) Line() { s.engine.Lines(s.container.ID, 1, s.runs) }

// Add adds matches, and returns what comes of them.
func (s *Sums) Add(matches []rule.Match) []correlate.Outcome {
	for i := range matches {
		s.engine.Match(&s.container, &matches[i])
	}
	all, _ := s.engine.Take()
	return all
}

// Until has time pass until so many seconds behind the first line, and a run end by then,
// and returns what comes of that, and what the rule says that doesn't know yet what is
// usual. Nothing comes late in a trial.
func (s *Sums) Until(at float64) (all []correlate.Outcome, learning string) {
	upTo := Nanos(at) + int64(correlate.Slack)
	s.engine.Advance(upTo, upTo, func(string) int64 { return upTo })
	s.engine.Ended(s.container.ID, run, Nanos(at))
	all, _ = s.engine.Take()
	return all, s.engine.Learning(s.rule, upTo)
}
