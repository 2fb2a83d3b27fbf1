package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"logscan/internal/api"
	"logscan/internal/ingest"
	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/rule/match"
	"logscan/internal/scan"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// pruneEvery is how often events beyond the settings' age and count are
// removed.
const pruneEvery = time.Minute

const (
	// sampleSize is how many bytes of lines the matcher is made for.
	sampleSize = 512 << 10
	// sampleEvery is how long a sample is good for, unless lines cost too much.
	sampleEvery = time.Hour
	// retrainEvery is how often the matcher is made anew for other lines.
	retrainEvery = 10 * time.Minute
)

// scanning is all that reads the journal and needs the database.
type scanning struct {
	scanner  *scan.Scanner
	store    *store.Store
	router   *trigger.Router
	worker   *trigger.Worker
	bucket   rule.Bucket
	journals *journal.Dir
	log      *slog.Logger

	mu       sync.Mutex // guards the rest: one reload at a time
	snapshot *rule.Snapshot
	stats    *match.Stats // nil without lines
	sampled  time.Time
}

type scanningConfig struct {
	cfg      Config
	log      *slog.Logger
	journals *journal.Dir
	ingest   *ingest.Ingest
	losses   *lossQueue
	current  *atomic.Pointer[scanning]
	control  net.Listener
}

// runScanning opens the database, however long that takes, and scans, delivers
// and serves the control socket until ctx ends.
func runScanning(ctx context.Context, c scanningConfig) error {
	defer c.control.Close()
	db, err := openStore(ctx, filepath.Join(c.cfg.DataDir, "logscan.db"), c.log)
	if err != nil {
		return err
	}
	defer db.Close()

	s := &scanning{
		store: db, router: trigger.NewRouter(), log: c.log,
		bucket:   rule.Bucket{Burst: c.cfg.BucketBurst, Refill: c.cfg.BucketRefill},
		journals: c.journals,
	}
	s.scanner = scan.New(scan.Config{Journals: c.journals, Store: db, Route: s.router.Match, Logger: c.log})
	s.worker = trigger.NewWorker(trigger.WorkerConfig{Store: db, Route: s.router.Match, Logger: c.log, AllowTargets: c.cfg.AllowTargets})
	if err := s.reload(ctx); err != nil {
		c.log.Error("rules and triggers", "err", err)
	}
	handler := api.New(api.Config{
		Store: db, Scanner: s.scanner, Ingest: c.ingest, Journals: c.journals,
		Reload:      s.reload,
		CheckTarget: func(url string) error { return trigger.CheckTarget(url, c.cfg.AllowTargets) },
		Version:     c.cfg.Version,
		Logger:      c.log,
	})
	c.current.Store(s)

	var wg sync.WaitGroup
	wg.Go(func() { s.scanner.Run(ctx) })
	wg.Go(func() { s.worker.Run(ctx) })
	wg.Go(func() { s.keepHouse(ctx, c.cfg, c.losses) })
	wg.Go(func() { serveControl(ctx, c.control, handler, c.log) })
	wg.Wait()
	c.current.Store(nil)
	return nil
}

// openStore retries until it succeeds: with a full disk, say, lines are carried
// and served meanwhile, and scanned afterwards.
func openStore(ctx context.Context, path string, log *slog.Logger) (*store.Store, error) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		db, err := store.Open(path, log)
		if err == nil {
			return db, nil
		}
		log.Error("database not open; lines are kept and will be scanned once it is", "err", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// reload makes the stored rules and triggers the live ones.
func (s *scanning) reload(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stats == nil || time.Since(s.sampled) > sampleEvery {
		s.sampleLocked()
	}
	return s.reloadLocked(ctx)
}

// retrain makes the matcher for the lines that come now, if they have become
// others than those it was made for. It never changes what matches.
func (s *scanning) retrain(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.snapshot == nil || time.Since(s.sampled) < retrainEvery || !s.snapshot.Drifted() {
		return
	}
	s.sampleLocked()
	if err := s.reloadLocked(ctx); err != nil {
		s.log.Error("matcher not made anew; the old one goes on", "err", err)
	}
}

func (s *scanning) sampleLocked() {
	s.stats, s.sampled = match.Learn(scan.Sample(s.journals, sampleSize)), time.Now()
}

func (s *scanning) reloadLocked(ctx context.Context) error {
	rules, err := s.store.Rules(ctx)
	if err != nil {
		return fmt.Errorf("read rules: %w", err)
	}
	triggers, err := s.store.Triggers(ctx)
	if err != nil {
		return fmt.Errorf("read triggers: %w", err)
	}
	snapshot, bad := rule.Compile(rules, rule.WithBucket(s.bucket), rule.WithStats(s.stats))
	for _, b := range bad {
		s.log.Error("rule left out: it does not compile", "rule", b.Name, "reason", b.Reason)
	}
	s.router.Set(triggers)
	s.snapshot = snapshot
	s.scanner.SetSnapshot(snapshot)
	s.worker.Wake()
	return nil
}

// keepHouse turns losses into events and keeps the event log within its bounds.
func (s *scanning) keepHouse(ctx context.Context, cfg Config, losses *lossQueue) {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case ev := <-losses.c:
			if _, err := s.store.Commit(ctx, store.Batch{Events: []store.Event{ev}}, s.router.Match); err != nil {
				s.log.Error("event about lost lines not kept", "err", err)
			}
			s.worker.Wake()
		case <-tick.C:
			if err := s.store.Prune(ctx, cfg.EventsMax, cfg.EventsAge); err != nil {
				s.log.Error("event retention", "err", err)
			}
			s.retrain(ctx)
		}
	}
}

func serveControl(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx }, // live streams end with us
	}
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if srv.Shutdown(grace) != nil {
			srv.Close()
		}
	})
	defer stop()
	if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		log.Error("control socket", "err", err)
	}
}
