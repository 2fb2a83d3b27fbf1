package match

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"sort"
	"unicode"
)

// program is up to 64 expressions as one nondeterministic automaton over
// classes of runes: two runes are of the same class if no instruction tells
// them apart.
type program struct {
	insts    []syntax.Inst
	member   []uint8 // which expression an instruction is of
	starts   []uint32
	anchored bool // a match begins where the text does
	words    bool // there is a \b or \B
	lines    bool // there is a ^ or $ of (?m)

	ascii   [128]uint16 // classes of these runes
	bounds  []rune      // where an interval of runes begins, in order
	classes []uint16    // of the intervals
	runes   []rune      // one of each class; the last one is endOfText
}

const endOfText rune = -1

// What a rune's predecessor was, as far as it matters.
const (
	atBegin = 1 << iota // there is none
	afterWord
	afterNewline
	contexts = 1 << iota
)

// newProgram compiles simplified expressions.
func newProgram(trees []*syntax.Regexp) (*program, error) {
	p := &program{anchored: true}
	for i, tree := range trees {
		prog, err := syntax.Compile(tree)
		if err != nil {
			return nil, err
		}
		base := uint32(len(p.insts))
		for _, in := range prog.Inst {
			in.Out += base
			switch in.Op {
			case syntax.InstAlt, syntax.InstAltMatch:
				in.Arg += base
			case syntax.InstEmptyWidth:
				op := syntax.EmptyOp(in.Arg)
				p.words = p.words || op&(syntax.EmptyWordBoundary|syntax.EmptyNoWordBoundary) != 0
				p.lines = p.lines || op&(syntax.EmptyBeginLine|syntax.EmptyEndLine) != 0
			}
			p.insts = append(p.insts, in)
			p.member = append(p.member, uint8(i))
		}
		p.starts = append(p.starts, base+uint32(prog.Start))
		p.anchored = p.anchored && prog.StartCond()&syntax.EmptyBeginText != 0
	}
	p.classify()
	if len(p.runes) > 1<<16 {
		return nil, fmt.Errorf("match: %d classes of runes", len(p.runes))
	}
	return p, nil
}

// classify finds the classes.
func (p *program) classify() {
	p.bounds = []rune{0}
	add := func(lo, hi rune) { p.bounds = append(p.bounds, lo, hi+1) }
	if p.words {
		for _, r := range "09AZaz__" {
			p.bounds = append(p.bounds, r, r+1)
		}
	}
	add('\n', '\n')
	type predicate struct {
		op    syntax.InstOp
		fold  bool
		runes string
	}
	seen := map[predicate]bool{}
	var tests []*syntax.Inst // that differ
	for i := range p.insts {
		in := &p.insts[i]
		switch in.Op {
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
		default:
			continue
		}
		fold := syntax.Flags(in.Arg)&syntax.FoldCase != 0
		key := predicate{in.Op, fold, string(in.Rune)}
		if seen[key] {
			continue
		}
		seen[key] = true
		tests = append(tests, in)
		if len(in.Rune) == 1 {
			r := in.Rune[0]
			add(r, r)
			for f := unicode.SimpleFold(r); fold && f != r; f = unicode.SimpleFold(f) {
				add(f, f)
			}
			continue
		}
		for j := 0; j+1 < len(in.Rune); j += 2 {
			add(in.Rune[j], in.Rune[j+1])
		}
	}
	slices.Sort(p.bounds)
	p.bounds = slices.Compact(p.bounds)

	known := map[string]uint16{}
	p.classes = make([]uint16, len(p.bounds))
	answers := make([]byte, len(tests)+2)
	for i, r := range p.bounds {
		for j, in := range tests {
			answers[j] = 0
			if in.MatchRune(r) {
				answers[j] = 1
			}
		}
		answers[len(tests)] = p.after(r)
		class, ok := known[string(answers)]
		if !ok {
			class = uint16(len(p.runes))
			known[string(answers)] = class
			p.runes = append(p.runes, r)
		}
		p.classes[i] = class
	}
	for r := range p.ascii {
		p.ascii[r] = p.class(rune(r))
	}
	p.runes = append(p.runes, endOfText)
}

