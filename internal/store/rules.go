package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"logscan/internal/fields"
	"logscan/internal/rule"
)

// Bounds of what can be added; a refusal names them.
const (
	MaxRules    = 5000
	MaxTriggers = 256
)

// definitionColumns are a rule's or a trigger's definition and what only the database
// sets. What a definition says that the database itself has to know is also in
// columns of its own.
const definitionColumns = "id, definition, created_at, updated_at, managed_by, key, declared_at"

// scanDefinition reads definitionColumns into v, whose own fields are the others.
func scanDefinition[T any](r row, table *fields.Table[T], v *T, id *int64, createdAt, updatedAt *time.Time, by *fields.Managed) error {
	var definition []byte
	var created, updated int64
	if err := r.Scan(id, &definition, &created, &updated, &by.ManagedBy, &by.Key, &by.DeclaredAt); err != nil {
		return err
	}
	*createdAt, *updatedAt = instant(created), instant(updated)
	if err := table.UnmarshalDefinition(definition, v); err != nil {
		return fmt.Errorf("%s %d: %w", table.What, *id, err)
	}
	return nil
}

func scanRule(r row) (v rule.Rule, err error) {
	err = scanDefinition(r, rule.Fields, &v, &v.ID, &v.CreatedAt, &v.UpdatedAt, &v.Managed)
	return v, err
}

// Rules returns all rules, by id. What their slices hold isn't to be changed.
func (s *Store) Rules(ctx context.Context) ([]rule.Rule, error) {
	rules, err := s.allRules(ctx, s.r)
	return rules, wrap("read rules", err)
}

// decoded are rules by their ids, as they were decoded last: of thousands, few change from
// one time to the next.
type decoded struct {
	mu    sync.Mutex // guards rules
	rules map[int64]decodedRule
}

type decodedRule struct {
	definition string
	rule       rule.Rule
}

// allRules reads all rules, by id.
func (s *Store) allRules(ctx context.Context, db queryer) ([]rule.Rule, error) {
	s.decoded.mu.Lock()
	defer s.decoded.mu.Unlock()
	known := make(map[int64]decodedRule, len(s.decoded.rules))
	rows, err := db.QueryContext(ctx, "SELECT "+definitionColumns+" FROM rules ORDER BY id")
	rules, err := collect(rows, err, func(r row) (rule.Rule, error) {
		var id, created, updated int64
		var definition string
		var by fields.Managed
		if err := r.Scan(&id, &definition, &created, &updated, &by.ManagedBy, &by.Key, &by.DeclaredAt); err != nil {
			return rule.Rule{}, err
		}
		d, ok := s.decoded.rules[id]
		if !ok || d.definition != definition {
			d = decodedRule{definition: definition}
			if err := rule.Fields.UnmarshalDefinition([]byte(definition), &d.rule); err != nil {
				return rule.Rule{}, fmt.Errorf("rule %d: %w", id, err)
			}
		}
		d.rule.ID, d.rule.CreatedAt, d.rule.UpdatedAt, d.rule.Managed = id, instant(created), instant(updated), by
		known[id] = d
		return d.rule, nil
	})
	if err == nil {
		s.decoded.rules = known
	}
	return rules, err
}

// RuleCount is how many rules there are.
func (s *Store) RuleCount(ctx context.Context) (n int, err error) {
	err = s.r.QueryRowContext(ctx, "SELECT count(*) FROM rules").Scan(&n)
	return n, wrap("count rules", err)
}

// Rule returns one rule.
func (s *Store) Rule(ctx context.Context, id int64) (rule.Rule, error) {
	r, err := scanRule(s.r.QueryRowContext(ctx, "SELECT "+definitionColumns+" FROM rules WHERE id = ?", id))
	return r, wrap("read rule", err)
}

// CreateRule adds a rule and returns it with its id and times. What its own
// fields say is the caller's to check (rule.Fields); what depends on other
// rules is checked here, and a *fields.Error says what is wrong.
func (s *Store) CreateRule(ctx context.Context, r rule.Rule) (rule.Rule, error) {
	return s.createRule(ctx, r, func(*sql.Tx, int64) error { return nil })
}

// createRule is CreateRule, and does something more in its transaction.
func (s *Store) createRule(ctx context.Context, r rule.Rule, more func(tx *sql.Tx, id int64) error) (rule.Rule, error) {
	r.Managed = fields.Managed{ManagedBy: fields.API}
	err := s.change(ctx, "add rule", func(tx *sql.Tx) error {
		if err := checkTriggers(ctx, tx, r); err != nil {
			return err
		}
		if err := s.insertRule(ctx, tx, &r); err != nil {
			return err
		}
		return more(tx, r.ID)
	})
	if err != nil {
		return rule.Rule{}, err
	}
	return r, nil
}

