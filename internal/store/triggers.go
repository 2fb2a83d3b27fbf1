package store

import (
	"context"
	"database/sql"
	"log/slog"
	"time"
)

// Trigger sends events to a URL. Its filters are ANDed; an empty one matches
// all.
type Trigger struct {
	ID           int64     `json:"id"`
	Name         string    `json:"name"`
	Enabled      bool      `json:"enabled"`
	Severities   string    `json:"severities"` // comma-separated
	Sources      string    `json:"sources"`    // comma-separated
	MessageRegex string    `json:"message_regex"`
	ActionURL    string    `json:"-"` // may hold a password or token
	ActionSecret string    `json:"-"`
	CreatedAt    time.Time `json:"created_at"`
	UpdatedAt    time.Time `json:"updated_at"`
}

// LogValue keeps URL and secret out of logs.
func (t Trigger) LogValue() slog.Value {
	return slog.GroupValue(slog.Int64("id", t.ID), slog.String("name", t.Name))
}

// String keeps URL and secret out of formatted text.
func (t Trigger) String() string { return "trigger " + t.Name }

// GoString does the same for %#v.
func (t Trigger) GoString() string { return t.String() }

const triggerColumns = "id, name, enabled, severities, sources, message_regex, action_url, action_secret, created_at, updated_at"

func scanTrigger(r row) (Trigger, error) {
	var t Trigger
	var created, updated int64
	err := r.Scan(&t.ID, &t.Name, &t.Enabled, &t.Severities, &t.Sources, &t.MessageRegex, &t.ActionURL, &t.ActionSecret, &created, &updated)
	t.CreatedAt, t.UpdatedAt = instant(created), instant(updated)
	return t, err
}

// Triggers returns all triggers, by id, with their secrets.
func (s *Store) Triggers(ctx context.Context) ([]Trigger, error) {
	rows, err := s.r.QueryContext(ctx, "SELECT "+triggerColumns+" FROM triggers ORDER BY id")
	triggers, err := collect(rows, err, scanTrigger)
	return triggers, wrap("read triggers", err)
}

// Trigger returns one trigger, with its secret.
func (s *Store) Trigger(ctx context.Context, id int64) (Trigger, error) {
	t, err := scanTrigger(s.r.QueryRowContext(ctx, "SELECT "+triggerColumns+" FROM triggers WHERE id = ?", id))
	return t, wrap("read trigger", err)
}

// CreateTrigger adds a trigger and returns it with its id and times. Its fields
// are the caller's to check.
func (s *Store) CreateTrigger(ctx context.Context, t Trigger) (Trigger, error) {
	t.CreatedAt = instant(nanos(s.now()))
	t.UpdatedAt = t.CreatedAt
	err := s.change(ctx, "add trigger", func(tx *sql.Tx) error {
		if err := full(ctx, tx, "triggers", MaxTriggers); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `INSERT INTO triggers (name, enabled, severities, sources, message_regex, action_url, action_secret, created_at, updated_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			t.Name, t.Enabled, t.Severities, t.Sources, t.MessageRegex, t.ActionURL, t.ActionSecret, nanos(t.CreatedAt), nanos(t.UpdatedAt))
		if err == nil {
			t.ID, err = res.LastInsertId()
		}
		return err
	})
	if err != nil {
		return Trigger{}, err
	}
	return t, nil
}

// UpdateTrigger replaces the trigger with t's id. What waits to be delivered
// goes where the trigger now points; while it is disabled, it waits.
func (s *Store) UpdateTrigger(ctx context.Context, t Trigger) (Trigger, error) {
	err := s.change(ctx, "change trigger", func(tx *sql.Tx) error {
		err := found(tx.ExecContext(ctx, `UPDATE triggers SET name = ?, enabled = ?, severities = ?, sources = ?, message_regex = ?, action_url = ?, action_secret = ?, updated_at = ?
			WHERE id = ?`,
			t.Name, t.Enabled, t.Severities, t.Sources, t.MessageRegex, t.ActionURL, t.ActionSecret, nanos(s.now()), t.ID))
		if err != nil {
			return err
		}
		t, err = scanTrigger(tx.QueryRowContext(ctx, "SELECT "+triggerColumns+" FROM triggers WHERE id = ?", t.ID))
		return err
	})
	if err != nil {
		return Trigger{}, err
	}
	s.signal()
	return t, nil
}

// DeleteTrigger removes a trigger and its deliveries.
func (s *Store) DeleteTrigger(ctx context.Context, id int64) error {
	return s.change(ctx, "remove trigger", func(tx *sql.Tx) error {
		return found(tx.ExecContext(ctx, "DELETE FROM triggers WHERE id = ?", id)) // deliveries: ON DELETE CASCADE
	})
}