func (p *program) class(r rune) uint16 {
	return p.classes[sort.Search(len(p.bounds), func(i int) bool { return p.bounds[i] > r })-1]
}

// after returns the context of what follows a rune.
func (p *program) after(r rune) uint8 {
	switch {
	case p.words && syntax.IsWordChar(r):
		return afterWord
	case p.lines && r == '\n':
		return afterNewline
	}
	return 0
}

// assertions returns what holds between a context and the next rune.
func assertions(context uint8, next rune) syntax.EmptyOp {
	var op syntax.EmptyOp
	if context&atBegin != 0 {
		op |= syntax.EmptyBeginText | syntax.EmptyBeginLine
	}
	if context&afterNewline != 0 {
		op |= syntax.EmptyBeginLine
	}
	switch next {
	case endOfText:
		op |= syntax.EmptyEndText | syntax.EmptyEndLine
	case '\n':
		op |= syntax.EmptyEndLine
	}
	if (context&afterWord != 0) != (next != endOfText && syntax.IsWordChar(next)) {
		return op | syntax.EmptyWordBoundary
	}
	return op | syntax.EmptyNoWordBoundary
}

// walker steps a program. It belongs to one goroutine at a time.
type walker struct {
	*program
	marks []uint32 // instructions seen in this round
	round uint32
	stack []uint32
	next  []uint32
}

// step goes from instructions over a rune. It returns those that come next, in
// order and valid until the next call, and the members that match before it.
func (w *walker) step(from []uint32, context uint8, r rune) (next []uint32, matched uint64) {
	starts := w.starts
	if w.anchored && context&atBegin == 0 {
		starts = nil
	}
	return w.closure(from, starts, assertions(context, r), r)
}

// closure is step where just these assertions hold.
func (w *walker) closure(from, starts []uint32, holds syntax.EmptyOp, r rune) (next []uint32, matched uint64) {
	if w.marks == nil {
		w.marks = make([]uint32, len(w.insts))
	}
	if w.round++; w.round == 0 {
		clear(w.marks)
		w.round = 1
	}
	w.next = w.next[:0]
	w.stack = append(append(w.stack[:0], from...), starts...)
	for len(w.stack) > 0 {
		pc := w.stack[len(w.stack)-1]
		w.stack = w.stack[:len(w.stack)-1]
		if w.marks[pc] == w.round {
			continue
		}
		w.marks[pc] = w.round
		switch in := &w.insts[pc]; in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			w.stack = append(w.stack, in.Out, in.Arg)
		case syntax.InstCapture, syntax.InstNop:
			w.stack = append(w.stack, in.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(in.Arg)&^holds == 0 {
				w.stack = append(w.stack, in.Out)
			}
		case syntax.InstMatch:
			matched |= 1 << w.member[pc]
		case syntax.InstFail:
		default:
			if r != endOfText && in.MatchRune(r) {
				w.next = append(w.next, in.Out)
			}
		}
	}
	slices.Sort(w.next)
	w.next = slices.Compact(w.next)
	return w.next, matched
}

// run reports whether an expression matches in b between from and to. A rune must
// begin at from. It takes the most time of all ways to tell, and no memory.
func (w *walker) run(b []byte, from, to int) bool {
	context := w.contextAt(b, from)
	var at []uint32
	for i := from; i <= to; {
		class, size := w.classAt(b, i)
		r := w.runes[class]
		next, matched := w.step(at, context, r)
		if matched != 0 {
			return true
		}
		at, context = next, w.after(r)
		i += size
	}
	return false
}

// empty reports whether an expression matches the empty string where just these
// assertions hold.
func (w *walker) empty(holds syntax.EmptyOp) bool {
	_, matched := w.closure(nil, w.starts, holds, endOfText)
	return matched != 0
}
