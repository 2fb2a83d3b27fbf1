package api

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"logscan/internal/rule"
)

const (
	rulesPath       = "/api/log-scan-rules"
	defaultCooldown = 300 // seconds
	maxSpans        = 32
	// maxCooldown keeps seconds within what a time.Duration can hold.
	maxCooldown = int64(365 * 24 * time.Hour / time.Second)
)

func (s *server) rules(api huma.API) {
	huma.Register(api, operation(http.MethodGet, rulesPath, "list-rules", "List rules", 200), s.listRules)
	huma.Register(api, operation(http.MethodPost, rulesPath, "create-rule", "Add a rule", 201, 409, 413, 422), s.createRule)
	huma.Register(api, operation(http.MethodGet, rulesPath+"/stats", "get-rule-stats", "Show what became of each rule's matches", 200), s.ruleStats)
	huma.Register(api, operation(http.MethodGet, rulesPath+"/{id}", "get-rule", "Show a rule", 200, 404), s.getRule)
	huma.Register(api, operation(http.MethodPatch, rulesPath+"/{id}", "update-rule", "Change a rule", 200, 404, 409, 413, 422), s.updateRule)
	huma.Register(api, operation(http.MethodDelete, rulesPath+"/{id}", "delete-rule", "Remove a rule, and what overrides it", 204, 404), s.deleteRule)
	test := operation(http.MethodPost, rulesPath+"/test", "test-rule", "Try a rule or a pattern on lines", 200, 404, 413, 422)
	test.MaxBodyBytes = maxTestBody
	huma.Register(api, test, s.testRule)
}

func (s *server) listRules(ctx context.Context, _ *struct{}) (*output[List[Rule]], error) {
	rules, err := s.Store.Rules(ctx)
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	out := &output[List[Rule]]{Body: List[Rule]{Items: make([]Rule, len(rules))}}
	for i, r := range rules {
		out.Body.Items[i] = ruleOut(r)
	}
	return out, nil
}

func (s *server) getRule(ctx context.Context, in *ByID) (*output[Rule], error) {
	r, err := s.Store.Rule(ctx, in.ID)
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	return &output[Rule]{Body: ruleOut(r)}, nil
}

func (s *server) createRule(ctx context.Context, in *struct{ Body RuleCreate }) (*created[Rule], error) {
	f := in.Body.RuleFields
	f.Name, f.Pattern = Set(in.Body.Name), Set(in.Body.Pattern)
	r := newRule()
	if err := f.apply(&r); err != nil {
		return nil, err
	}
	r, err := s.Store.CreateRule(ctx, r)
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	if err := s.reload(ctx); err != nil {
		return nil, err
	}
	return &created[Rule]{Location: fmt.Sprintf("%s/%d", rulesPath, r.ID), Body: ruleOut(r)}, nil
}

func (s *server) updateRule(ctx context.Context, in *struct {
	ByID
	Body RuleFields
}) (*output[Rule], error) {
	r, err := s.changeRule(ctx, in.ID, in.Body)
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	if err := s.reload(ctx); err != nil {
		return nil, err
	}
	return &output[Rule]{Body: ruleOut(r)}, nil
}

