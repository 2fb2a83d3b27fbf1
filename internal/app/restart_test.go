package app

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"logscan/internal/supervisor"
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

// A crash loop is told of, and doesn't fill the event log.
func TestRestartEvents(t *testing.T) {
	told := 0
	for n := range 1001 {
		st := supervisor.Status{Restarts: n, InARow: n, Exits: []supervisor.Exit{{Why: "exit status 2"}}}
		if ev, ok := restartEvent(st); ok {
			told++
			if !strings.Contains(ev.Message, "exit status 2") || ev.Metadata["in_a_row"] != n {
				t.Errorf("%+v", ev)
			}
		}
	}
	if told != 10 { // 1, 2, 4 … 512
		t.Errorf("%d events about 1000 ends", told)
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
