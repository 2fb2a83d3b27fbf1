package rule

import (
	"errors"
	"fmt"
	"maps"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"logscan/internal/fields"
	"logscan/internal/rule/match"
	"logscan/internal/where"
)

// Role is what a line is to a rule that fulfils some conditions of it.
type Role string

// The roles.
const (
	Main    Role = ""         // a match, by the rule's own conditions
	Step    Role = "step"     // of a rule of kind sequence
	Until   Role = "until"    // from which on no step is waited for
	Must    Role = "must"     // what some line of a run has to be
	MustNot Role = "must_not" // what none of them may be
	Of      Role = "of"       // one of the lines of which matches are a share
	Clear   Role = "clear"    // the end of what is open
)

// Part is conditions that belong together: a line that fulfils all of them has the role.
type Part struct {
	Role Role
	N    int // place among those of that role
	Conditions

	// Short is Pattern where quoted groups match as little as they can, not as much; ""
	// where it quotes none.
	Short string
}

// String says of a line what it is, such as "clear 1" or "of"; "" for a match.
func (p Part) String() string {
	if p.Role == Main || p.Role == Of { // there is one
		return string(p.Role)
	}
	return fmt.Sprintf("%s %d", p.Role, p.N+1)
}

// Conditions are what a line has to fulfil.
type Conditions struct {
	Pattern string       // RE2; "" = none
	All     fields.Texts // RE2, each of which it matches too
	Ignore  fields.Texts // RE2, none of which it matches
	Where   fields.Texts // conditions of package where, all of which it fulfils
}

func (c *Conditions) empty() bool { return c.Pattern == "" && len(c.All)+len(c.Where) == 0 }

// own are the rule's own conditions.
func (r *Rule) own() Conditions {
	return Conditions{Pattern: r.Pattern, All: r.All, Ignore: r.Ignore, Where: r.Conditions()}
}

// list is a field of a rule each text of which is conditions.
type list struct {
	field string // its name in JSON
	role  Role
	texts fields.Texts
}

func (r *Rule) lists() []list {
	lists := []list{{"steps", Step, r.Steps}, {"until", Until, r.Until}, {"must", Must, r.Must}, {"must_not", MustNot, r.MustNot}, {"clear", Clear, r.Clear}}
	if r.Of != "" {
		lists = append(lists, list{"of", Of, fields.Texts{r.Of}})
	}
	return lists
}

// Parts are all conditions of the rule, its own first. What is quoted of others is in
// them as patterns.
func (r *Rule) Parts() ([]Part, error) {
	var out []Part
	if own := r.own(); !own.empty() {
		out = append(out, Part{Conditions: own})
	}
	var groups map[string]string
	lists := slices.DeleteFunc(r.lists(), func(l list) bool { return len(l.texts) == 0 })
	if len(lists) > 0 {
		var err error
		if groups, err = r.quotable(); err != nil {
			return nil, err
		}
	}
	for _, l := range lists {
		for n, text := range l.texts {
			c, err := parseConditions(text)
			short := ""
			if err == nil && (l.role != Step || n > 0) {
				own := c.Pattern
				if c.Pattern, err = quoteGroups(own, groups); c.Pattern != own {
					short, _ = quoteGroups(own, shortened(groups))
				}
			}
			if err != nil {
				if l.role != Of {
					err = fmt.Errorf("%d %w", n+1, err)
				}
				return nil, &fields.Error{Field: l.field, Reason: err.Error()}
			}
			out = append(out, Part{l.role, n, c, short})
		}
	}
	return out, nil
}

