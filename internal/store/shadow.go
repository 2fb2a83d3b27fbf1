package store

import (
	"context"
	"database/sql"
	"errors"
	"maps"

	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/rule"
	"logscan/internal/trigger"
)

const stateOfRule = "SELECT definition ->> '$.state' FROM rules WHERE id = ?"

// inShadow reports whether what a rule has found is told to nobody. What a rule has
// found that was switched off or removed since is as it was when it was found.
func (f *folding) inShadow(ctx context.Context, ruleID int64, found bool) (bool, error) {
	state, known := f.states[ruleID]
	if !known {
		err := f.tx.QueryRowContext(ctx, stateOfRule, ruleID).Scan(&state)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return false, err
		}
		f.states[ruleID] = state
	}
	return state == rule.Shadow || found && state != rule.On, nil
}

// mark returns a hit with the mark that it has if its rule is in shadow.
func (f *folding) mark(ctx context.Context, e event.Event) (event.Event, error) {
	if e.Source == event.System {
		return e, nil
	}
	shadow, err := f.inShadow(ctx, number(e.Metadata["rule_id"]), e.InShadow())
	if err != nil || shadow == e.InShadow() {
		return e, err
	}
	e.Metadata = maps.Clone(e.Metadata) // the caller may commit it again
	if shadow {
		e.Metadata[event.Shadow] = true
	} else {
		delete(e.Metadata, event.Shadow)
	}
	return e, nil
}

// addHeld folds matches that are no event, of a rule whose settings are to be filled in.
func (f *folding) addHeld(ctx context.Context, h incident.Hit) (err error) {
	if h.Shadow, err = f.inShadow(ctx, h.RuleID, h.Shadow); err == nil {
		_, err = f.fold(ctx, f.settle(h))
	}
	return err
}

const (
	heldOfRule = "FROM held h JOIN notices n ON n.id = h.notice_id JOIN incidents i ON i.id = n.incident_id WHERE i.rule_id = ?"
	openOf     = "WHERE rule_id = ? AND state <> 'resolved'"
)

// shade has what is open of a rule follow its state: it is told no more where that is
// shadow now, nor what is still held of it; and again where the rule is on.
func shade(ctx context.Context, tx *sql.Tx, ruleID int64, from, to string) error {
	if from == to {
		return nil
	}
	var changes []string
	switch to {
	case rule.On:
		changes = []string{"UPDATE incidents SET data = json_remove(data, '$.shadow') " + openOf}
	case rule.Shadow:
		changes = []string{
			"UPDATE incidents SET data = json_set(data, '$.shadow', json('true')) " + openOf,
			"INSERT OR REPLACE INTO told SELECT h.notice_id, h.trigger_id, 'shadow' " + heldOfRule,
			"DELETE FROM held WHERE seq IN (SELECT h.seq " + heldOfRule + ")",
		}
	}
	for _, change := range changes {
		if _, err := tx.ExecContext(ctx, change, ruleID); err != nil {
			return err
		}
	}
	return nil
}

const wasTold = "SELECT EXISTS (SELECT 1 FROM notices n JOIN told t ON t.notice_id = n.id WHERE n.incident_id = ? AND t.trigger_id = ? AND t.delivery_id NOT IN ('', 'shadow'))"

// tells reports whether a trigger is to be told of a notice. Of an incident whose rule
// is in shadow, one whose receiver keeps a state of what it was told before hears that
// this is over, or it would go on calling people.
func (f *folding) tells(ctx context.Context, p *trigger.Policy, n incident.Notice, of *incident.Incident, silence int64) (told bool, err error) {
	calms := p.Calms(n)
	if of.Shadow && calms {
		err = f.tx.QueryRowContext(ctx, wasTold, of.ID, p.ID).Scan(&told)
		told = told && p.UnwantedBy(of, n) == trigger.InShadow
		return told, err
	}
	return (silence == 0 || calms) && p.Wants(of, n), nil
}
