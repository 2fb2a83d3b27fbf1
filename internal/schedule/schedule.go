// Package schedule reads when something happens again and again, as cron does, and at
// which hours.
package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

var parser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// ErrFields refuses what hasn't the five fields of cron. Time zones, which the parser
// would take before them, are the caller's to read.
var ErrFields = errors.New("must have the five fields of cron (minute, hour, day, month, day of the week)")

// Parse reads the five fields of cron, by the clocks of a time zone. The error is a
// reason for users.
func Parse(fields string, zone *time.Location) (cron.Schedule, error) {
	words := strings.Fields(fields)
	if len(words) != 5 || strings.Contains(words[0], "=") {
		return nil, ErrFields
	}
	parsed, err := parser.Parse(strings.Join(words, " "))
	if err != nil {
		return nil, fmt.Errorf("is no schedule as of cron: %w", err)
	}
	if spec, ok := parsed.(*cron.SpecSchedule); ok {
		spec.Location = zone
	}
	if parsed.Next(time.Unix(0, 0)).IsZero() { // it looks for years ahead
		return nil, errors.New("names a day that never comes")
	}
	return parsed, nil
}

// Zone finds a time zone by its name.
func Zone(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf("%.64q is no time zone, such as Europe/Berlin or UTC", name)
	}
	return zone, nil
}
