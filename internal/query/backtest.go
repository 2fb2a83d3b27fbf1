package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"logscan/internal/echo"
	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/journal"
	"logscan/internal/lines"
	"logscan/internal/redact"
	"logscan/internal/rule"
	"logscan/internal/scan"
	"logscan/internal/shape"
	"logscan/internal/silence"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// BacktestConfig is what backtests need.
type BacktestConfig struct {
	Journals *journal.Dir
	Pool     *Pool  // of which backtests are queries
	Dir      string // where what a backtest finds is kept while it runs; made where it isn't there
	Bucket   rule.Bucket
	Echo     func([]byte, int64) echo.Rules // as scan.Config has it; may be nil
	Redact   *redact.Redactor               // what is told of lines
}

// BacktestQuery asks what a rule would have told.
type BacktestQuery struct {
	Rule         rule.Rule
	Against      *rule.Rule // what differs from this one is asked for too; nil: nothing
	Since, Until time.Time
	Workload     string // only its containers; "" for all that the rule is for
	Triggers     []trigger.Trigger
	Silences     []silence.Silence

	ends map[string]int64 // of a history: of the lines of each container
}

// wants reports whether a container's log may have lines that are asked for.
func (q *BacktestQuery) wants(i journal.Info) bool {
	return !i.LastLine.Before(q.Since) && (q.Workload == "" || i.Workload == q.Workload)
}

// Backtest is what a rule would have told of lines that are kept, if it had been there from
// the begin of the span, with nothing known before.
type Backtest struct {
	Since, Until time.Time // the span that was looked at
	Complete     bool      // it is all that was asked for
	Took         time.Duration
	Containers   []BacktestContainer // whose logs have lines of the span, or might have
	Lines        int64
	Counts       rule.Counts
	Hits         int64 // events
	Incidents    int64
	Notices      map[string]int64 // what of incidents would have been told, by kind
	Messages     map[string]int64 // by trigger's name; of those that would get any
	Hours        []BacktestHour   // in which there were hits, in order
	Shapes       []BacktestShape  // the most frequent first, MaxBacktestShapes at most
	Samples      []BacktestSample // the last ones, the newest first, MaxBacktestSamples at most
	Ignored      map[string]int64 // lines, by the pattern to ignore
	Warnings     []string
	Against      *BacktestDifference // where that was asked for

	told   []hit
	events []event.Event // of a history
}

// Bounds of what a backtest tells.
const (
	MaxBacktestShapes     = 20
	MaxBacktestSamples    = 20
	maxBacktestHits       = 20_000
	MaxHistory            = 5_000 // hits of a rule that are taken into the event log as history
	shownAround           = 5     // hits that have the lines around them
	linesAround           = 3     // before and after each
	maxBacktestIncidents  = 5_000
	maxBacktestContainers = 1_000
)

// BacktestContainer is how much of a container's log there was.
type BacktestContainer struct {
	Name, Workload string
	First, Last    time.Time // of its lines; zero without any
	Lines, Hits    int64
	Whole          bool  // it has all that was written in the span
	Unread         int64 // bytes that can't be read, or were removed meanwhile
}

// BacktestHour is what came in an hour.
type BacktestHour struct {
	At   time.Time
	Hits int64
}

// BacktestShape is hits of one shape.
type BacktestShape struct {
	Readable string
	Hits     int64
}

// BacktestSample is a hit.
type BacktestSample struct {
	At            time.Time
	Container     string
	Message       string
	Before, After []string // lines around it, of the last shownAround hits

	around *event.Around
}

var errTooManyHits = errors.New("query: too many hits")

