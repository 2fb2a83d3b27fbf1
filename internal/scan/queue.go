package scan

import (
	"sync"
	"time"
)

// gather is how long a worker that had nothing to do waits for more when it gets
// something: most of the time others follow at once, and waking up for each
// costs more than scanning it. Not so if its last turn was about muchSize bytes
// or more: then it is for the rest to wait.
const (
	gather   = time.Millisecond
	muchSize = 64 << 10
)

// queue is the containers that have something to scan, in the order of their
// turns. Each is in it once at most: see follower.state.
type queue struct {
	mu     sync.Mutex // guards the rest, for moments
	some   sync.Cond
	items  []*follower
	ahead  bool // a worker has been woken and gathers
	closed bool
}

func (q *queue) push(f *follower) {
	q.mu.Lock()
	q.items = append(q.items, f)
	wake := !q.ahead
	q.mu.Unlock()
	if wake {
		q.some.Signal()
	}
}

// pop waits for the next one, and when told to, for others to come with it. It is
// false once the queue is closed.
func (q *queue) pop(gathers bool) (*follower, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.closed {
		q.some.Wait()
		if !gathers || q.ahead || len(q.items) == 0 {
			continue
		}
		q.ahead = true
		q.mu.Unlock()
		time.Sleep(gather)
		q.mu.Lock()
		q.ahead = false
	}
	if q.closed {
		return nil, false
	}
	f := q.items[0]
	q.items[0] = nil
	q.items = q.items[1:]
	if len(q.items) > 0 {
		q.some.Signal()
	}
	return f, true
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
		f, ok := s.queue.pop(gathers)
		if !ok {
			return
		}
		f.state.Store(running)
		from := f.next
		switch s.turn(f) {
		case caughtUp:
			gathers = f.next-from < muchSize
			if f.state.CompareAndSwap(running, idle) {
				continue
			}
		case gone:
			if f.state.CompareAndSwap(running, dead) {
				s.followers.CompareAndDelete(f.id, f)
				continue
			}
		}
		f.state.Store(queued)
		s.queue.push(f)
	}
}
