package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// errStored means that an earlier attempt has stored what is to be stored.
var errStored = errors.New("stored already")

// putCursor stores a cursor that follows the stored one.
func (s *Store) putCursor(ctx context.Context, tx *sql.Tx, c Cursor) error {
	c.Position, c.State = notNil(c.Position), notNil(c.State)
	res, err := tx.ExecContext(ctx, `INSERT INTO cursors (container_id, position, state, updated_at, revision) VALUES (?1, ?2, ?3, ?4, ?5)
		ON CONFLICT (container_id) DO UPDATE SET position = excluded.position, state = excluded.state,
			updated_at = excluded.updated_at, revision = excluded.revision
		WHERE ?5 = 0 OR revision = ?5 - 1`,
		c.ContainerID, c.Position, c.State, nanos(s.now()), c.Revision)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	stored, err := scanCursor(tx.QueryRowContext(ctx, "SELECT "+cursorColumns+" FROM cursors WHERE container_id = ?", c.ContainerID))
	if err != nil {
		return err
	}
	if stored.Revision == c.Revision && bytes.Equal(stored.Position, c.Position) && bytes.Equal(stored.State, c.State) {
		return errStored
	}
	return fmt.Errorf("cursor of %s: revision %d is stored, %d can't follow it", c.ContainerID, stored.Revision, c.Revision)
}

// notNil keeps an empty value from being NULL.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

const cursorColumns = "container_id, position, state, revision"

func scanCursor(r row) (Cursor, error) {
	var c Cursor
	err := r.Scan(&c.ContainerID, &c.Position, &c.State, &c.Revision)
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

// DeleteCursor forgets a container, the last words of its runs too; it need not be known.
func (s *Store) DeleteCursor(ctx context.Context, containerID string) error {
	return s.change(ctx, "delete cursor", func(tx *sql.Tx) error {
		for _, table := range []string{"cursors", "last_words"} {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE container_id = ?", containerID); err != nil {
				return err
			}
		}
		return nil
	})
}
