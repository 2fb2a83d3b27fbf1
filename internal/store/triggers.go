package store

import (
	"context"
	"database/sql"

	"logscan/internal/trigger"
)

func scanTrigger(r row) (t trigger.Trigger, err error) {
	err = scanDefinition(r, trigger.Fields, &t, &t.ID, &t.CreatedAt, &t.UpdatedAt)
	return t, err
}

// Triggers returns all triggers, by id, with their secrets.
func (s *Store) Triggers(ctx context.Context) ([]trigger.Trigger, error) {
	rows, err := s.r.QueryContext(ctx, "SELECT "+definitionColumns+" FROM triggers ORDER BY id")
	triggers, err := collect(rows, err, scanTrigger)
	return triggers, wrap("read triggers", err)
}

// Trigger returns one trigger, with its secret.
func (s *Store) Trigger(ctx context.Context, id int64) (trigger.Trigger, error) {
	t, err := scanTrigger(s.r.QueryRowContext(ctx, "SELECT "+definitionColumns+" FROM triggers WHERE id = ?", id))
	return t, wrap("read trigger", err)
}

// CreateTrigger adds a trigger and returns it with its id and times. Its fields
// are the caller's to check.
func (s *Store) CreateTrigger(ctx context.Context, t trigger.Trigger) (trigger.Trigger, error) {
	t.CreatedAt = instant(nanos(s.now()))
	t.UpdatedAt = t.CreatedAt
	err := s.change(ctx, "add trigger", func(tx *sql.Tx) error {
		if err := full(ctx, tx, "triggers", MaxTriggers); err != nil {
			return err
		}
		definition, err := trigger.Fields.MarshalDefinition(t)
		if err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, "INSERT INTO triggers (definition, created_at, updated_at) VALUES (?, ?, ?)", string(definition), nanos(t.CreatedAt), nanos(t.UpdatedAt))
		if err == nil {
			t.ID, err = res.LastInsertId()
		}
		return err
	})
	if err != nil {
		return trigger.Trigger{}, err
	}
	return t, nil
}

// UpdateTrigger replaces the trigger with t's id. What waits to be delivered
// goes where the trigger now points; while it is disabled, it waits.
func (s *Store) UpdateTrigger(ctx context.Context, t trigger.Trigger) (trigger.Trigger, error) {
	err := s.change(ctx, "change trigger", func(tx *sql.Tx) error {
		definition, err := trigger.Fields.MarshalDefinition(t)
		if err != nil {
			return err
		}
		err = found(tx.ExecContext(ctx, "UPDATE triggers SET definition = ?, updated_at = ? WHERE id = ?", string(definition), nanos(s.now()), t.ID))
		if err != nil {
			return err
		}
		s.touchLocked(t.ID)
		t, err = scanTrigger(tx.QueryRowContext(ctx, "SELECT "+definitionColumns+" FROM triggers WHERE id = ?", t.ID))
		return err
	})
	if err != nil {
		return trigger.Trigger{}, err
	}
	return t, nil
}

// DeleteTrigger removes a trigger and its deliveries.
func (s *Store) DeleteTrigger(ctx context.Context, id int64) error {
	return s.change(ctx, "remove trigger", func(tx *sql.Tx) error {
		s.touchLocked(id)
		return found(tx.ExecContext(ctx, "DELETE FROM triggers WHERE id = ?", id)) // deliveries: ON DELETE CASCADE
	})
}
