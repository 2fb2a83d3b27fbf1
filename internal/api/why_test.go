package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/fields"
	"logscan/internal/incident"
	"logscan/internal/journal"
	"logscan/internal/query"
	"logscan/internal/redact"
	"logscan/internal/rule"
	"logscan/internal/silence"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// What became of a line is told without secrets, and without the rules whose pattern
// doesn't match unless these are asked for.
func TestWhy(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	r := must[Rule](t)(b.CreateRule(ctx, RuleCreate{Name: "oom", Pattern: "Out of memory"}))
	redactor, err := redact.New("")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Config: Config{Store: b.store, Redact: redactor, Logger: slog.New(slog.DiscardHandler)}, queryTime: time.Minute}
	ask := func(in whyInput) (Why, error) {
		out, err := s.whyLine(ctx, &in)
		if err != nil {
			return Why{}, err
		}
		return out.Body, nil
	}
	if _, err := ask(whyInput{}); err == nil || !strings.Contains(err.Error(), "read yet") {
		t.Errorf("logs that can't be read: %v", err)
	}
	at := time.Now().UTC().Truncate(time.Second)
	stored, err := b.store.Rule(ctx, r.ID)
	if err != nil {
		t.Fatal(err)
	}
	var asked query.WhyQuery
	s.Why = func(_ context.Context, q query.WhyQuery) (query.Why, error) {
		asked = q
		e := event.Event{ID: 7, Source: event.Logscan, Metadata: map[string]any{}}
		return query.Why{
			Container: &journal.Container{ID: "abc", Name: "web", Workload: "shop", Scan: true}, Line: &query.Line{Stream: "stdout", TimeNano: at.UnixNano(), From: 3, To: 9}, Text: "a line", Lines: 1, Elsewhere: 4,
			Rules: []query.WhyRule{
				{Rule: stored, Outcome: query.WhyUnmet, Unmet: &rule.Verdict{Field: "where", Pattern: "auth missing", About: "auth", Value: "Bearer abcdefghijklmnopqrstuvwxyz012345"}},
				{Rule: stored, Outcome: query.WhyUnmatched},
				{
					Rule: stored, Outcome: query.WhyHit, Event: &e, Incident: &incident.Incident{ID: 2, State: incident.Open}, Folded: true, Each: []trigger.Fate{{Trigger: "each", State: trigger.FateTold}},
					Notices: []query.WhyNotice{{Noticed: store.Noticed{SilencedBy: 3, Notice: incident.Notice{Kind: incident.NoticeOpened}}, Silence: &silence.Silence{Matchers: []silence.Matcher{{Field: "rule", Op: "=", Value: "x"}, {Field: "shape", Op: "~", Value: "y"}}}}},
				},
			},
		}, nil
	}
	w := must[Why](t)(ask(whyInput{Container: "web", Line: -2}))
	if asked.Container != "web" || asked.Line != -2 || w.Unmatched != 1 || len(w.Rules) != 2 || w.Elsewhere != 4 || w.Line.Container != "web" || !w.Line.Time.Equal(at) || w.Line.From != 3 || w.Unscanned {
		t.Errorf("%+v, %+v", asked, w)
	}
	if u := w.Rules[0].Unmet; u.About != "auth" || strings.Contains(u.Value, "abcdef") {
		t.Errorf("a secret is told: %+v", u)
	}
	if v := w.Rules[1]; v.Event.ID != 7 || v.Incident.ID != 2 || !v.Folded || v.Each[0].Trigger != "each" || v.Notices[0].Silence != "rule=x shape~y" || v.Notices[0].SilencedBy != 3 {
		t.Errorf("%+v", v)
	}
	if w = must[Why](t)(ask(whyInput{Event: 7, All: true})); asked.Event != 7 || len(w.Rules) != 3 || w.Unmatched != 0 {
		t.Errorf("%+v", w)
	}
	for want, fails := range map[string]error{
		"422 at: is required":   &fields.Error{Field: "at", Reason: "is required"},
		"404 no log is kept":    fmt.Errorf("container x: %w", query.ErrNoContainer),
		"503 no room":           query.ErrBusy,
		"404 no such event":     store.ErrNotFound,
		"500 went wrong inside": errors.New("disk"),
	} {
		s.Why = func(context.Context, query.WhyQuery) (query.Why, error) { return query.Why{}, fails }
		_, err := ask(whyInput{})
		status, text, _ := strings.Cut(want, " ")
		var se interface{ GetStatus() int }
		if !errors.As(err, &se) || fmt.Sprint(se.GetStatus()) != status || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", want, err)
		}
	}
	s.queryTime = time.Millisecond
	s.Why = func(ctx context.Context, _ query.WhyQuery) (query.Why, error) {
		<-ctx.Done()
		return query.Why{}, ctx.Err()
	}
	if _, err := ask(whyInput{}); err == nil || !strings.Contains(err.Error(), tooMuchForWhy) {
		t.Errorf("one that takes too long: %v", err)
	}
}

// Why a rule made no hit is told of a stored rule, also of one that can't be used.
func TestWhyOfARule(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	r := must[Rule](t)(b.CreateRule(ctx, RuleCreate{Name: "many", Pattern: "x", RuleFields: RuleFields{"kind": "count", "at_least": 5, "within_seconds": 600}}))
	s := &server{Config: Config{Store: b.store, Logger: slog.New(slog.DiscardHandler)}, queryTime: time.Minute}
	ask := func(id int64, since time.Time) (RuleWhy, error) {
		out, err := s.whyOfRule(ctx, &whyRuleInput{ByID: ByID{id}, Since: since})
		if err != nil {
			return RuleWhy{}, err
		}
		return out.Body, nil
	}
	if _, err := ask(r.ID, time.Time{}); err == nil || !strings.Contains(err.Error(), "read yet") {
		t.Errorf("logs that can't be read: %v", err)
	}
	var asked query.WhyRuleQuery
	s.WhyRule = func(_ context.Context, q query.WhyRuleQuery) (query.RuleWhy, error) {
		asked = q
		return query.RuleWhy{Since: q.Since, Until: q.Until, Matches: 3, Most: 3, Unmet: []query.RuleUnmet{{Field: "where", Condition: "a = b", Lines: 2}}, Counts: rule.Counts{Matches: 3}}, nil
	}
	w := must[RuleWhy](t)(ask(r.ID, time.Time{}))
	if asked.Rule.ID != r.ID || asked.Until.Sub(asked.Since) != 24*time.Hour || w.AtLeast != 5 || w.Within != 600 || w.Most != 3 || len(w.Unmet) != 1 || w.Parts == nil || w.Rarest == nil || w.State != "on" {
		t.Errorf("%+v, %+v", asked, w)
	}
	if _, err := ask(99, time.Time{}); err == nil || !strings.Contains(err.Error(), "no such rule") {
		t.Errorf("%v", err)
	}
	if _, err := ask(r.ID, time.Now().Add(time.Hour)); err == nil || !strings.Contains(err.Error(), "before now") {
		t.Errorf("%v", err)
	}
	s.WhyRule = func(context.Context, query.WhyRuleQuery) (query.RuleWhy, error) {
		return query.RuleWhy{}, rule.CompileError{RuleID: r.ID, Reason: "pattern missing closing )"}
	}
	if w := must[RuleWhy](t)(ask(r.ID, time.Time{})); w.Error != "pattern missing closing )" {
		t.Errorf("%+v", w)
	}
}
