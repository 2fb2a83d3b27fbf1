package rule

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"logscan/internal/rule/match"
)

func TestEffectiveRules(t *testing.T) {
	r := func(id int64, workload string, overrides int64, enabled bool) Rule {
		return Rule{ID: id, Name: fmt.Sprint("rule ", id), Pattern: "x", Severity: "warn", Streams: "all",
			Enabled: enabled, WorkloadID: workload, OverridesID: overrides}
	}
	rules := []Rule{
		r(1, "", 0, true),
		r(2, "", 0, true),
		r(3, "", 0, false),
		r(4, "shop/web", 1, true),  // override
		r(5, "shop/db", 1, false),  // disabled override
		r(6, "shop/db", 0, true),   // addition
		r(7, "shop/db", 0, false),  // disabled addition
		r(8, "shop/db", 3, true),   // override of a disabled global
		r(9, "cache", 2, true),     // broken override, see below
		r(10, "mq", 4, true),       // override of an override
		r(11, "mq", 6, true),       // override of a workload's own rule
		r(12, "mq", 99, true),      // override of a missing rule
		r(13, "", 1, true),         // override without a workload
		r(14, "mq", 99, false),     // disabled: not worth a report
		r(15, "", 0, true),         // broken
		r(16, "shop/web", 0, true), // addition
		r(17, "mq", 17, true),      // override of itself
	}
	rules[8].Pattern, rules[14].Pattern = "(", "x{2000}"
	slices.Reverse(rules) // any order will do
	s, bad := Compile(rules)
	for workload, want := range map[string][]int64{
		"":         {1, 2},
		"other":    {1, 2},
		"shop/web": {2, 4, 16},
		"shop/db":  {2, 6, 8},
		"cache":    {1},
		"mq":       {1, 2},
	} {
		if got := ids(s.For(workload)); !slices.Equal(got, want) {
			t.Errorf("%q: rules %v, want %v", workload, got, want)
		}
		if once, again := s.For(workload), s.For(workload); once != again {
			t.Errorf("%q: another set when asked again", workload)
		}
	}
	var got []int64
	for _, b := range bad {
		got = append(got, b.RuleID)
		if b.Reason == "" || !strings.Contains(b.Error(), b.Name) {
			t.Errorf("%+v", b)
		}
	}
	if want := []int64{9, 10, 11, 12, 13, 15, 17}; !slices.Equal(got, want) {
		t.Errorf("reported %v, want %v", got, want)
	}
}

// The caller's rules may change afterwards; the snapshot doesn't.
func TestSnapshotIsACopy(t *testing.T) {
	rules := []Rule{valid()}
	s, _ := Compile(rules)
	rules[0].Severity = "error"
	if got := s.For("").Rules()[0].Severity; got != "warn" {
		t.Error(got)
	}
}

func TestForConcurrently(t *testing.T) {
	var rules []Rule
	for i := range 50 {
		r := valid()
		r.ID = int64(i + 1)
		if i > 10 {
			r.WorkloadID = fmt.Sprint("w", i%5)
		}
		rules = append(rules, r)
	}
	s, _ := Compile(rules)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			var st State
			for i := range 200 {
				s.For(fmt.Sprint("w", (i+g)%7)).Eval(&st, Line{Stream: "stdout", TimeNano: int64(i), Text: []byte("xyz")}, nil)
			}
		})
	}
	wg.Wait()
}

