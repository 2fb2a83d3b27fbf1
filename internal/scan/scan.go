package scan

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"logscan/internal/correlate"
	"logscan/internal/echo"
	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/redact"
	"logscan/internal/rule"
	"logscan/internal/store"
)

// Store is what keeps cursors and events. It must be safe concurrently; its
// calls may take their time and fail.
type Store interface {
	Commit(ctx context.Context, b store.Batch, route func(event.Event) []int64) ([]event.Event, error)
	Cursor(ctx context.Context, containerID string) (store.Cursor, bool, error)
	Cursors(ctx context.Context) ([]store.Cursor, error)
	DeleteCursor(ctx context.Context, containerID string) error
	Begins(ctx context.Context, containerID string) (map[int64]int64, error)
	Correlated(ctx context.Context) (rows []correlate.Row, revision int64, err error)
	OwedContexts(ctx context.Context, after int64, limit int) ([]store.Owed, error)
	PutContexts(ctx context.Context, all []store.Context) error
	RunsHeard(ctx context.Context) (map[string]int64, error)
	PutLastWords(ctx context.Context, all []store.LastWords) error
}

// Config is a Scanner's. Journals and Store are required.
type Config struct {
	Journals *journal.Dir
	Store    Store
	Route    func(event.Event) []int64 // triggers that an event is for; nil: none
	// Echo returns the rules from which a line is hidden because it repeats what
	// logscan has sent about them; nil: none.
	Echo func(text []byte, nano int64) echo.Rules
	// Declare sees to what a container declares, before its lines are evaluated: once for
	// each of its starts, and again until it succeeds; nil: nothing. It may take its time,
	// and call SetWorkload.
	Declare     func(*journal.Container) error
	Ready       func() bool      // whether it is known which containers run; nil: it is
	Bucket      rule.Bucket      // bounds the hits of a rule that adds matches up; none where it is zero
	Redact      *redact.Redactor // keys of rules; nil: they are told as they are
	Logger      *slog.Logger
	Workers     int           // containers scanned at once; 2
	MaxLine     int           // bytes of a line that are evaluated; 1 MiB
	CommitEvery time.Duration // hits this soon after a commit wait for others to share the next; 5 ms
	FlushAfter  time.Duration // an unfinished line that hasn't grown is evaluated; 10 s
	RecordAfter time.Duration // a record that may go on is evaluated no sooner, where nothing is written; as package lines has it
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
	now       func() time.Time
	awaited   atomic.Pointer[[]int64]       // see Await
	snapshot  atomic.Pointer[rule.Snapshot] // nil until there are rules to go by: lines wait
	followers sync.Map                      // container id → *follower
	queue     queue
	commits   *committer
	contexts  contexts
	words     words
	listed    atomic.Bool // there is a follower of each journal that there was before
	stopping  atomic.Bool
	seeders   sync.WaitGroup
	counters  counters

	ruleMu  sync.Mutex // guards the rest
	rules   map[int64]rule.Counts
	ignored map[rule.Ignored]int64
	gaveUp  map[int64]string // container in which a rule last gave up a line
}

type counters struct {
	lines, hits, cooldown, bucket, givenUp, unconfirmed, overflow, echoes, malformed, skipped atomic.Int64
}

// Stats are counted since New.
type Stats struct {
	Lines       int64 // read
	Hits        int64
	Suppressed  int64 // Cooldown and Bucket together
	Cooldown    int64 // matches held back by a cooldown
	Bucket      int64 // matches held back by a container's token bucket
	GivenUp     int64 // rules times lines that it takes too much work to check
	Unconfirmed int64 // matches that package regexp doesn't see
	Overflow    int64 // lines of which only the first Config.MaxLine bytes were evaluated
	Echoes      int64 // lines that match rules from which they are hidden, since they repeat what logscan has sent
	Malformed   int64 // entries that could not be decoded
	Skipped     int64 // bytes that the journal no longer had
	Waiting     int   // events not yet committed
	Failing     bool  // they can't be, for now
	Refused     int64 // hits that the store refused for what they hold; an event tells of each
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
		cfg.Echo = func([]byte, int64) echo.Rules { return 0 }
	}
	if cfg.Ready == nil {
		cfg.Ready = func() bool { return true }
	}
	if cfg.FlushAfter <= 0 {
		cfg.FlushAfter = 10 * time.Second
	}
	s := &Scanner{cfg: cfg, log: cfg.Logger, tick: time.Second, now: time.Now, rules: map[int64]rule.Counts{}, ignored: map[rule.Ignored]int64{}, gaveUp: map[int64]string{}}
	s.queue.some.L = &s.queue.mu
	s.queue.most = max(cfg.Workers-1, 1)
	s.commits = newCommitter(cfg, s)
	s.contexts = contexts{scanner: s, wake: make(chan struct{}, 1), open: map[string]*journal.Journal{}}
	s.words = words{scanner: s, wake: make(chan struct{}, 1), ended: map[string]struct{}{}}
	return s
}

