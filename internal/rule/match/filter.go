package match

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// filter finds where literals stand in a text. It looks at grams of the text,
// of four folded bytes each, at every stride-th place only: of each literal it
// knows a gram for each way in which the literal may lie relative to those
// places, and of one that is long enough for that, the next four bytes too.
// Where a short literal has no whole gram, one stands in that has a byte more
// at either end, with all that this byte may be.
type filter struct {
	stride int
	mul    uint32 // by which grams are hashed
	// hints has an entry for each hash of a gram. Its low byte says in which
	// buckets a literal's gram has this hash, its high byte in which buckets
	// the next four bytes have. A place where no bucket is in the former and,
	// four bytes on, in the latter, is passed over.
	hints   [1 << hintBits]uint16
	pairs   table[uint64] // entries by eight bytes, of the buckets but one
	singles table[uint32] // entries by four bytes, of the last bucket
	lits    []literal
	tail    bool // some grams may reach beyond the end of a text by a byte
}

const (
	hintBits = 16
	// Of the eight buckets the last is for grams that have no next four bytes.
	pairBuckets = 7
	single      = 1 << pairBuckets

	// minLiteral is the length of the shortest literal that can be found.
	minLiteral = 3
	// maxWild bounds the grams with a byte that may be anything, of all
	// literals together. More would let too many places pass.
	maxWild = 4096
	// narrowest is the stride at which all literals can be placed.
	narrowest = 2
	// maxSingles bounds the single grams at the wider stride. With more of them
	// too many places pass for what it saves.
	maxSingles = 2048
	// foldedBytes is how many bytes differ once folded.
	foldedBytes = 128
)

// entry is a literal in which a gram stands at an offset, which is -1 if the
// gram begins a byte before it.
type entry struct {
	lit    uint32
	offset int32
}

// placement is where a literal's gram is taken, for one way of lying.
type placement struct {
	offset int
	pair   bool // with the next four bytes
	wild   int  // index of the byte of the gram that may be anything; -1 = none
}

// placeGram chooses a literal's gram for those that begin rest bytes before one of
// the places looked at.
func placeGram(text string, rest, stride int, stats *Stats) (best placement, rate float64, ok bool) {
	for o := rest; o+8 <= len(text); o += stride {
		if r := stats.rate(text[o : o+8]); !ok || r < rate {
			best, rate, ok = placement{o, true, -1}, r, true
		}
	}
	if ok {
		return best, rate, true
	}
	for o := rest; o+4 <= len(text); o += stride {
		if r := stats.rate(text[o : o+4]); !ok || r < rate {
			best, rate, ok = placement{o, false, -1}, r, true
		}
	}
	end := len(text) - 3
	switch {
	case ok:
		return best, rate, true
	case rest == stride-1: // never at a text's begin
		return placement{-1, false, 0}, stats.rate(text[:3]), true
	case end >= rest && (end-rest)%stride == 0:
		return placement{end, false, 3}, stats.rate(text[end:]), true
	}
	return placement{}, 0, false
}

// wildGrams returns how many grams with a byte that may be anything a literal
// of n bytes takes; not ok if it can't be placed.
func wildGrams(n, stride int) (wild int, ok bool) {
	text := string(make([]byte, min(n, 2*stride+8)))
	for rest := range stride {
		p, _, ok := placeGram(text, rest, stride, fixed())
		if !ok {
			return 0, false
		}
		if p.wild >= 0 {
			wild += foldedBytes
		}
	}
	return wild, true
}

// newFilter returns the filter for literals of at least minLiteral bytes. Its
// stride is the wider one if the literals allow it: that takes half the time for
// a line without any, and twice the grams. It panics if a literal can't be
// placed, because left out it would miss lines.
func newFilter(lits []literal, stats *Stats) *filter {
	f := filterOf(lits, stats, 4, maxSingles)
	if f == nil {
		f = filterOf(lits, stats, narrowest, math.MaxInt)
	}
	if f == nil {
		panic("match: a literal can't be placed")
	}
	return f
}

