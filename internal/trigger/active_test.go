package trigger

import (
	"strings"
	"testing"
	"time"
)

func active(t *testing.T, s string) Active {
	t.Helper()
	a, err := ParseActive(s)
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

// Next is the time itself while messages are sent, and else the beginning of the
// next hours, by the clocks of the place. 2026-03-29 and 2026-10-25 are when Berlin's
// are set forward and back, 2026-03-28 is a Saturday.
func TestActive(t *testing.T) {
	for _, tt := range []struct{ active, at, next string }{
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
		a, at, want := active(t, tt.active), instant(t, tt.at), instant(t, tt.next)
		if got := a.Next(at); !got.Equal(want) {
			t.Errorf("%q at %s: next is %s, want %s", tt.active, tt.at, got, want)
		}
		if got := a.At(at); got != at.Equal(want) {
			t.Errorf("%q at %s: %v", tt.active, tt.at, got)
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
		a := active(t, s)
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
func TestActiveIsRefused(t *testing.T) {
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
		if _, err := ParseActive(s); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestAtMost(t *testing.T) {
	for s, want := range map[string]time.Duration{"": 0, "40/h": time.Hour, "40/m": time.Minute, "40/d": 24 * time.Hour} {
		n, per, err := ParseAtMost(s)
		if err != nil || per != want || n != 40 && s != "" {
			t.Errorf("%q: %d in %v, %v", s, n, per, err)
		}
	}
	for _, s := range []string{" ", "40", "/h", "40/", "0/h", "-1/h", "+1/h", "1.5/h", "40/w", "40/h/d", "40 /h", "1000001/d", "99999999999999999999/h"} {
		if n, per, err := ParseAtMost(s); err == nil || !strings.Contains(err.Error(), "40/h") {
			t.Errorf("%q: %d in %v, %v", s, n, per, err)
		}
	}
}

func TestDigest(t *testing.T) {
	if never, err := ParseDigest(""); never != nil || err != nil {
		t.Errorf("%v, %v", never, err)
	}
	for _, tt := range []struct{ digest, at, next string }{
		{"0 8 * * *", "2026-03-28T08:00:00Z", "2026-03-29T08:00:00Z"},
		{"0 8 * * Mon-Fri Europe/Berlin", "2026-03-27T07:00:00Z", "2026-03-30T06:00:00Z"},
		{"*/15 * * * * Asia/Kathmandu", "2026-03-27T07:01:00Z", "2026-03-27T07:15:00Z"},
		{"0 0 29 2 *", "2026-03-27T07:01:00Z", "2028-02-29T00:00:00Z"},
	} {
		d, err := ParseDigest(tt.digest)
		if err != nil {
			t.Errorf("%q: %v", tt.digest, err)
		} else if got := d.Next(instant(t, tt.at)); !got.Equal(instant(t, tt.next)) {
			t.Errorf("%q after %s: %s, want %s", tt.digest, tt.at, got, tt.next)
		}
	}
	for s, says := range map[string]string{
		" ":                     "blank",
		"@daily":                "five fields",
		"0 8 * *":               "five fields",
		"TZ=UTC 0 8 * *":        "five fields",
		"CRON_TZ=UTC 0 8 * * *": "time zone",
		"0 8 * * * Berlin":      "time zone",
		"0 8 * * * UTC 2026":    "five fields",
		"60 8 * * *":            "as of cron",
		"0 8 * * Someday":       "as of cron",
		"0 0 30 2 *":            "never comes",
	} {
		if _, err := ParseDigest(s); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// Whatever is given, nothing panics, and what is accepted comes round.
func FuzzSchedules(f *testing.F) {
	for _, s := range []string{"Mon-Fri 08:00-18:00 Europe/Berlin", "22:00-06:00", "0 8 * * Mon-Fri Europe/Berlin", "TZ=UTC 0 8 * * *", "TZ=", "40/h"} {
		f.Add(s)
	}
	at := time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		_, _, _ = ParseAtMost(s)
		_, _ = ParseDigest(s)
		a, err := ParseActive(s)
		if err != nil {
			return
		}
		next := a.Next(at)
		if !a.At(next) || next.Before(at) || next.After(at.Add(9*24*time.Hour)) {
			t.Errorf("%q: next is %s", s, next)
		}
	})
}
