package trigger

import (
	"fmt"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"logscan/internal/channel"
	"logscan/internal/event"
	"logscan/internal/incident"
)

// Filters are ANDed, and an empty one matches all.
func TestRouting(t *testing.T) {
	on := func(id int64, severities, sources, message string) Trigger {
		return Trigger{ID: id, Enabled: true, Mode: ModeEvents, Severities: event.Split[event.Severity](severities), Sources: event.Split[event.Source](sources), MessageRegex: message}
	}
	r := NewRouter()
	if ids := r.Match(event.Event{Severity: "error", Source: "logscan"}); ids != nil {
		t.Errorf("without triggers: %v", ids)
	}
	off := on(8, "", "", "")
	off.Enabled = false
	r.Set([]Trigger{
		on(1, "", "", ""),
		on(2, "error", "", ""),
		on(3, "warn,error", "logscan", ""),
		on(4, " info , warn ", "", ""),
		on(5, "", "system", ""),
		on(6, "", "", "(?i)memory$"),
		on(7, "error", "logscan", "^Out"),
		off,
		on(9, "", "", "(broken"),
		on(10, ",", ",", ""),
	})
	for _, tt := range []struct {
		severity, source, message string
		want                      []int64
	}{
		{"error", "logscan", "Out of Memory", []int64{1, 2, 3, 6, 7, 10}},
		{"error", "logscan", "disk full", []int64{1, 2, 3, 10}},
		{"warn", "logscan", "Out of memory", []int64{1, 3, 4, 6, 10}},
		{"info", "logscan", "", []int64{1, 4, 10}},
		{"error", "system", "Out of disk", []int64{1, 2, 5, 10}},
		{"warn", "system", "memory", []int64{1, 4, 5, 6, 10}},
		{"err", "log", "x", []int64{1, 10}},
	} {
		if got := r.Match(event.Event{Severity: event.Severity(tt.severity), Source: event.Source(tt.source), Message: tt.message}); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: got %v", tt, got)
		}
	}
	r.Set(nil)
	if ids := r.Match(event.Event{}); ids != nil {
		t.Errorf("after all have gone: %v", ids)
	}
	e := event.Event{Severity: "error", Source: "logscan", Message: "disk full"}
	for _, tt := range []struct {
		trigger Trigger
		want    string
	}{
		{on(1, "error", "logscan", "disk"), ""},
		{on(1, "warn", "system", "memory"), "severities"},
		{on(1, "", "system", "memory"), "sources"},
		{on(1, "", "", "memory"), "message_regex"},
	} {
		if got := tt.trigger.EventUnwantedBy(e); got != tt.want {
			t.Errorf("left out by %q, not %q", got, tt.want)
		}
	}
}

// A regular expression is compiled once, whatever else changes, and forgotten
// with its last trigger.
func TestRegexesAreKept(t *testing.T) {
	r := NewRouter()
	compiled := func() *regexp.Regexp { return (*r.filters.Load())[0].message }
	tr := Trigger{ID: 1, Enabled: true, Mode: ModeEvents, MessageRegex: "a+"}
	r.Set([]Trigger{tr})
	first := compiled()
	tr.Severities = []event.Severity{"warn"}
	r.Set([]Trigger{tr, {ID: 2, Enabled: true, Mode: ModeEvents, MessageRegex: "a+"}})
	if compiled() != first || (*r.filters.Load())[1].message != first {
		t.Error("compiled again")
	}
	tr.Mode, tr.ActionURL = ModeIncidents, "https://h/"
	r.Set([]Trigger{tr})
	if len(*r.filters.Load()) != 0 || len(r.Policies()) != 1 || r.Policies()[0].message != first {
		t.Error("one that is told of incidents compiles it again")
	}
	tr.Mode = ModeEvents
	tr.MessageRegex = "b"
	r.Set([]Trigger{tr})
	if compiled() == first || r.Match(event.Event{Message: "aa"}) != nil {
		t.Error("the old expression still counts")
	}
}

// Triggers may change while events are matched.
func TestRoutingConcurrently(t *testing.T) {
	r := NewRouter()
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for i := range 500 {
				r.Set([]Trigger{{ID: 1, Enabled: true, Mode: ModeEvents, MessageRegex: fmt.Sprint("x", i%7)}, {ID: 2, Enabled: n%2 == 0, Mode: ModeEvents}})
			}
		})
		wg.Go(func() {
			for range 500 {
				if ids := r.Match(event.Event{Message: "none"}); len(ids) > 1 || len(ids) == 1 && ids[0] != 2 {
					t.Errorf("matched %v", ids)
				}
			}
		})
	}
	wg.Wait()
}

// Buttons whose presses have to be asked for are in messages to services that can be
// asked, about what is open.
func TestPressesOfMessages(t *testing.T) {
	r := NewRouter()
	r.Presses = func(id int64, _ time.Time) []channel.Press {
		return []channel.Press{{Label: "Acknowledge", Data: fmt.Sprint(id)}}
	}
	to := func(id int64, url string) Trigger {
		trig := Fields.New()
		trig.ID, trig.ActionURL = id, url
		return trig
	}
	if bad := r.Set([]Trigger{to(1, "telegram://api.telegram.org/-100"), to(2, "ntfy://ntfy.sh/x"), to(3, "https://hooks.example.com/x")}); bad != nil {
		t.Fatal(bad)
	}
	i := trouble("error")
	for state, want := range map[incident.State][]int{incident.Open: {1, 0, 0}, incident.Acknowledged: {0, 0, 0}, incident.Snoozed: {0, 0, 0}, incident.Resolved: {0, 0, 0}} {
		i.State = state
		for k, p := range r.Policies() {
			got := p.Message("here", []Told{{Incident: i, Notice: incident.Notice{Kind: incident.NoticeOpened}}}, noon).Notices[0].Presses
			if len(got) != want[k] || len(got) == 1 && got[0].Data != "42" {
				t.Errorf("%s, trigger %d: %+v", state, p.ID, got)
			}
		}
	}
}
