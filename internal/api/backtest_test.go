package api

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"logscan/internal/query"
	"logscan/internal/rule"
)

// A backtest is asked for with the stored triggers and silences, of a stored rule whatever
// its state is, or of one as it would be added.
func TestBacktest(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	r := must[Rule](t)(b.CreateRule(ctx, RuleCreate{Name: "oom", Pattern: "Out of memory", RuleFields: RuleFields{"state": "shadow"}}))
	must[Trigger](t)(b.CreateTrigger(ctx, TriggerCreate{Name: "ops", ActionURL: "https://h/"}))
	s := &server{Config: Config{Store: b.store, Logger: slog.New(slog.DiscardHandler)}, queryTime: time.Minute}
	ask := func(in BacktestRequest) (Backtest, error) {
		out, err := s.backtestRule(ctx, &struct{ Body BacktestRequest }{in})
		if err != nil {
			return Backtest{}, err
		}
		return out.Body, nil
	}
	if _, err := ask(BacktestRequest{RuleID: r.ID}); err == nil || !strings.Contains(err.Error(), "read yet") {
		t.Errorf("logs that can't be read: %v", err)
	}
	var asked query.BacktestQuery
	s.Backtest = func(_ context.Context, q query.BacktestQuery) (query.Backtest, error) {
		asked = q
		return query.Backtest{
			Since: q.Since, Until: q.Until, Complete: true, Took: time.Second, Lines: 1000, Hits: 3, Counts: rule.Counts{Hits: 3, Cooldown: 4},
			Hours: []query.BacktestHour{{At: q.Since, Hits: 3}}, Samples: []query.BacktestSample{{At: q.Since, Container: "web", Message: "m"}},
		}, nil
	}
	out := must[Backtest](t)(ask(BacktestRequest{RuleID: r.ID}))
	if asked.Rule.Name != "oom" || len(asked.Triggers) != 1 || asked.Until.Sub(asked.Since) != 24*time.Hour || time.Since(asked.Until) > time.Minute {
		t.Errorf("%+v", asked)
	}
	if out.NanosALine != 1e6 || out.Matches != 7 || out.Hits != 3 || len(out.Hours) != 1 || len(out.Samples) != 1 || out.Warnings == nil || out.Shapes == nil {
		t.Errorf("%+v", out)
	}
	at := time.Now().Add(-time.Hour)
	must[Backtest](t)(ask(BacktestRequest{Rule: RuleFields{"pattern": "x", "kind": "count", "at_least": 3, "within_seconds": 60}, Since: at, Until: at.Add(time.Minute), Workload: "w"}))
	if asked.Rule.Kind != "count" || !asked.Since.Equal(at) || asked.Until.Sub(asked.Since) != time.Minute || asked.Workload != "w" {
		t.Errorf("%+v", asked)
	}
	must[Backtest](t)(ask(BacktestRequest{RuleID: r.ID, Rule: RuleFields{"pattern": "no memory"}, Against: r.ID}))
	if asked.Rule.Name != "oom" || asked.Rule.Pattern != "no memory" || asked.Against.Pattern != "Out of memory" {
		t.Errorf("%+v", asked)
	}
	found := s.Backtest
	s.Backtest = func(context.Context, query.BacktestQuery) (query.Backtest, error) {
		return query.Backtest{}, rule.CompileError{RuleID: 1, Name: "oom", Reason: "pattern missing closing )"}
	}
	if _, err := ask(BacktestRequest{RuleID: r.ID}); err == nil || !strings.Contains(err.Error(), "rule: pattern missing closing )") {
		t.Errorf("a stored rule that is broken: %v", err)
	}
	s.Backtest = found
	for want, in := range map[string]BacktestRequest{
		"or both":      {},
		"no such":      {RuleID: r.ID, Against: 99},
		"no such rule": {RuleID: 99},
		"closing":      {Rule: RuleFields{"pattern": "("}},
		"before until": {RuleID: r.ID, Since: time.Now().Add(time.Hour)},
		"before now":   {RuleID: r.ID, Since: at, Until: at},
		"required":     {Rule: RuleFields{"nosuch": 1}},
	} {
		if _, err := ask(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", in, err)
		}
	}
}
