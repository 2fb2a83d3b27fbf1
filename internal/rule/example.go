package rule

import (
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"logscan/internal/where"
)

// Example returns a line that a pattern matches, a short one; false where it finds none,
// or where there is none that a program could be told to write: valid UTF-8 without
// control characters but tabs.
func Example(pattern string) (string, bool) { return exampleWith(pattern, nil) }

// exampleWith is Example with texts for some of the pattern's groups, by name or number.
func exampleWith(pattern string, groups map[string]string) (string, bool) {
	tree, err := parsePattern(pattern)
	if err != nil {
		return "", false
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return "", false
	}
	// What a pattern says of places, such as \b, depends on what is beside them: some
	// ways to fill what may be anything are tried.
	for _, times := range []int{0, 1} {
		for _, anything := range "x -1" {
			var b strings.Builder
			if (exampler{&b, anything, times, groups}).write(tree) && writable(b.String()) && re.MatchString(b.String()) {
				return b.String(), true
			}
		}
	}
	return "", false
}

// ExampleOf returns a line that a rule matches whatever its streams and scope are, and
// that says something besides where that can be; false where it finds none. The line of a
// rule with conditions on fields has a JSON object with them.
func ExampleOf(r Rule, says string) (string, bool) {
	of := New()
	of.Pattern, of.All, of.Ignore, of.Where = r.Pattern, r.All, r.Ignore, r.Conditions()
	snapshot, bad := Compile([]Rule{of})
	if len(bad) > 0 {
		return "", false
	}
	m := snapshot.For("").Begin()
	defer m.End()
	var conditions []*where.Condition
	for _, text := range r.Conditions() {
		c, err := parseCondition(text, new(Patterns), map[string]*pattern{})
		if err != nil {
			return "", false
		}
		conditions = append(conditions, c)
	}
	members, groups := where.Example(conditions, Example)
	var examples []string
	if r.Pattern != "" {
		example, _ := exampleWith(r.Pattern, groups)
		examples = append(examples, example)
	}
	for _, p := range r.All {
		example, _ := Example(p) // "" where there is none
		examples = append(examples, example)
	}
	example := strings.Join(examples, " ")
	lines := []string{says, says + " (" + example + ")", says + ": " + example, example + " (" + says + ")", example}
	if len(members) > 0 {
		lines = nil
		for _, text := range []string{says, says + " (" + example + ")", says + ": " + example, example + " (" + says + ")", example} {
			lines = append(lines, where.Object(members, text))
		}
		lines = append(lines, example+" "+where.Object(members, says), where.Object(members, ""))
	}
	for _, line := range lines {
		var st State
		if writable(line) && m.Match(&st, Line{Stream: "stdout", Text: []byte(line)}) {
			return line, true
		}
	}
	return "", false
}

// exampler writes what parts of a pattern match.
type exampler struct {
	b        *strings.Builder
	anything rune // for what may be any character
	times    int  // how often there is what may be there or not
	groups   map[string]string
}

// write reports whether there is anything that a part matches.
func (e exampler) write(re *syntax.Regexp) bool {
	all := func(times int) bool {
		for range times {
			for _, sub := range re.Sub {
				if !e.write(sub) {
					return false
				}
			}
		}
		return true
	}
	switch re.Op {
	case syntax.OpNoMatch:
		return false
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			e.b.WriteRune(r)
		}
	case syntax.OpCharClass:
		r, ok := e.oneOf(re.Rune)
		e.b.WriteRune(r)
		return ok
	case syntax.OpAnyCharNotNL, syntax.OpAnyChar:
		e.b.WriteRune(e.anything)
	case syntax.OpCapture:
		for _, name := range []string{re.Name, strconv.Itoa(re.Cap)} {
			if text, ok := e.groups[name]; ok {
				e.b.WriteString(text)
				return true
			}
		}
		return all(1)
	case syntax.OpConcat, syntax.OpPlus:
		return all(1)
	case syntax.OpStar, syntax.OpQuest:
		return all(e.times)
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			var b strings.Builder
			if (exampler{&b, e.anything, e.times, e.groups}).write(sub) {
				e.b.WriteString(b.String())
				return true
			}
		}
		return false
	}
	return true // what is empty, or a place
}

// oneOf picks a character of a class, which is pairs of the first and last ones.
func (e exampler) oneOf(class []rune) (rune, bool) {
	for _, r := range string(e.anything) + "a1A -_./:" {
		for i := 0; i < len(class); i += 2 {
			if class[i] <= r && r <= class[i+1] {
				return r, true
			}
		}
	}
	for i := 0; i < len(class); i += 2 {
		for r := class[i]; r <= min(class[i+1], class[i]+64); r++ {
			if writableRune(r) {
				return r, true
			}
		}
	}
	return 0, false
}

func writable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !writableRune(r) })
}

func writableRune(r rune) bool { return r == '\t' || unicode.IsPrint(r) && r != utf8.RuneError }
