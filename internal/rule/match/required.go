package match

import "slices"

// Required is texts of which each match of a pattern has at least one: of all such, those
// that are rarest in common lines.
type Required struct {
	Texts []string // of letters that may be of either case, in lower case
	near  []needle // in any case
}

// Rarest returns what each match of the pattern has; nil where nothing is known of that.
func (p *Pattern) Rarest() *Required {
	best, ok := rarest(p.facts.all())
	if !ok {
		return nil
	}
	r := &Required{}
	for _, l := range best.lits {
		r.Texts = append(r.Texts, l.text)
		r.near = append(r.near, needles(literal{lower(l.text), hasLetter(l.text)}, fixed())...)
	}
	return r
}

// tellingBytes is how long a text is, at least, that says something of a line.
const tellingBytes = 3

// Telling reports whether each of the texts says something of a line that has it.
func (r *Required) Telling() bool {
	return !slices.ContainsFunc(r.Texts, func(text string) bool { return len(text) < tellingBytes })
}

// Near reports whether a text has one of them, in any case: it may be meant by the pattern.
func (r *Required) Near(text []byte) bool {
	looks := 0
	return slices.ContainsFunc(r.near, func(n needle) bool { return n.index(text, &looks) >= 0 })
}
