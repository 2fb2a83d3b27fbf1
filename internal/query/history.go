package query

import (
	"context"
	"errors"
	"time"

	"logscan/internal/event"
	"logscan/internal/rule"
)

// FindHistory returns the events that a rule would have given of the lines since a time, up
// to an offset in the log of each container, and of no others. It is not whole where there
// are more than MaxHistory: then these are the first.
func FindHistory(ctx context.Context, cfg BacktestConfig, r rule.Rule, since time.Time, ends map[string]int64) (events []event.Event, whole bool, err error) {
	if ends == nil {
		ends = map[string]int64{}
	}
	q := BacktestQuery{Rule: r, Since: since, Until: r.CreatedAt, ends: ends}
	b, err := runBacktest(ctx, cfg, q)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, false, err
	}
	if !b.Complete && len(b.events) <= MaxHistory {
		return nil, false, errors.New("query: a history came to no end")
	}
	return b.events[:min(len(b.events), MaxHistory)], b.Complete, nil
}
