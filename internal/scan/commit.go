package scan

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"logscan/internal/store"
)

const (
	// maxWaiting is how many events wait for a commit before scanning waits
	// for them: some MiB, tens at the very worst.
	maxWaiting = 2048

	firstRetry = 10 * time.Millisecond
	lastRetry  = 5 * time.Second
	// finishWithin is how long the last commits may take at shutdown. What
	// isn't committed then is evaluated again at the next start.
	finishWithin = 3 * time.Second
)

// progress is a container's cursor, to be committed with or after the events
// before it.
type progress struct {
	f      *follower
	cursor store.Cursor
	hold   int64
	n      int32 // submissions that it stands for
}

// committer commits what turns give, together for all containers.
type committer struct {
	store Store
	route func(store.Event) []int64
	log   *slog.Logger
	every time.Duration
	wake  chan struct{}   // holds a token while there may be something to commit
	ended chan struct{}   // closed by close: no more waiting for others
	last  chan struct{}   // closed by finish: nothing more will be added
	ctx   context.Context // ends finishWithin after close
	stop  context.CancelFunc
	fails atomic.Bool // the store refuses the commit under way

	mu      sync.Mutex // guards the rest
	room    sync.Cond  // there is less waiting, or closed
	events  []store.Event
	cursors map[*follower]progress // the latest of each
	taken   int                    // events in the commit under way
	closed  bool
}

func newCommitter(cfg Config) *committer {
	c := &committer{
		store: cfg.Store, route: cfg.Route, log: cfg.Logger, every: cfg.CommitEvery,
		wake: make(chan struct{}, 1), ended: make(chan struct{}), last: make(chan struct{}),
		cursors: map[*follower]progress{},
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.room.L = &c.mu
	return c
}

// add takes events of a follower and its cursor behind them. It waits while too
// many events wait, until close.
func (c *committer) add(p progress, events []store.Event) {
	c.mu.Lock()
	for len(events) > 0 && len(c.events)+c.taken >= maxWaiting && !c.closed {
		c.room.Wait()
	}
	c.events = append(c.events, events...)
	p.n += c.cursors[p.f].n
	c.cursors[p.f] = p
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run commits until finish.
func (c *committer) run() {
	defer c.stop()
	for {
		select {
		case <-c.wake:
			select {
			case <-time.After(c.every): // for company
			case <-c.ended:
			}
			c.commit()
		case <-c.last:
			c.commit()
			return
		}
	}
}

// commit commits all that is there, however often it takes. Only at shutdown
// it gives up, and then nothing that comes later is committed either.
func (c *committer) commit() {
	if c.ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	events, cursors := c.events, c.cursors
	c.events, c.cursors, c.taken = nil, map[*follower]progress{}, len(events)
	c.mu.Unlock()
	if len(cursors) == 0 {
		return
	}
	b := store.Batch{Events: events, Cursors: make([]store.Cursor, 0, len(cursors))}
	for _, p := range cursors {
		b.Cursors = append(b.Cursors, p.cursor)
	}
	failed := false
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		_, err := c.store.Commit(c.ctx, b, c.route)
		if err == nil {
			break
		}
		if c.ctx.Err() != nil {
			c.log.Error("hits not stored before the end; they will be found again", "events", len(events), "err", err)
			return
		}
		if !failed {
			c.log.Error("hits can't be stored; scanning waits, lines are kept", "events", len(events), "err", err)
		}
		failed = true
		c.fails.Store(true)
		select {
		case <-time.After(wait):
		case <-c.ctx.Done():
		}
	}
	if failed {
		c.fails.Store(false)
		c.log.Info("hits are stored again")
	}
	c.mu.Lock()
	c.taken = 0
	c.mu.Unlock()
	c.room.Broadcast()
	for _, p := range cursors {
		p.f.hold.Store(p.hold)
		p.f.flight.Add(-p.n)
	}
}

func (c *committer) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.events) + c.taken
}

// close lets everybody go on who waits, and bounds what is left to do.
func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.room.Broadcast()
	close(c.ended)
	time.AfterFunc(finishWithin, c.stop)
}

// finish has the rest committed; nothing may be added after it.
func (c *committer) finish() { close(c.last) }