// parseConditions reads conditions of one text: the first line is a pattern, and so are
// others behind a word, or conditions on fields:
//
//	PATTERN
//	all PATTERN
//	ignore PATTERN
//	where CONDITION
//
// Any of them may be there alone, but ignore.
func parseConditions(text string) (c Conditions, err error) {
	for n, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		switch {
		case word == "all" && rest != "":
			c.All = append(c.All, rest)
		case word == "ignore" && rest != "":
			c.Ignore = append(c.Ignore, rest)
		case word == "where" && rest != "":
			c.Where = append(c.Where, rest)
		case n == 0 && line != "":
			c.Pattern = line
		default:
			return c, fmt.Errorf("has %.64q in line %d: a line behind the pattern begins with all, ignore or where", line, n+1)
		}
	}
	if c.empty() {
		return c, errors.New("has no pattern, all or where")
	}
	return c, nil
}

// checkParts says why the texts of a list can't be used.
func checkParts(r Rule, field string) error {
	lists := r.lists()
	at := slices.IndexFunc(lists, func(l list) bool { return l.field == field })
	if at < 0 {
		return nil
	}
	l := lists[at]
	if len(l.texts) > MaxConditions {
		return fmt.Errorf("has %d; the most is %d: join some by |", len(l.texts), MaxConditions)
	}
	parts, err := r.Parts()
	if err != nil {
		return err
	}
	for _, p := range parts {
		if p.Role != l.role {
			continue
		}
		if err := r.checkPart(&p, parts); err != nil && p.Role == Of {
			return err
		} else if err != nil {
			return fmt.Errorf("%d: %w", p.N+1, err)
		}
	}
	return nil
}

// checkPart says why a part can't be used.
func (r *Rule) checkPart(p *Part, all []Part) error {
	c := compiled{rule: r, part: *p, keys: r.Key(all)}
	t := newTables(&Patterns{})
	return c.compile(&t)
}

// quotable are the groups that others than the first conditions of the rule may quote,
// as $name, with what they match: those that the rule's By names, or, of a sequence
// without it, all of the first step.
func (r *Rule) quotable() (map[string]string, error) {
	pattern, field, what := r.Pattern, "pattern", ""
	if r.Kind == KindSequence && len(r.Steps) > 0 {
		first, err := parseConditions(r.Steps[0])
		if err != nil {
			return nil, &fields.Error{Field: "steps", Reason: "1 " + err.Error()}
		}
		pattern, field, what = first.Pattern, "steps", "1: pattern "
	}
	if pattern == "" {
		return nil, nil
	}
	tree, err := parsePattern(pattern)
	if err != nil {
		return nil, &fields.Error{Field: field, Reason: what + err.Error()}
	}
	groups := map[string]string{}
	groupsIn(tree, groups)
	if r.Kind != KindSequence || len(r.By) > 0 {
		maps.DeleteFunc(groups, func(name, _ string) bool { return !slices.Contains(r.By, "$"+name) })
	}
	return groups, nil
}

// Key names the values by which the rule keeps matches apart: its By, or, of a sequence
// without it, the groups that the later of its parts quote.
func (r *Rule) Key(parts []Part) (names []string) {
	if r.Kind != KindSequence || len(r.By) > 0 {
		return r.By
	}
	groups, err := r.quotable()
	if err != nil {
		return nil
	}
	for _, p := range parts {
		if p.Role == Step && p.N == 0 {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(groups)) {
			if strings.Contains(p.Pattern, "(?P<"+name+">") && !slices.Contains(names, "$"+name) {
				names = append(names, "$"+name)
			}
		}
	}
	return names
}

// groupsIn adds the named groups of a pattern, and what is in them.
func groupsIn(re *syntax.Regexp, out map[string]string) {
	if re.Op == syntax.OpCapture && re.Name != "" {
		if _, twice := out[re.Name]; !twice {
			out[re.Name] = re.Sub[0].String()
		}
	}
	for _, sub := range re.Sub {
		groupsIn(sub, out)
	}
}

// shortened are groups that match as little as they can.
func shortened(groups map[string]string) map[string]string {
	out := map[string]string{}
	for name, expr := range groups {
		tree, err := syntax.Parse(expr, syntax.Perl)
		if err != nil { // it was parsed before
			out[name] = expr
			continue
		}
		shorten(tree)
		out[name] = tree.String()
	}
	return out
}

