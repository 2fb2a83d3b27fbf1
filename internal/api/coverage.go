package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"logscan/internal/packs"
	"logscan/internal/query"
	"logscan/internal/rule"
	"logscan/internal/store"
)

// coverageOf is how far back rules without a hit are looked for, unless said otherwise.
const coverageOf = 90 * 24 * time.Hour

// Coverage is what rules and triggers are there in vain.
type Coverage struct {
	Since     time.Time          `json:"since"`
	Silent    []SilentRule       `json:"silent" nullable:"false" doc:"Rules that made no hit since then though lines that are kept come near"`
	Quiet     int                `json:"quiet" doc:"Rules that made no hit, and no line comes near"`
	Unread    int                `json:"unread" doc:"Rules that made no hit of which there was no time to look into the logs"`
	Repeated  []RepeatedRule     `json:"repeated" nullable:"false" doc:"Rules of which another one finds the same"`
	Unreached []UnreachedTrigger `json:"unreached" nullable:"false" doc:"Triggers that no event can reach"`
}

// SilentRule is a rule that made no hit.
type SilentRule struct {
	RuleID int64  `json:"rule_id"`
	Name   string `json:"name"`
	Lines  int64  `json:"lines" doc:"That come near"`
	Why    string `json:"why" enum:"pattern,condition,stream,cooldown,other" doc:"What they lack: the pattern, though they have a text that each match has; a further condition; the stream; or that hits were held back"`
	Text   string `json:"text,omitempty" doc:"The text or condition"`
	Sample string `json:"sample,omitempty" doc:"The last of the lines"`
}

// RepeatedRule is a rule that another one makes needless.
type RepeatedRule struct {
	RuleID  int64  `json:"rule_id"`
	Name    string `json:"name"`
	OtherID int64  `json:"other_id,omitzero" doc:"The rule that finds the same; absent where that is a pack's"`
	Pack    string `json:"pack,omitempty"`
	Other   string `json:"other" doc:"Its name"`
	Lines   int    `json:"lines,omitzero" doc:"With which the pack's rule is tested, and on which both agree"`
}

// UnreachedTrigger is a trigger that no event can reach.
type UnreachedTrigger struct {
	TriggerID int64  `json:"trigger_id"`
	Name      string `json:"name"`
	Why       string `json:"why" doc:"off, triggers (rules name others), or the field that leaves out what the others let pass"`
}

func (s *server) coverage(api huma.API) {
	huma.Register(api, operation(http.MethodGet, rulesPath+"/coverage", "get-rule-coverage", "Show rules that are there in vain, and triggers", 200), s.ruleCoverage)
}

func (s *server) ruleCoverage(ctx context.Context, in *struct {
	Since time.Time `query:"since" doc:"Of rules without a hit; without it, of 90 days"`
}) (*output[Coverage], error) {
	now := time.Now()
	out := Coverage{Since: in.Since, Silent: []SilentRule{}, Repeated: []RepeatedRule{}, Unreached: []UnreachedTrigger{}}
	if out.Since.IsZero() {
		out.Since = now.Add(-coverageOf).UTC()
	}
	have, err := s.Store.Objects(ctx)
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	names := map[int64]string{}
	for _, r := range have.Rules {
		names[r.ID] = r.Name
	}
	for _, r := range packs.Repeats(have.Rules) {
		out.Repeated = append(out.Repeated, RepeatedRule{RuleID: r.Rule, Name: names[r.Rule], OtherID: r.Other, Pack: r.Pack, Other: r.Name, Lines: r.Lines})
	}
	for _, t := range have.Triggers {
		if why := t.Unreached(have.Rules); why != "" {
			out.Unreached = append(out.Unreached, UnreachedTrigger{t.ID, t.Name, why})
		}
	}
	if err := s.silentRules(ctx, &out, have, now); err != nil {
		return nil, s.fail(err, "rule")
	}
	return &output[Coverage]{Body: out}, nil
}

// silentRules looks into the logs for what comes near rules without a hit.
func (s *server) silentRules(ctx context.Context, out *Coverage, have store.Objects, now time.Time) error {
	ids, err := s.Store.SilentRules(ctx, out.Since)
	if err != nil {
		return err
	}
	silent := map[int64]bool{}
	for _, id := range ids {
		silent[id] = true
	}
	limited, cancel := context.WithTimeout(ctx, s.queryTime)
	defer cancel()
	for _, r := range have.Rules {
		if !silent[r.ID] {
			continue
		}
		if s.WhyRule == nil || limited.Err() != nil {
			out.Unread++
			continue
		}
		w, err := s.WhyRule(limited, query.WhyRuleQuery{Rule: r, Since: out.Since, Until: now})
		var bad rule.CompileError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &bad):
			continue // it is told elsewhere
		case err != nil:
			out.Unread++
			continue
		}
		if near, ok := comesNear(r, &w); ok {
			out.Silent = append(out.Silent, near)
		} else {
			out.Quiet++
		}
	}
	return nil
}

// comesNear says what lines that come near a rule lack.
func comesNear(r rule.Rule, w *query.RuleWhy) (SilentRule, bool) {
	near := SilentRule{RuleID: r.ID, Name: r.Name}
	switch {
	case len(w.Unmet) > 0:
		near.Lines, near.Why, near.Text, near.Sample = w.Unmet[0].Lines, "condition", w.Unmet[0].Field+" "+w.Unmet[0].Condition, w.Unmet[0].Sample
	case w.Near > 0:
		near.Lines, near.Why, near.Sample = w.Near, "pattern", w.NearLine
		if len(w.Rarest) > 0 {
			near.Text = w.Rarest[0]
		}
	case w.Stream > 0:
		near.Lines, near.Why = w.Stream, "stream"
	case w.Counts.Hits+w.Counts.Cooldown+w.Counts.Bucket > 0:
		near.Lines, near.Why = w.Matches, "cooldown"
	case w.Matches > 0:
		near.Lines, near.Why = w.Matches, "other"
	default:
		return near, false
	}
	return near, true
}
