package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/silence"
	"logscan/internal/trigger"
)

// delivered has all that waits for a trigger be delivered.
func (l *live) delivered(id int64) {
	l.t.Helper()
	for {
		job := must[trigger.Job](l.t)(l.Next(l.t.Context(), id, trigger.Delivery{}))
		if job.Delivery.ID == "" {
			return
		}
		job.Delivery.State = trigger.Delivered
		if err := l.Record(l.t.Context(), []trigger.Delivery{job.Delivery}); err != nil {
			l.t.Fatal(err)
		}
	}
}

// Messages and incidents go by age and by number, as events do; what waits stays, and
// so does what a budget counts.
func TestPruneIncidents(t *testing.T) {
	l := newLive(t)
	ops := l.trigger("ops", func(t *trigger.Trigger) { t.GroupBy, t.GroupIntervalSeconds, t.AtMost = "incident", 0, "3/d" })
	l.seen("a broke", "b broke", "c broke")
	l.delivered(ops)
	l.seen("d broke") // held for the budget
	l.pass(15 * time.Minute)
	if err := l.Prune(t.Context(), 0, l.at.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n := rowsOf(t, l.Store, "deliveries"); n != 3 {
		t.Errorf("%d messages, which the budget counts", n)
	}
	if n := rowsOf(t, l.Store, "incidents"); n != 1 {
		t.Errorf("%d incidents, where one is yet to be told", n)
	}
	l.pass(24 * time.Hour)
	if n := rowsOf(t, l.Store, "deliveries"); n != 4 {
		t.Errorf("%d messages", n)
	}
	l.at = t0.Add(72 * time.Hour)
	if err := l.Prune(t.Context(), 0, l.at.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n := rowsOf(t, l.Store, "deliveries"); n != 1 {
		t.Errorf("%d messages, where one waits", n)
	}
	l.delivered(ops)
	if n := rowsOf(t, l.Store, "incidents"); n != 0 {
		t.Errorf("%d incidents", n)
	}
	for range 5 { // by number alone, each a day after the last
		l.seen("e broke")
		l.delivered(ops)
		l.pass(l.at.Sub(t0) + 24*time.Hour)
	}
	if err := l.Prune(t.Context(), 2, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if n, m := rowsOf(t, l.Store, "deliveries"), rowsOf(t, l.Store, "incidents"); n != 2 || m != 2 {
		t.Errorf("%d messages, %d incidents", n, m)
	}
	if n := rowsOf(t, l.Store, "groups"); n != 0 {
		t.Errorf("%d groups are remembered", n)
	}
}

// Where the file is too large, incidents that are over and sent messages give way too.
func TestPruneIncidentsToSize(t *testing.T) {
	l := newLive(t)
	ops := l.trigger("ops", func(t *trigger.Trigger) { t.GroupBy, t.GroupIntervalSeconds = "incident", 0 })
	var batch []event.Event
	for n := range 3 * keepNewest {
		batch = append(batch, seen(time.Duration(n), int64(n%2+1), letters(n)+" broke"))
	}
	emit(t, l.Store, nil, batch...)
	l.delivered(ops)
	l.pass(time.Hour)
	if err := l.PruneToSize(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if d, i, e := rowsOf(t, l.Store, "deliveries"), rowsOf(t, l.Store, "incidents"), rowsOf(t, l.Store, "event_log"); d > keepNewest+1 || i > keepNewest+1 || e != keepNewest {
		t.Errorf("%d messages, %d incidents, %d events", d, i, e)
	}
}

// What a trigger told last of what is open can be told again, and is kept for that,
// however old it is; not what it told before, nor of what is over, nor while something
// newer waits.
func TestLastTold(t *testing.T) {
	l := newLive(t)
	id := l.trigger("am", func(t *trigger.Trigger) { t.ActionURL = "alertmanager+http://10.0.0.1:9093" })
	other := l.trigger("ops", func(t *trigger.Trigger) { t.GroupBy, t.GroupIntervalSeconds = "incident", 0 })
	l.settings = incident.Settings{Repeat: time.Hour}
	open := func(id int64) (out []string) {
		t.Helper()
		for after := int64(0); ; {
			job := must[trigger.Job](t)(l.LastTold(t.Context(), id, after))
			if job.Delivery.ID == "" {
				return out
			}
			if n := job.Message.Notices[0]; job.Delivery.IncidentID <= after || job.Delivery.TriggerID != id || job.Message.ID != job.Delivery.ID || n.Incident != job.Delivery.IncidentID {
				t.Fatalf("%+v", job)
			}
			after = job.Delivery.IncidentID
			out = append(out, job.Message.Notices[0].Kind+" "+job.Message.Notices[0].Text)
		}
	}
	is := func(id int64, want string) {
		t.Helper()
		if got := fmt.Sprint(open(id)); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
	l.seen("a broke", "b broke", "c broke")
	is(id, "[]")
	l.delivered(id)
	is(id, "[opened a broke opened b broke opened c broke]")
	is(other, "[]")
	l.delivered(other)
	l.seen("critical: b broke")
	is(id, "[opened a broke opened c broke]")
	l.delivered(id)
	is(id, "[opened a broke escalated b broke opened c broke]")
	change := func(n int64, change func(*incident.Incident) (incident.Notice, error)) {
		t.Helper()
		must[incident.Incident](t)(l.ChangeIncident(t.Context(), n, change))
	}
	change(3, func(i *incident.Incident) (incident.Notice, error) { return i.Resolve(l.at, "me", "") })
	is(id, "[opened a broke escalated b broke]")
	change(1, func(i *incident.Incident) (incident.Notice, error) { return i.Acknowledge(l.at, "me", "") })
	l.delivered(id)
	l.delivered(other)
	for _, prune := range []func() error{
		func() error { return l.Prune(t.Context(), 0, l.at.Add(-time.Hour)) },
		func() error { return l.Prune(t.Context(), 1, time.Time{}) },
	} {
		l.at = l.at.Add(100 * 24 * time.Hour)
		if err := prune(); err != nil {
			t.Fatal(err)
		}
		is(id, "[opened a broke escalated b broke]")
		is(other, "[opened a broke escalated b broke]")
		if n := rowsOf(t, l.Store, "deliveries"); n != 4 {
			t.Errorf("%d messages are kept", n)
		}
	}
	// One that is given up is not what the receiver knows. The other one ends by now.
	l.pass(l.at.Sub(t0))
	var kinds []string
	for {
		job := must[trigger.Job](t)(l.Next(t.Context(), id, trigger.Delivery{}))
		if job.Message == nil {
			break
		}
		kinds = append(kinds, job.Message.Notices[0].Kind)
		job.Delivery.State = trigger.Dead
		if err := l.Record(t.Context(), []trigger.Delivery{job.Delivery}); err != nil {
			t.Fatal(err)
		}
	}
	if slices.Sort(kinds); !slices.Equal(kinds, []string{"repeated", "resolved"}) {
		t.Errorf("%v", kinds)
	}
	is(id, "[escalated b broke]")
}

// An incident that goes on for long has a bounded number of notices, and the newest are
// shown.
func TestNoticesOfOneIncident(t *testing.T) {
	l := newLive(t)
	l.settings.ResolveAfter, l.settings.Repeat = 0, 10*time.Hour
	l.seen("a broke")
	for n := range maxNotices + 50 {
		l.pass(time.Duration(n) * 24 * time.Hour)
	}
	got := notices(t, l.Store, 1)
	if len(got) != maxNotices || !strings.HasPrefix(got[len(got)-1], "repeated: open for 104") {
		t.Errorf("%d, the last %s", len(got), got[len(got)-1])
	}
}

// Silences that have ended, and told what they held back, give way to new ones, and go
// by age.
func TestEndedSilencesGo(t *testing.T) {
	l := newLive(t)
	add := func(of string, d time.Duration) error {
		_, err := l.CreateSilence(t.Context(), silence.Silence{Matchers: []silence.Matcher{{Field: "rule", Op: silence.Is, Value: of}}, Starts: l.at, Ends: l.at.Add(d)})
		return err
	}
	if err := add("rule-1", time.Minute); err != nil {
		t.Fatal(err)
	}
	l.reload()
	l.seen("a broke") // the first is yet to tell of it
	for range MaxSilences - 1 {
		if err := add("x", time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if err := add("x", time.Hour); err == nil {
		t.Error("there are too many")
	}
	l.at = t0.Add(2 * time.Minute)
	if err := add("x", time.Hour); err != nil {
		t.Error(err)
	}
	all := must[[]silence.Silence](t)(l.Silences(t.Context()))
	if len(all) != MaxSilences || all[0].ID != 1 || all[1].ID != 3 {
		t.Errorf("%d silences, the first %d and %d", len(all), all[0].ID, all[1].ID)
	}
	if err := l.Prune(t.Context(), 0, l.at); err != nil {
		t.Fatal(err)
	}
	if n := rowsOf(t, l.Store, "silences"); n != 2 {
		t.Errorf("%d silences", n)
	}
}

// A time that is too far away to be kept is the farthest, not one long ago.
func TestFarTimes(t *testing.T) {
	for _, at := range []time.Time{{}, t0, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1, 2, 3, 0, 0, 0, 0, time.UTC)} {
		n := nanos(at)
		if at.IsZero() != (n == 0) || at.Year() == 2026 && !instant(n).Equal(at) || at.Year() == 9999 && instant(n).Year() != 2262 || at.Year() == 1 && !at.IsZero() && instant(n).Year() != 1677 {
			t.Errorf("%s is kept as %s", at, instant(n))
		}
	}
	l := newLive(t)
	l.seen("a broke")
	_, err := l.ChangeIncident(t.Context(), 1, func(i *incident.Incident) (incident.Notice, error) {
		return incident.Notice{}, i.SnoozeUntil(incident.Snooze{Until: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}, l.at, "", "")
	})
	if err == nil {
		t.Error("a snooze has no end")
	}
}
