package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/rule"
	"logscan/internal/silence"
	"logscan/internal/trigger"
)

const single = "alertmanager+http://10.0.0.1:9093"

// change does something to an incident by hand.
func (l *live) change(id int64, f func(*incident.Incident) (incident.Notice, error)) {
	l.t.Helper()
	must[incident.Incident](l.t)(l.ChangeIncident(l.t.Context(), id, f))
}

// Of a group, each notice waits for its own incident to be acknowledged: what others
// do, and when they are told, brings it no forward.
func TestEachIsUnacknowledgedForItself(t *testing.T) {
	l := newLive(t)
	id := l.trigger("second", func(t *trigger.Trigger) {
		t.UnacknowledgedForSeconds, t.GroupIntervalSeconds, t.Notices = 900, 0, []string{"opened", "escalated", "resolved"}
	})
	l.settings.ResolveAfter = 0
	l.seen("a broke")
	l.pass(10 * time.Minute)
	l.seen("b broke", "c broke")
	l.pass(15 * time.Minute)
	l.expect(id, "opened a broke ×1")
	l.seen("critical: a broke") // which doesn't wait for b
	l.expect(id, "opened a broke ×1", "escalated a broke ×2 now critical")
	l.change(2, func(i *incident.Incident) (incident.Notice, error) { return i.Resolve(l.at, "me", "") })
	l.expect(id, "opened a broke ×1", "escalated a broke ×2 now critical", "resolved b broke ×1 by hand")
	l.pass(25*time.Minute - 1)
	if n := len(l.told(id)); n != 3 {
		t.Errorf("told too early: %v", l.told(id))
	}
	l.pass(25 * time.Minute)
	if got := l.told(id); len(got) != 4 || got[3] != "opened c broke ×1" {
		t.Errorf("%v", got)
	}
}

// A budget holds for services that get each incident by itself too, the worst first.
func TestBudgetOfEach(t *testing.T) {
	l := newLive(t)
	id := l.trigger("am", func(t *trigger.Trigger) { t.ActionURL, t.AtMost = single, "2/h" })
	l.settings.ResolveAfter, l.settings.Repeat = 0, 0
	l.seen("a broke", "b broke", "c broke", "critical: d broke", "e broke", "f broke", "g broke")
	l.expect(id, "opened a broke ×1", "opened b broke ×1")
	l.pass(time.Hour)
	l.expect(id, "opened a broke ×1", "opened b broke ×1", "opened d broke ×1", "opened c broke ×1")
	l.pass(2 * time.Hour)
	l.pass(3 * time.Hour)
	l.pass(4 * time.Hour)
	if got := l.told(id); len(got) != 7 || got[6] != "opened g broke ×1" || rowsOf(t, l.Store, "held") != 0 {
		t.Errorf("%v", got)
	}
}

// However many are held for such a service, none is lost, and no transaction makes
// messages of all.
func TestManyHeldForEach(t *testing.T) {
	l := newLive(t)
	id := l.trigger("am", func(t *trigger.Trigger) { t.ActionURL, t.Active = single, "Mon-Fri 08:00-18:00" })
	l.settings.ResolveAfter, l.settings.Repeat = 0, 0
	var lines []string
	for n := range maxReleased + 3 {
		lines = append(lines, "broken: "+letters(n))
	}
	for k := range lines {
		lines[k] = "error: " + lines[k]
	}
	l.seen(lines...)
	l.pass(20 * time.Hour)
	if n := len(l.told(id)); n != maxReleased+3 || rowsOf(t, l.Store, "held") != 0 {
		t.Errorf("%d messages", n)
	}
}

// letters is a number without digits.
func letters(n int) (out string) {
	for ; n > 0 || out == ""; n /= 20 {
		out += string("bcdfghjklmnpqrstvwxz"[n%20])
	}
	return out
}

// A service that keeps a state of its own hears of the end of what it was told,
// though that is silenced by then.
func TestEndIsToldThoughSilenced(t *testing.T) {
	l := newLive(t)
	each := l.trigger("am", func(t *trigger.Trigger) { t.ActionURL = single })
	ends := l.trigger("ends", func(t *trigger.Trigger) { t.Notices = []string{"resolved"} })
	l.seen("a broke")
	must[silence.Silence](t)(l.CreateSilence(t.Context(), silence.Silence{Matchers: []silence.Matcher{{Field: "rule", Op: silence.Is, Value: "*"}}, Starts: l.at, Ends: l.at.Add(time.Hour)}))
	l.reload()
	l.seen("critical: a broke")
	l.pass(20 * time.Minute)
	l.expect(each, "opened a broke ×1", "resolved a broke ×2 quiet for 15 min")
	l.expect(ends)
}

// Troubles of different triggers, and receipts of different silences, are told each,
// however alike they are.
func TestSystemEventsOfDifferentThings(t *testing.T) {
	l := newLive(t)
	ops := l.trigger("ops", func(t *trigger.Trigger) { t.GroupIntervalSeconds = 0 })
	about := func(key string, id int64) event.Event {
		return event.Event{Source: event.System, Severity: event.Error, Message: fmt.Sprintf("Something about %d.", id), CreatedAt: l.at, Metadata: map[string]any{key: id}}
	}
	emit(t, l.Store, nil, about("trigger_id", ops), about("trigger_id", ops+1), about("silence_id", 1), about("silence_id", 2))
	l.expect(ops, fmt.Sprintf("system Something about %d. ×1", ops+1), "system Something about 1. ×1", "system Something about 2. ×1")
}

