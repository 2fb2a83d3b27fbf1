package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"logscan/internal/channel"
	"logscan/internal/event"
	"logscan/internal/trigger"
)

// aboutDead marks the event that sums up dead deliveries, in its metadata.
const aboutDead = "dead_deliveries"

// maxDeliveries bounds one answer of Deliveries.
const maxDeliveries = 10_000

// MaxPending is how many deliveries of a trigger may wait. Beyond that, the
// oldest are given up.
const MaxPending = 10_000

// giveUpStep is how many are given up for one that comes, where there are far
// too many: the file may be from a version that had no bound.
const giveUpStep = 1000

const deliveryColumns = "d.seq, d.id, ifnull(d.event_id, 0), d.incident_id, d.trigger_id, d.state, d.attempts, d.tried_at, d.next_at, d.since, d.last_status, d.last_error, d.created_at"

func deliveryFields(d *trigger.Delivery) (fields []any, done func()) {
	var tried, next, since, created int64
	return []any{&d.Seq, &d.ID, &d.EventID, &d.IncidentID, &d.TriggerID, &d.State, &d.Attempts, &tried, &next, &since, &d.LastStatus, &d.LastError, &created}, func() {
		d.TriedAt, d.NextAt, d.Since, d.CreatedAt = instant(tried), instant(next), instant(since), instant(created)
	}
}

func scanDelivery(r row) (trigger.Delivery, error) {
	var d trigger.Delivery
	fields, done := deliveryFields(&d)
	err := r.Scan(fields...)
	done()
	return d, err
}

// DeliveryFilter selects deliveries; what is zero doesn't select.
type DeliveryFilter struct {
	State     trigger.State
	TriggerID int64
	EventID   int64
	Before    string // the id of a delivery: only older ones
	Limit     int    // at most 10,000, which 0 means too
}

// Deliveries returns the deliveries that match, the newest first.
func (s *Store) Deliveries(ctx context.Context, f DeliveryFilter) ([]trigger.Delivery, error) {
	q, args := "SELECT "+deliveryColumns+" FROM deliveries d WHERE true", []any{}
	if f.State != "" {
		q, args = q+" AND state = ?", append(args, f.State)
	}
	if f.TriggerID != 0 {
		q, args = q+" AND trigger_id = ?", append(args, f.TriggerID)
	}
	if f.EventID != 0 {
		q, args = q+" AND event_id = ?", append(args, f.EventID)
	}
	if f.Before != "" {
		q, args = q+" AND seq < (SELECT seq FROM deliveries WHERE id = ?)", append(args, f.Before)
	}
	if f.Limit <= 0 || f.Limit > maxDeliveries {
		f.Limit = maxDeliveries
	}
	rows, err := s.r.QueryContext(ctx, q+" ORDER BY seq DESC LIMIT ?", append(args, f.Limit)...)
	deliveries, err := collect(rows, err, scanDelivery)
	return deliveries, wrap("read deliveries", err)
}

// Delivery returns one delivery.
func (s *Store) Delivery(ctx context.Context, id string) (trigger.Delivery, error) {
	d, err := scanDelivery(s.r.QueryRowContext(ctx, "SELECT "+deliveryColumns+" FROM deliveries d WHERE id = ?", id))
	return d, wrap("read delivery", err)
}

// DeliveryCounts returns how many deliveries are in each state.
func (s *Store) DeliveryCounts(ctx context.Context) (map[trigger.State]int64, error) {
	out := map[trigger.State]int64{trigger.Pending: 0, trigger.Delivered: 0, trigger.Dead: 0}
	rows, err := s.r.QueryContext(ctx, "SELECT state, sum(n) FROM delivery_counts GROUP BY state")
	_, err = collect(rows, err, func(r row) (struct{}, error) {
		var state trigger.State
		var n int64
		err := r.Scan(&state, &n)
		out[state] = n
		return struct{}{}, err
	})
	return out, wrap("count deliveries", err)
}

// startAgain makes deliveries pending under their old ids, with their whole time
// before them.
const startAgain = "UPDATE deliveries SET state = 'pending', awaits = 0, attempts = 0, tried_at = 0, next_at = ?, since = ?, reported = 0"

