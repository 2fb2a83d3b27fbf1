package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"logscan/internal/channel"
	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/silence"
	"logscan/internal/store/storetest"
	"logscan/internal/trigger"
)

// live is a store with its triggers and silences live, by a clock of its own.
type live struct {
	*Store
	t        *testing.T
	router   *trigger.Router
	silences *silence.Set
	settings incident.Settings
	at       time.Time
}

func newLive(t *testing.T) *live {
	l := liven(openTest(t))
	l.t = t
	return l
}

// liven is newLive of a store, outside of tests too: then only what returns its
// errors can be called.
func liven(s *Store) *live {
	l := &live{Store: s, router: trigger.NewRouter(), silences: silence.Compile(nil), settings: incident.Defaults, at: t0}
	l.Store.now = func() time.Time { return l.at }
	l.UseIncidents(l)
	return l
}

func (l *live) Settings(int64) incident.Settings                  { return l.settings }
func (l *live) Policies() []*trigger.Policy                       { return l.router.Policies() }
func (l *live) Silenced(i *incident.Incident, at time.Time) int64 { return l.silences.By(i, at) }
func (l *live) trigger(name string, change func(*trigger.Trigger)) int64 {
	l.t.Helper()
	trig := trigger.Fields.New()
	trig.Name, trig.ActionURL = name, "https://hooks.example.com/x"
	if change != nil {
		change(&trig)
	}
	id := must[trigger.Trigger](l.t)(l.CreateTrigger(l.t.Context(), trig)).ID
	l.reload()
	return id
}

