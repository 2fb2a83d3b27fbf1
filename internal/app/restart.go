package app

import (
	"context"
	"fmt"
	"time"

	"logscan/internal/event"
	"logscan/internal/store"
	"logscan/internal/supervisor"
)

const (
	// startsTried is how many processes in a row may end soon after their start
	// before the next ones begin to scan later.
	startsTried = 3
	// scanDelayMin is doubled for each that follows, up to scanDelayMax.
	scanDelayMin = 100 * time.Millisecond
	scanDelayMax = 10 * time.Second
)

// scanDelay is how long to only carry lines and serve docker logs. Whatever ends
// the processes, a line that a bug can't stand or a database that takes more
// memory than there is, is likely among what then hasn't started yet; meanwhile
// containers have their FIFOs drained.
func scanDelay(w supervisor.Status) time.Duration {
	if w.InARow <= startsTried {
		return 0
	}
	return min(scanDelayMin<<min(w.InARow-startsTried-1, 16), scanDelayMax)
}

// restartEvent tells of the processes that ended before this one: at the first
// of several in a row, and each time that their number has doubled since that was
// told. told is how many of them the event log knows of.
func restartEvent(w supervisor.Status, told int) (event.Event, bool) {
	n := w.InARow
	if n == 0 || n < 2*told {
		return event.Event{}, false
	}
	last := w.Last()
	message := fmt.Sprintf("logscan's worker ended unexpectedly (%s) and was started again. No line is lost by that.", last.Why)
	if n > 1 {
		message = fmt.Sprintf("logscan's worker ended unexpectedly %d times in a row (the last time: %s) and was started again. No line is lost by that.", n, last.Why)
	}
	return event.Event{
		Source: event.System, Severity: "error", Message: message,
		Metadata: map[string]any{
			"about": "worker", "why": last.Why, "after_seconds": last.After.Seconds(), "ended_at": last.At.UTC(),
			"in_a_row": n, "restarts": w.Restarts,
		},
	}, true
}

// restartsTold returns how many of the latest ends in a row the event log knows
// of. Many of these processes may have ended before they could tell.
func restartsTold(ctx context.Context, db *store.Store, w supervisor.Status) (int, error) {
	events, err := db.Events(ctx, store.EventFilter{Source: event.System, Limit: 100})
	if err != nil {
		return 0, err
	}
	for _, ev := range events { // the newest first
		if ev.Metadata["about"] != "worker" {
			continue
		}
		n, _ := ev.Metadata["in_a_row"].(float64)
		all, _ := ev.Metadata["restarts"].(float64)
		if int(all-n) == w.Restarts-w.InARow { // of the same ones in a row
			return int(n), nil
		}
		break
	}
	return 0, nil
}
