package query

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/silence"
	"logscan/internal/trigger"
)

func opsTrigger(set func(*trigger.Trigger)) trigger.Trigger {
	t := trigger.Fields.New()
	t.ID, t.Name, t.ActionURL = 7, "ops", "https://hooks.example.com/x"
	set(&t)
	return t
}

// A backtest tells what a rule would have told: hits, what was held back, incidents and
// messages, and of how much of the logs it knows.
func TestBacktest(t *testing.T) {
	d := newDir(t, journal.Config{})
	web, db := newErrorLog(t, d, 1, "shop", true), newErrorLog(t, d, 2, "db", true)
	off := newErrorLog(t, d, 3, "off", false)
	begin := time.Now().Add(-5 * time.Hour).Truncate(time.Hour)
	web.at, web.step = begin, 10*time.Second
	for n := range 720 { // two hours
		web.write([]string{"all is well", "disk error 17", "ok"}[min(n%60, 2)])
	}
	db.at = begin.Add(3 * time.Hour)
	db.write("net error 5", "probe error 1", "it is well")
	off.write("error")
	r := rule.New()
	r.Name, r.Pattern, r.Ignore, r.CooldownSeconds = "errors", `error (?P<n>\d+)`, []string{"probe"}, 3600
	cfg := BacktestConfig{Journals: d, Dir: filepath.Join(t.TempDir(), "backtests"), Bucket: rule.DefaultBucket}
	q := BacktestQuery{
		Rule: r, Since: begin.Add(-time.Hour), Until: begin.Add(4 * time.Hour),
		Triggers: []trigger.Trigger{
			opsTrigger(func(*trigger.Trigger) {}), opsTrigger(func(t *trigger.Trigger) { t.ID, t.Name, t.Mode = 8, "each", trigger.ModeEvents }),
			opsTrigger(func(t *trigger.Trigger) { t.ID, t.Name, t.Workloads = 9, "other", []string{"elsewhere"} }),
			opsTrigger(func(t *trigger.Trigger) { t.ID, t.Name, t.Enabled = 10, "disabled", false }),
		},
	}
	b, err := RunBacktest(t.Context(), cfg, q)
	if err != nil {
		t.Fatal(err)
	}
	// Twelve errors of web, ten minutes apart: a hit an hour, and one of db.
	if b.Hits != 3 || b.Counts.Hits != 3 || b.Counts.Cooldown != 10 || b.Counts.Ignored != 1 || !b.Complete || b.Lines != 723 {
		t.Errorf("%d hits, %+v, %d lines, complete: %v", b.Hits, b.Counts, b.Lines, b.Complete)
	}
	if b.Incidents != 2 || b.Notices["opened"] != 2 || b.Messages["ops"] < 2 || b.Messages["each"] != 3 || len(b.Messages) != 2 {
		t.Errorf("%d incidents, %v, %v", b.Incidents, b.Notices, b.Messages)
	}
	var hours []string
	for _, h := range b.Hours {
		hours = append(hours, fmt.Sprint(h.At.Sub(begin.UTC()), " ", h.Hits))
	}
	if strings.Join(hours, ", ") != "0s 1, 1h0m0s 1, 3h0m0s 1" {
		t.Errorf("%v", hours)
	}
	if s := b.Samples; len(s) != 3 || s[0].Message != "net error 5" || s[0].Container != "c2" || !s[0].At.After(s[1].At) {
		t.Errorf("%+v", s)
	}
	if s := b.Shapes; len(s) != 2 || s[0].Hits != 2 || !strings.HasPrefix(s[0].Readable, "disk error") {
		t.Errorf("%+v", s)
	}
	if c := b.Containers; len(c) != 2 || c[0].Name != "c1" || c[0].Hits != 2 || c[0].Lines != 720 || !c[0].Whole || c[1].Hits != 1 || c[1].First.IsZero() {
		t.Errorf("%+v", c)
	}
	if left, err := os.ReadDir(cfg.Dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}

	// A silence holds back what it is about; a workload asks for less.
	q.Workload = "db"
	q.Silences = []silence.Silence{{ID: 1, Matchers: []silence.Matcher{{Field: "workload", Op: "=", Value: "db"}}, Starts: q.Since, Ends: q.Until}}
	if b, err = RunBacktest(t.Context(), cfg, q); err != nil || b.Hits != 1 || b.Messages["ops"] != 0 || len(b.Containers) != 1 {
		t.Errorf("%+v, %v", b, err)
	}
	// A span is what is between its ends.
	q.Workload, q.Since, q.Until = "", begin.Add(time.Hour), begin.Add(2*time.Hour)
	if b, err = RunBacktest(t.Context(), cfg, q); err != nil || b.Hits != 1 || b.Counts.Cooldown != 5 || b.Lines < 355 || b.Lines > 361 {
		t.Errorf("%+v, %v", b, err)
	}
	// Time before there was anything is passed over.
	absent := rule.New()
	absent.Name, absent.Kind, absent.Pattern, absent.ForSeconds, absent.GraceSeconds = "absent", rule.KindAbsent, "error", 1800, 0
	all := q
	all.Rule, all.Since, all.Until = absent, time.Unix(0, 0), begin.Add(3*time.Hour)
	if b, err = RunBacktest(t.Context(), cfg, all); err != nil || b.Hits != 1 || !b.Complete || b.Incidents != 1 {
		t.Errorf("%+v, %v", b, err)
	}
	// One that nobody waits for any more says how far it came.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if b, err = RunBacktest(ended, cfg, q); err == nil && (b.Complete || b.Lines != 0) {
		t.Errorf("%+v, %v", b, err)
	}
	q.Rule.Pattern = "("
	if _, err = RunBacktest(t.Context(), cfg, q); err == nil || !strings.Contains(err.Error(), "missing closing )") {
		t.Errorf("a rule that can't be used: %v", err)
	}
}

