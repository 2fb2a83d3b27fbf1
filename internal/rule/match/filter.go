package match

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
)

// filter finds where literals stand in a text. It looks at the text's grams, of
// four bytes each, folded, at every stride-th place only: of each literal it
// knows a gram for each way in which the literal may lie relative to those
// places. Where a short literal has none, a gram stands in that has one byte
// more at either end, with all that this byte may be.
type filter struct {
	stride int
	// bloom has two bits set, in one word, for each gram that is known. It
	// fits a processor's first cache.
	bloom   [bloomWords]uint64
	slots   []slot // hash table of the grams
	shift   uint   // of a hash to a slot
	windows []window
	lits    []literal
	tail    bool // some grams may reach beyond the end of a text by a byte
}

const (
	bloomBits  = 12
	bloomWords = 1 << bloomBits
	// minLiteral is the length of the shortest literal that can be found.
	minLiteral = 3
	// maxWild bounds the grams with a byte that may be anything, of all
	// literals together. More would flood the Bloom filter.
	maxWild = 2048
)

// slot says where the windows of a gram are. An empty one has none.
type slot struct {
	gram  uint32
	first uint32
	n     uint32
}

// window is up to eight bytes of a literal around a gram: a cheap test before
// the literal itself.
type window struct {
	value, mask uint64 // folded
	lit         uint32
	gram        int32 // offset of the gram in the literal; -1 = a byte before
	at          int32 // offset of the window in the literal
}

// placement is where a literal's gram is taken, for one way of lying.
type placement struct {
	offset int
	wild   int // index of the byte of the gram that may be anything; -1 = none
}

// place chooses a literal's gram for those that begin rest bytes before one of
// the places looked at.
func place(text string, rest, stride int, cost func(gram uint32) float64) (best placement, ok bool) {
	least := 0.0
	for o := rest; o+4 <= len(text); o += stride {
		if c := cost(gram(text, o)); !ok || c < least {
			least, best, ok = c, placement{o, -1}, true
		}
	}
	switch {
	case ok:
		return best, true
	case rest == stride-1 && stride > 1: // never at a text's begin
		return placement{-1, 0}, true
	case (len(text)-3-rest)%stride == 0 && len(text)-3 >= rest:
		return placement{len(text) - 3, 3}, true
	}
	return placement{}, false
}

// wildGrams returns how many grams with a byte that may be anything a literal
// of n bytes takes; not ok if it can't be placed.
func wildGrams(n, stride int) (wild int, ok bool) {
	text := string(make([]byte, n))
	for rest := range stride {
		p, ok := place(text, rest, stride, func(uint32) float64 { return 0 })
		if !ok {
			return 0, false
		}
		if p.wild >= 0 {
			wild += foldedBytes
		}
	}
	return wild, true
}

// foldedBytes is how many bytes differ once folded.
const foldedBytes = 128

// chooseStride returns the widest stride at which all literals can be placed.
func chooseStride(lits []literal) int {
	for _, stride := range []int{4, 2} {
		total := 0
		for _, l := range lits {
			wild, ok := wildGrams(min(len(l.text), 8), stride)
			if total += wild; !ok || total > maxWild {
				total = -1
				break
			}
		}
		if total >= 0 {
			return stride
		}
	}
	return 1
}

