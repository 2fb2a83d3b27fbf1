package store

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/rule"
	"logscan/internal/silence"
	"logscan/internal/store/storetest"
	"logscan/internal/trigger"
)

// rule adds a rule with a state.
func (l *live) rule(name, state string) rule.Rule {
	l.t.Helper()
	r := aRule(name)
	r.State = state
	return must[rule.Rule](l.t)(l.CreateRule(l.t.Context(), r))
}

// turn gives a rule another state.
func (l *live) turn(r rule.Rule, state string) {
	l.t.Helper()
	r.State = state
	if got := must[rule.Rule](l.t)(l.UpdateRule(l.t.Context(), r)); got.State != state || got.Enabled != (state != rule.Off) {
		l.t.Errorf("%+v", got)
	}
}

// hit stores a hit of a rule, and tells each trigger that is told of events.
func (l *live) hit(r rule.Rule, message string, metadata ...string) event.Event {
	l.t.Helper()
	e := seen(l.at.Sub(t0), r.ID, message)
	for _, key := range metadata {
		e.Metadata[key] = true
	}
	return emit(l.t, l.Store, l.router.Match, e)[0]
}

func (l *live) deliveries() (n int) {
	l.t.Helper()
	if err := l.r.QueryRow("SELECT (SELECT count(*) FROM deliveries) + (SELECT count(*) FROM held)").Scan(&n); err != nil {
		l.t.Fatal(err)
	}
	return n
}

// What a rule in shadow finds is an event and an incident like any other, with a mark,
// which gets worse, is repeated and ends; and no trigger has anything of it.
func TestShadow(t *testing.T) {
	l := newLive(t)
	l.settings = incident.Settings{Repeat: time.Hour, ResolveAfter: 3 * time.Hour, TellResolved: true}
	l.trigger("ops", nil)
	l.trigger("later", func(t *trigger.Trigger) { t.UnacknowledgedForSeconds = 60 })
	l.trigger("each", func(t *trigger.Trigger) { t.Mode = trigger.ModeEvents })
	l.trigger("pager", func(t *trigger.Trigger) { t.ActionURL = "pagerduty://key" })
	l.trigger("day", func(t *trigger.Trigger) { t.Digest = "0 0 * * *" })
	quiet := l.rule("quiet", rule.Shadow)
	if e := l.hit(quiet, "a broke"); !e.InShadow() {
		t.Errorf("%+v", e)
	}
	all := must[[]event.Event](t)(l.Events(t.Context(), EventFilter{}))
	if len(all) != 1 || !all[0].InShadow() {
		t.Errorf("%+v", all)
	}
	worse := seen(0, quiet.ID, "a broke")
	worse.Severity = event.Critical
	emit(t, l.Store, l.router.Match, worse)
	held := incident.Hit{Key: incident.Key{RuleID: quiet.ID, Workload: "shop/db", Shape: incident.AllShapes}, At: t0, Rule: "quiet", Severity: event.Error, Text: "b broke", Suppressed: 7, SuppressedSince: t0}
	if _, err := l.Commit(t.Context(), Batch{Suppressed: []incident.Hit{held}}, l.router.Match); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ChangeIncident(t.Context(), 2, func(i *incident.Incident) (incident.Notice, error) { return i.Acknowledge(l.at, "me", "") }); err != nil {
		t.Fatal(err)
	}
	l.pass(90 * time.Minute)
	l.pass(30 * time.Hour)
	if n := l.deliveries(); n != 1 {
		t.Errorf("%d deliveries, of which the digest should be the only one", n)
	}
	if got := l.told(5); len(got) != 1 || got[0] != "digest  ×0 Nothing new; 0 incidents are open" {
		t.Errorf("the digest says %q", got)
	}
	got := incidents(t, l.Store, IncidentFilter{})
	if len(got) != 2 || !got[0].Shadow || got[0].Matches != 7 || !got[1].Shadow || got[1].State != incident.Resolved {
		t.Errorf("%+v", got)
	}
	out := " | ops unwanted shadow | later unwanted shadow | each unwanted shadow | pager unwanted shadow | day unwanted shadow"
	l.expectFates(1, "opened"+out, "escalated"+out, "repeated"+out, "resolved"+out)
	storetest.Check(t, l.r)

	// What was told while it was on isn't held against it.
	if digest := must[trigger.Summary](t)(summary(t.Context(), l.r, t0.Add(-time.Hour), l.at)); digest.Matches != 0 || digest.Noisiest.Matches != 0 || digest.New != 0 || digest.Incidents != 0 {
		t.Errorf("%+v", digest)
	}
}

