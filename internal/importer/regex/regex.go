// Package regex translates regular expressions of other programs into RE2: Python's re,
// and the extended expressions of GNU grep. What it translates matches the same lines;
// what RE2 can't say is refused, with the reason and the place.
//
// Sources: the documentation of Python's re module, and of GNU grep ("Regular
// Expressions", with what POSIX leaves undefined there).
//
// It does not promise the same submatches for EREs, whose are the longest, nor what
// \d, \s, \b and case mean of letters beyond ASCII.
package regex

import (
	"fmt"
	"strings"
	"unicode"
)

// Op is what a node is.
type Op int

// The kinds of nodes.
const (
	Empty  Op = iota
	Rune      // Text[0]
	Class     // one character: what Text has, between brackets of RE2
	Any       // one character but a line break
	Begin     // of the text
	End       // of the text
	Assert    // Text, such as \b
	Concat    // Subs, one after the other
	Alt       // one of Subs
	Repeat    // Subs[0], from Min to Max times
	Group     // Subs[0]; a capture unless Flags are set
	Exists    // Subs[0] if the group Name has matched, and Subs[1] if it hasn't
	Before    // a look-ahead for Subs[0]; Not turns it round
)

// Node is a regular expression, or a part of one.
type Node struct {
	Op       Op
	Text     string
	Not      bool
	Subs     []*Node
	Min, Max int // Max < 0: any number
	Lazy     bool
	Name     string // of a capture; "" has none
	Flags    string // of a group that captures nothing: ?: or such as ?i:
	at       int    // rune in the source, from 1
}

// Error says why an expression can't be translated.
type Error struct {
	Reason string // such as "has a look-ahead", for people
	At     int    // character, from 1
}

func (e *Error) Error() string { return fmt.Sprintf("%s, at character %d", e.Reason, e.At) }

// What RE2 has no counterpart of.
const (
	LookAhead  = "has a look-ahead, which RE2 doesn't know"
	LookBehind = "has a look-behind, which RE2 doesn't know"
	Backref    = "refers back to a group, which RE2 can't"
	Condition  = "has a condition on a group, which RE2 doesn't know"
	Atomic     = "has an atomic group or a possessive repetition, which RE2 doesn't know"
)

const (
	maxPattern = 64 << 10 // bytes of an expression that is read
	maxDepth   = 200      // of groups in one another
)

// reader goes through an expression.
type reader struct {
	text  []rune
	at    int
	depth int
}

func (r *reader) more() bool { return r.at < len(r.text) }

// next is the next character; 0 at the end.
func (r *reader) next() rune {
	if !r.more() {
		return 0
	}
	return r.text[r.at]
}

func (r *reader) has(prefix string) bool {
	p := []rune(prefix)
	return len(r.text)-r.at >= len(p) && string(r.text[r.at:r.at+len(p)]) == prefix
}

// take goes behind a prefix, if there it is.
func (r *reader) take(prefix string) bool {
	if !r.has(prefix) {
		return false
	}
	r.at += len([]rune(prefix))
	return true
}

func (r *reader) fail(reason string, args ...any) error {
	return &Error{Reason: fmt.Sprintf(reason, args...), At: min(r.at+1, len(r.text)+1)}
}

// number reads digits; ok is false where there are none, or more than eight.
func (r *reader) number() (n int, ok bool) {
	from := r.at
	for r.more() && '0' <= r.next() && r.next() <= '9' {
		if r.at-from >= 8 {
			return 0, false
		}
		n = 10*n + int(r.next()-'0')
		r.at++
	}
	return n, r.at > from
}

// interval reads {n}, {n,}, {,m} or {n,m}; ok is false, and nothing read, where it is
// none.
func (r *reader) interval() (least, most int, ok bool) {
	from := r.at
	defer func() {
		if !ok {
			r.at = from
		}
	}()
	if !r.take("{") {
		return 0, 0, false
	}
	least, some := r.number()
	most = least
	if r.take(",") {
		var bounded bool
		if most, bounded = r.number(); !bounded {
			most = -1
		}
		some = some || bounded
	}
	return least, most, some && r.take("}")
}

func literal(c rune) *Node { return &Node{Op: Rune, Text: string(c)} }

// Concatenate is the nodes one after the other.
func Concatenate(subs ...*Node) *Node {
	switch len(subs) {
	case 0:
		return &Node{Op: Empty}
	case 1:
		return subs[0]
	}
	return &Node{Op: Concat, Subs: subs}
}

