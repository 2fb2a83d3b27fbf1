package rule

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"logscan/internal/rule/match"
	"logscan/internal/where"
)

// condition is one of a rule's conditions on fields.
type condition struct {
	number int32 // in layer.fields
	groups []int // of the rule's pattern that it is about, the later ones first; nil for a field
}

// parseCondition parses a condition within the bounds.
func parseCondition(text string, compiler *Patterns, kept map[string]*pattern) (*where.Condition, error) {
	if len(text) > MaxPattern {
		return nil, fmt.Errorf("is %d bytes long; the most is %d", len(text), MaxPattern)
	}
	return where.Parse(text, func(expr string) (*match.Pattern, error) {
		p := compiler.get(expr, kept)
		return p.Pattern, p.err
	})
}

// groupsOf returns which groups of a pattern, whose names are given, a condition is
// about; nil where it is about a field.
func groupsOf(c *where.Condition, names []string) (groups []int, err error) {
	name := c.Group()
	if name == "" {
		return nil, nil
	}
	if n, err := strconv.Atoi(name); err == nil {
		if n < 1 || n >= len(names) {
			return nil, fmt.Errorf("the pattern has no group %s", c.Field())
		}
		return []int{n}, nil
	}
	for i := len(names) - 1; i > 0; i-- {
		if names[i] == name {
			groups = append(groups, i)
		}
	}
	if groups == nil {
		return nil, fmt.Errorf("the pattern has no group %s: write (?P<%s>…) in it", c.Field(), name)
	}
	return groups, nil
}

// unmetWhere is a condition on a field that a line doesn't fulfil.
type unmetWhere struct {
	rule *compiled
	n    int // of its conditions
}

// submatch is what a pattern's groups match in the line.
type submatch struct {
	layer   int
	pattern uint32
	at      []int
	ok      bool // it didn't take too much work
}

// bareRule is a rule without a pattern. Most lines don't fulfil its first condition, and
// nothing else of it is looked at.
type bareRule struct {
	first int32 // number of that in layer.fields
	*compiled
}

// meetWhere leaves out the rules that were found whose conditions on fields the line
// doesn't fulfil, and adds those of the rules without a pattern that it does.
func (m *Matching) meetWhere(st *State, text []byte, bare []bareRule) {
	for n := range m.layers {
		needs := func(c *compiled) bool { return c.layer() == n && c.hasWhere() }
		if slices.ContainsFunc(m.found, needs) || slices.ContainsFunc(bare, func(b bareRule) bool { return needs(b.compiled) }) {
			m.scanFields(n, text)
		}
	}
	if m.profiled {
		m.profileFirst(st, bare)
	}
	m.found = slices.DeleteFunc(m.found, func(c *compiled) bool { return !m.fulfils(st, c) })
	for i := range bare {
		switch b := &bare[i]; {
		case m.at[b.layer()].fields.Holds(b.first) == where.No:
			m.unmetWhere = append(m.unmetWhere, unmetWhere{b.compiled, 0})
		case m.fulfils(st, b.compiled):
			m.found = append(m.found, b.compiled)
		}
	}
	for n := range m.layers {
		if at := &m.at[n]; at.scanned {
			m.work += at.fields.Work()
		}
	}
}

// scanFields has the fields of a layer be those of the line.
func (m *Matching) scanFields(layer int, text []byte) *where.Scan {
	at := &m.at[layer]
	if at.fields == nil {
		at.fields = at.layer.fields.Acquire()
	}
	if !at.scanned {
		m.text, at.scanned = text, true
		at.fields.Reset(text)
	}
	return at.fields
}

// fulfils reports whether the line fulfils a rule's conditions on fields, as far as that
// is known.
func (m *Matching) fulfils(st *State, c *compiled) bool {
	if m.profiled {
		defer m.spent(st, time.Now(), c)
	}
	fields := m.at[c.layer()].fields
	for n := range c.where {
		w := &c.where[n]
		holds := where.Unknown
		if w.groups == nil {
			holds = fields.Holds(w.number)
		} else if value, took, ok := m.group(c, w); ok {
			holds = fields.HoldsFor(w.number, value, took)
		}
		if holds == where.Yes {
			continue
		}
		if holds == where.Unknown {
			st.count(c.rule.ID, Counts{GivenUp: 1})
		}
		m.unmetWhere = append(m.unmetWhere, unmetWhere{c, n})
		return false
	}
	return true
}

// group returns what a group of a rule's pattern matches, if it takes part; it is not ok
// if that takes too much work.
func (m *Matching) group(c *compiled, w *condition) (value []byte, took, ok bool) {
	s := m.submatch(c, m.text)
	if !s.ok {
		return nil, false, false
	}
	for _, g := range w.groups {
		if s.at != nil && s.at[2*g] >= 0 {
			return m.text[s.at[2*g]:s.at[2*g+1]], true, true
		}
	}
	return nil, false, true
}

// submatch returns what the groups of a part's pattern match in the line, once for all that
// ask.
func (m *Matching) submatch(c *compiled, text []byte) submatch {
	for _, s := range m.submatches {
		if s.layer == c.layer() && s.pattern == c.pattern {
			return s
		}
	}
	at, took, ok := m.set.layerOf(c).matcher.Submatch(c.pattern, text, m.left)
	m.left -= took
	m.submatches = append(m.submatches, submatch{c.layer(), c.pattern, at, ok})
	return m.submatches[len(m.submatches)-1]
}

// unmetIn tells of a condition on a field that the line doesn't fulfil.
func (m *Matching) unmetIn(u unmetWhere) Unmet {
	out := Unmet{Rule: u.rule.rule, Field: "where", Pattern: u.rule.part.Where[u.n]}
	w := &u.rule.where[u.n]
	out.About = m.set.layerOf(u.rule).fields.Condition(w.number).Field()
	if w.groups != nil {
		value, took, _ := m.group(u.rule, w)
		out.Value, out.Missing = Clip(value), !took
		return out
	}
	value, is := m.at[u.rule.layer()].fields.Text(w.number)
	out.Value, out.Missing = Clip([]byte(value)), !is
	return out
}
