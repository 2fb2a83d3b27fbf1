package trigger

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Active is when a trigger's messages are sent: hours of days by the clocks of a
// time zone. The zero Active is always.
type Active struct {
	spans []span // sorted; none: always
	days  [7]bool
	zone  *time.Location
}

// span is from one minute of a day up to another, which is the next day's where it
// isn't later.
type span struct{ from, to int }

const wholeDay = 24 * 60

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseActive reads days, hours and a time zone, of which each may be left out:
//
//	Mon-Fri 08:00-18:00 Europe/Berlin
//	Mon,Wed,Sat-Sun 08:00-12:00,13:00-17:30
//	22:00-06:00
//
// Hours that end on the next day belong to the day on which they begin. Days are all
// where there are none, hours the whole day, and the zone is UTC. "" is always. The
// error is a reason for users.
func ParseActive(s string) (Active, error) {
	if s == "" {
		return Active{}, nil
	}
	words := strings.Fields(s)
	if len(words) == 0 {
		return Active{}, errors.New("is blank")
	}
	a := Active{spans: []span{{0, wholeDay}}, days: [7]bool{true, true, true, true, true, true, true}, zone: time.UTC}
	if days, ok := parseDays(strings.ToLower(words[0])); ok {
		a.days, words = days, words[1:]
	}
	if len(words) > 0 && strings.Contains(words[0], ":") {
		a.spans = nil
		for hours := range strings.SplitSeq(words[0], ",") {
			h, err := parseSpan(hours)
			if err != nil {
				return Active{}, err
			}
			a.spans = append(a.spans, h)
		}
		slices.SortFunc(a.spans, func(x, y span) int { return x.from - y.from })
		words = words[1:]
	}
	switch len(words) {
	case 0:
		return a, nil
	case 1:
		var err error
		if a.zone, err = parseZone(words[0]); err != nil {
			return Active{}, fmt.Errorf("%w, nor days or hours: write it as Mon-Fri 08:00-18:00 Europe/Berlin", err)
		}
		return a, nil
	}
	return Active{}, fmt.Errorf("can't be read from %.64q on: write it as Mon-Fri 08:00-18:00 Europe/Berlin", strings.Join(words, " "))
}

// parseDays reads mon,wed,sat-sun.
func parseDays(s string) (days [7]bool, ok bool) {
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, last := slices.Index(weekdays, from), slices.Index(weekdays, to)
		if first < 0 || last < 0 {
			return days, false
		}
		for d := first; ; d = (d + 1) % 7 {
			days[d] = true
			if d == last {
				break
			}
		}
	}
	return days, true
}

// parseSpan reads 08:00-18:00.
func parseSpan(s string) (span, error) {
	from, to, ok := strings.Cut(s, "-")
	a, okA := parseMinute(from)
	b, okB := parseMinute(to)
	switch {
	case !ok || !okA || !okB || a == wholeDay:
		return span{}, fmt.Errorf("%.64q are no hours, such as 08:00-18:00", s)
	case a == b:
		return span{}, fmt.Errorf("%q is no time at all; the whole day is 00:00-24:00", s)
	}
	return span{a, b}, nil
}

// parseMinute reads 08:30, up to 24:00.
func parseMinute(s string) (int, bool) {
	if len(s) != len("08:30") || s[2] != ':' {
		return 0, false
	}
	h, errH := strconv.ParseUint(s[:2], 10, 8)
	m, errM := strconv.ParseUint(s[3:], 10, 8)
	minute := int(h*60 + m)
	return minute, errH == nil && errM == nil && m < 60 && minute <= wholeDay
}

// At reports whether messages are sent at t.
func (a Active) At(t time.Time) bool {
	if a.spans == nil {
		return true
	}
	t = t.In(a.zone)
	now, today := t.Hour()*60+t.Minute(), int(t.Weekday())
	yesterday := (today + 6) % 7
	return slices.ContainsFunc(a.spans, func(s span) bool {
		if s.from < s.to {
			return a.days[today] && s.from <= now && now < s.to
		}
		return a.days[today] && s.from <= now || a.days[yesterday] && now < s.to
	})
}

// Next is the first time from t on at which messages are sent. Where clocks are set
// back, hours that come twice are active twice; where they are set forward, those that
// are left out are not waited for.
func (a Active) Next(t time.Time) time.Time {
	for !a.At(t) {
		local := t.In(a.zone)
		_, offset := local.Zone()
		_, change := local.ZoneBounds()
		next := a.nextFrom(local.In(time.FixedZone("", offset)))
		if change.IsZero() || next.Before(change) {
			return next.In(t.Location())
		}
		t = change.In(t.Location())
	}
	return t
}

// nextFrom is the first beginning of hours after t, whose zone has one offset.
func (a Active) nextFrom(t time.Time) time.Time {
	for day := 0; ; day++ {
		midnight := time.Date(t.Year(), t.Month(), t.Day()+day, 0, 0, 0, 0, t.Location())
		if !a.days[midnight.Weekday()] {
			continue
		}
		for _, s := range a.spans {
			if at := midnight.Add(time.Duration(s.from) * time.Minute); at.After(t) {
				return at
			}
		}
	}
}
