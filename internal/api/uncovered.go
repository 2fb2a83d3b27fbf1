package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"logscan/internal/query"
)

const uncoveredPath = "/api/uncovered"

// queryTime is how long the logs may be read for an answer.
const queryTime = time.Minute

const tooMuchToRead = "there is too much to read since then: ask for less, or for one workload"

// UncoveredErrors is what looks like an error and no rule matches.
type UncoveredErrors struct {
	Items  []UncoveredError `json:"items" nullable:"false" doc:"The most frequent first, of as many the newest"`
	More   int              `json:"more" doc:"Shapes beyond the limit"`
	Others int64            `json:"others" doc:"Errors of shapes that there was no room for"`
	Since  time.Time        `json:"since"`
	Until  time.Time        `json:"until" doc:"When the logs were read"`
	Lines  int64            `json:"lines" doc:"That were read"`
	Errors int64            `json:"errors" doc:"What of them looks like an error, a stack trace being one"`
	Missed int64            `json:"missed" doc:"What of that no rule matches"`
	Unread int64            `json:"unread,omitzero" doc:"Bytes of the logs that can't be read, or were removed meanwhile"`
}

// UncoveredError is such lines of one shape in one workload.
type UncoveredError struct {
	Shape     string    `json:"shape" doc:"The fingerprint of the lines"`
	Count     int64     `json:"count"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	Workload  string    `json:"workload_id"`
	Container string    `json:"container" doc:"That wrote the last of them"`
	Sample    string    `json:"sample" doc:"The last of them, as valid UTF-8, at most 500 bytes"`
	Pattern   string    `json:"pattern,omitempty" doc:"Of a rule that would match them, to begin with"`
}

func (s *server) uncovered(api huma.API) {
	huma.Register(api, operation(http.MethodGet, uncoveredPath, "list-uncovered", "What looks like an error, and no rule matches", 200, 422), s.listUncovered)
}

type uncoveredInput struct {
	Since    time.Time `query:"since" doc:"Lines from then on; without it, of the last 24 hours"`
	Workload string    `query:"workload" maxLength:"512" doc:"Only of this workload's containers"`
	Limit    int       `query:"limit" minimum:"1" maximum:"1000" default:"50"`
}

func (s *server) listUncovered(ctx context.Context, in *uncoveredInput) (*output[UncoveredErrors], error) {
	if s.Uncovered == nil {
		return nil, huma.Error503ServiceUnavailable("the logs can't be read yet")
	}
	if in.Since.IsZero() {
		in.Since = time.Now().Add(-24 * time.Hour)
	}
	rules, err := s.Store.Rules(ctx)
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.queryTime, huma.Error422UnprocessableEntity("since: "+tooMuchToRead,
		&huma.ErrorDetail{Location: "query.since", Message: tooMuchToRead}))
	defer cancel()
	u, err := s.Uncovered(ctx, rules, query.UncoveredQuery{Since: in.Since, Workload: in.Workload, Limit: in.Limit})
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, s.fail(err, "log")
	}
	out := UncoveredErrors{
		Items: make([]UncoveredError, len(u.Shapes)), More: u.More, Others: u.Others, Since: in.Since.UTC(), Until: u.Until,
		Lines: u.Lines, Errors: u.Errors, Missed: u.Missed, Unread: u.Unread,
	}
	for i, e := range u.Shapes {
		out.Items[i] = UncoveredError{
			Shape: e.Shape.String(), Count: e.Lines, First: e.First, Last: e.Last, Workload: e.Workload, Container: e.Container, Sample: e.Sample, Pattern: e.Pattern,
		}
	}
	return &output[UncoveredErrors]{Body: out}, nil
}
