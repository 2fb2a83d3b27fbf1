package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mattn/go-sqlite3"

	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/trigger"
)

// maxEvents bounds one answer of Events.
const maxEvents = 10_000

// aboutTrigger is the trigger that a system event is about, or 0.
func aboutTrigger(e event.Event) int64 {
	if id, ok := e.Metadata["trigger_id"].(int64); ok && e.Source == event.System {
		return id
	}
	return 0
}

// Cursor is how far a container's log has been scanned. Position and State
// belong to the scanner, who alone knows their form.
type Cursor struct {
	ContainerID string
	Position    []byte // where scanning goes on
	State       []byte // the rule engine's state there
	Revision    int64  // of the cursor that it follows, plus 1; 0 follows any
}

// Batch is what one Commit makes true at once.
type Batch struct {
	Cursors []Cursor
	Begins  []Begin       // those that are known stay as they are
	Events  []event.Event // ID is given; CreatedAt too, where it is zero
	// Suppressed is what rules held back: no events, it counts in incidents behind
	// those. Settings are given.
	Suppressed []incident.Hit
	// Outcomes are behind those, in order.
	Outcomes []Outcome
	// Correlated is what Outcomes leave behind; nil for nothing.
	Correlated *Correlated
	// Instead gives the event that is stored in the place of one that the
	// database refuses with err, which wraps ErrRefused. If that is refused
	// too, none is stored. nil: Commit fails with err.
	Instead func(e event.Event, err error) event.Event
}

// ErrRefused means that the database works, but doesn't take an event for what
// it holds: neither will it later.
var ErrRefused = errors.New("the database refuses an event for what it holds")

// Commit stores cursors and events, and a pending delivery for each event and
// each trigger that route names (nil: none), in one transaction. It returns the
// events with their ids and publishes them. route and Batch.Instead are called
// inside the transaction and must not use the store. A trigger that has just
// gone, and the one that a system event is about, get nothing.
//
// A commit may fail although it was persisted. With revisions in its cursors it
// can be repeated as it is until it succeeds: what is stored already is not
// stored again, and then no events are returned.
func (s *Store) Commit(ctx context.Context, b Batch, route func(event.Event) []int64) ([]event.Event, error) {
	cursors := func(tx *sql.Tx) error {
		if b.Correlated != nil {
			if err := putCorrelated(ctx, tx, *b.Correlated); err != nil {
				return err
			}
		}
		if err := putBegins(ctx, tx, b.Begins); err != nil {
			return err
		}
		for _, c := range b.Cursors {
			if err := s.putCursor(ctx, tx, c); err != nil {
				return err
			}
		}
		return nil
	}
	var events []event.Event
	var err error
	if len(b.Events)+len(b.Suppressed)+len(b.Outcomes) == 0 { // forgotten, the lines before them are evaluated again, to no effect
		err = s.relaxed(ctx, "commit", cursors)
	} else {
		events, err = s.tx(ctx, func(tx *sql.Tx) ([]event.Event, error) {
			if err := cursors(tx); err != nil {
				return nil, err
			}
			return s.insertEvents(ctx, tx, b, route)
		})
	}
	if errors.Is(err, errStored) {
		s.notify(trigger.Change{All: true}) // its deliveries may wait
		s.interrupt()
		return nil, nil
	}
	return events, wrap("commit", err)
}

