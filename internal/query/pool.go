package query

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
)

// Setting is the plugin's setting of how many queries there are at once, and what it may be.
const (
	Setting        = "LOGSCAN_QUERIES"
	DefaultQueries = 4
	MaxQueries     = 64
)

// TailsEach is how many tails that follow take the room of one query: each has a quarter of
// the memory of a search, and reads only what is written.
const TailsEach = 4

// ErrBusy means that there can't be another query now.
var ErrBusy = errors.New("no room for another query of logs")

// Pool bounds what reads kept logs to answer somebody: searches, tails, backtests, and
// what asks why or what is uncovered. They read in turns, on one core less than there are.
// A nil Pool bounds nothing. Safe concurrently.
type Pool struct {
	most  int
	turns chan struct{} // holds one for each that reads

	mu             sync.Mutex // guards the rest
	queries, tails int
}

// NewPool returns a pool of so many queries.
func NewPool(most int) *Pool {
	return &Pool{most: most, turns: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))}
}

// enter has there be one more query, or a tail that follows, until leave is called; ErrBusy
// where there is no room.
func (p *Pool) enter(follows bool) (leave func(), err error) {
	if p == nil {
		return func() {}, nil
	}
	n, room := &p.queries, TailsEach
	if follows {
		n, room = &p.tails, 1
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.queries*TailsEach+p.tails+room > p.most*TailsEach {
		return nil, fmt.Errorf("%w: %s; end one, or try again when one has ended", ErrBusy, p.saysLocked())
	}
	*n++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		*n--
	}, nil
}

// saysLocked says how many there are.
func (p *Pool) saysLocked() string {
	running := fmt.Sprintf("%d %s", p.queries, plural(p.queries, "is running", "are running"))
	if p.tails > 0 {
		running += fmt.Sprintf(", with %d %s, of which %d count as one", p.tails, plural(p.tails, "tail that follows", "tails that follow"), TailsEach)
	}
	return fmt.Sprintf("%s, and the setting %s is %d", running, Setting, p.most)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// turn waits until it is a query's turn to read, which it has to be quick about until it
// calls done.
func (p *Pool) turn(ctx context.Context) (done func(), err error) {
	if p == nil {
		return runtime.Gosched, ctx.Err()
	}
	select {
	case p.turns <- struct{}{}:
		return func() {
			<-p.turns
			runtime.Gosched()
		}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
