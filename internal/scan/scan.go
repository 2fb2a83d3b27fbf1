package scan

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/store"
)

// Store is what keeps cursors and events. It must be safe concurrently; its
// calls may take their time and fail.
type Store interface {
	Commit(ctx context.Context, b store.Batch, route func(store.Event) []int64) ([]store.Event, error)
	Cursor(ctx context.Context, containerID string) (store.Cursor, bool, error)
	Cursors(ctx context.Context) ([]store.Cursor, error)
	DeleteCursor(ctx context.Context, containerID string) error
}

// Config is a Scanner's. Journals and Store are required.
type Config struct {
	Journals    *journal.Dir
	Store       Store
	Route       func(store.Event) []int64          // triggers that an event is for; nil: none
	Echo        func(text []byte, nano int64) bool // tells lines that repeat what logscan itself has sent; nil: none
	Logger      *slog.Logger
	Workers     int           // containers scanned at once; 2
	MaxLine     int           // bytes of a line that are evaluated; 1 MiB
	CommitEvery time.Duration // hits this soon after a commit wait for others to share the next; 5 ms
	FlushAfter  time.Duration // an unfinished line that hasn't grown is evaluated; 10 s
}

// cursorEvery is how often a cursor is stored that no hit takes along.
const cursorEvery = time.Second

// cursorWait is how long cursors wait for others, or for a hit, to share a
// commit: there is a disk's flush in each.
const cursorWait = 500 * time.Millisecond

// offEvery is how many ticks a container without scanning is left alone.
const offEvery = 60

// Scanner scans journals. Its methods are safe concurrently.
type Scanner struct {
	cfg       Config
	log       *slog.Logger
	tick      time.Duration
	snapshot  atomic.Pointer[rule.Snapshot] // nil until there are rules to go by: lines wait
	followers sync.Map                      // container id → *follower
	queue     queue
	commits   *committer
	stopping  atomic.Bool
	counters  counters

	ruleMu sync.Mutex // guards rules
	rules  map[int64]rule.Counts
}

type counters struct {
	lines, hits, cooldown, bucket, overflow, echoes, malformed, skipped atomic.Int64
}

// Stats are counted since New.
type Stats struct {
	Lines      int64 // read
	Hits       int64
	Suppressed int64 // Cooldown and Bucket together
	Cooldown   int64 // matches held back by a cooldown
	Bucket     int64 // matches held back by a container's token bucket
	Overflow   int64 // lines of which only the first Config.MaxLine bytes were evaluated
	Echoes     int64 // lines that match, but repeat what logscan has sent
	Malformed  int64 // entries that could not be decoded
	Skipped    int64 // bytes that the journal no longer had
	Waiting    int   // events not yet committed
	Failing    bool  // the store refuses them
}

// New returns a scanner. It may be notified at once; it scans in Run, once it
// has a snapshot.
func New(cfg Config) *Scanner {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	def := func(n *int, d int) {
		if *n <= 0 {
			*n = d
		}
	}
	def(&cfg.Workers, 2)
	def(&cfg.MaxLine, 1<<20)
	if cfg.CommitEvery <= 0 {
		cfg.CommitEvery = 5 * time.Millisecond
	}
	if cfg.Echo == nil {
		cfg.Echo = func([]byte, int64) bool { return false }
	}
	if cfg.FlushAfter <= 0 {
		cfg.FlushAfter = 10 * time.Second
	}
	s := &Scanner{cfg: cfg, log: cfg.Logger, tick: time.Second, rules: map[int64]rule.Counts{}}
	s.queue.some.L = &s.queue.mu
	s.commits = newCommitter(cfg)
	return s
}

// SetSnapshot makes rules the ones that hold for all lines written from now
// on. Lines written before wait for the first snapshot.
func (s *Scanner) SetSnapshot(rules *rule.Snapshot) {
	s.snapshot.Store(rules)
	s.ruleMu.Lock()
	for id := range s.rules {
		if !rules.Known(id) {
			delete(s.rules, id)
		}
	}
	s.ruleMu.Unlock()
	s.notifyAll(func(*follower) bool { return true })
}

// Notify says that a container's journal has grown or an attachment has ended.
// It is quick and never waits.
func (s *Scanner) Notify(containerID string) {
	for {
		v, ok := s.followers.Load(containerID)
		if !ok {
			v, _ = s.followers.LoadOrStore(containerID, s.newFollower(containerID))
		}
		f := v.(*follower)
		if f.off.Load() || s.notify(f) {
			return
		}
		s.followers.CompareAndDelete(containerID, f)
	}
}

func (s *Scanner) notifyAll(which func(*follower) bool) {
	s.followers.Range(func(_, v any) bool {
		if f := v.(*follower); which(f) {
			s.notify(f)
		}
		return true
	})
}

