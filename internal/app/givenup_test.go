package app

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"logscan/internal/entry"
	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/scan"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// Rules that give up lines are told of: at once, and not again within an hour.
func TestGivenUpIsTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	log := slog.New(slog.DiscardHandler)
	var scanner *scan.Scanner
	journals, err := journal.OpenDir(journal.Config{Root: t.TempDir(), OnAppend: func(id string) { scanner.Notify(id) }})
	if err != nil {
		t.Fatal(err)
	}
	defer journals.Close()
	db, err := store.Open(t.TempDir()+"/logscan.db", log)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.CreateRule(ctx, rule.Rule{Name: "dear", Pattern: `(a?){1000}.*bcd`, Severity: "warn", Streams: "all", Enabled: true}); err != nil {
		t.Fatal(err)
	}
	s := &scanning{store: db, router: trigger.NewRouter(), log: log, journals: journals}
	scanner = scan.New(scan.Config{Journals: journals, Store: db})
	s.scanner = scanner
	s.worker = trigger.NewWorker(trigger.WorkerConfig{Store: db, Route: s.router.Match, Logger: log})
	if err := s.reload(ctx); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { scanner.Run(ctx) })
	defer running.Wait()
	defer cancel()

	j, err := journals.Create(journal.Container{ID: strings.Repeat("a", 64), Name: "hostile", Workload: "shop", Scan: true, Options: journal.DefaultOptions})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Release()
	a := j.Attach(false)
	defer a.Detach()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	lines := int64(0)
	write := func() {
		t.Helper()
		frame := entry.Append(nil, &entry.Entry{Source: "stdout", TimeNano: 1e18, Line: []byte(strings.Repeat("a", 16_000) + "bcd")})
		if _, err := out.Write(frame); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Ingest(int(in.Fd()), len(frame)); err != nil {
			t.Fatal(err)
		}
		lines++
		for end := time.Now().Add(time.Minute); scanner.RuleStats()[1].GivenUp < lines; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%+v", scanner.RuleStats())
			}
		}
	}
	told, now := map[int64]givenUp{}, time.Now()
	events := func(want int) []event.Event {
		t.Helper()
		if err := s.tellGivenUp(ctx, now, told); err != nil {
			t.Fatal(err)
		}
		got, err := db.Events(ctx, store.EventFilter{Source: event.System})
		if err != nil || len(got) != want {
			t.Fatalf("%d events, want %d: %+v, %v", len(got), want, got, err)
		}
		return got
	}
	events(0)
	write()
	e := events(1)[0]
	if e.Metadata["container_name"] != "hostile" || !strings.Contains(e.Message, "dear 1×") {
		t.Errorf("%+v", e)
	}
	write()
	write()
	now = now.Add(givenUpEvery / 2)
	events(1)
	now = now.Add(givenUpEvery / 2)
	if all := events(2); !strings.Contains(all[0].Message+all[1].Message, "dear 2×") {
		t.Errorf("%+v", all)
	}
	now = now.Add(givenUpEvery)
	events(2)
}
