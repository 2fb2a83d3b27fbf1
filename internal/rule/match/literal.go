package match

import (
	"math"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// literal is a string that a match contains. With fold its ASCII letters may be
// of either case there; text has them in lower case then.
type literal struct {
	text string
	fold bool
}

// set is an alternative of literals: every match contains one of them.
type set struct {
	lits   []literal
	before int // bytes of a match before the literal, at most
	after  int // and behind it
}

// facts is what can be said about all matches of an expression.
type facts struct {
	// exact, if not nil, has every string that matches. With pure, each of
	// them is a match wherever it stands; without, there may be more to it,
	// such as an anchor.
	exact []literal
	pure  bool
	sets  []set // if exact is nil: a match has a literal of each
	max   int   // length of a match in bytes, at most
}

const (
	unbounded = math.MaxInt32 // bytes, where there is no bound
	// Bounds of what is multiplied out: strings of an expression, more of them
	// while they are short, runes of a class, branches of an alternative.
	maxStrings      = 16
	maxShortStrings = 32
	maxClass        = 12
	maxBranches     = 256
	longEnough      = 7 // bytes from which a string is not multiplied further
)

// sum adds lengths, of which any may be unbounded.
func sum(a, b int) int { return min(a+b, unbounded) }

// analyze derives facts about a simplified expression. Where it has a choice of
// sets that it can't leave open, it takes the one that is rarest in common lines.
func analyze(re *syntax.Regexp) facts {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return facts{exact: []literal{{}}, pure: true}
	case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return facts{exact: []literal{{}}}
	case syntax.OpLiteral:
		return analyzeLiteral(re)
	case syntax.OpCharClass:
		return analyzeClass(re.Rune)
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return facts{max: utf8.UTFMax}
	case syntax.OpCapture:
		return analyze(re.Sub[0])
	case syntax.OpQuest:
		f := analyze(re.Sub[0])
		if f.exact == nil {
			return facts{max: f.max}
		}
		f.exact = distinct(append([]literal{{}}, f.exact...))
		return f
	case syntax.OpPlus:
		f := analyze(re.Sub[0])
		if f.exact != nil {
			f.sets = []set{{lits: f.exact}}
		}
		for i := range f.sets {
			f.sets[i].before, f.sets[i].after = unbounded, unbounded
		}
		return facts{sets: f.sets, max: unbounded}
	case syntax.OpConcat:
		var parts []facts
		var add func(subs []*syntax.Regexp)
		add = func(subs []*syntax.Regexp) {
			for _, sub := range subs {
				if sub.Op == syntax.OpConcat { // of what was a repeat
					add(sub.Sub)
				} else {
					parts = append(parts, analyze(sub))
				}
			}
		}
		add(re.Sub)
		return concat(parts)
	case syntax.OpAlternate:
		branches := make([]facts, len(re.Sub))
		for i, sub := range re.Sub {
			branches[i] = analyze(sub)
		}
		return alternate(branches)
	}
	return facts{max: unbounded} // OpStar, OpNoMatch
}

// analyzeLiteral breaks a literal where a rune stands for more than its own
// bytes: U+FFFD matches any invalid byte, and a rune beyond ASCII may fold.
func analyzeLiteral(re *syntax.Regexp) facts {
	fold := re.Flags&syntax.FoldCase != 0
	var parts []facts
	var text []byte
	flush := func() {
		if len(text) == 0 {
			return
		}
		l := literal{text: string(text)}
		if fold && hasLetter(l.text) {
			l = literal{lower(l.text), true}
		}
		longest := 0
		for _, r := range l.text { // k and s may be one of two longer runes
			longest += utf8.RuneLen(r)
			switch {
			case l.fold && r == 'k':
				longest += utf8.RuneLen(kelvin) - 1
			case l.fold && r == 's':
				longest += utf8.RuneLen(longS) - 1
			}
		}
		parts = append(parts, facts{exact: []literal{l}, pure: true, max: longest})
		text = text[:0]
	}
	for _, r := range re.Rune {
		if r == utf8.RuneError || !utf8.ValidRune(r) || fold && r >= utf8.RuneSelf && unicode.SimpleFold(r) != r {
			flush()
			parts = append(parts, facts{max: utf8.UTFMax})
			continue
		}
		text = utf8.AppendRune(text, r)
	}
	flush()
	return concat(parts)
}

