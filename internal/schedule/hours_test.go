package schedule

import (
	"strings"
	"testing"
	"time"
)

func hours(t *testing.T, s string) Hours {
	t.Helper()
	a, err := ParseHours(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return a
}

func instant(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// Next is the time itself within the hours, and else the beginning of the
// next hours, by the clocks of the place. 2026-03-29 and 2026-10-25 are when Berlin's
// are set forward and back, 2026-03-28 is a Saturday.
func TestHours(t *testing.T) {
	for _, tt := range []struct{ hours, at, next string }{
		{"", "2026-03-28T03:00:00Z", "2026-03-28T03:00:00Z"},
		{"Mon-Fri", "2026-03-28T03:00:00Z", "2026-03-30T00:00:00Z"},
		{"Mon-Fri", "2026-03-30T00:00:00Z", "2026-03-30T00:00:00Z"},
		{"mon-FRI", "2026-03-27T23:59:59Z", "2026-03-27T23:59:59Z"},
		{"Sat-Sun", "2026-03-30T03:00:00Z", "2026-04-04T00:00:00Z"},
		{"Fri-Mon", "2026-03-31T00:00:00Z", "2026-04-03T00:00:00Z"},
		{"Wed", "2026-03-26T00:00:00Z", "2026-04-01T00:00:00Z"},
		{"08:00-18:00", "2026-03-28T07:59:59Z", "2026-03-28T08:00:00Z"},
		{"08:00-18:00", "2026-03-28T17:59:59Z", "2026-03-28T17:59:59Z"},
		{"08:00-18:00", "2026-03-28T18:00:00Z", "2026-03-29T08:00:00Z"},
		{"13:00-17:00,08:00-12:00", "2026-03-28T12:30:00Z", "2026-03-28T13:00:00Z"},
		{"13:00-17:00,08:00-12:00", "2026-03-28T17:30:00Z", "2026-03-29T08:00:00Z"},
		{"00:00-24:00", "2026-03-28T23:59:59Z", "2026-03-28T23:59:59Z"},
		{"Mon 00:00-24:00", "2026-03-31T00:00:00Z", "2026-04-06T00:00:00Z"},
		{"18:00-00:00", "2026-03-28T00:00:00Z", "2026-03-28T18:00:00Z"},
		{"Mon-Fri 08:00-18:00 Europe/Berlin", "2026-03-27T16:59:00Z", "2026-03-27T16:59:00Z"},
		// The weekend that loses an hour.
		{"Mon-Fri 08:00-18:00 Europe/Berlin", "2026-03-27T17:00:00Z", "2026-03-30T06:00:00Z"},
		// And the one that has one more.
		{"Mon-Fri 08:00-18:00 Europe/Berlin", "2026-10-23T16:00:00Z", "2026-10-26T07:00:00Z"},
		{"Europe/Berlin", "2026-03-28T03:00:00Z", "2026-03-28T03:00:00Z"},
		{"Mon America/New_York", "2026-03-30T03:59:59Z", "2026-03-30T04:00:00Z"},
		{"Mon America/New_York", "2026-03-31T03:59:59Z", "2026-03-31T03:59:59Z"},
		// Hours over midnight are of the day on which they begin.
		{"22:00-06:00", "2026-03-28T05:59:00Z", "2026-03-28T05:59:00Z"},
		{"22:00-06:00", "2026-03-28T06:00:00Z", "2026-03-28T22:00:00Z"},
		{"Fri 22:00-06:00", "2026-03-28T05:00:00Z", "2026-03-28T05:00:00Z"},
		{"Fri 22:00-06:00", "2026-03-27T05:00:00Z", "2026-03-27T22:00:00Z"},
		{"Fri 22:00-06:00", "2026-03-28T06:00:00Z", "2026-04-03T22:00:00Z"},
		// 02:30 doesn't come: 03:00 follows 02:00, and is within the hours or not.
		{"02:30-04:00 Europe/Berlin", "2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z"},
		{"02:10-02:50 Europe/Berlin", "2026-03-29T00:59:59Z", "2026-03-30T00:10:00Z"},
		{"03:30-04:00 Europe/Berlin", "2026-03-29T00:59:59Z", "2026-03-29T01:30:00Z"},
		// 02:30 comes twice.
		{"02:30-02:40 Europe/Berlin", "2026-10-25T00:29:59Z", "2026-10-25T00:30:00Z"},
		{"02:30-02:40 Europe/Berlin", "2026-10-25T00:40:00Z", "2026-10-25T01:30:00Z"},
		{"02:30-02:40 Europe/Berlin", "2026-10-25T01:40:00Z", "2026-10-26T01:30:00Z"},
		// Half an hour, on an island.
		{"01:45-01:50 Australia/Lord_Howe", "2026-04-04T14:50:00Z", "2026-04-04T15:15:00Z"},
		// A day that didn't exist there.
		{"Fri Pacific/Apia", "2011-12-24T10:00:00Z", "2012-01-05T10:00:00Z"},
	} {
		a, at, want := hours(t, tt.hours), instant(t, tt.at), instant(t, tt.next)
		if got := a.Next(at); !got.Equal(want) {
			t.Errorf("%q at %s: next is %s, want %s", tt.hours, tt.at, got, want)
		}
		if got := a.At(at); got != at.Equal(want) {
			t.Errorf("%q at %s: %v", tt.hours, tt.at, got)
		}
	}
}

// Next is the very first time at which At holds, minute by minute, over the changes
// of clocks.
func TestNextIsTheFirst(t *testing.T) {
	for _, s := range []string{
		"", "Mon-Fri 08:00-18:00 Europe/Berlin", "22:00-06:00 Europe/Berlin", "Sun 02:15-02:45,23:30-00:30 Europe/Berlin",
		"Sat-Sun Australia/Lord_Howe", "01:40-02:20 Australia/Lord_Howe", "Sun 00:00-24:00 America/Santiago", "Sun 23:00-00:10 America/Santiago",
	} {
		a := hours(t, s)
		for _, from := range []string{"2026-03-27T00:00:00Z", "2026-10-23T00:00:00Z", "2026-09-04T00:00:00Z", "2026-04-03T00:00:00Z"} {
			start := instant(t, from)
			next := a.Next(start.Add(8 * 24 * time.Hour))
			for at := start.Add(8 * 24 * time.Hour); !at.Before(start); at = at.Add(-time.Minute) {
				if a.At(at) {
					next = at
				}
				if got := a.Next(at); !got.Equal(next) {
					t.Fatalf("%q at %s: next is %s, want %s", s, at, got, next)
				}
			}
		}
	}
}

// What can't be read is refused with what would be right.
func TestHoursAreRefused(t *testing.T) {
	for s, says := range map[string]string{
		" ":                             "blank",
		"Someday":                       "time zone, such as Europe/Berlin",
		"Mon-":                          "days or hours",
		"08:00":                         "08:00-18:00",
		"8:00-18:00":                    "08:00-18:00",
		"08:00-24:01":                   "08:00-18:00",
		"08:60-09:00":                   "08:00-18:00",
		"24:00-01:00":                   "08:00-18:00",
		"+8:00-09:00":                   "08:00-18:00",
		"08:00-08:00":                   "00:00-24:00",
		"08:00-09:00,":                  "08:00-18:00",
		"Mon 08:00-18:00 Berlin":        `"Berlin" is no time zone`,
		"Mon 08:00-18:00 Local":         "time zone",
		"Mon 08:00-18:00 ../etc/passwd": "time zone",
		"08:00-18:00 Mon":               "time zone",
		"Mon Tue":                       "time zone",
		"Mon 08:00-18:00 UTC Tue":       "Mon-Fri 08:00-18:00 Europe/Berlin",
	} {
		if _, err := ParseHours(s); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// After is the first time that is behind enough of minutes in a row, each within the
// hours, over the changes of clocks.
func TestAfter(t *testing.T) {
	for _, s := range []string{
		"", "Mon-Fri 08:00-18:00 Europe/Berlin", "Mon-Fri Europe/Berlin", "22:00-06:00 Europe/Berlin", "Sun 02:15-02:45,23:30-00:30 Europe/Berlin",
		"08:00-12:00,12:00-17:00", "08:00-12:00,11:00-13:00,15:00-16:00", "01:40-02:20 Australia/Lord_Howe", "Sun 00:00-24:00 America/Santiago",
	} {
		h := hours(t, s)
		for _, d := range []time.Duration{time.Minute, 25 * time.Minute, time.Hour, 5 * time.Hour, 25 * time.Hour} {
			for _, from := range []string{"2026-03-27T00:00:00Z", "2026-10-23T00:00:00Z", "2026-09-04T00:00:00Z", "2026-04-03T00:00:00Z"} {
				start := instant(t, from)
				const minutes = 16 * 24 * 60
				var in [minutes]bool
				for i := range in {
					in[i] = h.At(start.Add(time.Duration(i) * time.Minute))
				}
				for i := 0; i < minutes/2; i += 53 {
					want, run := time.Time{}, 0
					for k := i; k < minutes; k++ {
						if run++; !in[k] {
							run = 0
						}
						if run == int(d/time.Minute) {
							want = start.Add(time.Duration(k+1) * time.Minute)
							break
						}
					}
					at := start.Add(time.Duration(i) * time.Minute)
					got := h.After(at, d)
					if later := got.After(start.Add(minutes * time.Minute)); !got.Equal(want) && !(want.IsZero() && later) {
						t.Fatalf("%q, %s from %s: %s, want %s", s, d, at, got, want)
					}
				}
			}
		}
	}
}
