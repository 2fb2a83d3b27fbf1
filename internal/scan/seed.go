package scan

import (
	"cmp"
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
	// seedTurn is how long kept lines are read at a time for a rule; as long, nothing is
	// done: the lines that come are more urgent.
	seedTurn = 20 * time.Millisecond
	// seedAgain is how long after a failure it is tried again.
	seedAgain = 10 * time.Second
)

// seed is what matched a rule before there was it.
type seed struct {
	rule   *rule.Rule
	before correlate.Before
}

// seed has what is kept from before rules be read, of those to which that matters, once
// for each.
func (s *sums) seed() {
	for _, u := range s.engine.Unseeded() {
		if before, begun := s.seeding[u.Rule.ID]; begun && before == u.Before || s.scanner.stopping.Load() {
			continue
		}
		if s.seeding == nil {
			s.seeding = map[int64]int64{}
		}
		s.seeding[u.Rule.ID] = u.Before
		s.scanner.seeders.Go(func() { s.scanner.seed(u) })
	}
}

// seed reads the kept lines from before a rule, and tells the committer of those that
// match. While some can't be read it tries again: what isn't known isn't new.
func (s *Scanner) seed(u correlate.Unseeded) {
	alone := *u.Rule
	alone.OverridesID = 0
	snapshot, bad := rule.Compile([]rule.Rule{alone})
	if len(bad) > 0 {
		s.log.Error("what was there before a rule can't be found out", "rule", alone.Name, "err", bad[0])
		return
	}
	for said := false; ; said = true {
		before, err := s.before(u, snapshot)
		if err == nil {
			s.commits.seeded(&seed{u.Rule, before})
			return
		}
		if s.stopping.Load() {
			return
		}
		if !said {
			s.log.Error("what was there before a rule can't be read; it waits, and lines are kept in mind", "rule", alone.Name, "err", err)
		}
		for until := time.Now().Add(seedAgain); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
			if s.stopping.Load() {
				return
			}
		}
	}
}

var errStopping = errors.New("scan: stopping")

// before reads what is kept from before a rule, as its kind has it.
func (s *Scanner) before(u correlate.Unseeded, snapshot *rule.Snapshot) (correlate.Before, error) {
	if u.Rule.Kind == rule.KindSpike {
		counted, err := s.countedBefore(u, snapshot)
		return correlate.Before{Counted: counted}, err
	}
	seen, err := s.shapesBefore(u, snapshot)
	return correlate.Before{Seen: seen}, err
}

// shapesBefore returns the shapes of the kept lines that match a rule and were written
// before it was, the latest ones where there are too many.
func (s *Scanner) shapesBefore(u correlate.Unseeded, snapshot *rule.Snapshot) ([]correlate.Seen, error) {
	type key struct{ workload, shape string }
	last := map[key]correlate.Seen{}
	err := s.eachKept(u, snapshot, func(c *correlate.Container) (func(*rule.Match), func(int64)) {
		return func(m *rule.Match) {
			k := key{c.Workload, m.Shape}
			if v, known := last[k]; !known || m.TimeNano > v.TimeNano {
				last[k] = correlate.Seen{Container: c, Shape: m.Shape, TimeNano: m.TimeNano}
			}
		}, func(int64) {}
	})
	seen := slices.SortedFunc(maps.Values(last), func(a, b correlate.Seen) int { return cmp.Compare(a.TimeNano, b.TimeNano) })
	return seen[max(0, len(seen)-correlate.MaxKeys*9/10):], err
}

// countedBefore returns how many of the kept lines match a rule and were written before it
// was, by window, of each container.
func (s *Scanner) countedBefore(u correlate.Unseeded, snapshot *rule.Snapshot) (out []correlate.Counted, err error) {
	// Lines of before the rule may be on their way.
	for until := time.Now().Add(correlate.Slack); time.Now().UnixNano() < u.Before+int64(correlate.Slack) && time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if s.stopping.Load() {
			return nil, errStopping
		}
	}
	window := u.Rule.Window()
	err = s.eachKept(u, snapshot, func(c *correlate.Container) (func(*rule.Match), func(int64)) {
		counts := map[int64]int64{}
		return func(m *rule.Match) { counts[rule.Slot(m.TimeNano, window)]++ }, func(since int64) {
			out = append(out, correlate.Counted{Container: c, Since: since, Windows: counts})
		}
	})
	return out, err
}

// eachKept reads the journals of all containers that a rule is for. For each, begin returns
// what is called for each line that matches and was written before the rule was, and
// behind all with the time from which on it is known what the container wrote.
func (s *Scanner) eachKept(u correlate.Unseeded, snapshot *rule.Snapshot, begin func(*correlate.Container) (match func(*rule.Match), end func(since int64))) error {
	for _, id := range s.cfg.Journals.IDs() {
		j, err := s.cfg.Journals.Acquire(id)
		if errors.Is(err, journal.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		c := j.Container()
		if set := snapshot.ForContainer(scopeOf(&c)); c.Scan && len(set.Rules()) > 0 {
			match, end := begin(&correlate.Container{ID: id, Name: c.Name, Workload: c.Workload, Image: c.Image, Labels: c.Labels})
			var since int64
			if since, err = s.kept(j, set, u.Before, match); err == nil {
				end(since)
			}
		}
		j.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// kept calls f for each line of a journal that matches, of before a time, and returns since
// when what the container wrote is kept.
func (s *Scanner) kept(j *journal.Journal, set *rule.Set, before int64, f func(*rule.Match)) (since int64, err error) {
	since = before
	if state, created := j.State(), j.Container().Created; !created.IsZero() && (state.First <= state.Birth || created.UnixNano() > before) {
		since = created.UnixNano()
	}
	first, end := j.Bounds()
	src := lines.New(j, lines.Position{Next: first}, lines.Config{Max: s.cfg.MaxLine, Gap: s.cfg.FlushAfter})
	defer src.Close()
	m := set.Begin()
	defer m.End()
	var r records
	r.init(func(of rule.Record) {
		var none rule.State
		m.Evaluate(&none, of, nil, nil)
		for _, match := range m.TakeMatches() {
			if match.Role == rule.Main {
				f(&match)
			}
		}
	})
	c := j.Container()
	r.start = startOf(&c)
	r.use(set)
	turn := time.Now()
	for n := 0; src.Offset() < end; n++ {
		l, err := src.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
		if l.TimeNano < before {
			since = min(since, l.TimeNano)
			r.add(src, &l, &m)
		}
		if n%64 == 0 && time.Since(turn) > seedTurn {
			if s.stopping.Load() {
				return 0, errStopping
			}
			time.Sleep(seedTurn)
			turn = time.Now()
		}
	}
	r.end(end)
	return since, nil
}
