package match

import (
	"regexp"
	"slices"
	"strings"
)

// Required is texts of which each match of a pattern has at least one: of all such, those
// that are rarest in common lines.
type Required struct {
	Texts []string // of letters that may be of either case, in lower case
	re    *regexp.Regexp
}

// Rarest returns what each match of the pattern has; nil where nothing is known of that.
func (p *Pattern) Rarest() *Required {
	best, ok := rarest(p.facts.all())
	if !ok {
		return nil
	}
	r := &Required{}
	var either []string
	for _, l := range best.lits {
		text := regexp.QuoteMeta(l.text)
		if l.fold {
			text = "(?i:" + text + ")"
		}
		r.Texts, either = append(r.Texts, l.text), append(either, text)
	}
	r.re = regexp.MustCompile(strings.Join(either, "|"))
	return r
}

// tellingBytes is how long a text is, at least, that says something of a line.
const tellingBytes = 3

// Telling reports whether each of the texts says something of a line that has it.
func (r *Required) Telling() bool {
	return !slices.ContainsFunc(r.Texts, func(text string) bool { return len(text) < tellingBytes })
}

// In reports whether a text has one of them.
func (r *Required) In(text []byte) bool { return r.re.Match(text) }
