package scan

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"logscan/internal/correlate"
	"logscan/internal/event"
	"logscan/internal/incident"
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
	cursor store.Cursor
	hold   int64
	ended  int64 // see follower.ended
	n      int32 // submissions that it stands for
}

// committer commits what turns give, together for all containers.
type committer struct {
	store Store
	route func(event.Event) []int64
	log   *slog.Logger
	every time.Duration
	wake  chan struct{}   // holds a token while there may be something to commit
	hits  chan struct{}   // holds a token while events may be among it
	ended chan struct{}   // closed by close: no more waiting for others
	last  chan struct{}   // closed by finish: nothing more will be added
	ctx   context.Context // ends finishWithin after close
	stop  context.CancelFunc

	failing atomic.Bool  // the commit under way has failed
	refused atomic.Int64 // hits that could not be stored

	sums  sums        // belongs to run
	timed atomic.Bool // sums wait for time, or aren't loaded

	mu      sync.Mutex // guards the rest
	space   sync.Cond  // fewer events wait, or closed
	waits   given
	cursors map[*follower]progress // the latest of each
	taken   int                    // how much is in the commit under way, see given.size
	// takenFrom is the time of the first line of that.
	takenFrom int64
	timePass  bool          // time is to do what it does
	stood     time.Duration // see Scanner.Stood
	looked    time.Time     // see look
	closed    bool
}

// given is what turns give.
type given struct {
	events     []event.Event
	suppressed []incident.Hit
	inputs     []input
	begins     []store.Begin
	urgent     bool // some inputs may make a hit at once
	heft       int  // bytes of records
}

func (g *given) add(more given) {
	g.events = append(g.events, more.events...)
	g.suppressed = append(g.suppressed, more.suppressed...)
	g.inputs = append(g.inputs, more.inputs...)
	g.begins = append(g.begins, more.begins...)
	g.heft += more.heft
}

// size is how much it is, in events.
func (g *given) size() int {
	return len(g.events) + len(g.suppressed) + (len(g.inputs)+3)/4 + g.heft/heftOf
}

// firstLine is the time of the first line that is among it, in nanoseconds.
func (g *given) firstLine() int64 {
	first := int64(math.MaxInt64)
	for _, e := range g.events {
		first = min(first, e.Time.UnixNano())
	}
	for _, s := range g.suppressed {
		first = min(first, s.SuppressedSince.UnixNano())
	}
	if at := firstMatch(g.inputs); at != 0 {
		first = min(first, at)
	}
	return first
}

func newCommitter(cfg Config, s *Scanner) *committer {
	c := &committer{
		sums:  sums{scanner: s},
		store: cfg.Store, route: cfg.Route, log: cfg.Logger, every: cfg.CommitEvery,
		wake: make(chan struct{}, 1), hits: make(chan struct{}, 1), ended: make(chan struct{}), last: make(chan struct{}),
		cursors: map[*follower]progress{},
	}
	c.timed.Store(true) // it isn't known yet what is stored
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.space.L = &c.mu
	return c
}

// add takes what a follower gave, and its cursor behind it. It waits while too much
// waits, until close.
func (c *committer) add(f *follower, p progress, g given) {
	c.mu.Lock()
	for g.size() > 0 && c.waits.size()+c.taken >= maxWaiting && !c.closed {
		c.space.Wait()
	}
	c.waits.add(g)
	p.n += c.cursors[f].n
	c.cursors[f] = p
	c.mu.Unlock()
	if len(g.events) > 0 || g.urgent {
		signal(c.hits)
	}
	signal(c.wake)
}

// seeded takes what there was before a rule.
func (c *committer) seeded(s *seed) {
	c.mu.Lock()
	c.waits.inputs = append(c.waits.inputs, input{seed: s})
	c.mu.Unlock()
	signal(c.wake)
}

// gone has what adds up with a container's matches be forgotten.
func (c *committer) gone(id string) {
	c.mu.Lock()
	c.waits.inputs = append(c.waits.inputs, input{container: &correlate.Container{ID: id}, gone: time.Now().UnixNano()})
	c.mu.Unlock()
	signal(c.wake)
}

// pass has time do what it does, where anything waits for it.
func (c *committer) pass() {
	if !c.timed.Load() {
		return
	}
	c.mu.Lock()
	c.timePass = true
	c.mu.Unlock()
	signal(c.wake)
}

// paused notes that for so long nothing was evaluated.
func (c *committer) paused(d time.Duration) {
	c.mu.Lock()
	c.stood += d
	c.mu.Unlock()
}

// look notes how long it is since the last look, where that is so long that this process
// or the machine stood still; tick says that this is one of those that come each second.
func (c *committer) look(tick bool) {
	now := c.sums.scanner.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.looked.IsZero() && !tick {
		return
	}
	// The clock between them stands while the machine sleeps, the one on the wall doesn't.
	if d := max(now.Sub(c.looked), now.Round(0).Sub(c.looked.Round(0))); !c.looked.IsZero() && d >= stoodStill {
		c.stood += d
	}
	c.looked = now
}

// stoodStill is how long a pause between two looks shows that this process, or the
// machine, stood still.
const stoodStill = 10 * time.Second

