package scan

import (
	"maps"
	"slices"

	"logscan/internal/rule"
	"logscan/internal/store"
)

// Await has it be noted, of rules of the next snapshots that others had not, from where on
// they are evaluated. Those that are not among them any more are forgotten.
func (s *Scanner) Await(rules []int64) {
	all := slices.Clone(rules)
	s.awaited.Store(&all)
}

// Begins returns behind which offset the lines of each container are evaluated by a rule
// that is awaited. It is false until that is known of all, and a restart would begin there
// or behind: what ends before it is never evaluated by the rule.
func (s *Scanner) Begins(rule int64) (offsets map[string]int64, known bool) {
	snapshot := s.snapshot.Load()
	if !s.listed.Load() || snapshot == nil || !snapshot.Known(rule) {
		return nil, false
	}
	offsets, known = map[string]int64{}, true
	s.followers.Range(func(_, v any) bool {
		f := v.(*follower)
		if f.off.Load() || f.state.Load() == dead {
			return true
		}
		var at int64
		if begins := f.begins.Load(); begins == nil {
			known = false
		} else if at, known = (*begins)[rule]; known {
			known = f.hold.Load() >= at
		}
		offsets[f.id] = at
		return known
	})
	return offsets, known
}

// noteBegins notes from where on a snapshot's rules are evaluated that are awaited, where
// that isn't known: it is stored with the first cursor behind, so that it stays whatever a
// restart reads again. The snapshot before is nil where there was none since f began to
// read.
func (f *follower) noteBegins(before, snapshot *rule.Snapshot) {
	awaited := f.scanner.awaited.Load()
	if awaited == nil {
		return
	}
	var was map[int64]int64
	if begins := f.begins.Load(); begins != nil {
		was = *begins
	}
	now := maps.Clone(was)
	if now == nil {
		now = map[int64]int64{}
	}
	maps.DeleteFunc(now, func(id int64, _ int64) bool { return !slices.Contains(*awaited, id) })
	for _, id := range *awaited {
		if _, noted := now[id]; noted || !snapshot.Known(id) {
			continue
		}
		at := f.src.Taken()
		if before == nil {
			at = f.from(at) // what is kept of records is evaluated by it too
		}
		now[id], f.owed = at, true
		f.noted = append(f.noted, store.Begin{RuleID: id, ContainerID: f.id, Offset: at})
	}
	f.begins.Store(&now)
}
