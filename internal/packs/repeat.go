package packs

import (
	"bytes"
	"cmp"
	"slices"
	"sync"

	"logscan/internal/config"
	"logscan/internal/rule"
	"logscan/internal/trial"
)

// Repeat is a rule of which another one, or a pack's, finds the same.
type Repeat struct {
	Rule  int64
	Other int64  // the rule that finds the same; 0 where a pack's does
	Pack  string // "" where a rule does
	Name  string // of the other rule
	Lines int    // of the pack's rule, on which both agree; 0 where they are written alike
}

// Repeats finds rules that are on and whose conditions are those of another one that holds
// wherever they do, and rules that say of all lines with which a pack's rule is tested what
// that says.
func Repeats(rules []rule.Rule) (out []Repeat) {
	var on []rule.Rule
	for _, r := range rules {
		if r.State == rule.On {
			on = append(on, r)
		}
	}
	alike := map[string][]rule.Rule{}
	for _, r := range on {
		said := conditions(r)
		for _, other := range alike[said] {
			if covers(other, r) {
				out = append(out, Repeat{Rule: r.ID, Other: other.ID, Name: other.Name})
				break
			}
			if covers(r, other) {
				out = append(out, Repeat{Rule: other.ID, Other: r.ID, Name: r.Name})
				break
			}
		}
		alike[said] = append(alike[said], r)
	}
	out = append(out, ofPacks(on)...)
	slices.SortFunc(out, func(a, b Repeat) int { return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Name, b.Name)) })
	return out
}

// conditions is a text that is the same for rules that find the same.
func conditions(r rule.Rule) string {
	of := rule.New()
	r.Name, r.Description, r.Severity, r.State, r.Enabled = "", "", of.Severity, of.State, of.Enabled
	r.CooldownSeconds, r.CooldownBy, r.ResolveAfter, r.Repeat, r.TellResolved = of.CooldownSeconds, of.CooldownBy, of.ResolveAfter, of.Repeat, of.TellResolved
	r.WorkloadID, r.OverridesID, r.Images, r.Names, r.Labels, r.Triggers = "", 0, nil, nil, nil, nil
	r.Before, r.After, r.SiblingsSeconds, r.Clear = of.Before, of.After, of.SiblingsSeconds, nil
	b, err := rule.Fields.MarshalDefinition(r)
	if err != nil {
		return r.Pattern
	}
	return string(bytes.TrimSpace(b))
}

// covers reports whether a rule holds wherever another does.
func covers(wide, narrow rule.Rule) bool {
	within := func(wide, narrow []string) bool { return len(wide) == 0 || slices.Equal(wide, narrow) }
	return (wide.WorkloadID == "" || wide.WorkloadID == narrow.WorkloadID) && wide.OverridesID == 0 && narrow.OverridesID == 0 &&
		within(wide.Images, narrow.Images) && within(wide.Names, narrow.Names) && within(wide.Labels, narrow.Labels)
}

// tested is a rule of a pack, and the lines that it is tested on.
type tested struct {
	pack, rule   string
	hits, misses []string
}

// least is on how many lines a rule has to agree with a pack's.
const least = 4

// ofTests are the rules of all packs whose hits are lines, with enough of them.
var ofTests = sync.OnceValue(func() (out []tested) {
	for _, p := range All() {
		set, err := config.Parse([]config.File{{Name: p.Name, Data: p.YAML}}, config.Unknown)
		if err != nil {
			continue // All has parsed it
		}
		for _, r := range set.Rules {
			t := tested{pack: p.Name, rule: r.Key}
			for _, of := range r.Tests {
				t.hits, t.misses = append(t.hits, of.Hits...), append(t.misses, of.Misses...)
			}
			if r.Value.Kind == rule.KindLine && len(t.hits) > 1 && len(t.hits)+len(t.misses) >= least {
				out = append(out, t)
			}
		}
	}
	return out
})

// ofPacks finds what packs' rules say too.
func ofPacks(rules []rule.Rule) (out []Repeat) {
	var lines []rule.Rule
	for _, r := range rules {
		if r.Kind == rule.KindLine && !r.Elsewhere() {
			lines = append(lines, r)
		}
	}
	trials, bad := trial.All(lines)
	snapshot, _ := rule.Compile(lines)
	at := map[int64]int{}
	for k, r := range lines {
		at[r.ID] = k
	}
	for _, t := range ofTests() {
		for _, id := range snapshot.Matches([]byte(t.hits[0])) {
			k := at[id]
			if bad[k] != nil || !agrees(trials[k], t) {
				continue
			}
			out = append(out, Repeat{Rule: id, Pack: t.pack, Name: t.rule, Lines: len(t.hits) + len(t.misses)})
		}
	}
	return out
}

// agrees reports whether a rule hits what a pack's hits, and nothing that that doesn't.
func agrees(of *trial.Trial, t tested) bool {
	hit := func(text string) bool { return of.Run([]trial.Line{{Text: text}}, 0).Hits > 0 }
	return !slices.ContainsFunc(t.hits, func(s string) bool { return !hit(s) }) && !slices.ContainsFunc(t.misses, hit)
}
