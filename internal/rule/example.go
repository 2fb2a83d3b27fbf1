package rule

import (
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Example returns a line that a pattern matches, a short one; false where it finds none,
// or where there is none that a program could be told to write: valid UTF-8 without
// control characters but tabs.
func Example(pattern string) (string, bool) {
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
			if (exampler{&b, anything, times}).write(tree) && writable(b.String()) && re.MatchString(b.String()) {
				return b.String(), true
			}
		}
	}
	return "", false
}

// exampler writes what parts of a pattern match.
type exampler struct {
	b        *strings.Builder
	anything rune // for what may be any character
	times    int  // how often there is what may be there or not
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
	case syntax.OpCapture, syntax.OpConcat, syntax.OpPlus:
		return all(1)
	case syntax.OpStar, syntax.OpQuest:
		return all(e.times)
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			var b strings.Builder
			if (exampler{&b, e.anything, e.times}).write(sub) {
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
