package rule

import (
	"strings"
	"testing"
)

func runOf(set func(*Rule)) Rule {
	r := New()
	r.ID, r.Name, r.Kind = 1, "backup", KindRun
	set(&r)
	return r
}

func TestRunsAreChecked(t *testing.T) {
	for want, r := range map[string]Rule{
		"": runOf(func(r *Rule) {
			r.Must, r.MustNot, r.MinLines, r.MaxDurationSeconds, r.Restarts, r.WithinSeconds = []string{"done"}, []string{"ERROR\nignore harmless"}, 3, 60, 5, 300
		}),
		"must: is required where":           runOf(func(*Rule) {}),
		"pattern: is not for rules of kind": runOf(func(r *Rule) { r.Pattern, r.MinLines = "x", 1 }),
		"where: is not for rules of kind":   runOf(func(r *Rule) { r.Where, r.MinLines = []string{"a = 1"}, 1 }),
		"all: is not for rules of kind":     runOf(func(r *Rule) { r.All, r.MinLines = []string{"x"}, 1 }),
		"must: 1: pattern missing closing":  runOf(func(r *Rule) { r.Must = []string{"a("} }),
		"must_not: 2 has no pattern":        runOf(func(r *Rule) { r.MustNot = []string{"x", "ignore y"} }),
		"min_lines: must be from 1":         runOf(func(r *Rule) { r.MinLines = -1 }),
		"max_duration_seconds: must be":     runOf(func(r *Rule) { r.MaxDurationSeconds = -1 }),
		"restarts: must be from 2":          runOf(func(r *Rule) { r.Restarts, r.WithinSeconds = 1, 60 }),
		"within_seconds: is required with":  runOf(func(r *Rule) { r.Restarts = 3 }),
		"goes with restarts":                runOf(func(r *Rule) { r.MinLines, r.WithinSeconds = 3, 60 }),
		"per: is for rules of kind":         runOf(func(r *Rule) { r.MinLines, r.Per = 3, PerWorkload }),
		"by: is for rules of kind":          runOf(func(r *Rule) { r.Must, r.By = []string{"x"}, []string{"level"} }),
		"must_not: is for rules of kind":    func() Rule { r := valid(); r.MustNot = []string{"x"}; return r }(),
		"restarts: is for rules of kind":    func() Rule { r := valid(); r.Restarts = 2; return r }(),
	} {
		err := Fields.Validate(r)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

// TestRunSets has rules of kind run be in effect where they are meant, also those that no
// line is meant by.
func TestRunSets(t *testing.T) {
	lines := runOf(func(r *Rule) { r.MinLines = 3 })
	must := runOf(func(r *Rule) {
		r.ID, r.Must, r.MustNot, r.Images = 2, []string{"done", "where size > 0"}, []string{"ERROR"}, []string{"busybox*"}
	})
	off := runOf(func(r *Rule) { r.ID, r.MinLines, r.State, r.OverridesID, r.WorkloadID = 3, 5, Off, 1, "other" })
	s, bad := Compile([]Rule{lines, must, off})
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	for _, c := range []struct {
		of      Container
		rules   int
		counted bool
	}{
		{Container{Workload: "backup", Image: "busybox:1"}, 2, true},
		{Container{Workload: "backup", Image: "nginx"}, 1, true},
		{Container{Workload: "other", Image: "busybox"}, 1, false},
		{Container{Workload: "other", Image: "nginx"}, 0, false},
	} {
		set := s.ForContainer(c.of)
		rules, counted := set.Runs()
		if len(rules) != c.rules || counted != c.counted || len(set.Correlated()) != c.rules {
			t.Errorf("%+v: %d rules, counted %t", c.of, len(rules), counted)
		}
	}
	if !s.Runs() || s.Waits() {
		t.Error("what the rules ask for")
	}
	m := s.ForContainer(Container{Image: "busybox"}).Begin()
	defer m.End()
	var st State
	for line, want := range map[string]string{"all done": "must 1", "size=5 done": "must 2, must 1", "ERROR size=0": "must_not 1", "other": ""} {
		l := Line{Stream: "stderr", Text: []byte(line)}
		var got []string
		if m.Match(&st, l) {
			m.Admit(&st, l, nil)
		}
		for _, match := range m.TakeMatches() {
			got = append(got, Part{Role: match.Role, N: match.N}.String())
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%q is %q, not %q", line, got, want)
		}
	}
	if ids := s.Matches([]byte("x")); len(ids) > 0 {
		t.Errorf("rules %v match a line that none is about", ids)
	}
	if got, want := must.Sums(), "run: a line matches /done/, a line matches where size > 0, no line matches /ERROR/"; got != want {
		t.Errorf("%q, not %q", got, want)
	}
	if i := must.Incidents(); !i.EndsByRule || !i.TellResolved || i.ResolveAfter != 0 {
		t.Errorf("%+v", i)
	}
}
