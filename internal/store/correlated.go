package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"logscan/internal/correlate"
	"logscan/internal/event"
	"logscan/internal/incident"
)

// Outcome is one thing that became of matches, or of time: exactly one of its fields.
type Outcome struct {
	Event *event.Event
	More  *incident.Hit // matches that were held back, or came while an incident was open; Settings are given
	End   *End
}

// End is the end of what opened an incident. Where none is open, nothing comes of it.
type End struct {
	incident.Key
	incident.Ending
	Shapes bool     // of the incidents of all shapes in which there was no hit behind it
	Keys   bool     // and of all keys
	Except []string // but these, in order
}

// Correlated is what a commit does to what package correlate knows.
type Correlated struct {
	Revision int64 // of what was known before, plus 1
	Rows     []correlate.Row
}

// Correlated returns what package correlate knows, and the revision of it.
func (s *Store) Correlated(ctx context.Context) (rows []correlate.Row, revision int64, err error) {
	tx, err := s.r.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, 0, wrap("read what rules add up", err)
	}
	defer tx.Rollback()
	err = tx.QueryRowContext(ctx, "SELECT revision FROM correlated_revision").Scan(&revision)
	if err == nil {
		all, e := tx.QueryContext(ctx, "SELECT rule_id, scope, by_text, data FROM correlated ORDER BY rule_id, scope, by_text")
		rows, err = collect(all, e, func(r row) (c correlate.Row, err error) {
			return c, r.Scan(&c.Rule, &c.Scope, &c.By, &c.Data)
		})
	}
	return rows, revision, wrap("read what rules add up", err)
}

// putCorrelated stores rows that follow what is stored.
func putCorrelated(ctx context.Context, tx *sql.Tx, c Correlated) error {
	var revision int64
	if err := tx.QueryRowContext(ctx, "SELECT revision FROM correlated_revision").Scan(&revision); err != nil {
		return err
	}
	switch revision {
	case c.Revision:
		return errStored
	case c.Revision - 1:
	default:
		return fmt.Errorf("what rules add up: revision %d is stored, %d can't follow it", revision, c.Revision)
	}
	if _, err := tx.ExecContext(ctx, "UPDATE correlated_revision SET revision = ?", c.Revision); err != nil {
		return err
	}
	put, err := tx.PrepareContext(ctx, "INSERT OR REPLACE INTO correlated VALUES (?, ?, ?, ?)")
	if err != nil {
		return err
	}
	defer put.Close()
	for _, r := range c.Rows {
		if r.Data == nil {
			_, err = tx.ExecContext(ctx, "DELETE FROM correlated WHERE rule_id = ? AND scope = ? AND by_text = ?", r.Rule, r.Scope, r.By)
		} else {
			_, err = put.ExecContext(ctx, r.Rule, r.Scope, r.By, r.Data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// endOpen ends what an End is of.
func (f *folding) endOpen(ctx context.Context, e End) error {
	if !e.Shapes {
		i, err := f.find(ctx, e.Key)
		if err != nil || i == nil {
			return err
		}
		return f.end(ctx, i, e.Ending)
	}
	if err := f.flush(ctx); err != nil { // what this transaction opened is among them
		return err
	}
	rows, err := f.tx.QueryContext(ctx, "SELECT "+incidentColumns+" FROM incidents i WHERE rule_id = ? AND workload = ? AND state <> 'resolved' ORDER BY id", e.RuleID, e.Workload)
	stored, err := collect(rows, err, scanIncident)
	if err != nil {
		return err
	}
	for _, was := range stored {
		if _, spared := slices.BinarySearch(e.Except, was.Key.By); spared {
			continue
		}
		i, err := f.find(ctx, was.Key) // as it is in this transaction
		if err != nil {
			return err
		}
		if i == nil || !e.Keys && i.Key.By != e.By || i.Last.After(e.At) {
			continue
		}
		if err := f.end(ctx, i, e.Ending); err != nil {
			return err
		}
	}
	return nil
}

// end ends an incident.
func (f *folding) end(ctx context.Context, i *incident.Incident, e incident.Ending) error {
	n, ok := i.End(e)
	if !ok {
		return nil
	}
	f.use(i)
	if err := f.tell(ctx, n, i); err != nil {
		return err
	}
	// It is no longer the one that hits are folded into.
	if err := f.write(ctx, i); err != nil {
		return err
	}
	delete(f.unwritten, i)
	f.open[i.Key] = nil
	if _, known := f.count[i.Key.RuleID]; known {
		f.count[i.Key.RuleID]--
	}
	return nil
}
