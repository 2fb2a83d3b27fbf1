package regex

import (
	"regexp"
	"slices"
	"strings"
)

// Resolve replaces negative look-aheads for a text by what says the same without one,
// where that is known:
//
//	(?:(?!TEXT).)*TEXT  all up to the first TEXT
//	(?:(?!TEXT).)*$     an end without TEXT
//	(?!TEXT)[^…]+C      some characters, up to one that is in no TEXT, that don't begin
//	                    with TEXT
//
// Others stay; see Check.
func (n *Node) Resolve() {
	for _, s := range n.Subs {
		s.Resolve()
	}
	if n.Op != Concat {
		return
	}
	n.flatten()
	for i := 0; i < len(n.Subs); i++ {
		rest := n.Subs[i+1:]
		if text := n.Subs[i].run(); text != nil {
			switch {
			case oneBegin(text) && spells(rest, text):
				n.Subs = slices.Replace(n.Subs, i, i+1+len(text), untilFirst(text))
			case oneBegin(text) && len(rest) > 0 && rest[0].Op == End:
				n.Subs[i] = without(text)
			}
			continue
		}
		if text := n.Subs[i].unlike(); text != nil && len(rest) > 0 {
			if with := notBegun(text, rest[0], rest[1:]); with != nil {
				n.Subs = slices.Replace(n.Subs, i, i+2, with)
			}
		}
	}
}

// flatten has a sequence hold no others, also of groups that are there for nothing.
func (n *Node) flatten() {
	var all []*Node
	for _, s := range n.Subs {
		for s.Op == Group && s.Flags == "?:" && (s.Subs[0].Op == Concat || s.Subs[0].Op == Repeat || s.Subs[0].Op == Group) {
			s = s.Subs[0]
		}
		if s.Op == Concat {
			s.flatten()
			all = append(all, s.Subs...)
		} else {
			all = append(all, s)
		}
	}
	n.Subs = all
}

// unlike is the text of a negative look-ahead for one; nil of anything else.
func (n *Node) unlike() (text []rune) {
	if n.Op != Before || !n.Not {
		return nil
	}
	subs := n.Subs
	if subs[0].Op == Concat {
		subs = subs[0].Subs
	}
	for _, s := range subs {
		if s.Op != Rune {
			return nil
		}
		text = append(text, []rune(s.Text)...)
	}
	return text
}

// run is the text of (?:(?!TEXT).)*, in groups or not; nil of anything else.
func (n *Node) run() []rune {
	for n.Op == Group && n.Subs[0].Op != Alt && (n.Flags == "" || n.Flags == "?:") {
		n = n.Subs[0]
	}
	if n.Op != Repeat || n.Min != 0 || n.Max >= 0 {
		return nil
	}
	for n = n.Subs[0]; n.Op == Group && n.Flags == "?:"; {
		n = n.Subs[0]
	}
	if n.Op != Concat || len(n.Subs) != 2 || n.Subs[1].Op != Any {
		return nil
	}
	return n.Subs[0].unlike()
}

const maxAhead = 64 // characters of a text that is to be looked for

// oneBegin reports whether a text's first character is in it once, or as its last too:
// so the text can begin only where what was read of it is given up.
func oneBegin(text []rune) bool {
	return len(text) > 1 && len(text) <= maxAhead && !slices.Contains(text[1:max(1, len(text)-1)], text[0])
}

// spells reports whether nodes begin with the characters of a text.
func spells(nodes []*Node, text []rune) bool {
	if len(nodes) < len(text) {
		return false
	}
	for i, c := range text {
		if nodes[i].Op != Rune || nodes[i].Text != string(c) {
			return false
		}
	}
	return true
}

func spelled(text []rune) (all []*Node) {
	for _, c := range text {
		all = append(all, literal(c))
	}
	return all
}

// but is a character that is none of some.
func but(some ...rune) *Node {
	var b strings.Builder
	for _, c := range some {
		b.WriteString(quote(c, inClass))
	}
	return &Node{Op: Class, Not: true, Text: b.String() + `\n`}
}

func any0(n *Node) *Node { return &Node{Op: Repeat, Max: -1, Subs: []*Node{n}} }

func grouped(n *Node) *Node { return &Node{Op: Group, Flags: "?:", Subs: []*Node{n}} }

// clear is what has no text in it, and doesn't end within one; last is what may follow,
// that begins with the text's first character: with again, how often that was tried anew
// before.
func clear(text []rune) (before, again *Node) {
	first := text[0]
	var retry, give []*Node // with another first character, or with none
	for i := 1; i < len(text); i++ {
		begun := spelled(text[1:i])
		if i < len(text)-1 || text[i] != first {
			retry = append(retry, Concatenate(append(slices.Clone(begun), literal(first))...))
		}
		not := []rune{first}
		if text[i] != first {
			not = append(not, text[i])
		}
		give = append(give, Concatenate(append(slices.Clone(begun), but(not...))...))
	}
	again = any0(grouped(Alternate(retry...)))
	free := any0(but(first))
	before = Concatenate(free, any0(grouped(Concatenate(literal(first), again, grouped(Alternate(give...)), free.Clone()))))
	return before, again
}

// untilFirst is everything up to the end of the first text in it.
func untilFirst(text []rune) *Node {
	before, again := clear(text)
	return grouped(Concatenate(append([]*Node{before, literal(text[0]), again}, spelled(text[1:])...)...))
}

// without is what has no text in it.
func without(text []rune) *Node {
	before, again := clear(text)
	end := &Node{Op: Empty}
	for i := len(text) - 2; i >= 1; i-- { // what was begun of it
		end = &Node{Op: Repeat, Max: 1, Subs: []*Node{grouped(Concatenate(literal(text[i]), end))}}
	}
	last := &Node{Op: Repeat, Max: 1, Subs: []*Node{grouped(Concatenate(literal(text[0]), again, end))}}
	return grouped(Concatenate(before, last))
}

// notBegun is what many, a repetition of what is none of some characters, matches of
// what doesn't begin with a text, where a character that follows says where it ends; nil
// where that can't be said.
func notBegun(text []rune, many *Node, rest []*Node) *Node {
	least := 1
	if len(text) > maxAhead || many.Op != Repeat || many.Max >= 0 || many.Min > 1 || len(rest) == 0 || rest[0].Op != Rune {
		return nil
	}
	of := many.Subs[0]
	switch {
	case of.Op == Class && !of.Not && of.Text == `\S`:
		of = &Node{Op: Class, Not: true, Text: `\s`}
	case of.Op == Class && of.Not && !strings.Contains(of.Text, `\p`) && !strings.Contains(of.Text, `\S`):
	default:
		return nil
	}
	if many.Min == 0 {
		least = 0
	}
	next := []rune(rest[0].Text)[0]
	in, err := regexp.Compile(of.String())
	if err != nil {
		return nil
	}
	for _, c := range text {
		if c == next || !in.MatchString(string(c)) {
			return nil
		}
	}
	// From behind: after i characters of the text, stop, go on in it, or leave it.
	var tail *Node
	for i := len(text) - 1; i >= 0; i-- {
		leave := Concatenate(&Node{Op: Class, Not: true, Text: of.Text + quote(text[i], inClass)}, any0(of.Clone()))
		ways := []*Node{leave}
		if tail != nil {
			ways = append(ways, Concatenate(literal(text[i]), tail))
		}
		tail = grouped(Alternate(ways...))
		if i > 0 || least == 0 {
			tail = &Node{Op: Repeat, Max: 1, Subs: []*Node{tail}}
		}
	}
	return tail
}
