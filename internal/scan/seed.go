package scan

import (
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"logscan/internal/correlate"
	"logscan/internal/journal"
	"logscan/internal/lines"
	"logscan/internal/rule"
)

const (
	// seedTurn is how long kept lines are read at a time for a rule of kind new; as
	// long, nothing is done: the lines that come are more urgent.
	seedTurn = 20 * time.Millisecond
	// seedAgain is how long after a failure it is tried again.
	seedAgain = 10 * time.Second
)

// seed is what there was before a rule of kind new.
type seed struct {
	rule *rule.Rule
	seen []correlate.Seen
}

// seed has what is kept from before rules of kind new be read, once for each.
func (s *sums) seed() {
	for _, r := range s.engine.Unseeded() {
		if s.seeding[r.ID] != r.UpdatedAt && !s.scanner.stopping.Load() {
			if s.seeding == nil {
				s.seeding = map[int64]time.Time{}
			}
			s.seeding[r.ID] = r.UpdatedAt
			s.scanner.seeders.Go(func() { s.scanner.seed(r) })
		}
	}
}

// seed reads the kept lines from before a rule, and tells the committer of their shapes.
// While some can't be read it tries again: what isn't known isn't new.
func (s *Scanner) seed(r *rule.Rule) {
	alone := *r
	alone.OverridesID = 0
	snapshot, bad := rule.Compile([]rule.Rule{alone})
	if len(bad) > 0 {
		s.log.Error("what was there before a rule can't be found out", "rule", r.Name, "err", bad[0])
		return
	}
	for said := false; ; said = true {
		seen, err := s.shapesBefore(r, snapshot)
		if err == nil {
			s.commits.seeded(&seed{r, seen})
			return
		}
		if s.stopping.Load() {
			return
		}
		if !said {
			s.log.Error("what was there before a rule can't be read; it waits, and lines are kept in mind", "rule", r.Name, "err", err)
		}
		for until := time.Now().Add(seedAgain); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
			if s.stopping.Load() {
				return
			}
		}
	}
}

var errStopping = errors.New("scan: stopping")

// shapesBefore returns the shapes of the kept lines that match a rule and were written
// before it was, the latest ones where there are too many.
func (s *Scanner) shapesBefore(r *rule.Rule, snapshot *rule.Snapshot) ([]correlate.Seen, error) {
	type key struct{ workload, shape string }
	last := map[key]correlate.Seen{}
	for _, id := range s.cfg.Journals.IDs() {
		j, err := s.cfg.Journals.Acquire(id)
		if errors.Is(err, journal.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		c := j.Container()
		err = s.shapesOf(j, snapshot.ForContainer(scopeOf(&c)), r.UpdatedAt.UnixNano(), func(m *rule.Match) {
			k := key{c.Workload, m.Shape}
			if v, known := last[k]; !known || m.TimeNano > v.TimeNano {
				last[k] = correlate.Seen{Container: &correlate.Container{ID: id, Name: c.Name, Workload: c.Workload, Image: c.Image, Labels: c.Labels}, Shape: m.Shape, TimeNano: m.TimeNano}
			}
		})
		j.Release()
		if err != nil {
			return nil, err
		}
	}
	seen := slices.SortedFunc(maps.Values(last), func(a, b correlate.Seen) int { return int(min(1, max(-1, a.TimeNano-b.TimeNano))) })
	return seen[max(0, len(seen)-correlate.MaxKeys*9/10):], nil
}

// shapesOf calls f for each line of a journal that matches, of before a time.
func (s *Scanner) shapesOf(j *journal.Journal, set *rule.Set, before int64, f func(*rule.Match)) error {
	if !j.Container().Scan || len(set.Rules()) == 0 {
		return nil
	}
	first, end := j.Bounds()
	src := lines.New(j, lines.Position{Next: first}, lines.Config{Max: s.cfg.MaxLine, Gap: s.cfg.FlushAfter})
	defer src.Close()
	m := set.Begin()
	defer m.End()
	turn := time.Now()
	for n := 0; src.Offset() < end; n++ {
		l, err := src.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if l.TimeNano >= before {
			continue
		}
		var none rule.State
		line := rule.Line{Stream: l.Stream, TimeNano: l.TimeNano, Text: l.Text}
		if m.Match(&none, line) {
			m.Admit(&none, line, nil)
			for _, match := range m.TakeMatches() {
				f(&match)
			}
		}
		if n%64 == 0 && time.Since(turn) > seedTurn {
			if s.stopping.Load() {
				return errStopping
			}
			time.Sleep(seedTurn)
			turn = time.Now()
		}
	}
	return nil
}