func (s *Store) insertEvents(ctx context.Context, tx *sql.Tx, b Batch, route func(event.Event) []int64) ([]event.Event, error) {
	out := make([]event.Event, 0, len(b.Events))
	f := s.newFolding(tx)
	insert := func(e event.Event) error {
		e, err := f.mark(ctx, e)
		if err != nil {
			return err
		}
		stored, ok, err := s.insertOr(ctx, tx, e, b.Instead, route)
		if err != nil || !ok {
			return err
		}
		stored.IncidentID, err = f.add(ctx, stored)
		out = append(out, stored)
		return err
	}
	for _, e := range b.Events {
		if err := insert(e); err != nil {
			return nil, err
		}
	}
	for _, h := range b.Suppressed {
		if err := f.addHeld(ctx, h); err != nil {
			return nil, err
		}
	}
	for _, o := range b.Outcomes {
		var err error
		switch {
		case o.Event != nil:
			err = insert(*o.Event)
		case o.More != nil:
			err = f.addHeld(ctx, *o.More)
		case o.End != nil:
			err = f.endOpen(ctx, *o.End)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, f.flush(ctx)
}

// insertOr stores an event, or what is stored in the place of one that the database
// refuses. It is false where that is refused too.
func (s *Store) insertOr(ctx context.Context, tx *sql.Tx, e event.Event, instead func(event.Event, error) event.Event, route func(event.Event) []int64) (event.Event, bool, error) {
	if instead == nil {
		stored, err := s.insertEvent(ctx, tx, e, route)
		return stored, err == nil, err
	}
	if _, err := tx.ExecContext(ctx, "SAVEPOINT event"); err != nil {
		return e, false, err
	}
	stored, err := s.insertEvent(ctx, tx, e, route)
	for again := true; errors.Is(err, ErrRefused); again = false {
		if _, err := tx.ExecContext(ctx, "ROLLBACK TO event"); err != nil {
			return e, false, err
		}
		if !again {
			return e, false, nil
		}
		stored, err = s.insertEvent(ctx, tx, instead(e, err), route)
	}
	return stored, err == nil, err
}

// insertEvent stores an event and its deliveries, and returns it as it is stored.
func (s *Store) insertEvent(ctx context.Context, tx *sql.Tx, e event.Event, route func(event.Event) []int64) (event.Event, error) {
	if e.CreatedAt.IsZero() {
		e.CreatedAt = s.now()
	}
	e.CreatedAt = instant(nanos(e.CreatedAt))
	e.Message = strings.ToValidUTF8(e.Message, "\uFFFD")
	metadata := []byte("{}")
	if e.Metadata != nil {
		var err error
		if metadata, err = json.Marshal(e.Metadata); err != nil {
			return event.Event{}, fmt.Errorf("%w: metadata: %w", ErrRefused, err)
		}
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO event_log (source, severity, message, metadata, created_at) VALUES (?, ?, ?, ?, ?)`,
		e.Source, e.Severity, e.Message, string(metadata), nanos(e.CreatedAt))
	if err == nil {
		e.ID, err = res.LastInsertId()
	}
	if err == nil && e.Around != nil {
		_, err = tx.ExecContext(ctx, "INSERT INTO event_context VALUES (?, 1, 0, ?, '')", e.ID, asJSON(e.Around))
	}
	if err == nil && route != nil {
		err = s.insertDeliveries(ctx, tx, e, route(e))
	}
	return e, refused(err)
}

// refused marks the errors that are about what was to be stored, and not about
// the database.
func refused(err error) error {
	var e sqlite3.Error
	if errors.As(err, &e) && (e.Code == sqlite3.ErrConstraint || e.Code == sqlite3.ErrTooBig || e.Code == sqlite3.ErrMismatch) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// Events returns the events that match, in the order of ids.
func (s *Store) Events(ctx context.Context, f EventFilter) ([]event.Event, error) {
	q, args := f.sql()
	rows, err := s.r.QueryContext(ctx, q, args...)
	events, err := collect(rows, err, scanEvent)
	return events, wrap("read events", err)
}

// LastEventID is the greatest id of an event there is; 0 where there is none.
func (s *Store) LastEventID(ctx context.Context) (int64, error) {
	var id int64
	err := s.r.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM event_log").Scan(&id)
	return id, wrap("read the last event's id", err)
}

// Event returns one event.
func (s *Store) Event(ctx context.Context, id int64) (event.Event, error) {
	e, err := scanEvent(s.r.QueryRowContext(ctx, "SELECT "+eventColumns+" FROM event_log e WHERE id = ?", id))
	return e, wrap("read event", err)
}

const eventColumns = "e.id, e.source, e.severity, e.message, e.metadata, e.created_at, ifnull(e.incident_id, 0)"

// eventFields are where eventColumns are scanned to; done makes the event of
// them.
func eventFields(e *event.Event) (fields []any, done func() error) {
	var metadata string
	var created int64
	return []any{&e.ID, &e.Source, &e.Severity, &e.Message, &metadata, &created, &e.IncidentID}, func() error {
		e.CreatedAt = instant(created)
		if err := json.Unmarshal([]byte(metadata), &e.Metadata); err != nil {
			return fmt.Errorf("metadata of event %d: %w", e.ID, err)
		}
		return nil
	}
}

func scanEvent(r row) (event.Event, error) {
	var e event.Event
	fields, done := eventFields(&e)
	if err := r.Scan(fields...); err != nil {
		return event.Event{}, err
	}
	return e, done()
}

// pruneStep is how many events one transaction of Prune removes, so that no
// commit waits long for it.
const pruneStep = 1000

// undelivered says that an event is yet to be delivered.
const undelivered = "EXISTS (SELECT 1 FROM deliveries d WHERE d.event_id = e.id AND d.state = 'pending')"

// Prune removes events beyond the newest max (0 for no such bound), and those
// from before oldest (zero for no such bound), with what became of their
// deliveries. Events that are yet to be delivered stay. The same bounds hold for
// incidents that are over, and for messages.
func (s *Store) Prune(ctx context.Context, max int, oldest time.Time) error {
	if max > 0 {
		last, err := s.beyond(ctx, max)
		if err == nil {
			err = s.prune(ctx, "e.id <= ?", "e.id", last)
		}
		if err != nil {
			return wrap("prune events", err)
		}
	}
	if !oldest.IsZero() {
		if err := s.prune(ctx, "e.created_at < ?", "e.created_at", nanos(oldest)); err != nil {
			return wrap("prune events", err)
		}
	}
	if err := s.pruneWords(ctx, maxWords); err != nil {
		return wrap("prune last words", err)
	}
	if err := s.pruneContext(ctx, maxContext); err != nil {
		return wrap("prune context", err)
	}
	return wrap("prune incidents", s.pruneOthers(ctx, max, oldest))
}

// keepNewest is how many events, incidents that are over and messages PruneToSize
// keeps in any case.
const keepNewest = 1000

// PruneToSize removes the oldest events, incidents that are over and messages while
// what the database's file holds is more than that many bytes. The newest stay, and
// those that are yet to be delivered.
func (s *Store) PruneToSize(ctx context.Context, bytes int64) error {
	var last int64
	for n := pruneStep; n > 0; {
		p, err := readPages(ctx, s.r)
		if err != nil || (p.all-p.free)*p.size <= bytes {
			return wrap("prune events", err)
		}
		if last == 0 {
			if last, err = s.beyond(ctx, keepNewest); err != nil {
				return wrap("prune events", err)
			}
		}
		if n, err = s.pruneSome(ctx, "e.id <= ?", "e.id", last); err != nil {
			return wrap("prune events", err)
		}
		for _, k := range []kept{keptIncidents, keptMessages} {
			before, err := s.newestBut(ctx, k, keepNewest)
			if err != nil {
				return wrap("prune events", err)
			}
			removed, err := s.pruneKept(ctx, k, before)
			if n += removed; err != nil {
				return wrap("prune events", err)
			}
		}
	}
	return nil
}

// beyond returns the id of the newest event that isn't one of the newest n; 0 where
// there is none.
func (s *Store) beyond(ctx context.Context, n int) (id int64, err error) {
	err = s.r.QueryRowContext(ctx, "SELECT coalesce((SELECT id FROM event_log ORDER BY id DESC LIMIT 1 OFFSET ?), 0)", n).Scan(&id)
	return id, err
}

// prune removes the events that are to go.
func (s *Store) prune(ctx context.Context, where, order string, bound int64) error {
	for {
		if n, err := s.pruneSome(ctx, where, order, bound); err != nil || n < pruneStep {
			return err
		}
	}
}

// pruneSome removes the first of the events that are to go, and returns how many.
// Which these are is looked up beside the writer: many may have to be passed over.
func (s *Store) pruneSome(ctx context.Context, where, order string, bound int64) (n int, err error) {
	rows, err := s.r.QueryContext(ctx, "SELECT e.id FROM event_log e WHERE "+where+" AND NOT "+undelivered+" ORDER BY "+order+" LIMIT ?", bound, pruneStep)
	ids, err := collect(rows, err, scanID)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return 0, err
	}
	err = s.change(ctx, "remove", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM event_log AS e WHERE id IN (SELECT value FROM json_each(?)) AND NOT "+undelivered, string(list))
		return err
	})
	return len(ids), err
}
