package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"logscan/internal/rule"
	"logscan/internal/trial"
)

const (
	rulesPath = "/api/log-scan-rules"
	maxSpans  = 32
)

func (s *server) rules(api huma.API) {
	huma.Register(api, operation(http.MethodGet, rulesPath, "list-rules", "List rules", 200), s.listRules)
	huma.Register(api, withBody(operation(http.MethodPost, rulesPath, "create-rule", "Add a rule", 201, 409)), s.createRule)
	huma.Register(api, operation(http.MethodGet, rulesPath+"/stats", "get-rule-stats", "Show what became of each rule's matches", 200), s.ruleStats)
	huma.Register(api, operation(http.MethodGet, rulesPath+"/{id}", "get-rule", "Show a rule", 200, 404), s.getRule)
	huma.Register(api, withBody(operation(http.MethodPatch, rulesPath+"/{id}", "update-rule", "Change a rule", 200, 404, 409)), s.updateRule)
	huma.Register(api, operation(http.MethodDelete, rulesPath+"/{id}", "delete-rule", "Remove a rule, and what overrides it", 204, 404), s.deleteRule)
	test := withBody(operation(http.MethodPost, rulesPath+"/test", "test-rule", "Try a rule, a pattern or conditions on lines", 200, 404))
	test.MaxBodyBytes = maxTestBody
	huma.Register(api, test, s.testRule)
}

func (s *server) listRules(ctx context.Context, _ *struct{}) (*output[List[Rule]], error) {
	rules, err := s.Store.Rules(ctx)
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	return &output[List[Rule]]{Body: List[Rule]{Items: append([]Rule{}, rules...)}}, nil
}

func (s *server) getRule(ctx context.Context, in *ByID) (*output[Rule], error) {
	r, err := s.Store.Rule(ctx, in.ID)
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	return &output[Rule]{Body: r}, nil
}

// Hinted is a request that may ask for a hint.
type Hinted struct {
	Hint bool `query:"hint" doc:"Say which share of the lines of the last hour the rule matches"`
}

// saved is the answer about a rule that was saved, with the hint if that was asked for.
// While others try rules, there is none: what is stored shouldn't wait for that.
func (s *server) saved(ctx context.Context, in Hinted, r Rule) SavedRule {
	out := SavedRule{Rule: r}
	if !in.Hint || s.Share == nil || r.Record { // it is tried on lines
		return out
	}
	select {
	case s.testing <- struct{}{}:
		defer func() { <-s.testing }()
	default:
		return out
	}
	if h, err := s.Share(ctx, r); err == nil {
		out.Hint = &h
	} else {
		s.Logger.Warn("no hint about a rule", "rule", r.ID, "err", err)
	}
	return out
}

func (s *server) createRule(ctx context.Context, in *struct {
	Hinted
	Since time.Time `query:"since" doc:"Take what the rule would have told of the lines since then into the event log, as history: nobody is told, and it is part of no incident"`
	Body  RuleCreate
}) (*created[SavedRule], error) {
	r, err := in.Body.create()
	switch {
	case err != nil:
	case in.Since.IsZero():
		r, err = s.Store.CreateRule(ctx, r)
	case !in.Since.Before(time.Now()):
		return nil, invalid("since", "has to be before now")
	case r.State == rule.Off || r.State == "" && !r.Enabled:
		return nil, invalid("since", "goes with a rule that is switched on, or in shadow")
	default:
		r, err = s.Store.CreateRuleWithHistory(ctx, r, in.Since)
	}
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	notLive := s.reload(ctx)
	return newlyMade(fmt.Sprintf("%s/%d", rulesPath, r.ID), s.saved(ctx, in.Hinted, r), notLive), nil
}

func (s *server) updateRule(ctx context.Context, in *struct {
	ByID
	Hinted
	Body RuleFields
}) (*output[SavedRule], error) {
	r, err := s.changeRule(ctx, in.ID, in.Body)
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	if err := s.reload(ctx); err != nil {
		return nil, err
	}
	return &output[SavedRule]{Body: s.saved(ctx, in.Hinted, r)}, nil
}

func (s *server) changeRule(ctx context.Context, id int64, f RuleFields) (rule.Rule, error) {
	s.change.Lock()
	defer s.change.Unlock()
	r, err := s.Store.Rule(ctx, id)
	if err != nil {
		return r, err
	}
	if r, err = f.change(r); err != nil {
		return r, err
	}
	return s.Store.UpdateRule(ctx, r)
}

func (s *server) deleteRule(ctx context.Context, in *ByID) (*struct{}, error) {
	if err := s.Store.DeleteRule(ctx, in.ID); err != nil {
		return nil, s.fail(err, "rule")
	}
	return nil, s.reload(ctx)
}

