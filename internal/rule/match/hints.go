package match

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
)

const (
	// hashes is how many hashes are tried, each over hashSample bytes at most.
	hashes     = 8
	hashSample = 64 << 10
)

// makeHints makes the hints for the grams in the tables. What a sample of the
// lines has decides how many places pass in vain, not which literals are found.
func (f *filter) makeHints(sample []byte) {
	f.mul = f.chooseHash(sample[:min(len(sample), hashSample)])
	f.hintSingles()
	f.hintPairs(sample)
}

// chooseHash returns the hash by which the fewest grams of a text meet a single
// one: one that is in every line must not.
func (f *filter) chooseHash(text []byte) uint32 {
	mul := uint32(mix32)
	best, least := mul, math.MaxInt
	for range hashes {
		f.mul = mul
		f.hintSingles()
		n := 0
		for i := 0; i+4 <= len(text); i++ {
			n += int(f.hintAt(text, i) & single)
		}
		if n < least {
			best, least = mul, n
		}
		mul = mul*mix32 + 2
	}
	return best
}

// hintSingles makes the hints of the single grams, and no others.
func (f *filter) hintSingles() {
	for i := range f.hints {
		f.hints[i] = single << 8 // what comes next doesn't matter there
	}
	for _, s := range f.singles.slots {
		if s.n > 0 {
			f.hints[f.hash(s.key)] |= single
		}
	}
}

// head is the grams with one hash that are the first of a pair.
type head struct {
	hash  uint32
	nexts []uint32          // hashes of the next four bytes
	vain  map[uint32]uint32 // how often others follow in a sample, by hash
	total uint32
}

// hintPairs gives each first gram a bucket and makes the pairs' hints. Where a
// sample has the first gram of one pair before the next four bytes of another,
// that place passes in vain if the two are in one bucket, so they are put in
// different ones, those that meet most often first.
func (f *filter) hintPairs(sample []byte) {
	const all = 1 << hintBits
	heads, isNext := make([]*head, all), make([]bool, all)
	var order []*head
	for _, s := range f.pairs.slots {
		if s.n > 0 {
			first, next := f.hash(uint32(s.key)), f.hash(uint32(s.key>>32))
			h := heads[first]
			if h == nil {
				h = &head{hash: first, vain: map[uint32]uint32{}}
				heads[first] = h
				order = append(order, h)
			}
			h.nexts = append(h.nexts, next)
			isNext[next] = true
		}
	}
	for i := 0; i+8 <= len(sample); i++ {
		w := binary.LittleEndian.Uint64(sample[i:]) | fold64
		if h := heads[f.hash(uint32(w))]; h != nil {
			if next := f.hash(uint32(w >> 32)); isNext[next] && len(f.pairs.get(w)) == 0 {
				h.vain[next]++
				h.total++
			}
		}
	}
	slices.SortFunc(order, func(a, b *head) int {
		return cmp.Or(cmp.Compare(b.total, a.total), cmp.Compare(a.hash, b.hash))
	})
	vain := map[uint32]*[pairBuckets]uint32{} // of the heads placed, by next and bucket
	var placed [pairBuckets]uint64
	for _, h := range order {
		best, least := 0, uint64(math.MaxUint64)
		for bucket := range pairBuckets {
			cost := uint64(0)
			for next, n := range h.vain {
				if f.hints[next]>>8>>bucket&1 != 0 {
					cost += uint64(n)
				}
			}
			for _, next := range h.nexts {
				if v := vain[next]; v != nil && f.hints[next]>>8>>bucket&1 == 0 {
					cost += uint64(v[bucket])
				}
			}
			// Of equal ones, that which has the fewest.
			if cost = cost<<hintBits + placed[bucket]; cost < least {
				best, least = bucket, cost
			}
		}
		placed[best]++
		f.hints[h.hash] |= 1 << best
		for _, next := range h.nexts {
			f.hints[next] |= 1 << best << 8
		}
		for next, n := range h.vain {
			if vain[next] == nil {
				vain[next] = new([pairBuckets]uint32)
			}
			vain[next][best] += n
		}
	}
}