// filterOf returns the filter of a stride; nil if a literal can't be placed at
// it, or if that takes more than most single grams.
func filterOf(lits []literal, stats *Stats, stride, most int) *filter {
	f := &filter{stride: stride, lits: lits}
	pairs, singles := map[uint64][]entry{}, map[uint32][]entry{}
	for i, l := range lits {
		for rest := range stride {
			p, _, ok := placeGram(l.text, rest, stride, stats)
			if !ok || len(singles) > most {
				return nil
			}
			e := entry{uint32(i), int32(p.offset)}
			switch {
			case p.pair:
				key := uint64(gram(l.text, p.offset)) | uint64(gram(l.text, p.offset+4))<<32
				pairs[key] = append(pairs[key], e)
			case p.wild < 0:
				g := gram(l.text, p.offset)
				singles[g] = append(singles[g], e)
			default:
				from := max(p.offset, 0)
				g := gram(l.text[from:from+3]+"\x00", 0) & low24
				shift := 24
				if p.wild == 0 {
					g, shift = g<<8, 0
				} else {
					f.tail = true
				}
				for b := range uint32(256) {
					if b&0x20 != 0 {
						singles[g|b<<shift] = append(singles[g|b<<shift], e)
					}
				}
			}
		}
	}
	f.pairs, f.singles = newTable(pairs), newTable(singles)
	f.makeHints(stats.sample)
	return f
}

func (f *filter) hash(g uint32) uint32 { return g * f.mul >> (32 - hintBits) }

// scan calls s.found for each literal that stands in s.line, once or several
// times, from about left to right. It returns a value with the highest bit of a
// byte set if one of the line's is.
func (f *filter) scan(s *Scratch) uint64 {
	text := s.line
	if n := len(text); n < minScan {
		clear(s.pad[copy(s.pad[:], text):])
		text = s.pad[:minScan]
	}
	if f.stride == 4 {
		return f.scan4(s, text)
	}
	return f.scan2(s, text)
}

// minScan is the length of the shortest text that can be scanned; to shorter
// ones zeros are added.
const minScan = 32

// The two below are one loop for each stride: over blocks of eight places, of
// which the last overlaps the one before. The hints of four places lie in one
// word, so that they are put beside those four bytes on all at once. What a
// block's last places are followed by is the next block's matter.

const (
	lowBytes    = 0x00ff00ff00ff00ff // of the four hints in a word
	singleLanes = single * 0x0001000100010001
)

func (f *filter) scan2(s *Scratch, text []byte) (high uint64) {
	le := binary.LittleEndian
	high = uint64(text[len(text)-1])
	last := (len(text) - 18) &^ 1
	var before uint64 // hints of the four places before a block
	for i := 0; ; {
		b := text[i : i+18 : i+18]
		w0, w1, w2, w3 := le.Uint64(b), le.Uint64(b[2:]), le.Uint64(b[8:]), le.Uint64(b[10:])
		high |= w0 | w2 | w3
		w0, w1, w2, w3 = w0|fold64, w1|fold64, w2|fold64, w3|fold64
		h0 := f.hint(w0) | f.hint(w1)<<16 | f.hint(w0>>32)<<32 | f.hint(w1>>32)<<48
		h1 := f.hint(w2) | f.hint(w3)<<16 | f.hint(w2>>32)<<32 | f.hint(w3>>32)<<48
		p0 := (before>>32 | h0<<32) & (h0 >> 8) & lowBytes
		p1 := (h0>>32 | h1<<32) & (h1 >> 8) & lowBytes
		if p0|p1 != 0 {
			f.look(s, i-4, p0)
			f.look(s, i+4, p1)
		}
		if i >= last {
			f.end(s, i+12, h1>>32)
			return high
		}
		before = h1
		if i += 16; i > last {
			i = last
			before = f.hintAt(text, i-4)<<32 | f.hintAt(text, i-2)<<48
		}
	}
}

