package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"logscan/internal/fields"
	"logscan/internal/rule"
	"logscan/internal/silence"
	"logscan/internal/trigger"
)

// Objects are all rules, triggers and silences at one moment.
type Objects struct {
	Revision int64 // of the latest change; 0 where there was none
	Rules    []rule.Rule
	Tests    map[int64]json.RawMessage // of rules, as they were declared; by id
	Triggers []trigger.Trigger         // with their secrets
	Silences []silence.Silence
}

// Objects returns all rules, triggers and silences, by id.
func (s *Store) Objects(ctx context.Context) (o Objects, err error) {
	tx, err := s.r.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return o, wrap("read what is defined", err)
	}
	defer tx.Rollback()
	if o.Revision, err = revision(ctx, tx); err != nil {
		return o, wrap("read what is defined", err)
	}
	if o.Rules, err = s.allRules(ctx, tx); err != nil {
		return o, wrap("read rules", err)
	}
	o.Tests = map[int64]json.RawMessage{}
	rows, err := tx.QueryContext(ctx, "SELECT id, tests FROM rules WHERE tests <> ''")
	_, err = collect(rows, err, func(r row) (_ struct{}, err error) {
		var id int64
		var tests string
		err = r.Scan(&id, &tests)
		o.Tests[id] = json.RawMessage(tests)
		return struct{}{}, err
	})
	if err != nil {
		return o, wrap("read rules' tests", err)
	}
	rows, err = tx.QueryContext(ctx, "SELECT "+triggerColumns+" FROM triggers ORDER BY id")
	if o.Triggers, err = collect(rows, err, s.scanTrigger); err != nil {
		return o, wrap("read triggers", err)
	}
	rows, err = tx.QueryContext(ctx, "SELECT "+silenceColumns+" FROM silences ORDER BY id")
	o.Silences, err = collect(rows, err, scanSilence)
	return o, wrap("read silences", err)
}

// revision is that of the latest change.
func revision(ctx context.Context, db queryer) (n int64, err error) {
	err = db.QueryRowContext(ctx, "SELECT coalesce(max(revision), 0) FROM config_changes").Scan(&n)
	return n, err
}

// Edit is one change of an Apply, of one thing: it is added where its id is 0, else it
// replaces the one with its id, or that one is removed.
type Edit struct {
	Remove  bool
	Moved   bool // only who manages it, what it is called there and where is stored, and a rule's tests: it goes on as it is
	Rule    *rule.Rule
	Base    *rule.Rule      // that the rule overrides, of an edit before it; nil: as it says
	Tests   json.RawMessage // of the rule; nil for none
	Trigger *trigger.Trigger
	Silence *silence.Silence // one that is removed ends, and is the API's
}

// Apply is what becomes of what a source declares.
type Apply struct {
	Revision int64  // that the edits were made for
	Source   string // as fields.Managed.ManagedBy
	Digest   string // of what it declares; "" isn't kept
	Edits    []Edit
}

// ChangedError refuses edits that were made for a state that is no more.
type ChangedError struct{ Changes []Change }

func (e *ChangedError) Error() string {
	var said []string
	for k, c := range e.Changes {
		if k == 5 {
			said = append(said, fmt.Sprintf("and %d more", len(e.Changes)-k))
			break
		}
		said = append(said, fmt.Sprintf("%s %s was %s by %s", c.Kind, c.Name, c.Action, c.By))
	}
	what := strings.Join(said, ", ")
	if what == "" {
		what = "much was changed"
	}
	return "meanwhile " + what + ": nothing was applied, try again"
}

