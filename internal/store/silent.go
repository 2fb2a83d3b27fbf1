package store

import (
	"context"
	"time"
)

// SilentRules returns the ids of rules that were made before a time and of which neither
// an event nor an incident is kept that is later, by id.
func (s *Store) SilentRules(ctx context.Context, since time.Time) ([]int64, error) {
	rows, err := s.r.QueryContext(ctx, `SELECT id FROM rules r WHERE definition ->> '$.state' = 'on' AND created_at < ?1
		AND NOT EXISTS (SELECT 1 FROM event_log e WHERE e.rule_id = r.id AND e.created_at >= ?1)
		AND NOT EXISTS (SELECT 1 FROM incidents i WHERE i.rule_id = r.id AND (i.state <> 'resolved' OR i.ended_at >= ?1)) ORDER BY id`, nanos(since))
	ids, err := collect(rows, err, func(r row) (id int64, err error) { return id, r.Scan(&id) })
	return ids, wrap("read which rules made no hit", err)
}
