package store

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"strings"

	"logscan/internal/event"
	"logscan/internal/fields"
	"logscan/internal/rule"
	"logscan/internal/silence"
)

// LabelBy is what fields.Managed.ManagedBy begins with of what containers' labels declare;
// behind it is the container's name.
const LabelBy = "label:"

// OfLabels reports whether labels declare a thing.
func OfLabels(m fields.Managed) bool { return strings.HasPrefix(m.ManagedBy, LabelBy) }

// labelSource is what config_sources calls the labels of a workload, with its name behind.
const labelSource = "labels:"

// byLabel is which rules and silences labels declare, in a way for which there is an index.
const byLabel = "(managed_by <> 'api' AND managed_by >= '" + LabelBy + "' AND managed_by < 'label;')"

// Labels are all that the labels of a workload's newest container declare.
type Labels struct {
	Workload  string
	Container string // its name
	Rules     []LabelRule
	Silences  []LabelSilence
	Digest    string // of all of it, and of what was told; "" where there is nothing
}

// LabelRule is a rule, and what its labels begin with.
type LabelRule struct {
	rule.Rule
	At string
}

// LabelSilence is a silence, its name, and what its labels begin with.
type LabelSilence struct {
	silence.Silence
	Name, At string
}

// LabelsApplied is what came of an ApplyLabels.
type LabelsApplied struct {
	Rules    []rule.Rule      // of the workload's labels, by id
	Silenced bool             // there are other silences than before
	Refused  map[string]error // why rules and silences are left out, by what their labels begin with
}

// ApplyLabels makes what labels declare all that is stored of a workload's labels, in one
// transaction. Rules and silences that can't be stored are left out, and refused; tell,
// which may be nil, says what is told of that, in the same transaction, where the digest is
// another than before. What stays the same isn't touched, and a rule of the same name keeps
// its id.
func (s *Store) ApplyLabels(ctx context.Context, l Labels, tell func(refused map[string]error) []event.Event, route func(event.Event) []int64) (out LabelsApplied, err error) {
	_, err = s.tx(ctx, func(tx *sql.Tx) ([]event.Event, error) {
		out = LabelsApplied{Refused: map[string]error{}}
		var was string
		err := tx.QueryRowContext(ctx, "SELECT digest FROM config_sources WHERE source = ?", labelSource+l.Workload).Scan(&was)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, err
		}
		if err := s.labelRules(ctx, tx, &l, out.Refused); err != nil {
			return nil, err
		}
		if out.Silenced, err = s.labelSilences(ctx, tx, &l, out.Refused); err != nil {
			return nil, err
		}
		rows, err := tx.QueryContext(ctx, "SELECT "+definitionColumns+" FROM rules WHERE workload_id = ? AND "+byLabel+" ORDER BY id", l.Workload)
		if out.Rules, err = collect(rows, err, scanRule); err != nil {
			return nil, err
		}
		if l.Digest == "" {
			_, err = tx.ExecContext(ctx, "DELETE FROM config_sources WHERE source = ?", labelSource+l.Workload)
		} else {
			_, err = tx.ExecContext(ctx, "INSERT INTO config_sources (source, digest, applied_at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET digest = excluded.digest, applied_at = excluded.applied_at",
				labelSource+l.Workload, l.Digest, nanos(s.now()))
		}
		if err != nil || tell == nil || l.Digest == was { // it was told before a commit seemed to fail
			return nil, err
		}
		return s.insertEvents(ctx, tx, Batch{Events: tell(out.Refused)}, route)
	})
	return out, wrap("apply labels", err)
}

// LabelDigests returns the Digest of each workload that has one.
func (s *Store) LabelDigests(ctx context.Context) (map[string]string, error) {
	rows, err := s.r.QueryContext(ctx, "SELECT source, digest FROM config_sources WHERE source LIKE '"+labelSource+"%'")
	out := map[string]string{}
	_, err = collect(rows, err, func(r row) (_ struct{}, err error) {
		var source, digest string
		err = r.Scan(&source, &digest)
		out[strings.TrimPrefix(source, labelSource)] = digest
		return struct{}{}, err
	})
	return out, wrap("read which labels were applied", err)
}

// managed says of a thing that labels of l declare it. Of one name there is one in a
// workload, but containers of several may have had one name.
func (l *Labels) managed(name, at string) fields.Managed {
	return fields.Managed{ManagedBy: LabelBy + l.Container, Key: l.Workload + ":" + name, DeclaredAt: at}
}