func shorten(re *syntax.Regexp) {
	re.Flags |= syntax.NonGreedy
	for _, sub := range re.Sub {
		shorten(sub)
	}
}

// quoteGroups puts groups of the same name, which match the same, in the places where a
// pattern quotes some: $name or ${name}. Such a text matches nothing else: $ is the end.
func quoteGroups(expr string, groups map[string]string) (string, error) {
	var b strings.Builder
	quoted := map[string]bool{}
	class := -1 // where a class began that goes on; -1 for none
	for at := 0; at < len(expr); {
		rest := expr[at:]
		name, n := quotedName(rest)
		switch {
		case strings.HasPrefix(rest, `\Q`):
			end := strings.Index(rest, `\E`)
			if end < 0 {
				end = len(rest)
			}
			b.WriteString(rest[:end])
			at += end
		case rest[0] == '\\' && len(rest) > 1:
			_, size := utf8.DecodeRuneInString(rest[1:])
			b.WriteString(rest[:1+size])
			at += 1 + size
		case class >= 0 && strings.HasPrefix(rest, "[:") && strings.Contains(rest, ":]"):
			end := strings.Index(rest, ":]") + len(":]")
			b.WriteString(rest[:end])
			at += end
		case class >= 0 || rest[0] == '[':
			first := at == class+1 || at == class+2 && expr[class+1] == '^'
			if class < 0 {
				class = at
			} else if rest[0] == ']' && !first {
				class = -1
			}
			b.WriteByte(rest[0])
			at++
		case name == "" && len(rest) > 1 && rest[0] == '$' && rest[1] >= '1' && rest[1] <= '9':
			return "", fmt.Errorf("quotes $%c: only groups with names, (?P<name>…), can be quoted", rest[1])
		case name == "":
			b.WriteByte(rest[0])
			at++
		case groups[name] == "":
			return "", fmt.Errorf("quotes $%.64s, which has to be a group of the pattern, (?P<%s>…), and in by", name, name)
		case quoted[name]:
			return "", fmt.Errorf("quotes $%.64s twice: once is enough", name)
		default:
			quoted[name] = true
			fmt.Fprintf(&b, "(?P<%s>%s)", name, groups[name])
			at += n
		}
	}
	return b.String(), nil
}

// quotedName is the name that a text quotes at its beginning, and how long that is; ""
// for none.
func quotedName(s string) (name string, n int) {
	if !strings.HasPrefix(s, "$") {
		return "", 0
	}
	braced := strings.HasPrefix(s, "${")
	from := 1
	if braced {
		from = 2
	}
	end := from
	for end < len(s) && (s[end] == '_' || s[end] < utf8.RuneSelf && unicode.IsLetter(rune(s[end])) || end > from && s[end] >= '0' && s[end] <= '9') {
		end++
	}
	switch {
	case end == from, braced && (end == len(s) || s[end] != '}'):
		return "", 0
	case braced:
		return s[from:end], end + 1
	}
	return s[from:end], end
}

// source is where a value of a key comes from.
type source struct {
	group int   // of the part's pattern; 0 where it is a field
	field int32 // a condition in layer.fields that is about it
}

// sourceOf finds a value, $name or a field's path; a part that doesn't have it is false.
func (c *compiled) sourceOf(name string, t *tables) (source, bool, error) {
	if strings.HasPrefix(name, "$") {
		n := captureIndex(c.names, name)
		return source{group: n}, n > 0, nil
	}
	on, err := where.Parse(name+" exists", func(string) (*match.Pattern, error) { return nil, errors.New("has no pattern") })
	if err != nil {
		return source{}, false, fmt.Errorf("%.64q is neither a group of the pattern, $name, nor a field", name)
	}
	return source{field: t.fields.Add(on)}, true, nil
}