// Run scans until ctx ends, then commits what is done; that takes no longer
// than a few seconds. It is called once.
func (s *Scanner) Run(ctx context.Context) error {
	var workers, committing sync.WaitGroup
	committing.Go(s.commits.run)
	for range s.cfg.Workers {
		workers.Go(s.work)
	}
	for _, id := range s.cfg.Journals.IDs() {
		s.Notify(id)
	}
	listed := s.notifyKnown(ctx)
	tick := time.NewTicker(s.tick)
	defer tick.Stop()
	for n := 1; ctx.Err() == nil; n++ {
		select {
		case <-ctx.Done():
		case <-tick.C:
			s.look(n%offEvery == 0)
			listed = listed || s.notifyKnown(ctx)
		}
	}
	s.stopping.Store(true)
	s.queue.close()
	s.commits.close()
	workers.Wait()
	s.followers.Range(func(_, v any) bool {
		f := v.(*follower)
		if f.owed && !f.replaying() {
			s.submit(f, nil)
		}
		s.closeJournal(f)
		return true
	})
	s.commits.finish()
	committing.Wait()
	return ctx.Err()
}

// notifyKnown notifies all that have a cursor, so that those without a journal
// lose it.
func (s *Scanner) notifyKnown(ctx context.Context) bool {
	cursors, err := s.cfg.Store.Cursors(ctx)
	if err != nil {
		s.log.Warn("cursors not read; trying again", "err", err)
		return false
	}
	for _, c := range cursors {
		s.Notify(c.ContainerID)
	}
	return true
}

// look gives a turn to those that have something to do without new lines, and
// to those whose journal has gone.
func (s *Scanner) look(off bool) {
	kept := map[string]bool{}
	for _, id := range s.cfg.Journals.IDs() {
		kept[id] = true
	}
	s.notifyAll(func(f *follower) bool {
		if !f.off.Load() {
			return f.attend.Load() || !kept[f.id]
		}
		if off && f.state.CompareAndSwap(idle, dead) {
			s.followers.CompareAndDelete(f.id, f) // the next one looks whether that is still so
		}
		return false
	})
}

// Stats returns what was counted.
func (s *Scanner) Stats() Stats {
	c := &s.counters
	st := Stats{
		Lines: c.lines.Load(), Hits: c.hits.Load(), Cooldown: c.cooldown.Load(), Bucket: c.bucket.Load(),
		Overflow: c.overflow.Load(), Echoes: c.echoes.Load(), Malformed: c.malformed.Load(), Skipped: c.skipped.Load(),
		Waiting: s.commits.waiting(), Failing: s.commits.fails.Load(),
	}
	st.Suppressed = st.Cooldown + st.Bucket
	return st
}

// RuleStats returns the matches of each rule that has any, by what became of
// them.
func (s *Scanner) RuleStats() map[int64]rule.Counts {
	s.ruleMu.Lock()
	defer s.ruleMu.Unlock()
	out := make(map[int64]rule.Counts, len(s.rules))
	for id, c := range s.rules {
		out[id] = c
	}
	return out
}

func (s *Scanner) count(byRule map[int64]rule.Counts) {
	if byRule == nil {
		return
	}
	s.ruleMu.Lock()
	defer s.ruleMu.Unlock()
	for id, n := range byRule {
		c := s.rules[id]
		c.Hits, c.Cooldown, c.Bucket = c.Hits+n.Hits, c.Cooldown+n.Cooldown, c.Bucket+n.Bucket
		s.rules[id] = c
		s.counters.hits.Add(n.Hits)
		s.counters.cooldown.Add(n.Cooldown)
		s.counters.bucket.Add(n.Bucket)
	}
}

// Lag returns the bytes of log not yet evaluated, of each container that has
// any.
func (s *Scanner) Lag() map[string]int64 {
	lag := map[string]int64{}
	s.followers.Range(func(_, v any) bool {
		f := v.(*follower)
		if f.off.Load() || f.state.Load() == idle && !f.attend.Load() && s.snapshot.Load() != nil {
			return true
		}
		j, err := s.cfg.Journals.Acquire(f.id)
		if err != nil {
			return true
		}
		defer j.Release()
		first, end := j.Bounds()
		if n := end - max(first, f.done.Load()); n > 0 && j.Container().Scan {
			lag[f.id] = n
		}
		return true
	})
	return lag
}

// Finished reports whether every line of a container has been evaluated, and
// what that gave is stored. Of a container that isn't scanned, it has.
func (s *Scanner) Finished(containerID string) bool {
	j, err := s.cfg.Journals.Acquire(containerID)
	if err != nil {
		return err == journal.ErrNotFound
	}
	defer j.Release()
	if !j.Container().Scan {
		return true
	}
	var done int64 // a restart would begin to read here
	if f, ok := s.followers.Load(containerID); ok {
		done = f.(*follower).hold.Load()
	}
	_, end := j.Bounds()
	return done >= end
}
