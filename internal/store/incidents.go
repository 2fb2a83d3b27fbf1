package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"logscan/internal/event"
	"logscan/internal/incident"
)

// IncidentFilter selects incidents; what is zero doesn't select.
type IncidentFilter struct {
	States   []incident.State
	Rule     string
	RuleID   int64
	At       time.Time // that there were lines before, or then, and behind
	Workload string
	Severity event.Severity // at least
	Before   int64          // the id of an incident: only older ones
	Limit    int            // at most 1,000, which 0 means too
}

// maxIncidents bounds one answer of Incidents.
const maxIncidents = 1000

// Incidents returns the incidents that match, the newest first.
func (s *Store) Incidents(ctx context.Context, f IncidentFilter) ([]incident.Incident, error) {
	q, args := "SELECT "+incidentColumns+" FROM incidents i WHERE true", []any{}
	and := func(condition string, v any) { q, args = q+" AND "+condition, append(args, v) }
	if len(f.States) > 0 {
		and("state IN (SELECT value FROM json_each(?))", asJSON(f.States))
	}
	if f.Rule != "" {
		and("rule = ?", f.Rule)
	}
	if f.RuleID != 0 {
		and("rule_id = ?", f.RuleID)
	}
	if !f.At.IsZero() {
		and("first_at <= ?", nanos(f.At))
		and("last_at >= ?", nanos(f.At))
	}
	if f.Workload != "" {
		and("workload = ?", f.Workload)
	}
	if f.Severity != "" {
		var atLeast []event.Severity
		for _, v := range event.Severities() {
			if v.Compare(f.Severity) >= 0 {
				atLeast = append(atLeast, v)
			}
		}
		and("severity IN (SELECT value FROM json_each(?))", asJSON(atLeast))
	}
	if f.Before > 0 {
		and("id < ?", f.Before)
	}
	if f.Limit <= 0 || f.Limit > maxIncidents {
		f.Limit = maxIncidents
	}
	rows, err := s.r.QueryContext(ctx, q+" ORDER BY id DESC LIMIT ?", append(args, f.Limit)...)
	out, err := collect(rows, err, scanIncident)
	return out, wrap("read incidents", err)
}

// OpenOfRule is what is open of a rule.
type OpenOfRule struct {
	Incidents int64
	Held      map[string]int64 // notices that triggers hold back, for each trigger, by why
	Keys      int64            // by which its matches are added up
}

const (
	openByRule = "SELECT rule_id, count(*) FROM incidents WHERE state <> 'resolved' GROUP BY rule_id"
	keysByRule = "SELECT rule_id, count(*) FROM correlated WHERE rule_id <> 0 GROUP BY rule_id"
	heldByRule = "SELECT i.rule_id, h.why, count(*) FROM held h JOIN notices n ON n.id = h.notice_id JOIN incidents i ON i.id = n.incident_id GROUP BY 1, 2"
)

// OpenByRule is what is open of each rule, by its id; of a rule of which nothing is, there
// is no entry.
func (s *Store) OpenByRule(ctx context.Context) (map[int64]OpenOfRule, error) {
	out := map[int64]OpenOfRule{}
	rows, err := s.r.QueryContext(ctx, openByRule)
	_, err = collect(rows, err, func(r row) (struct{}, error) {
		var id, n int64
		err := r.Scan(&id, &n)
		out[id] = OpenOfRule{Incidents: n}
		return struct{}{}, err
	})
	if err == nil {
		rows, err = s.r.QueryContext(ctx, keysByRule)
		_, err = collect(rows, err, func(r row) (struct{}, error) {
			var id, n int64
			err := r.Scan(&id, &n)
			of := out[id]
			of.Keys = n
			out[id] = of
			return struct{}{}, err
		})
	}
	if err == nil {
		rows, err = s.r.QueryContext(ctx, heldByRule)
		_, err = collect(rows, err, func(r row) (struct{}, error) {
			var id, n int64
			var why string
			err := r.Scan(&id, &why, &n)
			of := out[id]
			if of.Held == nil {
				of.Held = map[string]int64{}
			}
			of.Held[why] = n
			out[id] = of
			return struct{}{}, err
		})
	}
	return out, wrap("count incidents", err)
}