// SetSnapshot makes rules the ones that hold for all lines written from now
// on. Lines written before wait for the first snapshot.
func (s *Scanner) SetSnapshot(rules *rule.Snapshot) {
	s.snapshot.Store(rules)
	s.ruleMu.Lock()
	for id := range s.rules {
		if id != 0 && !rules.Known(id) {
			delete(s.rules, id)
			delete(s.gaveUp, id)
		}
	}
	maps.DeleteFunc(s.ignored, func(by rule.Ignored, _ int64) bool { return !rules.Ignores(by) })
	s.ruleMu.Unlock()
	s.notifyAll(func(*follower) bool { return true })
	signal(s.commits.wake) // for what rules add up
}

// SetWorkload is SetSnapshot for rules that differ from those so far in what a workload
// has apart: nothing is done about other containers.
func (s *Scanner) SetWorkload(rules *rule.Snapshot, workload string) {
	before := s.snapshot.Load()
	if before == nil {
		s.SetSnapshot(rules)
		return
	}
	s.snapshot.Store(rules)
	gone := func(id int64) bool { return before.KnownApart(workload, id) && !rules.KnownApart(workload, id) }
	s.ruleMu.Lock()
	maps.DeleteFunc(s.rules, func(id int64, _ rule.Counts) bool { return gone(id) })
	maps.DeleteFunc(s.gaveUp, func(id int64, _ string) bool { return gone(id) })
	maps.DeleteFunc(s.ignored, func(by rule.Ignored, _ int64) bool {
		return before.KnownApart(workload, by.Rule) && !rules.Ignores(by)
	})
	s.ruleMu.Unlock()
	s.notifyAll(func(f *follower) bool {
		where := f.where.Load()
		return where != nil && where.Workload == workload
	})
	if !rules.SumsAs(before) {
		signal(s.commits.wake)
	}
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
	for _, id := range s.cfg.Journals.IDs() { // before any is ahead of others
		s.Notify(id)
	}
	s.listed.Store(true)
	var workers, committing sync.WaitGroup
	committing.Go(s.commits.run)
	workers.Go(func() { s.contexts.run(ctx) })
	workers.Go(func() { s.words.run(ctx) })
	for range s.cfg.Workers {
		workers.Go(s.work)
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
		if f.owed && !f.src.Replaying() {
			s.submit(f, nil)
		}
		s.closeJournal(f)
		return true
	})
	s.commits.finish()
	committing.Wait()
	s.seeders.Wait()
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
	kept := s.cfg.Journals.IDs() // in order
	s.notifyAll(func(f *follower) bool {
		if !f.off.Load() {
			_, found := slices.BinarySearch(kept, f.id)
			return f.wantsTick.Load() || !found
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
		GivenUp: c.givenUp.Load(), Unconfirmed: c.unconfirmed.Load(), Overflow: c.overflow.Load(), Echoes: c.echoes.Load(), Malformed: c.malformed.Load(), Skipped: c.skipped.Load(),
		Waiting: s.commits.waiting(), Failing: s.commits.failing.Load(), Refused: s.commits.refused.Load(),
	}
	st.Suppressed = st.Cooldown + st.Bucket
	return st
}

// RuleStats returns the matches of each rule that has any, by what became of
// them, and what rule 0 stands for.
func (s *Scanner) RuleStats() map[int64]rule.Counts {
	s.ruleMu.Lock()
	defer s.ruleMu.Unlock()
	out := make(map[int64]rule.Counts, len(s.rules))
	for id, c := range s.rules {
		out[id] = c
	}
	return out
}

// Ignored returns how many lines were no matches, for each pattern to ignore that rules
// have now.
func (s *Scanner) Ignored() map[rule.Ignored]int64 {
	s.ruleMu.Lock()
	defer s.ruleMu.Unlock()
	return maps.Clone(s.ignored)
}

func (s *Scanner) countIgnored(lines map[rule.Ignored]int64) {
	if lines == nil {
		return
	}
	s.ruleMu.Lock()
	defer s.ruleMu.Unlock()
	for by, n := range lines {
		s.ignored[by] += n
	}
}

// GaveUp returns the container in which each rule last gave up a line, of the
// rules that have.
func (s *Scanner) GaveUp() map[int64]string {
	s.ruleMu.Lock()
	defer s.ruleMu.Unlock()
	return maps.Clone(s.gaveUp)
}

func (s *Scanner) count(container string, byRule map[int64]rule.Counts) {
	if byRule == nil {
		return
	}
	s.ruleMu.Lock()
	defer s.ruleMu.Unlock()
	for id, n := range byRule {
		c := s.rules[id]
		c.Add(n)
		s.rules[id] = c
		if n.GivenUp > 0 {
			s.gaveUp[id] = container
		}
		s.counters.hits.Add(n.Hits)
		s.counters.cooldown.Add(n.Cooldown)
		s.counters.bucket.Add(n.Bucket)
		s.counters.givenUp.Add(n.GivenUp)
		s.counters.unconfirmed.Add(n.Unconfirmed)
	}
}

// Lag returns the bytes of log not yet evaluated, of each container that has
// any.
func (s *Scanner) Lag() map[string]int64 {
	lag := map[string]int64{}
	s.followers.Range(func(_, v any) bool {
		f := v.(*follower)
		if f.off.Load() || f.state.Load() == idle && !f.wantsTick.Load() && s.snapshot.Load() != nil {
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

// Watermark returns the time up to which everything that the journals hold is
// evaluated, and what that gave is stored: now, where nothing waits. It is zero
// until there are rules, and while a container's first lines are evaluated.
func (s *Scanner) Watermark() time.Time {
	if s.snapshot.Load() == nil {
		return time.Time{}
	}
	w := min(s.evaluated(nil), s.commits.upTo()) // behind the followers: what they give waits there
	if w <= 0 {
		return time.Time{}
	}
	return time.Unix(0, w)
}

// evaluated returns the time up to which everything that the journals hold is evaluated,
// in nanoseconds, and tells each, where it isn't nil, of each container that of its lines,
// and of the first one that is, but of which what it gave waits there; 0 for none. What the
// others gave is with the committer.
func (s *Scanner) evaluated(each func(f *follower, upTo, waitsFrom int64)) (all int64) {
	now := s.now().UnixNano()
	all = now
	s.followers.Range(func(_, v any) bool {
		f := v.(*follower)
		state := f.state.Load()
		if f.off.Load() || state == dead {
			return true
		}
		w := now
		if read := f.upTo.Load(); state != idle || read == 0 && !f.stuck.Load() {
			w = min(w, read)
		}
		from := f.waitsFrom.Load()
		if each != nil {
			each(f, w, from)
		}
		if all = min(all, w); from != 0 {
			all = min(all, from)
		}
		return true
	})
	return all
}

// Pass has time do what it does to rules that wait for something.
func (s *Scanner) Pass() { s.commits.pass() }

// Tick is to be called each second: by a longer pause it is known that this process, or
// the machine, stood still.
func (s *Scanner) Tick() { s.commits.look(true) }

// Stood says that for so long, up to now, nothing was evaluated and containers may not
// have been able to write: what was to come is waited for so much longer.
func (s *Scanner) Stood(d time.Duration) { s.commits.paused(d) }

// Echoes returns how many lines of each container were hidden from rules that
// they match because they repeat what logscan has sent; of those that have any.
func (s *Scanner) Echoes() map[string]int64 {
	echoes := map[string]int64{}
	s.followers.Range(func(_, v any) bool {
		f := v.(*follower)
		if n := f.echoes.Load(); n > 0 {
			echoes[f.id] = n
		}
		return true
	})
	return echoes
}

// Finished reports whether every line of a container has been evaluated, and its last run
// judged, and what that gave is stored. Of a container that isn't scanned, it has.
func (s *Scanner) Finished(containerID string) bool {
	j, err := s.cfg.Journals.Acquire(containerID)
	if err != nil {
		return err == journal.ErrNotFound
	}
	defer j.Release()
	if !j.Container().Scan {
		return true
	}
	var done, ended int64 // a restart would begin to read here
	if f, ok := s.followers.Load(containerID); ok {
		done, ended = f.(*follower).hold.Load(), f.(*follower).ended.Load()
	}
	if snapshot := s.snapshot.Load(); snapshot != nil && snapshot.Runs() {
		if runs, _ := j.Runs(); len(runs) > 0 && runs[len(runs)-1].N > ended {
			return false // it is still to be judged
		}
	}
	first, end := j.Bounds()
	return max(done, first) >= end
}
