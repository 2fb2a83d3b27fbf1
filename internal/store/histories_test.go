package store

import (
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/rule"
)

// A history that is owed is stored once, with marks, without an incident and without a
// delivery; with its rule it goes.
func TestHistories(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	since := time.Unix(7, 5).UTC()
	make := func(name string) rule.Rule {
		r := rule.New()
		r.Name, r.Pattern = name, "x"
		return must[rule.Rule](t)(s.CreateRuleWithHistory(ctx, r, since))
	}
	one, other := make("one"), make("other")
	if owed, err := s.Histories(ctx); err != nil || len(owed) != 2 || owed[0] != (History{one.ID, since}) {
		t.Fatal(owed, err)
	}
	hit := event.Event{Source: event.Logscan, Severity: event.Warn, Message: "m", Metadata: map[string]any{"rule_id": one.ID, "rule_name": "one", "workload_id": "w"}, IncidentID: 9, ID: 9}
	bad := hit
	bad.Metadata = map[string]any{"rule_name": "one", "captures": func() {}}
	for range 2 {
		if err := s.PutHistory(ctx, one.ID, []event.Event{hit, bad}); err != nil {
			t.Fatal(err)
		}
	}
	events, err := s.Events(ctx, EventFilter{Ascending: true})
	if err != nil || len(events) != 2 || events[0].Message != "m" || events[0].Metadata[event.History] != true || events[0].IncidentID != 0 || events[1].Metadata["rule_name"] != "one" {
		t.Errorf("%+v, %v", events, err)
	}
	if all, err := s.Incidents(ctx, IncidentFilter{}); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	if err := s.DeleteRule(ctx, other.ID); err != nil {
		t.Fatal(err)
	}
	if owed, err := s.Histories(ctx); err != nil || len(owed) != 0 {
		t.Error(owed, err)
	}
}