func (f *filter) scan4(s *Scratch, text []byte) (high uint64) {
	le := binary.LittleEndian
	high = uint64(text[len(text)-1] | text[len(text)-2] | text[len(text)-3])
	last := (len(text) - 32) &^ 3
	var before uint64
	for i := 0; ; {
		b := text[i : i+32 : i+32]
		w0, w1, w2, w3 := le.Uint64(b), le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint64(b[24:])
		high |= w0 | w1 | w2 | w3
		w0, w1, w2, w3 = w0|fold64, w1|fold64, w2|fold64, w3|fold64
		h0 := f.hint(w0) | f.hint(w0>>32)<<16 | f.hint(w1)<<32 | f.hint(w1>>32)<<48
		h1 := f.hint(w2) | f.hint(w2>>32)<<16 | f.hint(w3)<<32 | f.hint(w3>>32)<<48
		p0 := (before>>48 | h0<<16) & (h0 >> 8) & lowBytes
		p1 := (h0>>48 | h1<<16) & (h1 >> 8) & lowBytes
		if p0|p1 != 0 {
			f.look(s, i-4, p0)
			f.look(s, i+12, p1)
		}
		if i >= last {
			f.end(s, i+28, h1>>48)
			return high
		}
		before = h1
		if i += 32; i > last {
			i = last
			before = f.hintAt(text, i-4) << 48
		}
	}
}

// hint returns what is known of the gram in the low half of w.
func (f *filter) hint(w uint64) uint64 { return uint64(f.hints[f.hash(uint32(w))]) }

func (f *filter) hintAt(text []byte, at int) uint64 {
	if at < 0 {
		return 0
	}
	return f.hint(uint64(binary.LittleEndian.Uint32(text[at:]) | fold32))
}

// look finds the literals that stand at those of four places, the first one
// given, of which buckets have any left.
func (f *filter) look(s *Scratch, at int, buckets uint64) {
	le := binary.LittleEndian
	for buckets != 0 {
		bit := bits.TrailingZeros64(buckets)
		at := at + bit>>4*f.stride
		if bit&15 == pairBuckets {
			buckets &^= 1 << bit
			if at+4 <= len(s.line) {
				f.found(s, at, f.singles.get(le.Uint32(s.line[at:])|fold32))
			}
		} else {
			buckets &^= (single - 1) << (bit &^ 15) // one look will do
			if at+8 <= len(s.line) {
				f.found(s, at, f.pairs.get(le.Uint64(s.line[at:])|fold64))
			}
		}
	}
}

// end looks at the last places of a line, behind which no pair fits, and at the
// one behind these where a gram may reach beyond the line.
func (f *filter) end(s *Scratch, at int, hints uint64) {
	if hints &= singleLanes; hints != 0 {
		f.look(s, at, hints)
	}
	if n := len(s.line) - 3; f.tail && n >= 0 && n&(f.stride-1) == 0 {
		line := s.line[n:]
		f.found(s, n, f.singles.get(uint32(line[0])|uint32(line[1])<<8|uint32(line[2])<<16|fold32))
	}
}

func (f *filter) found(s *Scratch, at int, entries []entry) {
	s.effort.work++
	for _, e := range entries {
		if start := at - int(e.offset); f.lits[e.lit].standsAt(s.line, start) {
			s.found(e.lit, start)
		}
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

// table is a hash table that doesn't change.
type table[K uint32 | uint64] struct {
	slots   []slot[K]
	shift   uint // of a hash to a slot
	entries []entry
}

// slot says where a key's entries are. An empty one has none.
type slot[K uint32 | uint64] struct {
	key      K
	first, n uint32
}

func newTable[K uint32 | uint64](m map[K][]entry) table[K] {
	size := bits.Len(uint(len(m)*2 + 1))
	t := table[K]{slots: make([]slot[K], 1<<size), shift: uint(64 - size)}
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b K) int { return cmp.Compare(a, b) })
	for _, k := range keys {
		i := uint64(k) * mix64 >> t.shift
		for t.slots[i].n > 0 {
			i = (i + 1) & uint64(len(t.slots)-1)
		}
		t.slots[i] = slot[K]{k, uint32(len(t.entries)), uint32(len(m[k]))}
		t.entries = append(t.entries, m[k]...)
	}
	return t
}

func (t *table[K]) get(k K) []entry {
	for i := uint64(k) * mix64 >> t.shift; ; i = (i + 1) & uint64(len(t.slots)-1) {
		s := &t.slots[i]
		if s.n == 0 || s.key == k {
			return t.entries[s.first : s.first+s.n]
		}
	}
}
