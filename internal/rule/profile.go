package rule

import "time"

// profile adds to st what it took to match the latest text, if that was measured, and has
// what follows be measured where it was for the first layer. of are the rules of which the
// text may be.
func (m *Matching) profile(st *State, layer int, stream string, of part) {
	total, spent, ok := m.at[layer].scratch.Profile()
	if layer == 0 {
		m.profiled = ok
	}
	if !ok {
		return
	}
	st.count(0, Counts{Nanos: total})
	for _, s := range spent {
		rules := m.set.with(layer, s.Pattern, stream, of, nil)
		for _, c := range rules {
			st.count(c.rule.ID, Counts{Nanos: s.Nanos / int64(len(rules))})
		}
	}
}

// spent adds to st what it took since then to look at conditions of rules.
func (m *Matching) spent(st *State, then time.Time, rules ...*compiled) {
	if len(rules) == 0 {
		return
	}
	nanos := time.Since(then).Nanoseconds()
	st.count(0, Counts{Nanos: nanos})
	for _, c := range rules {
		st.count(c.rule.ID, Counts{Nanos: nanos / int64(len(rules))})
	}
}

// profileFirst measures the first conditions of rules without a pattern.
func (m *Matching) profileFirst(st *State, bare []bareRule) {
	then := time.Now()
	for n := range m.layers {
		if at := &m.at[n]; at.scanned {
			at.fields.Read()
		}
	}
	st.count(0, Counts{Nanos: time.Since(then).Nanoseconds()})
	for i := range bare {
		then = time.Now()
		m.at[bare[i].layer()].fields.Holds(bare[i].first)
		m.spent(st, then, bare[i].compiled)
	}
}