// A trigger that has just gone, and is still known, holds up no hit.
func TestTriggerHasJustGone(t *testing.T) {
	l := newLive(t)
	var gone []int64
	gone = append(gone, l.trigger("at once", nil), l.trigger("later", func(t *trigger.Trigger) { t.GroupWaitSeconds = 60 }))
	for _, id := range gone {
		if err := l.DeleteTrigger(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	l.seen("a broke")
	if got := incidents(t, l.Store, IncidentFilter{}); len(got) != 1 || rowsOf(t, l.Store, "held") != 0 || rowsOf(t, l.Store, "groups") != 0 {
		t.Errorf("%+v", got)
	}
}

// A clock that was ahead and is set back leaves nothing waiting for that time: not
// what was held, nor repeats, nor the end; and nothing ends at once.
func TestClockIsSetBack(t *testing.T) {
	l := newLive(t)
	ops := l.trigger("ops", nil)
	ends := l.trigger("ends", func(t *trigger.Trigger) { t.GroupIntervalSeconds = 0; t.Notices = []string{"resolved"} })
	year := 365 * 24 * time.Hour
	l.pass(year)
	l.seen("a broke")
	l.seen("b broke") // held for the group
	l.expect(ops, "opened a broke ×1")
	for at := time.Duration(0); at <= 24*time.Minute; at += time.Minute {
		l.pass(at)
		if at == 5*time.Minute {
			l.seen("a broke")
		}
	}
	l.expect(ops, "opened a broke ×1", "opened b broke ×1")
	l.expect(ends)
	l.pass(25 * time.Minute)
	l.expect(ends, "resolved a broke ×2 quiet for 15 min", "resolved b broke ×1 quiet for 15 min")
	// Set back while nobody looked.
	l.settings.ResolveAfter = 0
	l.pass(year)
	l.seen("c broke")
	l.clock = clock{}
	l.pass(time.Hour)
	l.pass(time.Hour + settleAfter)
	l.pass(2*time.Hour + settleAfter)
	if got := fmt.Sprint(notices(t, l.Store, 3)); got != "[opened repeated: open for 1 h]" {
		t.Error(got)
	}
	// A line from the future is as if it came now: that it did isn't known otherwise.
	e := seen(2*time.Hour+year, 1, "d broke")
	emit(t, l.Store, nil, e)
	if got := incidents(t, l.Store, IncidentFilter{Limit: 1}); !got[0].Last.Equal(l.at) {
		t.Errorf("%s", got[0].Last)
	}
}

// What is asked at each hit and each second takes look-ups, however much there is.
func TestPlansOfIncidents(t *testing.T) {
	s := openTest(t)
	for _, q := range []string{
		findOpen, openOfRule, "SELECT id, ended_at " + likeIt + " ORDER BY ended_at DESC LIMIT 1", dueIncidents, firstIncident, firstHeld, firstOfGroup,
		lastMessageBut, lastSeverity, tooManyNotices, overIncidents, sentMessages, newestIncidents, newestMessages,
		"SELECT count(*) " + silencedNotices, "SELECT count(*) FROM silences v WHERE " + owing, dueGroups, heldNotices, lastTold, toldOf, heldOf, theseDeliveries, heldIsTold, stateOfRule, wasTold,
	} {
		var args []any
		for range strings.Count(q, "?") {
			args = append(args, 1)
		}
		if strings.Contains(q, "?1") {
			args = args[:2]
		}
		rows, err := s.r.Query("EXPLAIN QUERY PLAN "+q, args...)
		plan := must[[]string](t)(collect(rows, err, func(r row) (detail string, err error) {
			var id, parent, unused int
			return detail, r.Scan(&id, &parent, &unused, &detail)
		}))
		text := strings.Join(plan, "; ")
		for _, step := range plan {
			if strings.HasPrefix(step, "SCAN") && !strings.Contains(step, "CONSTANT ROW") && step != "SCAN v" && !strings.Contains(step, "VIRTUAL TABLE") && !strings.Contains(step, "incidents_resolved") && !strings.Contains(step, "deliveries_message") {
				t.Errorf("%s:\n%s", q, text)
			}
		}
		if q != heldNotices && q != dueGroups && strings.Contains(text, "TEMP B-TREE") {
			t.Errorf("%s:\n%s", q, text)
		}
	}
}

// What is open of a rule ends with it, and receivers hear of that: it would be told
// again and again, and nothing could end it.
func TestIncidentsEndWithTheirRule(t *testing.T) {
	l := newLive(t)
	ends := l.trigger("ends", func(t *trigger.Trigger) { t.Notices = []string{"resolved"} })
	r := must[rule.Rule](t)(l.CreateRule(t.Context(), rule.Rule{Name: "r", Pattern: "x", Severity: "warn", Streams: "all", Enabled: true}))
	l.settings.ResolveAfter = 0
	emit(t, l.Store, nil, seen(0, r.ID, "a broke"), seen(0, r.ID+7, "b broke"))
	if err := l.DeleteRule(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	l.expect(ends, "resolved a broke ×1 by hand")
	if got := incidents(t, l.Store, IncidentFilter{States: []incident.State{incident.Open}}); len(got) != 1 || got[0].Key.RuleID != r.ID+7 {
		t.Errorf("%+v", got)
	}
}
