package trigger

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"logscan/internal/schedule"
)

// ParseAtMost reads a budget of messages: how many there may be in a minute, an hour
// or a day, as 6/m, 40/h or 100/d. "" is no bound, and gives zeros. The error is a
// reason for users.
func ParseAtMost(s string) (n int, per time.Duration, err error) {
	if s == "" {
		return 0, 0, nil
	}
	number, unit, _ := strings.Cut(s, "/")
	per, known := map[string]time.Duration{"m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[unit]
	n, err = strconv.Atoi(number)
	if !known || err != nil || n < 1 || n > 1_000_000 || number[0] == '+' {
		return 0, 0, errors.New("must be a number from 1 to 1000000 with /m, /h or /d for a minute, an hour or a day, such as 40/h")
	}
	return n, per, nil
}

// ParseDigest reads when digests are sent: the five fields of cron, and a time zone,
// UTC where there is none. "" is never, and gives nil. The error is a reason for
// users.
func ParseDigest(s string) (cron.Schedule, error) {
	words := strings.Fields(s)
	if len(words) == 0 {
		if s != "" {
			return nil, errors.New("is blank")
		}
		return nil, nil
	}
	zone := time.UTC
	if len(words) == 6 {
		var err error
		if zone, err = schedule.Zone(words[5]); err != nil {
			return nil, err
		}
		words = words[:5]
	}
	parsed, err := schedule.Parse(strings.Join(words, " "), zone)
	if errors.Is(err, schedule.ErrFields) {
		return nil, fmt.Errorf("%w, and may have a time zone, such as 0 8 * * Mon-Fri Europe/Berlin", err)
	}
	return parsed, err
}
