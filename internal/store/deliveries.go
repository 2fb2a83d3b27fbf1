package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// States of a delivery.
const (
	Pending   = "pending"   // to be sent, perhaps again
	Delivered = "delivered" // the receiver has it
	Dead      = "dead"      // given up; it can be redelivered
)

// aboutDead marks the event that sums up dead deliveries, in its metadata.
const aboutDead = "dead_deliveries"

// maxDeliveries bounds one answer of Deliveries.
const maxDeliveries = 10_000

// Delivery is one event on its way to one trigger's URL.
type Delivery struct {
	Seq        int64  // the order in which a trigger's deliveries are sent
	ID         string // "msg_…", the same in every attempt
	EventID    int64
	TriggerID  int64
	State      string
	Attempts   int
	TriedAt    time.Time // the last attempt's end; zero before the first
	NextAt     time.Time // of the next attempt; zero unless pending
	Since      time.Time // the time in which it must succeed runs from here
	Overtaken  bool      // later ones got through before it, so it holds nobody up
	LastStatus int       // of the last answer; 0 for none
	LastError  string    // why the last attempt failed, without URL or answer
	CreatedAt  time.Time
}

const deliveryColumns = "d.seq, d.id, d.event_id, d.trigger_id, d.state, d.attempts, d.tried_at, d.next_at, d.since, d.overtaken, d.last_status, d.last_error, d.created_at"

func deliveryFields(d *Delivery) (fields []any, done func()) {
	var tried, next, since, created int64
	return []any{&d.Seq, &d.ID, &d.EventID, &d.TriggerID, &d.State, &d.Attempts, &tried, &next, &since, &d.Overtaken, &d.LastStatus, &d.LastError, &created}, func() {
		d.TriedAt, d.NextAt, d.Since, d.CreatedAt = instant(tried), instant(next), instant(since), instant(created)
	}
}

func scanDelivery(r row) (Delivery, error) {
	var d Delivery
	fields, done := deliveryFields(&d)
	err := r.Scan(fields...)
	done()
	return d, err
}

// Wait returns how long a pending delivery has to wait yet, by a clock that shows
// now. One that was never tried is due, and so is one that was tried later than
// now: the clock has been set back.
func (d Delivery) Wait(now time.Time) time.Duration {
	if d.Attempts == 0 || now.Before(d.TriedAt) {
		return 0
	}
	return max(0, d.NextAt.Sub(now))
}

// Deliveries returns deliveries in a state ("" for all), the newest first. A
// limit of 0 means 10,000, the most.
func (s *Store) Deliveries(ctx context.Context, state string, limit int) ([]Delivery, error) {
	q, args := "SELECT "+deliveryColumns+" FROM deliveries d", []any{}
	if state != "" {
		q, args = q+" WHERE state = ?", append(args, state)
	}
	if limit <= 0 || limit > maxDeliveries {
		limit = maxDeliveries
	}
	rows, err := s.r.QueryContext(ctx, q+" ORDER BY seq DESC LIMIT ?", append(args, limit)...)
	deliveries, err := collect(rows, err, scanDelivery)
	return deliveries, wrap("read deliveries", err)
}

// Delivery returns one delivery.
func (s *Store) Delivery(ctx context.Context, id string) (Delivery, error) {
	d, err := scanDelivery(s.r.QueryRowContext(ctx, "SELECT "+deliveryColumns+" FROM deliveries d WHERE id = ?", id))
	return d, wrap("read delivery", err)
}

// DeliveryCounts returns how many deliveries are in each state.
func (s *Store) DeliveryCounts(ctx context.Context) (map[string]int64, error) {
	out := map[string]int64{Pending: 0, Delivered: 0, Dead: 0}
	rows, err := s.r.QueryContext(ctx, "SELECT state, count(*) FROM deliveries GROUP BY state")
	_, err = collect(rows, err, func(r row) (struct{}, error) {
		var state string
		var n int64
		err := r.Scan(&state, &n)
		out[state] = n
		return struct{}{}, err
	})
	return out, wrap("count deliveries", err)
}

// Redeliver makes a delivery pending again, whatever became of it, under its
// old id and with its whole time before it.
func (s *Store) Redeliver(ctx context.Context, id string) (Delivery, error) {
	var d Delivery
	now := nanos(s.now())
	err := s.change(ctx, "redeliver", func(tx *sql.Tx) error {
		err := found(tx.ExecContext(ctx, `UPDATE deliveries SET state = 'pending', attempts = 0, tried_at = 0, next_at = ?, since = ?, overtaken = 0, reported = 0 WHERE id = ?`, now, now, id))
		if err != nil {
			return err
		}
		d, err = scanDelivery(tx.QueryRowContext(ctx, "SELECT "+deliveryColumns+" FROM deliveries d WHERE id = ?", id))
		return err
	})
	if err != nil {
		return Delivery{}, err
	}
	s.signal()
	return d, nil
}

// Undelivered returns the enabled triggers that have pending deliveries, due or
// not.
func (s *Store) Undelivered(ctx context.Context) ([]int64, error) {
	rows, err := s.r.QueryContext(ctx, `SELECT id FROM triggers t WHERE enabled
		AND EXISTS (SELECT 1 FROM deliveries d WHERE d.trigger_id = t.id AND d.state = 'pending') ORDER BY id`)
	ids, err := collect(rows, err, scanID)
	return ids, wrap("read outbox", err)
}

// Unreported returns the triggers with dead deliveries that ReportDead has to
// report.
func (s *Store) Unreported(ctx context.Context) ([]int64, error) {
	rows, err := s.r.QueryContext(ctx, "SELECT DISTINCT trigger_id FROM deliveries WHERE state = 'dead' AND reported = 0 ORDER BY trigger_id")
	ids, err := collect(rows, err, scanID)
	return ids, wrap("read dead deliveries", err)
}

