package app

import (
	"os"
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/store"
)

// The database counts into the disk budget. It gives way before the logs do, and
// leaves them half of it whatever it takes.
func TestDatabaseInTheBudget(t *testing.T) {
	cfg := Config{DataDir: t.TempDir(), DiskBudget: 80 << 20, EventsMax: 1_000_000}
	if n := cfg.besideLogs(); n != 0 {
		t.Errorf("no database takes %d bytes", n)
	}
	db, err := store.Open(cfg.database(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	events := make([]event.Event, 1000)
	for i := range events {
		events[i] = event.Event{Source: event.System, Severity: event.Info, Message: strings.Repeat("event ", 300)}
	}
	for range 20 {
		if _, err := db.Commit(t.Context(), store.Batch{Events: events}, nil); err != nil {
			t.Fatal(err)
		}
	}
	s := &scanning{store: db}
	if err := s.pruneEvents(t.Context(), cfg, time.Now()); err != nil {
		t.Fatal(err)
	}
	left, err := db.Events(t.Context(), store.EventFilter{Limit: 1_000_000})
	if err != nil || len(left) == 20_000 || len(left) < 5000 || left[0].ID != 20_000 {
		t.Errorf("%d events are left, %v", len(left), err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if n := cfg.besideLogs(); n == 0 || n != store.Size(cfg.database()) || n > cfg.DiskBudget/eventsShare+8<<20 {
		t.Errorf("the database takes %d bytes of the budget", n)
	}
	for _, suffix := range []string{"", "-wal"} {
		if err := os.WriteFile(cfg.database()+suffix, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(cfg.database()+suffix, 30<<20); err != nil {
			t.Fatal(err)
		}
	}
	if n := cfg.besideLogs(); n != 40<<20 {
		t.Errorf("a huge database takes %d bytes of the budget", n)
	}
}
