package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"logscan/internal/age"
	"logscan/internal/api"
	"logscan/internal/echo"
	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/press"
	"logscan/internal/query"
	"logscan/internal/redact"
	"logscan/internal/rule"
	"logscan/internal/rule/match"
	"logscan/internal/scan"
	"logscan/internal/store"
	"logscan/internal/suggestion"
	"logscan/internal/supervisor"
	"logscan/internal/trigger"
)

// pruneEvery is how often events beyond the settings' age and count are
// removed.
const pruneEvery = time.Minute

// storeAgain is how soon what the store refused is tried again.
const storeAgain = time.Second

// lastWords is how long the end of the process may wait for the store to take
// what has not been told yet.
const lastWords = 2 * time.Second

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
	scanner   *scan.Scanner
	store     *store.Store
	router    *trigger.Router
	incidents incidents
	labelled  labelled
	worker    *trigger.Worker
	asker     *press.Asker // nil where messages have links
	bucket    rule.Bucket
	redactor  *redact.Redactor
	echo      func(text []byte, nano int64) echo.Rules
	log       *slog.Logger

	journals *journal.Dir
	losses   *lossQueue
	settings func() []string // those ignored, and why

	snapshot atomic.Pointer[rule.Snapshot]
	leftOut  atomic.Pointer[[]rule.CompileError]
	unusable atomic.Pointer[[]trigger.Unusable]
	wrong    atomic.Pointer[string] // why the files that are mounted aren't applied; nil: they are
	noticed  chan struct{}          // holds a token when notices may have changed
	owed     chan struct{}          // holds a token when histories may be owed
	backtest query.BacktestConfig

	asked    atomic.Uint64 // calls of reload
	loading  sync.Mutex    // held while rules are compiled; guards the rest
	loaded   uint64        // calls of reload that are done with
	loadErr  error         // of the latest
	patterns rule.Patterns
	stats    *match.Stats // nil without lines
	sampled  time.Time
}

type scanningConfig struct {
	cfg      Config
	log      *slog.Logger
	journals *journal.Dir
	losses   *lossQueue
	current  *atomic.Pointer[scanning]
	control  *apiServer
	api      api.Config // without what needs the database
	queries  *query.Pool
	searcher *query.Searcher
	from     Inherited
	ready    func() bool // what was attached is attached again
}

