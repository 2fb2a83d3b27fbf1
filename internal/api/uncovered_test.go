package api

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"logscan/internal/query"
	"logscan/internal/rule"
	"logscan/internal/shape"
)

// What no rule covers is asked for of the stored rules, and told as it is found.
func TestUncovered(t *testing.T) {
	b := newBench(t)
	must[Rule](t)(b.CreateRule(t.Context(), RuleCreate{Name: "oom", Pattern: "Out of memory"}))
	var asked query.UncoveredQuery
	var rules []rule.Rule
	s := &server{Config: Config{Store: b.store, Logger: slog.New(slog.DiscardHandler)}, queryTime: time.Minute}
	if _, err := s.listUncovered(t.Context(), &uncoveredInput{}); err == nil || !strings.Contains(err.Error(), "read yet") {
		t.Errorf("logs that can't be read: %v", err)
	}
	at := time.Now().UTC()
	s.Uncovered = func(_ context.Context, all []rule.Rule, q query.UncoveredQuery) (query.Uncovered, error) {
		asked, rules = q, all
		return query.Uncovered{
			Shapes: []query.UncoveredShape{{Workload: "shop/web", Shape: shape.Of([]byte("it failed")), Lines: 7, First: at, Last: at, Container: "web", Sample: "it failed", Pattern: "it failed"}},
			More:   2, Others: 3, Lines: 100, Errors: 9, Missed: 8, Until: at, Unread: 5,
		}, nil
	}
	out := must[*output[UncoveredErrors]](t)(s.listUncovered(t.Context(), &uncoveredInput{Workload: "shop/web", Limit: 7}))
	if len(rules) != 1 || asked.Workload != "shop/web" || asked.Limit != 7 || time.Since(asked.Since) < 24*time.Hour {
		t.Errorf("asked for %+v of %d rules", asked, len(rules))
	}
	want := UncoveredError{Shape: shape.Of([]byte("it failed")).String(), Count: 7, First: at, Last: at, Workload: "shop/web", Container: "web", Sample: "it failed", Pattern: "it failed"}
	if u := out.Body; len(u.Items) != 1 || u.Items[0] != want || u.More != 2 || u.Others != 3 || u.Lines != 100 || u.Errors != 9 || u.Missed != 8 || u.Unread != 5 {
		t.Errorf("%+v", u)
	}
	// It takes so long at most, and then says what to do.
	s.queryTime = time.Millisecond
	s.Uncovered = func(ctx context.Context, _ []rule.Rule, _ query.UncoveredQuery) (query.Uncovered, error) {
		<-ctx.Done()
		return query.Uncovered{}, ctx.Err()
	}
	if _, err := s.listUncovered(t.Context(), &uncoveredInput{}); err == nil || !strings.Contains(err.Error(), "ask for less") {
		t.Errorf("too much to read: %v", err)
	}
	for _, in := range []UncoveredQuery{{Limit: 1001}, {Workload: strings.Repeat("w", 600)}} {
		if _, err := b.Uncovered(t.Context(), in); err == nil || !strings.Contains(err.Error(), "expected") {
			t.Errorf("%+v: %v", in, err)
		}
	}
}