func (l *live) reload() {
	l.t.Helper()
	if err := l.load(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

// load has the triggers and silences live that are stored.
func (l *live) load(ctx context.Context) error {
	triggers, err := l.Triggers(ctx)
	if err != nil {
		return err
	}
	if bad := l.router.Set(triggers); len(bad) > 0 {
		return fmt.Errorf("triggers: %v", bad)
	}
	silences, err := l.Silences(ctx)
	l.silences = silence.Compile(silences)
	return err
}

// pass has the clock be at a time after t0.
func (l *live) pass(after time.Duration) {
	l.t.Helper()
	l.at = t0.Add(after)
	if err := l.Pass(l.t.Context(), l.at, l.at); err != nil {
		l.t.Fatal(err)
	}
}

// seen has hits come now.
func (l *live) seen(messages ...string) {
	l.t.Helper()
	var batch []event.Event
	for _, m := range messages {
		severity, message, found := strings.Cut(m, ": ")
		if !found {
			severity, message = "error", m
		}
		e := seen(l.at.Sub(t0), 1, message)
		e.Severity = event.Severity(severity)
		batch = append(batch, e)
	}
	emit(l.t, l.Store, nil, batch...)
}

// messages returns a trigger's messages, the oldest first.
func (l *live) messages(id int64) []channel.Message {
	l.t.Helper()
	rows, err := l.r.Query("SELECT message, id FROM deliveries WHERE trigger_id = ? ORDER BY seq", id)
	return must[[]channel.Message](l.t)(collect(rows, err, func(r row) (m channel.Message, err error) {
		var text, id string
		if err = r.Scan(&text, &id); err == nil {
			err = json.Unmarshal([]byte(text), &m)
		}
		if m.ID != id {
			l.t.Errorf("message %s is of delivery %s", m.ID, id)
		}
		return m, err
	}))
}

// told returns what a trigger's messages say, the oldest first.
func (l *live) told(id int64) (out []string) {
	l.t.Helper()
	for _, m := range l.messages(id) {
		var parts []string
		for _, n := range m.Notices {
			parts = append(parts, strings.TrimSuffix(n.Kind+" "+n.Text+" ×"+fmt.Sprint(n.Count)+" "+n.Reason, " "))
		}
		text := strings.Join(parts, ", ")
		if m.Held.Notices > 0 {
			text += fmt.Sprintf(" and %d", m.Held.Notices)
		}
		out = append(out, text)
	}
	return out
}

func (l *live) expect(id int64, want ...string) {
	l.t.Helper()
	if got := l.told(id); fmt.Sprint(got) != fmt.Sprint(want) {
		l.t.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// silencing has the stored silences hold back.
type silencing struct{ s *Store }

func (silencing) Settings(int64) incident.Settings { return incident.Defaults }
func (silencing) Policies() []*trigger.Policy      { return nil }
func (x silencing) Silenced(i *incident.Incident, at time.Time) int64 {
	rows, err := x.s.r.Query("SELECT " + silenceColumns + " FROM silences")
	all, err := collect(rows, err, scanSilence)
	if err != nil {
		panic(err)
	}
	return silence.Compile(all).By(i, at)
}

// The first of a group is told at once, what follows soon goes together, and a worse
// one doesn't wait.
func TestGroups(t *testing.T) {
	l := newLive(t)
	id := l.trigger("ops", nil)
	l.seen("a broke")
	l.expect(id, "opened a broke ×1")
	l.pass(time.Minute)
	l.seen("b broke", "c broke")
	l.pass(2 * time.Minute)
	l.seen("b broke")
	l.expect(id, "opened a broke ×1")
	l.pass(5*time.Minute - 1)
	l.expect(id, "opened a broke ×1")
	l.pass(5 * time.Minute)
	l.expect(id, "opened a broke ×1", "opened b broke ×2, opened c broke ×1")
	l.pass(6 * time.Minute)
	l.seen("d broke")
	l.seen("critical: e broke")
	l.expect(id, "opened a broke ×1", "opened b broke ×2, opened c broke ×1", "opened e broke ×1, opened d broke ×1")
	// What is done is not done again.
	l.pass(12 * time.Minute)
	l.pass(13 * time.Minute)
	if n := len(l.told(id)); n != 3 {
		t.Errorf("%d messages", n)
	}
	if n := rowsOf(t, l.Store, "held"); n != 0 {
		t.Errorf("%d notices are still held", n)
	}
}

func rowsOf(t *testing.T, s *Store, table string) (n int) {
	t.Helper()
	if err := s.r.QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Beyond its budget a trigger holds back, and tells all of it in one message.
func TestBudget(t *testing.T) {
	l := newLive(t)
	id := l.trigger("ops", func(t *trigger.Trigger) { t.AtMost, t.GroupBy, t.GroupIntervalSeconds = "2/h", "incident", 0 })
	l.seen("a broke", "b broke", "c broke", "d broke")
	l.expect(id, "opened a broke ×1", "opened b broke ×1")
	l.pass(10 * time.Minute)
	l.seen("critical: e broke", "c broke")
	l.settings.ResolveAfter = 10 * time.Hour
	l.seen("c broke")
	l.expect(id, "opened a broke ×1", "opened b broke ×1")
	l.pass(time.Hour)
	l.expect(id, "opened a broke ×1", "opened b broke ×1", "opened e broke ×1, opened c broke ×3, opened d broke ×1")
}

// Out of its hours a trigger holds back, but for what is critical.
func TestHours(t *testing.T) {
	l := newLive(t) // a Sunday, noon
	id := l.trigger("ops", func(t *trigger.Trigger) { t.Active = "Mon-Fri 08:00-18:00"; t.GroupIntervalSeconds = 0 })
	l.settings.ResolveAfter, l.settings.Repeat = 100*time.Hour, 0
	l.seen("a broke", "critical: b broke", "c broke")
	l.expect(id, "opened b broke ×1")
	l.pass(19 * time.Hour)
	l.expect(id, "opened b broke ×1")
	l.pass(20 * time.Hour)
	l.expect(id, "opened b broke ×1", "opened a broke ×1, opened c broke ×1")
}

// A trigger for the second person is told only of what nobody acknowledged.
func TestUnacknowledged(t *testing.T) {
	l := newLive(t)
	id := l.trigger("second", func(t *trigger.Trigger) { t.UnacknowledgedForSeconds = 900 })
	l.settings.ResolveAfter = time.Hour
	l.seen("a broke", "b broke")
	l.pass(10 * time.Minute)
	if _, err := l.ChangeIncident(t.Context(), 1, func(i *incident.Incident) (incident.Notice, error) { return i.Acknowledge(l.at, "me", "") }); err != nil {
		t.Fatal(err)
	}
	l.expect(id)
	l.pass(15 * time.Minute)
	l.expect(id, "opened b broke ×1")
}

// What a trigger that is switched off holds is told when it is on again.
func TestSwitchedOff(t *testing.T) {
	l := newLive(t)
	id := l.trigger("ops", nil)
	l.seen("a broke")
	l.seen("b broke")
	change := func(on bool) {
		t.Helper()
		trig := must[trigger.Trigger](t)(l.Trigger(t.Context(), id))
		trig.Enabled = on
		must[trigger.Trigger](t)(l.UpdateTrigger(t.Context(), trig))
		l.reload()
	}
	change(false)
	l.pass(10 * time.Minute)
	l.seen("c broke") // it is not for this one
	change(true)
	l.pass(11 * time.Minute)
	l.expect(id, "opened a broke ×1", "opened b broke ×1")
	if err := l.DeleteTrigger(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

// Escalations, repeats and, where they are asked for, ends are told; silences hold all
// of it back.
func TestNotices(t *testing.T) {
	l := newLive(t)
	usual := l.trigger("usual", func(t *trigger.Trigger) { t.GroupIntervalSeconds = 0 })
	ends := l.trigger("ends", func(t *trigger.Trigger) { t.GroupIntervalSeconds = 0; t.Notices = []string{"resolved"} })
	l.settings.ResolveAfter = 2 * time.Hour
	l.seen("a broke")
	l.at = t0.Add(time.Minute)
	l.seen("critical: a broke")
	l.pass(61 * time.Minute)
	v := must[silence.Silence](t)(l.CreateSilence(t.Context(), silence.Silence{Matchers: []silence.Matcher{{Field: "rule", Op: silence.Is, Value: "rule-1"}}, Starts: l.at, Ends: l.at.Add(time.Hour)}))
	l.reload()
	l.seen("b broke")
	if held := must[Silenced](t)(l.SilencedBy(t.Context(), v.ID)); held.Notices != 1 {
		t.Errorf("%+v", held)
	}
	l.pass(121 * time.Minute)
	l.expect(usual, "opened a broke ×1", "escalated a broke ×2 now critical", "repeated a broke ×2 open for 1 h 1 min", "repeated b broke ×1 open for 1 h")
	l.expect(ends, "resolved a broke ×2 quiet for 2 h")
}

// A trigger hears nothing of its own failures, and reports of dead deliveries don't
// breed others.
func TestDeadMessages(t *testing.T) {
	l := newLive(t)
	a := l.trigger("a", func(t *trigger.Trigger) { t.GroupIntervalSeconds = 0 })
	b := l.trigger("b", func(t *trigger.Trigger) { t.GroupIntervalSeconds = 0; t.Sources = []event.Source{event.System} })
	l.seen("x broke")
	kill := func(id int64) {
		t.Helper()
		job := must[trigger.Job](t)(l.Next(t.Context(), id, trigger.Delivery{}))
		if job.Message == nil || job.Delivery.IncidentID == 0 || job.Event.ID != 0 {
			t.Fatalf("%+v", job)
		}
		job.Delivery.State, job.Delivery.LastError = trigger.Dead, "test"
		if err := l.Record(t.Context(), []trigger.Delivery{job.Delivery}); err != nil {
			t.Fatal(err)
		}
	}
	report := func() int {
		t.Helper()
		return must[int](t)(l.ReportDead(t.Context(), nil))
	}
	kill(a)
	if n := report(); n != 1 {
		t.Errorf("%d reports", n)
	}
	if got := l.told(a); len(got) != 1 {
		t.Errorf("told of its own failure: %v", got)
	}
	if got := l.told(b); len(got) != 1 || !strings.HasPrefix(got[0], "system Trigger a: 1 delivery was given up") {
		t.Errorf("%v", got)
	}
	kill(b)
	if n := report(); n != 0 {
		t.Errorf("%d reports of a report", n)
	}
}

// A summary comes when it is due, and says what there was.
func TestDigests(t *testing.T) {
	l := newLive(t)
	id := l.trigger("boss", func(t *trigger.Trigger) { t.Digest, t.Notices = "0 8 * * *", []string{"digest"} })
	l.pass(0)
	if due := l.Due(); !due.Equal(t0.Add(20 * time.Hour)) {
		t.Errorf("due at %s", due)
	}
	l.seen("a broke", "a broke", "b broke")
	l.pass(20*time.Hour - 1)
	l.expect(id)
	l.pass(20 * time.Hour)
	l.pass(20*time.Hour + time.Minute)
	l.expect(id, fmt.Sprintf("digest shop/web  rule-1: 3 in 2 incidents\nNoisiest rule: rule-1, 3 of 3 matches; %d bytes in 3 events, 0 messages ×0 3 matches in 2 incidents, 2 of them new; 0 are open", l.bytes()))
	l.pass(44 * time.Hour)
	if got := l.told(id); len(got) != 2 || !strings.Contains(got[1], "Nothing new; 0 incidents are open") {
		t.Errorf("%v", got)
	}
}

// bytes is how much the events of rules take.
func (l *live) bytes() (n int) {
	l.t.Helper()
	for _, e := range must[[]event.Event](l.t)(l.Events(l.t.Context(), EventFilter{Source: event.Logscan})) {
		n += len(e.Message) + len(asJSON(e.Metadata))
	}
	return n
}

// A summary names the rule with the most matches, those that it held back too, and what
// it cost: events, and messages of all triggers.
func TestDigestNamesTheNoisiest(t *testing.T) {
	l := newLive(t)
	l.trigger("boss", func(t *trigger.Trigger) { t.Digest, t.Notices = "0 13 * * *", []string{"digest"} })
	l.trigger("each", func(t *trigger.Trigger) { t.GroupBy, t.GroupIntervalSeconds = "incident", 0 })
	l.trigger("together", func(t *trigger.Trigger) { t.GroupBy, t.GroupIntervalSeconds = "none", 600 })
	events := l.trigger("events", func(t *trigger.Trigger) { t.Mode = trigger.ModeEvents })
	l.pass(0)
	emit(t, l.Store, to(events), seen(-time.Minute, 2, "before"))
	many, rare := seen(time.Minute, 1, "ärger"), []event.Event{seen(time.Minute, 2, "a broke"), seen(time.Minute, 2, "b broke")}
	many.Metadata["suppressed"] = 7
	l.at = t0.Add(time.Minute)
	emit(t, l.Store, to(events), append(rare, many)...)
	emit(t, l.Store, to(), event.Event{Source: event.System, Severity: event.Warn, Message: "Lines lost", CreatedAt: l.at, Metadata: map[string]any{"suppressed": 100}})
	sum := must[trigger.Summary](t)(summary(t.Context(), l.r, t0, t0.Add(time.Hour)))
	// Of each, of what goes together, of which it is a part, and of its event.
	want := trigger.Noisiest{Rule: "rule-1", Matches: 8, Events: 1, Bytes: int64(len(many.Message) + len(asJSON(many.Metadata))), Messages: 2}
	if sum.Noisiest != want || sum.Matches != 111 {
		t.Errorf("%+v", sum)
	}
	l.pass(11 * time.Minute)
	want.Messages++
	if sum := must[trigger.Summary](t)(summary(t.Context(), l.r, t0, t0.Add(time.Hour))); sum.Noisiest != want {
		t.Errorf("%+v", sum)
	}
	if sum := must[trigger.Summary](t)(summary(t.Context(), l.r, t0.Add(time.Hour), t0.Add(2*time.Hour))); sum.Noisiest != (trigger.Noisiest{}) || sum.Lost != (trigger.Lost{}) {
		t.Errorf("%+v", sum)
	}
}

// Services that keep a state of their own get each incident by itself, and its end.
func TestSingle(t *testing.T) {
	l := newLive(t)
	id := l.trigger("am", func(t *trigger.Trigger) { t.ActionURL = "alertmanager+http://10.0.0.1:9093" })
	l.seen("a broke", "b broke")
	l.pass(15 * time.Minute)
	l.expect(id, "opened a broke ×1", "opened b broke ×1", "resolved a broke ×1 quiet for 15 min", "resolved b broke ×1 quiet for 15 min")
}

// That somebody acknowledged is told, once and with the change, to services that keep
// it, also of what a silence holds back; to others where they are asked to.
func TestAcknowledged(t *testing.T) {
	l := newLive(t)
	l.settings.ResolveAfter, l.settings.Repeat = 3*time.Hour, time.Hour
	pager := l.trigger("pager", func(t *trigger.Trigger) {
		t.ActionURL = "pagerduty://0123456789abcdef0123456789abcdef@events.pagerduty.com"
	})
	am := l.trigger("am", func(t *trigger.Trigger) { t.ActionURL = "alertmanager+http://10.0.0.1:9093" })
	usual := l.trigger("usual", func(t *trigger.Trigger) { t.GroupIntervalSeconds = 0 })
	asked := l.trigger("asked", func(t *trigger.Trigger) { t.GroupIntervalSeconds, t.Notices = 0, []string{"acknowledged"} })
	second := l.trigger("second", func(t *trigger.Trigger) {
		t.ActionURL, t.UnacknowledgedForSeconds = "opsgenie://k3y@api.opsgenie.com", 900
	})
	acknowledge := func(id int64, by string) {
		t.Helper()
		if _, err := l.ChangeIncident(t.Context(), id, func(i *incident.Incident) (incident.Notice, error) { return i.Acknowledge(l.at, by, "") }); err != nil {
			t.Fatal(err)
		}
	}
	l.seen("a broke", "b broke")
	l.pass(time.Minute)
	acknowledge(1, "me")
	acknowledge(1, "you") // that somebody knows is known
	l.expect(pager, "opened a broke ×1", "opened b broke ×1", "acknowledged a broke ×1 by me")
	l.expect(asked, "acknowledged a broke ×1 by me")
	l.pass(20 * time.Minute)
	must[silence.Silence](t)(l.CreateSilence(t.Context(), silence.Silence{Matchers: []silence.Matcher{{Field: "rule", Op: silence.Is, Value: "rule-1"}}, Starts: l.at, Ends: l.at.Add(time.Minute)}))
	l.reload()
	acknowledge(2, "me")
	l.pass(22 * time.Minute)
	// An acknowledgement that failed to be kept isn't told.
	if _, err := l.ChangeIncident(t.Context(), 2, func(i *incident.Incident) (incident.Notice, error) {
		if err := i.Reopen(l.at); err != nil {
			return incident.Notice{}, err
		}
		n, err := i.Acknowledge(l.at, "nobody", "")
		if err == nil && n.Kind != incident.NoticeAcknowledged {
			t.Errorf("%+v", n)
		}
		return n, context.Canceled
	}); err != context.Canceled {
		t.Error(err)
	}
	l.pass(3 * time.Hour)
	l.expect(pager, "opened a broke ×1", "opened b broke ×1", "acknowledged a broke ×1 by me", "acknowledged b broke ×1 by me", "resolved a broke ×1 quiet for 3 h", "resolved b broke ×1 quiet for 3 h")
	l.expect(am, "opened a broke ×1", "opened b broke ×1", "resolved a broke ×1 quiet for 3 h", "resolved b broke ×1 quiet for 3 h")
	l.expect(usual, "opened a broke ×1", "opened b broke ×1")
	l.expect(asked, "acknowledged a broke ×1 by me")
	l.expect(second, "opened b broke ×1", "acknowledged b broke ×1 by me", "resolved a broke ×1 quiet for 3 h", "resolved b broke ×1 quiet for 3 h")
}

// Where a service shows what becomes of an incident in one place, a message waits for
// the one before it, and gets what the service gave for that, the same in each attempt.
func TestThreads(t *testing.T) {
	l := newLive(t)
	l.settings.ResolveAfter, l.settings.Repeat = 10*time.Hour, 0
	slack := func(by string) func(*trigger.Trigger) {
		return func(t *trigger.Trigger) {
			t.ActionURL, t.GroupBy, t.GroupIntervalSeconds, t.Notices = "slack://slack.com/general", by, 0, []string{"opened", "escalated", "acknowledged", "resolved"}
		}
	}
	id, hook := l.trigger("chat", slack("incident")), l.trigger("hook", func(t *trigger.Trigger) {
		slack("incident")(t)
		t.ActionURL = "slack://hooks.slack.com/services/T/B/x"
	})
	next := func(id int64, after trigger.Delivery) trigger.Job {
		t.Helper()
		return must[trigger.Job](t)(l.Next(t.Context(), id, after))
	}
	record := func(d trigger.Delivery, state trigger.State, ref string) {
		t.Helper()
		d.State, d.Ref, d.NextAt = state, ref, time.Time{}
		if state == trigger.Pending {
			d.NextAt = l.at.Add(time.Minute)
		}
		if err := l.Record(t.Context(), []trigger.Delivery{d}); err != nil {
			t.Fatal(err)
		}
		storetest.Check(t, l.r)
	}
	is := func(job trigger.Job, incident int64, kind, ref string) {
		t.Helper()
		if job.Message == nil || job.Delivery.NextAt.After(l.at) {
			t.Fatalf("nothing is due: %+v", job.Delivery)
		}
		if n := job.Message.Notices[0]; n.Incident != incident || n.Kind != kind || job.Message.Ref != ref {
			t.Errorf("incident %d is %s, with %q; want incident %d, %s, %q", n.Incident, n.Kind, job.Message.Ref, incident, kind, ref)
		}
	}
	change := func(id int64, f func(*incident.Incident) (incident.Notice, error)) {
		t.Helper()
		must[incident.Incident](t)(l.ChangeIncident(t.Context(), id, f))
	}
	l.seen("a broke", "b broke")
	l.at = t0.Add(time.Second)
	l.seen("critical: a broke") // while the first message is on its way
	change(1, func(i *incident.Incident) (incident.Notice, error) { return i.Acknowledge(l.at, "me", "") })
	opened := next(id, trigger.Delivery{})
	is(opened, 1, "opened", "")
	other := next(id, opened.Delivery)
	is(other, 2, "opened", "")
	if waits := next(id, other.Delivery); !waits.Delivery.NextAt.After(l.at.Add(24 * time.Hour)) {
		t.Errorf("%s doesn't wait: %s", waits.Message.Notices[0].Kind, waits.Delivery.NextAt)
	}
	// Another incident's message goes on, one that fails is before those that follow.
	record(other.Delivery, trigger.Delivered, "b1")
	record(opened.Delivery, trigger.Pending, "")
	if waits := next(id, trigger.Delivery{}); waits.Delivery.ID != opened.Delivery.ID {
		t.Errorf("%+v", waits.Delivery)
	}
	l.at = t0.Add(time.Hour)
	record(opened.Delivery, trigger.Delivered, "a1")
	escalated := next(id, trigger.Delivery{})
	is(escalated, 1, "escalated", "a1")
	if waits := next(id, escalated.Delivery); !waits.Delivery.NextAt.After(l.at) {
		t.Errorf("%+v", waits.Delivery)
	}
	// Each attempt has the same, whatever comes meanwhile.
	change(1, func(i *incident.Incident) (incident.Notice, error) { return i.Resolve(l.at, "me", "") })
	record(escalated.Delivery, trigger.Pending, "")
	l.at = t0.Add(2 * time.Hour)
	is(next(id, trigger.Delivery{}), 1, "escalated", "a1")
	record(escalated.Delivery, trigger.Delivered, "")
	acknowledged := next(id, trigger.Delivery{})
	is(acknowledged, 1, "acknowledged", "a1")
	record(acknowledged.Delivery, trigger.Delivered, "a2") // it had to be posted again
	end := next(id, trigger.Delivery{})
	is(end, 1, "resolved", "a2")
	record(end.Delivery, trigger.Dead, "")
	if left := next(id, trigger.Delivery{}); left.Delivery.ID != "" {
		t.Errorf("%+v", left.Delivery)
	}
	// What is sent again by hand is older than what is shown, and leaves that alone.
	must[trigger.Delivery](t)(l.Redeliver(t.Context(), opened.Delivery.ID))
	again := next(id, trigger.Delivery{})
	is(again, 1, "opened", "")
	record(again.Delivery, trigger.Delivered, "a3")
	must[trigger.Delivery](t)(l.Redeliver(t.Context(), end.Delivery.ID))
	is(next(id, trigger.Delivery{}), 1, "resolved", "a2")

	// Elsewhere nothing waits.
	after := trigger.Delivery{}
	for _, kind := range []string{"opened", "opened", "escalated", "acknowledged", "resolved"} {
		job := next(hook, after)
		if after = job.Delivery; job.Message.Notices[0].Kind != kind || job.Message.Ref != "" || job.Delivery.NextAt.After(l.at) {
			t.Errorf("%+v", job.Message)
		}
	}
	// A message about several is in no thread.
	all := l.trigger("all", func(t *trigger.Trigger) { slack("none")(t); t.GroupWaitSeconds = 1 })
	l.seen("c broke", "d broke")
	l.pass(2*time.Hour + time.Second)
	first := next(all, trigger.Delivery{})
	if len(first.Message.Notices) != 2 {
		t.Errorf("%+v", first.Message)
	}
	record(first.Delivery, trigger.Delivered, "x")
	var kept int
	if err := l.r.QueryRow("SELECT count(*) FROM threads WHERE trigger_id = ?", all).Scan(&kept); err != nil || kept != 0 {
		t.Errorf("%d, %v", kept, err)
	}
}

// A message that waits for another one goes on, too, when that gave way to many.
func TestThreadGoesOn(t *testing.T) {
	l := newLive(t)
	l.maxPending = 4
	id := l.trigger("chat", func(t *trigger.Trigger) {
		t.ActionURL, t.GroupBy, t.GroupIntervalSeconds = "slack://slack.com/general", "incident", 0
	})
	l.seen("a broke")
	l.at = t0.Add(time.Second)
	l.seen("critical: a broke")
	l.seen("b broke", "c broke", "d broke")
	storetest.Check(t, l.r)
	var waiting []string
	for after := (trigger.Delivery{}); ; {
		job := must[trigger.Job](t)(l.Next(t.Context(), id, after))
		if after = job.Delivery; after.ID == "" || after.NextAt.After(l.at) {
			break
		}
		waiting = append(waiting, job.Message.Notices[0].Text)
	}
	if got := fmt.Sprint(waiting); got != "[a broke b broke c broke d broke]" {
		t.Error(got)
	}
}

// A message about one incident says with which severity it was told before, by this
// trigger: there it may be known as something else.
func TestSeverityBefore(t *testing.T) {
	l := newLive(t)
	single := "alertmanager+http://10.0.0.1:9093"
	all := l.trigger("all", func(t *trigger.Trigger) { t.ActionURL = single })
	bad := l.trigger("bad", func(t *trigger.Trigger) { t.ActionURL, t.MinSeverity = single, event.Error })
	together := l.trigger("together", func(t *trigger.Trigger) { t.GroupIntervalSeconds = 0 })
	l.seen("warn: a broke", "critical: b broke")
	l.seen("error: a broke")
	l.seen("critical: a broke", "critical: b broke")
	l.pass(15 * time.Minute)
	for id, want := range map[int64]string{
		all:      "[1 opened warn was  2 opened critical was  1 escalated error was warn 1 escalated critical was error 1 resolved critical was  2 resolved critical was ]",
		bad:      "[2 opened critical was  1 escalated error was  1 escalated critical was error 1 resolved critical was  2 resolved critical was ]",
		together: "[1 opened warn was  2 opened critical was  1 escalated error was  1 escalated critical was ]",
	} {
		var got []string
		for _, m := range l.messages(id) {
			for _, n := range m.Notices {
				got = append(got, fmt.Sprintf("%d %s %s was %s", n.Incident, n.Kind, n.Severity, n.Was))
			}
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}
