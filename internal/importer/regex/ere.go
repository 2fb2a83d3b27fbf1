package regex

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// ERE reads an extended regular expression as GNU grep does in the locale C. notes are
// what its author may have meant otherwise than it is: \d, for one, is the letter d.
func ERE(pattern string) (n *Node, notes []string, err error) {
	p := &ere{reader: reader{text: []rune(pattern)}}
	switch {
	case len(pattern) > maxPattern:
		return nil, nil, p.fail("is longer than %d bytes", maxPattern)
	case !utf8.ValidString(pattern):
		return nil, nil, p.fail("is no text in UTF-8")
	}
	n, err = p.alternatives()
	if err == nil && p.more() {
		err = p.fail("has a ) too many")
	}
	return n, p.notes, err
}

type ere struct {
	reader
	notes []string
}

func (p *ere) alternatives() (*Node, error) {
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

func (p *ere) sequence() (*Node, error) {
	var all []*Node
	for p.more() && p.next() != '|' && (p.next() != ')' || p.depth == 1) {
		at := p.at + 1
		n, err := p.atom(len(all) == 0)
		if err != nil {
			return nil, err
		}
		n.at = at
		if n, err = p.repetition(n); err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return p.edges(all)
}

// edges makes \b of \< and \>, where what stands beside says on which side of it a word
// is.
func (p *ere) edges(all []*Node) (*Node, error) {
	for i, n := range all {
		if n.Op != Assert || n.Text != `\<` && n.Text != `\>` {
			continue
		}
		beside := i + 1
		if n.Text == `\>` {
			beside = i - 1
		}
		if beside < 0 || beside >= len(all) || !onlyWord(all[beside]) {
			return nil, &Error{"has " + n.Text + " beside what may be no word, which RE2 can't say", n.at}
		}
		all[i] = &Node{Op: Assert, Text: `\b`, at: n.at}
	}
	return Concatenate(all...), nil
}

// onlyWord reports whether a node is nothing but characters of words, at least one.
func onlyWord(n *Node) bool {
	switch n.Op {
	case Rune:
		return isWord([]rune(n.Text)[0])
	case Class:
		return !n.Not && (n.Text == `\w` || slices.Contains([]string{"[:alnum:]", "[:alpha:]", "[:digit:]", "[:lower:]", "[:upper:]", "[:xdigit:]", "0-9", "a-z", "A-Z"}, n.Text))
	case Repeat:
		return n.Min > 0 && onlyWord(n.Subs[0])
	case Group, Alt:
		for _, s := range n.Subs {
			if !onlyWord(s) {
				return false
			}
		}
		return true
	case Concat:
		for _, s := range n.Subs {
			if !onlyWord(s) {
				return false
			}
		}
		return len(n.Subs) > 0
	}
	return false
}

func isWord(c rune) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// repetition reads what stands behind an atom; there may be several.
func (p *ere) repetition(n *Node) (*Node, error) {
	for {
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
	}
}

func (p *ere) atom(first bool) (*Node, error) {
	c := p.next()
	switch c {
	case '(':
		p.at++
		sub, err := p.alternatives()
		if err != nil {
			return nil, err
		}
		if !p.take(")") {
			return nil, p.fail("has a group without end")
		}
		return &Node{Op: Group, Flags: "?:", Subs: []*Node{sub}}, nil
	case '[':
		p.at++
		return p.class()
	case '\\':
		return p.escape()
	case '*', '+', '?':
		return nil, p.fail("has nothing to repeat")
	case '{':
		if _, _, ok := p.interval(); ok && first {
			return nil, p.fail("has nothing to repeat")
		}
	}
	p.at++
	switch c {
	case '.':
		return &Node{Op: Any}, nil
	case '^':
		return &Node{Op: Begin}, nil
	case '$':
		return &Node{Op: End}, nil
	case ')':
		return nil, p.fail("has a ) too many")
	}
	return literal(c), nil
}

func (p *ere) escape() (*Node, error) {
	if p.at++; !p.more() {
		return nil, p.fail("ends with a backslash")
	}
	c := p.next()
	if '1' <= c && c <= '9' {
		return nil, p.fail(Backref)
	}
	p.at++
	switch c {
	case 'w', 'W':
		return &Node{Op: Class, Text: `\` + string(c)}, nil
	case 's', 'S':
		return &Node{Op: Class, Text: space, Not: c == 'S'}, nil
	case 'b', 'B', '<', '>':
		return &Node{Op: Assert, Text: `\` + string(c)}, nil
	case '`':
		return &Node{Op: Begin}, nil
	case '\'':
		return &Node{Op: End}, nil
	}
	if isWord(c) && c != '_' {
		p.notes = append(p.notes, `\`+string(c)+" is the letter "+string(c)+" there, as it is for grep")
		if c <= '9' {
			p.notes[len(p.notes)-1] = `\` + string(c) + " is the digit there, as it is for grep"
		}
	}
	return literal(c), nil
}

// space is what [[:space:]] has.
const space = `[:space:]`

// classes are POSIX', which RE2 has by the same names, of ASCII.
var classes = []string{"alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit"}

// class reads what stands behind an open bracket, in which a backslash is a character.
func (p *ere) class() (*Node, error) {
	n := &Node{Op: Class, Not: p.take("^")}
	var b strings.Builder
	for first := true; first || p.next() != ']'; first = false {
		if !p.more() {
			return nil, p.fail("has a bracket without end")
		}
		if p.take("[:") {
			name := ""
			for _, c := range classes {
				if p.take(c + ":]") {
					name = c
				}
			}
			if name == "" {
				return nil, p.fail("has a class of characters that isn't known")
			}
			b.WriteString("[:" + name + ":]")
			continue
		}
		from, err := p.member()
		if err != nil {
			return nil, err
		}
		b.WriteString(quote(from, inClass))
		if !p.has("-") || p.has("-]") {
			continue
		}
		p.at++
		to, err := p.member()
		if err != nil {
			return nil, err
		}
		if to < from {
			return nil, p.fail("has a range of characters whose end comes before its begin")
		}
		b.WriteString("-" + quote(to, inClass))
	}
	p.at++
	n.Text = b.String()
	return n, nil
}

// member reads a character of a class.
func (p *ere) member() (rune, error) {
	switch {
	case !p.more():
		return 0, p.fail("has a bracket without end")
	case p.has("[="), p.has("[."), p.has("[:"):
		return 0, p.fail("has a class of characters that goes by a language")
	}
	c := p.next()
	p.at++
	return c, nil
}
