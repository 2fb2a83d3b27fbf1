package trigger

import (
	"context"
	"log/slog"
	mrand "math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"logscan/internal/egress"
	"logscan/internal/event"
)

const (
	keepTrying   = 24 * time.Hour   // how long a delivery is retried
	firstWait    = time.Second      // after the first failure, then twice as long each time
	longestWait  = 5 * time.Minute  // up to this
	longestPause = 30 * time.Second // of a queue whose receiver fails: how soon it is found well again
	startGrace   = time.Hour        // what a delivery that is overdue at start has left
	reportEvery  = 10 * time.Minute // at most one event about a trigger's dead deliveries in this time
	storeWait    = time.Second      // after an error of the store
	stopGrace    = 2 * time.Second  // what an attempt has left when the worker is stopped
)

// WorkerConfig is what a worker needs; Store is required.
type WorkerConfig struct {
	Store Outbox
	Route func(event.Event) []int64 // for events about dead deliveries (Router.Match); nil: they are only kept
	// Mark returns the mark of an event that goes out with this body, but for the
	// mark itself; nil: what is sent goes unmarked.
	Mark     func(e event.Event, body []byte) string
	Logger   *slog.Logger
	Targets  egress.Targets // exceptions of the target guard
	Timeout  time.Duration  // of an attempt; default 10 s
	Resolver *net.Resolver  // default: the system's
	Now      func() time.Time
	After    func(time.Duration) <-chan time.Time
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
	client   *egress.Client
	overdue  time.Time       // by the time that the worker began; nothing is given up for its age before
	outcomes chan recordable // to the recorder
	died     chan struct{}   // holds a token when there are dead deliveries to report
	setBack  chan struct{}   // holds a token when the clock was set back

	mu     sync.Mutex // guards queues
	queues map[int64]*queue

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
	g, bad := egress.NewGuard(c.Targets, c.Resolver)
	for _, b := range bad {
		c.Logger.Warn("allowed target ignored: neither a host nor a CIDR", "target", b)
	}
	return &Worker{
		WorkerConfig: c,
		client:       egress.NewClient(g, c.Timeout, c.Now),
		died:         make(chan struct{}, 1),
		setBack:      make(chan struct{}, 1),
		queues:       map[int64]*queue{},
	}
}

// Stats returns the counters.
func (w *Worker) Stats() Stats {
	return Stats{Delivered: w.delivered.Load(), Failed: w.failed.Load(), Dead: w.dead.Load()}
}

// Run delivers until ctx ends. Attempts on their way then have a moment to be
// answered; the others go on after the next start. Each trigger has a queue of
// its own, so that a receiver delays nobody else's, and as many attempts are
// under way as there are triggers, at most.
func (w *Worker) Run(ctx context.Context) {
	defer w.client.Close()
	w.overdue = w.Now().Add(startGrace)
	// As many outcomes again are in the recorder's batch, one begins it, and one
	// waits to come in.
	w.outcomes = make(chan recordable, (maxUnrecorded-2)/2)
	var queues, recorder sync.WaitGroup
	recorder.Go(func() { w.record(ctx) })
	defer func() {
		queues.Wait()
		close(w.outcomes)
		recorder.Wait()
	}()
	wake := func(ids []int64) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, id := range ids {
			q := w.queues[id]
			if q == nil {
				q = &queue{w: w, id: id, wake: make(chan struct{}, 1), told: map[string]bool{}}
				w.queues[id] = q
				queues.Go(func() { q.run(ctx) })
			}
			token(q.wake)
		}
	}
	for all := true; ; {
		var timer <-chan time.Time
		if all {
			ids, err := w.Store.Resume(ctx, w.Now())
			if all = err != nil; all {
				if ctx.Err() == nil {
					w.Logger.Error("outbox", "err", err)
				}
				timer = w.After(storeWait)
			}
			wake(ids)
		}
		select {
		case <-ctx.Done():
			return
		case <-timer:
		case <-w.setBack:
			all = true
		case c := <-w.Store.Changes():
			all = all || c.All
			wake(c.Triggers)
			if c.Dead {
				token(w.died)
			}
		}
	}
}

// forget ends a queue, unless something has come for it meanwhile.
func (w *Worker) forget(q *queue) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-q.wake:
		return false
	default:
		delete(w.queues, q.id)
		return true
	}
}

// token puts one into a channel that holds one at most.
func token(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// backoff is how long to wait after the n-th failure.
func backoff(n int) time.Duration {
	d := longestWait
	if n < 20 {
		d = min(firstWait<<max(n-1, 0), longestWait)
	}
	return d/2 + mrand.N(d/2+1)
}
