package api

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// A test of a rule takes a bounded amount of work, whatever the rule and the
// lines are, and says which lines it gave up.
func TestRuleTestIsBounded(t *testing.T) {
	b := newBench(t)
	dear := strings.Repeat("a", 10_000) + "b"
	lines := []string{"aab"}
	for range 40 {
		lines = append(lines, dear)
	}
	lines = append(lines, "aab")
	res := must[RuleTestResult](t)(b.TestRule(t.Context(), RuleTest{Pattern: `(a?){1000}.*c`, Lines: lines}))
	givenUp := 0
	for _, l := range res.Lines {
		if l.GivenUp {
			givenUp++
		}
	}
	if res.Matched != 0 || res.Lines[0].GivenUp || res.Lines[1].GivenUp || !res.Lines[len(lines)-1].GivenUp || givenUp < 20 {
		t.Errorf("%d of %d lines given up, the first: %+v", givenUp, len(lines), res.Lines[:2])
	}
	// One line alone may be too much, and then it is that line's matter.
	res = must[RuleTestResult](t)(b.TestRule(t.Context(), RuleTest{Pattern: `(a?){1000}.*b`, Lines: []string{strings.Repeat(dear, 3), "aab"}}))
	if !res.Lines[0].GivenUp || res.Lines[0].Matched || res.Lines[1].GivenUp || !res.Lines[1].Matched || res.Lines[1].Spans[0] != (Span{0, 3}) {
		t.Errorf("%+v", res)
	}
}

// A test says which condition a line doesn't fulfil.
func TestRuleTestSaysWhy(t *testing.T) {
	b := newBench(t)
	ask := RuleTest{Pattern: "status=5", All: []string{"GET"}, Ignore: []string{"/health"}, Lines: []string{"GET / status=500", "GET / status=200", "PUT / status=500", "GET /health status=503"}}
	res := must[RuleTestResult](t)(b.TestRule(t.Context(), ask))
	want := []LineTest{{Matched: true}, {Failed: "pattern"}, {Failed: "all", By: "GET"}, {Failed: "ignore", By: "/health"}}
	for i, l := range res.Lines {
		if l.Matched != want[i].Matched || l.Failed != want[i].Failed || l.By != want[i].By {
			t.Errorf("%s: %+v", ask.Lines[i], l)
		}
	}
	ask.Ignore = []string{"("}
	if _, err := b.TestRule(t.Context(), ask); err == nil || !strings.Contains(err.Error(), "ignore: pattern 1 ") {
		t.Errorf("a pattern that is none: %v", err)
	}
	r := must[Rule](t)(b.CreateRule(t.Context(), RuleCreate{Name: "r", Pattern: "x", RuleFields: RuleFields{"ignore": []string{"y", "z,1"}}}))
	if _, err := b.TestRule(t.Context(), RuleTest{RuleID: r.ID, Ignore: []string{"y"}, Lines: []string{"x"}}); err == nil || !strings.Contains(err.Error(), "go with a pattern") {
		t.Errorf("conditions beside a rule: %v", err)
	}
	changed := must[Rule](t)(b.UpdateRule(t.Context(), r.ID, RuleFields{"all": []string{"w"}}))
	if len(changed.Ignore) != 2 || changed.Ignore[1] != "z,1" || len(changed.All) != 1 {
		t.Errorf("%+v", changed)
	}
}

// A test of conditions on fields needs no pattern, and says what the field is.
func TestRuleTestOfFields(t *testing.T) {
	b := newBench(t)
	value := func(s string) *string { return &s }
	ask := RuleTest{Where: []string{"status >= 500", "path != /health"}, Lines: []string{`{"status":502}`, `{"status":404}`, `status=503 path=/health`, `{"status":""}`, "x"}}
	for name, want := range map[string][]LineTest{
		"": {{Matched: true}, {Failed: "where", By: "status >= 500", Field: "status", Value: value("404")}, {Failed: "where", By: "path != /health", Field: "path", Value: value("/health")},
			{Failed: "where", By: "status >= 500", Field: "status", Value: value("")}, {Failed: "where", By: "status >= 500", Field: "status"}},
		"x":      {{Failed: "pattern"}, {Failed: "pattern"}, {Failed: "pattern"}, {Failed: "pattern"}, {Failed: "where", By: "status >= 500", Field: "status"}},
		"status": {{Matched: true, Spans: []Span{{2, 8}}}, {Failed: "where", By: "status >= 500", Field: "status", Value: value("404")}, {Failed: "where", By: "path != /health", Field: "path", Value: value("/health")}, {Failed: "where", By: "status >= 500", Field: "status", Value: value("")}, {Failed: "pattern"}},
	} {
		ask.Pattern = name
		res := must[RuleTestResult](t)(b.TestRule(t.Context(), ask))
		if !reflect.DeepEqual(res.Lines, want) {
			t.Errorf("%s: %+v", name, res.Lines)
		}
	}
	res := must[RuleTestResult](t)(b.TestRule(t.Context(), RuleTest{All: []string{"a", "b"}, Lines: []string{"ab", "a", "b"}}))
	if res.Lines[0].Failed != "" || res.Lines[1].By != "b" || res.Lines[2].By != "a" || res.Lines[2].Failed != "all" {
		t.Errorf("of all: %+v", res.Lines)
	}
	for _, bad := range []RuleTest{{Lines: []string{"x"}}, {Where: []string{"status"}}, {RuleID: 1, Where: []string{"a = 1"}}, {Ignore: []string{"x"}}} {
		if _, err := b.TestRule(t.Context(), bad); err == nil {
			t.Errorf("%+v is a test", bad)
		}
	}
	r := must[Rule](t)(b.CreateRule(t.Context(), RuleCreate{Name: "r", RuleFields: RuleFields{"where": []string{"status >= 500"}}}))
	res = must[RuleTestResult](t)(b.TestRule(t.Context(), RuleTest{RuleID: r.ID, Lines: []string{"status=500"}}))
	if res.Matched != 1 || r.Pattern != "" {
		t.Errorf("%+v, %+v", res, r)
	}
	for field, change := range map[string]RuleFields{"pattern": {"where": nil}, "where": {"where": []string{"$x = 1"}}} {
		_, err := b.UpdateRule(t.Context(), r.ID, change)
		wantProblem(t, err, 422, field)
	}
}