func signal(token chan struct{}) {
	select {
	case token <- struct{}{}:
	default:
	}
}

// run commits until finish: a hit at once, unless there was a commit just now;
// mere cursors, which nobody waits for, in company.
func (c *committer) run() {
	defer c.stop()
	var last time.Time
	for {
		select {
		case <-c.wake:
			select {
			case <-c.hits:
				if wait := c.every - time.Since(last); wait > 0 {
					select {
					case <-time.After(wait):
					case <-c.ended:
					}
				}
			case <-time.After(cursorWait):
			case <-c.ended:
			}
			c.commit()
			last = time.Now()
		case <-c.last:
			c.commit()
			return
		}
	}
}

// commit commits all that is there, however often it takes. Only at shutdown
// it abandons it, and then nothing that comes later is committed either.
func (c *committer) commit() {
	if c.ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	timePass := c.timePass
	c.mu.Unlock()
	clocks := c.sums.clocks(timePass && c.sums.waiting()) // before what is there is taken: what gave them is among it
	c.mu.Lock()
	g, cursors := c.waits, c.cursors
	c.taken, c.takenFrom = g.size(), g.firstLine()
	c.waits, c.cursors = given{}, map[*follower]progress{}
	c.timePass = false
	c.mu.Unlock()
	b := store.Batch{Begins: g.begins, Events: g.events, Suppressed: g.suppressed, Cursors: make([]store.Cursor, 0, len(cursors))}
	if !c.load() {
		return
	}
	c.look(false)
	c.mu.Lock()
	clocks.stood, c.stood = c.stood, 0
	c.mu.Unlock()
	c.sums.step(g.inputs, clocks, &b)
	c.timed.Store(c.sums.waiting())
	for f, p := range cursors {
		p.cursor.Revision = f.revision.Add(1)
		b.Cursors = append(b.Cursors, p.cursor)
	}
	if (len(cursors) > 0 || b.Correlated != nil) && !c.persist(b) {
		return
	}
	if len(b.Events)+len(b.Outcomes) > 0 {
		signal(c.sums.scanner.contexts.wake)
	}
	c.mu.Lock()
	c.taken = 0
	c.mu.Unlock()
	c.space.Broadcast()
	for f, p := range cursors {
		f.hold.Store(p.hold)
		f.ended.Store(p.ended)
		f.uncommitted.Add(-p.n)
	}
}

// load has what is stored of matches that add up be known, and reports whether that was
// possible before the end.
func (c *committer) load() bool {
	if c.sums.engine != nil {
		return true
	}
	for failure, wait := "", firstRetry; ; wait = min(2*wait, lastRetry) {
		rows, revision, err := c.store.Correlated(c.ctx)
		if err == nil {
			c.sums.load(rows, revision)
			return true
		}
		if c.ctx.Err() != nil {
			return false
		}
		if failure != err.Error() {
			c.log.Error("what rules add up can't be read; scanning waits, lines are kept", "err", err)
		}
		failure = err.Error()
		select {
		case <-time.After(wait):
		case <-c.ctx.Done():
			return false
		}
	}
}

// persist commits b, and reports whether that was possible before the end. It
// repeats the very same batch: a commit that failed may have been persisted,
// which its cursors' revisions show. Events that the store refuses give way to
// others which tell of them, so that they hold up no one.
func (c *committer) persist(b store.Batch) bool {
	failure := ""
	var refused []error // in the latest attempt
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		refused = nil
		_, err := c.store.Commit(c.ctx, b, c.route)
		if errors.Is(err, store.ErrRefused) && b.Instead == nil {
			b.Instead = func(e event.Event, err error) event.Event {
				refused = append(refused, err)
				return refusal(e, err)
			}
			_, err = c.store.Commit(c.ctx, b, c.route)
		}
		if err == nil {
			if len(refused) > 0 {
				c.refused.Add(int64(len(refused)))
				c.log.Error("the store refuses hits; events tell of which rules and containers", "hits", len(refused), "err", refused[0])
			}
			if failure != "" {
				c.failing.Store(false)
				c.log.Info("hits are stored again")
			}
			return true
		}
		if c.ctx.Err() != nil {
			c.log.Error("hits not stored before the end; they will be found again", "events", len(b.Events), "err", err)
			return false
		}
		if failure != err.Error() {
			c.log.Error("hits can't be stored; scanning waits, lines are kept", "events", len(b.Events), "err", err)
		}
		failure = err.Error()
		c.failing.Store(true)
		select {
		case <-time.After(wait):
		case <-c.ctx.Done():
		}
	}
}

// upTo is the time of the first line of which what it gave waits to be stored, in
// nanoseconds.
func (c *committer) upTo() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.waits.firstLine()
	if c.taken > 0 {
		first = min(first, c.takenFrom)
	}
	return first
}

func (c *committer) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waits.size() + c.taken
}

// close lets everybody go on who waits, and bounds what is left to do.
func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.space.Broadcast()
	close(c.ended)
	time.AfterFunc(finishWithin, c.stop)
}

// finish has the rest committed; nothing may be added after it.
func (c *committer) finish() { close(c.last) }
