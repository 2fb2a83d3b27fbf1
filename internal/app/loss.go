package app

import (
	"log/slog"

	"logscan/internal/journal"
	"logscan/internal/store"
)

// lossesMax bounds what waits while the database is away; each loss is in the
// log too.
const lossesMax = 1024

// lossQueue carries what the journal could not keep to the event log, without
// ever making the journal wait.
type lossQueue struct {
	log *slog.Logger
	c   chan store.Event
}

func newLossQueue(log *slog.Logger) *lossQueue {
	return &lossQueue{log: log, c: make(chan store.Event, lossesMax)}
}

func (q *lossQueue) add(l journal.Loss) {
	q.log.Warn("lines lost", "container", l.ContainerID, "reason", l.Reason, "bytes", l.Bytes, "frames", l.Frames, "from", l.From, "to", l.To)
	ev := store.Event{
		Source:   "system",
		Severity: "warn",
		Message:  lossMessage(l.Reason),
		Metadata: map[string]any{
			"container_id": l.ContainerID,
			"reason":       l.Reason,
			"bytes":        l.Bytes,
			"frames":       l.Frames,
		},
	}
	q.say(ev)
}

// say queues an event about ourselves. While the database is away and many
// wait, what was logged has to do.
func (q *lossQueue) say(ev store.Event) {
	select {
	case q.c <- ev:
	default:
	}
}

func lossMessage(reason string) string {
	switch reason {
	case "torn":
		return "The writer of a container's log ended inside an entry; the unfinished entry was removed."
	case "corrupt":
		return "A container's log stream held bytes that are no log entry; the rest of that stream was discarded."
	case "unscanned":
		return "A container wrote faster than its lines could be checked; retention removed lines that no rule has seen."
	case "budget":
		return "The disk budget was reached; the oldest logs of stopped containers were removed."
	}
	return "A container's log lost entries: " + reason + "."
}
