package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"logscan/internal/trigger"
)

// digests tells the summaries that are due, and notes when the next ones are. They are
// summed up beside the writer: there may be much.
func (s *Store) digests(ctx context.Context, now time.Time) error {
	s.write.Lock()
	in, wrote := s.incidents, s.wrote
	s.write.Unlock()
	if in == nil {
		return nil
	}
	for _, p := range in.Policies() {
		if !p.Digests() {
			continue
		}
		var last int64
		err := s.r.QueryRowContext(ctx, "SELECT told_at FROM groups WHERE trigger_id = ? AND group_key = ?", p.ID, digestKey).Scan(&last)
		if errors.Is(err, sql.ErrNoRows) { // from here on
			last = nanos(now)
			err = s.change(ctx, "note digest", func(tx *sql.Tx) error { return noteDigest(ctx, tx, p.ID, now) })
		}
		if err != nil {
			return wrap("read digest", err)
		}
		since := instant(last)
		next := p.NextDigest(since)
		if next.After(now) {
			s.dueLater(next)
			continue
		}
		sum, err := summary(ctx, s.r, since, now)
		if err != nil {
			return wrap("sum up", err)
		}
		if wrote != nil {
			silent(&sum, wrote())
		}
		err = s.change(ctx, "tell digest", func(tx *sql.Tx) error {
			if err := noteDigest(ctx, tx, p.ID, now); err != nil {
				return err
			}
			_, err := s.send(ctx, tx, p, p.DigestMessage(sum), 0, 0, false)
			return err
		})
		if err != nil {
			return err
		}
		s.dueLater(p.NextDigest(now))
	}
	return nil
}

func (s *Store) dueLater(at time.Time) {
	s.write.Lock()
	defer s.write.Unlock()
	s.due(at)
}

// digestKey is the group under which it is noted when a digest was told.
const digestKey = "digest"

func noteDigest(ctx context.Context, tx *sql.Tx, triggerID int64, now time.Time) error {
	// The trigger may have gone.
	_, err := tx.ExecContext(ctx, "INSERT INTO groups SELECT id, ?2, ?3, '' FROM triggers WHERE id = ?1 ON CONFLICT DO UPDATE SET told_at = excluded.told_at", triggerID, digestKey, nanos(now))
	return err
}

// maxSummed is how many workloads and rules a summary names.
const maxSummed = 20

// summary sums up what there was from one time up to another, but of what rules in
// shadow found.
func summary(ctx context.Context, db *sql.DB, from, to time.Time) (trigger.Summary, error) {
	sum := trigger.Summary{From: from, To: to}
	rows, err := db.QueryContext(ctx, `SELECT ifnull(workload_id, ''), ifnull(rule_name, 'logscan'), count(DISTINCT incident_id), sum(1 + ifnull(metadata ->> '$.suppressed', 0)) n
		FROM event_log WHERE created_at >= ? AND created_at < ? AND metadata ->> '$.shadow' IS NULL AND metadata ->> '$.history' IS NULL GROUP BY 1, 2 ORDER BY n DESC, 1, 2`, nanos(from), nanos(to))
	all, err := collect(rows, err, func(r row) (l trigger.SummaryLine, err error) {
		return l, r.Scan(&l.Workload, &l.Rule, &l.Incidents, &l.Matches)
	})
	if err != nil {
		return sum, err
	}
	for n, l := range all {
		sum.Incidents += l.Incidents
		sum.Matches += l.Matches
		if n < maxSummed {
			sum.Lines = append(sum.Lines, l)
		} else {
			sum.More++
		}
	}
	err = db.QueryRowContext(ctx, `SELECT count(*) FILTER (WHERE first_at >= ?1 AND data ->> '$.before' IS NULL AND rule_id <> 0), count(*) FILTER (WHERE state <> 'resolved')
		FROM incidents WHERE (last_at >= ?1 OR state <> 'resolved') AND data ->> '$.shadow' IS NULL`, nanos(from)).Scan(&sum.New, &sum.Open)
	if err == nil {
		err = db.QueryRowContext(ctx, "SELECT count(*) FROM notices WHERE silenced_by <> 0 AND created_at >= ? AND created_at < ?", nanos(from), nanos(to)).Scan(&sum.Silenced)
	}
	if l := &sum.Lost; err == nil {
		err = db.QueryRowContext(ctx, lost, nanos(from), nanos(to)).Scan(&l.Times, &l.Bytes, &l.Entries, &l.Containers)
	}
	n := &sum.Noisiest
	if err == nil {
		err = db.QueryRowContext(ctx, noisiest, nanos(from), nanos(to)).Scan(&n.Rule, &n.Matches, &n.Events, &n.Bytes)
	}
	if err == nil {
		err = db.QueryRowContext(ctx, messagesOf, nanos(from), nanos(to), n.Rule).Scan(&n.Messages)
	}
	if errors.Is(err, sql.ErrNoRows) { // no rule matched
		err = nil
	}
	return sum, err
}

// What is summed up besides, of the time between two.
const (
	// lost are the losses that events tell of, with the metadata that package app gives
	// them.
	lost = `SELECT coalesce(sum(metadata ->> '$.times'), 0), coalesce(sum(metadata ->> '$.bytes'), 0), coalesce(sum(metadata ->> '$.frames'), 0), count(DISTINCT container_id)
		FROM event_log INDEXED BY event_log_created WHERE created_at >= ? AND created_at < ? AND source = 'system' AND metadata ->> '$.about' = 'loss'`
	noisiest = `SELECT rule_name, sum(1 + ifnull(metadata ->> '$.suppressed', 0)) n, count(*), sum(octet_length(message) + octet_length(metadata))
		FROM event_log INDEXED BY event_log_created WHERE created_at >= ? AND created_at < ? AND source <> 'system' AND rule_name IS NOT NULL AND metadata ->> '$.shadow' IS NULL AND metadata ->> '$.history' IS NULL GROUP BY rule_name ORDER BY n DESC, rule_name LIMIT 1`
	// messagesOf are those of which an incident, or the event, is of a rule.
	messagesOf = `SELECT (SELECT count(*) FROM deliveries INDEXED BY deliveries_message WHERE message <> '' AND created_at >= ?1 AND created_at < ?2
			AND EXISTS (SELECT 1 FROM json_each(message, '$.notices') WHERE value ->> '$.rule' = ?3))
		+ (SELECT count(*) FROM event_log e INDEXED BY event_log_created JOIN deliveries d ON d.event_id = e.id WHERE e.created_at >= ?1 AND e.created_at < ?2 AND e.rule_name = ?3)`
)

// silent adds the workloads that have fallen silent, of which it is known when they
// wrote last.
func silent(sum *trigger.Summary, wrote map[string]time.Time) {
	for w, last := range wrote {
		if last.Before(sum.From) && !last.Before(sum.From.Add(-trigger.SilentAfter)) {
			sum.Silent = append(sum.Silent, trigger.SilentWorkload{Workload: w, Last: last})
		}
	}
	slices.SortFunc(sum.Silent, func(a, b trigger.SilentWorkload) int { return strings.Compare(a.Workload, b.Workload) })
	if n := len(sum.Silent) - maxSummed; n > 0 {
		sum.Silent, sum.MoreSilent = sum.Silent[:maxSummed], n
	}
}

// UseWorkloads has summaries name the workloads that have fallen silent: wrote returns
// when each one last wrote a line. Without it they name none.
func (s *Store) UseWorkloads(wrote func() map[string]time.Time) {
	s.write.Lock()
	defer s.write.Unlock()
	s.wrote = wrote
}
