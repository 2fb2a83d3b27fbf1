package trigger

import (
	"strings"
	"testing"
	"time"

	"logscan/internal/schedule"
)

func instant(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
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
		a, err := schedule.ParseHours(s)
		if err != nil {
			return
		}
		next := a.Next(at)
		if !a.At(next) || next.Before(at) || next.After(at.Add(9*24*time.Hour)) {
			t.Errorf("%q: next is %s", s, next)
		}
	})
}
