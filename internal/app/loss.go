package app

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"logscan/internal/journal"
	"logscan/internal/store"
)

const (
	// lossesMax bounds the containers and reasons whose losses wait to be told;
	// beyond it they are told without the container.
	lossesMax = 1024
	// lossEvery is how often an event tells of one container's losses of one
	// kind: a container that writes too fast loses lines many times a second.
	lossEvery = time.Minute
)

type lossKey struct{ container, reason string }

// lossQueue sums up what the journal could not keep until an event tells of it,
// without ever making the journal wait.
type lossQueue struct {
	log  *slog.Logger
	wake chan struct{} // holds a token when there is something new

	mu   sync.Mutex // guards the maps
	sums map[lossKey]lossSum
	told map[lossKey]time.Time // when an event last did
}

type lossSum struct{ times, bytes, frames int64 }

func newLossQueue(log *slog.Logger) *lossQueue {
	return &lossQueue{log: log, wake: make(chan struct{}, 1), sums: map[lossKey]lossSum{}, told: map[lossKey]time.Time{}}
}

func (q *lossQueue) add(l journal.Loss) {
	k := lossKey{l.ContainerID, l.Reason}
	q.mu.Lock()
	s, known := q.sums[k]
	if !known && len(q.sums) >= lossesMax {
		k.container = ""
		s, known = q.sums[k]
	}
	q.sums[k] = lossSum{s.times + 1, s.bytes + l.Bytes, s.frames + l.Frames}
	q.mu.Unlock()
	if known {
		return // the log has said so
	}
	q.log.Warn("lines lost", "container", k.container, "reason", k.reason, "bytes", l.Bytes, "frames", l.Frames, "from", l.From, "to", l.To)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns what is to be told now, and when to ask again; zero: when there
// is something new.
func (q *lossQueue) take(now time.Time) (due map[lossKey]lossSum, next time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	due = map[lossKey]lossSum{}
	for k, at := range q.told {
		if now.Sub(at) >= lossEvery {
			delete(q.told, k)
		}
	}
	for k, s := range q.sums {
		if at, ok := q.told[k]; ok {
			if at = at.Add(lossEvery); next.IsZero() || at.Before(next) {
				next = at
			}
			continue
		}
		due[k] = s
		delete(q.sums, k)
		q.told[k] = now
	}
	return due, next
}

// hurry has the next take return all that is left: there may be no later one.
func (q *lossQueue) hurry() {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.told)
}

// putBack undoes a take whose events could not be stored.
func (q *lossQueue) putBack(due map[lossKey]lossSum) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for k, s := range due {
		o := q.sums[k]
		q.sums[k] = lossSum{o.times + s.times, o.bytes + s.bytes, o.frames + s.frames}
		delete(q.told, k)
	}
}

// lossEvent tells of losses; c is what is known of the container.
func lossEvent(k lossKey, s lossSum, c journal.Container) store.Event {
	m := map[string]any{
		"about": "loss", "reason": k.reason,
		"times": s.times, "bytes": s.bytes, "frames": s.frames,
	}
	name := "of several containers"
	if k.container != "" {
		m["container_id"], m["container_name"], m["image"], m["workload_id"] = k.container, c.Name, c.Image, c.Workload
		if name = c.Name; name == "" {
			name = k.container[:min(12, len(k.container))]
		}
	}
	entries := ""
	if s.frames > 0 {
		entries = fmt.Sprintf("%d entries, ", s.frames)
	}
	return store.Event{
		Source: store.SourceSystem, Severity: "warn", Metadata: m,
		Message: fmt.Sprintf("Lines lost (%s): %s (%s%d bytes, %d×)", name, lossMessage(k.reason), entries, s.bytes, s.times),
	}
}

func lossMessage(reason string) string {
	switch reason {
	case "torn":
		return "the writer of the log ended inside an entry; the unfinished entry was removed."
	case "corrupt":
		return "the log or its stream held bytes that are no log entries; they were passed over."
	case "unscanned":
		return "the container wrote faster than its lines could be checked; retention removed lines that no rule has seen."
	case "budget":
		return "the disk budget was reached; the oldest logs were removed."
	case "full":
		return "the disk was full; the oldest logs were removed to make room."
	case "dropped":
		return "the log could not be written, as on a full disk; lines that came meanwhile were not kept, and no rule has seen them."
	}
	return reason + "."
}
