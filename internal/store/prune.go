package store

import (
	"context"
	"database/sql"
	"time"
)

// longestBudget is for how long messages are counted for a trigger's budget.
const longestBudget = 24 * time.Hour

// owing says of a silence v that it is yet to be told what it held back.
const owing = "EXISTS (SELECT 1 FROM notices WHERE silenced_by <> 0 AND silenced_by = v.id AND id > v.told)"

// What is removed beside events, the oldest first: incidents that are over, but those
// of which a notice waits, and messages that don't wait, but the last one of each
// incident that is open, which may be told again.
const (
	overIncidents = `SELECT i.id FROM incidents i INDEXED BY incidents_resolved WHERE state = 'resolved' AND ended_at < ?
		AND NOT EXISTS (SELECT 1 FROM notices n JOIN held h ON h.notice_id = n.id WHERE n.incident_id = i.id) ORDER BY ended_at LIMIT ?`
	sentMessages = `SELECT seq FROM deliveries d WHERE message <> '' AND state <> 'pending' AND created_at < ?
		AND NOT (state = 'delivered' AND EXISTS (SELECT 1 FROM incidents WHERE id = d.incident_id AND state <> 'resolved')
		AND NOT EXISTS (SELECT 1 FROM deliveries WHERE trigger_id = d.trigger_id AND incident_id = d.incident_id AND incident_id <> 0 AND state = 'delivered' AND seq > d.seq))
		ORDER BY created_at LIMIT ?`

	newestIncidents = "SELECT coalesce((SELECT ended_at FROM incidents INDEXED BY incidents_resolved WHERE state = 'resolved' ORDER BY ended_at DESC LIMIT 1 OFFSET ?), 0)"
	newestMessages  = "SELECT coalesce((SELECT created_at FROM deliveries WHERE message <> '' ORDER BY created_at DESC LIMIT 1 OFFSET ?), 0)"
)

// kept is a kind of what Prune removes beside events.
type kept struct {
	oldest string // of those from before a time, so many
	beyond string // the time of the newest but so many
	remove string // those with these ids
}

var (
	keptIncidents = kept{overIncidents, newestIncidents, "DELETE FROM incidents WHERE state = 'resolved' AND id IN (SELECT value FROM json_each(?))"}
	keptMessages  = kept{sentMessages, newestMessages, "DELETE FROM deliveries WHERE state <> 'pending' AND seq IN (SELECT value FROM json_each(?))"}
)

// pruneOthers removes incidents that are over, messages that were sent, and silences
// that ended, beyond the newest most (0 for no such bound) and from before oldest (zero
// for no such bound), and what is no longer needed of groups.
func (s *Store) pruneOthers(ctx context.Context, most int, oldest time.Time) error {
	now := s.now()
	for _, k := range []kept{keptIncidents, keptMessages} {
		before := nanos(oldest)
		if before != 0 && k == keptMessages {
			before = min(before, nanos(now.Add(-longestBudget)))
		}
		if most > 0 {
			beyond, err := s.newestBut(ctx, k, most)
			if err != nil {
				return err
			}
			before = max(before, beyond)
		}
		for n := pruneStep; n == pruneStep && before != 0; {
			var err error
			if n, err = s.pruneKept(ctx, k, before); err != nil {
				return err
			}
		}
	}
	return s.change(ctx, "remove", func(tx *sql.Tx) error {
		if s.incidents != nil {
			for _, p := range s.incidents.Policies() {
				if _, err := tx.ExecContext(ctx, "DELETE FROM groups WHERE trigger_id = ? AND told_at < ? AND group_key <> ?", p.ID, nanos(now.Add(-p.Interval())), digestKey); err != nil {
					return err
				}
			}
		}
		if oldest.IsZero() {
			return nil
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM silences AS v WHERE ends_at < ? AND managed_by = 'api' AND NOT "+owing, nanos(oldest))
		return err
	})
}

// newestBut is the time up to which there is more than the newest n; 0 where there
// isn't.
func (s *Store) newestBut(ctx context.Context, k kept, n int) (before int64, err error) {
	if err = s.r.QueryRowContext(ctx, k.beyond, n).Scan(&before); err == nil && before != 0 {
		before++
	}
	return before, err
}

// pruneKept removes the oldest from before a time, and returns how many.
func (s *Store) pruneKept(ctx context.Context, k kept, before int64) (int, error) {
	rows, err := s.r.QueryContext(ctx, k.oldest, before, pruneStep)
	ids, err := collect(rows, err, scanID)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	return len(ids), s.change(ctx, "remove", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, k.remove, asJSON(ids))
		return err
	})
}
