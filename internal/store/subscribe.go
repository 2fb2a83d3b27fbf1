package store

import (
	"slices"
	"sync"

	"logscan/internal/event"
	"logscan/internal/trigger"
)

// Subscribe returns a channel of each event that is stored from now on, in the
// order of ids, and a function that ends it. buf events may wait in it; a
// subscriber that lets it fill up is dropped: its channel is closed after what
// it holds. So are all of them where events are stored that can't be told, because
// the commit that stored them failed to say so. Close closes it too.
func (s *Store) Subscribe(buf int) (<-chan event.Event, func()) {
	c := make(chan event.Event, max(buf, 1))
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
func (s *Store) drop(c chan event.Event) {
	if _, ok := s.subs[c]; ok {
		delete(s.subs, c)
		close(c)
	}
}

// interrupt ends all subscriptions: the store has events that nobody was given.
func (s *Store) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.subs {
		s.drop(c)
	}
}

// publish never waits.
func (s *Store) publish(events []event.Event) {
	if len(events) == 0 {
		return
	}
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

// Changes implements trigger.Outbox.
func (s *Store) Changes() <-chan trigger.Change { return s.changes }

// touchLocked has the worker look at a trigger after the transaction under way.
func (s *Store) touchLocked(id int64) {
	if !slices.Contains(s.changed.Triggers, id) {
		s.changed.Triggers = append(s.changed.Triggers, id)
	}
}

// notify adds c to what the worker hasn't received yet.
func (s *Store) notify(c trigger.Change) {
	if len(c.Triggers) == 0 && !c.All && !c.Dead {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case old := <-s.changes:
		for _, id := range old.Triggers {
			if !slices.Contains(c.Triggers, id) {
				c.Triggers = append(c.Triggers, id)
			}
		}
		c.All, c.Dead = c.All || old.All, c.Dead || old.Dead
	default:
	}
	s.changes <- c
}
