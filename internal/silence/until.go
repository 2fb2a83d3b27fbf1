package silence

import (
	"fmt"
	"strings"
	"time"
)

// Until reads the end of a silence or a snooze, as people say it: a duration (90m,
// 2d), a time of day (08:00), a weekday (monday), tomorrow, a date (2026-01-02) or a
// date with a time (2026-01-02 15:04, RFC 3339). Times without a zone are in now's.
func Until(s string, now time.Time) (time.Time, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	if d, err := Duration(s); err == nil {
		return now.Add(d), nil
	}
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	if t, err := time.Parse("15:04", s); err == nil {
		at := time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, now.Location())
		if !at.After(now) {
			at = time.Date(now.Year(), now.Month(), now.Day()+1, t.Hour(), t.Minute(), 0, 0, now.Location())
		}
		return at, nil
	}
	if s == "tomorrow" {
		return midnight.AddDate(0, 0, 1), nil
	}
	for d := time.Sunday; d <= time.Saturday; d++ {
		if name := strings.ToLower(d.String()); s == name || s == name[:3] {
			days := (int(d-now.Weekday()) + 7) % 7
			if days == 0 {
				days = 7
			}
			return midnight.AddDate(0, 0, days), nil
		}
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", "2006-01-02t15:04"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	if t, err := time.Parse(time.RFC3339, strings.ToUpper(s)); err == nil {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("%q is no end: give a duration (1h, 2d), a time (08:00), a day (monday, tomorrow) or a date (2026-01-02, 2026-01-02 15:04)", s)
}

// Duration is time.ParseDuration with days and weeks: 90m, 1h30m, 2d, 1w.
func Duration(s string) (time.Duration, error) {
	for unit, of := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if n, ok := strings.CutSuffix(s, unit); ok {
			var count float64
			if _, err := fmt.Sscanf(n+" end", "%g end", &count); err == nil && count > 0 && count < 10_000 {
				return time.Duration(count * float64(of)), nil
			}
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is no duration, such as 90m, 1h, 2d or 1w", s)
	}
	return d, nil
}
