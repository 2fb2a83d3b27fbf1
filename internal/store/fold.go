package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/rule"
	"logscan/internal/shape"
	"logscan/internal/trigger"
)

// Incidents knows the rules and triggers by which hits are folded and told. It is
// called inside of transactions and must not use the store.
type Incidents interface {
	// Settings returns what a rule says about its incidents.
	Settings(ruleID int64) incident.Settings
	// Policies are those of the enabled triggers that are about incidents.
	Policies() []*trigger.Policy
	// Silenced returns the silence that holds an incident's notices back, 0 for
	// none.
	Silenced(i *incident.Incident, at time.Time) int64
}

// UseIncidents has hits from now on folded, and told, as in says. Without it they
// are folded with every default and nobody is told.
func (s *Store) UseIncidents(in Incidents) {
	s.write.Lock()
	defer s.write.Unlock()
	s.incidents = in
}

// folding is what one transaction does to incidents. It tells of each notice before
// it goes on, so that it is the same whether hits come in one transaction or in many.
type folding struct {
	s         *Store
	tx        *sql.Tx
	open      map[incident.Key]*incident.Incident // nil: there is none
	count     map[int64]int                       // open ones by rule
	states    map[int64]string                    // of rules; "" for those that are not there
	unwritten map[*incident.Incident]struct{}     // those that changed since they were written
	event     int64                               // that is being folded; 0 for none
}

func (s *Store) newFolding(tx *sql.Tx) *folding {
	return &folding{s: s, tx: tx, open: map[incident.Key]*incident.Incident{}, count: map[int64]int{}, states: map[int64]string{}, unwritten: map[*incident.Incident]struct{}{}}
}

// add folds an event that is stored, and returns the id of the incident.
func (f *folding) add(ctx context.Context, e event.Event) (int64, error) {
	f.event = e.ID
	defer func() { f.event = 0 }()
	return f.fold(ctx, f.hit(e))
}

// link has the event that is being folded be one of an incident, before anybody is told.
func (f *folding) link(ctx context.Context, i *incident.Incident) error {
	if f.event == 0 {
		return nil
	}
	_, err := f.tx.ExecContext(ctx, "UPDATE event_log SET incident_id = ? WHERE id = ?", i.ID, f.event)
	return err
}

// fold folds a hit, or matches that were held back, and returns the id of the
// incident.
func (f *folding) fold(ctx context.Context, h incident.Hit) (int64, error) {
	i, err := f.find(ctx, h.Key)
	if err != nil {
		return 0, err
	}
	if i == nil && h.OnlyOpen {
		return 0, nil
	}
	if i == nil && h.Others {
		h.ToOthers()
		if i, err = f.find(ctx, h.Key); err != nil {
			return 0, err
		}
	}
	if i == nil {
		n, err := f.opened(ctx, h.RuleID)
		if err != nil {
			return 0, err
		}
		if n >= incident.MaxOpen {
			h.ToOthers()
			if n >= 2*incident.MaxOpen { // there are as many workloads
				h.Workload = ""
			}
			if i, err = f.find(ctx, h.Key); err != nil {
				return 0, err
			}
		}
	}
	if i == nil || i.Named() { // else it is known, and it takes longer than all the rest
		h.Readable = shape.Readable([]byte(h.Text), maxReadable)
	}
	if i == nil {
		before, err := f.before(ctx, h)
		if err != nil {
			return 0, err
		}
		opened, n := incident.New(h, before)
		i = &opened
		res, err := f.tx.ExecContext(ctx, `INSERT INTO incidents (rule_id, workload, by_values, shape, rule, severity, state, first_at, last_at, ended_at, due_at, data)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, '')`, h.RuleID, h.Workload, h.By, h.Shape, i.Rule, i.Severity, i.State, nanos(i.First), nanos(i.Last))
		if err == nil {
			i.ID, err = res.LastInsertId()
		}
		if err != nil {
			return 0, err
		}
		f.count[h.RuleID]++
		f.use(i)
		if err := f.link(ctx, i); err != nil {
			return 0, err
		}
		if err := f.tell(ctx, n, i); err != nil {
			return 0, err
		}
	} else {
		n, ok := i.Fold(h)
		f.use(i)
		if err := f.link(ctx, i); err != nil {
			return 0, err
		}
		if ok {
			if err := f.tell(ctx, n, i); err != nil {
				return 0, err
			}
		}
	}
	return i.ID, nil
}

