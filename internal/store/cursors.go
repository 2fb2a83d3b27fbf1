package store

import (
	"context"
	"database/sql"
	"errors"
)

func (s *Store) putCursor(ctx context.Context, tx *sql.Tx, c Cursor) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO cursors (container_id, position, state, updated_at) VALUES (?, ?, ?, ?)
		ON CONFLICT (container_id) DO UPDATE SET position = excluded.position, state = excluded.state, updated_at = excluded.updated_at`,
		c.ContainerID, notNil(c.Position), notNil(c.State), nanos(s.now()))
	return err
}

// notNil keeps an empty value from being NULL.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

const cursorColumns = "container_id, position, state"

func scanCursor(r row) (Cursor, error) {
	var c Cursor
	err := r.Scan(&c.ContainerID, &c.Position, &c.State)
	return c, err
}

// Cursor returns a container's cursor, and whether there is one.
func (s *Store) Cursor(ctx context.Context, containerID string) (Cursor, bool, error) {
	c, err := scanCursor(s.r.QueryRowContext(ctx, "SELECT "+cursorColumns+" FROM cursors WHERE container_id = ?", containerID))
	if errors.Is(err, sql.ErrNoRows) {
		return Cursor{}, false, nil
	}
	return c, err == nil, wrap("read cursor", err)
}

// Cursors returns all cursors.
func (s *Store) Cursors(ctx context.Context) ([]Cursor, error) {
	rows, err := s.r.QueryContext(ctx, "SELECT "+cursorColumns+" FROM cursors ORDER BY container_id")
	cursors, err := collect(rows, err, scanCursor)
	return cursors, wrap("read cursors", err)
}

// DeleteCursor forgets a container; it need not be known.
func (s *Store) DeleteCursor(ctx context.Context, containerID string) error {
	return s.change(ctx, "delete cursor", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM cursors WHERE container_id = ?", containerID)
		return err
	})
}