// insertRule adds a rule, and sets its id and times.
func (s *Store) insertRule(ctx context.Context, tx *sql.Tx, r *rule.Rule) error {
	r.ID, r.CreatedAt = 0, instant(nanos(s.now()))
	r.UpdatedAt = r.CreatedAt
	if err := rule.Fields.Settle(r); err != nil {
		return err
	}
	if err := fullBeside(ctx, tx, "rules", r.Managed, MaxRules); err != nil {
		return err
	}
	if err := checkOverride(ctx, tx, *r); err != nil {
		return err
	}
	definition, err := rule.Fields.MarshalDefinition(*r)
	if err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, "INSERT INTO rules (definition, workload_id, overrides_id, created_at, updated_at, managed_by, key, declared_at) VALUES (?, ?, nullif(?, 0), ?, ?, ?, ?, ?)",
		string(definition), r.WorkloadID, r.OverridesID, nanos(r.CreatedAt), nanos(r.UpdatedAt), r.ManagedBy, r.Managed.Key, r.DeclaredAt)
	if err == nil {
		r.ID, err = res.LastInsertId()
	}
	if err != nil {
		return err
	}
	return s.logChange(ctx, tx, Change{Kind: KindRule, ID: r.ID, Name: r.Name, Action: Added, By: r.ManagedBy})
}

// UpdateRule replaces the rule with r's id, with the same checks as CreateRule. What is
// open of it is told or not as its state says from then on. A rule that is managed
// elsewhere is refused with a *fields.ManagedError.
func (s *Store) UpdateRule(ctx context.Context, r rule.Rule) (rule.Rule, error) {
	r.Managed = fields.Managed{ManagedBy: fields.API}
	err := s.change(ctx, "change rule", func(tx *sql.Tx) error {
		if err := checkManaged(ctx, tx, "rule", r.ID); err != nil {
			return err
		}
		if err := checkTriggers(ctx, tx, r); err != nil {
			return err
		}
		return s.updateRule(ctx, tx, &r)
	})
	if err != nil {
		return rule.Rule{}, err
	}
	return r, nil
}

// updateRule replaces the rule with r's id, and sets its times.
func (s *Store) updateRule(ctx context.Context, tx *sql.Tx, r *rule.Rule) error {
	var was string
	if err := tx.QueryRowContext(ctx, stateOfRule, r.ID).Scan(&was); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if err := checkOverride(ctx, tx, *r); err != nil {
		return err
	}
	definition, err := rule.Fields.MarshalDefinition(*r)
	if err != nil {
		return err
	}
	err = found(tx.ExecContext(ctx, "UPDATE rules SET definition = ?, workload_id = ?, overrides_id = nullif(?, 0), updated_at = ?, managed_by = ?, key = ?, declared_at = ? WHERE id = ?",
		string(definition), r.WorkloadID, r.OverridesID, nanos(s.now()), r.ManagedBy, r.Managed.Key, r.DeclaredAt, r.ID))
	if err != nil {
		return err
	}
	if *r, err = scanRule(tx.QueryRowContext(ctx, "SELECT "+definitionColumns+" FROM rules WHERE id = ?", r.ID)); err != nil {
		return err
	}
	if err := shade(ctx, tx, r.ID, was, r.State); err != nil {
		return err
	}
	return s.logChange(ctx, tx, Change{Kind: KindRule, ID: r.ID, Name: r.Name, Action: Changed, By: r.ManagedBy})
}

// DeleteRule removes a rule and its overrides. What is open of theirs ends: nobody
// could say any more when it does. A rule that is managed elsewhere is refused with a
// *fields.ManagedError, and so is one of whose overrides one is.
func (s *Store) DeleteRule(ctx context.Context, id int64) error {
	return s.change(ctx, "remove rule", func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, "SELECT id FROM rules WHERE id = ?1 OR overrides_id = ?1", id)
		ids, err := collect(rows, err, func(r row) (id int64, err error) { return id, r.Scan(&id) })
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := checkManaged(ctx, tx, "rule", id); err != nil {
				return err
			}
		}
		return s.deleteRule(ctx, tx, id, fields.API)
	})
}

