package silence

import (
	"strings"
	"testing"
	"time"

	"logscan/internal/incident"
)

func of(rule, workload, container string) *incident.Incident {
	return &incident.Incident{ID: 7, Key: incident.Key{RuleID: 1, Workload: workload, Shape: "fp1:00"}, Rule: rule, Severity: "error", Labels: map[string]string{"com.example.team": "db", "empty": ""}, Container: container, Readable: "disk <num> full"}
}

func TestMatchers(t *testing.T) {
	i := of("pg-disk", "shop/db", "shop-db-1")
	for s, want := range map[string]bool{
		"rule=pg-disk": true, "rule=pg": false, "rule=pg-*": true, "rule!=pg-*": false, "rule!=x": true, "workload=shop/*": true, "workload=*": true,
		"workload ~ shop/(db|web)": true, "workload~shop": false, "container=shop-db-1": true, "severity=error": true, "severity!=error": false,
		"shape=fp1:00": true, "shape=disk*": true, "shape!=disk*": false, "incident=7": true, "incident=8": false,
		"label.com.example.team=db": true, "label.com.example.team!=db": false, "label.com.example.team~d.": true, "label.team=*": false, "label.team!=x": true, "label.empty=": true,
	} {
		m, err := ParseMatcher(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		now := time.Now()
		set := Compile([]Silence{{ID: 3, Matchers: []Matcher{m}, Starts: now, Ends: now.Add(time.Hour)}})
		if got := set.By(i, now) == 3; got != want {
			t.Errorf("%s: %v", s, got)
		}
		if again, err := ParseMatcher(m.String()); err != nil || again != m {
			t.Errorf("%s: %v, %v", s, again, err)
		}
	}
	for _, s := range []string{"", "rule", "=x", "rul=x", "rule~(", "rule~" + strings.Repeat("a", 501), "rule!x", "label.=x", "label=x"} {
		if m, err := ParseMatcher(s); err == nil {
			t.Errorf("%q is taken as %+v", s, m)
		}
	}
}

func TestWhen(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	day := func(d, h, m int) time.Time { return time.Date(2026, 3, d, h, m, 0, 0, berlin) }
	nightly := Silence{Starts: day(1, 0, 0), Ends: day(31, 0, 0), Cron: "0 3 * * *", For: time.Hour, Zone: "Europe/Berlin"}
	once := Silence{Starts: day(1, 0, 0), Ends: day(2, 0, 0)}
	for _, c := range []struct {
		s    Silence
		at   time.Time
		want bool
	}{
		{once, day(1, 0, 0), true}, {once, day(1, 23, 59), true}, {once, day(2, 0, 0), false}, {once, day(1, 0, 0).Add(-1), false},
		{nightly, day(5, 2, 59), false}, {nightly, day(5, 3, 0), true}, {nightly, day(5, 3, 59), true}, {nightly, day(5, 4, 0), false},
		{nightly, day(29, 3, 30), true}, // the clock went from 2 to 3 that night
	} {
		c.s.ID, c.s.Matchers = 1, []Matcher{{"rule", Is, "*"}}
		if err := c.s.Validate(day(1, 0, 0)); err != nil {
			t.Fatal(err)
		}
		if got := Compile([]Silence{c.s}).By(of("r", "w", "c"), c.at) == 1; got != c.want {
			t.Errorf("%s %s: %v", c.s.Cron, c.at, got)
		}
	}
}

func TestRefused(t *testing.T) {
	now := time.Now()
	good := Silence{Matchers: []Matcher{{"rule", Is, "x"}}, Starts: now, Ends: now.Add(time.Hour)}
	for what, change := range map[string]func(*Silence){
		"at least one matcher":  func(s *Silence) { s.Matchers = nil },
		"needs an end":          func(s *Silence) { s.Ends = time.Time{} },
		"end after it starts":   func(s *Silence) { s.Starts = s.Ends },
		"is past":               func(s *Silence) { s.Starts, s.Ends = now.Add(-2*time.Hour), now.Add(-time.Hour) },
		"within a year":         func(s *Silence) { s.Ends = now.AddDate(2, 0, 0) },
		"no field":              func(s *Silence) { s.Matchers[0].Field = "host" },
		"no operator":           func(s *Silence) { s.Matchers[0].Op = "=~" },
		"regular expression":    func(s *Silence) { s.Matchers[0] = Matcher{"rule", Matches, "("} },
		"not a cron expression": func(s *Silence) { s.Cron, s.For = "* * *", time.Hour },
		"never comes":           func(s *Silence) { s.Cron, s.For = "0 3 30 2 *", time.Hour },
		"of five fields":        func(s *Silence) { s.Cron, s.For = "TZ=", time.Hour },
		"how long it holds":     func(s *Silence) { s.Cron = "0 3 * * *" },
		"no time zone":          func(s *Silence) { s.Cron, s.For, s.Zone = "0 3 * * *", time.Hour, "Mars/Olympus" },
		"belong to a cron":      func(s *Silence) { s.For = time.Hour },
		"at most 16 matchers":   func(s *Silence) { s.Matchers = make([]Matcher, 17) },
	} {
		s := good
		s.Matchers = append([]Matcher{}, good.Matchers...)
		change(&s)
		if err := s.Validate(now); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := good.Validate(now); err != nil {
		t.Error(err)
	}
}

func TestUntil(t *testing.T) {
	zone := time.FixedZone("here", 3600)
	now := time.Date(2026, 11, 27, 9, 30, 0, 0, zone) // a Friday
	for s, want := range map[string]string{
		"90m": "2026-11-27T11:00:00+01:00", "2d": "2026-11-29T09:30:00+01:00", "1w": "2026-12-04T09:30:00+01:00", "1.5d": "2026-11-28T21:30:00+01:00",
		"08:00": "2026-11-28T08:00:00+01:00", "10:00": "2026-11-27T10:00:00+01:00", "9:30": "2026-11-28T09:30:00+01:00", "monday": "2026-11-30T00:00:00+01:00",
		"Fri": "2026-12-04T00:00:00+01:00", "tomorrow": "2026-11-28T00:00:00+01:00", "2026-12-01": "2026-12-01T00:00:00+01:00",
		"2026-12-01 08:15": "2026-12-01T08:15:00+01:00", "2026-12-01T08:15:00Z": "2026-12-01T08:15:00Z",
	} {
		if got, err := Until(s, now); err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%s: %v, %v", s, got.Format(time.RFC3339), err)
		}
	}
	for _, s := range []string{"", "0s", "-1h", "soon", "25:00", "xd", "1e9d", "1d2h"} {
		if got, err := Until(s, now); err == nil {
			t.Errorf("%s: %v", s, got)
		}
	}
}