func scanID(r row) (id int64, err error) { return id, r.Scan(&id) }

// NextDelivery returns a trigger's first pending delivery after the one with
// seq (0 for the very first), and its event. Overtaken ones that aren't due are
// passed over; others are returned also when they aren't due at now (see Wait),
// since what comes after them has to wait.
func (s *Store) NextDelivery(ctx context.Context, triggerID, seq int64, now time.Time) (d Delivery, e Event, ok bool, err error) {
	df, doneDelivery := deliveryFields(&d)
	ef, doneEvent := eventFields(&e)
	err = s.r.QueryRowContext(ctx, "SELECT "+deliveryColumns+", "+eventColumns+` FROM deliveries d JOIN event_log e ON e.id = d.event_id
		WHERE d.state = 'pending' AND d.trigger_id = ? AND d.seq > ? AND (d.overtaken = 0 OR d.next_at <= ? OR d.tried_at > ?) ORDER BY d.seq LIMIT 1`,
		triggerID, seq, nanos(now), nanos(now)).Scan(append(df, ef...)...)
	if err == nil {
		doneDelivery()
		err = doneEvent()
	}
	if errors.Is(err, sql.ErrNoRows) {
		return Delivery{}, Event{}, false, nil
	}
	return d, e, err == nil, wrap("read outbox", err)
}

// NextOvertaken returns when a trigger's first overtaken delivery is due, by a
// clock that shows now; zero if there is none.
func (s *Store) NextOvertaken(ctx context.Context, triggerID int64, now time.Time) (time.Time, error) {
	var n int64
	err := s.r.QueryRowContext(ctx, `SELECT coalesce(min(CASE WHEN tried_at > ? THEN ? ELSE next_at END), 0)
		FROM deliveries WHERE state = 'pending' AND trigger_id = ? AND overtaken`, nanos(now), nanos(now), triggerID).Scan(&n)
	if n == 0 || err != nil {
		return time.Time{}, wrap("read outbox", err)
	}
	return now.Add(time.Duration(n - nanos(now))), nil
}

// RecordAttempts keeps the outcomes of attempts, together: each delivery's
// State, TriedAt, NextAt, Overtaken, LastStatus and LastError. ErrNotFound says that one
// has gone with its trigger; the others are kept all the same. One that was made
// to start again meanwhile (its Since differs) stays as it is.
func (s *Store) RecordAttempts(ctx context.Context, ds ...Delivery) error {
	var gone error
	// Forgotten, they are sent again, under the same ids.
	err := s.relaxed(ctx, "record delivery", func(tx *sql.Tx) error {
		for _, d := range ds {
			// A dead delivery is reported by an event, except where it carried
			// such a report: two broken triggers would go on reporting each other.
			err := found(tx.ExecContext(ctx, `UPDATE deliveries SET state = ?, attempts = attempts + 1, tried_at = ?, next_at = ?, overtaken = ?, last_status = ?, last_error = ?,
				reported = (SELECT source = 'system' AND metadata ->> '$.about' IS ? FROM event_log WHERE id = event_id)
				WHERE id = ? AND since = ?`,
				d.State, nanos(d.TriedAt), nanos(d.NextAt), d.Overtaken, d.LastStatus, d.LastError, aboutDead, d.ID, nanos(d.Since)))
			if errors.Is(err, ErrNotFound) {
				gone = err
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	return cmp.Or(err, gone)
}

// Overtake marks a pending delivery as overtaken: later ones got through.
func (s *Store) Overtake(ctx context.Context, id string) error {
	return s.change(ctx, "record delivery", func(tx *sql.Tx) error {
		return found(tx.ExecContext(ctx, "UPDATE deliveries SET overtaken = 1 WHERE id = ? AND state = 'pending'", id))
	})
}

// ReportDead puts one system event into the log about all of a trigger's dead
// deliveries that no event is about yet, if there are any. route is as in
// Commit; the trigger itself gets nothing.
func (s *Store) ReportDead(ctx context.Context, triggerID int64, route func(Event) []int64) error {
	_, err := s.tx(ctx, func(tx *sql.Tx) ([]Event, error) {
		var n int64
		var last Delivery
		var name string
		err := tx.QueryRowContext(ctx, `SELECT count(*), max(d.seq), d.last_status, d.last_error, t.name FROM deliveries d JOIN triggers t ON t.id = d.trigger_id
			WHERE d.trigger_id = ? AND d.state = 'dead' AND d.reported = 0 HAVING count(*) > 0`, triggerID).
			Scan(&n, &last.Seq, &last.LastStatus, &last.LastError, &name)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		_, err = tx.ExecContext(ctx, "UPDATE deliveries SET reported = 1 WHERE trigger_id = ? AND state = 'dead' AND reported = 0", triggerID)
		if err != nil {
			return nil, err
		}
		what := "1 delivery was"
		if n > 1 {
			what = fmt.Sprintf("%d deliveries were", n)
		}
		return s.insertEvents(ctx, tx, []Event{{
			Source: SourceSystem, Severity: "error",
			Message: fmt.Sprintf("Trigger %s: %s given up: %s. They are kept as dead and can be redelivered.", name, what, last.LastError),
			Metadata: map[string]any{
				"about": aboutDead, "trigger_id": triggerID, "trigger_name": name,
				"deliveries": n, "last_status": last.LastStatus, "last_error": last.LastError,
			},
		}}, route)
	})
	return wrap("report dead deliveries", err)
}
