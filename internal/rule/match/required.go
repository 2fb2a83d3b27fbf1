package match

import (
	"regexp"
	"regexp/syntax"
	"strings"
)

// Required is texts of which each match of a pattern has at least one: of all such, those
// that are rarest in common lines.
type Required struct {
	Texts []string // of letters that may be of either case, in lower case
	re    *regexp.Regexp
}

// tellingBytes is how long a text is, at least, that says something of a line.
const tellingBytes = 3

// RequiredBy returns what each match of a pattern has; nil where that is nothing of
// tellingBytes, or the pattern can't be used.
func RequiredBy(pattern string) *Required {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil
	}
	best, ok := rarest(analyze(tree.Simplify()).all())
	if !ok || shortest(best.lits) < tellingBytes {
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

// In reports whether a text has one of them.
func (r *Required) In(text []byte) bool { return r.re.Match(text) }
