package store

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/silence"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// seen is a hit of a rule at a time.
func seen(after time.Duration, rule int64, message string) event.Event {
	return event.Event{
		Source: event.Logscan, Severity: event.Error, Message: message, Time: t0.Add(after), CreatedAt: t0.Add(after),
		Metadata: map[string]any{"rule_id": rule, "rule_name": fmt.Sprint("rule-", rule), "workload_id": "shop/web", "container_name": "web-1", "container_id": "1"},
	}
}

func incidents(t *testing.T, s *Store, f IncidentFilter) []incident.Incident {
	t.Helper()
	return must[[]incident.Incident](t)(s.Incidents(t.Context(), f))
}

func notices(t *testing.T, s *Store, id int64) (out []string) {
	t.Helper()
	for _, n := range must[[]Noticed](t)(s.Notices(t.Context(), id)) {
		out = append(out, strings.TrimSuffix(string(n.Kind)+": "+n.Reason, ": "))
	}
	return out
}

// Hits of one rule, workload and shape are one incident, others are others; time
// ends them, and the next is a new one that knows the one before.
func TestIncidents(t *testing.T) {
	s := openTest(t)
	stored := emit(t, s, nil,
		seen(0, 1, "request 17 failed"), seen(1, 1, "request 18 failed"), seen(2, 1, "disk full"), seen(3, 2, "request 19 failed"),
		event.Event{Source: event.System, Severity: event.Warn, Message: "something about logscan", CreatedAt: t0})
	stored = append(stored, emit(t, s, nil, seen(time.Second, 1, "request 20 failed"))...)
	all := incidents(t, s, IncidentFilter{})
	if len(all) != 4 || all[3].Hits != 3 || all[3].FirstText != "request 17 failed" || all[3].LastText != "request 20 failed" || all[3].Readable != "request <num> failed" || all[0].Key.RuleID != 0 {
		t.Fatalf("%+v", all)
	}
	for n, e := range stored {
		got := must[event.Event](t)(s.Event(t.Context(), e.ID))
		if e.IncidentID == 0 || got.IncidentID != e.IncidentID {
			t.Errorf("event %d is part of %d and %d", n, e.IncidentID, got.IncidentID)
		}
	}
	if stored[0].IncidentID != stored[5].IncidentID || stored[0].IncidentID == stored[3].IncidentID {
		t.Errorf("%+v", stored)
	}
	if got := must[[]event.Event](t)(s.Events(t.Context(), EventFilter{Incident: stored[0].IncidentID})); len(got) != 3 {
		t.Errorf("%d events of an incident", len(got))
	}
	first := stored[0].IncidentID
	if got := fmt.Sprint(notices(t, s, first)); got != "[opened]" {
		t.Error(got)
	}
	pass := func(watermark time.Time) {
		t.Helper()
		if err := s.Pass(t.Context(), watermark, watermark); err != nil {
			t.Fatal(err)
		}
	}
	pass(t0.Add(15*time.Minute + 9))
	if got := incidents(t, s, IncidentFilter{States: []incident.State{incident.Resolved}}); len(got) != 3 {
		t.Errorf("%d incidents are resolved", len(got))
	}
	pass(t0.Add(15*time.Minute + time.Second))
	if got := incidents(t, s, IncidentFilter{States: []incident.State{incident.Open}}); len(got) != 0 {
		t.Errorf("%+v are open", got)
	}
	if got := fmt.Sprint(notices(t, s, first)); got != "[opened resolved: quiet for 15 min]" {
		t.Error(got)
	}
	again := emit(t, s, nil, seen(2*time.Hour, 1, "request 21 failed"))[0].IncidentID
	if got := fmt.Sprint(notices(t, s, again)); again == first || got != "[opened: again, after 1 h 44 min; 2nd time this week]" {
		t.Error(got)
	}
	if due := s.Due(); !due.Equal(t0.Add(2*time.Hour + 15*time.Minute)) {
		t.Errorf("due at %s", due)
	}
	if err := s.Prune(t.Context(), 0, t0.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := incidents(t, s, IncidentFilter{}); len(got) != 1 || got[0].ID != again {
		t.Errorf("%d incidents are left", len(got))
	}
}

// Filters select.
func TestIncidentFilter(t *testing.T) {
	s := openTest(t)
	worse := seen(0, 3, "c")
	worse.Severity = event.Critical
	emit(t, s, nil, seen(0, 1, "a"), seen(0, 2, "b"), worse)
	for want, f := range map[string]IncidentFilter{
		"3 2 1": {}, "3": {Severity: event.Critical}, "2": {Rule: "rule-2"}, "2 1": {Before: 3}, "3 2": {Limit: 2}, "": {Workload: "x"},
		" 3 2 1": {Workload: "shop/web", States: []incident.State{incident.Open, incident.Snoozed}}, " ": {States: []incident.State{incident.Snoozed}},
	} {
		var ids []string
		for _, i := range incidents(t, s, f) {
			ids = append(ids, fmt.Sprint(i.ID))
		}
		if got := strings.Join(ids, " "); got != strings.TrimSpace(want) {
			t.Errorf("%+v: %s", f, got)
		}
	}
}

// Beyond the bound, one incident takes the other shapes and names the most frequent.
func TestTooManyIncidents(t *testing.T) {
	s := openTest(t)
	word := func(n int) string {
		return strings.Map(func(r rune) rune { return 'k' + r - '0' }, fmt.Sprintf("%06d", n))
	}
	var batch []event.Event
	for n := range incident.MaxOpen + 500 {
		batch = append(batch, seen(time.Duration(n), 1, "failed "+word(n)))
	}
	for n := range 100 {
		batch = append(batch, seen(time.Duration(n), 1, "often "+word(5)))
	}
	emit(t, s, nil, batch[:1000]...)
	emit(t, s, nil, batch[1000:]...)
	open := incidents(t, s, IncidentFilter{Limit: 1})
	var count, hits int64
	if err := s.r.QueryRow("SELECT count(*), sum(data ->> '$.hits') FROM incidents").Scan(&count, &hits); err != nil {
		t.Fatal(err)
	}
	if count != incident.MaxOpen+1 || hits != int64(len(batch)) || open[0].Key.Shape != incident.OtherShapes || open[0].Hits != 600 || open[0].Shapes["often "+word(5)] < 100 {
		t.Errorf("%d incidents, %d hits, %+v", count, hits, open[0])
	}
}

// A commit that fails leaves no incident and no count behind.
func TestFailedCommitFoldsNothing(t *testing.T) {
	s := openTest(t)
	emit(t, s, nil, seen(0, 1, "a"))
	bad := seen(1, 1, "a")
	bad.Metadata["f"] = func() {}
	if _, err := s.Commit(t.Context(), Batch{Events: []event.Event{seen(1, 1, "a"), seen(1, 1, "b"), bad}}, nil); err == nil {
		t.Fatal("taken")
	}
	if all := incidents(t, s, IncidentFilter{}); len(all) != 1 || all[0].Hits != 1 {
		t.Errorf("%+v", all)
	}
	// One that is refused for what it holds gives way to another, and counts there.
	instead := func(e event.Event, err error) event.Event {
		return event.Event{Source: event.System, Severity: event.Error, Message: "refused"}
	}
	if _, err := s.Commit(t.Context(), Batch{Events: []event.Event{seen(1, 1, "a"), bad}, Instead: instead}, nil); err != nil {
		t.Fatal(err)
	}
	if all := incidents(t, s, IncidentFilter{}); len(all) != 2 || all[1].Hits != 2 || all[0].Rule != "logscan" {
		t.Errorf("%+v", all)
	}
}

func TestChangeIncident(t *testing.T) {
	s := openTest(t)
	id := emit(t, s, nil, seen(0, 1, "a"))[0].IncidentID
	got, err := s.ChangeIncident(t.Context(), id, func(i *incident.Incident) (incident.Notice, error) {
		return i.Acknowledge(t0, "me", "known")
	})
	if err != nil || got.State != incident.Acknowledged {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.ChangeIncident(t.Context(), id, func(i *incident.Incident) (incident.Notice, error) {
		i.State = incident.Resolved
		return incident.Notice{}, context.Canceled
	}); err != context.Canceled {
		t.Error(err)
	}
	if got := must[incident.Incident](t)(s.Incident(t.Context(), id)); got.State != incident.Acknowledged || got.By != "me" || got.Note != "known" {
		t.Errorf("%+v", got)
	}
	if _, err := s.ChangeIncident(t.Context(), id, func(i *incident.Incident) (incident.Notice, error) { return i.Resolve(t0, "me", "done") }); err != nil {
		t.Error(err)
	}
	if got := fmt.Sprint(notices(t, s, id)); got != "[opened acknowledged: by me: known resolved: by hand]" {
		t.Error(got)
	}
	if _, err := s.ChangeIncident(t.Context(), id+1, nil); err != ErrNotFound {
		t.Error(err)
	}
}

// What a silence holds back is folded, and told of once at its end.
func TestSilences(t *testing.T) {
	s := openTest(t)
	now := time.Now()
	s.UseIncidents(silencing{s: s})
	v := silence.Silence{Matchers: []silence.Matcher{{Field: "rule", Op: silence.Is, Value: "rule-1"}}, Starts: now.Add(-time.Hour), Ends: now.Add(time.Hour)}
	v = must[silence.Silence](t)(s.CreateSilence(t.Context(), v))
	emit(t, s, nil, seen(0, 1, "a"), seen(0, 1, "b"), seen(0, 2, "a"))
	if held := must[Silenced](t)(s.SilencedBy(t.Context(), v.ID)); held.Notices != 2 || held.Incidents != 2 {
		t.Errorf("%+v", held)
	}
	if p := must[Silenced](t)(s.PreviewSilence(t.Context(), silence.Silence{Matchers: []silence.Matcher{{Field: "rule", Op: silence.Is, Value: "rule-*"}}}, now.Add(-time.Hour))); p.Notices != 3 || p.Incidents != 3 || len(p.Rules) != 2 || p.Rules[0] != "rule-1" {
		t.Errorf("%+v", p)
	}
	receipts := func() (out []string) {
		for range 2 {
			if err := s.TellSilences(t.Context(), func(v silence.Silence) bool { return v.Active(time.Now()) }, nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, e := range must[[]event.Event](t)(s.Events(t.Context(), EventFilter{Source: event.System})) {
			out = append(out, e.Message)
		}
		return out
	}
	if got := receipts(); got != nil {
		t.Errorf("told of while it holds: %v", got)
	}
	if _, err := s.EndSilence(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(receipts()); got != "[Silence 1 (rule=rule-1) held back 2 notices of 2 incidents, of the rules rule-1.]" {
		t.Error(got)
	}
	if _, err := s.EndSilence(t.Context(), 99); err != ErrNotFound {
		t.Error(err)
	}
}