// hit is an event as incidents see it.
func (f *folding) hit(e event.Event) incident.Hit {
	text := func(key string) string {
		v, _ := e.Metadata[key].(string)
		return v
	}
	h := incident.Hit{
		Key: incident.Key{RuleID: number(e.Metadata["rule_id"]), Workload: text("workload_id"), By: cmp.Or(e.By, text("by")), Shape: e.Shape},
		At:  e.Time, Rule: text("rule_name"), Kind: text("kind"), Severity: e.Severity, Container: text("container_name"),
		Image: text("image"), Labels: e.Labels, Text: e.Message, Shadow: e.InShadow(),
	}
	if e.Source == event.System {
		h.RuleID, h.Rule, h.Kind, h.By, h.About = 0, "logscan", "", "", aboutTrigger(e)
		for _, about := range []string{"trigger_id", "silence_id"} { // what is about another one is other trouble
			if id := number(e.Metadata[about]); id != 0 {
				h.By = fmt.Sprint(about, " ", id)
			}
		}
	}
	if h.Kind == "" && h.RuleID != 0 {
		h.Kind = rule.KindLine
	}
	if h.Shape == "" {
		h.Shape = shape.Of([]byte(e.Message)).String()
	}
	if h.At.IsZero() {
		h.At = e.CreatedAt
	}
	return f.settle(h)
}

// settle fills in what the rule says. No hit is of later than now: the clock may have
// been set back since its line was written.
func (f *folding) settle(h incident.Hit) incident.Hit {
	if now := f.s.now(); h.At.After(now) {
		h.At = now
	}
	h.Settings = incident.Defaults
	if f.s.incidents != nil && h.RuleID != 0 {
		h.Settings = f.s.incidents.Settings(h.RuleID)
	}
	return h
}

// maxReadable bounds what is kept of a shape for people, in bytes.
const maxReadable = 300

const incidentColumns = "i.id, i.rule_id, i.workload, i.by_values, i.shape, i.state, i.data"

func scanIncident(r row) (incident.Incident, error) {
	var i incident.Incident
	var data string
	err := r.Scan(&i.ID, &i.Key.RuleID, &i.Key.Workload, &i.Key.By, &i.Key.Shape, &i.State, &data)
	if err == nil {
		if err = json.Unmarshal([]byte(data), &i); err != nil {
			err = fmt.Errorf("incident %d: %w", i.ID, err)
		}
	}
	return i, err
}

const findOpen = "SELECT " + incidentColumns + " FROM incidents i WHERE rule_id = ? AND workload = ? AND by_values = ? AND shape = ? AND state <> 'resolved'"

// find returns the incident that a hit is folded into, nil where there is none.
func (f *folding) find(ctx context.Context, k incident.Key) (*incident.Incident, error) {
	if i, known := f.open[k]; known {
		return i, nil
	}
	i, err := scanIncident(f.tx.QueryRowContext(ctx, findOpen, k.RuleID, k.Workload, k.By, k.Shape))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		f.open[k] = nil
		return nil, nil
	case err != nil:
		return nil, err
	}
	f.open[k] = &i
	return &i, nil
}

// use has an incident written that has changed.
func (f *folding) use(i *incident.Incident) {
	f.open[i.Key] = i
	f.unwritten[i] = struct{}{}
}

const openOfRule = "SELECT count(*) FROM incidents WHERE rule_id = ? AND state <> 'resolved'"

func (f *folding) opened(ctx context.Context, rule int64) (int, error) {
	n, known := f.count[rule]
	if !known {
		err := f.tx.QueryRowContext(ctx, openOfRule, rule).Scan(&n)
		if err != nil {
			return 0, err
		}
		f.count[rule] = n
	}
	return n, nil
}

const likeIt = "FROM incidents WHERE rule_id = ? AND workload = ? AND by_values = ? AND shape = ? AND state = 'resolved' AND ended_at > ?"

// before is what came before an incident that a hit opens, nil where that is long
// ago.
func (f *folding) before(ctx context.Context, h incident.Hit) (*incident.Before, error) {
	args := []any{h.RuleID, h.Workload, h.By, h.Shape, nanos(h.At.Add(-incident.SeenAgain))}
	var b incident.Before
	var ended int64
	err := f.tx.QueryRowContext(ctx, "SELECT id, ended_at "+likeIt+" ORDER BY ended_at DESC LIMIT 1", args...).Scan(&b.ID, &ended)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err == nil {
		b.Ended = instant(ended)
		err = f.tx.QueryRowContext(ctx, "SELECT count(*) + 1 "+likeIt, args...).Scan(&b.Nth)
	}
	return &b, err
}

// flush writes the incidents that have changed.
func (f *folding) flush(ctx context.Context) error {
	for i := range f.unwritten {
		if err := f.write(ctx, i); err != nil {
			return err
		}
	}
	clear(f.unwritten)
	return nil
}

func (f *folding) write(ctx context.Context, i *incident.Incident) error {
	data, err := json.Marshal(i)
	if err != nil {
		return err
	}
	_, err = f.tx.ExecContext(ctx, "UPDATE incidents SET rule = ?, severity = ?, state = ?, first_at = ?, last_at = ?, ended_at = ?, due_at = ?, data = ? WHERE id = ?",
		i.Rule, i.Severity, i.State, nanos(i.First), nanos(i.Last), nanos(i.Ended), dueAt(i), string(data), i.ID)
	f.s.due(i.Due())
	return err
}

// dueAt is when time alone may change an incident, as it is kept: never before 1970.
func dueAt(i *incident.Incident) int64 {
	at := i.Due()
	if at.IsZero() {
		return 0
	}
	return max(nanos(at), 1)
}
