package match

import (
	"bytes"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// Matcher is patterns that are matched together.
type Matcher struct {
	rules   []rule
	always  []uint32   // what matches every line
	filter  *filter    // nil if no pattern has a literal
	byKey   [][]uint32 // patterns by the filter's literals
	folding []uint32   // patterns that may match without: see foldsBeyond
	extras  [][]needle
	unions  []*union

	budget atomic.Int64 // bytes left for automata's states
	pool   sync.Pool    // of *Scratch
	meter  meter
}

// rule is a pattern and how it is decided.
type rule struct {
	pattern Pattern
	sure    bool     // where one of its literals stands, it matches
	before  int      // bytes of a match before its literal, at most
	after   int      // and behind
	longest int      // bytes of a literal
	extras  []uint32 // sets, by index in Matcher.extras, of which a match has a literal each

	dfa lazyDFA
	re  lazyRegexp
}

// union is patterns that share an automaton.
type union struct {
	members []uint32
	dfa     lazyDFA
}

type lazyDFA struct {
	once sync.Once
	dfa  *dfa // nil if it can't be had
}

type lazyRegexp struct {
	once sync.Once
	re   *regexp.Regexp
}

// Subset says which of a Matcher's patterns are of interest; nil means all.
type Subset []uint64

// NewSubset returns an empty Subset of n patterns.
func NewSubset(n int) Subset { return make(Subset, (n+63)/64) }

// Add puts a pattern in.
func (s Subset) Add(i int) { s[i/64] |= 1 << (i % 64) }

// Has reports whether a pattern is in it.
func (s Subset) Has(i int) bool { return s == nil || s[i/64]>>(i%64)&1 != 0 }

// Scratch is what matching a line needs besides the Matcher. One goroutine uses it
// at a time.
type Scratch struct {
	m    *Matcher
	line []byte
	in   Subset
	hits []uint32

	// round numbers the lines. What was noted in an earlier round is void.
	round  uint32
	marks  []uint32 // by pattern: round<<markBits | how often it was tried
	extras []uint32 // by set: round<<1 | whether it was found
	pad    [minScan]byte
	effort effort
}

const (
	markBits = 4
	decided  = 1<<markBits - 1
	// maxTries is at how many places of a line a pattern is tried before the
	// whole line is.
	maxTries  = 8
	maxRounds = 1 << (32 - markBits)
)

func (m *Matcher) newScratch() *Scratch {
	return &Scratch{m: m, marks: make([]uint32, len(m.rules)), extras: make([]uint32, len(m.extras))}
}

// Len returns the number of patterns.
func (m *Matcher) Len() int { return len(m.rules) }

// Match appends the numbers of the patterns in the subset that match a line, in
// order.
func (m *Matcher) Match(line []byte, in Subset, dst []uint32) []uint32 {
	s := m.Acquire()
	dst = append(dst, s.Match(line, in)...)
	s.Release()
	return dst
}

// Acquire returns a Scratch, for many lines. It is to be released.
func (m *Matcher) Acquire() *Scratch { return m.pool.Get().(*Scratch) }

// Match returns the numbers of the patterns in the subset that match a line, in
// order. They are valid until the next call.
func (s *Scratch) Match(line []byte, in Subset) []uint32 {
	s.m.match(s, line, in)
	return s.hits
}

// Release gives a Scratch back.
func (s *Scratch) Release() {
	s.line, s.in = nil, nil
	s.m.meter.add(&s.effort)
	s.m.pool.Put(s)
}

// match leaves the numbers of the patterns that match in s.hits.
func (m *Matcher) match(s *Scratch, line []byte, in Subset) {
	if s.round++; s.round == maxRounds {
		clear(s.marks)
		clear(s.extras)
		s.round = 1
	}
	s.line, s.in, s.hits = line, in, s.hits[:0]
	s.effort.lines++
	if m.filter != nil {
		if high := m.filter.scan(s); len(m.folding) > 0 && high&highBits != 0 {
			s.fold()
		}
	}
	for _, u := range m.unions {
		s.union(u)
	}
	for _, r := range m.always {
		s.hit(r)
	}
	if len(s.hits) > 1 {
		slices.Sort(s.hits)
	}
}

const highBits = 0x8080808080808080

func (s *Scratch) hit(r uint32) {
	if s.in.Has(int(r)) {
		s.hits = append(s.hits, r)
	}
}

// found deals with a literal of the filter that stands in the line.
func (s *Scratch) found(lit uint32, at int) {
	for _, r := range s.m.byKey[lit] {
		s.candidate(r, at)
	}
}

// candidate decides a pattern of which a literal stands in the line, unless it
// is decided already.
func (s *Scratch) candidate(id uint32, at int) {
	mark := &s.marks[id]
	if *mark>>markBits != s.round {
		*mark = s.round << markBits
	}
	tries := *mark & decided
	if tries == decided {
		return
	}
	r := &s.m.rules[id]
	s.effort.work += tryWork
	switch {
	case !s.in.Has(int(id)):
	case r.sure:
		s.hits = append(s.hits, id)
	case r.before+r.after <= narrow && tries < maxTries:
		*mark++
		if !s.confirm(r, at-r.before, at+r.longest+r.after) {
			return
		}
		s.hits = append(s.hits, id)
	case !s.hasExtras(r):
	case r.before <= narrow && tries == 0:
		// All of the line from the leftmost place where a literal may yet be
		// found, whose match may have begun before it.
		if s.confirm(r, at-r.before-2*r.longest, len(s.line)) {
			s.hits = append(s.hits, id)
		}
	default:
		if s.confirm(r, 0, len(s.line)) {
			s.hits = append(s.hits, id)
		}
	}
	*mark |= decided
}

// confirm reports whether a pattern matches in the line, in which any match
// lies between from and to. It may find one that lies elsewhere.
func (s *Scratch) confirm(r *rule, from, to int) bool {
	s.effort.work += confirmWork
	from, to = max(from, 0), min(to, len(s.line))
	for from > 0 && s.line[from-1] >= utf8.RuneSelf {
		from-- // to where a rune begins for sure
	}
	if d := r.automaton(s.m); d != nil {
		if found, ok := d.run(s.line, from, to, 1); ok {
			return found != 0
		}
	}
	return r.regexp().Match(s.line)
}

// fold decides the patterns that may match without a literal of theirs, in a
// line that has bytes beyond ASCII.
func (s *Scratch) fold() {
	if !bytes.Contains(s.line, kelvinText) && !bytes.Contains(s.line, longSText) {
		return
	}
	for _, id := range s.m.folding {
		if s.in.Has(int(id)) && !slices.Contains(s.hits, id) && s.confirm(&s.m.rules[id], 0, len(s.line)) {
			s.hits = append(s.hits, id)
		}
	}
}

var (
	kelvinText = []byte(string(kelvin))
	longSText  = []byte(string(longS))
)

// union decides the patterns of a shared automaton.
func (s *Scratch) union(u *union) {
	want := uint64(0)
	for i, id := range u.members {
		if s.in.Has(int(id)) {
			want |= 1 << i
		}
	}
	if want == 0 {
		return
	}
	found, ok := uint64(0), false
	if d := u.automaton(s.m); d != nil {
		found, ok = d.run(s.line, 0, len(s.line), want)
	}
	for i, id := range u.members {
		switch {
		case want>>i&1 == 0:
		case ok && found>>i&1 != 0:
			s.hits = append(s.hits, id)
		case !ok && s.confirm(&s.m.rules[id], 0, len(s.line)):
			s.hits = append(s.hits, id)
		}
	}
}

// hasExtras reports whether the line has a literal of each of a pattern's
// further sets.
func (s *Scratch) hasExtras(r *rule) bool {
	for _, i := range r.extras {
		if s.extras[i]>>1 != s.round {
			s.extras[i] = s.round << 1
			for k := range s.m.extras[i] {
				if s.m.extras[i][k].in(s.line) {
					s.extras[i] |= 1
					break
				}
			}
		}
		if s.extras[i]&1 == 0 {
			return false
		}
	}
	return true
}

func (r *rule) tree() (*syntax.Regexp, error) {
	if r.pattern.Tree != nil {
		return r.pattern.Tree, nil
	}
	tree, err := syntax.Parse(r.pattern.Expr, syntax.Perl)
	if err != nil {
		return nil, err
	}
	return tree.Simplify(), nil
}

// regexp returns the pattern as package regexp has it.
func (r *rule) regexp() *regexp.Regexp {
	r.re.once.Do(func() {
		if r.pattern.Regexp != nil {
			r.re.re = r.pattern.Regexp()
		} else {
			r.re.re = regexp.MustCompile(r.pattern.Expr)
		}
	})
	return r.re.re
}

// automaton returns the pattern's automaton; nil if there can't be one.
func (r *rule) automaton(m *Matcher) *dfa {
	r.dfa.once.Do(func() { r.dfa.make(m, ruleCache, r) })
	return r.dfa.dfa
}

func (u *union) automaton(m *Matcher) *dfa {
	u.dfa.once.Do(func() {
		rules := make([]*rule, len(u.members))
		for i, id := range u.members {
			rules[i] = &m.rules[id]
		}
		u.dfa.make(m, unionCache, rules...)
	})
	return u.dfa.dfa
}

func (l *lazyDFA) make(m *Matcher, limit int64, rules ...*rule) {
	trees := make([]*syntax.Regexp, len(rules))
	for i, r := range rules {
		tree, err := r.tree()
		if err != nil {
			panic(fmt.Sprintf("match: %q no longer parses: %v", r.pattern.Expr, err))
		}
		trees[i] = tree
	}
	if p, err := newProgram(trees); err == nil {
		l.dfa = newDFA(p, limit, &m.budget)
	}
}

// needle is a literal to look for in a line.
type needle struct {
	literal
	at     int  // of the byte in it that is looked for first
	lo, up byte // the forms of that byte
}

func newNeedle(l literal, stats *Stats) needle {
	n := needle{literal: l}
	for i := range len(l.text) { // the rarest byte
		if stats.rate(l.text[i:i+1]) < stats.rate(l.text[n.at:n.at+1]) {
			n.at = i
		}
	}
	n.lo = l.text[n.at]
	n.up = n.lo
	if l.fold && 'a' <= n.lo && n.lo <= 'z' {
		n.up &^= 0x20
	}
	return n
}

// in reports whether b has the literal.
func (n *needle) in(b []byte) bool {
	return n.with(b, n.lo) || n.up != n.lo && n.with(b, n.up)
}

// with reports whether b has the literal with its byte at n.at being c.
func (n *needle) with(b []byte, c byte) bool {
	end := len(b) - len(n.text) + n.at + 1 // of where that byte may be
	for i := n.at; i < end; i++ {
		next := bytes.IndexByte(b[i:end], c)
		if next < 0 {
			return false
		}
		if i += next; n.standsAt(b, i-n.at) {
			return true
		}
	}
	return false
}