// RunBacktest tells what a rule would have told and, where that is asked for, what differs
// from what another one would have. Each takes the time, and the bounds, of a backtest.
// ErrBusy asks to try again.
func RunBacktest(ctx context.Context, cfg BacktestConfig, q BacktestQuery) (Backtest, error) {
	leave, err := cfg.Pool.enter(false)
	if err != nil {
		return Backtest{}, err
	}
	defer leave()
	out, err := runBacktest(ctx, cfg, q)
	if err != nil || q.Against == nil {
		return out, err
	}
	other := q
	other.Rule = *q.Against
	if !out.Complete { // of the same time
		other.Until = out.Until
	}
	against, err := runBacktest(ctx, cfg, other)
	if err != nil {
		return Backtest{}, err
	}
	out.Complete = out.Complete && against.Complete
	out.Against = difference(&out, &against)
	return out, nil
}

// runBacktest runs the steps that run live, up to the messages that triggers would have
// been given, over lines that are kept. Where ctx ends, or there are too many hits, it says
// what there was by then, and isn't complete.
func runBacktest(ctx context.Context, cfg BacktestConfig, q BacktestQuery) (Backtest, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return Backtest{}, fmt.Errorf("backtest: %w", err)
	}
	dir, err := os.MkdirTemp(cfg.Dir, "run-")
	if err != nil {
		return Backtest{}, fmt.Errorf("backtest: %w", err)
	}
	defer os.RemoveAll(dir)
	b := backtest{query: q, now: q.Since, names: map[int64]string{}, hours: map[int64]int64{}, shapes: map[shape.Shape]*BacktestShape{}, containers: map[string]int64{}}
	if b.Store, err = store.OpenScratch(filepath.Join(dir, "backtest.db")); err != nil {
		return Backtest{}, fmt.Errorf("backtest: %w", err)
	}
	defer b.Store.Close()
	if err := b.prepare(ctx); err != nil {
		return Backtest{}, fmt.Errorf("backtest: %w", err)
	}
	r := q.Rule
	r.ID, r.State, r.Enabled, r.OverridesID, r.UpdatedAt = max(r.ID, 1), rule.On, true, 0, q.Since
	b.settings = r.Incidents()
	snapshot, bad := rule.Compile([]rule.Rule{r}, rule.WithBucket(cfg.Bucket), rule.WithRedactor(cfg.Redact))
	if len(bad) > 0 {
		return Backtest{}, bad[0]
	}
	began := time.Now()
	all, counts, err := scan.Replay(ctx, scan.ReplayConfig{
		Config: scan.Config{Journals: cfg.Journals, Store: &b, Route: b.router.Match, Echo: cfg.Echo, Bucket: cfg.Bucket, Redact: cfg.Redact},
		Rules:  snapshot, Since: q.Since, Until: q.Until,
		Wants: q.wants, Ends: q.ends,
		Clock: func(at time.Time) { b.now = at },
		Pass:  func(ctx context.Context, at time.Time) error { return b.Store.Pass(ctx, at, at) },
		Due:   b.Store.Due, Turn: cfg.Pool.turn,
	})
	b.out.Took = time.Since(began)
	b.out.Complete = err == nil
	if err != nil && !errors.Is(err, errTooManyHits) && ctx.Err() == nil {
		return Backtest{}, err
	}
	if errors.Is(ctx.Err(), context.Canceled) { // nobody wants to know
		return Backtest{}, ctx.Err()
	}
	b.out.Counts = counts[r.ID]
	if err := b.finish(context.WithoutCancel(ctx), all, errors.Is(err, errTooManyHits)); err != nil {
		return Backtest{}, fmt.Errorf("backtest: %w", err)
	}
	b.showContext(cfg)
	if matched := b.out.Counts.Hits + b.out.Counts.Cooldown + b.out.Counts.Bucket; b.out.Complete && b.out.Hits+matched == 0 {
		if err := b.sayWhyNothing(ctx, cfg, snapshot, &r); err != nil && ctx.Err() == nil {
			return Backtest{}, fmt.Errorf("backtest: %w", err)
		}
	}
	return b.out, nil
}

