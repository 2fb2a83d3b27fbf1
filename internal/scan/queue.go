package scan

import (
	"sync"
	"time"
)

// gather is how long a worker that had nothing to do waits for more when it gets
// something: most of the time others follow at once, and waking up for each
// costs more than scanning it. A worker whose last turn was about muchSize bytes
// or more doesn't wait: by then the others have come.
const (
	gather   = time.Millisecond
	muchSize = 64 << 10
)

// heavyTurn is how long a turn takes whose container is heavy: one line alone may
// take far longer than a turn should.
const heavyTurn = 5 * turnTime

// queue is the containers that have something to scan, in the order of their
// turns. Each is in it once at most: see follower.state. Heavy ones never have all
// workers: what others wrote isn't late by the time that their lines take.
type queue struct {
	mu     sync.Mutex // guards the rest, for moments
	some   sync.Cond
	items  []*follower
	heavy  []*follower
	under  int  // heavy ones under way
	most   int  // that may be: all workers but one, or the only one
	last   bool // the last one taken was heavy
	ahead  bool // a worker has been woken and gathers
	closed bool
}

func (q *queue) push(f *follower) {
	q.mu.Lock()
	if f.heavy.Load() {
		q.heavy = append(q.heavy, f)
	} else {
		q.items = append(q.items, f)
	}
	wake := !q.ahead
	q.mu.Unlock()
	if wake {
		q.some.Signal()
	}
}

// anyLocked reports whether there is one that may be taken.
func (q *queue) anyLocked() bool { return len(q.items) > 0 || len(q.heavy) > 0 && q.under < q.most }

// pop waits for the next one, and when told to, for others to come with it. Of those
// that are heavy and others, it takes turns. It is false once the queue is closed.
// Each is to be handed to end.
func (q *queue) pop(gathers bool) (f *follower, heavy, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.anyLocked() && !q.closed {
		q.some.Wait()
		if !gathers || q.ahead || !q.anyLocked() {
			continue
		}
		q.ahead = true
		q.mu.Unlock()
		time.Sleep(gather)
		q.mu.Lock()
		q.ahead = false
	}
	if q.closed {
		return nil, false, false
	}
	from := &q.items
	if len(q.heavy) > 0 && q.under < q.most && (!q.last || len(q.items) == 0) {
		from, heavy = &q.heavy, true
		q.under++
	}
	q.last = heavy
	f = (*from)[0]
	(*from)[0] = nil
	*from = (*from)[1:]
	if q.anyLocked() {
		q.some.Signal()
	}
	return f, heavy, true
}

// end is called when the turn of one that was heavy when it was taken is over.
func (q *queue) end() {
	q.mu.Lock()
	q.under--
	any := q.anyLocked()
	q.mu.Unlock()
	if any {
		q.some.Signal()
	}
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.some.Broadcast()
}

// States of a follower.
const (
	idle    = iota
	queued  // in the queue
	running // a worker has it
	again   // a worker has it, and there is more since
	dead    // removed; its container's next follower is another one
)

// notify puts f into the queue if it isn't there. It is false if f is dead.
func (s *Scanner) notify(f *follower) bool {
	for {
		switch st := f.state.Load(); st {
		case idle:
			if f.state.CompareAndSwap(idle, queued) {
				if f.upTo.Load() != 0 && !f.stuck.Load() { // until now, all was evaluated
					f.upTo.Store(s.now().UnixNano())
				}
				s.queue.push(f)
				return true
			}
		case running:
			if f.state.CompareAndSwap(running, again) {
				return true
			}
		default:
			return st != dead
		}
	}
}

// work takes turns until the queue is closed.
func (s *Scanner) work() {
	gathers := true
	for {
		f, heavy, ok := s.queue.pop(gathers)
		if !ok {
			return
		}
		from := f.done.Load()
		if s.takeTurn(f, heavy) == caughtUp {
			gathers = f.done.Load()-from < muchSize
		}
	}
}

// takeTurn gives a follower that was taken from the queue its turn, and puts it there
// again where there is more.
func (s *Scanner) takeTurn(f *follower, heavy bool) outcome {
	f.state.Store(running)
	began := s.now()
	out := s.turn(f)
	f.heavy.Store(s.now().Sub(began) > heavyTurn)
	if heavy {
		s.queue.end()
	}
	switch out {
	case caughtUp:
		if f.state.CompareAndSwap(running, idle) {
			return out
		}
	case gone:
		if f.state.CompareAndSwap(running, dead) {
			s.followers.CompareAndDelete(f.id, f)
			return out
		}
	}
	f.state.Store(queued)
	s.queue.push(f)
	return out
}
