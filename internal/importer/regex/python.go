package regex

import (
	"strings"
	"unicode"
)

// word is what Python takes for characters of words: letters and numbers of any script.
const word = `\pL\pN_`

// Python reads an expression of Python's re, of those for text, without flags. Its
// conditions and look-aheads are nodes; see Check.
func Python(pattern string) (*Node, error) {
	p := &python{reader: reader{text: []rune(pattern)}, groups: map[string]bool{}}
	if len(pattern) > maxPattern {
		return nil, p.fail("is longer than %d bytes", maxPattern)
	}
	n, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	if p.more() {
		return nil, p.fail("has a ) too many")
	}
	if p.global != "" {
		n = &Node{Op: Group, Flags: "?" + p.global + ":", Subs: []*Node{n}}
	}
	return n, nil
}

type python struct {
	reader
	groups map[string]bool
	global string // flags for all of it
	begun  bool   // something else than flags was read
}

func (p *python) alternatives() (*Node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.fail("has groups more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	var all []*Node
	for {
		n, err := p.sequence()
		if err != nil {
			return nil, err
		}
		all = append(all, n)
		if !p.take("|") {
			return Alternate(all...), nil
		}
	}
}

func (p *python) sequence() (*Node, error) {
	var all []*Node
	for p.more() && p.next() != '|' && p.next() != ')' {
		at := p.at + 1
		n, err := p.atom()
		if err != nil {
			return nil, err
		}
		if n == nil {
			continue // a comment, or flags
		}
		p.begun = true
		n.at = at
		if n, err = p.repetition(n); err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return Concatenate(all...), nil
}

// repetition reads what stands behind an atom.
func (p *python) repetition(n *Node) (*Node, error) {
	least, most, some := 0, 0, true
	switch {
	case p.take("*"):
		most = -1
	case p.take("+"):
		least, most = 1, -1
	case p.take("?"):
		most = 1
	default:
		least, most, some = p.interval()
	}
	switch {
	case !some:
		return n, nil
	case most >= 0 && most < least:
		return nil, p.fail("has a repetition whose least is more than its most")
	case n.Op == Begin, n.Op == End, n.Op == Assert:
		return nil, p.fail("repeats what has no width")
	}
	n = &Node{Op: Repeat, Min: least, Max: most, Subs: []*Node{n}, at: n.at}
	switch {
	case p.take("?"):
		n.Lazy = true
	case p.next() == '+':
		return nil, p.fail(Atomic)
	case p.next() == '*':
		return nil, p.fail("repeats a repetition")
	}
	if p.has("{") {
		if _, _, again := p.interval(); again {
			return nil, p.fail("repeats a repetition")
		}
	}
	return n, nil
}

func (p *python) atom() (*Node, error) {
	switch c := p.next(); c {
	case '(':
		p.at++
		return p.group()
	case '[':
		p.at++
		return p.class()
	case '\\':
		return p.escape()
	case '*', '+', '?':
		return nil, p.fail("has nothing to repeat")
	case '.':
		p.at++
		return &Node{Op: Any}, nil
	case '^':
		p.at++
		return &Node{Op: Begin}, nil
	case '$':
		p.at++
		return &Node{Op: End}, nil
	default:
		p.at++
		return literal(c), nil
	}
}

// group reads what stands behind a bracket; nil for a comment.
func (p *python) group() (*Node, error) {
	n := &Node{Op: Group}
	switch {
	case !p.has("?"):
	case p.take("?:"):
		n.Flags = "?:"
	case p.take("?P<"):
		name, err := p.name('>')
		if err != nil {
			return nil, err
		}
		if p.groups[name] {
			return nil, p.fail("has the group %s twice", name)
		}
		n.Name, p.groups[name] = name, true
	case p.has("?P="):
		return nil, p.fail(Backref)
	case p.take("?#"):
		for p.more() && p.next() != ')' {
			p.at++
		}
		if !p.take(")") {
			return nil, p.fail("has a comment without end")
		}
		return nil, nil
	case p.take("?="), p.has("?!"):
		n.Op, n.Not = Before, p.take("?!")
	case p.has("?<="), p.has("?<!"):
		return nil, p.fail(LookBehind)
	case p.has("?>"):
		return nil, p.fail(Atomic)
	case p.take("?("):
		return p.condition()
	default:
		return p.flags(n)
	}
	return p.inside(n)
}

// inside reads the rest of a group, with its closing bracket.
func (p *python) inside(n *Node) (*Node, error) {
	p.begun = true
	sub, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	if !p.take(")") {
		return nil, p.fail("has a group without end")
	}
	n.Subs = []*Node{sub}
	return n, nil
}

// name reads a group's name.
func (p *python) name(end rune) (string, error) {
	from := p.at
	for p.more() && p.next() != end {
		c := p.next()
		if c != '_' && (c > unicode.MaxASCII || !unicode.IsLetter(c) && (p.at == from || !unicode.IsDigit(c))) {
			return "", p.fail("has a group whose name has other characters than letters, digits and _")
		}
		p.at++
	}
	name := string(p.text[from:p.at])
	if p.at++; name == "" || p.at > len(p.text) {
		return "", p.fail("has a group whose name doesn't end")
	}
	return name, nil
}

// condition reads what stands behind (?( of a condition.
func (p *python) condition() (*Node, error) {
	if _, digits := p.number(); digits {
		return nil, p.fail(Condition)
	}
	name, err := p.name(')')
	if err != nil {
		return nil, err
	}
	n, err := p.inside(&Node{Op: Exists, Name: name})
	if err != nil {
		return nil, err
	}
	both := []*Node{n.Subs[0], {Op: Empty}}
	if n.Subs[0].Op == Alt {
		if both = n.Subs[0].Subs; len(both) != 2 {
			return nil, p.fail("has a condition with more than two ways")
		}
	}
	n.Subs = both
	return n, nil
}

// flags reads (?i) and (?i:…).
func (p *python) flags(n *Node) (*Node, error) {
	p.at++
	on, off := "", ""
	to := &on
	for p.more() && p.next() != ')' && p.next() != ':' {
		switch c := p.next(); c {
		case '-':
			to = &off
		case 'i', 's', 'm':
			*to += string(c)
		case 'u', 'L': // of text it is usual; of bytes alone
		default:
			return nil, p.fail("has the flag %c, which has no counterpart", c)
		}
		p.at++
	}
	flags := on
	if off != "" {
		flags += "-" + off
	}
	switch {
	case p.take(":"):
		n.Flags = "?" + flags + ":"
		return p.inside(n)
	case off != "" || !p.take(")"):
		return nil, p.fail("has flags without end")
	case p.begun:
		return nil, p.fail("has flags for all of it that don't stand at its begin")
	}
	for _, c := range flags { // they are for all of it, wherever they stand
		if !strings.ContainsRune(p.global, c) {
			p.global += string(c)
		}
	}
	return nil, nil
}

// escape reads \ and what follows, outside of brackets.
func (p *python) escape() (*Node, error) {
	if p.at++; !p.more() {
		return nil, p.fail("ends with a backslash")
	}
	c := p.next()
	switch c {
	case 'd', 's', 'D', 'S':
		p.at++
		return &Node{Op: Class, Text: `\` + string(c)}, nil
	case 'w', 'W':
		p.at++
		return &Node{Op: Class, Text: word, Not: c == 'W'}, nil
	case 'b', 'B':
		p.at++
		return &Node{Op: Assert, Text: `\` + string(c)}, nil
	case 'A':
		p.at++
		return &Node{Op: Assert, Text: `\A`}, nil
	case 'Z':
		p.at++
		return &Node{Op: Assert, Text: `\z`}, nil
	}
	if '1' <= c && c <= '9' && !p.octal() {
		return nil, p.fail(Backref)
	}
	c, err := p.escaped()
	return literal(c), err
}

// octal reports whether three octal digits follow, the number of a character.
func (p *python) octal() bool {
	for i := range 3 {
		if p.at+i >= len(p.text) || p.text[p.at+i] < '0' || p.text[p.at+i] > '7' {
			return false
		}
	}
	return p.text[p.at] <= '3'
}

// escaped reads the character that stands behind a backslash, and what it means inside
// of brackets and outside.
func (p *python) escaped() (rune, error) {
	c := p.next()
	if named, ok := map[rune]rune{'a': 7, 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}[c]; ok {
		p.at++
		return named, nil
	}
	digits, base := 0, 16
	switch {
	case c == 'x':
		digits = 2
	case c == 'u':
		digits = 4
	case c == 'U':
		digits = 8
	case '0' <= c && c <= '7':
		base = 8
	case c <= unicode.MaxASCII && (unicode.IsLetter(c) || unicode.IsDigit(c)):
		return 0, p.fail("has \\%c, which Python doesn't know", c)
	default:
		p.at++
		return c, nil
	}
	if base == 16 {
		p.at++
	}
	value, n := rune(0), 0
	for ; p.more() && (n < digits || base == 8 && n < 3); n++ {
		d := strings.IndexRune("0123456789abcdef", unicode.ToLower(p.next()))
		if d < 0 || d >= base {
			break
		}
		value = value*rune(base) + rune(d)
		p.at++
	}
	if base == 16 && n < digits || value > unicode.MaxRune {
		return 0, p.fail("has a number of a character that isn't one")
	}
	return value, nil
}

// class reads what stands behind an open bracket.
func (p *python) class() (*Node, error) {
	n := &Node{Op: Class, Not: p.take("^")}
	sets, others := "", false // of \d, \S and so on
	var b strings.Builder
	for first := true; first || p.next() != ']'; first = false {
		if !p.more() {
			return nil, p.fail("has a bracket without end")
		}
		from, set, err := p.member()
		if err != nil {
			return nil, err
		}
		if set != 0 {
			sets += string(set)
			switch set {
			case 'w':
				b.WriteString(word)
			case 'W':
			default:
				b.WriteString(`\` + string(set))
			}
			continue
		}
		others = true
		b.WriteString(quote(from, inClass))
		if !p.has("-") || p.has("-]") {
			continue
		}
		p.at++
		to, set, err := p.member()
		if err != nil {
			return nil, err
		}
		if set != 0 || to < from {
			return nil, p.fail("has a range of characters whose end comes before its begin")
		}
		b.WriteString("-" + quote(to, inClass))
	}
	p.at++
	for _, pair := range []string{"wW", "dD", "sS"} {
		if strings.Contains(sets, pair[:1]) && strings.Contains(sets, pair[1:]) {
			if n.Not {
				return nil, p.fail("has a class that no character is in")
			}
			return &Node{Op: Group, Flags: "?s:", Subs: []*Node{{Op: Any}}}, nil
		}
	}
	n.Text = b.String()
	if strings.Contains(sets, "W") {
		if others || strings.Trim(sets, "W") != "" {
			return nil, p.fail(`has \W among others in brackets, which RE2 can't say of all letters`)
		}
		n.Text, n.Not = word, !n.Not
	}
	return n, nil
}

// member reads a character of a class, or the letter of a set such as \d.
func (p *python) member() (c, set rune, err error) {
	if !p.more() {
		return 0, 0, p.fail("has a bracket without end")
	}
	if !p.take(`\`) {
		c = p.next()
		p.at++
		return c, 0, nil
	}
	switch c := p.next(); {
	case c == 0:
		return 0, 0, p.fail("has a bracket without end")
	case strings.ContainsRune("dDsSwW", c):
		p.at++
		return 0, c, nil
	case c == 'b':
		p.at++
		return '\b', 0, nil
	}
	c, err = p.escaped()
	return c, 0, err
}