// What (?i) takes for k and s besides their other cases.
const (
	kelvin = '\u212a'
	longS  = '\u017f'
)

func analyzeClass(ranges []rune) facts {
	n := 0
	for i := 0; i < len(ranges); i += 2 {
		if n += int(ranges[i+1]-ranges[i]) + 1; n > maxClass {
			break
		}
	}
	if n == 0 || n > maxClass {
		return facts{max: utf8.UTFMax}
	}
	in := map[rune]bool{}
	for i := 0; i < len(ranges); i += 2 {
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			in[r] = true
		}
	}
	if in[utf8.RuneError] {
		return facts{max: utf8.UTFMax}
	}
	f := facts{pure: true}
	for i := 0; i < len(ranges); i += 2 {
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			f.max = max(f.max, utf8.RuneLen(r))
			switch {
			case isLetter(r) && in[r|0x20] && in[r&^0x20]:
				if r == r|0x20 {
					f.exact = append(f.exact, literal{string(r), true})
				}
			case r >= 0xd800 && r < 0xe000: // no text decodes to a surrogate
			default:
				f.exact = append(f.exact, literal{string(r), false})
			}
		}
	}
	if f.exact == nil {
		return facts{max: utf8.UTFMax}
	}
	return f
}

// concat joins facts about what follows each other.
func concat(parts []facts) facts {
	before := make([]int, len(parts)+1) // bytes of parts[:i], at most
	for i, p := range parts {
		before[i+1] = sum(before[i], p.max)
	}
	behind := make([]int, len(parts)+1) // bytes of parts[i:], at most
	for i := len(parts) - 1; i >= 0; i-- {
		behind[i] = sum(behind[i+1], parts[i].max)
	}
	var sets, others []set // others: what was multiplied further
	whole, pure := true, true
	strings, from := []literal{{}}, 0 // of parts[from:i]
	flush := func(to int) {
		whole = false
		if shortest(strings) > 0 {
			sets = append(sets, set{strings, before[from], behind[to]})
		}
		strings, from = []literal{{}}, to
	}
	for i, p := range parts {
		if p.exact == nil {
			flush(i)
			from = i + 1
			for _, s := range p.sets {
				sets = append(sets, set{s.lits, sum(before[i], s.before), sum(s.after, behind[i+1])})
			}
			continue
		}
		pure = pure && p.pure
		n := len(strings) * len(p.exact)
		if n > maxStrings && (n > maxShortStrings || shortest(strings) >= 3 || shortest(p.exact) == 0) ||
			len(p.exact) >= 4 && shortest(strings) >= longEnough {
			flush(i)
			strings = p.exact
			continue
		}
		if len(p.exact) > 1 && shortest(strings) >= minLiteral {
			others = append(others, set{strings, before[from], behind[i]})
		}
		product := make([]literal, 0, n)
		for _, a := range strings {
			for _, b := range p.exact {
				l, same := join(a, b)
				pure = pure && same
				product = append(product, l)
			}
		}
		strings = distinct(product)
	}
	if whole {
		return facts{exact: strings, pure: pure, max: before[len(parts)]}
	}
	flush(len(parts))
	return facts{sets: append(sets, others...), max: before[len(parts)]}
}

// join appends b to a. If one of them folds, the whole does; it is the same
// only if that makes no difference.
func join(a, b literal) (l literal, same bool) {
	switch {
	case a.text == "":
		return b, true
	case b.text == "":
		return a, true
	case a.fold == b.fold:
		return literal{a.text + b.text, a.fold}, true
	}
	strict := a.text
	if a.fold {
		strict = b.text
	}
	return literal{lower(a.text + b.text), true}, !hasLetter(strict)
}

