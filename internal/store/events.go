package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Sources of events.
const (
	SourceLogscan = "logscan" // hits of rules
	SourceSystem  = "system"  // what logscan says about itself
)

// InARow is the key in a hit's metadata for the number of its rule's hits in its
// container in a row, where they are many.
const InARow = "in_a_row"

// maxEvents bounds one answer of Events.
const maxEvents = 10_000

// Event is an entry of the event log.
type Event struct {
	ID        int64          `json:"id"`
	Source    string         `json:"source"`
	Severity  string         `json:"severity"`
	Message   string         `json:"message"`
	Metadata  map[string]any `json:"metadata"`
	CreatedAt time.Time      `json:"created_at"`
}

// about is the trigger that a system event is about, or 0.
func (e Event) about() int64 {
	if id, ok := e.Metadata["trigger_id"].(int64); ok && e.Source == SourceSystem {
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
}

// Batch is what one Commit makes true at once.
type Batch struct {
	Cursors []Cursor
	Events  []Event // ID is given; CreatedAt too, where it is zero
}

// Commit stores cursors and events, and a pending delivery for each event and
// each trigger that route names (nil: none), in one transaction. It returns the
// events with their ids and publishes them. route is called inside the
// transaction and must not use the store. A trigger that has just gone, and
// the one that a system event is about, get nothing.
func (s *Store) Commit(ctx context.Context, b Batch, route func(Event) []int64) ([]Event, error) {
	cursors := func(tx *sql.Tx) error {
		for _, c := range b.Cursors {
			if err := s.putCursor(ctx, tx, c); err != nil {
				return err
			}
		}
		return nil
	}
	if len(b.Events) == 0 { // forgotten, the lines before them are evaluated again, to no effect
		return nil, s.relaxed(ctx, "commit", cursors)
	}
	events, err := s.tx(ctx, func(tx *sql.Tx) ([]Event, error) {
		if err := cursors(tx); err != nil {
			return nil, err
		}
		return s.insertEvents(ctx, tx, b.Events, route)
	})
	return events, wrap("commit", err)
}

func (s *Store) insertEvents(ctx context.Context, tx *sql.Tx, in []Event, route func(Event) []int64) ([]Event, error) {
	out := make([]Event, 0, len(in))
	for _, e := range in {
		if e.CreatedAt.IsZero() {
			e.CreatedAt = s.now()
		}
		e.CreatedAt = instant(nanos(e.CreatedAt))
		e.Message = strings.ToValidUTF8(e.Message, "\uFFFD")
		metadata := []byte("{}")
		if e.Metadata != nil {
			var err error
			if metadata, err = json.Marshal(e.Metadata); err != nil {
				return nil, fmt.Errorf("metadata: %w", err)
			}
		}
		res, err := tx.ExecContext(ctx, `INSERT INTO event_log (source, severity, message, metadata, created_at) VALUES (?, ?, ?, ?, ?)`,
			e.Source, e.Severity, e.Message, string(metadata), nanos(e.CreatedAt))
		if err != nil {
			return nil, err
		}
		if e.ID, err = res.LastInsertId(); err != nil {
			return nil, err
		}
		if route != nil {
			if err := s.insertDeliveries(ctx, tx, e, route(e)); err != nil {
				return nil, err
			}
		}
		out = append(out, e)
	}
	return out, nil
}

func (s *Store) insertDeliveries(ctx context.Context, tx *sql.Tx, e Event, triggers []int64) error {
	now := nanos(s.now())
	for _, t := range triggers {
		if t == e.about() {
			continue // a trigger that fails isn't told so by itself
		}
		// The trigger may have gone since route learnt of it.
		_, err := tx.ExecContext(ctx, `INSERT INTO deliveries (id, event_id, trigger_id, state, next_at, since, created_at)
			SELECT ?, ?, id, 'pending', ?, ?, ? FROM triggers WHERE id = ?`,
			"msg_"+rand.Text(), e.ID, now, now, now, t)
		if err != nil {
			return err
		}
	}
	return nil
}

// EventFilter selects events; what is zero doesn't select.
type EventFilter struct {
	Severities []string
	Source     string
	Workload   string
	Container  string // a name, or the beginning of an id
	Rule       string // a name
	RuleID     int64
	Since      time.Time
	Until      time.Time // exclusive
	After      int64     // ids greater than this
	Before     int64     // ids less than this
	Limit      int       // at most 10,000, which 0 means too
	Ascending  bool      // oldest first; else newest first
}

// Events returns the events that match, in the order of ids.
func (s *Store) Events(ctx context.Context, f EventFilter) ([]Event, error) {
	var where []string
	var args []any
	add := func(cond string, v ...any) {
		where = append(where, cond)
		args = append(args, v...)
	}
	if n := len(f.Severities); n > 0 {
		where = append(where, "severity IN (?"+strings.Repeat(", ?", n-1)+")")
		for _, v := range f.Severities {
			args = append(args, v)
		}
	}
	if f.Source != "" {
		add("source = ?", f.Source)
	}
	if f.Workload != "" {
		add("workload_id = ?", f.Workload)
	}
	if f.Container != "" {
		add("(container_name = ? OR substr(container_id, 1, length(?)) = ?)", f.Container, f.Container, f.Container)
	}
	if f.Rule != "" {
		add("rule_name = ?", f.Rule)
	}
	if f.RuleID != 0 {
		add("rule_id = ?", f.RuleID)
	}
	if !f.Since.IsZero() {
		add("created_at >= ?", nanos(f.Since))
	}
	if !f.Until.IsZero() {
		add("created_at < ?", nanos(f.Until))
	}
	if f.After > 0 {
		add("id > ?", f.After)
	}
	if f.Before > 0 {
		add("id < ?", f.Before)
	}
	q := "SELECT " + eventColumns + " FROM event_log e"
	if len(where) > 0 {
		q += " WHERE " + strings.Join(where, " AND ")
	}
	if f.Ascending {
		q += " ORDER BY id"
	} else {
		q += " ORDER BY id DESC"
	}
	if f.Limit <= 0 || f.Limit > maxEvents {
		f.Limit = maxEvents
	}
	rows, err := s.r.QueryContext(ctx, q+" LIMIT ?", append(args, f.Limit)...)
	events, err := collect(rows, err, scanEvent)
	return events, wrap("read events", err)
}

// Event returns one event.
func (s *Store) Event(ctx context.Context, id int64) (Event, error) {
	e, err := scanEvent(s.r.QueryRowContext(ctx, "SELECT "+eventColumns+" FROM event_log e WHERE id = ?", id))
	return e, wrap("read event", err)
}

const eventColumns = "e.id, e.source, e.severity, e.message, e.metadata, e.created_at"

// eventFields are where eventColumns are scanned to; done makes the event of
// them.
func eventFields(e *Event) (fields []any, done func() error) {
	var metadata string
	var created int64
	return []any{&e.ID, &e.Source, &e.Severity, &e.Message, &metadata, &created}, func() error {
		e.CreatedAt = instant(created)
		if err := json.Unmarshal([]byte(metadata), &e.Metadata); err != nil {
			return fmt.Errorf("metadata of event %d: %w", e.ID, err)
		}
		return nil
	}
}

func scanEvent(r row) (Event, error) {
	var e Event
	fields, done := eventFields(&e)
	if err := r.Scan(fields...); err != nil {
		return Event{}, err
	}
	return e, done()
}

// pruneStep is how many events one transaction of Prune removes, so that no
// commit waits long for it.
const pruneStep = 1000

// Prune removes events beyond the newest max (0 for no such bound), and those
// from before oldest (zero for no such bound), with what became of their
// deliveries. Events that are yet to be delivered stay.
func (s *Store) Prune(ctx context.Context, max int, oldest time.Time) error {
	var first int64 // with an id up to this
	if max > 0 {
		err := s.r.QueryRowContext(ctx, "SELECT coalesce((SELECT id FROM event_log ORDER BY id DESC LIMIT 1 OFFSET ?), 0)", max).Scan(&first)
		if err != nil {
			return wrap("prune events", err)
		}
	}
	for {
		var n int64
		err := s.change(ctx, "prune events", func(tx *sql.Tx) error {
			res, err := tx.ExecContext(ctx, `DELETE FROM event_log WHERE id IN (
				SELECT id FROM event_log e WHERE (created_at < ? OR id <= ?)
				AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_id = e.id AND d.state = 'pending') LIMIT ?)`,
				nanos(oldest), first, pruneStep)
			if err == nil {
				n, err = res.RowsAffected()
			}
			return err
		})
		if err != nil || n < pruneStep {
			return err
		}
	}
}