// backtest is a backtest under way: the store that scan.Replay commits to, and what that
// asks about incidents.
type backtest struct {
	*store.Store
	query      BacktestQuery
	now        time.Time
	settings   incident.Settings
	router     *trigger.Router
	silences   *silence.Set
	names      map[int64]string // of triggers, by their id in the store
	hours      map[int64]int64
	shapes     map[shape.Shape]*BacktestShape
	containers map[string]int64 // hits, by id
	out        Backtest
}

// Settings implements store.Incidents.
func (b *backtest) Settings(int64) incident.Settings { return b.settings }

// Policies implements store.Incidents.
func (b *backtest) Policies() []*trigger.Policy { return b.router.Policies() }

// Silenced implements store.Incidents.
func (b *backtest) Silenced(i *incident.Incident, at time.Time) int64 { return b.silences.By(i, at) }

// prepare puts the triggers into the store. Nothing is sent from there.
func (b *backtest) prepare(ctx context.Context) error {
	b.UseClock(func() time.Time { return b.now })
	b.router, b.silences = trigger.NewRouter(), silence.Compile(b.query.Silences)
	var all []trigger.Trigger
	for _, t := range b.query.Triggers {
		if !t.Enabled {
			continue
		}
		name := t.Name
		t.Digest = "" // it is about all rules
		t, err := b.CreateTrigger(ctx, t)
		if err != nil {
			return err
		}
		b.names[t.ID] = name
		all = append(all, t)
	}
	b.router.Set(all)
	b.UseIncidents(b)
	return nil
}

// Commit implements scan.Store, and notes the hits.
func (b *backtest) Commit(ctx context.Context, batch store.Batch, route func(event.Event) []int64) ([]event.Event, error) {
	events, err := b.Store.Commit(ctx, batch, route)
	if err != nil {
		return nil, err
	}
	for i := range events {
		b.hit(&events[i])
	}
	most := int64(maxBacktestHits)
	if b.query.ends != nil {
		b.out.events = append(b.out.events, events...)
		most = MaxHistory
	}
	if b.out.Hits > most {
		return events, errTooManyHits
	}
	return events, nil
}

// hit notes a hit.
func (b *backtest) hit(e *event.Event) {
	b.out.Hits++
	b.hours[e.Time.Truncate(time.Hour).Unix()]++
	name, _ := e.Metadata["container_name"].(string)
	if id, ok := e.Metadata["container_id"].(string); ok {
		b.containers[id]++
	}
	if b.query.Against != nil {
		b.out.told = append(b.out.told, hitOf(e))
	}
	k := shape.Of([]byte(e.Message))
	s := b.shapes[k]
	if s == nil && len(b.shapes) < maxShapes {
		s = &BacktestShape{Readable: cmp.Or(shape.Readable([]byte(e.Message), 200), e.Message)}
		b.shapes[k] = s
	}
	if s != nil {
		s.Hits++
	}
	b.out.Samples = append(b.out.Samples, BacktestSample{At: e.Time.UTC(), Container: name, Message: e.Message, around: e.Around})
	if len(b.out.Samples) > 2*MaxBacktestSamples {
		b.out.Samples = slices.Delete(b.out.Samples, 0, MaxBacktestSamples)
	}
}

// finish puts together what there was.
func (b *backtest) finish(ctx context.Context, all []scan.Replayed, tooMany bool) error {
	out := &b.out
	out.Since, out.Until = b.query.Since.UTC(), b.now.UTC()
	for _, c := range all {
		out.Lines += c.Lines
		if len(out.Containers) < maxBacktestContainers {
			out.Containers = append(out.Containers, BacktestContainer{
				Name: c.Name, Workload: c.Workload, First: c.First, Last: c.Last, Lines: c.Lines, Hits: b.containers[c.ID], Whole: c.Whole, Unread: c.Unread,
			})
		}
	}
	slices.SortStableFunc(out.Containers, func(x, y BacktestContainer) int {
		return cmp.Or(cmp.Compare(y.Hits, x.Hits), cmp.Compare(x.Name, y.Name))
	})
	out.Hours = hoursOf(b.hours)
	for _, s := range b.shapes {
		out.Shapes = append(out.Shapes, *s)
	}
	slices.SortFunc(out.Shapes, func(x, y BacktestShape) int {
		return cmp.Or(cmp.Compare(y.Hits, x.Hits), cmp.Compare(x.Readable, y.Readable))
	})
	out.Shapes = out.Shapes[:min(len(out.Shapes), MaxBacktestShapes)]
	out.Samples = latest(out.Samples)
	if err := b.told(ctx); err != nil {
		return err
	}
	b.warn(tooMany)
	return nil
}

