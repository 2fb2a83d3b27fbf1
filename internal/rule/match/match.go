package match

import (
	"slices"
	"sync"
	"sync/atomic"
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

	// short is how long a line may be, in bytes, whose work isn't bounded.
	// Longer ones are for steady, and may cost work.
	short  int
	work   int64
	steady lazyMatcher

	budget *atomic.Int64 // bytes left for automata's states
	pool   sync.Pool     // of *Scratch
	meter  meter
}

// lazyMatcher has a Matcher's patterns by a plan that depends on them alone, so that
// what a line costs, and is given up for it, is the same with any Stats.
type lazyMatcher struct {
	once    sync.Once
	matcher *Matcher
}

// rule is a pattern and how it is decided.
type rule struct {
	// What a literal of it in a line needs comes first, in one line of the cache.
	exact   bool    // where one of its literals stands, it matches
	before  int     // bytes of a match before its literal, at most
	after   int     // and behind
	longest int     // bytes of a literal
	extras  []extra // a match has a literal of each

	*Pattern
	dfa lazyDFA
}

// extra is a further set of literals.
type extra struct {
	set    uint32 // index in Matcher.extras
	before int32  // bytes of a match before the literal, at most
	after  int32  // and behind
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

// Mask says which of a Matcher's patterns are of interest; nil means all.
type Mask []uint64

// NewMask returns an empty Mask of n patterns.
func NewMask(n int) Mask { return make(Mask, (n+63)/64) }

// Add puts a pattern in.
func (s Mask) Add(i int) { s[i/64] |= 1 << (i % 64) }

// Has reports whether a pattern is in it.
func (s Mask) Has(i int) bool { return s == nil || s[i/64]>>(i%64)&1 != 0 }

// Scratch is what matching a line needs besides the Matcher. One goroutine uses it
// at a time.
type Scratch struct {
	m    *Matcher
	long *Scratch // of m.steady; nil until it is needed
	line []byte
	in   Mask
	hits []uint32
	// left is the work that may yet be done for the line, of allowed; givenUp
	// has the patterns for which it wasn't enough.
	left, allowed int64
	givenUp       []uint32

	// round numbers the lines. What was noted in an earlier round is void.
	round   uint32
	marks   []uint32 // by pattern: round<<markBits | how often it was tried
	done    []uint32 // by literal of the filter: round, if all its patterns are decided
	extras  []uint32 // by set: round<<1 | whether it was found
	windows []window // by pattern, where that is waiting
	waiting []uint32 // patterns with a window, or that had one
	pad     [minScan]byte
	effort  effort
	profile profile
}

// window is a part of a line.
type window struct{ from, to int }

const (
	markBits = 4
	decided  = 1<<markBits - 1
	waiting  = decided - 1
	// maxTries is at how many places of a line a pattern is tried at once,
	// each by itself.
	maxTries  = 8
	maxRounds = 1 << (32 - markBits)
)

func (m *Matcher) newScratch() *Scratch {
	return &Scratch{
		m: m, marks: make([]uint32, len(m.rules)), windows: make([]window, len(m.rules)),
		done: make([]uint32, len(m.byKey)), extras: make([]uint32, len(m.extras)),
	}
}

// Len returns the number of patterns.
func (m *Matcher) Len() int { return len(m.rules) }

// Match appends the numbers of the patterns in the mask that match a line, in
// order.
func (m *Matcher) Match(line []byte, in Mask, dst []uint32) []uint32 {
	s := m.Acquire()
	dst = append(dst, s.Match(line, in)...)
	s.Release()
	return dst
}

// Acquire returns a Scratch, for many lines. It is to be released.
func (m *Matcher) Acquire() *Scratch { return m.pool.Get().(*Scratch) }

// Match returns the numbers of the patterns in the mask that match a line, in
// order. They are valid until the next call. What was given up is in none.
func (s *Scratch) Match(line []byte, in Mask) []uint32 {
	if len(line) <= s.m.short {
		s.m.match(s, line, in, unlimited)
		return s.hits
	}
	if s.long == nil {
		s.long = s.m.forLong().newScratch()
	}
	s.long.m.match(s.long, line, in, s.m.work)
	s.hits = append(s.hits[:0], s.long.hits...)
	s.givenUp = append(s.givenUp[:0], s.long.givenUp...)
	s.allowed, s.left = s.long.allowed, s.long.left
	s.profile, s.long.profile = s.long.profile, s.profile
	return s.hits
}

// GivenUp returns the numbers of the patterns of which the latest call of Match
// didn't find out whether they match, because that takes too much work. They
// depend on the line and on the patterns alone. They are valid until the next
// call.
func (s *Scratch) GivenUp() []uint32 { return s.givenUp }

// Work returns how many units of work the latest call of Match took, counted as
// if no automaton had ever made a state.
func (s *Scratch) Work() int64 { return s.allowed - s.left }

// Release gives a Scratch back.
func (s *Scratch) Release() {
	s.line, s.in = nil, nil
	if s.long != nil {
		s.long.line, s.long.in = nil, nil
	}
	s.m.meter.add(&s.effort)
	s.m.pool.Put(s)
}

// match leaves the numbers of the patterns that match in s.hits.
func (m *Matcher) match(s *Scratch, line []byte, in Mask, work int64) {
	if s.round++; s.round == maxRounds {
		clear(s.marks)
		clear(s.done)
		clear(s.extras)
		s.round = 1
	}
	s.line, s.in, s.hits = line, in, s.hits[:0]
	s.left, s.allowed, s.givenUp = work, work, s.givenUp[:0]
	s.effort.lines++
	s.profile.begin(s.round)
	if m.filter != nil {
		high := m.filter.scan(s)
		if len(s.waiting) > 0 {
			s.decideWaiting()
		}
		if len(m.folding) > 0 && high&highBits != 0 {
			s.fold()
		}
	}
	for _, u := range m.unions {
		s.union(u)
	}
	for _, r := range m.always {
		if s.in.Has(int(r)) {
			s.hits = append(s.hits, r)
		}
	}
	if len(s.hits) > 1 {
		slices.Sort(s.hits)
	}
	s.profile.end()
}

const highBits = 0x8080808080808080

// forLong returns the Matcher for lines that may take too much work.
func (m *Matcher) forLong() *Matcher {
	m.steady.once.Do(func() {
		if m.steady.matcher != nil {
			return
		}
		patterns := make([]*Pattern, len(m.rules))
		for i := range m.rules {
			patterns[i] = m.rules[i].Pattern
		}
		m.steady.matcher = buildWith(patterns, nil, m.budget)
	})
	return m.steady.matcher
}

// automaton returns the pattern's automaton; nil if there can't be one.
func (r *rule) automaton(m *Matcher) *dfa {
	r.dfa.once.Do(func() {
		if p := r.compiled().program; p != nil {
			r.dfa.dfa = newDFA(p, ruleCache, m.budget)
		}
	})
	return r.dfa.dfa
}

func (u *union) automaton(m *Matcher) *dfa {
	u.dfa.once.Do(func() {
		patterns := make([]*Pattern, len(u.members))
		for i, id := range u.members {
			patterns[i] = m.rules[id].Pattern
		}
		if p := programOf(patterns...); p != nil {
			u.dfa.dfa = newDFA(p, unionCache, m.budget)
		}
	})
	return u.dfa.dfa
}
