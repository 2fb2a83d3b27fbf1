package schedule

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Hours are hours of days, by the clocks of a time zone. The zero Hours are always.
type Hours struct {
	spans []span // sorted; none: always
	days  [7]bool
	zone  *time.Location
}

// span is from one minute of a day up to another, which is the next day's where it
// isn't later.
type span struct{ from, to int }

const wholeDay = 24 * 60

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseHours reads days, hours and a time zone, of which each may be left out:
//
//	Mon-Fri 08:00-18:00 Europe/Berlin
//	Mon,Wed,Sat-Sun 08:00-12:00,13:00-17:30
//	22:00-06:00
//
// Hours that end on the next day belong to the day on which they begin. Days are all
// where there are none, hours the whole day, and the zone is UTC. "" is always. The
// error is a reason for users.
func ParseHours(s string) (Hours, error) {
	if s == "" {
		return Hours{}, nil
	}
	words := strings.Fields(s)
	if len(words) == 0 {
		return Hours{}, errors.New("is blank")
	}
	a := Hours{spans: []span{{0, wholeDay}}, days: [7]bool{true, true, true, true, true, true, true}, zone: time.UTC}
	if days, ok := parseDays(strings.ToLower(words[0])); ok {
		a.days, words = days, words[1:]
	}
	if len(words) > 0 && strings.Contains(words[0], ":") {
		a.spans = nil
		for hours := range strings.SplitSeq(words[0], ",") {
			h, err := parseSpan(hours)
			if err != nil {
				return Hours{}, err
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
		if a.zone, err = Zone(words[0]); err != nil {
			return Hours{}, fmt.Errorf("%w, nor days or hours: write it as Mon-Fri 08:00-18:00 Europe/Berlin", err)
		}
		return a, nil
	}
	return Hours{}, fmt.Errorf("can't be read from %.64q on: write it as Mon-Fri 08:00-18:00 Europe/Berlin", strings.Join(words, " "))
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

// At reports whether t is within the hours.
func (h Hours) At(t time.Time) bool {
	if h.spans == nil {
		return true
	}
	t = t.In(h.zone)
	now, today := t.Hour()*60+t.Minute(), int(t.Weekday())
	yesterday := (today + 6) % 7
	return slices.ContainsFunc(h.spans, func(s span) bool {
		if s.from < s.to {
			return h.days[today] && s.from <= now && now < s.to
		}
		return h.days[today] && s.from <= now || h.days[yesterday] && now < s.to
	})
}

// Next is the first time from t on that is within the hours. Where clocks are set
// back, hours that come twice are active twice; where they are set forward, those that
// are left out are not waited for.
func (h Hours) Next(t time.Time) time.Time {
	for !h.At(t) {
		local := t.In(h.zone)
		_, offset := local.Zone()
		_, change := local.ZoneBounds()
		next := h.nextFrom(local.In(time.FixedZone("", offset)))
		if change.IsZero() || next.Before(change) {
			return next.In(t.Location())
		}
		t = change.In(t.Location())
	}
	return t
}

// nextFrom is the first beginning of hours after t, whose zone has one offset.
func (h Hours) nextFrom(t time.Time) time.Time {
	for day := 0; ; day++ {
		midnight := time.Date(t.Year(), t.Month(), t.Day()+day, 0, 0, 0, 0, t.Location())
		if !h.days[midnight.Weekday()] {
			continue
		}
		for _, s := range h.spans {
			if at := midnight.Add(time.Duration(s.from) * time.Minute); at.After(t) {
				return at
			}
		}
	}
}

// maxStretches is how many stretches of hours After looks at: those of a year.
const maxStretches = 400

// After is the first time by which the hours have gone on for d without a break, since t
// or since they began; the zero time where they never do.
func (h Hours) After(t time.Time, d time.Duration) time.Time {
	for range maxStretches {
		t = h.Next(t)
		end := h.breaks(t, t.Add(d))
		if end.IsZero() {
			return t.Add(d)
		}
		t = end
	}
	return time.Time{}
}

// breaks is the first time between two that isn't within the hours; zero where there is
// none. At from they go on.
func (h Hours) breaks(from, to time.Time) (first time.Time) {
	if h.spans == nil {
		return time.Time{}
	}
	local := from.In(h.zone)
	for day := 0; first.IsZero(); day++ {
		midnight := time.Date(local.Year(), local.Month(), local.Day()+day, 0, 0, 0, 0, h.zone)
		if !midnight.Before(to) {
			return time.Time{}
		}
		ends := []time.Time{midnight}
		for _, s := range h.spans {
			ends = append(ends, time.Date(local.Year(), local.Month(), local.Day()+day, 0, s.to, 0, 0, h.zone))
		}
		// Where clocks are set, hours end that would go on.
		if _, change := midnight.ZoneBounds(); !change.IsZero() && change.Before(midnight.AddDate(0, 0, 1)) {
			ends = append(ends, change)
			for _, s := range h.spans { // before and behind it
				for _, at := range []time.Time{midnight, change} {
					_, offset := at.Zone()
					ends = append(ends, time.Date(local.Year(), local.Month(), local.Day()+day, 0, s.to, 0, 0, time.FixedZone("", offset)))
				}
			}
		}
		for _, end := range ends {
			if end.After(from) && end.Before(to) && !h.At(end) && (first.IsZero() || end.Before(first)) {
				first = end
			}
		}
	}
	return first.In(from.Location())
}
