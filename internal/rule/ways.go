package rule

import (
	"slices"

	"logscan/internal/rule/match"
)

// way is one in which records are made of lines, with the rules that go by it.
type way struct {
	text  string    // the pattern; "" for none
	layer int       // of the set, that has the pattern
	start int       // its number in layer.starts
	lines selection // rules about lines
	whole selection // rules about records as a whole
	both  selection
}

// selection is some rules of a set.
type selection struct {
	in   [maxLayers][len(streams)]match.Mask // patterns that count, by layer and stream
	bare [len(streams)][]bareRule            // rules without a pattern, by stream and id
	any  bool                                // there are any
}

// part is the rules of a way that a text is for.
type part struct {
	way          *way
	lines, whole bool
}

func (p part) means(c *compiled) bool {
	return c.rule.RecordStart == p.way.text && (c.rule.Record && p.whole || !c.rule.Record && p.lines)
}

func (p part) rules() *selection {
	switch {
	case !p.whole:
		return &p.way.lines
	case !p.lines:
		return &p.way.whole
	}
	return &p.way.both
}

// waysOf finds in which ways records are made for rules.
func (s *Set) waysOf(rules []*compiled) []way {
	ways := []way{{}}
	for _, c := range rules {
		if slices.ContainsFunc(ways, func(w way) bool { return w.text == c.rule.RecordStart }) {
			continue
		}
		w := way{text: c.rule.RecordStart, layer: c.layer()}
		w.start = int(s.layerOf(c).begins[w.text])
		ways = append(ways, w)
	}
	for n := range ways {
		w := &ways[n]
		choose := func(lines, whole bool) selection { return s.choose(rules, part{w, lines, whole}) }
		w.both, w.whole = choose(true, true), choose(false, true)
		if w.lines = w.both; w.whole.any {
			w.lines = choose(true, false)
		}
	}
	return ways
}

// choose selects rules.
func (s *Set) choose(rules []*compiled, of part) (out selection) {
	for i, stream := range streams {
		for n, l := range s.layers() {
			out.in[n][i] = match.NewMask(l.matcher.Len())
		}
		for _, c := range rules {
			switch {
			case c.none, !c.in(stream), !of.means(c):
				continue
			case c.bare:
				out.bare[i] = append(out.bare[i], bareRule{c.where[0].number, c})
			default:
				out.in[c.layer()][i].Add(int(c.pattern))
			}
			out.any = true
		}
	}
	return out
}

// add adds rules of the second layer to those of the first.
func (s *selection) add(apart selection) {
	for i := range streams {
		if s.in[0][i] == nil { // there are none: no mask would mean all
			s.in[0][i] = apart.in[0][i]
		}
		s.in[1][i] = apart.in[1][i]
		s.bare[i] = slices.Concat(s.bare[i], apart.bare[i])
	}
	s.any = s.any || apart.any
}

// Ways returns in which ways records are made of lines for the rules of the set: the first
// is by their form, which is "", each other one is by a pattern that first lines match.
// That is what Record.Way counts.
func (s *Set) Ways() []string {
	out := make([]string, len(s.ways))
	for n := range s.ways {
		out[n] = s.ways[n].text
	}
	return out
}