// Alternate is one of the nodes.
func Alternate(subs ...*Node) *Node {
	if len(subs) == 1 {
		return subs[0]
	}
	return &Node{Op: Alt, Subs: subs}
}

// Each calls f for a node and all below it, until f says that it doesn't go deeper.
func (n *Node) Each(f func(*Node) (deeper bool)) {
	if !f(n) {
		return
	}
	for _, s := range n.Subs {
		s.Each(f)
	}
}

// Clone copies a node and all below it.
func (n *Node) Clone() *Node {
	c := *n
	c.Subs = nil
	for _, s := range n.Subs {
		c.Subs = append(c.Subs, s.Clone())
	}
	return &c
}

// String is the node in RE2's syntax. Conditions and look-aheads, which have none, are
// to be gone before: see Check.
func (n *Node) String() string {
	var b strings.Builder
	n.write(&b, 0)
	return b.String()
}

// Check says what of a node RE2 can't say.
func (n *Node) Check() (err error) {
	n.Each(func(n *Node) bool {
		switch {
		case err != nil:
		case n.Op == Exists:
			err = &Error{Condition, n.at}
		case n.Op == Before:
			err = &Error{LookAhead, n.at}
		}
		return err == nil
	})
	return err
}

// Ways in which a node binds: an alternative least, then a sequence, then what a
// repetition is about.
const (
	alternative = iota
	sequence
	atom
)

func (n *Node) binds() int {
	switch n.Op {
	case Alt:
		return alternative
	case Concat, Empty, Repeat:
		return sequence
	}
	return atom
}

func (n *Node) write(b *strings.Builder, least int) {
	if n.binds() < least && !(n.Op == Repeat && least == sequence) {
		b.WriteString("(?:")
		n.write(b, alternative)
		b.WriteString(")")
		return
	}
	switch n.Op {
	case Rune:
		b.WriteString(quote([]rune(n.Text)[0], meta))
	case Class:
		if n.Not {
			b.WriteString("[^" + n.Text + "]")
		} else if inner, alone := strings.CutPrefix(n.Text, `\`); alone && len(inner) == 1 {
			b.WriteString(n.Text)
		} else {
			b.WriteString("[" + n.Text + "]")
		}
	case Any:
		b.WriteString(".")
	case Begin:
		b.WriteString("^")
	case End:
		b.WriteString("$")
	case Assert:
		b.WriteString(n.Text)
	case Concat:
		for _, s := range n.Subs {
			s.write(b, sequence)
		}
	case Alt:
		for i, s := range n.Subs {
			if i > 0 {
				b.WriteString("|")
			}
			s.write(b, sequence)
		}
	case Repeat:
		n.Subs[0].write(b, atom)
		b.WriteString(times(n.Min, n.Max))
		if n.Lazy {
			b.WriteString("?")
		}
	case Group:
		switch {
		case n.Name != "":
			b.WriteString("(?P<" + n.Name + ">")
		default:
			b.WriteString("(" + n.Flags)
		}
		n.Subs[0].write(b, alternative)
		b.WriteString(")")
	}
}

func times(least, most int) string {
	switch {
	case least == 0 && most == 1:
		return "?"
	case least == 0 && most < 0:
		return "*"
	case least == 1 && most < 0:
		return "+"
	case most < 0:
		return fmt.Sprintf("{%d,}", least)
	case least == most:
		return fmt.Sprintf("{%d}", least)
	}
	return fmt.Sprintf("{%d,%d}", least, most)
}

const (
	meta    = `\.+*?()|[]{}^$` // outside of brackets
	inClass = `\[]^-`          // and within
)

// quote is a character in RE2's syntax.
func quote(c rune, special string) string {
	switch {
	case strings.ContainsRune(special, c):
		return `\` + string(c)
	case c == '\t':
		return `\t`
	case c == '\n':
		return `\n`
	case !unicode.IsPrint(c):
		return fmt.Sprintf(`\x{%x}`, c)
	}
	return string(c)
}

// Quote is a text as an expression that matches it, whatever its case if fold is true.
func Quote(text string, fold bool) string {
	var b strings.Builder
	for _, c := range text {
		b.WriteString(quote(c, meta))
	}
	if fold && strings.ToLower(text) != strings.ToUpper(text) {
		return "(?i)" + b.String()
	}
	return b.String()
}
