package app

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/loss"
)

// lossEvery is how often an event tells of one container's losses of one kind: a
// container that writes too fast loses lines many times a second.
const lossEvery = time.Minute

// batchKey is the key in a loss's metadata for the batch of which it was told:
// what a process that was killed has told is known by it.
const batchKey = "batch"

// lossQueue sums up what the journal could not keep until an event tells of it,
// without ever making the journal wait.
type lossQueue struct {
	*loss.Ledger
	log  *slog.Logger
	wake chan struct{}          // holds a token when there is something new
	told map[loss.Key]time.Time // when an event last did; its user's alone
}

// newLossQueue goes on with what the processes before have not told; files are
// those of loss.Files, if there are any, and path is where save keeps it.
func newLossQueue(files []*os.File, path string, log *slog.Logger) *lossQueue {
	q := &lossQueue{Ledger: loss.New(), log: log, wake: make(chan struct{}, 1), told: map[loss.Key]time.Time{}}
	if len(files) > 0 {
		if ledger, err := loss.Open(files); err == nil {
			q.Ledger = ledger
		} else {
			log.Error("losses that were not told yet are forgotten", "err", err)
		}
	}
	if err := q.Resume(path); err != nil {
		log.Error("losses that can't be told before the plugin stops may be forgotten", "err", err)
	}
	return q
}

// save leaves to the next process what this one can't tell any more.
func (q *lossQueue) save() {
	if err := q.Save(); err != nil {
		q.log.Error("losses that were not told yet are forgotten", "err", err)
	}
}

func (q *lossQueue) add(l journal.Loss) {
	if q.Add(lossKey(l), lossSum(l)) {
		q.say(l)
	}
}

// drop is add for what is still in a pipe, and taken out of it.
func (q *lossQueue) drop(fd int, l journal.Loss) (int, error) {
	n, fresh, err := q.Drop(fd, lossKey(l), lossSum(l))
	if fresh && n > 0 {
		q.say(l)
	}
	return n, err
}

// losing is add for what is about to be removed.
func (q *lossQueue) losing(l journal.Loss) (happened func(lost bool)) {
	e := loss.Expected{Key: lossKey(l), Sum: lossSum(l), From: l.From, To: l.To}
	q.Expect(e)
	return func(lost bool) {
		if q.Happened(e, lost) {
			q.say(l)
		}
	}
}

// finish finds out whether what was to be removed when a process was killed has
// been: gone says so of what stood between two offsets.
func (q *lossQueue) finish(gone func(container string, from, to int64) bool) {
	for _, e := range q.OpenEnds() {
		q.Happened(e, gone(e.Container, e.From, e.To))
	}
}

func lossKey(l journal.Loss) loss.Key { return loss.Key{Container: l.ContainerID, Reason: l.Reason} }

func lossSum(l journal.Loss) loss.Sum {
	return loss.Sum{Times: l.Times(), Bytes: l.Bytes, Frames: l.Frames}
}

// say tells the log of the first of several losses, and who tells of all.
func (q *lossQueue) say(l journal.Loss) {
	q.log.Warn("lines lost", "container", l.ContainerID, "reason", l.Reason, "bytes", l.Bytes, "frames", l.Frames, "from", l.From, "to", l.To)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns what is to be told now, in which batch, and when to ask again;
// zero: when there is something new.
func (q *lossQueue) take(now time.Time) (batch int64, sums map[loss.Key]loss.Sum, next time.Time) {
	for k, at := range q.told {
		if now.Sub(at) >= lossEvery {
			delete(q.told, k)
		}
	}
	var due []loss.Key
	for _, k := range q.Waiting() {
		if at, ok := q.told[k]; !ok {
			due = append(due, k)
		} else if at = at.Add(lossEvery); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if len(due) > 0 {
		batch, sums = q.Take(now, due)
	}
	return batch, sums, next
}

// hurry has the next take return all that is left: there may be no later one.
func (q *lossQueue) hurry() { clear(q.told) }

// wasTold says that the events about what was taken are stored, and returns when
// to take again, as take has; what came meanwhile has woken nobody.
func (q *lossQueue) wasTold(now, next time.Time, sums map[loss.Key]loss.Sum) time.Time {
	q.Told()
	for k := range sums {
		q.told[k] = now
	}
	if next.IsZero() && len(q.Waiting()) > 0 {
		next = now.Add(lossEvery)
	}
	return next
}

// lossEvent tells of losses; c is what is known of the container.
func lossEvent(batch int64, k loss.Key, s loss.Sum, c journal.Container) event.Event {
	m := map[string]any{
		"about": "loss", "reason": k.Reason, batchKey: fmt.Sprint(batch),
		"times": s.Times, "bytes": s.Bytes, "frames": s.Frames,
	}
	name := "of several containers"
	if k.Container != "" {
		m["container_id"], m["container_name"], m["image"], m["workload_id"] = k.Container, c.Name, c.Image, c.Workload
		if name = c.Name; name == "" {
			name = k.Container[:min(12, len(k.Container))]
		}
	}
	entries := ""
	if s.Frames > 0 {
		entries = fmt.Sprintf("%d entries, ", s.Frames)
	}
	return event.Event{
		Source: event.System, Severity: "warn", Metadata: m,
		Message: fmt.Sprintf("Lines lost (%s): %s (%s%d bytes, %d×)", name, lossMessage(k.Reason), entries, s.Bytes, s.Times),
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
