package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"logscan/internal/rule"
)

// Bounds of what can be added; a refusal names them.
const (
	MaxRules    = 5000
	MaxTriggers = 256
)

const ruleColumns = "id, name, description, pattern, severity, streams, cooldown, enabled, workload_id, coalesce(overrides_id, 0), created_at, updated_at"

func scanRule(r row) (rule.Rule, error) {
	var v rule.Rule
	var cooldown, created, updated int64
	err := r.Scan(&v.ID, &v.Name, &v.Description, &v.Pattern, &v.Severity, &v.Streams, &cooldown, &v.Enabled, &v.WorkloadID, &v.OverridesID, &created, &updated)
	v.Cooldown, v.CreatedAt, v.UpdatedAt = time.Duration(cooldown), instant(created), instant(updated)
	return v, err
}

// Rules returns all rules, by id.
func (s *Store) Rules(ctx context.Context) ([]rule.Rule, error) {
	rows, err := s.r.QueryContext(ctx, "SELECT "+ruleColumns+" FROM rules ORDER BY id")
	rules, err := collect(rows, err, scanRule)
	return rules, wrap("read rules", err)
}

// Rule returns one rule.
func (s *Store) Rule(ctx context.Context, id int64) (rule.Rule, error) {
	r, err := scanRule(s.r.QueryRowContext(ctx, "SELECT "+ruleColumns+" FROM rules WHERE id = ?", id))
	return r, wrap("read rule", err)
}

// CreateRule adds a rule and returns it with its id and times. What its own
// fields say is the caller's to check (rule.Validate); what depends on other
// rules is checked here, and a *rule.FieldError says what is wrong.
func (s *Store) CreateRule(ctx context.Context, r rule.Rule) (rule.Rule, error) {
	r.CreatedAt = instant(nanos(s.now()))
	r.UpdatedAt = r.CreatedAt
	err := s.change(ctx, "add rule", func(tx *sql.Tx) error {
		if err := full(ctx, tx, "rules", MaxRules); err != nil {
			return err
		}
		r.ID = 0
		if err := checkOverride(ctx, tx, r); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `INSERT INTO rules (name, description, pattern, severity, streams, cooldown, enabled, workload_id, overrides_id, created_at, updated_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, nullif(?, 0), ?, ?)`,
			r.Name, r.Description, r.Pattern, r.Severity, r.Streams, int64(r.Cooldown), r.Enabled, r.WorkloadID, r.OverridesID, nanos(r.CreatedAt), nanos(r.UpdatedAt))
		if err == nil {
			r.ID, err = res.LastInsertId()
		}
		return err
	})
	if err != nil {
		return rule.Rule{}, err
	}
	return r, nil
}

// UpdateRule replaces the rule with r's id, with the same checks as CreateRule.
func (s *Store) UpdateRule(ctx context.Context, r rule.Rule) (rule.Rule, error) {
	err := s.change(ctx, "change rule", func(tx *sql.Tx) error {
		if err := checkOverride(ctx, tx, r); err != nil {
			return err
		}
		err := found(tx.ExecContext(ctx, `UPDATE rules SET name = ?, description = ?, pattern = ?, severity = ?, streams = ?, cooldown = ?, enabled = ?,
			workload_id = ?, overrides_id = nullif(?, 0), updated_at = ? WHERE id = ?`,
			r.Name, r.Description, r.Pattern, r.Severity, r.Streams, int64(r.Cooldown), r.Enabled, r.WorkloadID, r.OverridesID, nanos(s.now()), r.ID))
		if err != nil {
			return err
		}
		r, err = scanRule(tx.QueryRowContext(ctx, "SELECT "+ruleColumns+" FROM rules WHERE id = ?", r.ID))
		return err
	})
	if err != nil {
		return rule.Rule{}, err
	}
	return r, nil
}

// DeleteRule removes a rule and its overrides.
func (s *Store) DeleteRule(ctx context.Context, id int64) error {
	return s.change(ctx, "remove rule", func(tx *sql.Tx) error {
		return found(tx.ExecContext(ctx, "DELETE FROM rules WHERE id = ?", id)) // overrides: ON DELETE CASCADE
	})
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
			return &rule.FieldError{Field: "workload_id", Reason: fmt.Sprintf("this rule has to stay global: it is overridden in %d workloads", n)}
		}
	}
	if r.OverridesID == 0 {
		return nil
	}
	refuse := func(format string, args ...any) error {
		return &rule.FieldError{Field: "overrides_id", Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case r.WorkloadID == "":
		return &rule.FieldError{Field: "workload_id", Reason: "is required where a rule overrides another"}
	case r.OverridesID == r.ID:
		return refuse("a rule can't override itself")
	}
	base, err := scanRule(tx.QueryRowContext(ctx, "SELECT "+ruleColumns+" FROM rules WHERE id = ?", r.OverridesID))
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

// full refuses a row beyond most in a table.
func full(ctx context.Context, tx *sql.Tx, table string, most int) error {
	var n int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		return err
	}
	if n >= most {
		return &rule.FieldError{Field: table, Reason: fmt.Sprintf("there are %d already, the most there can be", n)}
	}
	return nil
}
