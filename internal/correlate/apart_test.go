package correlate

import (
	"testing"

	"logscan/internal/rule"
)

// TestApart has rules come and go that a workload has apart: what is added up of the others
// goes on, and what is open of one that goes ends.
func TestApart(t *testing.T) {
	count := func(id int64, pattern, workload string) rule.Rule {
		r := rule.New()
		r.ID, r.Name, r.WorkloadID, r.Pattern, r.Kind, r.AtLeast, r.WithinSeconds = id, "r", workload, pattern, rule.KindCount, 2, 60
		return r
	}
	g := newRig(t, count(1, "all", ""))
	db := Container{ID: "c3", Name: "db", Workload: "shop/db"}
	set := func(rules ...rule.Rule) {
		t.Helper()
		snapshot, bad := g.snapshot.WithApart(map[string][]rule.Rule{web.Workload: rules})
		if len(bad) > 0 {
			t.Fatal(bad)
		}
		g.snapshot = snapshot
		clear(g.rules)
		for _, r := range snapshot.Correlated() {
			g.rules[r.ID] = r
		}
		g.e.SetRules(snapshot, int64(10e9))
	}
	line := rule.New()
	line.ID, line.Name, line.WorkloadID, line.Pattern = 3, "line", web.Workload, "own"
	g.line(db, 1, "all 1")
	set(line) // adds nothing up
	set(line, count(2, "own", web.Workload))
	g.line(db, 2, "all 2")
	g.line(web, 3, "own 1")
	g.line(db, 3, "own 1")
	g.line(web, 4, "own 2")
	g.line(db, 4, "own 2")
	g.commit()
	if n := len(g.out); n != 2 {
		t.Errorf("%d outcomes, want a hit of each rule: %q", n, g.out)
	}
	g.out = nil
	set(line)
	g.commit()
	g.want("10s end: the rule was removed or switched off")
}