// runScanning opens the database, however long that takes, then scans and
// delivers until ctx ends, and has the API serve all of it.
func runScanning(ctx context.Context, c scanningConfig) error {
	if d := scanDelay(c.from.Worker); d > 0 {
		c.log.Error("logscan keeps ending soon after its start; lines are carried, and scanned later", "in_a_row", c.from.Worker.InARow, "why", c.from.Worker.Last().Why, "later", d)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(d):
		}
	}
	db, err := openStore(ctx, c.cfg.database(), c.log, c.control.setDatabase)
	if err != nil {
		return err
	}
	defer db.Close()

	s := &scanning{
		store: db, router: trigger.NewRouter(), log: c.log,
		bucket:   rule.Bucket{Burst: c.cfg.BucketBurst, Refill: c.cfg.BucketRefill},
		redactor: c.cfg.Redact,
		journals: c.journals, losses: c.losses, settings: c.control.settings,
		noticed: make(chan struct{}, 1), owed: make(chan struct{}, 1),
	}
	key, kept := openKey(filepath.Join(c.cfg.DataDir, "mark.key"), c.log)
	if kept {
		db.UseKey(key.Derive("secrets"))
	}
	marks := marker{key, s.snapshot.Load}
	actionKey := marks.key.Derive("actions")
	s.echo = marks.key.Verify
	s.router.Actions = links(c.cfg.URL, actionKey)
	s.incidents.router = s.router
	if c.cfg.URL == "" {
		s.router.Presses = presses(actionKey)
		s.asker = press.New(press.Config{Store: db, Key: actionKey, Targets: c.cfg.Targets, Logger: c.log})
	}
	db.UseIncidents(&s.incidents)
	db.UseWorkloads(func() map[string]time.Time { return lastLines(c.journals) })
	s.scanner = scan.New(scan.Config{Journals: c.journals, Store: db, Route: s.router.Match, Echo: s.echo, Ready: c.ready, Declare: func(c *journal.Container) error { return s.declare(ctx, c) }, Bucket: s.bucket, Redact: c.cfg.Redact, Logger: c.log})
	s.worker = trigger.NewWorker(trigger.WorkerConfig{Store: db, Route: s.router.Match, Mark: marks.mark, Logger: c.log, Targets: c.cfg.Targets})
	s.backtest = query.BacktestConfig{Journals: c.journals, Pool: c.queries, Dir: filepath.Join(c.cfg.DataDir, "backtests"), Bucket: s.bucket, Echo: s.echo, Redact: c.cfg.Redact}
	_ = os.RemoveAll(s.backtest.Dir) // of one during which the process was killed
	for said := false; ; {
		err := s.reload(ctx)
		if err == nil {
			err = c.control.tokens.Load(ctx, db)
		}
		if err == nil {
			break
		} else if !said {
			c.log.Error("rules, triggers and tokens not read yet", "err", err)
			said = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
	full := c.api
	full.Store, full.Scanner, full.Rules, full.Worker, full.Reload = db, s.scanner, s, s.worker, s.reload
	full.ActionKey, full.Redact = actionKey, c.cfg.Redact
	why := query.WhyConfig{Store: db, Bucket: s.bucket, Echo: s.echo, Redact: c.cfg.Redact, Lag: s.scanner.Lag}
	full.Why = func(ctx context.Context, q query.WhyQuery) (query.Why, error) { return c.searcher.Why(ctx, why, q) }
	full.WhyRule = func(ctx context.Context, q query.WhyRuleQuery) (query.RuleWhy, error) {
		return c.searcher.WhyRule(ctx, why, q)
	}
	full.Backtest = func(ctx context.Context, q query.BacktestQuery) (query.Backtest, error) {
		return query.RunBacktest(ctx, s.backtest, q)
	}
	full.Suggest = func(ctx context.Context, q suggestion.Query) (suggestion.List, error) {
		return suggestion.Find(ctx, c.journals, full.Backtest, q)
	}
	full.Degraded = func() []api.Reason { return append(c.control.reasons(), s.reasons()...) }
	c.control.use(api.New(full))
	c.control.setDatabase(nil)
	defer func() { // requests in flight end with ctx
		c.control.setDatabase(errors.New("the plugin is stopping"))
		c.control.use(api.New(c.api))
	}()
	c.current.Store(s)
	defer c.current.Store(nil)
	if err := s.tellRestart(ctx, c.from.Worker); err != nil {
		c.log.Error("event about the worker's end not kept", "err", err)
	}

	var wg sync.WaitGroup
	wg.Go(func() { s.scanner.Run(ctx) })
	wg.Go(func() { s.worker.Run(ctx) })
	wg.Go(func() { s.passTime(ctx) })
	wg.Go(func() { s.findHistories(ctx) })
	wg.Go(func() { s.watchFiles(ctx, files{dir: c.cfg.ConfigDir, checkTarget: c.api.CheckTarget}) })
	if s.asker != nil {
		wg.Go(func() { s.asker.Run(ctx) })
	}
	wg.Go(func() { s.keepHouse(ctx, c.cfg) })
	wg.Wait()
	return nil
}

// tellRestart puts into the event log why there is a new worker, if that is news.
func (s *scanning) tellRestart(ctx context.Context, w supervisor.Status) error {
	told, err := restartsTold(ctx, s.store, w)
	if err != nil {
		return err
	}
	ev, notable := restartEvent(w, told)
	if !notable {
		return nil
	}
	_, err = s.store.Commit(ctx, store.Batch{Events: []event.Event{ev}}, s.router.Match)
	return err
}

// openStore retries until it succeeds: with a full disk, say, lines are carried
// and served meanwhile, and scanned afterwards.
func openStore(ctx context.Context, path string, log *slog.Logger, tell func(error)) (*store.Store, error) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		db, err := store.Open(path, log)
		if err == nil {
			return db, nil
		}
		tell(err)
		log.Error("database not open; lines are kept and will be scanned once it is", "err", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// reload makes the stored rules and triggers the live ones: all those there were
// when it was called. Calls that come while rules are compiled share the next
// round, so that a storm of changes costs few.
func (s *scanning) reload(ctx context.Context) error {
	n := s.asked.Add(1)
	s.loading.Lock()
	defer s.loading.Unlock()
	if s.loaded >= n {
		return s.loadErr
	}
	upTo := s.asked.Load()
	if s.stats == nil || time.Since(s.sampled) > sampleEvery {
		s.sampleLocked()
	}
	s.loadErr = s.load(ctx)
	s.loaded = upTo
	return s.loadErr
}

// reloadIfFailed tries again to make live what is stored.
func (s *scanning) reloadIfFailed(ctx context.Context) {
	s.loading.Lock()
	failed := s.loadErr != nil
	s.loading.Unlock()
	if !failed {
		return
	}
	if err := s.reload(ctx); err != nil {
		s.log.Error("rules and triggers still not live", "err", err)
	}
}

// retrain makes the matcher for the lines that come now, if they have become
// others than those it was made for. It never changes what matches.
func (s *scanning) retrain(ctx context.Context) {
	s.loading.Lock()
	defer s.loading.Unlock()
	if snapshot := s.snapshot.Load(); snapshot == nil || time.Since(s.sampled) < retrainEvery || !snapshot.Drifted() {
		return
	}
	s.sampleLocked()
	if err := s.load(ctx); err != nil {
		s.log.Error("matcher not made anew; the old one goes on", "err", err)
	}
}

func (s *scanning) sampleLocked() {
	s.stats, s.sampled = match.Learn(sample(s.journals, sampleSize)), time.Now()
}

// load is reload's work; s.loading is held.
func (s *scanning) load(ctx context.Context) error {
	rules, err := s.store.Rules(ctx)
	if err != nil {
		return fmt.Errorf("read rules: %w", err)
	}
	triggers, err := s.store.Triggers(ctx)
	if err != nil {
		return fmt.Errorf("read triggers: %w", err)
	}
	silences, err := s.store.Silences(ctx)
	if err != nil {
		return fmt.Errorf("read silences: %w", err)
	}
	owed, err := s.store.Histories(ctx)
	if err != nil {
		return fmt.Errorf("read which histories are owed: %w", err)
	}
	s.incidents.load(rules, silences)
	others, labelled := byLabels(rules)
	snapshot, bad := rule.Compile(others, rule.WithBucket(s.bucket), rule.WithStats(s.stats), rule.WithPatterns(&s.patterns), rule.WithRedactor(s.redactor), rule.WithApart(labelled, s.snapshot.Load()))
	unusable := s.router.Set(triggers)
	names := make([]string, len(triggers))
	for i, t := range triggers {
		names[i] = t.Name
	}
	s.labelled.triggers.Store(&names)
	if s.asker != nil {
		s.asker.Set(triggers)
	}
	s.snapshot.Store(snapshot)
	s.awaitHistories(owed)
	s.scanner.SetSnapshot(snapshot)
	s.leftOut.Store(&bad)
	s.unusable.Store(&unusable)
	s.tellNotices()
	return nil
}

// tellNotices has notices be looked at.
func (s *scanning) tellNotices() {
	select {
	case s.noticed <- struct{}{}:
	default:
	}
}

// Effective returns the live rules of a workload.
func (s *scanning) Effective(workload string) []rule.Rule {
	return s.snapshot.Load().For(workload).Rules()
}

// LeftOut returns the enabled rules that are not in use.
func (s *scanning) LeftOut() []rule.CompileError { return *s.leftOut.Load() }

// reasons are what is wrong with the open database, rules and triggers.
func (s *scanning) reasons() []api.Reason {
	var out []api.Reason
	if st := s.scanner.Stats(); st.Failing {
		out = append(out, api.Reason{Reason: "database", Detail: fmt.Sprintf("it refuses %d hits, which wait; the plugin's log says why", st.Waiting)})
	}
	if bad := *s.leftOut.Load(); len(bad) > 0 {
		out = append(out, api.Reason{Reason: "rules", Detail: fmt.Sprintf("%d enabled rules are not in use, the first: %v", len(bad), bad[0])})
	}
	if bad := *s.unusable.Load(); len(bad) > 0 {
		out = append(out, api.Reason{Reason: "triggers", Detail: fmt.Sprintf("%d enabled triggers get no events, the first: %s: %s", len(bad), bad[0].Name, bad[0].Reason)})
	}
	if wrong := s.wrong.Load(); wrong != nil {
		out = append(out, api.Reason{Reason: "config", Detail: "the files of " + configMount + " are not applied: " + *wrong})
	}
	return out
}

// keepHouse turns losses and what is wrong with settings and rules into events,
// and keeps the event log within its bounds.
func (s *scanning) keepHouse(ctx context.Context, cfg Config) {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	told, gaveUp := s.recall(ctx), map[int64]givenUp{}
	var clock age.Clock
	go clock.Watch(ctx) // from here on it notices steps
	for {
		again := time.Duration(0)
		if err := s.tell(ctx, told); err != nil && ctx.Err() == nil {
			s.log.Error("notices not kept; trying again", "err", err)
			again = storeAgain
		}
		if next := s.tellLosses(ctx, time.Now()); !next.IsZero() && (again == 0 || time.Until(next) < again) {
			again = max(time.Until(next), time.Millisecond)
		}
		var timer <-chan time.Time
		if again > 0 {
			timer = time.After(again)
		}
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
			defer cancel()
			s.losses.hurry()
			s.tellLosses(last, time.Now())
			return
		case <-timer:
		case <-s.noticed:
			s.lookAtLabels(ctx)
		case <-s.losses.wake:
		case <-tick.C:
			if err := s.pruneEvents(ctx, cfg, clock.Now()); err != nil && ctx.Err() == nil {
				s.log.Error("event retention", "err", err)
			}
			if err := s.tellSilences(ctx, time.Now()); err != nil && ctx.Err() == nil {
				s.log.Error("what silences held back is not told yet", "err", err)
			}
			s.reloadIfFailed(ctx)
			s.lookAtLabels(ctx)
			if err := s.tellGivenUp(ctx, time.Now(), gaveUp); err != nil && ctx.Err() == nil {
				s.log.Error("event about rules that gave up lines not kept; trying again", "err", err)
			}
			s.retrain(ctx)
		}
	}
}

// lookAtLabels has what labels say be in effect that changed without a container's start.
func (s *scanning) lookAtLabels(ctx context.Context) {
	if err := s.settleLabels(ctx); err != nil && ctx.Err() == nil {
		s.log.Error("what containers' labels say isn't in effect yet; trying again", "err", err)
	}
}

// tellLosses stores events about losses, and returns when to call again.
func (s *scanning) tellLosses(ctx context.Context, now time.Time) (next time.Time) {
	next, err := s.tryTellLosses(ctx, now)
	if err == nil {
		return next
	}
	if ctx.Err() == nil {
		s.log.Error("events about lost lines not kept; trying again", "err", err)
	}
	return now.Add(storeAgain)
}

func (s *scanning) tryTellLosses(ctx context.Context, now time.Time) (next time.Time, err error) {
	if err := s.settleLosses(ctx); err != nil {
		return next, err
	}
	batch, sums, next := s.losses.take(now)
	if len(sums) == 0 {
		return next, nil
	}
	var events []event.Event
	for k, sum := range sums {
		c, _ := s.journals.Container(k.Container)
		events = append(events, lossEvent(batch, k, sum, c))
	}
	if _, err := s.store.Commit(ctx, store.Batch{Events: events}, s.router.Match); err != nil {
		return next, err
	}
	return s.losses.wasTold(now, next, sums), nil
}

// settleLosses finds out what became of a batch whose commit failed, or whose
// process was killed: its events are stored, all of them, or none is.
func (s *scanning) settleLosses(ctx context.Context) error {
	batch := s.losses.Batch()
	if batch == 0 {
		return nil
	}
	events, err := s.store.Events(ctx, store.EventFilter{Source: event.System}) // the newest: the clock may have been set back since
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.Metadata[batchKey] == fmt.Sprint(batch) {
			s.losses.Told()
			return nil
		}
	}
	s.losses.PutBack()
	return nil
}