// Apply makes all edits of a source in one transaction, or none. Triggers come before the
// rules that name them, and go after those. Where something was changed since the
// revision of the edits, it returns a *ChangedError; where rules would be left without a
// trigger that they name, a *NamedError.
func (s *Store) Apply(ctx context.Context, a Apply) error {
	return s.change(ctx, "apply", func(tx *sql.Tx) error {
		now, err := revision(ctx, tx)
		if err != nil {
			return err
		}
		if now != a.Revision {
			e := &ChangedError{}
			if e.Changes, err = changesSince(ctx, tx, a.Revision); err != nil {
				return err
			}
			return e
		}
		for k := range a.Edits {
			if err := s.edit(ctx, tx, a.Source, &a.Edits[k]); err != nil {
				return err
			}
		}
		if err := checkNamed(ctx, tx); err != nil {
			return err
		}
		if a.Digest == "" {
			return nil
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO config_sources (source, digest, applied_at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET digest = excluded.digest, applied_at = excluded.applied_at",
			a.Source, a.Digest, nanos(s.now()))
		return err
	})
}

// edit makes one edit of a source.
func (s *Store) edit(ctx context.Context, tx *sql.Tx, source string, e *Edit) error {
	switch {
	case e.Moved:
		return s.move(ctx, tx, e)
	case e.Rule != nil && e.Remove:
		err := s.deleteRule(ctx, tx, e.Rule.ID, source)
		if errors.Is(err, ErrNotFound) { // with the rule that it overrides
			return nil
		}
		return err
	case e.Rule != nil:
		if e.Base != nil {
			e.Rule.OverridesID = e.Base.ID
		}
		put := s.updateRule
		if e.Rule.ID == 0 {
			put = s.insertRule
		}
		if err := put(ctx, tx, e.Rule); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE rules SET tests = ? WHERE id = ?", string(e.Tests), e.Rule.ID)
		return err
	case e.Trigger != nil && e.Remove:
		return s.deleteTrigger(ctx, tx, e.Trigger.ID, source)
	case e.Trigger != nil && e.Trigger.ID == 0:
		return s.insertTrigger(ctx, tx, e.Trigger)
	case e.Trigger != nil:
		return s.storeTrigger(ctx, tx, e.Trigger)
	case e.Remove:
		e.Silence.Managed = fields.Managed{ManagedBy: fields.API}
		return s.endSilence(ctx, tx, e.Silence, source)
	case e.Silence.ID == 0:
		return s.insertSilence(ctx, tx, e.Silence)
	}
	if err := s.storeSilence(ctx, tx, *e.Silence); err != nil {
		return err
	}
	return s.logChange(ctx, tx, Change{Kind: KindSilence, ID: e.Silence.ID, Name: e.Silence.Key, Action: Changed, By: source})
}

// Digest returns that of what was applied last of a source; "" where nothing was.
func (s *Store) Digest(ctx context.Context, source string) (digest string, err error) {
	err = s.r.QueryRowContext(ctx, "SELECT digest FROM config_sources WHERE source = ?", source).Scan(&digest)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return digest, wrap("read what was applied", err)
}

// move stores who manages a thing.
func (s *Store) move(ctx context.Context, tx *sql.Tx, e *Edit) error {
	var c Change
	var by fields.Managed
	switch {
	case e.Rule != nil:
		c, by = Change{Kind: KindRule, ID: e.Rule.ID, Name: e.Rule.Name}, e.Rule.Managed
		if _, err := tx.ExecContext(ctx, "UPDATE rules SET tests = ? WHERE id = ?", string(e.Tests), e.Rule.ID); err != nil {
			return err
		}
	case e.Trigger != nil:
		c, by = Change{Kind: KindTrigger, ID: e.Trigger.ID, Name: e.Trigger.Name}, e.Trigger.Managed
	default:
		c, by = Change{Kind: KindSilence, ID: e.Silence.ID, Name: e.Silence.Key}, e.Silence.Managed
	}
	err := found(tx.ExecContext(ctx, "UPDATE "+tables[c.Kind]+" SET managed_by = ?, key = ?, declared_at = ? WHERE id = ?", by.ManagedBy, by.Key, by.DeclaredAt, c.ID))
	if err != nil {
		return err
	}
	c.Action, c.By = Changed, by.ManagedBy
	return s.logChange(ctx, tx, c)
}
