package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"logscan/internal/query"
	"logscan/internal/rule"
)

// BacktestRequest asks what a rule would have told of the lines that are kept.
type BacktestRequest struct {
	RuleID   int64      `json:"rule_id,omitzero" doc:"A stored rule, whatever its state is"`
	Rule     RuleFields `json:"rule,omitempty" doc:"One as it would be added; with rule_id, what is changed of that one"`
	Against  int64      `json:"against,omitzero" doc:"The id of a stored rule: what differs from what that one would have told is told too"`
	Since    time.Time  `json:"since,omitzero" doc:"Lines from then on; without it, of the last 24 hours"`
	Until    time.Time  `json:"until,omitzero" doc:"And before then; without it, up to now"`
	Workload string     `json:"workload_id,omitzero" maxLength:"512" doc:"Only of this workload's containers"`
}

// Backtest is what the rule would have told if it had been there from the begin of the
// span, with nothing known before.
type Backtest struct {
	Since      time.Time           `json:"since"`
	Until      time.Time           `json:"until"`
	Complete   bool                `json:"complete" doc:"It is all that was asked for: there was time, and not too much was found"`
	Lines      int64               `json:"lines" doc:"That were evaluated"`
	NanosALine int64               `json:"ns_per_line" doc:"What it took, beside all else that the plugin did"`
	Matches    int64               `json:"matches" doc:"Lines that match"`
	Hits       int64               `json:"hits" doc:"What would be events"`
	Cooldown   int64               `json:"suppressed_cooldown" doc:"Matches that the cooldown would hold back, or that are further ones in a record"`
	Bucket     int64               `json:"suppressed_bucket" doc:"Matches that the bound of a container's hits would hold back"`
	Ignored    int64               `json:"ignored" doc:"Lines that match its pattern, and one of those to ignore too"`
	GivenUp    int64               `json:"given_up" doc:"Lines that would have taken too much work to check"`
	Incidents  int64               `json:"incidents"`
	Notices    map[string]int64    `json:"notices" nullable:"false" doc:"What there would be to tell of incidents, by kind"`
	Messages   map[string]int64    `json:"messages" nullable:"false" doc:"By trigger, of those that are switched on and would get any; digests aside"`
	Hours      []BacktestHour      `json:"hours" nullable:"false" doc:"In which there were hits, in order"`
	Containers []BacktestContainer `json:"containers" nullable:"false" doc:"Whose logs were looked at, 1,000 at most; those with the most hits first"`
	Shapes     []BacktestShape     `json:"shapes" nullable:"false" doc:"The most frequent ones, 20 at most"`
	Samples    []BacktestSample    `json:"samples" nullable:"false" doc:"The last hits, the newest first, 20 at most"`
	Against    *BacktestDifference `json:"against,omitempty" doc:"What differs from the rule that it is compared with; absent without one"`
	Warnings   []string            `json:"warnings" nullable:"false" doc:"What somebody who makes such a rule would like to know"`
}

// BacktestDifference is what differs of what two rules would have told of the same lines.
type BacktestDifference struct {
	Rule      string           `json:"rule" doc:"Name of the rule that it is compared with"`
	Hits      int64            `json:"hits" doc:"Of that rule"`
	Incidents int64            `json:"incidents"`
	Messages  map[string]int64 `json:"messages" nullable:"false"`
	Added     BacktestSide     `json:"added" doc:"Hits that this rule doesn't have"`
	Gone      BacktestSide     `json:"gone" doc:"Hits that it has alone"`
}

// BacktestSide is hits that one of two rules has alone: those of the same container, values
// and time are the same.
type BacktestSide struct {
	Hits    int64            `json:"hits"`
	Hours   []BacktestHour   `json:"hours" nullable:"false"`
	Samples []BacktestSample `json:"samples" nullable:"false" doc:"The last ones, the newest first, 20 at most"`
}

// BacktestHour is what came in an hour.
type BacktestHour struct {
	At   time.Time `json:"at" doc:"When it began"`
	Hits int64     `json:"hits"`
}

// BacktestContainer is how much of a container's log there was.
type BacktestContainer struct {
	Name     string    `json:"name"`
	Workload string    `json:"workload_id"`
	First    time.Time `json:"first,omitzero" doc:"Of its lines in the span; absent without any"`
	Last     time.Time `json:"last,omitzero"`
	Lines    int64     `json:"lines"`
	Hits     int64     `json:"hits"`
	Whole    bool      `json:"whole" doc:"The log has all that it wrote in the span"`
	Unread   int64     `json:"unread,omitzero" doc:"Bytes that can't be read, or were removed meanwhile"`
}

// BacktestShape is hits of one shape.
type BacktestShape struct {
	Shape string `json:"shape" doc:"As people read it"`
	Hits  int64  `json:"hits"`
}

// BacktestSample is a hit.
type BacktestSample struct {
	At        time.Time `json:"at"`
	Container string    `json:"container"`
	Message   string    `json:"message"`
	Before    []string  `json:"before,omitempty" doc:"Lines before it, of the last 5 hits, 3 at most"`
	After     []string  `json:"after,omitempty" doc:"And behind it"`
}