// Rules that share a pattern are each their own, whatever their streams and
// workloads.
func TestSharedPatterns(t *testing.T) {
	r := func(id int64, workload string, overrides int64, streams string) Rule {
		return Rule{ID: id, Name: fmt.Sprint("rule ", id), Pattern: "shared (x)", Severity: "warn", Streams: streams,
			Enabled: true, WorkloadID: workload, OverridesID: overrides}
	}
	other := r(3, "", 0, "all")
	other.Pattern = "sha.*x"
	s, bad := Compile([]Rule{
		r(1, "", 0, "stdout"), r(2, "", 0, "stderr"), other, r(4, "", 0, "all"),
		r(5, "web", 1, "all"), r(6, "web", 0, "stderr"), r(7, "db", 4, "stdout"),
	}, WithBucket(Bucket{}))
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	for _, tt := range []struct {
		workload, stream string
		want             []int64
	}{
		{"", "stdout", []int64{1, 3, 4}},
		{"", "stderr", []int64{2, 3, 4}},
		{"", "other", []int64{3, 4}},
		{"web", "stdout", []int64{3, 4, 5}},
		{"web", "stderr", []int64{2, 3, 4, 5, 6}},
		{"db", "stdout", []int64{1, 3, 7}},
		{"db", "stderr", []int64{2, 3}},
	} {
		var st State
		var got []int64
		for _, h := range s.For(tt.workload).Eval(&st, Line{Stream: tt.stream, Text: []byte("a shared x")}, nil) {
			got = append(got, h.Rule.ID)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q %s: %v, want %v", tt.workload, tt.stream, got, tt.want)
		}
	}
}

// Statistics change how rules are matched, not what they match.
func TestStatsChangeNoHit(t *testing.T) {
	lines := strings.Repeat("GET /a 200\nconnection to db refused\nerror: disk 3 failed\n", 2000)
	rules := []Rule{valid(), valid(), valid()}
	for i, p := range []string{`connection to \w+ (refused|reset)`, `disk (\d) failed`, `\d{3}$`} {
		rules[i].ID, rules[i].Pattern = int64(i+1), p
	}
	plain, _ := Compile(rules, WithBucket(Bucket{}))
	trained, _ := Compile(rules, WithBucket(Bucket{}), WithStats(match.Learn([]byte(lines))))
	var a, b State
	for line := range strings.Lines(lines[:len(lines)/100]) {
		l := text(strings.TrimSuffix(line, "\n"))
		if x, y := plain.For("").Eval(&a, l, nil), trained.For("").Eval(&b, l, nil); len(x) != 1 || len(y) != 1 || x[0].Rule.ID != y[0].Rule.ID {
			t.Errorf("%s: %v, %v", l.Text, x, y)
		}
	}
	if plain.Drifted() || trained.Drifted() {
		t.Error("drifted")
	}
}

// A change of one rule compiles that rule's pattern, and no other, however many
// there are and whether or not they can be used; what no rule has any more is
// forgotten.
func TestChangeCompilesOnePattern(t *testing.T) {
	var rules []Rule
	for i := range 200 {
		r := valid()
		r.ID, r.Pattern = int64(i+1), fmt.Sprintf(`rule %d (?:alpha|beta){1,20}[a-f]{1,100} end`, i)
		rules = append(rules, r)
	}
	rules[7].Pattern = "a("
	var patterns Patterns
	for _, step := range []struct {
		change string
		do     func()
		want   int // patterns compiled
	}{
		{"at first", func() {}, 200},
		{"nothing", func() {}, 0},
		{"a name", func() { rules[3].Name = "another" }, 0},
		{"a pattern", func() { rules[3].Pattern = "x" }, 1},
		{"one more with that pattern", func() { rules[4].Pattern = "x" }, 0},
		{"back", func() { rules[3].Pattern, rules[4].Pattern = "y", "y" }, 1},
		{"what was forgotten", func() { rules[3].Pattern = "x" }, 1},
		{"switched off", func() { rules[9].Enabled = false }, 0},
		{"a new rule", func() { r := valid(); r.ID, r.Pattern = 999, "new"; rules = append(rules, r) }, 1},
	} {
		step.do()
		before := patterns.compiled
		s, bad := Compile(rules, WithPatterns(&patterns))
		if got := patterns.compiled - before; got != step.want || len(bad) != 1 {
			t.Errorf("%s: %d patterns compiled, want %d; %v", step.change, got, step.want, bad)
		}
		var st State
		line := Line{Stream: "stdout", TimeNano: second, Text: []byte("rule 5 alphaaf end")}
		hits := s.For("").Eval(&st, line, nil)
		if !slices.ContainsFunc(hits, func(h Hit) bool { return h.Rule.ID == 6 }) {
			t.Errorf("%s: hits %v", step.change, hits)
		}
	}
	if len(patterns.known) > len(rules) {
		t.Errorf("%d patterns are kept for %d rules", len(patterns.known), len(rules))
	}
}
