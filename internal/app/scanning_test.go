package app

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/scan"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// The matcher is made anew for other lines, with the same rules, and no more
// often than it may.
func TestRetrain(t *testing.T) {
	ctx := context.Background()
	journals, err := journal.OpenDir(journal.Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer journals.Close()
	log := slog.New(slog.DiscardHandler)
	db, err := store.Open(t.TempDir()+"/logscan.db", log)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	r, err := db.CreateRule(ctx, rule.Rule{Name: "a", Pattern: `failed to (open|close) file \d+`, Severity: "warn", Streams: "all", Enabled: true})
	if err != nil {
		t.Fatal(err)
	}
	s := &scanning{store: db, router: trigger.NewRouter(), log: log, journals: journals}
	s.scanner = scan.New(scan.Config{Journals: journals, Store: db})
	s.worker = trigger.NewWorker(trigger.WorkerConfig{Store: db, Route: s.router.Match, Logger: log})
	if err := s.reload(ctx); err != nil {
		t.Fatal(err)
	}
	first := s.snapshot
	expect := func(what string, changed bool) {
		t.Helper()
		if s.retrain(ctx); changed != (s.snapshot != first) {
			t.Errorf("%s: made anew: %v", what, !changed)
		}
	}
	line := rule.Line{Stream: "stdout", Text: []byte("failed to open file, failed to close file, failed to open file")}
	var st rule.State
	for range 60_000 {
		first.For("").Eval(&st, line, nil)
	}
	expect("too soon", false)
	s.sampled = time.Now().Add(-retrainEvery - time.Second)
	expect("other lines", true)
	if got := s.snapshot.For("").Rules(); len(got) != 1 || got[0].ID != r.ID {
		t.Errorf("rules %v", got)
	}
	first = s.snapshot
	s.sampled = time.Now().Add(-retrainEvery - time.Second)
	expect("nothing new", false)
}
