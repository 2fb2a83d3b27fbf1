package api

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"logscan/internal/query"
	"logscan/internal/rule"
)

// Rules that made no hit are told where lines come near, with what these lack; those that
// there was no time for are counted.
func TestCoverage(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"pattern", "condition", "stream", "cooldown", "quiet", "late"} {
		must[Rule](t)(b.CreateRule(t.Context(), RuleCreate{Name: name, Pattern: name + " x"}))
	}
	must[Rule](t)(b.CreateRule(t.Context(), RuleCreate{Name: "off", Pattern: "off x", RuleFields: RuleFields{"state": "off"}}))
	ctx, cancel := context.WithCancel(t.Context())
	s := &server{Config: Config{Store: b.store, Logger: slog.New(slog.DiscardHandler)}, queryTime: time.Minute}
	s.WhyRule = func(_ context.Context, q query.WhyRuleQuery) (w query.RuleWhy, err error) {
		switch q.Rule.Name {
		case "pattern":
			w.Near, w.NearLine, w.Rarest = 41, "pattern y", []string{"pattern "}
		case "condition":
			w.Unmet = []query.RuleUnmet{{Field: "where", Condition: "status >= 500", Lines: 7, Sample: "condition x status=200"}}
		case "stream":
			w.Stream = 3
		case "cooldown":
			w.Matches, w.Counts = 2, rule.Counts{Hits: 1, Cooldown: 1}
		case "late":
			return w, query.ErrBusy
		}
		return w, nil
	}
	in := &struct {
		Since time.Time `query:"since" doc:"Of rules without a hit; without it, of 90 days"`
	}{time.Now().Add(time.Hour)} // all were made before
	out := must[*output[Coverage]](t)(s.ruleCoverage(ctx, in)).Body
	want := "[{1 pattern 41 pattern pattern  pattern y} {2 condition 7 condition where status >= 500 condition x status=200} {3 stream 3 stream  } {4 cooldown 2 cooldown  }]"
	if got := fmt.Sprint(out.Silent); got != want || out.Quiet != 1 || out.Unread != 1 {
		t.Errorf("got  %s, %d quiet, %d unread\nwant %s", got, out.Quiet, out.Unread, want)
	}
	cancel()
	if _, err := s.ruleCoverage(ctx, in); err == nil {
		t.Error("it goes on without its client")
	}
	s.WhyRule, in.Since = nil, time.Time{}
	if out := must[*output[Coverage]](t)(s.ruleCoverage(t.Context(), in)).Body; len(out.Silent)+out.Unread+out.Quiet != 0 {
		t.Errorf("rules that are new: %+v", out)
	}
}
