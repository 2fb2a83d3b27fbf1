package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/silence"
	"logscan/internal/trigger"
)

// fates are what became of an incident's notices, one a line: its kind, and for each
// trigger how it stands.
func (l *live) fates(id int64) string {
	l.t.Helper()
	i := must[incident.Incident](l.t)(l.Incident(l.t.Context(), id))
	notices := must[[]Noticed](l.t)(l.Notices(l.t.Context(), id))
	var out []string
	for k, of := range must[[][]trigger.Fate](l.t)(l.Fates(l.t.Context(), i, notices)) {
		line := string(notices[k].Kind)
		for _, f := range of {
			line += fmt.Sprintf(" | %s %s", f.Trigger, f.State)
			switch f.State {
			case trigger.FateTold:
				if f.DeliveryID == "" || f.Delivery.ID != "" && f.Delivery.ID != f.DeliveryID {
					l.t.Errorf("told by %q, which is %q", f.DeliveryID, f.Delivery.ID)
				}
				line += " " + string(f.Delivery.State)
			case trigger.FateHeld:
				line += " until " + f.Until.Format("Mon 15:04") + " " + f.Why
			default:
				line += strings.TrimRight(" "+f.Field+f.Why, " ")
			}
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

func (l *live) expectFates(id int64, want ...string) {
	l.t.Helper()
	if got := l.fates(id); got != strings.Join(want, "\n") {
		l.t.Errorf("incident %d:\n%s\nwant\n%s", id, got, strings.Join(want, "\n"))
	}
}

// changed is a trigger that somebody changes.
func (l *live) changed(id int64, change func(*trigger.Trigger)) {
	l.t.Helper()
	trig := must[trigger.Trigger](l.t)(l.Trigger(l.t.Context(), id))
	change(&trig)
	must[trigger.Trigger](l.t)(l.UpdateTrigger(l.t.Context(), trig))
	l.reload()
}

// Of each notice and each trigger it is known whether it was told, by what, or else why
// not; also later, when the trigger has changed or has gone.
func TestFates(t *testing.T) {
	l := newLive(t) // a Sunday, noon
	l.settings = incident.Settings{}
	ops := l.trigger("ops", nil)
	pager := l.trigger("pager", func(t *trigger.Trigger) { t.MinSeverity = "critical" })
	l.trigger("day", func(t *trigger.Trigger) { t.Active = "Mon-Fri 08:00-18:00" })
	l.trigger("second", func(t *trigger.Trigger) { t.UnacknowledgedForSeconds = 900 })
	l.trigger("each", func(t *trigger.Trigger) { t.Mode = trigger.ModeEvents })
	l.trigger("texts", func(t *trigger.Trigger) { t.MessageRegex = "^disk" })
	l.trigger("off", func(t *trigger.Trigger) { t.Enabled = false })
	l.seen("a broke")
	l.expectFates(1, "opened | ops told pending | pager unwanted min_severity | day held until Mon 08:00 outside of the trigger's hours"+
		" | second held until Sun 12:15 unless it is acknowledged | each unwanted mode | texts unwanted message_regex")

	job := must[trigger.Job](t)(l.Next(t.Context(), ops, trigger.Delivery{}))
	job.Delivery.State, job.Delivery.LastStatus = trigger.Delivered, 200
	if err := l.Record(t.Context(), []trigger.Delivery{job.Delivery}); err != nil {
		t.Fatal(err)
	}
	l.pass(10 * time.Minute)
	if _, err := l.ChangeIncident(t.Context(), 1, func(i *incident.Incident) (incident.Notice, error) { return i.Acknowledge(l.at, "me", "") }); err != nil {
		t.Fatal(err)
	}
	l.pass(15 * time.Minute)
	l.pass(20 * time.Hour)
	l.seen("critical: a broke")
	l.expectFates(1,
		"opened | ops told delivered | pager unwanted min_severity | day told pending | second spared | each unwanted mode | texts unwanted message_regex",
		"acknowledged | ops unwanted notices | pager unwanted notices | day unwanted notices | second unwanted notices | each unwanted mode | texts unwanted notices",
		"escalated | ops told pending | pager told pending | day told pending | second told pending | each unwanted mode | texts unwanted message_regex")

	// What was told is known of other triggers too; why something wasn't, is not.
	l.pass(21 * time.Hour)
	l.changed(ops, func(t *trigger.Trigger) { t.MinSeverity = "critical" })
	l.changed(pager, func(t *trigger.Trigger) { t.MinSeverity = "" })
	if err := l.DeleteTrigger(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	l.reload()
	l.expectFates(1,
		"opened | ops told delivered | pager unknown the trigger has changed since |  told  | second spared | each unwanted mode | texts unwanted message_regex",
		"acknowledged | ops unknown the trigger has changed since | pager unknown the trigger has changed since | second unwanted notices | each unwanted mode | texts unwanted notices",
		"escalated | ops told pending | pager told pending |  told  | second told pending | each unwanted mode | texts unwanted message_regex")
}

// What goes together is told by one delivery, and what a service gets each by itself by
// one for each incident, as far as the budget goes.
func TestFatesOfGroups(t *testing.T) {
	l := newLive(t)
	l.settings = incident.Settings{}
	l.trigger("ops", nil)
	l.trigger("oncall", func(t *trigger.Trigger) {
		t.ActionURL, t.AtMost = "pagerduty://0123456789abcdef0123456789abcdef@events.pagerduty.com", "2/h"
	})
	l.seen("a broke")
	l.pass(time.Minute)
	l.seen("b broke", "c broke", "d broke")
	l.expectFates(2, "opened | ops held until Sun 12:05 grouped | oncall told pending")
	l.expectFates(3, "opened | ops held until Sun 12:05 grouped | oncall held until Sun 13:00 over the trigger's budget of messages")
	l.seen("critical: b broke")
	l.expectFates(2, "opened | ops told pending | oncall told pending", "escalated | ops told pending | oncall held until Sun 13:00 over the trigger's budget of messages")
	by := func(id int64) (out []string) {
		notices := must[[]Noticed](t)(l.Notices(t.Context(), id))
		for _, of := range must[[][]trigger.Fate](t)(l.Fates(t.Context(), incident.Incident{}, notices)) {
			for _, f := range of {
				out = append(out, f.DeliveryID)
			}
		}
		return out
	}
	if b, d := by(2), by(4); b[0] != b[2] || b[0] != d[0] || b[0] == b[1] {
		t.Errorf("%v and %v", b, d)
	}
	l.pass(time.Hour)
	l.expectFates(2, "opened | ops told pending | oncall told pending", "escalated | ops told pending | oncall told pending")
	l.expectFates(3, "opened | ops told pending | oncall held until Sun 13:01 over the trigger's budget of messages")
	l.pass(2*time.Hour + time.Minute)
	l.expectFates(3, "opened | ops told pending | oncall told pending")
	if c, d := by(3), by(4); c[1] == d[1] {
		t.Errorf("%v and %v", c, d)
	}
}

// What a silence holds back is what would have been told otherwise.
func TestFatesOfSilences(t *testing.T) {
	l := newLive(t)
	l.trigger("ops", nil)
	l.trigger("pager", func(t *trigger.Trigger) { t.MinSeverity = "critical" })
	must[silence.Silence](t)(l.CreateSilence(t.Context(), silence.Silence{Matchers: []silence.Matcher{{Field: "rule", Op: silence.Is, Value: "*"}}, Starts: l.at, Ends: l.at.Add(time.Hour)}))
	l.reload()
	l.seen("a broke")
	l.expectFates(1, "opened | ops silenced | pager unwanted min_severity")
}

// An incident's end takes along what was known of who was told.
func TestToldGoesWithItsNotice(t *testing.T) {
	l := newLive(t)
	l.settings = incident.Settings{}
	l.trigger("ops", func(t *trigger.Trigger) { t.GroupIntervalSeconds = 0 })
	l.seen("a broke", "b broke")
	if n := rowsOf(t, l.Store, "told"); n != 2 {
		t.Fatalf("%d rows", n)
	}
	for id := range int64(2) {
		l.at = l.at.Add(time.Minute)
		_, err := l.ChangeIncident(t.Context(), id+1, func(i *incident.Incident) (incident.Notice, error) { return i.Resolve(l.at, "me", "") })
		if err != nil {
			t.Fatal(err)
		}
	}
	l.pass(time.Hour)
	if err := l.Prune(t.Context(), 1, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if left := incidents(t, l.Store, IncidentFilter{}); len(left) != 1 || rowsOf(t, l.Store, "told") != 1 {
		t.Errorf("of %d incidents, %d rows are left", len(left), rowsOf(t, l.Store, "told"))
	}
}

// Deliveries are found by the event that they carry.
func TestDeliveriesOfAnEvent(t *testing.T) {
	l := newLive(t)
	id := l.trigger("each", func(t *trigger.Trigger) { t.Mode = trigger.ModeEvents })
	events := emit(t, l.Store, func(event.Event) []int64 { return []int64{id} }, seen(0, 1, "a broke"), seen(0, 1, "b broke"))
	for _, e := range events {
		got := must[[]trigger.Delivery](t)(l.Deliveries(t.Context(), DeliveryFilter{EventID: e.ID}))
		if len(got) != 1 || got[0].EventID != e.ID || got[0].TriggerID != id {
			t.Errorf("of event %d: %+v", e.ID, got)
		}
	}
	if got := must[[]trigger.Delivery](t)(l.Deliveries(t.Context(), DeliveryFilter{EventID: 99})); len(got) != 0 {
		t.Errorf("of none: %+v", got)
	}
}
