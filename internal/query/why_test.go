package query

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/echo"
	"logscan/internal/entry"
	"logscan/internal/event"
	"logscan/internal/fields"
	"logscan/internal/incident"
	"logscan/internal/journal"
	"logscan/internal/redact"
	"logscan/internal/rule"
	"logscan/internal/scan"
	"logscan/internal/silence"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// lived is a database, and logs over which the live steps ran into it.
type lived struct {
	*store.Store
	t        *testing.T
	dir      *journal.Dir
	now      time.Time
	begin    time.Time
	router   *trigger.Router
	silences *silence.Set
	redactor *redact.Redactor
	bucket   rule.Bucket
	pool     *Pool
	searcher *Searcher
	known    []rule.Rule // in effect
}

func newLived(t *testing.T) *lived {
	t.Helper()
	begin := time.Now().Add(-2 * time.Hour).Truncate(time.Second).UTC()
	l := &lived{t: t, dir: newDir(t, journal.Config{}), now: begin.Add(-time.Hour), begin: begin, router: trigger.NewRouter(), silences: silence.Compile(nil), bucket: rule.DefaultBucket, pool: NewPool(1)}
	var err error
	if l.Store, err = store.OpenScratch(filepath.Join(t.TempDir(), "lived.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Store.Close() })
	if l.redactor, err = redact.New(""); err != nil {
		t.Fatal(err)
	}
	l.UseClock(func() time.Time { return l.now })
	l.UseIncidents(l)
	l.searcher = New(l.dir, l.pool, nil)
	return l
}

func (l *lived) Settings(id int64) incident.Settings {
	for _, r := range l.known {
		if r.ID == id {
			return r.Incidents()
		}
	}
	return incident.Defaults
}
func (l *lived) Policies() []*trigger.Policy { return l.router.Policies() }
func (l *lived) Silenced(i *incident.Incident, at time.Time) int64 {
	return l.silences.By(i, at)
}

// log is a container's, from the begin on.
func (l *lived) log(n int, workload string) *errorLog {
	log := newErrorLog(l.t, l.dir, n, workload, true)
	log.at = l.begin
	return log
}

func (l *lived) rule(name, pattern string, set func(*rule.Rule)) rule.Rule {
	l.t.Helper()
	r := rule.New()
	r.Name, r.Pattern = name, pattern
	if set != nil {
		set(&r)
	}
	r, err := l.CreateRule(l.t.Context(), r)
	if err != nil {
		l.t.Fatal(err)
	}
	return r
}

func (l *lived) trigger(name string, set func(*trigger.Trigger)) trigger.Trigger {
	l.t.Helper()
	t, err := l.CreateTrigger(l.t.Context(), opsTrigger(func(t *trigger.Trigger) { t.ID, t.Name = 0, name; set(t) }))
	if err != nil {
		l.t.Fatal(err)
	}
	return t
}

// run has the live steps run over all lines.
func (l *lived) run() {
	l.t.Helper()
	ctx := l.t.Context()
	var err error
	if l.known, err = l.Rules(ctx); err != nil {
		l.t.Fatal(err)
	}
	triggers, err := l.Triggers(ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	l.router.Set(triggers)
	snapshot, bad := rule.Compile(l.known, rule.WithBucket(l.bucket), rule.WithRedactor(l.redactor))
	if len(bad) > 0 {
		l.t.Fatal(bad)
	}
	_, _, err = scan.Replay(ctx, scan.ReplayConfig{
		Config: scan.Config{Journals: l.dir, Store: l.Store, Route: l.router.Match, Bucket: l.bucket, Redact: l.redactor},
		Rules:  snapshot, Since: l.begin.Add(-time.Minute), Until: l.begin.Add(90 * time.Minute),
		Clock: func(at time.Time) { l.now = at },
		Pass:  func(ctx context.Context, at time.Time) error { return l.Pass(ctx, at, at) }, Due: l.Due,
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lived) config() WhyConfig {
	return WhyConfig{Store: l.Store, Bucket: l.bucket, Redact: l.redactor}
}

func (l *lived) why(q WhyQuery) Why {
	l.t.Helper()
	w, err := l.searcher.Why(l.t.Context(), l.config(), q)
	if err != nil {
		l.t.Fatal(err)
	}
	return w
}

// of is what became of a line for a rule.
func (l *lived) of(q WhyQuery, r rule.Rule) WhyRule {
	l.t.Helper()
	w := l.why(q)
	i := slices.IndexFunc(w.Rules, func(v WhyRule) bool { return v.Rule.ID == r.ID })
	if i < 0 {
		l.t.Fatalf("nothing about %s: %+v", r.Name, w)
	}
	return w.Rules[i]
}

// Of a line, it is said of each rule which condition it doesn't fulfil.
func TestWhyUnmet(t *testing.T) {
	l := newLived(t)
	conditional := func(set func(*rule.Rule)) rule.Rule { return l.rule(fmt.Sprintf("%p", &set), "error", set) }
	plain := l.rule("plain", "disk", nil)
	also := conditional(func(r *rule.Rule) { r.All = []string{"net", "tcp"} })
	ignored := conditional(func(r *rule.Rule) { r.Ignore = []string{"harmless", "password"} })
	field := conditional(func(r *rule.Rule) { r.Where = []string{"status >= 500"} })
	stderr := l.rule("stream", "error", func(r *rule.Rule) { r.Streams = "stdout" })
	off := conditional(func(r *rule.Rule) { r.State, r.Enabled = rule.Off, false })
	offToo := l.rule("off too", "disk", func(r *rule.Rule) { r.State, r.Enabled = rule.Off, false })
	l.rule("elsewhere", "error", func(r *rule.Rule) { r.WorkloadID = "other" })
	l.log(1, "shop").write("all is well", "net error status=404 password=hunter2")
	l.run()
	q := WhyQuery{Container: "c1", Line: 2}
	w := l.why(q)
	if w.Text != "net error status=404 password=[redacted]" || w.Elsewhere != 1 || w.Lines != 1 || w.Container.Name != "c1" || len(w.Rules) != 7 {
		t.Errorf("%+v", w)
	}
	for _, tt := range []struct {
		rule             rule.Rule
		want             WhyOutcome
		field, condition string
	}{
		{plain, WhyUnmatched, "pattern", "disk"}, {also, WhyUnmet, "all", "tcp"}, {ignored, WhyIgnored, "ignore", "password"},
		{field, WhyUnmet, "where", "status >= 500"}, {stderr, WhyStream, "", ""}, {off, WhyOff, "", ""}, {offToo, WhyUnmatched, "pattern", "disk"},
	} {
		v := l.of(q, tt.rule)
		var got rule.Verdict
		if v.Unmet != nil {
			got = *v.Unmet
		}
		if v.Outcome != tt.want || got.Field != tt.field || got.Pattern != tt.condition || v.Changed || v.Event != nil {
			t.Errorf("%s: %s %+v", tt.rule.Name, v.Outcome, got)
		}
		if tt.field == "where" && (got.About != "status" || got.Value != "404") {
			t.Errorf("%+v", got)
		}
	}
}

// A match that a cooldown holds back is told with the hit behind whose it is, until when,
// and the incident in which it counts.
func TestWhyHeld(t *testing.T) {
	l := newLived(t)
	l.bucket = rule.Bucket{Burst: 2, Refill: time.Minute}
	slow := l.rule("slow", "slow", func(r *rule.Rule) { r.CooldownSeconds = 600 })
	flood := l.rule("flood", "flood", func(r *rule.Rule) { r.CooldownSeconds = 0 })
	shadow := l.rule("shadow", "shadow", func(r *rule.Rule) { r.State = rule.Shadow; r.CooldownSeconds = 0 })
	ops := l.trigger("ops", func(*trigger.Trigger) {})
	web := l.log(1, "shop")
	web.write("slow 1", "slow 2") // lines 1 and 2
	web.at = web.at.Add(20 * time.Minute)
	web.write("slow 3", "flood 1", "flood 2", "flood 3") // 3 to 6
	web.write("shadow 1")                                // 7
	l.run()

	v := l.of(WhyQuery{Container: "c1", Line: 1}, slow)
	if v.Outcome != WhyHit || v.Event == nil || v.Incident == nil || v.Folded || len(v.Notices) != 1 || v.Notices[0].Kind != incident.NoticeOpened {
		t.Fatalf("a hit: %+v", v)
	}
	if f := v.Notices[0].Fates; len(f) != 1 || f[0].TriggerID != ops.ID || f[0].State != trigger.FateTold || f[0].Delivery.State != trigger.Pending {
		t.Errorf("%+v", f)
	}
	first := v.Event
	v = l.of(WhyQuery{Container: "c1", Line: 2}, slow)
	if v.Outcome != WhyCooldown || v.Replayed || v.BehindEvent == nil || v.BehindEvent.ID != first.ID || !v.Until.Equal(l.begin.Add(601*time.Second)) {
		t.Errorf("a cooldown: %+v", v)
	}
	if v.Incident == nil || v.Incident.Matches != 2 || !v.Folded || v.ToldWith == nil || v.ToldWith.Metadata["suppressed"] != float64(1) {
		t.Errorf("where it counts: %+v", v)
	}
	// Where the incident is no more, the live steps say it.
	v = l.of(WhyQuery{Container: "c1", Line: 6}, flood)
	if v.Outcome != WhyBucket || !v.Replayed || v.Event != nil {
		t.Errorf("a bucket: %+v", v)
	}
	v = l.of(WhyQuery{Container: "c1", Line: -1}, shadow)
	if v.Outcome != WhyHit || !v.Event.InShadow() || len(v.Notices) != 1 || v.Notices[0].Fates[0].Field != trigger.InShadow {
		t.Errorf("a rule in shadow: %+v", v)
	}
	if w := l.why(WhyQuery{At: l.begin.Add(1500 * time.Millisecond)}); string(w.Line.Text) != "slow 2" {
		t.Errorf("the first line behind a time: %+v", w.Line)
	}
	if w := l.why(WhyQuery{Event: first.ID}); string(w.Line.Text) != "slow 1" || w.Event.ID != first.ID {
		t.Errorf("of an event: %+v", w.Line)
	}
}

// A match of a rule that counts says how many there were, and which of them made the hit.
func TestWhyCounted(t *testing.T) {
	l := newLived(t)
	many := l.rule("many", "timed out", func(r *rule.Rule) { r.Kind, r.AtLeast, r.WithinSeconds = rule.KindCount, 3, 60 })
	web := l.log(1, "shop")
	web.step = 10 * time.Second
	web.write("timed out 1", "timed out 2")
	web.at = web.at.Add(10 * time.Minute)
	web.write("timed out 3", "timed out 4", "timed out 5", "timed out 6")
	l.run()
	v := l.of(WhyQuery{Container: "c1", Line: 2}, many)
	if v.Outcome != WhyCounted || v.Matches != 2 || v.Of != 3 || !v.MatchesSince.Equal(l.begin.Add(10*time.Second)) || !v.Replayed || v.Event != nil {
		t.Errorf("too few: %+v", v)
	}
	if v = l.of(WhyQuery{Container: "c1", Line: 5}, many); v.Outcome != WhyHit || v.Event == nil || v.Folded {
		t.Errorf("the one that makes it a hit: %+v", v)
	}
	if v = l.of(WhyQuery{Container: "c1", Line: 3}, many); v.Outcome != WhyJoined || v.Event == nil {
		t.Errorf("one of them: %+v", v)
	}
	if v = l.of(WhyQuery{Container: "c1", Line: 6}, many); v.Incident == nil || !v.Folded {
		t.Errorf("one behind them: %+v", v)
	}
}

// What is no match but matters to a rule is said to.
func TestWhyPart(t *testing.T) {
	l := newLived(t)
	ratio := l.rule("ratio", "failed", func(r *rule.Rule) { r.Kind, r.Of, r.Over = rule.KindRatio, "request", "50%" })
	ends := l.rule("ends", "down", func(r *rule.Rule) { r.Clear = fields.Texts{"up again"} })
	steps := l.rule("steps", "", func(r *rule.Rule) {
		r.Kind, r.Steps, r.WithinSeconds = rule.KindSequence, fields.Texts{"begin", "end"}, 3600
	})
	l.log(1, "shop").write("request 1", "up again", "begin", "begin")
	l.run()
	for n, want := range map[int64]struct {
		rule rule.Rule
		part string
	}{1: {ratio, "of"}, 2: {ends, "clear 1"}, 3: {steps, "step 1"}} {
		if v := l.of(WhyQuery{Container: "c1", Line: n}, want.rule); v.Outcome != WhyCounted && (n < 3 || v.Outcome != WhyHit) || !slices.Equal(v.Parts, []string{want.part}) {
			t.Errorf("line %d: %+v", n, v)
		}
	}
}

// A record is one hit, whichever of its lines is asked about.
func TestWhyRecord(t *testing.T) {
	l := newLived(t)
	trace := l.rule("trace", "Exception.*at shop", func(r *rule.Rule) { r.Record = true; r.Pattern = `(?s)Exception.*at shop` })
	line := l.rule("frame", "Cart", func(r *rule.Rule) { r.CooldownSeconds = 0 })
	web := l.log(1, "shop")
	web.step = time.Millisecond
	web.write("java.lang.IllegalStateException: gone", "\tat shop.Cart.add(Cart.java:17)", "\tat shop.Cart.main(Cart.java:3)", "all is well")
	l.run()
	for _, n := range []int64{1, 2, 3} {
		if v := l.of(WhyQuery{Container: "c1", Line: n}, trace); (v.Outcome != WhyHit && v.Outcome != WhyJoined) || v.Event == nil {
			t.Errorf("line %d: %+v", n, v)
		}
	}
	if w := l.why(WhyQuery{Container: "c1", Line: 2}); w.Lines != 3 {
		t.Errorf("%d lines", w.Lines)
	}
	if v := l.of(WhyQuery{Container: "c1", Line: 2}, line); v.Outcome != WhyHit {
		t.Errorf("%+v", v)
	}
	if v := l.of(WhyQuery{Container: "c1", Line: 3}, line); v.Outcome != WhyJoined || v.Event == nil {
		t.Errorf("again in a record: %+v", v)
	}
	if v := l.of(WhyQuery{Container: "c1", Line: 4}, trace); v.Outcome != WhyUnmatched {
		t.Errorf("%+v", v)
	}
}

// Of a hit, it is told for each trigger whether it was told, or why it wasn't.
func TestWhyTold(t *testing.T) {
	l := newLived(t)
	r := l.rule("errors", "error", func(r *rule.Rule) { r.CooldownSeconds = 0 })
	l.trigger("daily", func(t *trigger.Trigger) { t.AtMost = "1/d" })
	l.trigger("grouped", func(t *trigger.Trigger) { t.GroupIntervalSeconds = 7200 })
	each := l.trigger("each", func(t *trigger.Trigger) { t.Mode = trigger.ModeEvents })
	l.trigger("each other", func(t *trigger.Trigger) { t.Mode, t.Severities = trigger.ModeEvents, []event.Severity{event.Critical} })
	l.trigger("other", func(t *trigger.Trigger) { t.Workloads = []string{"elsewhere"} })
	l.trigger("off", func(t *trigger.Trigger) { t.Enabled = false })
	web, db := l.log(1, "shop"), l.log(2, "db")
	web.write("first error in the shop", "another error, with other words", "another error, with other words")
	db.at = l.begin.Add(5 * time.Second)
	db.write("error in the database")
	v, err := l.CreateSilence(t.Context(), silence.Silence{Matchers: []silence.Matcher{{Field: "workload", Op: "=", Value: "db"}}, Starts: l.begin.Add(-time.Hour), Ends: l.begin.Add(3 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	l.silences = silence.Compile([]silence.Silence{v})
	l.run()

	fates := func(all []trigger.Fate) string {
		var out []string
		for _, f := range all {
			out = append(out, strings.Trim(fmt.Sprint(f.Trigger, " ", f.State, " ", f.Field), " "))
		}
		return strings.Join(out, ", ")
	}
	first := l.of(WhyQuery{Container: "c1", Line: 1}, r)
	if got := fates(first.Notices[0].Fates); got != "daily told, grouped told, other unwanted workloads, off unwanted enabled" {
		t.Errorf("%s", got)
	}
	if got := fates(first.Each); got != "each told, each other unwanted severities" {
		t.Errorf("%s", got)
	}
	second := l.of(WhyQuery{Container: "c1", Line: 2}, r)
	if got := fates(second.Notices[0].Fates); got != "daily held, grouped held, other unwanted workloads, off unwanted enabled" {
		t.Errorf("%s", got)
	}
	if f := second.Notices[0].Fates; f[0].Until.IsZero() || f[0].Why != "over the trigger's budget of messages" || f[1].Why != "grouped" || !f[1].Until.After(l.begin.Add(time.Hour)) {
		t.Errorf("%+v", f)
	}
	folded := l.of(WhyQuery{Container: "c1", Line: 3}, r)
	if folded.Outcome != WhyHit || !folded.Folded || folded.Incident.ID != second.Incident.ID || len(folded.Notices) == 0 || folded.Notices[0].Kind != incident.NoticeOpened {
		t.Errorf("%+v", folded)
	}
	silenced := l.of(WhyQuery{Container: "c2", Line: 1}, r)
	if n := silenced.Notices; len(n) != 1 || n[0].Silence == nil || n[0].Silence.ID != v.ID || n[0].Fates[0].State != trigger.FateSilenced {
		t.Errorf("%+v", n)
	}
	// What the receiver answered is told.
	d := first.Notices[0].Fates[0].Delivery
	d.State, d.LastStatus, d.LastError = trigger.Dead, 503, "Service Unavailable"
	if err := l.Record(t.Context(), []trigger.Delivery{d}); err != nil {
		t.Fatal(err)
	}
	if got := l.of(WhyQuery{Container: "c1", Line: 1}, r).Notices[0].Fates[0].Delivery; got.State != trigger.Dead || got.Attempts != 1 || got.LastStatus != 503 || got.LastError == "" {
		t.Errorf("%+v", got)
	}
	// A trigger that came, or changed, later is no riddle.
	late := l.trigger("late", func(*trigger.Trigger) {})
	l.now = l.now.Add(time.Second)
	if _, err := l.UpdateTrigger(t.Context(), each); err != nil {
		t.Fatal(err)
	}
	first = l.of(WhyQuery{Container: "c1", Line: 1}, r)
	if got := fates(first.Notices[0].Fates); strings.Contains(got, "each") {
		t.Errorf("told of each event, and of incidents: %s", got)
	}
	if f := first.Notices[0].Fates; f[len(f)-1].TriggerID != late.ID || f[len(f)-1].Why != "the trigger was made later" {
		t.Errorf("%+v", f)
	}
}

// A rule that was made, or changed, behind a line is said to have been; and a line that no
// rule has seen is.
func TestWhyLater(t *testing.T) {
	l := newLived(t)
	gone := l.rule("gone", "gone", nil)
	l.log(1, "shop").write("error in the shop", "gone away")
	l.run()
	l.now = time.Now()
	later := l.rule("later", "error", nil)
	gone.Pattern = "no more"
	if _, err := l.UpdateRule(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if v := l.of(WhyQuery{Container: "c1", Line: 1}, later); v.Outcome != WhyLater || !v.Changed {
		t.Errorf("%+v", v)
	}
	if v := l.of(WhyQuery{Container: "c1", Line: 2}, gone); v.Outcome != WhyHit || !v.Changed || v.Event == nil {
		t.Errorf("%+v", v)
	}
	if v := l.of(WhyQuery{Container: "c1", Line: 2}, later); v.Outcome != WhyUnmatched || !v.Changed {
		t.Errorf("%+v", v)
	}
	cfg := l.config()
	l.now = l.begin.Add(-time.Hour)
	unseen := l.rule("unseen", "error", nil)
	cfg.Lag = func() map[string]int64 { return map[string]int64{fmt.Sprintf("%064x", 1): 1 << 20} }
	w, err := l.searcher.Why(t.Context(), cfg, WhyQuery{Container: "c1", Line: 1})
	if err != nil {
		t.Fatal(err)
	}
	if v := w.Rules[len(w.Rules)-1]; v.Rule.ID != unseen.ID || v.Outcome != WhyUnread {
		t.Errorf("%+v", v)
	}
	// With it seen, nothing says why there is no event.
	if v := l.of(WhyQuery{Container: "c1", Line: 1}, unseen); v.Outcome != WhyUnknown || !v.Replayed {
		t.Errorf("%+v", v)
	}
}

// An event tells where it went, though its log is gone.
func TestWhyOfAnEventAlone(t *testing.T) {
	l := newLived(t)
	r := l.rule("errors", "error", nil)
	l.trigger("ops", func(*trigger.Trigger) {})
	log := l.log(1, "shop")
	log.write("error in the shop")
	l.run()
	id := l.of(WhyQuery{Container: "c1", Line: 1}, r).Event.ID
	log.stop()
	if !l.dir.Remove(log.j.Container().ID) {
		t.Fatal("the log can't be removed")
	}
	w := l.why(WhyQuery{Event: id})
	if w.Line != nil || w.Container != nil || len(w.Rules) != 1 || w.Rules[0].Event.ID != id || len(w.Rules[0].Notices) != 1 {
		t.Errorf("%+v", w)
	}
	system, err := l.Commit(t.Context(), store.Batch{Events: []event.Event{{Source: event.System, Severity: event.Error, Message: "lost"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.searcher.Why(t.Context(), l.config(), WhyQuery{Event: system[0].ID}); err == nil || !strings.Contains(err.Error(), "about itself") {
		t.Errorf("%v", err)
	}
}

// What can't be asked is refused, and says what to do.
func TestWhyRefuses(t *testing.T) {
	l := newLived(t)
	l.log(1, "shop").write("one", "two")
	off := newErrorLog(t, l.dir, 2, "shop", false)
	off.write("error")
	for want, q := range map[string]WhyQuery{
		"at: is required": {}, "goes with a container": {Line: 1}, "only 2 are kept": {Container: "c1", Line: 3}, "behind the last": {At: time.Now().Add(time.Hour)},
		"not 0": {Container: "c1", Line: -1 << 40}, "no log is kept": {Container: "nosuch", Line: 1}, "not found": {Event: 99},
	} {
		_, err := l.searcher.Why(t.Context(), l.config(), q)
		var field *fields.Error
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &field) && !errors.Is(err, ErrNoContainer) && !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if w := l.why(WhyQuery{Container: "c2", Line: 1}); w.Container.Scan || len(w.Rules) != 0 || w.Line == nil {
		t.Errorf("%+v", w)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.searcher.Why(ended, l.config(), WhyQuery{Container: "c1", Line: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// A rule says why it made no hit.
func TestWhyRule(t *testing.T) {
	l := newLived(t)
	web := l.log(1, "shop")
	web.step = 30 * time.Second
	for range 4 {
		web.write("disk Error status=404", "upload timed out harmless", "all is well")
	}
	off := newErrorLog(t, l.dir, 2, "shop", false)
	off.at = l.begin
	off.write("disk Error")
	web.put(entry.Entry{Source: "stdout", TimeNano: web.at.Add(time.Second).UnixNano(), Line: []byte("backup done")})
	ask := func(r rule.Rule) RuleWhy {
		t.Helper()
		out, err := l.searcher.WhyRule(t.Context(), l.config(), WhyRuleQuery{Rule: r, Since: l.begin.Add(-time.Minute), Until: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if w := ask(l.rule("case", "disk error", nil)); w.Matches != 0 || w.Near != 4 || w.NearLine != "disk Error status=404" || w.Lines != 13 || w.Containers != 1 || w.Unscanned != 1 || !w.Whole || w.Last != nil {
		t.Errorf("another case: %+v", w)
	}
	if w := ask(l.rule("where", "disk Error", func(r *rule.Rule) { r.Where = []string{"status >= 500"} })); w.Matches != 0 || len(w.Unmet) != 1 || w.Unmet[0].Lines != 4 || w.Unmet[0].Condition != "status >= 500" || w.Near != 0 {
		t.Errorf("a condition: %+v", w)
	}
	if w := ask(l.rule("ignored", "timed out", func(r *rule.Rule) { r.Ignore = []string{"harmless"} })); w.Counts.Ignored != 4 || len(w.Unmet) != 1 || w.Unmet[0].Field != "ignore" {
		t.Errorf("ignored: %+v", w)
	}
	if w := ask(l.rule("stream", "backup done", func(r *rule.Rule) { r.Streams = "stderr" })); w.Stream != 1 || w.Matches != 0 {
		t.Errorf("another stream: %+v", w)
	}
	if w := ask(l.rule("scope", "disk", func(r *rule.Rule) { r.Images = []string{"nginx*"} })); w.Containers != 0 || w.Others != 2 || w.Lines != 0 {
		t.Errorf("no container: %+v", w)
	}
	if w := ask(l.rule("count", "disk", func(r *rule.Rule) { r.Kind, r.AtLeast, r.WithinSeconds = rule.KindCount, 5, 200 })); w.Matches != 4 || w.Most != 3 || !w.MostAt.Equal(l.begin.Add(210*time.Second)) {
		t.Errorf("too few: %+v", w)
	}
	l.now = time.Now()
	if w := ask(l.rule("new", "disk", func(r *rule.Rule) { r.CooldownSeconds = 3600 })); w.Before != 4 || w.Matches != 4 || w.Counts.Hits != 1 || w.Counts.Cooldown != 3 {
		t.Errorf("made later: %+v", w)
	}
	l.now = l.begin.Add(-time.Hour)
	global := l.rule("global", "disk Error", nil)
	l.rule("global", "nothing", func(r *rule.Rule) { r.WorkloadID, r.OverridesID = "shop", global.ID })
	if w := ask(global); w.Overridden != 2 || w.Containers != 0 || w.Lines != 0 {
		t.Errorf("overridden: %+v", w)
	}
	seq := l.rule("seq", "", func(r *rule.Rule) {
		r.Kind, r.Steps, r.WithinSeconds = rule.KindSequence, fields.Texts{"disk Error", "nothing"}, 60
	})
	if w := ask(seq); len(w.Parts) != 1 || w.Parts[0] != (RulePart{"step 1", 4}) {
		t.Errorf("steps: %+v", w)
	}
	bad := rule.New()
	bad.Name, bad.Pattern = "bad", "("
	var wrong rule.CompileError
	if _, err := l.searcher.WhyRule(t.Context(), l.config(), WhyRuleQuery{Rule: bad, Since: l.begin, Until: time.Now()}); !errors.As(err, &wrong) {
		t.Errorf("%v", err)
	}
}

// A line that repeats what logscan has sent is hidden, and said to be.
func TestWhyEcho(t *testing.T) {
	l := newLived(t)
	r := l.rule("errors", "error", nil)
	l.log(1, "shop").write("error of our own", "error of others")
	cfg := l.config()
	cfg.Echo = func(text []byte, _ int64) echo.Rules {
		if strings.Contains(string(text), "our own") {
			return echo.Rules(0).With(r.ID)
		}
		return 0
	}
	for n, want := range map[int64]WhyOutcome{1: WhyEcho, 2: WhyUnknown} {
		w, err := l.searcher.Why(t.Context(), cfg, WhyQuery{Container: "c1", Line: n})
		if err != nil {
			t.Fatal(err)
		}
		if v := w.Rules[0]; v.Rule.ID != r.ID || v.Outcome != want {
			t.Errorf("line %d: %+v", n, v)
		}
	}
}

// What is read to say why is bounded: a rule with a short cooldown has little read.
func TestWhyReach(t *testing.T) {
	l := newLived(t)
	l.bucket = rule.Bucket{Burst: 1, Refill: time.Second}
	l.rule("flood", "flood", func(r *rule.Rule) { r.CooldownSeconds = 0 })
	l.rule("yearly", "something else", func(r *rule.Rule) { r.CooldownSeconds = 3600 * 24 * 365 })
	l.log(1, "shop").write("flood 1")
	log := l.log(2, "shop")
	log.step = time.Millisecond
	log.write("flood 1", "flood 2")
	l.run()
	w := l.why(WhyQuery{Container: "c2", Line: 2})
	if w.Rules[0].Outcome != WhyBucket || w.Replayed.Before(l.begin.Add(-5*time.Minute)) || !w.Whole {
		t.Errorf("%+v", w)
	}
}
