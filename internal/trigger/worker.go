package trigger

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	mrand "math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"logscan/internal/mark"
	"logscan/internal/store"
)

const (
	keepTrying  = 24 * time.Hour   // how long a delivery is retried
	firstWait   = time.Second      // after the first failure, then twice as long each time
	longestWait = 5 * time.Minute  // up to this
	patience    = 5                // failures after which a later delivery may show that the receiver is well
	startGrace  = time.Hour        // what a delivery that is overdue at start has left
	reportEvery = 10 * time.Minute // at most one event about a trigger's dead deliveries in this time
	storeWait   = time.Second      // after an error of the store
	stopGrace   = 2 * time.Second  // what an attempt has left when the worker is stopped
)

// Outbox is the part of the store that delivery sees. By design there is no way
// in it to write an event but ReportDead, whose events are of source system and
// never go to the trigger they are about.
type Outbox interface {
	Outbox() <-chan struct{}
	Trigger(ctx context.Context, id int64) (store.Trigger, error)
	Undelivered(ctx context.Context) ([]int64, error)
	NextDelivery(ctx context.Context, triggerID, seq int64, now time.Time) (store.Delivery, store.Event, bool, error)
	NextOvertaken(ctx context.Context, triggerID int64, now time.Time) (time.Time, error)
	RecordAttempts(ctx context.Context, ds ...store.Delivery) error
	Overtake(ctx context.Context, id string) error
	Unreported(ctx context.Context) ([]int64, error)
	ReportDead(ctx context.Context, triggerID int64, route func(store.Event) []int64) error
}

// WorkerConfig is what a worker needs; Store is required.
type WorkerConfig struct {
	Store        Outbox
	Route        func(store.Event) []int64 // for events about dead deliveries (Router.Match); nil: they are only kept
	Marks        *mark.Marker              // for what is sent; nil: it goes unmarked
	Logger       *slog.Logger
	AllowTargets []string      // exact hosts and CIDRs that the target guard lets pass
	Timeout      time.Duration // of an attempt; default 10 s
	Resolver     *net.Resolver // default: the system's
	Now          func() time.Time
	After        func(time.Duration) <-chan time.Time
}

// Stats are counted from the worker's start.
type Stats struct {
	Delivered int64 // deliveries that the receiver has
	Failed    int64 // attempts that will be repeated
	Dead      int64 // deliveries given up
}

// Worker delivers what the outbox holds.
type Worker struct {
	WorkerConfig
	sender *sender
	wake   chan struct{}

	delivered, failed, dead atomic.Int64
}

// NewWorker returns a worker at rest.
func NewWorker(c WorkerConfig) *Worker {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.After == nil {
		c.After = time.After
	}
	g, bad := newGuard(c.AllowTargets, c.Resolver)
	for _, b := range bad {
		c.Logger.Warn("allowed target ignored: neither a host nor a CIDR", "target", b)
	}
	return &Worker{
		WorkerConfig: c,
		sender:       newSender(g, cmp.Or(c.Timeout, defaultTimeout), c.Now),
		wake:         make(chan struct{}, 1),
	}
}

// Wake makes the worker look at the outbox now. The store wakes it for what
// goes through the store.
func (w *Worker) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Stats returns the counters.
func (w *Worker) Stats() Stats {
	return Stats{Delivered: w.delivered.Load(), Failed: w.failed.Load(), Dead: w.dead.Load()}
}

// TestResult is what a test delivery came to.
type TestResult struct {
	Status  int // of the answer; 0 for none
	Latency time.Duration
	Error   string // "" where the receiver took it
}

