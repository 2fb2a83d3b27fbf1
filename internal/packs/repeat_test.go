package packs

import (
	"reflect"
	"regexp"
	"testing"

	"logscan/internal/fields"
	"logscan/internal/rule"
)

// A rule that another one covers is found, and one that a pack has; what is narrower, off
// or for elsewhere isn't.
func TestRepeats(t *testing.T) {
	made := func(id int64, name, pattern string, change func(*rule.Rule)) rule.Rule {
		r := rule.New()
		r.ID, r.Name, r.Pattern = id, name, pattern
		if change != nil {
			change(&r)
		}
		return r
	}
	of := ofTests()[0]
	pattern := ""
	for _, s := range of.hits {
		if pattern != "" {
			pattern += "|"
		}
		pattern += "^" + regexp.QuoteMeta(s) + "$"
	}
	got := Repeats([]rule.Rule{
		made(1, "here", "boom", func(r *rule.Rule) { r.WorkloadID = "w" }),
		made(2, "all", "boom", func(r *rule.Rule) { r.Severity = "critical" }),
		made(3, "there", "boom", func(r *rule.Rule) { r.WorkloadID = "v" }),
		made(4, "off", "boom", func(r *rule.Rule) { r.State, r.Enabled = rule.Off, false }),
		made(5, "other", "boom", func(r *rule.Rule) { r.Ignore = fields.Texts{"x"} }),
		made(6, "mine", pattern, nil),
		made(7, "its own", pattern, func(r *rule.Rule) { r.ManagedBy, r.Name = "pack:"+of.pack, of.rule }),
	})
	want := []Repeat{
		{Rule: 1, Other: 2, Name: "all"},
		{Rule: 3, Other: 2, Name: "all"},
		{Rule: 6, Pack: of.pack, Name: of.rule, Lines: len(of.hits) + len(of.misses)},
		{Rule: 7, Other: 6, Name: "mine"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
