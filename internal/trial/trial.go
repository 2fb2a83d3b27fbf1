package trial

import (
	"cmp"
	"math"
	"strconv"
	"time"

	"logscan/internal/correlate"
	"logscan/internal/incident"
	"logscan/internal/lines"
	"logscan/internal/rule"
)

// Line is a line of a trial.
type Line struct {
	At   float64 // seconds behind the first one
	Text string
}

// Result is what a rule makes of lines.
type Result struct {
	Hits      int64 // events that there would be
	Incidents int64 // that would be opened
	Lines     []int // numbers of the lines that make a hit, of a rule of kind line
	GivenUp   bool  // a line would have taken too much work
}

// Trial is a rule ready to be tried. What it is for, such as a workload, and whether it
// is switched on, doesn't count; cooldowns and the bound of hits do, as live.
type Trial struct {
	rule     rule.Rule
	snapshot *rule.Snapshot
	set      *rule.Set
}

// All makes rules ready, and says of each that can't be used why, at its index. To make
// many ready together costs far less than one by one.
func All(rules []rule.Rule) (out []*Trial, bad []error) {
	out, bad = make([]*Trial, len(rules)), make([]error, len(rules))
	var together []rule.Rule
	for k, r := range rules {
		r.State, r.Streams, r.WorkloadID, r.OverridesID, r.UpdatedAt = rule.On, "all", strconv.Itoa(k), 0, time.Time{}
		r.Images, r.Names, r.Labels, r.ID = nil, nil, nil, int64(k)+1
		out[k] = &Trial{rule: r}
		if !r.Correlated() { // the engine takes all that there are
			together = append(together, r)
			continue
		}
		out[k].rule.WorkloadID = ""
		snapshot, wrong := rule.Compile([]rule.Rule{out[k].rule})
		if len(wrong) > 0 {
			bad[k] = wrong[0]
		}
		out[k].snapshot, out[k].set = snapshot, snapshot.For("")
	}
	snapshot, wrong := rule.Compile(together)
	for _, w := range wrong {
		bad[w.RuleID-1] = w
	}
	for _, r := range together {
		t := out[r.ID-1]
		t.snapshot, t.set = snapshot, snapshot.For(r.WorkloadID)
	}
	return out, bad
}

// Run tries the rule on lines of one container, in their order, and has time pass until so
// many seconds behind the first.
func (of *Trial) Run(given []Line, until float64) (out Result) {
	matching := of.set.Begin()
	defer matching.End()
	t := trying{out: &out, rule: &of.rule, matching: &matching, sums: NewSums(&of.rule, of.snapshot), way: len(of.set.Ways()) - 1, open: map[incident.Key]int64{}}
	var records lines.Records
	last := until
	for k, l := range given {
		last = max(last, l.At)
		line := lines.Line{Stream: "stdout", TimeNano: Nanos(l.At), Text: []byte(l.Text), From: int64(k), To: int64(k) + 1}
		var starts lines.Starts
		if t.way > 0 {
			starts = func(text []byte) bool {
				return matching.Begins(rule.Line{Stream: line.Stream, Text: text})[t.way]
			}
		}
		records.Add(&line, starts, t.record)
	}
	records.End(math.MaxInt64, t.record)
	if t.sums != nil {
		all, _ := t.sums.Until(last)
		t.outcomes(all)
	}
	return out
}

// trying is a trial under way.
type trying struct {
	out      *Result
	rule     *rule.Rule
	matching *rule.Matching
	sums     *Sums // nil for a rule whose hits are lines
	way      int
	state    rule.State
	open     map[incident.Key]int64 // when incidents that are open had their last hits
}

// record tries a record.
func (t *trying) record(r *lines.Record) {
	of := rule.Record{Way: t.way, From: r.Lines[0].From, To: r.Lines[len(r.Lines)-1].To}
	for i := range r.Lines {
		l := &r.Lines[i]
		of.Lines = append(of.Lines, rule.Line{Stream: l.Stream, TimeNano: l.TimeNano, Text: l.Text})
		if t.sums != nil {
			t.sums.Line()
		}
	}
	for _, h := range t.matching.Evaluate(&t.state, of, nil, nil) {
		for n := h.From; n < h.To; n++ {
			t.out.Lines = append(t.out.Lines, int(n))
		}
		t.hit(incident.Key{By: h.By, Shape: t.rule.IncidentShape(h.Shape)}, h.TimeNano)
	}
	t.out.GivenUp = t.out.GivenUp || t.state.TakeCounts()[t.rule.ID].GivenUp > 0
	if t.sums != nil {
		t.outcomes(t.sums.Add(t.matching.TakeMatches()))
	}
}

// outcomes counts hits of a rule that adds matches up.
func (t *trying) outcomes(all []correlate.Outcome) {
	for _, o := range all {
		key := incident.Key{By: o.By, Shape: cmp.Or(o.Shape, incident.AllShapes)}
		switch {
		case o.Hit != nil:
			t.hit(key, o.Hit.TimeNano)
		case o.End != nil:
			delete(t.open, key)
		}
	}
}

// hit counts a hit, and the incident that it opens.
func (t *trying) hit(key incident.Key, at int64) {
	t.out.Hits++
	last, open := t.open[key]
	if quiet := int64(t.rule.Incidents().ResolveAfter); !open || quiet > 0 && at-last >= quiet {
		t.out.Incidents++
	}
	t.open[key] = max(last, at)
}
