package query

import (
	"cmp"
	"slices"

	"logscan/internal/echo"
	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/rule"
)

// Mark is a rule that a line matches by itself.
type Mark struct {
	RuleID   int64
	Rule     string
	Severity event.Severity
	Shadow   bool // nobody is told of its hits
}

// LiveRules are those that lines are checked with now.
type LiveRules struct {
	Snapshot *rule.Snapshot // nil while there are none
	// Echo returns the rules from which a line is hidden because it repeats what logscan
	// has sent about them; nil: none.
	Echo func(text []byte, nano int64) echo.Rules
}

// marker finds the marks of lines.
type marker struct {
	rules    func() LiveRules // nil: there are none
	live     LiveRules        // as of the latest line
	sets     map[string]*rule.Set
	set      *rule.Set // that matching is of; nil for none
	ways     int       // in which its rules have records made
	matching rule.Matching
}

// of returns the marks of a container's line, by rule id.
func (m *marker) of(c *journal.Container, l rule.Line) (out []Mark) {
	if m.rules == nil {
		return nil
	}
	if live := m.rules(); live.Snapshot != m.live.Snapshot {
		m.end()
		m.live, m.sets = live, map[string]*rule.Set{}
	}
	if m.live.Snapshot == nil || !c.Scan {
		return nil
	}
	set := m.sets[c.ID]
	if set == nil {
		set = m.live.Snapshot.ForContainer(rule.Container{Workload: c.Workload, Name: c.Name, Image: c.Image, Labels: c.Labels})
		m.sets[c.ID] = set
	}
	if set != m.set {
		m.end()
		m.set, m.ways, m.matching = set, len(set.Ways()), set.Begin()
	}
	var none rule.State
	for way := range m.ways {
		m.matching.Evaluate(&none, rule.Record{Way: way, Lines: []rule.Line{l}}, nil, func(l rule.Line, _ int) {
			out = m.add(out, l)
			m.matching.Except(func(int64) bool { return true }) // nothing comes of it
		})
	}
	slices.SortFunc(out, func(a, b Mark) int { return cmp.Compare(a.RuleID, b.RuleID) })
	return out
}

// add appends the rules that the latest line matches.
func (m *marker) add(out []Mark, l rule.Line) []Mark {
	telling := m.matching.Telling()
	if len(telling) == 0 {
		return out
	}
	var hides echo.Rules
	if m.live.Echo != nil {
		hides = m.live.Echo(l.Text, l.TimeNano)
	}
	for _, r := range telling {
		if !hides.Has(r.ID) && !slices.ContainsFunc(out, func(m Mark) bool { return m.RuleID == r.ID }) {
			out = append(out, Mark{r.ID, r.Name, r.Severity, r.State == rule.Shadow})
		}
	}
	return out
}

// end gives up the set of the latest line.
func (m *marker) end() {
	if m.set != nil {
		m.matching.End()
		m.set = nil
	}
}
