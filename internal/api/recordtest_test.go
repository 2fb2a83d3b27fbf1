package api

import (
	"reflect"
	"testing"
)

// A test of a rule takes given lines as they come, puts together those that belong
// together, and says what a line in the middle of a record is.
func TestRuleTestOfRecords(t *testing.T) {
	b := newBench(t)
	lines := []string{"GET / 200", "Traceback (most recent call last):", `  File "shop.py", line 5, in find`, "KeyError: 42", "KeyError: 43", "{", `  "level": "error",`, `  "n": 1`, "}"}
	one, five, at := 1, 5, func(from, to int) []Span { return []Span{{from, to}} }
	for name, tt := range map[string]struct {
		rule    RuleFields
		matched int
		want    []LineTest
	}{
		"lines": {RuleFields{"pattern": `shop|KeyError`}, 3, []LineTest{
			{Failed: "pattern"}, {Failed: "pattern"}, {Matched: true, PartOf: &one, Spans: at(8, 12)}, {Matched: true, Again: true, PartOf: &one, Spans: at(0, 8)},
			{Matched: true, Spans: at(0, 8)}, {Failed: "pattern"}, {Failed: "pattern", PartOf: &five}, {Failed: "pattern", PartOf: &five}, {Failed: "pattern", PartOf: &five},
		}},
		"records": {RuleFields{"pattern": `shop(?s:.*)KeyError: (?P<n>\d+)`, "record": true}, 3, []LineTest{
			{Failed: "pattern"}, {Matched: true, Captures: map[string]string{"n": "42"}}, {Matched: true, PartOf: &one, Spans: at(8, 33)}, {Matched: true, PartOf: &one, Spans: at(0, 12)},
			{Failed: "pattern"}, {Failed: "pattern"}, {PartOf: &five}, {PartOf: &five}, {PartOf: &five},
		}},
		"conditions of records": {RuleFields{"where": []string{"level = error", "n = 1"}, "record": true}, 4, []LineTest{
			{Failed: "where", By: "level = error", Field: "level"}, {Failed: "where", By: "level = error", Field: "level"}, {PartOf: &one}, {PartOf: &one},
			{Failed: "where", By: "level = error", Field: "level"}, {Matched: true}, {Matched: true, PartOf: &five}, {Matched: true, PartOf: &five}, {Matched: true, PartOf: &five},
		}},
		"a pattern for first lines": {RuleFields{"pattern": `KeyError`, "record_start": `^(GET|\{)`}, 2, []LineTest{
			{Failed: "pattern"}, {Failed: "pattern"}, {Failed: "pattern"}, {Matched: true, Spans: at(0, 8)}, {Matched: true, Again: true, Spans: at(0, 8)},
			{Failed: "pattern"}, {Failed: "pattern", PartOf: &five}, {Failed: "pattern", PartOf: &five}, {Failed: "pattern", PartOf: &five},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "a pattern for first lines" {
				zero := 0
				for i := 1; i < 5; i++ {
					tt.want[i].PartOf = &zero
				}
			}
			res := must[RuleTestResult](t)(b.TestRule(t.Context(), RuleTest{Rule: tt.rule, Lines: lines}))
			if res.Matched != tt.matched {
				t.Errorf("%d lines match", res.Matched)
			}
			for i, got := range res.Lines {
				if !reflect.DeepEqual(got, tt.want[i]) {
					t.Errorf("%s\ngot  %+v\nwant %+v", lines[i], got, tt.want[i])
				}
			}
		})
	}
}