func newFilter(lits []literal, stats *Stats, stride int) *filter {
	f := &filter{stride: stride, lits: lits}
	grams := map[uint32][]window{}
	// Grams that are there already cost less; so the literals with the least
	// choice come first.
	order := make([]int, len(lits))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(len(lits[a].text), len(lits[b].text)), cmp.Compare(lits[a].text, lits[b].text), a-b)
	})
	density := 2e-6 * min(1, 1000/float64(len(lits)+1))
	cost := func(g uint32) float64 {
		if n := len(grams[g]); n > 0 {
			return stats.gramRate(g) * float64(3+n)
		}
		return stats.gramRate(g)*3 + density
	}
	for _, i := range order {
		text := lits[i].text
		for rest := range stride {
			p, ok := place(text, rest, stride, cost)
			if !ok {
				panic("match: literal " + text + " can't be placed")
			}
			w := newWindow(text, uint32(i), p)
			switch p.wild {
			case -1:
				g := gram(text, p.offset)
				grams[g] = append(grams[g], w)
			case 0:
				g := gram(text+"\x00", 0) << 8
				for b := range uint32(256) {
					if b&0x20 != 0 {
						grams[g|b] = append(grams[g|b], w)
					}
				}
			case 3:
				g := gram(text+"\x00", len(text)-3) & low24
				for b := range uint32(256) {
					if b&0x20 != 0 {
						grams[g|b<<24] = append(grams[g|b<<24], w)
					}
				}
				f.tail = true
			}
		}
	}
	size := bits.Len(uint(len(grams)*2 + 16))
	f.shift = uint(32 - size)
	f.slots = make([]slot, 1<<size)
	for g, ws := range grams {
		h := g * mix32
		f.bloom[h>>(32-bloomBits)] |= 1<<(h>>(26-bloomBits)&63) | 1<<(h>>(20-bloomBits)&63)
		i := h >> f.shift
		for f.slots[i].n > 0 {
			i = (i + 1) & uint32(len(f.slots)-1)
		}
		f.slots[i] = slot{g, uint32(len(f.windows)), uint32(len(ws))}
		f.windows = append(f.windows, ws...)
	}
	return f
}

func newWindow(text string, lit uint32, p placement) window {
	at := max(0, min(p.offset-2, len(text)-8))
	w := window{lit: lit, gram: int32(p.offset), at: int32(at)}
	for i := 0; i < 8 && at+i < len(text); i++ {
		w.value |= uint64(text[at+i]|0x20) << (8 * i)
		w.mask |= 0xff << (8 * i)
	}
	return w
}

// known is 1 in its lowest bit if the Bloom filter has a folded gram.
func (f *filter) known(g uint32) uint64 {
	h := g * mix32
	w := f.bloom[h>>(32-bloomBits)]
	return w >> (h >> (26 - bloomBits) & 63) & (w >> (h >> (20 - bloomBits) & 63))
}

// scan calls s.found for each literal that stands in s.line, once or several
// times, about from left to right. It returns a value with the highest bit of a
// byte set if one of the line's is.
func (f *filter) scan(s *scratch) uint64 {
	text := s.line
	var high uint64
	switch f.stride {
	case 1:
		high = f.scan1(s, s.padded(text, 11))
	case 2:
		high = f.scan2(s, s.padded(text, 18))
	case 4:
		high = f.scan4(s, s.padded(text, 32))
	}
	if at := len(text) - 3; f.tail && at >= 0 && at&(f.stride-1) == 0 {
		f.look(s, at, uint32(text[at])|uint32(text[at+1])<<8|uint32(text[at+2])<<16|fold32)
	}
	return high
}

// The three below are one loop for each stride: over blocks of eight grams, of
// which the last overlaps the one before. Text must have a block's length.

func (f *filter) scan1(s *scratch, text []byte) (high uint64) {
	le := binary.LittleEndian
	last := len(text) - 11
	for i, skip := 0, 0; ; {
		b := text[i : i+11 : i+11]
		w0, w1, w2, w3 := le.Uint64(b), le.Uint64(b[1:]), le.Uint64(b[2:]), le.Uint64(b[3:])
		high |= w0 | w3
		w0, w1, w2, w3 = w0|fold64, w1|fold64, w2|fold64, w3|fold64
		k0, k4 := f.known(uint32(w0)), f.known(uint32(w0>>32))
		k1, k5 := f.known(uint32(w1)), f.known(uint32(w1>>32))
		k2, k6 := f.known(uint32(w2)), f.known(uint32(w2>>32))
		k3, k7 := f.known(uint32(w3)), f.known(uint32(w3>>32))
		if (k0|k1|k2|k3|k4|k5|k6|k7)&1 != 0 {
			k := k0&1 | k1&1<<1 | k2&1<<2 | k3&1<<3 | k4&1<<4 | k5&1<<5 | k6&1<<6 | k7&1<<7
			for k = k >> skip << skip; k != 0; k &= k - 1 {
				n := bits.TrailingZeros64(k)
				f.look(s, i+n, le.Uint32(b[n:])|fold32)
			}
		}
		if i >= last {
			return high
		}
		i, skip = i+8, 0
		if i > last {
			i, skip = last, i-last
		}
	}
}

