package app

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/store"
	"logscan/internal/supervisor"
	"logscan/internal/trigger"
)

func TestScanDelay(t *testing.T) {
	for n, want := range map[int]time.Duration{
		0: 0, startsTried: 0, startsTried + 1: scanDelayMin, startsTried + 3: 4 * scanDelayMin, 100: scanDelayMax, 1 << 40: scanDelayMax,
	} {
		if got := scanDelay(supervisor.Status{InARow: n}); got != want {
			t.Errorf("after %d: %s instead of %s", n, got, want)
		}
	}
}

// A crash loop is told of by whichever worker lives long enough, and doesn't fill
// the event log.
func TestRestartEvents(t *testing.T) {
	for _, first := range []int{1, 2, 3, 100} { // the first worker that could tell
		ctx := context.Background()
		db, err := store.Open(t.TempDir()+"/logscan.db", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		s := &scanning{store: db, router: trigger.NewRouter()}
		const before = 7 // restarts that belong to no loop
		want := 0
		for n := first; n <= 300; n++ {
			w := supervisor.Status{Restarts: before + n, InARow: n, Exits: []supervisor.Exit{{Why: "exit status 2"}}}
			if err := s.tellRestart(ctx, w); err != nil {
				t.Fatal(err)
			}
		}
		for n := first; n <= 300; n *= 2 {
			want++
		}
		events, err := db.Events(ctx, store.EventFilter{})
		if err != nil || len(events) != want {
			t.Errorf("from %d on: %d events instead of %d, %v", first, len(events), want, err)
		}
		for _, ev := range events {
			if !strings.Contains(ev.Message, "exit status 2") || ev.Source != event.System {
				t.Errorf("%+v", ev)
			}
		}
		// Others in a row, later, are news again.
		if err := s.tellRestart(ctx, supervisor.Status{Restarts: before + 301, InARow: 1, Exits: []supervisor.Exit{{Why: "exit status 2"}}}); err != nil {
			t.Fatal(err)
		}
		if events, _ := db.Events(ctx, store.EventFilter{}); len(events) != want+1 {
			t.Errorf("%d events instead of %d", len(events), want+1)
		}
	}
}

// Two processes never work in one directory, and the second goes on once the
// first has ended.
func TestLockData(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	unlock := lockData(context.Background(), dir, log)
	ctx, cancel := context.WithCancel(context.Background())
	second := make(chan func())
	go func() { second <- lockData(context.Background(), dir, log) }()
	third := make(chan func())
	go func() { third <- lockData(ctx, dir, log) }()
	cancel()
	(<-third)() // told to stop, it doesn't wait
	select {
	case <-second:
		t.Fatal("two have the lock")
	default:
	}
	unlock()
	(<-second)()
	lockData(context.Background(), dir+"/missing", log)() // no lock is no reason not to carry lines
}
