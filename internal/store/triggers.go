package store

import (
	"context"
	"database/sql"

	"logscan/internal/fields"
	"logscan/internal/trigger"
)

// triggerColumns are definitionColumns and what is sealed.
const triggerColumns = definitionColumns + ", sealed"

// scanTrigger reads triggerColumns. Where what is sealed can't be opened, the trigger has
// the references themselves, which lead nowhere.
func (s *Store) scanTrigger(r row) (t trigger.Trigger, err error) {
	var sealed []byte
	if err := scanDefinition(with{r, &sealed}, trigger.Fields, &t, &t.ID, &t.CreatedAt, &t.UpdatedAt, &t.Managed); err != nil || len(sealed) == 0 {
		return t, err
	}
	secrets, err := s.openSealed(sealed)
	if err != nil {
		return t, nil
	}
	return unseal(t, secrets), nil
}

// Triggers returns all triggers, by id, with their secrets.
func (s *Store) Triggers(ctx context.Context) ([]trigger.Trigger, error) {
	rows, err := s.r.QueryContext(ctx, "SELECT "+triggerColumns+" FROM triggers ORDER BY id")
	triggers, err := collect(rows, err, s.scanTrigger)
	return triggers, wrap("read triggers", err)
}

// Trigger returns one trigger, with its secret.
func (s *Store) Trigger(ctx context.Context, id int64) (trigger.Trigger, error) {
	t, err := s.scanTrigger(s.r.QueryRowContext(ctx, "SELECT "+triggerColumns+" FROM triggers WHERE id = ?", id))
	return t, wrap("read trigger", err)
}

// CreateTrigger adds a trigger and returns it with its id and times. Its fields
// are the caller's to check.
func (s *Store) CreateTrigger(ctx context.Context, t trigger.Trigger) (trigger.Trigger, error) {
	t.Managed, t.Refs = fields.Managed{ManagedBy: fields.API}, nil
	err := s.change(ctx, "add trigger", func(tx *sql.Tx) error { return s.insertTrigger(ctx, tx, &t) })
	if err != nil {
		return trigger.Trigger{}, err
	}
	return t, nil
}

// insertTrigger adds a trigger, and sets its id and times.
func (s *Store) insertTrigger(ctx context.Context, tx *sql.Tx, t *trigger.Trigger) error {
	t.CreatedAt = instant(nanos(s.now()))
	t.UpdatedAt = t.CreatedAt
	if err := full(ctx, tx, "triggers", MaxTriggers); err != nil {
		return err
	}
	definition, sealed, err := s.seal(*t)
	if err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, "INSERT INTO triggers (definition, sealed, created_at, updated_at, managed_by, key, declared_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
		string(definition), sealed, nanos(t.CreatedAt), nanos(t.UpdatedAt), t.ManagedBy, t.Managed.Key, t.DeclaredAt)
	if err == nil {
		t.ID, err = res.LastInsertId()
	}
	if err != nil {
		return err
	}
	return s.logChange(ctx, tx, Change{Kind: KindTrigger, ID: t.ID, Name: t.Name, Action: Added, By: t.ManagedBy})
}

// UpdateTrigger replaces the trigger with t's id. What waits to be delivered
// goes where the trigger now points; while it is disabled, it waits. A trigger that is
// managed elsewhere is refused with a *fields.ManagedError, and so is to take its name
// from one that rules name.
func (s *Store) UpdateTrigger(ctx context.Context, t trigger.Trigger) (trigger.Trigger, error) {
	t.Managed, t.Refs = fields.Managed{ManagedBy: fields.API}, nil
	err := s.change(ctx, "change trigger", func(tx *sql.Tx) error {
		if err := checkManaged(ctx, tx, "trigger", t.ID); err != nil {
			return err
		}
		if err := s.storeTrigger(ctx, tx, &t); err != nil {
			return err
		}
		return checkNamed(ctx, tx)
	})
	if err != nil {
		return trigger.Trigger{}, err
	}
	return t, nil
}

// storeTrigger replaces the trigger with t's id, and sets its times.
func (s *Store) storeTrigger(ctx context.Context, tx *sql.Tx, t *trigger.Trigger) error {
	definition, sealed, err := s.seal(*t)
	if err != nil {
		return err
	}
	err = found(tx.ExecContext(ctx, "UPDATE triggers SET definition = ?, sealed = ?, updated_at = ?, managed_by = ?, key = ?, declared_at = ? WHERE id = ?",
		string(definition), sealed, nanos(s.now()), t.ManagedBy, t.Managed.Key, t.DeclaredAt, t.ID))
	if err != nil {
		return err
	}
	s.touchLocked(t.ID)
	if *t, err = s.scanTrigger(tx.QueryRowContext(ctx, "SELECT "+triggerColumns+" FROM triggers WHERE id = ?", t.ID)); err != nil {
		return err
	}
	return s.logChange(ctx, tx, Change{Kind: KindTrigger, ID: t.ID, Name: t.Name, Action: Changed, By: t.ManagedBy})
}

// DeleteTrigger removes a trigger and its deliveries. A trigger that is managed elsewhere
// is refused with a *fields.ManagedError, and so is one that rules name.
func (s *Store) DeleteTrigger(ctx context.Context, id int64) error {
	return s.change(ctx, "remove trigger", func(tx *sql.Tx) error {
		if err := checkManaged(ctx, tx, "trigger", id); err != nil {
			return err
		}
		if err := s.deleteTrigger(ctx, tx, id, fields.API); err != nil {
			return err
		}
		return checkNamed(ctx, tx)
	})
}

// deleteTrigger removes a trigger and its deliveries.
func (s *Store) deleteTrigger(ctx context.Context, tx *sql.Tx, id int64, by string) error {
	t, err := s.scanTrigger(tx.QueryRowContext(ctx, "SELECT "+triggerColumns+" FROM triggers WHERE id = ?", id))
	if err != nil {
		return err
	}
	s.touchLocked(id)
	if _, err := tx.ExecContext(ctx, "DELETE FROM triggers WHERE id = ?", id); err != nil { // deliveries: ON DELETE CASCADE
		return err
	}
	return s.logChange(ctx, tx, Change{Kind: KindTrigger, ID: t.ID, Name: t.Name, Action: Removed, By: by})
}
