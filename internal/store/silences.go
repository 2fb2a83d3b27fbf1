package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"logscan/internal/event"
	"logscan/internal/fields"
	"logscan/internal/silence"
)

// MaxSilences is how many silences there may be. The oldest of those that have ended
// give way.
const MaxSilences = 1000

const silenceColumns = "id, definition, managed_by, key, declared_at"

func scanSilence(r row) (silence.Silence, error) {
	var v silence.Silence
	var id int64
	var definition string
	err := r.Scan(&id, &definition, &v.ManagedBy, &v.Key, &v.DeclaredAt)
	if err == nil {
		if err = json.Unmarshal([]byte(definition), &v); err != nil {
			err = fmt.Errorf("silence %d: %w", id, err)
		}
	}
	v.ID = id
	return v, err
}

// Silences returns all silences, those that have ended too, by id.
func (s *Store) Silences(ctx context.Context) ([]silence.Silence, error) {
	rows, err := s.r.QueryContext(ctx, "SELECT "+silenceColumns+" FROM silences ORDER BY id")
	out, err := collect(rows, err, scanSilence)
	return out, wrap("read silences", err)
}

// CreateSilence adds a silence and returns it with its id and time. Its fields are
// the caller's to check.
func (s *Store) CreateSilence(ctx context.Context, v silence.Silence) (silence.Silence, error) {
	v.Managed = fields.Managed{ManagedBy: fields.API}
	err := s.change(ctx, "add silence", func(tx *sql.Tx) error { return s.insertSilence(ctx, tx, &v) })
	return v, err
}

// insertSilence adds a silence, and sets its id and time.
func (s *Store) insertSilence(ctx context.Context, tx *sql.Tx, v *silence.Silence) error {
	v.CreatedAt = instant(nanos(s.now()))
	_, err := tx.ExecContext(ctx, `DELETE FROM silences WHERE id IN (SELECT id FROM silences v WHERE ends_at <= ? AND managed_by = 'api' AND NOT `+owing+`
		ORDER BY ends_at LIMIT max(0, (SELECT count(*) FROM silences WHERE NOT `+byLabel+`) - ?))`, nanos(v.CreatedAt), MaxSilences-1)
	if err != nil {
		return err
	}
	if err := fullBeside(ctx, tx, "silences", v.Managed, MaxSilences); err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, "INSERT INTO silences (ends_at, definition, managed_by, key, declared_at) VALUES (?, ?, ?, ?, ?)",
		nanos(v.Ends), asJSON(v), v.ManagedBy, v.Managed.Key, v.DeclaredAt)
	if err == nil {
		v.ID, err = res.LastInsertId()
	}
	if err != nil {
		return err
	}
	return s.logChange(ctx, tx, Change{Kind: KindSilence, ID: v.ID, Name: v.Key, Action: Added, By: v.ManagedBy})
}

// EndSilence ends a silence now, if it hasn't ended. A silence that is managed elsewhere
// is refused with a *fields.ManagedError.
func (s *Store) EndSilence(ctx context.Context, id int64) (silence.Silence, error) {
	var v silence.Silence
	err := s.change(ctx, "end silence", func(tx *sql.Tx) (err error) {
		if err := checkManaged(ctx, tx, "silence", id); err != nil {
			return err
		}
		v, err = scanSilence(tx.QueryRowContext(ctx, "SELECT "+silenceColumns+" FROM silences WHERE id = ?", id))
		if err != nil {
			return err
		}
		return s.endSilence(ctx, tx, &v, fields.API)
	})
	return v, err
}

// endSilence ends a silence now, if it hasn't ended.
func (s *Store) endSilence(ctx context.Context, tx *sql.Tx, v *silence.Silence, by string) error {
	if now := instant(nanos(s.now())); v.Ends.After(now) {
		v.Ends = now
	}
	if err := s.storeSilence(ctx, tx, *v); err != nil {
		return err
	}
	return s.logChange(ctx, tx, Change{Kind: KindSilence, ID: v.ID, Name: v.Key, Action: Removed, By: by})
}

// storeSilence replaces the silence with v's id.
func (s *Store) storeSilence(ctx context.Context, tx *sql.Tx, v silence.Silence) error {
	return found(tx.ExecContext(ctx, "UPDATE silences SET ends_at = ?, definition = ?, managed_by = ?, key = ?, declared_at = ? WHERE id = ?",
		nanos(v.Ends), asJSON(v), v.ManagedBy, v.Managed.Key, v.DeclaredAt, v.ID))
}

// Silenced is what a silence has held back.
type Silenced struct {
	Notices   int64
	Incidents int64
	Rules     []string // the most frequent first, at most 5
}

const silencedNotices = "FROM notices n JOIN incidents i ON i.id = n.incident_id WHERE n.silenced_by <> 0 AND n.silenced_by = ? AND n.id > ?"