// Redeliver makes a delivery pending again, whatever became of it.
func (s *Store) Redeliver(ctx context.Context, id string) (trigger.Delivery, error) {
	var d trigger.Delivery
	now := nanos(s.now())
	err := s.change(ctx, "redeliver", func(tx *sql.Tx) error {
		err := found(tx.ExecContext(ctx, startAgain+" WHERE id = ?", now, now, id))
		if err != nil {
			return err
		}
		d, err = scanDelivery(tx.QueryRowContext(ctx, "SELECT "+deliveryColumns+" FROM deliveries d WHERE id = ?", id))
		s.touchLocked(d.TriggerID)
		return err
	})
	if err != nil {
		return trigger.Delivery{}, err
	}
	return d, nil
}

// RedeliverAll makes a trigger's deliveries in a state pending again, the newest
// ones where more would wait than may, and returns how many.
func (s *Store) RedeliverAll(ctx context.Context, triggerID int64, state trigger.State) (int64, error) {
	var n int64
	now := nanos(s.now())
	err := s.change(ctx, "redeliver", func(tx *sql.Tx) error {
		var exists bool
		err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM triggers WHERE id = ?)", triggerID).Scan(&exists)
		switch {
		case err != nil:
			return err
		case !exists:
			return ErrNotFound
		}
		waiting, err := pending(ctx, tx, triggerID)
		if err != nil {
			return err
		}
		room := s.maxPending - waiting
		res, err := tx.ExecContext(ctx, startAgain+` WHERE seq IN (
			SELECT seq FROM deliveries WHERE trigger_id = ? AND state = ? ORDER BY seq DESC LIMIT ?)`, now, now, triggerID, state, max(room, 0))
		if err == nil {
			n, err = res.RowsAffected()
		}
		s.touchLocked(triggerID)
		return err
	})
	return n, err
}

// pending returns how many deliveries of a trigger wait.
func pending(ctx context.Context, tx *sql.Tx, triggerID int64) (n int64, err error) {
	err = tx.QueryRowContext(ctx, "SELECT coalesce((SELECT n FROM delivery_counts WHERE trigger_id = ? AND state = 'pending'), 0)", triggerID).Scan(&n)
	return n, err
}

// reported says whether a delivery that dies counts as reported: it does where it
// carried such a report, or two broken triggers would go on reporting each other.
const reported = "reported = about_dead"

