package rule

import (
	"bytes"
	"cmp"
	"slices"

	"logscan/internal/rule/match"
	"logscan/internal/where"
)

// Verdict is what a text is to one condition of a rule, whatever it is to the others.
type Verdict struct {
	Part    Part
	Field   string // "pattern", "all", "ignore" or "where"
	Pattern string // or condition, as the rule has it
	Met     bool   // of ignore: the pattern doesn't match
	GivenUp bool   // it would take too much work to find that out
	Spans   [][]int

	// Of where: the field, and its value in the text, valid UTF-8 of MaxText bytes at
	// most, unless it is missing.
	About, Value string
	Missing      bool
}

// Verdicts returns what a text is to each condition of a rule, by part,
// with at most spans places of each pattern, and the units of package match's work that it
// took. The stream doesn't matter.
func (s *Set) Verdicts(id int64, text []byte, spans int) (out []Verdict, work int64) {
	j := judge{text: bytes.TrimRight(text, "\r"), spans: spans, left: match.SubmatchWork}
	parts := slices.DeleteFunc(s.compiled(), func(c *compiled) bool { return c.rule.ID != id || c.none })
	slices.SortStableFunc(parts, func(a, b *compiled) int {
		return cmp.Or(cmp.Compare(a.part.Role, b.part.Role), cmp.Compare(a.part.N, b.part.N))
	})
	if len(parts) == 0 {
		return nil, 0
	}
	j.layer = s.layerOf(parts[0])
	j.fields = j.layer.fields.Acquire()
	defer j.fields.Release()
	j.fields.Reset(j.text)
	for _, c := range parts {
		j.part(c)
	}
	return j.out, match.SubmatchWork - j.left + j.work + j.fields.Work()
}

// judge makes verdicts of a text.
type judge struct {
	layer  *layer // of the rule
	text   []byte
	spans  int
	left   int64 // of match.SubmatchWork
	work   int64 // besides
	fields *where.Scan
	out    []Verdict
}

func (j *judge) part(c *compiled) {
	if !c.bare {
		v := Verdict{Field: "pattern", Pattern: c.part.Pattern}
		if v.Pattern == "" { // the first of all takes its place
			v.Field, v.Pattern = "all", c.part.All[0]
		}
		j.pattern(c, v, j.layer.matcher, c.pattern)
	}
	for k, n := range c.all {
		j.pattern(c, Verdict{Field: "all", Pattern: c.further[k]}, j.layer.conditions, n)
	}
	for k, n := range c.ignore {
		j.pattern(c, Verdict{Field: "ignore", Pattern: c.part.Ignore[k]}, j.layer.conditions, n)
	}
	for n := range c.where {
		j.where(c, n)
	}
}

// pattern adds the verdict of a pattern.
func (j *judge) pattern(c *compiled, v Verdict, by *match.Matcher, n uint32) {
	s := by.Acquire()
	defer s.Release()
	only := match.NewMask(by.Len())
	only.Add(int(n))
	found := len(s.Match(j.text, only)) > 0
	j.work += s.Work()
	v.GivenUp = slices.Contains(s.GivenUp(), n)
	if found {
		var took int64
		v.Spans, took = by.Spans(n, j.text, j.spans, j.left)
		j.left -= took
	}
	v.Met = found != (v.Field == "ignore") && !v.GivenUp
	j.add(c, v)
}

// where adds the verdict of a condition on a field, or on a group of the part's pattern.
func (j *judge) where(c *compiled, n int) {
	w := &c.where[n]
	v := Verdict{Field: "where", Pattern: c.part.Where[n], About: j.layer.fields.Condition(w.number).Field()}
	var holds where.Verdict
	if w.groups == nil {
		value, is := j.fields.Text(w.number)
		v.Value, v.Missing = Clip([]byte(value)), !is
		holds = j.fields.Holds(w.number)
	} else {
		at, took, ok := j.layer.matcher.Submatch(c.pattern, j.text, j.left)
		j.left -= took
		group := slices.IndexFunc(w.groups, func(g int) bool { return at != nil && at[2*g] >= 0 })
		var value []byte
		if group >= 0 {
			g := w.groups[group]
			value = j.text[at[2*g]:at[2*g+1]]
		}
		v.Value, v.Missing = Clip(value), group < 0
		holds = where.Unknown
		if ok && at != nil {
			holds = j.fields.HoldsFor(w.number, value, group >= 0)
		} else if ok {
			holds = where.No // the pattern doesn't match
		}
	}
	v.Met, v.GivenUp = holds == where.Yes, holds == where.Unknown
	j.add(c, v)
}

func (j *judge) add(c *compiled, v Verdict) {
	v.Part = c.part
	j.out = append(j.out, v)
}
