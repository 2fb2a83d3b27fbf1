package trigger

import (
	"fmt"
	"regexp"
	"slices"
	"sync"
	"testing"

	"logscan/internal/store"
)

// Filters are ANDed, and an empty one matches all.
func TestRouting(t *testing.T) {
	on := func(id int64, severities, sources, message string) store.Trigger {
		return store.Trigger{ID: id, Enabled: true, Severities: severities, Sources: sources, MessageRegex: message}
	}
	r := NewRouter()
	if ids := r.Match(store.Event{Severity: "error", Source: "logscan"}); ids != nil {
		t.Errorf("without triggers: %v", ids)
	}
	off := on(8, "", "", "")
	off.Enabled = false
	r.Set([]store.Trigger{
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
		if got := r.Match(store.Event{Severity: tt.severity, Source: tt.source, Message: tt.message}); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: got %v", tt, got)
		}
	}
	r.Set(nil)
	if ids := r.Match(store.Event{}); ids != nil {
		t.Errorf("after all have gone: %v", ids)
	}
}

// A regular expression is compiled once, whatever else changes, and forgotten
// with its last trigger.
func TestRegexesAreKept(t *testing.T) {
	r := NewRouter()
	compiled := func() *regexp.Regexp { return (*r.filters.Load())[0].message }
	tr := store.Trigger{ID: 1, Enabled: true, MessageRegex: "a+"}
	r.Set([]store.Trigger{tr})
	first := compiled()
	tr.Severities = "warn"
	r.Set([]store.Trigger{tr, {ID: 2, Enabled: true, MessageRegex: "a+"}})
	if compiled() != first || (*r.filters.Load())[1].message != first {
		t.Error("compiled again")
	}
	tr.MessageRegex = "b"
	r.Set([]store.Trigger{tr})
	if compiled() == first || r.Match(store.Event{Message: "aa"}) != nil {
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
				r.Set([]store.Trigger{{ID: 1, Enabled: true, MessageRegex: fmt.Sprint("x", i%7)}, {ID: 2, Enabled: n%2 == 0}})
			}
		})
		wg.Go(func() {
			for range 500 {
				if ids := r.Match(store.Event{Message: "none"}); len(ids) > 1 || len(ids) == 1 && ids[0] != 2 {
					t.Errorf("matched %v", ids)
				}
			}
		})
	}
	wg.Wait()
}