func (s *server) backtest(api huma.API) {
	op := withBody(operation(http.MethodPost, rulesPath+"/backtest", "backtest-rule", "What a rule would have told of the lines that are kept", 200, 404))
	op.MaxBodyBytes = maxBody
	huma.Register(api, op, s.backtestRule)
}

func (s *server) backtestRule(ctx context.Context, in *struct{ Body BacktestRequest }) (*output[Backtest], error) {
	if s.Backtest == nil {
		return nil, huma.Error503ServiceUnavailable("the logs can't be read yet")
	}
	q, err := s.backtestQuery(ctx, in.Body)
	if err != nil {
		return nil, err
	}
	if q.Triggers, err = s.Store.Triggers(ctx); err != nil {
		return nil, s.fail(err, "trigger")
	}
	if q.Silences, err = s.Store.Silences(ctx); err != nil {
		return nil, s.fail(err, "silence")
	}
	limited, cancel := context.WithTimeout(ctx, s.queryTime)
	defer cancel()
	b, err := s.Backtest(limited, q)
	var bad rule.CompileError
	switch {
	case errors.As(err, &bad): // a stored one that is broken
		return nil, invalid("rule", bad.Reason)
	case err == nil:
		err = ctx.Err()
	}
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	return &output[Backtest]{Body: backtestOut(&q, &b)}, nil
}

// backtestQuery is what a request asks for.
func (s *server) backtestQuery(ctx context.Context, in BacktestRequest) (q query.BacktestQuery, err error) {
	now := time.Now()
	q = query.BacktestQuery{Since: in.Since, Until: in.Until, Workload: in.Workload}
	if q.Until.IsZero() || q.Until.After(now) {
		q.Until = now
	}
	if q.Since.IsZero() {
		q.Since = q.Until.Add(-24 * time.Hour)
	}
	switch {
	case !q.Since.Before(q.Until):
		return q, invalid("since", "has to be before until, and before now")
	case in.RuleID == 0 && len(in.Rule) == 0:
		return q, invalid("rule", "give a rule, a rule_id, or both")
	case in.RuleID != 0:
		if q.Rule, err = s.Store.Rule(ctx, in.RuleID); err != nil {
			return q, s.fail(err, "rule")
		}
	default:
		q.Rule = rule.New()
		q.Rule.Name = "test"
	}
	if in.Against != 0 {
		other, err := s.Store.Rule(ctx, in.Against)
		if err != nil {
			return q, s.fail(err, "rule")
		}
		q.Against = &other
	}
	if len(in.Rule) == 0 {
		return q, nil
	}
	if err := in.Rule.apply(&q.Rule); err != nil {
		return q, s.fail(err, "rule")
	}
	q.Rule.OverridesID = 0
	if err := rule.Fields.Validate(q.Rule); err != nil {
		return q, s.fail(err, "rule")
	}
	return q, nil
}

func backtestOut(q *query.BacktestQuery, b *query.Backtest) Backtest {
	out := Backtest{
		Since: b.Since, Until: b.Until, Complete: b.Complete, Lines: b.Lines,
		Matches: matches(&q.Rule, b.Counts), Hits: b.Hits, Cooldown: b.Counts.Cooldown, Bucket: b.Counts.Bucket, Ignored: b.Counts.Ignored, GivenUp: b.Counts.GivenUp,
		Incidents: b.Incidents, Notices: b.Notices, Messages: b.Messages,
		Hours: backtestHours(b.Hours), Containers: make([]BacktestContainer, len(b.Containers)), Shapes: make([]BacktestShape, len(b.Shapes)),
		Samples: backtestSamples(b.Samples), Warnings: append([]string{}, b.Warnings...),
	}
	if b.Lines > 0 {
		out.NanosALine = b.Took.Nanoseconds() / b.Lines
	}
	for i, c := range b.Containers {
		out.Containers[i] = BacktestContainer(c)
	}
	for i, v := range b.Shapes {
		out.Shapes[i] = BacktestShape{v.Readable, v.Hits}
	}
	if d := b.Against; d != nil {
		side := func(v *query.BacktestSide) BacktestSide {
			return BacktestSide{Hits: v.Hits, Hours: backtestHours(v.Hours), Samples: backtestSamples(v.Samples)}
		}
		out.Against = &BacktestDifference{Rule: q.Against.Name, Hits: d.Hits, Incidents: d.Incidents, Messages: d.Messages, Added: side(&d.Added), Gone: side(&d.Gone)}
	}
	return out
}

func backtestHours(all []query.BacktestHour) []BacktestHour {
	out := make([]BacktestHour, len(all))
	for i, h := range all {
		out[i] = BacktestHour(h)
	}
	return out
}

func backtestSamples(all []query.BacktestSample) []BacktestSample {
	out := make([]BacktestSample, len(all))
	for i, v := range all {
		out[i] = BacktestSample{At: v.At, Container: v.Container, Message: v.Message, Before: v.Before, After: v.After}
	}
	return out
}
