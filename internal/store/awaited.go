package store

import (
	"context"
	"database/sql"
	"math"
	"time"

	"logscan/internal/channel"
	"logscan/internal/event"
	"logscan/internal/trigger"
)

// longestWait is how long deliveries wait for context at most, in nanoseconds.
const longestWait = trigger.MaxContextWait * int64(time.Second)

const (
	// contextWait is for how many seconds a trigger's deliveries wait for the context of
	// an event; none where that is whole.
	contextWait = `SELECT coalesce((SELECT coalesce(t.definition ->> '$.context_wait_seconds', ?) FROM triggers t JOIN event_context c ON c.event_id = ? AND c.owed = 1 WHERE t.id = ?), 0)`
	// othersWait is until when deliveries of a trigger wait for context, but for those that
	// seem to wait for longer than they may: they were made when the clock was ahead.
	othersWait = "SELECT coalesce(max(next_at), 0) FROM deliveries INDEXED BY deliveries_awaiting WHERE trigger_id = ? AND next_at <= ? AND awaits <> 0 AND state = 'pending'"
	// awaitedDue has deliveries of a trigger be due that wait for nothing any more, nor for one
	// before them: not later than they were, where the clock is ahead now.
	awaitedDue = `UPDATE deliveries SET next_at = min(next_at, ?1), awaits = 0 WHERE trigger_id = ?2 AND awaits = -1 AND awaits <> 0 AND state = 'pending'
		AND seq < coalesce((SELECT min(seq) FROM deliveries WHERE trigger_id = ?2 AND awaits <> 0 AND awaits > 0 AND state = 'pending'), ?3)`
)

// awaited is until when a new delivery waits for context, and for that of which event: a
// delivery doesn't overtake those before it.
func awaited(ctx context.Context, tx *sql.Tx, o outgoing, now int64) (next, awaits int64, err error) {
	next = now
	if o.shows != 0 {
		var wait int64
		if err := tx.QueryRowContext(ctx, contextWait, trigger.ContextWait, o.shows, o.triggerID).Scan(&wait); err != nil {
			return next, 0, err
		}
		if wait > 0 {
			next, awaits = now+wait*int64(time.Second), o.shows
		}
	}
	var others int64
	if err := tx.QueryRowContext(ctx, othersWait, o.triggerID, now+longestWait).Scan(&others); err != nil {
		return next, 0, err
	}
	if others > next {
		next = others
		if awaits == 0 {
			awaits = -1
		}
	}
	return next, awaits, nil
}

// arrived has what waits for the context of an event go on.
func (s *Store) arrived(ctx context.Context, tx *sql.Tx, eventID int64) error {
	rows, err := tx.QueryContext(ctx, "UPDATE deliveries SET awaits = -1 WHERE awaits = ? AND awaits > 0 AND state = 'pending' RETURNING trigger_id", eventID)
	triggers, err := collect(rows, err, scanID)
	if err != nil {
		return err
	}
	for _, id := range triggers {
		if _, err := tx.ExecContext(ctx, awaitedDue, nanos(s.now()), id, int64(math.MaxInt64)); err != nil {
			return err
		}
		s.touchLocked(id)
	}
	return nil
}

// addContext adds to a job the lines around the hits that it tells.
func addContext(ctx context.Context, db queryer, job *trigger.Job) error {
	if id := job.Event.ID; id != 0 {
		c, err := readContext(ctx, db, id)
		job.Context = near(c.Lines, maxTold)
		return err
	}
	if job.Message == nil {
		return nil
	}
	for n := range job.Message.Notices {
		of := &job.Message.Notices[n]
		if of.Event == 0 {
			continue
		}
		c, err := readContext(ctx, db, of.Event)
		if err != nil {
			return err
		}
		channel.AddContext(of, near(c.Lines, maxTold/len(job.Message.Notices)))
	}
	return nil
}

// near are those of the lines around an event that are next to what it is about, of so
// many bytes.
func near(lines []event.ContextLine, most int) []event.ContextLine {
	first, last := event.Own(lines)
	size := 0
	for n := first; n <= last; n++ {
		size += len(lines[n].Text)
	}
	from, to := first, last+1
	for more := true; more; {
		more = false
		if from > 0 && size+len(lines[from-1].Text) <= most {
			from--
			size += len(lines[from].Text)
			more = true
		}
		if to < len(lines) && size+len(lines[to].Text) <= most {
			size += len(lines[to].Text)
			to++
			more = true
		}
	}
	return lines[from:to]
}