// The same holds for what adds up to a hit, for what comes while that is open, and for
// its end.
func TestShadowOfWhatAddsUp(t *testing.T) {
	l := newLive(t)
	l.settings = incident.Settings{TellResolved: true}
	ops := l.trigger("ops", nil)
	for n, state := range []string{rule.Shadow, rule.On} {
		r := l.rule(state, state)
		e := seen(0, r.ID, "a broke")
		e.Shape = incident.AllShapes
		key := incident.Key{RuleID: r.ID, Workload: "shop/web", Shape: incident.AllShapes}
		more := incident.Hit{Key: key, At: t0, Rule: state, Severity: event.Error, Text: "a broke", Suppressed: 4, SuppressedSince: t0}
		end := End{Key: key, Ending: incident.Ending{At: t0.Add(time.Minute), Why: "it came"}}
		b := Batch{Outcomes: []Outcome{{Event: &e}, {More: &more}, {End: &end}, {More: &more}}, Correlated: &Correlated{Revision: int64(n + 1)}}
		if _, err := l.Commit(t.Context(), b, l.router.Match); err != nil {
			t.Fatal(err)
		}
		all := incidents(t, l.Store, IncidentFilter{Limit: 2})
		if len(all) != 2 || all[1].Matches != 5 || all[1].State != incident.Resolved || all[0].Matches != 4 || all[0].Shadow != (state == rule.Shadow) || all[1].Shadow != all[0].Shadow {
			t.Errorf("%s: %+v", state, all)
		}
		if told := len(l.told(ops)) > 0; told != (state == rule.On) {
			t.Errorf("%s: told %q", state, l.told(ops))
		}
	}
	storetest.Check(t, l.r)
}

// What is open of a rule is told as the rule's state says: no more while it is in
// shadow, not even what was held; and from the next notice on again.
func TestIntoShadowAndBack(t *testing.T) {
	l := newLive(t)
	l.settings = incident.Settings{Repeat: time.Hour}
	ops := l.trigger("ops", func(t *trigger.Trigger) { t.GroupBy = "incident" })
	later := l.trigger("later", func(t *trigger.Trigger) { t.UnacknowledgedForSeconds = 600 })
	each := l.trigger("each", func(t *trigger.Trigger) { t.Mode = trigger.ModeEvents })
	r, other := l.rule("r", rule.On), l.rule("other", rule.On)
	l.hit(r, "a broke")
	l.hit(other, "b broke")
	events := func(want int) {
		t.Helper()
		var n int
		if err := l.r.QueryRow("SELECT count(*) FROM deliveries WHERE trigger_id = ?", each).Scan(&n); err != nil || n != want {
			t.Errorf("%d events told, %v, want %d", n, err, want)
		}
	}
	open := func(want map[int64]OpenOfRule) {
		t.Helper()
		if got := must[map[int64]OpenOfRule](t)(l.OpenByRule(t.Context())); !reflect.DeepEqual(got, want) {
			t.Errorf("open are %+v", got)
		}
	}
	waiting := map[string]int64{trigger.Unacknowledged: 1}
	open(map[int64]OpenOfRule{r.ID: {Incidents: 1, Held: waiting}, other.ID: {Incidents: 1, Held: waiting}})
	l.turn(r, rule.Shadow)
	open(map[int64]OpenOfRule{r.ID: {Incidents: 1}, other.ID: {Incidents: 1, Held: waiting}})
	l.pass(30 * time.Minute)
	open(map[int64]OpenOfRule{r.ID: {Incidents: 1}, other.ID: {Incidents: 1}})
	l.expect(later, "opened b broke ×1")
	l.hit(r, "a broke")
	l.pass(61 * time.Minute)
	l.expect(ops, "opened a broke ×1", "opened b broke ×1", "repeated b broke ×1 open for 1 h")
	events(2)
	l.expectFates(1, "opened | ops told pending | later unwanted shadow | each unwanted mode", "repeated | ops unwanted shadow | later unwanted shadow | each unwanted shadow")

	// Off, it is told no more either; on, it goes on.
	l.turn(r, rule.Off)
	l.pass(4 * time.Hour)
	if n := len(l.told(ops)); n != 4 {
		t.Errorf("%q", l.told(ops))
	}
	l.turn(r, rule.On)
	l.hit(r, "a broke")
	events(3)
	l.pass(9 * time.Hour)
	if got := l.told(ops); !slices.Contains(got[4:], "repeated a broke ×3 open for 7 h") {
		t.Errorf("%q", got)
	}
	storetest.Check(t, l.r)
}

