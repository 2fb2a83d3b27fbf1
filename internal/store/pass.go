package store

import (
	"context"
	"database/sql"
	"time"
)

// maxPasses bounds how many incidents one transaction of Pass changes.
const maxPasses = 500

// Pass does what is due: by the watermark, up to which everything is evaluated,
// what time alone does to incidents; and now, what triggers have held back. It is
// called by one at a time.
func (s *Store) Pass(ctx context.Context, watermark, now time.Time) error {
	if s.clock.setBack(now) {
		if err := s.setBack(ctx, now); err != nil {
			return err
		}
		s.clock.settled = true
	}
	for more := true; more; {
		err := s.change(ctx, "incidents", func(tx *sql.Tx) (err error) {
			more, err = s.pass(ctx, tx, watermark, now)
			return err
		})
		if err != nil {
			return err
		}
	}
	return s.digests(ctx, now)
}

const dueIncidents = "SELECT " + incidentColumns + " FROM incidents i WHERE due_at > 0 AND due_at <= ? ORDER BY due_at LIMIT ?"

func (s *Store) pass(ctx context.Context, tx *sql.Tx, watermark, now time.Time) (more bool, err error) {
	f := s.newFolding(tx)
	rows, err := tx.QueryContext(ctx, dueIncidents, nanos(watermark), maxPasses)
	due, err := collect(rows, err, scanIncident)
	if err != nil {
		return false, err
	}
	for k := range due {
		i := &due[k]
		f.use(i)
		for at := i.Due(); !at.IsZero() && !at.After(watermark); at = i.Due() {
			if n, ok := i.Pass(watermark); ok {
				if err := f.tell(ctx, n, i); err != nil {
					return false, err
				}
			}
		}
	}
	if err := f.flush(ctx); err != nil {
		return false, err
	}
	more, err = s.release(ctx, tx, now)
	return more || len(due) == maxPasses, err
}

// settleAfter is how long a clock has to go on before what is kept is held against
// it: at the start of a machine it may be far behind, until the network is there.
const settleAfter = 10 * time.Minute

// clock notices that the clock was set back, as it may have been before the start
// too. It belongs to Pass.
type clock struct {
	last    time.Time // it was looked at
	since   time.Time // it goes on
	settled bool      // what is kept isn't later than it
}

// setBack reports whether what is kept may be later than now.
func (c *clock) setBack(now time.Time) bool {
	if c.last.IsZero() || now.Before(c.last) {
		c.since, c.settled = now, false
	}
	c.last = now
	return !c.settled && now.Sub(c.since) >= settleAfter
}

// longestSet is how far ahead something is due at the most that isn't looked at by
// setBack: what is due later may wait for a time that a wrong clock showed.
const longestSet = 25 * time.Hour

// setBack has nothing wait for a time that the clock showed before it was set back.
func (s *Store) setBack(ctx context.Context, now time.Time) error {
	err := s.change(ctx, "set back", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE held SET due_at = ?1 WHERE created_at > ?1", nanos(now))
		if err == nil {
			_, err = tx.ExecContext(ctx, "UPDATE groups SET told_at = ?1 WHERE told_at > ?1", nanos(now))
		}
		return err
	})
	for last := int64(0); err == nil; {
		n := 0
		err = s.change(ctx, "set back", func(tx *sql.Tx) error {
			rows, err := tx.QueryContext(ctx, "SELECT "+incidentColumns+` FROM incidents i
				WHERE state <> 'resolved' AND (last_at > ?1 OR due_at > ?2) AND id > ?3 ORDER BY id LIMIT ?4`, nanos(now), nanos(now.Add(longestSet)), last, maxPasses)
			ahead, err := collect(rows, err, scanIncident)
			if n = len(ahead); err != nil {
				return err
			}
			f := s.newFolding(tx)
			for k := range ahead {
				last = ahead[k].ID
				if ahead[k].SetBack(now) {
					f.use(&ahead[k])
				}
			}
			return f.flush(ctx)
		})
		if n < maxPasses {
			break
		}
	}
	return err
}
