package correlate

import (
	"logscan/internal/rule"
)

// clear ends what is open of the keys that a line is about, unless a match was behind
// the line.
func (e *Engine) clear(rs *ruleState, c *Container, m *rule.Match) {
	why := "a line says so: " + m.Text
	if rs.rule.Kind == rule.KindLine || rs.rule.Kind == rule.KindNew {
		// Nothing is known here of what is open: it is each incident of the rule.
		o := Outcome{Rule: rs.rule, Container: c, By: m.By, Shapes: true, Keys: m.All, End: &End{m.TimeNano, why}}
		e.out = append(e.out, o)
		if o.By = m.Short; m.Short != "" && m.Short != m.By {
			e.out = append(e.out, o)
		}
		return
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
		kind.pass(e, rs, s, m.TimeNano-slack)
		if m.TimeNano < s.matched() || m.TimeNano <= s.cleared {
			continue
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

// matched is when the latest match was.
func (s *state) matched() int64 {
	if s.ratio != nil {
		return s.ratio.Match // seen is of other lines too
	}
	return s.seen
}