// A rule is compared with another one: only what differs is told of hits.
func TestBacktestAgainst(t *testing.T) {
	d := newDir(t, journal.Config{})
	l := newErrorLog(t, d, 1, "shop", true)
	begin := time.Now().Add(-2 * time.Hour)
	l.at, l.step = begin, time.Minute
	for n := range 60 {
		l.write(fmt.Sprint([]string{"disk", "net", "cpu"}[n%3], " error"))
	}
	r := rule.New()
	r.Name, r.Pattern, r.CooldownSeconds = "errors", "(disk|net) error", 0
	other := r
	other.Pattern = "(net|cpu) error"
	ops := opsTrigger(func(t *trigger.Trigger) { t.Mode = trigger.ModeEvents })
	q := BacktestQuery{Rule: r, Against: &other, Since: begin.Add(-time.Hour), Until: time.Now(), Triggers: []trigger.Trigger{ops}}
	b, err := RunBacktest(t.Context(), BacktestConfig{Journals: d, Dir: t.TempDir()}, q)
	if err != nil {
		t.Fatal(err)
	}
	a := b.Against
	if b.Hits != 40 || a == nil || a.Hits != 40 || a.Added.Hits != 20 || a.Gone.Hits != 20 || b.Messages["ops"] != 40 || a.Messages["ops"] != 40 {
		t.Fatalf("%+v, %+v", b, a)
	}
	hours := int64(0)
	for _, h := range a.Gone.Hours {
		hours += h.Hits
	}
	if hours != 20 || len(a.Added.Samples) != 20 || a.Added.Samples[0].Message != "disk error" || a.Gone.Samples[0].Message != "cpu error" || a.Gone.Samples[0].Container != "c1" {
		t.Errorf("%+v", a)
	}
	if s := b.Samples[0]; len(s.Before) != 3 || s.Before[2] != "disk error" || len(s.After) != 1 || s.After[0] != "cpu error" {
		t.Errorf("%+v", s)
	}
	if b, err = RunBacktest(t.Context(), BacktestConfig{Journals: d, Dir: t.TempDir()}, BacktestQuery{Rule: r, Against: &r, Since: q.Since, Until: q.Until}); err != nil || b.Against.Added.Hits+b.Against.Gone.Hits != 0 {
		t.Errorf("against itself: %+v, %v", b.Against, err)
	}
}

// Of a rule that hits nothing, it is said what could have been meant, and what was in the
// way.
func TestBacktestOfNothing(t *testing.T) {
	d := newDir(t, journal.Config{})
	l := newErrorLog(t, d, 1, "shop", true)
	begin := time.Now().Add(-2 * time.Hour)
	l.at, l.step = begin, time.Minute
	for n := range 41 {
		l.write(fmt.Sprint("probe ", n, ": Out of memory"), "all is well")
	}
	for _, tt := range []struct {
		set  func(*rule.Rule)
		want string
	}{
		{func(r *rule.Rule) { r.Pattern = "Out of memory: Killed" }, ""},
		{func(r *rule.Rule) { r.Pattern = `Out of memory.*\d` }, `no line matches; lines with "Out of memory": 41, of which 41 without the rest of the pattern`},
		{func(r *rule.Rule) { r.Ignore = []string{"^probe 4"}; r.Where = []string{"status >= 500"} }, `no line matches; lines with "Out of memory": 41, of which 39 without status >= 500, 2 ignored by ^probe 4`},
		{func(r *rule.Rule) { r.Streams = "stdout" }, `no line matches; lines with "Out of memory": 41, of which 41 of stream stderr`},
	} {
		r := rule.New()
		r.Name, r.Pattern = "oom", "Out of memory"
		tt.set(&r)
		b, err := RunBacktest(t.Context(), BacktestConfig{Journals: d, Dir: t.TempDir()}, BacktestQuery{Rule: r, Since: begin.Add(-time.Hour), Until: time.Now()})
		if err != nil || strings.Join(b.Warnings, "\n") != tt.want {
			t.Errorf("%q, %v; want %q", b.Warnings, err, tt.want)
		}
	}
}

// What would be too much to hear is said.
func TestBacktestWarns(t *testing.T) {
	d := newDir(t, journal.Config{})
	l := newErrorLog(t, d, 1, "shop", true)
	l.at, l.step = time.Now().Add(-2*time.Hour), time.Minute
	for n := range 60 {
		l.write(fmt.Sprint("disk error ", n))
	}
	l.write("net trouble error")
	r := rule.New()
	r.Name, r.Pattern, r.CooldownSeconds = "errors", "error", 0
	b, err := RunBacktest(t.Context(), BacktestConfig{Journals: d, Dir: t.TempDir()}, BacktestQuery{
		Rule: r, Since: time.Now().Add(-3 * time.Hour), Until: time.Now(), Triggers: []trigger.Trigger{opsTrigger(func(t *trigger.Trigger) { t.Mode = trigger.ModeEvents })},
	})
	if err != nil {
		t.Fatal(err)
	}
	if w := strings.Join(b.Warnings, "\n"); b.Messages["ops"] != 61 || !strings.Contains(w, "ops would get more than a message an hour: 61 in 3 h") || !strings.Contains(w, "60 of 61 hits are of one shape: disk error") {
		t.Errorf("%v, %q", b.Messages, w)
	}
}