func (f *filter) scan2(s *scratch, text []byte) (high uint64) {
	le := binary.LittleEndian
	last := (len(text) - 18) &^ 1
	high = uint64(text[len(text)-1])
	for i, skip := 0, 0; ; {
		b := text[i : i+18 : i+18]
		w0, w1, w2, w3 := le.Uint64(b), le.Uint64(b[2:]), le.Uint64(b[8:]), le.Uint64(b[10:])
		high |= w0 | w2 | w3
		w0, w1, w2, w3 = w0|fold64, w1|fold64, w2|fold64, w3|fold64
		k0, k2 := f.known(uint32(w0)), f.known(uint32(w0>>32))
		k1, k3 := f.known(uint32(w1)), f.known(uint32(w1>>32))
		k4, k6 := f.known(uint32(w2)), f.known(uint32(w2>>32))
		k5, k7 := f.known(uint32(w3)), f.known(uint32(w3>>32))
		if (k0|k1|k2|k3|k4|k5|k6|k7)&1 != 0 {
			k := k0&1 | k1&1<<1 | k2&1<<2 | k3&1<<3 | k4&1<<4 | k5&1<<5 | k6&1<<6 | k7&1<<7
			for k = k >> skip << skip; k != 0; k &= k - 1 {
				n := 2 * bits.TrailingZeros64(k)
				f.look(s, i+n, le.Uint32(b[n:])|fold32)
			}
		}
		if i >= last {
			return high
		}
		i, skip = i+16, 0
		if i > last {
			i, skip = last, (i-last)/2
		}
	}
}

func (f *filter) scan4(s *scratch, text []byte) (high uint64) {
	le := binary.LittleEndian
	last := (len(text) - 32) &^ 3
	high = uint64(text[len(text)-1] | text[len(text)-2] | text[len(text)-3])
	for i, skip := 0, 0; ; {
		b := text[i : i+32 : i+32]
		w0, w1, w2, w3 := le.Uint64(b), le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint64(b[24:])
		high |= w0 | w1 | w2 | w3
		w0, w1, w2, w3 = w0|fold64, w1|fold64, w2|fold64, w3|fold64
		k0, k1 := f.known(uint32(w0)), f.known(uint32(w0>>32))
		k2, k3 := f.known(uint32(w1)), f.known(uint32(w1>>32))
		k4, k5 := f.known(uint32(w2)), f.known(uint32(w2>>32))
		k6, k7 := f.known(uint32(w3)), f.known(uint32(w3>>32))
		if (k0|k1|k2|k3|k4|k5|k6|k7)&1 != 0 {
			k := k0&1 | k1&1<<1 | k2&1<<2 | k3&1<<3 | k4&1<<4 | k5&1<<5 | k6&1<<6 | k7&1<<7
			for k = k >> skip << skip; k != 0; k &= k - 1 {
				n := 4 * bits.TrailingZeros64(k)
				f.look(s, i+n, le.Uint32(b[n:])|fold32)
			}
		}
		if i >= last {
			return high
		}
		i, skip = i+32, 0
		if i > last {
			i, skip = last, (i-last)/4
		}
	}
}

// look finds the literals that have a gram which stands at a place of the line.
func (f *filter) look(s *scratch, at int, g uint32) {
	s.looks++
	for i := g * mix32 >> f.shift; ; i = (i + 1) & uint32(len(f.slots)-1) {
		sl := &f.slots[i]
		if sl.n == 0 {
			return
		}
		if sl.gram != g {
			continue
		}
		for k := range f.windows[sl.first : sl.first+sl.n] {
			w := &f.windows[int(sl.first)+k]
			start := at - int(w.gram)
			if p := start + int(w.at); p >= 0 && p+8 <= len(s.line) &&
				(binary.LittleEndian.Uint64(s.line[p:])|fold64)&w.mask != w.value {
				continue
			}
			if l := &f.lits[w.lit]; l.standsAt(s.line, start) {
				s.found(w.lit, start)
			}
		}
		return
	}
}

func (l *literal) standsAt(b []byte, at int) bool {
	end := at + len(l.text)
	if at < 0 || end > len(b) {
		return false
	}
	if !l.fold {
		return string(b[at:end]) == l.text
	}
	for i, c := range b[at:end] {
		if lowerByte(c) != l.text[i] {
			return false
		}
	}
	return true
}