func alternate(branches []facts) facts {
	all := facts{pure: true}
	n := 0
	for _, b := range branches {
		all.max = max(all.max, b.max)
		all.pure = all.pure && b.pure && b.exact != nil
		n += len(b.exact)
		if b.exact == nil {
			n = math.MaxInt32
		}
	}
	if n <= maxBranches {
		for _, b := range branches {
			all.exact = append(all.exact, b.exact...)
		}
		all.exact = distinct(all.exact)
		return all
	}
	var any set
	for _, b := range branches {
		best, ok := rarest(b.all())
		if !ok {
			return facts{max: all.max}
		}
		any.lits = append(any.lits, best.lits...)
		any.before, any.after = max(any.before, best.before), max(any.after, best.after)
	}
	any.lits = distinct(any.lits)
	return facts{sets: []set{any}, max: all.max}
}

// all returns the sets of which a match has a literal each.
func (f facts) all() []set {
	if f.exact != nil {
		return []set{{lits: f.exact}}
	}
	return f.sets
}

// rarest returns the set whose literals are rarest in common lines, of those
// without an empty string.
func rarest(sets []set) (best set, ok bool) {
	least := math.Inf(1)
	for _, s := range sets {
		if shortest(s.lits) == 0 {
			continue
		}
		if c := commonness(s); c < least {
			least, best, ok = c, s, true
		}
	}
	return best, ok
}

// commonness is how often a set's literals occur in common lines. It is no matter
// of Stats: what is known of an expression holds for all Matchers.
func commonness(s set) float64 {
	total := 0.0
	for _, l := range s.lits {
		total += fixed().rate(l.text)
	}
	return total
}

// minimal leaves out the literals that contain another one of the set, and
// allows for what a match may then have more on either side.
func minimal(s set) set {
	longest := 0
	for _, l := range s.lits {
		longest = max(longest, len(l.text))
	}
	lits := slices.Clone(s.lits)
	slices.SortStableFunc(lits, func(a, b literal) int { return len(a.text) - len(b.text) })
	var out []literal
	for _, l := range lits {
		if !slices.ContainsFunc(out, func(o literal) bool { return implies(l, o) }) {
			out = append(out, l)
		}
	}
	if len(out) < len(lits) {
		s.before, s.after = sum(s.before, longest), sum(s.after, longest)
	}
	s.lits = out
	return s
}

// implies reports whether each occurrence of l holds one of o.
func implies(l, o literal) bool {
	if o.fold {
		return strings.Contains(lower(l.text), o.text)
	}
	return !l.fold && strings.Contains(l.text, o.text)
}

func distinct(lits []literal) []literal {
	if len(lits) < 2 {
		return lits
	}
	seen := make(map[literal]bool, len(lits))
	return slices.DeleteFunc(lits, func(l literal) bool {
		was := seen[l]
		seen[l] = true
		return was
	})
}

func shortest(lits []literal) int {
	n := math.MaxInt
	for _, l := range lits {
		n = min(n, len(l.text))
	}
	return n
}

// foldsBeyond reports whether a text may match one of the literals in which it
// isn't found: (?i) takes two runes beyond ASCII for k and s.
func foldsBeyond(lits []literal) bool {
	return slices.ContainsFunc(lits, func(l literal) bool { return l.fold && strings.ContainsAny(l.text, "ks") })
}

func isLetter(r rune) bool { return 'a' <= r|0x20 && r|0x20 <= 'z' }

func hasLetter(s string) bool { return strings.ContainsFunc(s, isLetter) }

// lower maps ASCII letters alone.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		b[i] = lowerByte(c)
	}
	return string(b)
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c |= 0x20
	}
	return c
}