func (s *server) ruleStats(ctx context.Context, _ *struct{}) (*output[List[RuleStats]], error) {
	rules, err := s.Store.Rules(ctx)
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	counts, why := s.Scanner.RuleStats(), map[int64]string{}
	for _, e := range s.Rules.LeftOut() {
		why[e.RuleID] = e.Reason
	}
	open, err := s.Store.OpenByRule(ctx)
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	out := &output[List[RuleStats]]{Body: List[RuleStats]{Items: make([]RuleStats, len(rules))}}
	of := map[int64]*RuleStats{}
	for i, r := range rules {
		c := counts[r.ID]
		out.Body.Items[i] = RuleStats{
			RuleID: r.ID, Name: r.Name, WorkloadID: r.WorkloadID, State: r.State, Enabled: r.Enabled,
			Matches: matches(&r, c), Forgotten: c.Forgotten, Learning: c.Learning, Late: c.Late,
			Hits: c.Hits, Cooldown: c.Cooldown, Bucket: c.Bucket, Ignored: c.Ignored, GivenUp: c.GivenUp, Error: why[r.ID],
			Open: open[r.ID].Incidents, Held: map[string]int64{}, Keys: open[r.ID].Keys,
		}
		if all := counts[0].Nanos; all > 0 {
			share := min(float64(c.Nanos)/float64(all), 1)
			out.Body.Items[i].CPUShare = &share
		}
		maps.Copy(out.Body.Items[i].Held, open[r.ID].Held)
		of[r.ID] = &out.Body.Items[i]
	}
	for by, n := range s.Scanner.Ignored() {
		r := of[by.Rule]
		if r == nil {
			continue
		}
		if r.IgnoredBy == nil {
			r.IgnoredBy = map[string]int64{}
		}
		r.IgnoredBy[by.Pattern] = n
	}
	return out, nil
}

// matches is how many lines a rule has matched.
func matches(r *rule.Rule, c rule.Counts) int64 {
	if r.Kind != rule.KindLine {
		return c.Matches
	}
	return c.Hits + c.Cooldown + c.Bucket
}

const (
	// testsAtOnce is how many tests of rules run at once; more wait.
	testsAtOnce = 2
	// testWork is how much of package match's work a test may take, about: some
	// seconds at the very worst. Lines beyond it are given up.
	testWork = 512 << 20
	// testTime is how long a test may take, so that it is answered in time: to
	// tell groups and places may take far more than to match. Lines beyond it
	// are given up too.
	testTime = 15 * time.Second
)

// testRule runs the engine that runs live over the lines given: no cooldown, any
// stream, and as lines of one container what a rule adds up. A line takes a fraction of a
// second at most, so that a client that has gone is noticed soon.
func (s *server) testRule(ctx context.Context, in *struct{ Body RuleTest }) (*output[RuleTestResult], error) {
	r := rule.New()
	switch b := in.Body; {
	case len(b.Rule) > 0:
		if b.RuleID != 0 || b.Pattern != "" || len(b.All)+len(b.Ignore)+len(b.Where) > 0 {
			return nil, invalid("rule", "give either a rule, or what it says, or a rule_id")
		}
		r.Name = "test"
		if err := b.Rule.apply(&r); err != nil {
			return nil, s.fail(err, "rule")
		}
	case b.RuleID != 0 && b.Pattern != "", b.RuleID == 0 && b.Pattern == "" && len(b.All)+len(b.Where) == 0:
		return nil, invalid("pattern", "give either a pattern, all or where, or a rule_id")
	case b.RuleID != 0 && len(b.All)+len(b.Ignore)+len(b.Where) > 0:
		return nil, invalid("all", "all, ignore and where go with a pattern or alone, not with a rule_id")
	case b.RuleID != 0:
		var err error
		if r, err = s.Store.Rule(ctx, b.RuleID); err != nil {
			return nil, s.fail(err, "rule")
		}
	default:
		r.Name, r.Pattern, r.All, r.Ignore, r.Where = "test", b.Pattern, b.All, b.Ignore, b.Where
	}
	r.State, r.Streams, r.CooldownSeconds, r.WorkloadID, r.OverridesID = rule.On, "all", 0, "", 0
	if err := rule.Fields.Validate(r); err != nil && in.Body.RuleID == 0 {
		return nil, s.fail(err, "rule")
	}
	if n := len(in.Body.At); n > 0 && n != len(in.Body.Lines) {
		return nil, invalid("at", fmt.Sprintf("has %d times for %d lines", n, len(in.Body.Lines)))
	}
	select {
	case s.testing <- struct{}{}:
		defer func() { <-s.testing }()
	case <-ctx.Done():
		return nil, s.fail(ctx.Err(), "rule")
	}
	r.UpdatedAt = time.Time{} // nothing was before it
	snapshot, bad := rule.Compile([]rule.Rule{r})
	if len(bad) > 0 {
		return nil, invalid("pattern", bad[0].Reason)
	}
	set := snapshot.For("")
	if in.Body.Conditions && tooManyConditions(set, r.ID, len(in.Body.Lines)) {
		return nil, invalid("conditions", "would be too much to answer for so many lines: send fewer of them at once")
	}
	out := RuleTestResult{Pattern: r.Pattern, Lines: make([]LineTest, len(in.Body.Lines))}
	t := lineTester{
		rule: &r, set: set, verdicts: in.Body.Conditions, matching: set.Begin(), sums: trial.NewSums(&r, snapshot), way: len(set.Ways()) - 1, out: out.Lines, until: time.Now().Add(s.testTime),
	}
	defer t.matching.End()
	if err := t.run(ctx, in.Body.Lines, in.Body.At); err != nil {
		return nil, s.fail(err, "rule")
	}
	out.Matched = t.matched
	if t.sums != nil {
		last := 0.0
		if n := len(in.Body.At); n > 0 {
			last = in.Body.At[n-1]
		}
		last = max(last, in.Body.Until)
		all, learning := t.sums.Until(last)
		if out.Outcomes = outcomes(all); learning != "" {
			out.Outcomes = append(out.Outcomes, TestOutcome{At: float64(trial.Nanos(last)-trial.Start) / 1e9, What: "learning", Text: learning})
		}
	}
	return &output[RuleTestResult]{Body: out}, nil
}
