package api

import (
	"bytes"
	"context"
	"math"
	"slices"
	"time"

	"logscan/internal/correlate"
	"logscan/internal/lines"
	"logscan/internal/rule"
	"logscan/internal/trial"
)

// TestOutcome is what lines add up to, or time, for a rule whose kind isn't line.
type TestOutcome struct {
	At   float64 `json:"at" doc:"When, in seconds behind the first line"`
	What string  `json:"what" enum:"hit,more,held,end,learning" doc:"A hit, what belongs to the one before, one that is held back since there are too many, the end of one, or that the rule doesn't know yet what is usual"`
	By   string  `json:"by,omitempty" doc:"The values that it is about"`
	Text string  `json:"text"`
}

// outcomes are what is said of what a trial added up for a rule.
func outcomes(all []correlate.Outcome) (out []TestOutcome) {
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
		t.At = float64(nano-trial.Start) / 1e9
		out = append(out, t)
	}
	return out
}

// lineTester tries a rule on lines, by the engine that runs live.
type lineTester struct {
	rule     *rule.Rule
	set      *rule.Set
	verdicts bool // of each condition
	matching rule.Matching
	sums     *trial.Sums // nil for a rule whose hits are lines
	way      int         // in which records are made for the rule
	records  lines.Records
	out      []LineTest
	done     int       // lines of out that are tried
	matched  int       // of them
	work     int64     // that it took
	until    time.Time // it may take
}

// run tries all lines, one for each of out, and reports why it ended before.
func (t *lineTester) run(ctx context.Context, texts []string, at []float64) error {
	for i, text := range texts {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l := lines.Line{Stream: "stdout", TimeNano: trial.Nanos(0), Text: []byte(text)}
		if len(at) > 0 {
			l.TimeNano = trial.Nanos(at[i])
		}
		var starts lines.Starts
		if t.way > 0 {
			starts = func(text []byte) bool {
				return t.matching.Begins(rule.Line{Stream: l.Stream, Text: text})[t.way]
			}
		}
		t.records.Add(&l, starts, t.record)
	}
	t.records.End(math.MaxInt64, t.record)
	return nil
}

// record tries a record.
func (t *lineTester) record(r *lines.Record) {
	first, out := t.done, t.out[t.done:t.done+len(r.Lines)]
	t.done += len(r.Lines)
	of := rule.Record{Way: t.way}
	for i := range r.Lines {
		l := &r.Lines[i]
		of.Lines = append(of.Lines, rule.Line{Stream: l.Stream, TimeNano: l.TimeNano, Text: l.Text})
		if i > 0 {
			out[i].PartOf = &first
		}
		if t.sums != nil {
			t.sums.Line()
		}
	}
	if t.work > testWork || time.Now().After(t.until) {
		for i := range out {
			out[i].GivenUp = true
		}
		return
	}
	var state rule.State
	hit, main := -1, 0 // the first line that matches, and that fulfils the rule's own conditions
	var parts []string // that lines have fulfilled
	whole := t.rule.Record && len(of.Lines) > 1
	hits := t.matching.Evaluate(&state, of, nil, func(l rule.Line, n int) {
		if whole && n >= 0 {
			return
		}
		t.work += t.matching.Work()
		v := &out[max(n, 0)]
		if t.verdicts {
			v.Conditions = t.conditions(l.Text)
		}
		v.GivenUp = state.TakeCounts()[t.rule.ID].GivenUp > 0
		if !t.matching.Matched() {
			if !v.GivenUp {
				v.explain(t.rule, t.matching.Unmet())
			}
			return
		}
		v.Matched, v.Part = true, t.matching.Parts()[0].String()
		v.Again = slices.Contains(parts, v.Part)
		parts = append(parts, v.Part)
		if v.Part == "" && !v.Again {
			main = max(n, 0)
		}
		if hit < 0 {
			hit = max(n, 0)
		}
		for _, at := range t.matching.Spans(l, maxSpans) {
			v.Spans = append(v.Spans, Span{at[0], at[1]})
		}
	})
	if whole && hit == 0 {
		share(out, of.Lines)
	}
	for i := range out {
		if out[i].Matched && out[i].Part != string(rule.Of) {
			t.matched++
		}
	}
	if hit < 0 {
		return
	}
	for _, h := range hits {
		out[main].Captures = h.Captures
	}
	out[hit].GivenUp = out[hit].GivenUp || state.TakeCounts()[t.rule.ID].GivenUp > 0
	if t.sums != nil {
		out[hit].Outcomes = outcomes(t.sums.Add(t.matching.TakeMatches()))
	}
}

// maxConditionTests bounds what is answered about conditions, in bytes, about.
const maxConditionTests = 16 << 20

// tooManyConditions reports whether to tell of so many lines what they are to each
// condition of a rule would take more.
func tooManyConditions(set *rule.Set, id int64, lines int) bool {
	of, size := 0, 0
	verdicts, _ := set.Verdicts(id, nil, 0)
	for _, v := range verdicts {
		of, size = of+1, size+len(v.Pattern)
	}
	return lines*(size+of*(rule.MaxText+32*maxSpans)) > maxConditionTests
}

// conditions are what a text is to each condition of the rule.
func (t *lineTester) conditions(text []byte) (out []ConditionTest) {
	verdicts, work := t.set.Verdicts(t.rule.ID, text, maxSpans)
	t.work += work
	for _, v := range verdicts {
		c := ConditionTest{Part: v.Part.String(), Kind: v.Field, By: v.Pattern, Met: v.Met, GivenUp: v.GivenUp, Field: v.About}
		for _, at := range v.Spans {
			c.Spans = append(c.Spans, Span{at[0], at[1]})
		}
		if v.About != "" && !v.Missing {
			c.Value = &v.Value
		}
		out = append(out, c)
	}
	return out
}

// share has each line of a record that matches as a whole have its part of what the first
// has.
func share(out []LineTest, of []rule.Line) {
	spans, from := out[0].Spans, 0
	out[0].Spans = nil
	for i := range out {
		out[i].Matched = true
		to := from + len(bytes.TrimRight(of[i].Text, "\r"))
		for _, s := range spans {
			if part := (Span{max(s.Start, from) - from, min(s.End, to) - from}); part.Start < part.End {
				out[i].Spans = append(out[i].Spans, part)
			}
		}
		from = to + 1
	}
}

// explain says why a text is no match.
func (v *LineTest) explain(r *rule.Rule, unmet []rule.Unmet) {
	switch {
	case r.Kind == rule.KindRun: // it has no conditions of its own
	case r.Pattern == "" && len(r.All) > 0:
		v.Failed, v.By = "all", r.All[0]
	default:
		v.Failed = "pattern"
	}
	for _, u := range unmet {
		if v.Failed, v.By, v.Field = u.Field, u.Pattern, u.About; u.About != "" && !u.Missing {
			v.Value = &u.Value
		}
	}
}