func (s *server) changeRule(ctx context.Context, id int64, f RuleFields) (rule.Rule, error) {
	s.change.Lock()
	defer s.change.Unlock()
	r, err := s.Store.Rule(ctx, id)
	if err != nil {
		return r, err
	}
	if err := f.apply(&r); err != nil {
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
	out := &output[List[RuleStats]]{Body: List[RuleStats]{Items: make([]RuleStats, len(rules))}}
	for i, r := range rules {
		c := counts[r.ID]
		out.Body.Items[i] = RuleStats{
			RuleID: r.ID, Name: r.Name, WorkloadID: r.WorkloadID, Enabled: r.Enabled,
			Hits: c.Hits, Cooldown: c.Cooldown, Bucket: c.Bucket, Error: why[r.ID],
		}
	}
	return out, nil
}

func newRule() rule.Rule {
	return rule.Rule{Severity: "warn", Streams: "all", Cooldown: defaultCooldown * time.Second, Enabled: true}
}

// apply changes r as f says and checks the whole.
func (f RuleFields) apply(r *rule.Rule) error {
	if f.Name.Null {
		return invalid("name", "can't be null")
	}
	if f.Pattern.Null {
		return invalid("pattern", "can't be null")
	}
	def := newRule()
	seconds := int64(r.Cooldown / time.Second)
	f.Name.into(&r.Name, "")
	f.Description.into(&r.Description, "")
	f.Pattern.into(&r.Pattern, "")
	f.Severity.into(&r.Severity, def.Severity)
	f.Streams.into(&r.Streams, def.Streams)
	f.CooldownSeconds.into(&seconds, defaultCooldown)
	f.Enabled.into(&r.Enabled, def.Enabled)
	f.WorkloadID.into(&r.WorkloadID, "")
	f.OverridesID.into(&r.OverridesID, 0)
	if seconds < 0 || seconds > maxCooldown {
		return invalid("cooldown_seconds", fmt.Sprintf("must be from 0 (none) to %d (a year)", maxCooldown))
	}
	r.Cooldown = time.Duration(seconds) * time.Second
	if err := rule.Validate(*r); err != nil {
		if p := fieldProblem(err); p != nil {
			return p
		}
		return huma.Error422UnprocessableEntity(err.Error())
	}
	return nil
}

func ruleOut(r rule.Rule) Rule {
	return Rule{
		ID: r.ID, Name: r.Name, Description: r.Description, Pattern: r.Pattern,
		Severity: r.Severity, Streams: r.Streams, CooldownSeconds: int64(r.Cooldown / time.Second),
		Enabled: r.Enabled, WorkloadID: r.WorkloadID, OverridesID: r.OverridesID,
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
	}
}

// testRule runs the engine that runs live over the lines given, each for
// itself: no cooldown, any stream.
func (s *server) testRule(ctx context.Context, in *struct{ Body RuleTest }) (*output[RuleTestResult], error) {
	r := newRule()
	switch b := in.Body; {
	case (b.Pattern == "") == (b.RuleID == 0):
		return nil, invalid("pattern", "give either a pattern or a rule_id")
	case b.RuleID != 0:
		var err error
		if r, err = s.Store.Rule(ctx, b.RuleID); err != nil {
			return nil, s.fail(err, "rule")
		}
	default:
		r.Name, r.Pattern = "test", b.Pattern
	}
	r.Enabled, r.Streams, r.Cooldown, r.WorkloadID, r.OverridesID = true, "all", 0, "", 0
	if err := rule.Validate(r); err != nil {
		if p := fieldProblem(err); p != nil {
			return nil, p
		}
		return nil, huma.Error422UnprocessableEntity(err.Error())
	}
	snapshot, bad := rule.Compile([]rule.Rule{r})
	if len(bad) > 0 {
		return nil, invalid("pattern", bad[0].Reason)
	}
	re, err := regexp.Compile(r.Pattern)
	if err != nil {
		return nil, invalid("pattern", err.Error())
	}
	set := snapshot.For("")
	out := RuleTestResult{Pattern: r.Pattern, Lines: make([]LineTest, len(in.Body.Lines))}
	for i, line := range in.Body.Lines {
		if ctx.Err() != nil {
			return nil, s.fail(ctx.Err(), "rule")
		}
		var state rule.State
		hits := set.Eval(&state, rule.Line{Stream: "stdout", Text: []byte(line)}, nil)
		if len(hits) == 0 {
			continue
		}
		out.Matched++
		t := &out.Lines[i]
		t.Matched, t.Captures = true, hits[0].Captures
		for _, m := range re.FindAllStringIndex(line, maxSpans) {
			t.Spans = append(t.Spans, Span{m[0], m[1]})
		}
	}
	return &output[RuleTestResult]{Body: out}, nil
}
