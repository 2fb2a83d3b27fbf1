package scan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"logscan/internal/entry"
	"logscan/internal/journal"
	"logscan/internal/rule"
)

// apartRule is a rule that a workload has apart.
func apartRule(id int64, workload, pattern string) rule.Rule {
	r := rule.New()
	r.ID, r.Name, r.WorkloadID, r.Pattern, r.CooldownSeconds = id, fmt.Sprint("apart ", id), workload, pattern, 0
	return r
}

// TestSetWorkload has a workload get rules apart while another's container is in the middle
// of a record: that goes on.
func TestSetWorkload(t *testing.T) {
	g := newRig(t)
	g.cfg.RecordAfter = time.Hour
	first := both(t, `KeyError|File`, `(?s)Traceback.*KeyError`)
	g.start(first)
	w, other := g.container(0), g.container(1)
	defer w.end()
	defer other.end()
	put := func(w *writer, texts []string) {
		for _, text := range texts {
			w.put(entry.Entry{Source: "stderr", Line: []byte(text)})
		}
	}
	put(w, pythonTrace[:2])
	put(other, pythonTrace[:2])
	eventually(t, "both are read", func() bool { return g.s.Stats().Lines == 4 })
	next, bad := first.WithApart(map[string][]rule.Rule{"w1": {apartRule(9, "w1", "KeyError")}})
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	g.s.SetWorkload(next, "w1")
	eventually(t, "the workload's record ends there", func() bool { return len(g.events()) == 1 })
	put(w, pythonTrace[2:])
	put(other, pythonTrace[2:])
	w.a.Detach()
	other.a.Detach()
	g.caughtUp()
	var got []string
	for _, e := range g.events() {
		got = append(got, fmt.Sprintf("%v in %v, %d lines", e.Metadata["rule_id"], e.Metadata["container_name"], 1+strings.Count(record(e), "\n")))
	}
	slices.Sort(got)
	// Of the record that was cut, the rule about records as a whole matches neither part.
	want := []string{fmt.Sprintf("1 in c0, %d lines", len(pythonTrace)), fmt.Sprintf("2 in c0, %d lines", len(pythonTrace)), "1 in c1, 2 lines"}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("hits are %q, want %q among them", got, line)
		}
	}
	if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "9 in c1") }) || slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "9 in c0") }) {
		t.Errorf("hits are %q: the rule that is apart is for c1 alone", got)
	}
	// What was counted of a rule goes with it, and of no other.
	gone, _ := next.WithApart(map[string][]rule.Rule{"w1": nil})
	before := g.s.RuleStats()
	g.s.SetWorkload(gone, "w1")
	after := g.s.RuleStats()
	if _, known := before[9]; !known {
		t.Error("nothing was counted of the rule")
	}
	if _, known := after[9]; known || after[1] != before[1] {
		t.Errorf("counted is %+v, was %+v", after, before)
	}
}

// TestDeclare has what a container declares be seen to before its first line, once for each
// start, and its lines wait until that succeeds.
func TestDeclare(t *testing.T) {
	g := newRig(t)
	base := compile(t)
	var calls, fails atomic.Int64
	fails.Store(3)
	g.cfg.Declare = func(c *journal.Container) error {
		if c.Name != "c0" {
			return nil
		}
		if calls.Add(1); fails.Add(-1) >= 0 {
			return errors.New("no database")
		}
		with, _ := base.WithApart(map[string][]rule.Rule{c.Workload: {apartRule(1, c.Workload, "line")}})
		g.s.SetWorkload(with, c.Workload)
		return nil
	}
	g.start(base)
	w, other := g.container(0), g.container(1)
	defer w.end()
	defer other.end()
	w.lines("line 1")
	other.lines("line 1")
	w.lines("line 2")
	if got := messages(g.wait(2)); got != "line 1 line 2" {
		t.Errorf("hits: %s", got)
	}
	w.lines("line 3")
	g.wait(3)
	if n := calls.Load(); n != 4 {
		t.Errorf("%d calls, want 4, of which 3 failed", n)
	}
	// Another start, as of a container that is started again.
	c := w.j.Container()
	c.Started = c.Started.Add(time.Hour)
	j, err := g.dir.Create(c)
	if err != nil {
		t.Fatal(err)
	}
	j.Release()
	w.lines("line 4")
	g.wait(4)
	if n := calls.Load(); n != 5 {
		t.Errorf("%d calls, want 5", n)
	}
}