// refusal reports whether an error is about the thing that is stored, and not about the
// database.
func refusal(err error) bool {
	var wrong *fields.Error
	var full *FullError
	return errors.As(err, &wrong) || errors.As(err, &full)
}

// labelRules stores the rules of l; a rule is known by its name.
func (s *Store) labelRules(ctx context.Context, tx *sql.Tx, l *Labels, refused map[string]error) error {
	rows, err := tx.QueryContext(ctx, "SELECT "+definitionColumns+" FROM rules WHERE workload_id = ? AND "+byLabel+" ORDER BY id", l.Workload)
	stored, err := collect(rows, err, scanRule)
	if err != nil {
		return err
	}
	was := map[string]*rule.Rule{}
	for k := range stored {
		was[stored[k].Name] = &stored[k]
	}
	wanted := map[string]bool{}
	for _, r := range l.Rules {
		wanted[r.Name] = true
	}
	for _, r := range stored { // first, so that there is room
		if !wanted[r.Name] {
			if err := s.deleteRule(ctx, tx, r.ID, r.ManagedBy); err != nil {
				return err
			}
		}
	}
	for k := range l.Rules {
		r, at := &l.Rules[k].Rule, l.Rules[k].At
		r.WorkloadID, r.OverridesID, r.Managed = l.Workload, 0, l.managed(r.Name, at)
		err := checkTriggers(ctx, tx, *r)
		before := was[r.Name]
		switch {
		case err != nil:
		case before == nil:
			err = s.insertRule(ctx, tx, r)
		default:
			r.ID = before.ID
			err = s.updateLabelRule(ctx, tx, r, before)
		}
		if err != nil && refusal(err) {
			refused[at] = err
			if err = nil; before != nil {
				err = s.deleteRule(ctx, tx, before.ID, before.ManagedBy)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// updateLabelRule replaces a rule that labels declare, if it says something else.
func (s *Store) updateLabelRule(ctx context.Context, tx *sql.Tx, r, before *rule.Rule) error {
	now, err := rule.Fields.MarshalDefinition(*r)
	if err != nil {
		return err
	}
	then, err := rule.Fields.MarshalDefinition(*before)
	if err != nil || string(now) != string(then) {
		return s.updateRule(ctx, tx, r)
	}
	if r.Managed == before.Managed {
		return nil
	}
	_, err = tx.ExecContext(ctx, "UPDATE rules SET managed_by = ?, key = ?, declared_at = ? WHERE id = ?", r.ManagedBy, r.Managed.Key, r.DeclaredAt, r.ID)
	return err
}

// labelSilences stores the silences of l, and reports whether there are others than
// before.
func (s *Store) labelSilences(ctx context.Context, tx *sql.Tx, l *Labels, refused map[string]error) (changed bool, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT "+silenceColumns+" FROM silences WHERE "+byLabel+" AND substr(key, 1, ?) = ? ORDER BY id", len([]rune(l.Workload))+1, l.Workload+":")
	stored, err := collect(rows, err, scanSilence)
	if err != nil {
		return false, err
	}
	was := map[string]*silence.Silence{}
	for k := range stored {
		was[stored[k].Key] = &stored[k]
	}
	for k := range l.Silences {
		v, at := &l.Silences[k].Silence, l.Silences[k].At
		v.Managed = l.managed(l.Silences[k].Name, at)
		before := was[v.Key]
		delete(was, v.Key)
		if before != nil {
			v.ID, v.CreatedAt = before.ID, before.CreatedAt
			if asJSON(*v) == asJSON(*before) && v.Managed == before.Managed {
				continue
			}
			err = s.storeSilence(ctx, tx, *v)
		} else {
			err = s.insertSilence(ctx, tx, v)
		}
		if err != nil && refusal(err) {
			refused[at] = err
			continue
		}
		if err != nil {
			return false, err
		}
		changed = true
	}
	for _, key := range slices.Sorted(maps.Keys(was)) {
		v := was[key]
		v.Managed = fields.Managed{ManagedBy: fields.API}
		if err := s.endSilence(ctx, tx, v, LabelBy+l.Container); err != nil {
			return false, err
		}
		changed = true
	}
	return changed, nil
}