// A test ends in time whatever groups and places take, which is not counted.
func TestRuleTestEnds(t *testing.T) {
	s := &server{testing: make(chan struct{}, testsAtOnce), testTime: 50 * time.Millisecond}
	lines := make([]string, 500)
	for i := range lines {
		lines[i] = strings.Repeat("ab", 2000) + "x"
	}
	out, err := s.testRule(t.Context(), &struct{ Body RuleTest }{RuleTest{Pattern: `([ab]{0,900}c|x)`, Lines: lines}})
	if err != nil || out.Body.Matched == 0 || !out.Body.Lines[len(lines)-1].GivenUp {
		t.Errorf("%v, of %d lines %d match", err, len(lines), out.Body.Matched)
	}
}

// Tests of rules wait for each other, and for a client only as long as it does.
func TestRuleTestsWait(t *testing.T) {
	s := &server{testing: make(chan struct{}, testsAtOnce)}
	for range testsAtOnce {
		s.testing <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	try := func() {
		_, err := s.testRule(ctx, &struct{ Body RuleTest }{RuleTest{Pattern: "x", Lines: []string{"x"}}})
		done <- err
	}
	go try()
	<-s.testing
	if err := <-done; err != nil {
		t.Errorf("with room: %v", err)
	}
	s.testing <- struct{}{}
	go try()
	cancel()
	if err := <-done; err == nil {
		t.Error("went on for a client that has gone")
	}
}

// Where it is asked for, a test says of each condition whether a line fulfils it.
func TestRuleTestOfConditions(t *testing.T) {
	b := newBench(t)
	ask := RuleTest{
		Conditions: true, Lines: []string{"GET /health status=503", "PUT / status=200"},
		Rule: RuleFields{"pattern": "status=", "all": []string{"GET"}, "ignore": []string{"/health"}, "where": []string{"status >= 500", "took < 1s"}},
	}
	res := must[RuleTestResult](t)(b.TestRule(t.Context(), ask))
	text := func(c ConditionTest) string {
		value := "missing"
		if c.Value != nil {
			value = *c.Value
		}
		return fmt.Sprint(c.Part, c.Kind, " ", c.By, " ", c.Met, c.Spans, c.Field, value)
	}
	want := []string{
		"pattern status= true [{12 19}]missing", "all GET true [{0 3}]missing", "ignore /health false [{4 11}]missing", "where status >= 500 true []status503", "where took < 1s false []tookmissing",
		"pattern status= true [{6 13}]missing", "all GET false []missing", "ignore /health true []missing", "where status >= 500 false []status200", "where took < 1s false []tookmissing",
	}
	for i, c := range slices.Concat(res.Lines[0].Conditions, res.Lines[1].Conditions) {
		if i >= len(want) || text(c) != want[i] {
			t.Errorf("%d: %s", i, text(c))
		}
	}
	if n := len(res.Lines[0].Conditions); n != 5 || res.Matched != 0 {
		t.Errorf("%d conditions: %+v", n, res)
	}
	ask.Conditions = false
	if res = must[RuleTestResult](t)(b.TestRule(t.Context(), ask)); res.Lines[0].Conditions != nil {
		t.Errorf("not asked for: %+v", res.Lines[0])
	}
	// Of a record that is looked at as a whole, its first line has them.
	res = must[RuleTestResult](t)(b.TestRule(t.Context(), RuleTest{
		Conditions: true, Lines: []string{"java.lang.IllegalStateException: no", "\tat shop.Cart.add(Cart.java:7)"},
		Rule: RuleFields{"pattern": "Cart", "record": true},
	}))
	if c := res.Lines[0].Conditions; len(c) != 1 || !c[0].Met || len(res.Lines[1].Conditions) > 0 || !res.Lines[1].Matched {
		t.Errorf("%+v", res.Lines)
	}
	// What is answered is bounded.
	ask.Conditions, ask.Lines = true, slices.Repeat([]string{"x"}, 1000)
	ask.Rule["all"] = slices.Repeat([]string{strings.Repeat("y", 4000)}, 16)
	if _, err := b.TestRule(t.Context(), ask); err == nil || !strings.Contains(err.Error(), "send fewer") {
		t.Errorf("1000 lines: %v", err)
	}
}
