package correlate

import (
	"logscan/internal/rule"
)

// clear ends what is open of the keys that a line is about, unless a match was behind
// the line.
func (e *Engine) clear(rs *ruleState, c *Container, m *rule.Match) {
	why := "a line says so: " + m.Text
	if k := rs.rule.Kind; k == rule.KindLine || k == rule.KindNew || k == rule.KindChange || k == rule.KindSequence {
		// What is open isn't known here, or not all of it: it is each incident of the rule.
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
		if !s.open && (s.idle() && s.cleared != 0 || rs.rule.Kind == rule.KindAbsent && !s.armed) {
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
	o := Outcome{Rule: rs.rule, Container: c, By: m.By, Shapes: true, Keys: m.All, End: &End{m.TimeNano, why}}
	e.out = append(e.out, o)
	if o.By = m.Short; m.Short != "" && m.Short != m.By {
		e.out = append(e.out, o)
	}
}

// matched is when the latest match was.
func (s *state) matched() int64 {
	if s.ratio != nil {
		return s.ratio.Match // seen is of other lines too
	}
	return s.seen
}