// deleteRule removes a rule and its overrides.
func (s *Store) deleteRule(ctx context.Context, tx *sql.Tx, id int64, by string) error {
	rows, err := tx.QueryContext(ctx, "SELECT "+incidentColumns+` FROM incidents i
		WHERE rule_id IN (SELECT id FROM rules WHERE id = ?1 OR overrides_id = ?1) AND state <> 'resolved' ORDER BY id`, id)
	open, err := collect(rows, err, scanIncident)
	if err != nil {
		return err
	}
	f := s.newFolding(tx)
	for k := range open {
		n, err := open[k].Resolve(s.now(), "", "the rule was removed")
		if err != nil {
			return err
		}
		f.use(&open[k])
		if err := f.tell(ctx, n, &open[k]); err != nil {
			return err
		}
	}
	if err := f.flush(ctx); err != nil {
		return err
	}
	rows, err = tx.QueryContext(ctx, "SELECT "+definitionColumns+" FROM rules WHERE id = ?1 OR overrides_id = ?1 ORDER BY id", id)
	gone, err := collect(rows, err, scanRule)
	if err != nil {
		return err
	}
	for _, r := range gone {
		if err := s.logChange(ctx, tx, Change{Kind: KindRule, ID: r.ID, Name: r.Name, Action: Removed, By: by}); err != nil {
			return err
		}
	}
	return found(tx.ExecContext(ctx, "DELETE FROM rules WHERE id = ?", id)) // overrides: ON DELETE CASCADE
}

// checkOverride keeps overrides what they are: a workload's own version of a
// global rule, one at most for each.
func checkOverride(ctx context.Context, tx *sql.Tx, r rule.Rule) error {
	if r.ID != 0 && (r.WorkloadID != "" || r.OverridesID != 0) {
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM rules WHERE overrides_id = ?", r.ID).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return &fields.Error{Field: "workload_id", Reason: fmt.Sprintf("this rule has to stay global: it is overridden in %d workloads", n)}
		}
	}
	if r.OverridesID == 0 {
		return nil
	}
	refuse := func(format string, args ...any) error {
		return &fields.Error{Field: "overrides_id", Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case r.WorkloadID == "":
		return &fields.Error{Field: "workload_id", Reason: "is required where a rule overrides another"}
	case r.OverridesID == r.ID:
		return refuse("a rule can't override itself")
	}
	base, err := scanRule(tx.QueryRowContext(ctx, "SELECT "+definitionColumns+" FROM rules WHERE id = ?", r.OverridesID))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return refuse("there is no rule %d", r.OverridesID)
	case err != nil:
		return err
	case base.OverridesID != 0:
		return refuse("rule %d is an override itself; override rule %d", base.ID, base.OverridesID)
	case base.WorkloadID != "":
		return refuse("rule %d is not global but a workload's own", base.ID)
	}
	var other int64
	err = tx.QueryRowContext(ctx, "SELECT id FROM rules WHERE overrides_id = ? AND workload_id = ? AND id <> ?", r.OverridesID, r.WorkloadID, r.ID).Scan(&other)
	switch {
	case err == nil:
		return refuse("rule %d overrides rule %d in this workload already", other, r.OverridesID)
	case errors.Is(err, sql.ErrNoRows):
		return nil
	}
	return err
}

// FullError refuses one more where there are as many as there can be.
type FullError struct {
	What string // there are, such as rules
	Most int
}

func (e *FullError) Error() string {
	return fmt.Sprintf("%s: there are %d already, the most there can be", e.What, e.Most)
}

// full refuses a row beyond most in a table.
func full(ctx context.Context, tx *sql.Tx, table string, most int) error {
	return fullOf(ctx, tx, table, "SELECT count(*) FROM "+table, most)
}

// fullBeside is full, for a table in which labels declare some: these are counted by
// themselves, and take no room from what people do.
func fullBeside(ctx context.Context, tx *sql.Tx, table string, by fields.Managed, most int) error {
	labelled := "SELECT count(*) FROM " + table + " WHERE " + byLabel
	if OfLabels(by) {
		return fullOf(ctx, tx, table, labelled, most)
	}
	return fullOf(ctx, tx, table, "SELECT (SELECT count(*) FROM "+table+") - ("+labelled+")", most)
}

func fullOf(ctx context.Context, tx *sql.Tx, table, count string, most int) error {
	var n int
	if err := tx.QueryRowContext(ctx, count).Scan(&n); err != nil {
		return err
	}
	if n >= most {
		return &FullError{table, most}
	}
	return nil
}