// TellSilences puts an event into the log for each silence that held something back
// and isn't active now.
func (s *Store) TellSilences(ctx context.Context, active func(silence.Silence) bool, route func(event.Event) []int64) error {
	rows, err := s.r.QueryContext(ctx, "SELECT "+silenceColumns+" FROM silences v WHERE "+owing)
	owing, err := collect(rows, err, scanSilence)
	if err != nil {
		return wrap("read silences", err)
	}
	for _, v := range owing {
		if active(v) {
			continue
		}
		_, err := s.tx(ctx, func(tx *sql.Tx) ([]event.Event, error) {
			var told, last int64
			if err := tx.QueryRowContext(ctx, "SELECT told FROM silences WHERE id = ?", v.ID).Scan(&told); err != nil {
				return nil, err
			}
			var held Silenced
			err := tx.QueryRowContext(ctx, "SELECT count(*), count(DISTINCT n.incident_id), coalesce(max(n.id), 0) "+silencedNotices, v.ID, told).Scan(&held.Notices, &held.Incidents, &last)
			if err != nil || held.Notices == 0 {
				return nil, err
			}
			rows, err := tx.QueryContext(ctx, "SELECT i.rule "+silencedNotices+" GROUP BY i.rule ORDER BY count(*) DESC, i.rule LIMIT 5", v.ID, told)
			held.Rules, err = collect(rows, err, func(r row) (name string, err error) { return name, r.Scan(&name) })
			if err != nil {
				return nil, err
			}
			if _, err := tx.ExecContext(ctx, "UPDATE silences SET told = ? WHERE id = ?", last, v.ID); err != nil {
				return nil, err
			}
			return s.insertEvents(ctx, tx, Batch{Events: []event.Event{receipt(v, held)}}, route)
		})
		if err != nil {
			return wrap("tell what a silence held back", err)
		}
	}
	return nil
}

// receipt is the event about what a silence held back.
func receipt(v silence.Silence, held Silenced) event.Event {
	matchers := make([]string, len(v.Matchers))
	for i, m := range v.Matchers {
		matchers[i] = m.String()
	}
	return event.Event{
		Source: event.System, Severity: event.Info,
		Message: fmt.Sprintf("Silence %d (%s) held back %d notices of %d incidents, of the rules %s.",
			v.ID, strings.Join(matchers, ", "), held.Notices, held.Incidents, strings.Join(held.Rules, ", ")),
		Metadata: map[string]any{"about": "silence", "silence_id": v.ID, "notices": held.Notices, "incidents": held.Incidents},
	}
}

// PreviewSilence returns what a silence would have held back since a time, had it
// been active all of the time.
func (s *Store) PreviewSilence(ctx context.Context, v silence.Silence, since time.Time) (Silenced, error) {
	var out Silenced
	v.ID, v.Starts, v.Ends, v.Cron, v.For, v.Zone = 1, since, s.now().Add(time.Hour), "", 0, ""
	set := silence.Compile([]silence.Silence{v})
	rows, err := s.r.QueryContext(ctx, "SELECT "+incidentColumns+", (SELECT count(*) FROM notices WHERE incident_id = i.id AND created_at >= ? AND shadow = 0) n FROM incidents i WHERE n > 0", nanos(since))
	rules := map[string]int64{}
	_, err = collect(rows, err, func(r row) (struct{}, error) {
		var n int64
		i, err := scanIncident(with{r, &n})
		if err == nil && set.By(&i, since) != 0 {
			out.Notices += n
			out.Incidents++
			rules[i.Rule] += n
		}
		return struct{}{}, err
	})
	out.Rules = mostFrequent(rules, 5)
	return out, wrap("preview silence", err)
}

// with scans one column more than is asked for.
type with struct {
	row
	last any
}

func (w with) Scan(to ...any) error { return w.row.Scan(append(to, w.last)...) }

// mostFrequent returns the keys with the greatest counts.
func mostFrequent(counts map[string]int64, n int) (out []string) {
	for len(out) < n && len(counts) > 0 {
		best := ""
		for k, c := range counts {
			if best == "" || c > counts[best] || c == counts[best] && k < best {
				best = k
			}
		}
		out = append(out, best)
		delete(counts, best)
	}
	return out
}

// SilencedBy returns what a silence has held back so far.
func (s *Store) SilencedBy(ctx context.Context, id int64) (Silenced, error) {
	var out Silenced
	err := s.r.QueryRowContext(ctx, "SELECT count(*), count(DISTINCT n.incident_id) "+silencedNotices, id, 0).Scan(&out.Notices, &out.Incidents)
	return out, wrap("read what a silence held back", err)
}

// asJSON encodes what always can be.
func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
