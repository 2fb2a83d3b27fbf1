package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"logscan/internal/fields"
)

// MaxTokens bounds what can be added.
const MaxTokens = 64

// Token opens the API over TCP, as far as its scope goes. The token itself is
// not kept.
type Token struct {
	ID        int64
	Name      string
	Scope     string
	Hash      [32]byte // SHA-256
	CreatedAt time.Time
}

// Tokens returns all tokens, by id.
func (s *Store) Tokens(ctx context.Context) ([]Token, error) {
	rows, err := s.r.QueryContext(ctx, "SELECT id, name, scope, hash, created_at FROM tokens ORDER BY id")
	tokens, err := collect(rows, err, func(r row) (t Token, err error) {
		var hash []byte
		var created int64
		if err := r.Scan(&t.ID, &t.Name, &t.Scope, &hash, &created); err != nil {
			return t, err
		}
		if len(hash) != len(t.Hash) {
			return t, fmt.Errorf("token %d has no hash", t.ID)
		}
		t.Hash, t.CreatedAt = [32]byte(hash), instant(created)
		return t, nil
	})
	return tokens, wrap("read tokens", err)
}

// CreateToken adds a token and returns it with its id and time. A name that is
// taken is a *fields.Error.
func (s *Store) CreateToken(ctx context.Context, t Token) (Token, error) {
	t.CreatedAt = instant(nanos(s.now()))
	err := s.change(ctx, "add token", func(tx *sql.Tx) error {
		if err := full(ctx, tx, "tokens", MaxTokens); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM tokens WHERE name = ?", t.Name).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return &fields.Error{Field: "name", Reason: "is another token's already"}
		}
		res, err := tx.ExecContext(ctx, "INSERT INTO tokens (name, scope, hash, created_at) VALUES (?, ?, ?, ?)", t.Name, t.Scope, t.Hash[:], nanos(t.CreatedAt))
		if err == nil {
			t.ID, err = res.LastInsertId()
		}
		return err
	})
	if err != nil {
		return Token{}, err
	}
	return t, nil
}

// DeleteToken removes a token.
func (s *Store) DeleteToken(ctx context.Context, id int64) error {
	return s.change(ctx, "remove token", func(tx *sql.Tx) error {
		return found(tx.ExecContext(ctx, "DELETE FROM tokens WHERE id = ?", id))
	})
}
