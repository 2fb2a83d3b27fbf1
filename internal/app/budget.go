package app

import (
	"context"
	"path/filepath"
	"time"

	"logscan/internal/store"
)

// Of the disk budget, the database may take a quarter: beyond that, the oldest events
// go before any line does. What it takes all the same, because events wait for their
// delivery say, it takes from the logs' share, but never more than half of the budget.
const (
	eventsShare   = 4
	databaseShare = 2
)

// database is the path of the database's file.
func (c Config) database() string { return filepath.Join(c.DataDir, "logscan.db") }

// besideLogs returns how many bytes of the disk budget the logs may not take.
func (c Config) besideLogs() int64 {
	return min(store.Size(c.database()), c.DiskBudget/databaseShare)
}

// pruneEvents keeps the event log within its bounds, and has the database give back
// the space that isn't needed any more.
func (s *scanning) pruneEvents(ctx context.Context, cfg Config, now time.Time) error {
	var oldest time.Time
	if cfg.EventsAge > 0 {
		oldest = now.Add(-cfg.EventsAge)
	}
	if err := s.store.Prune(ctx, cfg.EventsMax, oldest); err != nil {
		return err
	}
	if cfg.DiskBudget > 0 {
		if err := s.store.PruneToSize(ctx, cfg.DiskBudget/eventsShare); err != nil {
			return err
		}
	}
	return s.store.GiveBack(ctx)
}