// Test sends a made-up event, marked as a test, to a trigger's URL, once and
// now. It has all that the event of a hit always has. The trigger need not be stored or enabled.
func (w *Worker) Test(ctx context.Context, t store.Trigger) (TestResult, error) {
	now := w.Now().UTC()
	body, err := newPayload(store.Event{
		Source: store.SourceLogscan, Severity: "info", Message: "This is a test of the trigger " + t.Name,
		Metadata: map[string]any{
			"workload_id": "test", "container_id": strings.Repeat("0", 64), "container_name": "test", "image": "test",
			"rule_id": 0, "rule_name": "test", "stream": "stdout", "line_time": now.Format(time.RFC3339Nano),
		},
		CreatedAt: now,
	}, true, w.Marks.At(now))
	if err != nil {
		return TestResult{}, err
	}
	began := time.Now()
	out := w.sender.send(ctx, t, "msg_"+rand.Text(), body)
	return TestResult{Status: out.status, Latency: time.Since(began), Error: out.reason}, ctx.Err()
}

// lane is one trigger's way to its receiver. It belongs to Run, but while it is
// running, failing belongs to its goroutine.
type lane struct {
	running  bool
	again    bool      // something came while it was running
	rest     time.Time // nothing to do before this
	reported time.Time
	failing  bool // so the log has said
}

// laneEnd is a lane's goroutine saying that it has ended.
type laneEnd struct {
	id   int64
	rest time.Time // when it should run again; zero: when something comes
}

// Run delivers until ctx ends. Attempts on their way then have a moment to be
// answered; the others go on after the next start.
func (w *Worker) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer w.sender.client.CloseIdleConnections()
	lanes := map[int64]*lane{}
	at := func(id int64) *lane {
		if lanes[id] == nil {
			lanes[id] = &lane{}
		}
		return lanes[id]
	}
	ends := make(chan laneEnd)
	overdue := w.Now().Add(startGrace)
	for {
		now := w.Now()
		var next time.Time
		ids, err := w.Store.Undelivered(ctx)
		for _, id := range ids {
			l := at(id)
			switch {
			case l.running:
			case l.rest.After(now):
				next = earlier(next, l.rest)
			default:
				l.running = true
				wg.Go(func() {
					rest := w.round(ctx, id, l, overdue)
					select {
					case ends <- laneEnd{id, rest}:
					case <-ctx.Done():
					}
				})
			}
		}
		if err == nil {
			ids, err = w.Store.Unreported(ctx)
		}
		for _, id := range ids {
			if l := at(id); l.reported.IsZero() || !now.Before(l.reported.Add(reportEvery)) {
				if e := w.Store.ReportDead(ctx, id, w.Route); e != nil {
					err = e
					continue
				}
				l.reported = now
			} else {
				next = earlier(next, l.reported.Add(reportEvery))
			}
		}
		if err != nil && ctx.Err() == nil {
			w.Logger.Error("outbox", "err", err)
			next = earlier(next, now.Add(storeWait))
		}
		var timer <-chan time.Time
		if !next.IsZero() {
			timer = w.After(next.Sub(now))
		}
		select {
		case <-ctx.Done():
			return
		case <-timer:
		case end := <-ends:
			l := lanes[end.id]
			l.running, l.rest = false, end.rest
			if l.again {
				l.again, l.rest = false, time.Time{}
			}
		case <-w.wake:
			unrest(lanes)
		case <-w.Store.Outbox():
			unrest(lanes)
		}
	}
}

// unrest lets all lanes look again; one that has to wait finds that out.
func unrest(lanes map[int64]*lane) {
	for _, l := range lanes {
		l.rest, l.again = time.Time{}, l.running
	}
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// backoff is how long to wait after the n-th failure.
func backoff(n int) time.Duration {
	d := longestWait
	if n < 20 {
		d = min(firstWait<<max(n-1, 0), longestWait)
	}
	return d/2 + mrand.N(d/2+1)
}

// record keeps the outcome of an attempt, however long that takes: a delivery
// that was answered mustn't be sent again because the disk is full.
func (w *Worker) record(ctx context.Context, f func(context.Context) error) error {
	for said := false; ; {
		err := f(context.WithoutCancel(ctx))
		if err == nil || errors.Is(err, store.ErrNotFound) || ctx.Err() != nil {
			return err
		}
		if !said {
			w.Logger.Error("outcome of a delivery not recorded yet", "err", err)
			said = true
		}
		select {
		case <-ctx.Done():
			return err
		case <-w.After(storeWait):
		}
	}
}
