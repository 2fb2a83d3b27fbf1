package store

import "sync"

// Subscribe returns a channel of each event that is stored from now on, in the
// order of ids, and a function that ends it. buf events may wait in it; a
// subscriber that lets it fill up is dropped: its channel is closed after what
// it holds. Close closes it too.
func (s *Store) Subscribe(buf int) (<-chan Event, func()) {
	c := make(chan Event, max(buf, 1))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		close(c)
		return c, func() {}
	}
	s.subs[c] = struct{}{}
	return c, sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.drop(c)
	})
}

// drop ends a subscription, once. s.mu is held.
func (s *Store) drop(c chan Event) {
	if _, ok := s.subs[c]; ok {
		delete(s.subs, c)
		close(c)
	}
}

// publish never waits.
func (s *Store) publish(events []Event) {
	if len(events) == 0 {
		return
	}
	s.signal()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.subs {
		for _, e := range events {
			select {
			case c <- e:
				continue
			default:
			}
			s.drop(c)
			break
		}
	}
}

// Outbox holds a token when something may have come to be delivered since the
// last one was taken. It is for one receiver, the delivery worker.
func (s *Store) Outbox() <-chan struct{} { return s.outbox }

func (s *Store) signal() {
	select {
	case s.outbox <- struct{}{}:
	default:
	}
}
