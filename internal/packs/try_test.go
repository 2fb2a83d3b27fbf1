package packs

import (
	"math"
	"strings"
	"testing"
	"time"

	"logscan/internal/correlate"
	"logscan/internal/lines"
	"logscan/internal/rule"
)

// trial tries rules on lines, by the engine that runs live.
type trial struct {
	snapshot *rule.Snapshot
	set      *rule.Set
}

// trialStart is the time of the first line of a trial.
var trialStart = time.Unix(1e9, 0).UnixNano()

func newTrial(t testing.TB, rules ...rule.Rule) *trial {
	t.Helper()
	for n := range rules {
		rules[n].ID = int64(n) + 1
	}
	snapshot, bad := rule.Compile(rules)
	for _, b := range bad {
		t.Fatalf("%s: %s", b.Name, b.Reason)
	}
	return &trial{snapshot, snapshot.For("")}
}

// records makes records of lines, all written at the times given, or at once.
func (tr *trial) records(m *rule.Matching, texts []string, at []time.Duration, give func(rule.Record)) {
	way := len(tr.set.Ways()) - 1
	var records lines.Records
	record := func(r *lines.Record) {
		of := rule.Record{Way: way}
		for _, l := range r.Lines {
			of.Lines = append(of.Lines, rule.Line{Stream: l.Stream, TimeNano: l.TimeNano, Text: l.Text})
		}
		give(of)
	}
	var starts lines.Starts
	if way > 0 {
		starts = func(text []byte) bool { return m.Begins(rule.Line{Stream: "stdout", Text: text})[way] }
	}
	for n, text := range texts {
		l := lines.Line{Stream: "stdout", TimeNano: trialStart, Text: []byte(text)}
		if at != nil {
			l.TimeNano += int64(at[n])
		}
		records.Add(&l, starts, record)
	}
	records.End(math.MaxInt64, record)
}

// matching returns the names of the rules of which the conditions that hits are made of
// hold of a line, or of the lines of a record.
func (tr *trial) matching(text string) (names []string) {
	m := tr.set.Begin()
	defer m.End()
	var state rule.State
	tr.records(&m, strings.Split(text, "\n"), nil, func(r rule.Record) {
		m.Evaluate(&state, r, nil, func(rule.Line, int) {
			for _, r := range m.Telling() {
				names = append(names, r.Name)
			}
		})
	})
	return names
}

// hits is how many hits lines add up to that begin with times such as "+90s ", each later
// than the first line. A time alone has time pass.
func (tr *trial) hits(t testing.TB, timed []string) (n int) {
	t.Helper()
	var texts []string
	var at []time.Duration
	var until time.Duration
	for _, line := range timed {
		first, text, _ := strings.Cut(line, " ")
		d, err := time.ParseDuration(strings.TrimPrefix(first, "+"))
		if err != nil || first[0] != '+' {
			t.Fatalf("%q begins with no time such as +90s", line)
		}
		if until = max(until, d); text != "" {
			texts, at = append(texts, text), append(at, d)
		}
	}
	m := tr.set.Begin()
	defer m.End()
	var state rule.State
	var hits []rule.Hit
	engine, container := correlate.New(rule.DefaultBucket), correlate.Container{ID: "c", Name: "c"}
	engine.SetRules(tr.snapshot, trialStart)
	for _, r := range tr.snapshot.Correlated() {
		engine.Seed(r, correlate.Before{})
	}
	engine.Started(container, trialStart)
	runs, _ := tr.set.Runs()
	tr.records(&m, texts, at, func(r rule.Record) {
		engine.Lines(container.ID, int64(len(r.Lines)), runs)
		hits = m.Evaluate(&state, r, hits, nil)
		for _, match := range m.TakeMatches() {
			engine.Match(&container, &match)
		}
	})
	up := trialStart + int64(until) + int64(correlate.Slack)
	engine.Advance(up, up, func(string) int64 { return up })
	outcomes, _ := engine.Take()
	for _, o := range outcomes {
		if o.Hit != nil {
			n++
		}
	}
	return n + len(hits)
}
