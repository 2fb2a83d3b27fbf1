package silence

import (
	"errors"
	"fmt"
	"time"

	"logscan/internal/schedule"
)

// schedule returns what says whether a silence that begins again and again is on.
func (s Silence) schedule() (func(time.Time) bool, error) {
	if s.Cron == "" {
		if s.For != 0 || s.Zone != "" {
			return nil, errors.New("how long, and a time zone, belong to a cron expression")
		}
		return func(time.Time) bool { return true }, nil
	}
	if s.For <= 0 || s.For > 7*24*time.Hour {
		return nil, errors.New("a silence by cron needs how long it holds each time: at most a week")
	}
	zone, err := time.LoadLocation(s.Zone)
	if err != nil {
		return nil, fmt.Errorf("there is no time zone %q; they are called like Europe/Berlin", s.Zone)
	}
	begins, err := schedule.Parse(s.Cron, zone)
	if err != nil {
		return nil, fmt.Errorf("%q is not a cron expression of five fields, such as \"0 3 * * *\": it %w", s.Cron, err)
	}
	return func(at time.Time) bool {
		begun := begins.Next(at.Add(-s.For))
		return !begun.IsZero() && !begun.After(at)
	}, nil
}
