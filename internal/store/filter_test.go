package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
)

// What a filter selects of the events that are published is what it selects of
// those stored.
func TestFilterOfPublishedEvents(t *testing.T) {
	s := openTest(t)
	const n = 200
	live, cancel := s.Subscribe(n)
	defer cancel()
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	start := time.Unix(1_800_000_000, 0)
	for i := range n {
		e := event.Event{Source: event.Source(pick("logscan", "system")), Severity: event.Severity(pick("info", "warn", "error")), Message: "m", CreatedAt: start.Add(time.Duration(i/2) * time.Second)}
		if r.IntN(4) > 0 {
			e.Metadata = map[string]any{"workload_id": pick("", "shop/web", "Shop/web"), "rule_name": pick("oom", "OOM"), "container_name": pick("web", "db")}
			if r.IntN(2) == 0 {
				e.Metadata["container_id"] = strings.Repeat(pick("ab", "w", "Ab"), 8)
				e.Metadata["rule_id"] = int64(r.IntN(3))
			}
		}
		if _, err := s.Commit(t.Context(), Batch{Events: []event.Event{e}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	var published []event.Event
	for range n {
		published = append(published, <-live)
	}
	filters := []EventFilter{
		{}, {Severities: []event.Severity{"error"}}, {Severities: []event.Severity{"error", "info"}}, {Source: event.System}, {Workload: "shop/web"}, {Workload: "other"},
		{Rule: "oom"}, {RuleID: 1}, {RuleID: 9}, {Container: "web"}, {Container: "w"}, {Container: "abab"}, {Container: "%b"}, {Container: strings.Repeat("w", 99)},
		{Since: start.Add(30 * time.Second)}, {Until: start.Add(30 * time.Second)}, {Since: start.Add(10 * time.Second), Until: start.Add(20 * time.Second)},
		{After: 50, Before: 60}, {After: 190}, {Before: 10}, {Severities: []event.Severity{"warn"}, Container: "web", Rule: "oom", RuleID: 2},
	}
	ids := func(events []event.Event, f EventFilter) string {
		var out []int64
		for _, e := range events {
			if f.Matches(e) {
				out = append(out, e.ID)
			}
		}
		return fmt.Sprint(out)
	}
	for _, f := range filters {
		f.Ascending = true
		stored, err := s.Events(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		want := ids(stored, EventFilter{})
		if got := ids(published, f); got != want {
			t.Errorf("%+v\nof those published %s\nof those stored    %s", f, got, want)
		}
		if got := ids(stored, f); got != want {
			t.Errorf("%+v refuses what it has selected", f)
		}
	}
}

// A container's events are found by an index, whether it is named or identified.
func TestContainerIndex(t *testing.T) {
	s := openTest(t)
	if _, err := s.Events(t.Context(), EventFilter{}); err != nil {
		t.Fatal(err)
	}
	for _, f := range []EventFilter{{Container: "web"}, {Container: "web", After: 7}, {Container: "web", Before: 7, Ascending: true}} {
		q, args := f.sql()
		rows, err := s.r.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+q, args...)
		plan, err := collect(rows, err, func(r row) (string, error) {
			var id, parent, unused int
			var detail string
			err := r.Scan(&id, &parent, &unused, &detail)
			return detail, err
		})
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(plan, func(step string) bool { return strings.Contains(step, "SCAN") }) || !strings.Contains(strings.Join(plan, "\n"), "event_log_container") {
			t.Errorf("%+v: %s", f, strings.Join(plan, "; "))
		}
	}
}
