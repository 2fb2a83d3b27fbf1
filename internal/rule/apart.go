package rule

import (
	"cmp"
	"errors"
	"maps"
	"reflect"
	"slices"
	"sync"
)

// maxLayers is how many layers a Set may have: that of all rules, and the workload's own.
const maxLayers = 2

// MaxApart is how many rules a workload may have apart.
const MaxApart = 1000

// apart is the rules of a workload that are matched by themselves, so that a change of
// them costs what they do, however many others there are. What they mean is all the same.
type apart struct {
	rules      []Rule // as they were given
	layer      layer
	parts      []*compiled // of the enabled ones, by id
	known      map[int64]bool
	ignores    map[Ignored]bool
	correlated []*Rule
	bad        []CompileError
}

// onBase is rules that are apart beside the others of a Snapshot.
type onBase struct {
	*apart
	narrower sets // as base has it
	once     sync.Once
	whole    *Set
}

// WithApart has workloads have rules apart, of which none is an override. What the
// snapshot before had compiled already of the same rules is taken from there; it may be
// nil.
func WithApart(byWorkload map[string][]Rule, before *Snapshot) Option {
	return func(c *compiling) { c.apart, c.before = byWorkload, before }
}

// WithApart returns a snapshot in which some workloads have other rules apart, none where
// the list is empty; all else is as in s, and so are the Sets of other workloads.
func (s *Snapshot) WithApart(byWorkload map[string][]Rule) (*Snapshot, []CompileError) {
	return s.withApart(byWorkload, s)
}

func (s *Snapshot) withApart(byWorkload map[string][]Rule, before *Snapshot) (*Snapshot, []CompileError) {
	if len(byWorkload) == 0 {
		return s, nil
	}
	out := &Snapshot{base: s.base, apart: maps.Clone(s.apart), correlated: s.correlated}
	if out.apart == nil {
		out.apart = map[string]*onBase{}
	}
	var bad []CompileError
	change := false // of correlated
	for _, workload := range slices.Sorted(maps.Keys(byWorkload)) {
		rules := byWorkload[workload]
		if was := out.apart[workload]; was != nil {
			change = change || len(was.correlated) > 0
			delete(out.apart, workload)
		}
		if len(rules) == 0 {
			continue
		}
		var a *apart
		if before != nil && before.apart[workload] != nil && reflect.DeepEqual(before.apart[workload].rules, rules) {
			a = before.apart[workload].apart
		} else {
			a = compileApart(workload, rules)
		}
		out.apart[workload] = &onBase{apart: a}
		change = change || len(a.correlated) > 0
		bad = append(bad, a.bad...)
	}
	if change {
		out.correlated = slices.Clone(s.base.correlated)
		for _, o := range out.apart {
			out.correlated = append(out.correlated, o.correlated...)
		}
		slices.SortFunc(out.correlated, func(a, b *Rule) int { return cmp.Compare(a.ID, b.ID) })
	}
	return out, bad
}

// compileApart compiles a workload's rules. One that can't be used is left out alone.
func compileApart(workload string, rules []Rule) *apart {
	a := &apart{rules: rules, known: map[int64]bool{}, ignores: map[Ignored]bool{}}
	rules = slices.SortedFunc(slices.Values(rules), func(a, b Rule) int { return cmp.Compare(a.ID, b.ID) })
	t := newTables(&Patterns{})
	for i := range rules {
		r := &rules[i]
		_ = settle(r, func(string) bool { return false })
		if a.known[r.ID] = true; !r.Enabled {
			continue
		}
		var parts []*compiled
		var err error
		switch {
		case r.WorkloadID != workload:
			err = errors.New("is for another workload")
		case r.OverridesID != 0:
			err = errors.New("can't override another rule")
		case i >= MaxApart:
			err = errors.New("there are more rules of the workload alone than there can be")
		default:
			parts, err = t.compile(r)
		}
		if err != nil {
			a.bad = append(a.bad, CompileError{r.ID, r.Name, err.Error()})
			continue
		}
		if r.Correlated() {
			a.correlated = append(a.correlated, r)
		}
		for _, c := range parts {
			c.apart = true
			for _, pattern := range c.part.Ignore {
				a.ignores[Ignored{r.ID, pattern}] = true
			}
		}
		a.parts = append(a.parts, parts...)
	}
	a.layer = t.build(nil)
	for _, c := range a.parts {
		a.layer.add(c)
	}
	return a
}

// set is the effective rules of the workload.
func (o *onBase) set(s *base, workload string) *Set {
	o.once.Do(func() { o.whole = s.of(workload).beside(o.apart) })
	return o.whole
}

// beside is a set with rules apart besides. What it takes depends on these, and little on
// how many rules the set has.
func (s *Set) beside(a *apart) *Set {
	out := &Set{base: s.base, apart: a, overlay: s.overlay, own: s.own, counted: s.counted}
	byRule := func(a, b *Rule) int { return cmp.Compare(a.ID, b.ID) }
	out.correlated = slices.SortedFunc(slices.Values(slices.Concat(s.correlated, a.correlated)), byRule)
	out.runs = slices.Clone(s.runs)
	for _, r := range a.correlated {
		if r.Kind == KindRun {
			out.runs, out.counted = append(out.runs, r), out.counted || r.MinLines > 0
		}
	}
	slices.SortFunc(out.runs, byRule)
	out.scoped = slices.Clone(s.scoped)
	for _, c := range a.parts {
		if c.rule.scoped() {
			out.scoped = append(out.scoped, c)
		}
	}
	slices.SortFunc(out.scoped, byID)
	for _, w := range s.ways {
		out.ways = append(out.ways, out.wayBeside(w))
	}
	for _, c := range a.parts {
		if !slices.ContainsFunc(out.ways, func(w way) bool { return w.text == c.rule.RecordStart }) {
			out.ways = append(out.ways, out.wayBeside(way{text: c.rule.RecordStart, layer: 1, start: int(a.layer.begins[c.rule.RecordStart])}))
		}
	}
	return out
}

// wayBeside is a way of the rules that aren't apart, with those that are.
func (s *Set) wayBeside(w way) way {
	w.lines.add(s.choose(s.apart.parts, part{&w, true, false}))
	w.whole.add(s.choose(s.apart.parts, part{&w, false, true}))
	w.both.add(s.choose(s.apart.parts, part{&w, true, true}))
	return w
}

// KnownApart reports whether a rule is one of those that a workload has apart, which may
// be disabled.
func (s *Snapshot) KnownApart(workload string, id int64) bool {
	o := s.apart[workload]
	return o != nil && o.known[id]
}

// SumsAs reports whether the rules whose hits depend on more than a line are the same in
// another snapshot, and for the same containers.
func (s *Snapshot) SumsAs(other *Snapshot) bool {
	return s.base == other.base && slices.Equal(s.correlated, other.correlated)
}

// layer is the number of c's layer in its Set.
func (c *compiled) layer() int {
	if c.apart {
		return 1
	}
	return 0
}