// insertDeliveries makes e's deliveries to triggers, and gives up the oldest of a
// trigger's where too many wait.
func (s *Store) insertDeliveries(ctx context.Context, tx *sql.Tx, e event.Event, triggers []int64) error {
	for _, t := range triggers {
		if t == aboutTrigger(e) {
			continue // a trigger that fails isn't told so by itself
		}
		err := s.insertDelivery(ctx, tx, outgoing{
			id: "msg_" + rand.Text(), triggerID: t, eventID: e.ID, shows: e.ID, aboutDead: e.Source == event.System && e.Metadata["about"] == aboutDead,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// outgoing is a new delivery: of an event, or of a message.
type outgoing struct {
	id         string
	triggerID  int64
	eventID    int64 // 0 for none
	shows      int64 // the event of which it has the context; 0 for none
	message    string
	incidentID int64
	thread     int64 // the incident in whose thread a message is; 0 for none
	aboutDead  bool
}

// longestTurn is how long a message waits for the one before it in its thread, at the
// most: that has its outcome by then.
const longestTurn = 25 * time.Hour

// turn is when the message before a new one in a thread has its outcome at the latest;
// 0 where it has.
const turn = "SELECT coalesce(max(since) + ?, 0) FROM deliveries WHERE trigger_id = ? AND thread = ? AND thread <> 0 AND state = 'pending'"

func (s *Store) insertDelivery(ctx context.Context, tx *sql.Tx, o outgoing) error {
	now := nanos(s.now())
	next := now
	if o.thread != 0 {
		if err := tx.QueryRowContext(ctx, turn, int64(longestTurn), o.triggerID, o.thread).Scan(&next); err != nil {
			return err
		}
		next = max(next, now)
	}
	awaits := int64(0)
	if next == now {
		var err error
		if next, awaits, err = awaited(ctx, tx, o, now); err != nil {
			return err
		}
	}
	// The trigger may have gone since it was known.
	_, err := tx.ExecContext(ctx, `INSERT INTO deliveries (id, event_id, trigger_id, state, next_at, since, created_at, message, incident_id, thread, about_dead, awaits)
		SELECT ?, nullif(?, 0), id, 'pending', ?, ?, ?, ?, ?, ?, ?, ? FROM triggers WHERE id = ?`,
		o.id, o.eventID, next, now, now, o.message, o.incidentID, o.thread, o.aboutDead, awaits, o.triggerID)
	if err != nil {
		return err
	}
	s.touchLocked(o.triggerID)
	n, err := pending(ctx, tx, o.triggerID)
	if err != nil || n <= s.maxPending {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE deliveries SET state = 'dead', next_at = 0, last_error = ?, `+reported+` WHERE seq IN (
		SELECT seq FROM deliveries WHERE trigger_id = ? AND state = 'pending' ORDER BY seq LIMIT ?)`,
		fmt.Sprintf("more than %d deliveries waited, and the oldest gave way", s.maxPending), o.triggerID, min(n-s.maxPending, giveUpStep))
	s.changed.Dead = true
	return err
}

// Resume implements trigger.Outbox.
func (s *Store) Resume(ctx context.Context, now time.Time) ([]int64, error) {
	n := nanos(now)
	err := s.relaxed(ctx, "read outbox", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE deliveries SET next_at = ?1 WHERE state = 'pending'
			AND (next_at > ?1 AND max(tried_at, since) > ?1 OR awaits <> 0 AND next_at > ?2)`, n, n+longestWait)
		return err
	})
	if err != nil {
		return nil, err
	}
	rows, err := s.d.QueryContext(ctx, "SELECT id FROM triggers WHERE enabled ORDER BY id")
	ids, err := collect(rows, err, scanID)
	return ids, wrap("read outbox", err)
}

func scanID(r row) (id int64, err error) { return id, r.Scan(&id) }

// nextDelivery is two look-ups in an index, so that its cost doesn't grow with the
// number of deliveries that wait, nor of those that are due at the same time.
const nextDelivery = "SELECT " + deliveryColumns + `, d.message,
	ifnull((SELECT ref FROM threads t WHERE t.trigger_id = d.trigger_id AND t.incident_id = d.thread AND t.seq < d.seq), ''), ifnull(e.id, 0), ifnull(e.source, ''), ifnull(e.severity, ''), ifnull(e.message, ''), ifnull(e.metadata, '{}'), ifnull(e.created_at, 0), ifnull(e.incident_id, 0)
	FROM deliveries d LEFT JOIN event_log e ON e.id = d.event_id WHERE d.seq = coalesce(
	(SELECT seq FROM deliveries WHERE state = 'pending' AND trigger_id = ?1 AND next_at = ?2 AND seq > ?3 ORDER BY seq LIMIT 1),
	(SELECT seq FROM deliveries WHERE state = 'pending' AND trigger_id = ?1 AND next_at > ?2 ORDER BY next_at, seq LIMIT 1))`

// Next implements trigger.Outbox.
func (s *Store) Next(ctx context.Context, triggerID int64, after trigger.Delivery) (trigger.Job, error) {
	t, err := s.scanTrigger(s.d.QueryRowContext(ctx, "SELECT "+triggerColumns+" FROM triggers WHERE id = ? AND enabled", triggerID))
	if errors.Is(err, sql.ErrNoRows) {
		return trigger.Job{}, nil
	}
	if err != nil {
		return trigger.Job{}, wrap("read outbox", err)
	}
	job := trigger.Job{Trigger: t}
	df, doneDelivery := deliveryFields(&job.Delivery)
	ef, doneEvent := eventFields(&job.Event)
	var message, ref string
	err = s.d.QueryRowContext(ctx, nextDelivery, triggerID, nanos(after.NextAt), after.Seq).Scan(append(append(df, &message, &ref), ef...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return trigger.Job{Trigger: t}, nil
	}
	if err == nil {
		doneDelivery()
		err = doneEvent()
	}
	if err == nil && message != "" {
		job.Message = &channel.Message{}
		err = json.Unmarshal([]byte(message), job.Message)
		job.Message.Ref = ref
	}
	if err == nil {
		err = addContext(ctx, s.d, &job)
	}
	return job, wrap("read outbox", err)
}

// lastTold is a look-up in an index for each incident that isn't resolved, and two in
// another one. What is open of rules in shadow is left to be forgotten.
const lastTold = "SELECT " + deliveryColumns + `, d.message FROM incidents i INDEXED BY incidents_unresolved CROSS JOIN deliveries d
	WHERE i.state <> 'resolved' AND i.id > ?2 AND i.data ->> '$.shadow' IS NULL
	AND d.seq = (SELECT max(seq) FROM deliveries WHERE trigger_id = ?1 AND incident_id = i.id AND incident_id <> 0 AND state = 'delivered')
	AND NOT EXISTS (SELECT 1 FROM deliveries WHERE trigger_id = ?1 AND incident_id = i.id AND incident_id <> 0 AND state = 'pending')
	ORDER BY i.id LIMIT 1`

// LastTold implements trigger.Outbox.
func (s *Store) LastTold(ctx context.Context, triggerID, after int64) (trigger.Job, error) {
	var job trigger.Job
	var message string
	fields, done := deliveryFields(&job.Delivery)
	err := s.d.QueryRowContext(ctx, lastTold, triggerID, after).Scan(append(fields, &message)...)
	if errors.Is(err, sql.ErrNoRows) {
		return trigger.Job{}, nil
	}
	if err == nil {
		done()
		job.Message = &channel.Message{}
		err = json.Unmarshal([]byte(message), job.Message)
	}
	return job, wrap("read what is open", err)
}

// Record implements trigger.Outbox.
func (s *Store) Record(ctx context.Context, outcomes []trigger.Delivery) error {
	// Forgotten, they are sent again, under the same ids.
	return s.relaxed(ctx, "record delivery", func(tx *sql.Tx) error {
		for _, d := range outcomes {
			_, err := tx.ExecContext(ctx, `UPDATE deliveries SET state = ?, awaits = 0, attempts = attempts + 1, tried_at = ?, next_at = ?, last_status = ?, last_error = ?, `+reported+`
				WHERE id = ? AND since = ?`,
				d.State, nanos(d.TriedAt), nanos(d.NextAt), d.LastStatus, d.LastError, d.ID, nanos(d.Since))
			if err == nil && d.Ref != "" {
				_, err = tx.ExecContext(ctx, keepRef, d.Ref, d.ID, nanos(d.Since))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// keepRef keeps what a service gave for a message in a thread, unless there is
// something newer.
const keepRef = `INSERT INTO threads SELECT d.trigger_id, d.thread, d.seq, ? FROM deliveries d JOIN incidents i ON i.id = d.thread WHERE d.id = ? AND d.since = ?
	ON CONFLICT DO UPDATE SET seq = excluded.seq, ref = excluded.ref WHERE excluded.seq >= threads.seq`

// dead sums up a trigger's deliveries that died and that no event is about yet.
type dead struct {
	trigger    int64
	name       string
	n          int64
	lastSeq    int64
	lastStatus int
	lastError  string
}

// ReportDead implements trigger.Outbox.
func (s *Store) ReportDead(ctx context.Context, route func(event.Event) []int64) (int, error) {
	const unreported = "state = 'dead' AND reported = 0"
	var some bool
	if err := s.d.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM deliveries WHERE "+unreported+")").Scan(&some); err != nil || !some {
		return 0, wrap("report dead deliveries", err)
	}
	events, err := s.tx(ctx, func(tx *sql.Tx) ([]event.Event, error) {
		// The bare columns are those of the row with the greatest seq.
		rows, err := tx.QueryContext(ctx, `SELECT t.id, t.name, count(*), max(d.seq), d.last_status, d.last_error
			FROM deliveries d JOIN triggers t ON t.id = d.trigger_id WHERE d.`+unreported+` GROUP BY t.id`)
		all, err := collect(rows, err, func(r row) (d dead, err error) {
			return d, r.Scan(&d.trigger, &d.name, &d.n, &d.lastSeq, &d.lastStatus, &d.lastError)
		})
		if err != nil {
			return nil, err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE deliveries SET reported = 1 WHERE "+unreported); err != nil {
			return nil, err
		}
		var b Batch
		for _, d := range all {
			what := "1 delivery was"
			if d.n > 1 {
				what = fmt.Sprintf("%d deliveries were", d.n)
			}
			b.Events = append(b.Events, event.Event{
				Source: event.System, Severity: event.Error,
				Message: fmt.Sprintf("Trigger %s: %s given up: %s. They are kept as dead and can be redelivered.", d.name, what, d.lastError),
				Metadata: map[string]any{
					"about": aboutDead, "trigger_id": d.trigger, "trigger_name": d.name,
					"deliveries": d.n, "last_status": d.lastStatus, "last_error": d.lastError,
				},
			})
		}
		return s.insertEvents(ctx, tx, b, route)
	})
	return len(events), wrap("report dead deliveries", err)
}
