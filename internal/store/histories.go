package store

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"time"

	"logscan/internal/event"
	"logscan/internal/rule"
)

// History is owed of a rule: what it would have told of the lines that were written since
// a time, before there was the rule.
type History struct {
	RuleID int64
	Since  time.Time
}

// Begin is the offset from which on lines of a container are evaluated by a rule whose
// history is owed.
type Begin struct {
	RuleID      int64
	ContainerID string
	Offset      int64
}

// putBegins stores those of rules whose histories are owed that aren't known.
func putBegins(ctx context.Context, tx *sql.Tx, all []Begin) error {
	for _, b := range all {
		if _, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO rule_begins SELECT rule_id, ?, ? FROM rule_histories WHERE rule_id = ?", b.ContainerID, b.Offset, b.RuleID); err != nil {
			return err
		}
	}
	return nil
}

// Begins returns where rules begin in the log of a container, by rule, as far as that is
// stored: of those whose histories are owed.
func (s *Store) Begins(ctx context.Context, containerID string) (map[int64]int64, error) {
	out := map[int64]int64{}
	rows, err := s.r.QueryContext(ctx, "SELECT rule_id, begins FROM rule_begins WHERE container_id = ?", containerID)
	_, err = collect(rows, err, func(r row) (id int64, err error) {
		var at int64
		if err = r.Scan(&id, &at); err == nil {
			out[id] = at
		}
		return id, err
	})
	return out, wrap("read where rules begin", err)
}

// CreateRuleWithHistory is CreateRule, and has the rule's history be owed.
func (s *Store) CreateRuleWithHistory(ctx context.Context, r rule.Rule, since time.Time) (rule.Rule, error) {
	return s.createRule(ctx, r, func(tx *sql.Tx, id int64) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO rule_histories VALUES (?, ?)", id, nanos(since))
		return err
	})
}

// Histories returns those that are owed, by rule.
func (s *Store) Histories(ctx context.Context) ([]History, error) {
	rows, err := s.r.QueryContext(ctx, "SELECT rule_id, since FROM rule_histories ORDER BY rule_id")
	owed, err := collect(rows, err, func(r row) (h History, err error) {
		var since int64
		err = r.Scan(&h.RuleID, &since)
		h.Since = instant(since)
		return h, err
	})
	return owed, wrap("read histories", err)
}

// PutHistory stores the events of a history that is owed, which is then owed no more, in
// one transaction. Of one that isn't, nothing is stored. The events are marked, are part of
// no incident, and nobody is told.
func (s *Store) PutHistory(ctx context.Context, ruleID int64, events []event.Event) error {
	_, err := s.tx(ctx, func(tx *sql.Tx) ([]event.Event, error) {
		err := found(tx.ExecContext(ctx, "DELETE FROM rule_histories WHERE rule_id = ?", ruleID))
		if errors.Is(err, ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		var stored []event.Event
		for _, e := range events {
			e.Metadata = maps.Clone(e.Metadata)
			e.Metadata[event.History] = true
			e.ID, e.IncidentID, e.CreatedAt = 0, 0, time.Time{}
			e, ok, err := s.insertOr(ctx, tx, e, bare, nil)
			if err != nil {
				return nil, err
			}
			if ok {
				stored = append(stored, e)
			}
		}
		return stored, nil
	})
	return wrap("store history", err)
}

// bare is an event that the database refuses, without what the container wrote.
func bare(e event.Event, _ error) event.Event {
	m := map[string]any{event.History: true}
	for _, name := range []string{"rule_id", "rule_name", "workload_id", "container_id", "container_name", "line_time"} {
		if v, ok := e.Metadata[name]; ok {
			m[name] = v
		}
	}
	e.Message, e.Metadata, e.Around = "A hit whose text can't be stored.", m, nil
	return e
}
