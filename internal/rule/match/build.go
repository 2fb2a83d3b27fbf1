package match

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
)

const (
	// unionSize is how many expressions without a literal share an automaton.
	unionSize = 64
	// maxKeys bounds the literals by which an expression is found.
	maxKeys = 256
	// maxExtras and maxExtraLits bound what else is looked for.
	maxExtras    = 3
	maxExtraLits = 8
	// tooOften is how often per byte an expression's literals may occur: in
	// every second or third line. Beyond that a shared automaton is no dearer.
	tooOften = 1.0 / 400
	// narrow is the width of a part of a line, in bytes, that is decided at
	// each occurrence of a literal.
	narrow = 256

	ruleCache  = 512 << 10 // bytes of states of an expression's automaton
	unionCache = 4 << 20   // and of a shared one
	allCaches  = 24 << 20  // of all of a Matcher's
)

// Build makes a Matcher. The patterns' order is that of their numbers.
func Build(patterns []*Pattern, stats *Stats) *Matcher {
	budget := new(atomic.Int64)
	budget.Store(allCaches)
	return buildWith(patterns, stats, budget)
}

func buildWith(patterns []*Pattern, stats *Stats, budget *atomic.Int64) *Matcher {
	m := &Matcher{rules: make([]rule, len(patterns)), work: lineWork, budget: budget}
	m.pool.New = func() any { return m.newScratch() }
	if stats == nil {
		stats = fixed()
		m.steady.matcher = m
	}

	c := chooser{stats: stats, stride: narrowest, costs: map[string]float64{}, shared: map[literal]int{}}
	if len(patterns) <= few {
		c.stride = 4
	}
	total := int64(0)
	for i, p := range patterns {
		m.rules[i].Pattern = p
		total += p.weight.perByte
		c.share(p.facts)
	}
	m.short = int(shortWork / max(total, 1))
	var loose []uint32 // patterns without a usable literal
	b := builder{Matcher: m, lits: map[literal]uint32{}, extras: map[string]uint32{}}
	for i, p := range patterns {
		switch {
		case b.add(uint32(i), p.facts, &c):
		case p.always():
			m.always = append(m.always, uint32(i))
		default:
			loose = append(loose, uint32(i))
		}
	}
	for members := range slices.Chunk(loose, unionSize) {
		m.unions = append(m.unions, &union{members: members})
	}
	if len(b.keys) > 0 {
		m.filter = newFilter(b.keys, stats)
		m.calibrate(stats.sample)
	}
	return m
}

// builder adds patterns to a Matcher.
type builder struct {
	*Matcher
	keys   []literal
	lits   map[literal]uint32 // index in keys
	extras map[string]uint32  // index in Matcher.extras
	wild   int                // grams with a byte that may be anything, at the narrowest stride
}

// add makes a pattern one that is found by its literals; false if it has none
// that are of use.
func (b *builder) add(id uint32, f facts, c *chooser) bool {
	sets := slices.Clone(f.all())
	slices.SortStableFunc(sets, func(x, y set) int { return cmp.Compare(c.cost(x), c.cost(y)) })
	if len(sets) == 0 || shortest(sets[0].lits) < minLiteral {
		return false
	}
	key := minimal(sets[0])
	if len(key.lits) > maxKeys || c.rate(key) > tooOften {
		return false
	}
	wild := b.wild
	for _, l := range key.lits {
		if _, ok := b.lits[l]; !ok {
			n, _ := wildGrams(len(l.text), narrowest)
			wild += n
		}
	}
	if wild > maxWild {
		return false // the filter has as many short literals as it can take
	}
	b.wild = wild
	r := &b.rules[id]
	r.exact = f.exact != nil && f.pure
	r.before, r.after = key.before, key.after
	for _, l := range key.lits {
		i, ok := b.lits[l]
		if !ok {
			i = uint32(len(b.keys))
			b.lits[l] = i
			b.keys = append(b.keys, l)
			b.byKey = append(b.byKey, nil)
		}
		b.byKey[i] = append(b.byKey[i], id)
		r.longest = max(r.longest, len(l.text))
	}
	if foldsBeyond(key.lits) {
		b.folding = append(b.folding, id)
	}
	for _, s := range sets[1:] {
		if len(r.extras) == maxExtras {
			break
		}
		if len(s.lits) <= maxExtraLits && shortest(s.lits) >= minLiteral && !foldsBeyond(s.lits) {
			r.extras = append(r.extras, extra{b.extra(s.lits, c.stats), int32(s.before), int32(s.after)})
		}
	}
	return true
}

// extra returns the index of a set of literals to look for.
func (b *builder) extra(lits []literal, stats *Stats) uint32 {
	name := fmt.Sprintf("%v", lits)
	i, ok := b.extras[name]
	if !ok {
		i = uint32(len(b.Matcher.extras))
		b.extras[name] = i
		var all []needle
		for _, l := range lits {
			all = append(all, needles(l, stats)...)
		}
		b.Matcher.extras = append(b.Matcher.extras, all)
	}
	return i
}

// chooser knows what it costs to be called for a literal.
type chooser struct {
	stats  *Stats
	stride int // that the filter will probably have
	costs  map[string]float64
	shared map[literal]int // expressions that have it in a set
}

// What happens at a literal's places, in nanoseconds: that one of its grams
// passes the filter, that it is there itself, and that each further expression
// with it is tried, if lines come that are full of it.
const (
	gramCost  = 25
	foundCost = 120
	floodCost = 2e-5
	// falseRate is at which share of all places a single gram passes where it
	// isn't.
	falseRate = 1.0 / (1 << hintBits)
	// few patterns have so few grams that the wider stride pays.
	few = 2000
)

// cost is what a set costs per byte of text.
func (c *chooser) cost(s set) float64 {
	total := 0.0
	for _, l := range s.lits {
		if len(l.text) < minLiteral {
			return math.MaxFloat64
		}
		total += c.literal(l.text) + floodCost*float64(max(0, c.shared[l]-1))
	}
	return total
}

func (c *chooser) literal(text string) float64 {
	if cost, ok := c.costs[text]; ok {
		return cost
	}
	cost := foundCost * c.stats.rate(text)
	for rest := range c.stride {
		p, rate, ok := placeGram(text, rest, c.stride, c.stats)
		switch {
		case !ok, p.wild >= 0:
			rate += foldedBytes * falseRate
		case !p.pair:
			rate += falseRate
		}
		cost += gramCost * rate / float64(c.stride)
	}
	cost += 1e-6 * (1 + 40/float64(len(text)))
	c.costs[text] = cost
	return cost
}

func (c *chooser) rate(s set) float64 {
	total := 0.0
	for _, l := range s.lits {
		total += c.stats.rate(l.text)
	}
	return total
}

// share counts an expression's literals.
func (c *chooser) share(f facts) {
	seen := map[literal]bool{}
	for _, s := range f.all() {
		for _, l := range s.lits {
			if !seen[l] {
				seen[l] = true
				c.shared[l]++
			}
		}
	}
}
