package match

import (
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// nfa decides whether an expression matches without ever making a state: a set
// of instructions is bits in a few words, and all of them go on at once. Its time
// per byte is bounded by the expression alone (see weigh), where a dfa's depends
// on the text. It doesn't change and may be used concurrently.
//
// A position is an instruction that takes a rune. Behind most positions comes
// the next one, so a shift moves them all; the others are taken by groups that
// have what comes next in common.
type nfa struct {
	*program
	words  int
	accept []uint64 // by class: words of the positions that take such a rune
	// steps is what comes behind each position, by context and class of the rune
	// on either side of the place between them.
	steps []*follow
	after []uint8 // context behind a rune, by class
}

// follow is what comes behind positions where certain assertions hold.
type follow struct {
	shift  []uint64 // positions behind which the next one comes
	start  []uint64 // positions where a match begins
	match  []uint64 // positions behind which the expression matches
	empty  bool     // it matches without any
	groups []group
}

// group is positions that have others in common which come behind them.
type group struct{ from, to []word }

// word is the bits of a set that lie in one of its words.
type word struct {
	at   int
	bits uint64
}

func newNFA(p *program) *nfa {
	n := &nfa{program: p}
	b := nfaBuilder{nfa: n, positions: map[uint32]int{}, seen: make([]bool, len(p.insts))}
	asks := syntax.EmptyOp(0)
	for pc := range p.insts {
		switch in := &p.insts[pc]; in.Op {
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			b.positions[uint32(pc)] = len(b.order)
			b.order = append(b.order, uint32(pc))
		case syntax.InstEmptyWidth:
			asks |= syntax.EmptyOp(in.Arg)
		}
	}
	n.words = len(b.order)/64 + 1
	classes := len(p.runes)
	n.accept = make([]uint64, classes*n.words)
	n.after = make([]uint8, classes)
	n.steps = make([]*follow, contexts*classes)
	follows := map[syntax.EmptyOp]*follow{}
	for class, r := range p.runes {
		if r != endOfText {
			n.after[class] = p.after(r)
			for i, pc := range b.order {
				if p.insts[pc].MatchRune(r) {
					n.accept[class*n.words+i/64] |= 1 << (i % 64)
				}
			}
		}
		for context := range contexts {
			holds := assertions(uint8(context), r) & asks
			if follows[holds] == nil {
				follows[holds] = b.follow(holds)
			}
			n.steps[context*classes+class] = follows[holds]
		}
	}
	return n
}

// nfaBuilder numbers the positions.
type nfaBuilder struct {
	*nfa
	positions map[uint32]int // by instruction
	order     []uint32
	seen      []bool
	touched   []uint32
}

// reach returns the positions that come next from an instruction where just
// these assertions hold, in order, and whether the expression matches there.
func (b *nfaBuilder) reach(from uint32, holds syntax.EmptyOp) (next []int, match bool) {
	stack := []uint32{from}
	for len(stack) > 0 {
		pc := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if b.seen[pc] {
			continue
		}
		b.seen[pc] = true
		b.touched = append(b.touched, pc)
		switch in := &b.insts[pc]; in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			stack = append(stack, in.Out, in.Arg)
		case syntax.InstCapture, syntax.InstNop:
			stack = append(stack, in.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(in.Arg)&^holds == 0 {
				stack = append(stack, in.Out)
			}
		case syntax.InstMatch:
			match = true
		case syntax.InstFail:
		default:
			next = append(next, b.positions[pc])
		}
	}
	for _, pc := range b.touched {
		b.seen[pc] = false
	}
	b.touched = b.touched[:0]
	slices.Sort(next)
	return next, match
}

func (b *nfaBuilder) follow(holds syntax.EmptyOp) *follow {
	f := &follow{shift: make([]uint64, b.words), start: make([]uint64, b.words), match: make([]uint64, b.words)}
	for _, start := range b.starts {
		next, match := b.reach(start, holds)
		f.empty = f.empty || match
		for _, p := range next {
			f.start[p/64] |= 1 << (p % 64)
		}
	}
	groups := map[string]int{}
	var key []byte
	members := [][]int{}
	for i, pc := range b.order {
		next, match := b.reach(b.insts[pc].Out, holds)
		if match {
			f.match[i/64] |= 1 << (i % 64)
		}
		if at, ok := slices.BinarySearch(next, i+1); ok {
			f.shift[i/64] |= 1 << (i % 64)
			next = slices.Delete(next, at, at+1)
		}
		if len(next) == 0 {
			continue
		}
		key = key[:0]
		for _, p := range next {
			key = append(key, byte(p), byte(p>>8), byte(p>>16))
		}
		g, ok := groups[string(key)]
		if !ok {
			g = len(f.groups)
			groups[string(key)] = g
			f.groups = append(f.groups, group{to: toWords(next)})
			members = append(members, nil)
		}
		members[g] = append(members[g], i)
	}
	for g := range f.groups {
		f.groups[g].from = toWords(members[g])
	}
	return f
}

// toWords makes words of positions in order.
func toWords(positions []int) []word {
	var out []word
	for _, p := range positions {
		if len(out) == 0 || out[len(out)-1].at != p/64 {
			out = append(out, word{at: p / 64})
		}
		out[len(out)-1].bits |= 1 << (p % 64)
	}
	return out
}

// run reports whether the expression has a match in b that lies between from
// and to, and where the first one to end does. A rune must begin at from.
func (n *nfa) run(b []byte, from, to int) (end int, found bool) {
	context := n.contextAt(b, from)
	classes := len(n.runes)
	var few [2][8]uint64
	now, next := few[0][:], few[1][:]
	if n.words > len(now) {
		now, next = make([]uint64, n.words), make([]uint64, n.words)
	}
	now, next = now[:n.words], next[:n.words]
	for i := from; i <= to; {
		class, size := n.classAt(b, i)
		f := n.steps[int(context)*classes+class]
		if f.empty {
			return i, true
		}
		carry, live := uint64(0), uint64(0)
		for w, set := range now {
			if set&f.match[w] != 0 {
				return i, true
			}
			moved := set & f.shift[w]
			next[w] = moved<<1 | carry | f.start[w]
			carry = moved >> 63
			live |= set
		}
		if live != 0 {
			for g := range f.groups {
				group := &f.groups[g]
				for _, from := range group.from {
					if now[from.at]&from.bits != 0 {
						for _, to := range group.to {
							next[to.at] |= to.bits
						}
						break
					}
				}
			}
		}
		accept := n.accept[class*n.words:][:n.words]
		live = 0
		for w := range next {
			next[w] &= accept[w]
			live |= next[w]
		}
		if live == 0 && n.anchored {
			return 0, false
		}
		now, next = next, now
		context = n.after[class]
		i += size
	}
	return 0, false
}

// contextAt returns the context of what follows the first bytes of b. Runes
// beyond ASCII make none.
func (p *program) contextAt(b []byte, at int) uint8 {
	if at == 0 {
		return atBegin
	}
	return p.after(rune(b[at-1]))
}

// classAt returns the class of the rune at a place and its length in bytes; at
// the end that of endOfText.
func (p *program) classAt(b []byte, at int) (class, size int) {
	switch {
	case at >= len(b):
		return len(p.runes) - 1, 1
	case b[at] < utf8.RuneSelf:
		return int(p.ascii[b[at]]), 1
	}
	r, size := utf8.DecodeRune(b[at:])
	return int(p.class(r)), size
}

// runeStart returns the nearest place at or before one where a rune begins, as
// decoding from the begin of b finds them. That is no more than three bytes away.
func runeStart(b []byte, at int) int {
	if at >= len(b) {
		return len(b)
	}
	for k := range min(utf8.UTFMax, at+1) {
		if utf8.RuneStart(b[at-k]) {
			if _, size := utf8.DecodeRune(b[at-k:]); size > k {
				return at - k
			}
			return at // it ended before: each byte behind is a rune by itself
		}
	}
	return at
}

const (
	// nfaLimit is the weight beyond which an expression is decided without bits:
	// where every position has others behind it than the one before.
	nfaLimit = 4096
	// instWeight is what an instruction of such a one may cost at a byte.
	instWeight = 8
	// stepWeight is what a step costs without its words.
	stepWeight = 4
)

// weight says what an expression costs.
type weight struct {
	perByte int64 // units of work, at most, to decide a byte of text
	insts   int64 // about how many instructions it compiles to
	bits    bool  // an nfa is fit for it
}

// weigh bounds what a simplified expression costs by its form alone.
func weigh(tree *syntax.Regexp) weight {
	w := weigher{}
	w.add(tree, false)
	words := w.positions/64 + 1
	out := weight{perByte: stepWeight + 2*words + w.branches*min(2*words, 6), insts: w.positions + 2*w.branches + w.chained + 8, bits: true}
	if out.perByte > nfaLimit {
		out.perByte, out.bits = instWeight*out.insts, false
	}
	return out
}

type weigher struct {
	positions int64
	branches  int64 // nodes behind whose parts there is more than one way to go on
	chained   int64 // nested repeats x(x(x)?)?, whose parts go on in the same way
}

func (w *weigher) add(re *syntax.Regexp, chain bool) {
	switch re.Op {
	case syntax.OpLiteral:
		w.positions += int64(len(re.Rune))
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		w.positions++
	case syntax.OpStar, syntax.OpPlus:
		w.branches++
	case syntax.OpQuest:
		if chain {
			w.chained++
		} else {
			w.branches++
		}
	case syntax.OpAlternate:
		w.branches += 2
	case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		w.branches++
	}
	for i, sub := range re.Sub {
		// The last part of an optional sequence, if it is optional itself.
		last := i == len(re.Sub)-1 && (re.Op == syntax.OpQuest || re.Op == syntax.OpConcat && chain)
		w.add(sub, last)
	}
}
