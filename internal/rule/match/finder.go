package match

import (
	"bytes"
	"strings"
)

// Finder finds where in a run of bytes, such as a block of many lines, there may be matches
// of a pattern: where one of the literals stands of which each match has one. One goroutine
// uses it at a time.
type Finder struct {
	needles []needle
	folds   bool // what stands for k or s beyond ASCII may be in a match

	text []byte
	next []int // where each needle stands first, from where it was looked for on
	any  bool  // matches may be anywhere
}

// Bounds of what a Finder looks for: below, it would find too much, and above, it would take
// longer than matching does.
const (
	finderBytes   = 3
	finderNeedles = 8
)

// Finder returns one for the pattern; nil where no literals are known, or none that tell much.
func (p *Pattern) Finder() *Finder {
	best, ok := rarest(p.facts.all())
	if !ok || shortest(best.lits) < finderBytes {
		return nil
	}
	f := &Finder{}
	for _, l := range best.lits {
		f.needles = append(f.needles, needles(l, fixed())...)
		f.folds = f.folds || l.fold && strings.ContainsAny(l.text, "ks")
	}
	if len(f.needles) > finderNeedles {
		return nil
	}
	f.next = make([]int, len(f.needles))
	return f
}

// Begin has it look in a text.
func (f *Finder) Begin(text []byte) {
	f.text = text
	f.any = f.folds && (bytes.Contains(text, kelvinText) || bytes.Contains(text, longSText))
	for i := range f.next {
		f.next[i] = -1
	}
}

// From returns the first place at or behind one, where places never go back, at which a
// literal begins; the text's length where there is none.
func (f *Finder) From(at int) int {
	if f.any {
		return at
	}
	first := len(f.text)
	for i, next := range f.next {
		if next < at {
			looks := 0
			if next = f.needles[i].index(f.text[at:], &looks); next < 0 {
				next = len(f.text)
			} else {
				next += at
			}
			f.next[i] = next
		}
		first = min(first, next)
	}
	return first
}
