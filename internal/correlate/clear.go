package correlate

import (
	"slices"

	"logscan/internal/rule"
)

// clear ends what is open of the keys that a line is about, unless a match was behind
// the line.
func (e *Engine) clear(rs *ruleState, c *Container, m *rule.Match) {
	why := "a line says so: " + m.Text
	if k := rs.rule.Kind; k == rule.KindLine || k == rule.KindNew || k == rule.KindChange || k == rule.KindSequence {
		// What is open isn't known here, or not all of it: it is each incident of the rule, but
		// for what is known to be open in other containers.
		defer e.clearAll(rs, c, m, why)
		if k != rule.KindSequence {
			return
		}
	}
	scope := scopeOf(rs.rule, c)
	var states []*state
	if m.All {
		states = rs.in(scope)
	} else if s := rs.keys[rs.keyOf(scope, m)]; s != nil {
		states = append(states, s)
	}
	kind := kindOf(rs.rule)
	for _, s := range states {
		if !s.open && (s.idle() && s.cleared != 0 || rs.rule.Kind == rule.KindAbsent && !s.armed && s.from == 0) {
			continue // there is nothing to end
		}
		kind.pass(e, rs, s, m.TimeNano-slack)
		if rs.rule.Kind != rule.KindSequence && m.TimeNano < s.matched() || m.TimeNano <= s.cleared {
			continue
		}
		if rs.rule.Kind == rule.KindSequence {
			e.stepsUpTo(rs, s, m.TimeNano) // those before it count
		}
		if s.open {
			e.end(rs, s, m.TimeNano, why)
		}
		s.cleared = m.TimeNano
		kind.begin(e, rs, s)
		e.plan(rs, s)
		e.dirty[s.key] = true
	}
}

// clearAll ends each incident of the rule that a line is about.
func (e *Engine) clearAll(rs *ruleState, c *Container, m *rule.Match, why string) {
	end := func(by string) {
		if !e.openElsewhere(rs, Key{rs.rule.ID, scopeOf(rs.rule, c), by}, c.Workload) {
			e.out = append(e.out, Outcome{Rule: rs.rule, Container: c, By: by, Shapes: true, End: &End{m.TimeNano, why}})
		}
	}
	switch {
	case m.All:
		e.out = append(e.out, Outcome{Rule: rs.rule, Container: c, Shapes: true, Keys: true, Except: e.valuesElsewhere(rs, c), End: &End{m.TimeNano, why}})
	case m.Short != "" && m.Short != m.By:
		end(m.By)
		end(m.Short)
	default:
		end(m.By)
	}
}

// valuesElsewhere are the values that are open in other containers of a container's
// workload, in order.
func (e *Engine) valuesElsewhere(rs *ruleState, c *Container) (out []string) {
	scope := scopeOf(rs.rule, c)
	if rs.rule.Kind != rule.KindSequence || scope != containerScope+c.ID {
		return nil
	}
	for k, s := range rs.keys {
		if s.open && k.Scope != scope && e.container(s).Workload == c.Workload {
			out = append(out, k.By)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// matched is when the latest match was.
func (s *state) matched() int64 {
	if s.ratio != nil {
		return s.ratio.Match // seen is of other lines too
	}
	return s.seen
}