// A service that keeps what it was told of hears that this is over, once, and nothing
// else.
func TestEndIsToldThoughInShadow(t *testing.T) {
	l := newLive(t)
	pager := l.trigger("pager", func(t *trigger.Trigger) { t.ActionURL = "pagerduty://key" })
	r := l.rule("r", rule.On)
	l.hit(r, "a broke")
	l.turn(r, rule.Shadow)
	l.hit(r, "b broke")
	l.pass(2 * time.Hour)
	l.expect(pager, "opened a broke ×1", "resolved a broke ×1 quiet for 15 min")
	storetest.Check(t, l.r)
}

// What was found is told as the rule's state is when it is stored, or as it was when
// it was found if the rule has gone.
func TestShadowWhenStored(t *testing.T) {
	l := newLive(t)
	ops := l.trigger("ops", func(t *trigger.Trigger) { t.GroupBy = "incident" })
	r := l.rule("r", rule.On)
	for n, c := range []struct {
		state string
		found []string
		want  bool
	}{
		{rule.On, nil, false}, {rule.On, []string{event.Shadow}, false},
		{rule.Shadow, nil, true}, {rule.Shadow, []string{event.Shadow}, true},
		{rule.Off, nil, false}, {rule.Off, []string{event.Shadow}, true},
		{"", nil, false}, {"", []string{event.Shadow}, true},
	} {
		if c.state != "" {
			l.turn(r, c.state)
		} else if err := l.DeleteRule(t.Context(), r.ID); err != nil && c.found == nil {
			t.Fatal(err)
		}
		before := len(l.told(ops))
		e := l.hit(r, string(rune('a'+n))+" broke", c.found...)
		i := must[incident.Incident](t)(l.Incident(t.Context(), e.IncidentID))
		if e.InShadow() != c.want || i.Shadow != c.want || (len(l.told(ops)) == before) != c.want {
			t.Errorf("%+v: %+v in %+v, told %q", c, e, i, l.told(ops)[before:])
		}
	}
}

// No silence holds back what nobody is told anyway.
func TestSilenceOfARuleInShadow(t *testing.T) {
	l := newLive(t)
	matcher := must[silence.Matcher](t)(silence.ParseMatcher("rule=*"))
	v := must[silence.Silence](t)(l.CreateSilence(t.Context(), silence.Silence{Matchers: []silence.Matcher{matcher}, Starts: t0.Add(-time.Hour), Ends: t0.Add(time.Hour)}))
	l.reload()
	l.hit(l.rule("quiet", rule.Shadow), "a broke")
	l.hit(l.rule("loud", rule.On), "a broke")
	if held := must[Silenced](t)(l.SilencedBy(t.Context(), v.ID)); held.Notices != 1 {
		t.Errorf("%+v", held)
	}
	if would := must[Silenced](t)(l.PreviewSilence(t.Context(), v, t0.Add(-time.Hour))); would.Notices != 1 || would.Incidents != 1 {
		t.Errorf("it would have held back %+v", would)
	}
}

// A rule that was stored before there were states has the state that enabled says.
func TestStatesOfOldRules(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logscan.db")
	s := must[*Store](t)(open(path, migrations()[:definitions+6]))
	for _, definition := range []string{`{"version":1,"name":"a","pattern":"x","enabled":true}`, `{"version":1,"name":"b","pattern":"x","enabled":false}`, `{"version":1,"name":"c","pattern":"x"}`} {
		if _, err := s.w.Exec("INSERT INTO rules (definition, workload_id, created_at, updated_at) VALUES (?, '', 1, 1)", definition); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	s = must[*Store](t)(Open(path, nil))
	defer s.Close()
	var got string
	for _, r := range must[[]rule.Rule](t)(s.Rules(t.Context())) {
		var stored string
		if err := s.r.QueryRow("SELECT definition FROM rules WHERE id = ?", r.ID).Scan(&stored); err != nil {
			t.Fatal(err)
		}
		got += fmt.Sprintln(r.Name, r.State, r.Enabled, stored)
	}
	if want := `a on true {"version":1,"name":"a","pattern":"x","state":"on"}
b off false {"version":1,"name":"b","pattern":"x","state":"off"}
c on true {"version":1,"name":"c","pattern":"x","state":"on"}
`; got != want {
		t.Errorf("got\n%s", got)
	}
}
