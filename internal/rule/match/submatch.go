package match

import "unicode/utf8"

// SubmatchWork is what Submatch may take for a line, in instructions of package
// regexp times bytes.
const SubmatchWork = 64 << 20

// Submatch returns where a pattern's leftmost match in a line stands, and its
// groups, as FindSubmatchIndex of package regexp does; nil if there is none. It
// is not ok, and took nothing, if that would take more than the work given.
//
// Package regexp alone knows groups, and takes as many steps as there are
// instructions for each byte. Where that is too much and matches have a bounded
// length, it is shown the part of the line in which the leftmost one lies.
func (m *Matcher) Submatch(pattern uint32, line []byte, work int64) (at []int, took int64, ok bool) {
	p := m.rules[pattern].Pattern
	whole := p.weight.insts * int64(len(line)+1)
	if whole <= min(work, SubmatchWork/16) || p.facts.max == unbounded || !p.weight.bits {
		if whole > work {
			return nil, 0, false
		}
		return p.regexp().FindSubmatchIndex(line), whole, true
	}
	took = p.weight.perByte*int64(len(line)+1) + p.weight.insts*int64(p.window())
	if n := p.compiled().nfa; took <= work && n != nil && p.behind() != nil {
		return p.submatch(n, line), took, true
	}
	return nil, 0, false
}

// window is how long a part of a line has to be, in bytes, to hold the leftmost
// match and what assertions at its ends see.
func (p *Pattern) window() int { return 2*p.facts.max + 3*utf8.UTFMax }

// submatch returns where the leftmost match stands, which has a bounded length.
func (p *Pattern) submatch(n *nfa, line []byte) []int {
	end, found := n.run(line, 0, len(line))
	if !found {
		return nil
	}
	// The leftmost match begins no later than the one that ends first, and
	// doesn't end before it.
	from := runeStart(line, max(end-p.facts.max, 0))
	to := min(from+p.window(), len(line))
	if from == 0 {
		return p.regexp().FindSubmatchIndex(line[:to])
	}
	_, before := utf8.DecodeLastRune(line[:from])
	from -= before
	at := p.behind().FindSubmatchIndex(line[from:to])
	if at == nil {
		return nil
	}
	at = at[2:]
	for i := range at {
		if at[i] >= 0 {
			at[i] += from
		}
	}
	return at
}

// Spans returns where matches of a pattern stand one after the other, n at most,
// as FindAllIndex of package regexp does; only the leftmost one if the rest would
// take more than the work given, and none if that would too.
func (m *Matcher) Spans(pattern uint32, line []byte, n int, work int64) (spans [][]int, took int64) {
	p := m.rules[pattern].Pattern
	// It begins anew behind each match, and may look at all of the rest.
	if all := p.weight.insts * int64(len(line)+1) * int64(n); all <= work {
		return p.regexp().FindAllIndex(line, n), all
	}
	at, took, ok := m.Submatch(pattern, line, work)
	if !ok || at == nil {
		return nil, took
	}
	return [][]int{at[:2]}, took
}