// Incident returns one incident.
func (s *Store) Incident(ctx context.Context, id int64) (incident.Incident, error) {
	i, err := scanIncident(s.r.QueryRowContext(ctx, "SELECT "+incidentColumns+" FROM incidents i WHERE id = ?", id))
	return i, wrap("read incident", err)
}

// Noticed is a notice that was kept.
type Noticed struct {
	ID int64
	incident.Notice
	Incident   int64
	Severity   event.Severity
	Matches    int64 // by then
	SilencedBy int64 // the silence that held it back; 0 for none
	Shadow     bool  // its rule was in shadow: nobody was told
	CreatedAt  time.Time
}

// Notices returns the notices of an incident that are kept, the oldest first.
func (s *Store) Notices(ctx context.Context, incidentID int64) ([]Noticed, error) {
	rows, err := s.r.QueryContext(ctx, "SELECT id, incident_id, kind, reason, severity, matches, at, created_at, silenced_by, shadow FROM notices WHERE incident_id = ? ORDER BY id", incidentID)
	out, err := collect(rows, err, func(r row) (n Noticed, err error) {
		var at, created int64
		err = r.Scan(&n.ID, &n.Incident, &n.Kind, &n.Reason, &n.Severity, &n.Matches, &at, &created, &n.SilencedBy, &n.Shadow)
		n.At, n.CreatedAt = instant(at), instant(created)
		return n, err
	})
	return out, wrap("read notices", err)
}

// ChangeIncident does to an incident what change does. Where change returns a
// notice, it is told. An error of change leaves everything as it is.
func (s *Store) ChangeIncident(ctx context.Context, id int64, change func(*incident.Incident) (incident.Notice, error)) (incident.Incident, error) {
	return s.changeIncident(ctx, id, change, func(*sql.Tx) error { return nil })
}

// ErrUsed is returned for a token that was used before.
var ErrUsed = errors.New("used before")

// ChangeIncidentOnce is ChangeIncident for a token that is good once, and expires.
func (s *Store) ChangeIncidentOnce(ctx context.Context, id int64, token string, until time.Time, change func(*incident.Incident) (incident.Notice, error)) (incident.Incident, error) {
	return s.changeIncident(ctx, id, change, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM used_actions WHERE until < ?", nanos(s.now().Add(-time.Hour))); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, "INSERT INTO used_actions VALUES (?, ?) ON CONFLICT DO NOTHING", token, nanos(until))
		if err := found(res, err); errors.Is(err, ErrNotFound) {
			return ErrUsed
		} else if err != nil {
			return err
		}
		return nil
	})
}

// Used reports whether ChangeIncidentOnce has used a token.
func (s *Store) Used(ctx context.Context, token string) (used bool, err error) {
	err = s.r.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM used_actions WHERE token = ?)", token).Scan(&used)
	return used, wrap("read used links", err)
}

func (s *Store) changeIncident(ctx context.Context, id int64, change func(*incident.Incident) (incident.Notice, error), first func(*sql.Tx) error) (incident.Incident, error) {
	var i incident.Incident
	_, err := s.tx(ctx, func(tx *sql.Tx) (_ []event.Event, err error) {
		if err := first(tx); err != nil {
			return nil, err
		}
		i, err = scanIncident(tx.QueryRowContext(ctx, "SELECT "+incidentColumns+" FROM incidents i WHERE id = ?", id))
		if err != nil {
			return nil, wrap("read incident", err)
		}
		n, err := change(&i)
		if err != nil {
			return nil, err
		}
		f := s.newFolding(tx)
		f.use(&i)
		if n.Kind != "" {
			if err := f.tell(ctx, n, &i); err != nil {
				return nil, err
			}
		}
		return nil, f.flush(ctx)
	})
	return i, err
}