// showContext has the last hits have the lines around them.
func (b *backtest) showContext(cfg BacktestConfig) {
	for i := range b.out.Samples[:min(len(b.out.Samples), shownAround)] {
		s := &b.out.Samples[i]
		if s.around == nil {
			continue
		}
		j, err := cfg.Journals.Acquire(s.around.Container)
		if err != nil {
			continue // it has been removed
		}
		around, err := lines.ReadAround(j, lines.Place{Stream: s.around.Stream, From: s.around.From, To: s.around.To, TimeNano: s.around.At}, lines.Surroundings{
			Before: linesAround, After: linesAround, Within: time.Minute, Bytes: 4 * rule.MaxText, Max: rule.MaxText, Last: true,
		})
		j.Release()
		if err != nil {
			continue // nor can it be read
		}
		shown := func(all []lines.Line) (out []string) {
			var texts [][]byte
			for i := range all {
				texts = append(texts, all[i].Text)
			}
			for _, text := range cfg.Redact.Lines(texts) {
				out = append(out, rule.Clip(text))
			}
			return out
		}
		s.Before, s.After = shown(around.Before), shown(around.After)
	}
}

// told counts incidents, what is to be said of them, and messages.
func (b *backtest) told(ctx context.Context) error {
	b.out.Notices, b.out.Messages = map[string]int64{}, map[string]int64{}
	for before := int64(0); b.out.Incidents < maxBacktestIncidents; {
		page, err := b.Incidents(ctx, store.IncidentFilter{Before: before})
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, i := range page {
			notices, err := b.Store.Notices(ctx, i.ID)
			if err != nil {
				return err
			}
			for _, n := range notices {
				b.out.Notices[string(n.Kind)]++
			}
		}
		b.out.Incidents += int64(len(page))
		before = page[len(page)-1].ID
	}
	for id, name := range b.names {
		for f := (store.DeliveryFilter{TriggerID: id, Limit: 1000}); ; {
			page, err := b.Deliveries(ctx, f)
			if err != nil {
				return err
			}
			if len(page) > 0 {
				b.out.Messages[name] += int64(len(page))
				f.Before = page[len(page)-1].ID
			}
			if len(page) < f.Limit {
				break
			}
		}
	}
	return nil
}

// warn says what somebody who makes such a rule would like to know.
func (b *backtest) warn(tooMany bool) {
	out := &b.out
	say := func(format string, args ...any) { out.Warnings = append(out.Warnings, fmt.Sprintf(format, args...)) }
	if tooMany {
		say("there are more than %d hits; no more were looked for", maxBacktestHits)
	}
	hours := max(out.Until.Sub(out.Since).Hours(), 1)
	for _, name := range slices.Sorted(maps.Keys(out.Messages)) {
		if n := out.Messages[name]; float64(n) > hours {
			say("%s would get more than a message an hour: %d in %.0f h", name, n, hours)
		}
	}
	if len(out.Shapes) > 0 && out.Hits >= 10 && out.Shapes[0].Hits*10 >= out.Hits*8 && len(b.shapes) > 1 {
		say("%d of %d hits are of one shape: %s", out.Shapes[0].Hits, out.Hits, out.Shapes[0].Readable)
	}
}
