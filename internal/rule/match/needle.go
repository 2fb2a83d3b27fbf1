package match

import "bytes"

// needle is a literal to look for in a line, by one form of one of its bytes.
type needle struct {
	literal
	at   int  // of the byte in it that is looked for first
	form byte // of that byte
}

// needles returns what to look for to find a literal: by each form of its rarest
// byte.
func needles(l literal, stats *Stats) []needle {
	n := needle{literal: l}
	for i := range len(l.text) {
		if stats.rate(l.text[i:i+1]) < stats.rate(l.text[n.at:n.at+1]) {
			n.at = i
		}
	}
	n.form = l.text[n.at]
	if !l.fold || n.form < 'a' || n.form > 'z' {
		return []needle{n}
	}
	upper := n
	upper.form &^= 0x20
	return []needle{n, upper}
}

// index returns where the literal first stands in b, with that form; -1 if it
// doesn't. It adds to looks how often that byte made it look.
func (n *needle) index(b []byte, looks *int) int {
	end := len(b) - len(n.text) + n.at + 1 // of where that byte may be
	for i := n.at; i < end; i++ {
		next := bytes.IndexByte(b[i:end], n.form)
		if next < 0 {
			return -1
		}
		*looks++
		if i += next; n.standsAt(b, i-n.at) {
			return i - n.at
		}
	}
	return -1
}

// occurrences is where any of a set's literals stand in a part of a text, from
// left to right.
type occurrences struct {
	set   []needle
	text  []byte
	looks int
	next  [2 * maxExtraLits]int // of each needle; -1: no more
}

func (o *occurrences) begin(set []needle, text []byte, from int) {
	o.set, o.text = set, text
	for i := range set {
		o.seek(i, from)
	}
}

func (o *occurrences) seek(i, from int) {
	if o.next[i] = o.set[i].index(o.text[from:], &o.looks); o.next[i] >= 0 {
		o.next[i] += from
	}
}

// take returns the next one; length is 0 if there is none.
func (o *occurrences) take() (at, length int) {
	best := -1
	for i := range o.set {
		if o.next[i] >= 0 && (best < 0 || o.next[i] < o.next[best]) {
			best = i
		}
	}
	if best < 0 {
		return 0, 0
	}
	at = o.next[best]
	o.seek(best, at+1)
	return at, len(o.set[best].text)
}
