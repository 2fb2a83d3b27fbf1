package blockfilter

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"math/bits"
	"slices"

	"github.com/klauspost/compress/zstd"

	"logscan/internal/entry"
)

// Builder makes filters of a segment's blocks, which it is given in order. The zero
// Builder begins a segment. One goroutine uses it at a time.
type Builder struct {
	blocks  []*bitmap // of the next filter; more are kept behind the length
	open    Set
	streams [3]chunked
	seen    [hashes]byte // scratch: 1 for each hash that is in the block; it costs half of what bits do
	byHash  []uint64     // likewise: a hash's blocks
}

// chunked is a line in chunks that isn't over.
type chunked struct {
	on    bool
	here  bool // a chunk of it is in the block that is added
	id    string
	open  bool // there may be more in it than grams tells
	grams bitmap
	end   []byte // its last bytes, one less than a gram has
}

// Reset begins another segment.
func (b *Builder) Reset() {
	b.clear()
	for i := range b.streams {
		b.streams[i].on = false
	}
}

// clear begins another filter.
func (b *Builder) clear() {
	for _, m := range b.blocks {
		clear(m[:])
	}
	b.blocks, b.open = b.blocks[:0], Set{}
}

// Len is the number of blocks that the next filter is about. There can be MaxBlocks.
func (b *Builder) Len() int { return len(b.blocks) }

// Add adds a block, which is made of whole frames.
func (b *Builder) Add(frames []byte) {
	k := len(b.blocks)
	if k < cap(b.blocks) {
		b.blocks = b.blocks[:k+1]
	} else {
		b.blocks = append(b.blocks, nil)
	}
	if b.blocks[k] == nil {
		b.blocks[k] = new(bitmap)
	}
	m, open := b.blocks[k], false
	var e entry.Entry
	for len(frames) > 0 {
		frame, rest, err := entry.Next(frames)
		if err == nil {
			if source, line, plain := entry.Plain(frame[entry.HeaderLen:]); plain && !b.streams[streamOf(source)].on {
				open = b.add(line) || open
				frames = rest
				continue
			}
			err = entry.Decode(frame[entry.HeaderLen:], &e)
		}
		if err != nil {
			// What is read of it depends on where frames are found again.
			open = true
			for i := range b.streams {
				b.streams[i].open = true
			}
			if len(rest) == len(frames) {
				break
			}
			frames = rest
			continue
		}
		frames = rest
		s := &b.streams[streamOf(e.Source)]
		if s.on && (!e.Partial || s.id != e.ID) {
			open = s.into(m) || open
			s.on = false
		}
		if !e.Partial {
			open = b.add(e.Line) || open
			continue
		}
		s.add(&e)
		if e.Last {
			open = s.into(m) || open
			s.on = false
		}
	}
	for i := range b.streams {
		if s := &b.streams[i]; s.on {
			open = s.into(m) || open
		}
	}
	b.collect(m)
	if open {
		b.open[k/64] |= 1 << (k % 64)
	}
}

// streamOf tells streams apart as package lines does.
func streamOf(source string) int {
	switch source {
	case "stdout":
		return 0
	case "stderr":
		return 1
	}
	return 2
}

// add adds a chunk.
func (s *chunked) add(e *entry.Entry) {
	s.here = true
	if !s.on {
		s.on, s.id, s.end = true, e.ID, s.end[:0]
		s.open = !e.HasMeta || e.Ordinal != 1
		clear(s.grams[:])
	}
	s.grams.add(e.Line)
	s.end = append(s.end, e.Line[:min(len(e.Line), gramLen-1)]...)
	s.grams.add(s.end)
	s.open = s.open || folds(e.Line) || folds(s.end)
	if len(e.Line) >= gramLen {
		s.end = append(s.end[:0], e.Line[len(e.Line)-(gramLen-1):]...)
	} else if over := len(s.end) - (gramLen - 1); over > 0 {
		s.end = slices.Delete(s.end, 0, over)
	}
}

// into adds what there is of a line to a block with a chunk of it, and reports whether there
// may be more.
func (s *chunked) into(m *bitmap) (open bool) {
	if !s.here {
		return false
	}
	for i, w := range &s.grams {
		m[i] |= w
	}
	s.here = false
	return s.open
}

// kelvin and longS are what (?i) takes for k and s besides their other cases.
var kelvin, longS = []byte("\u212a"), []byte("\u017f")

// folds reports whether a text has a rune that may be taken for a letter of ASCII.
func folds(text []byte) bool { return bytes.Contains(text, kelvin) || bytes.Contains(text, longS) }

// add adds a whole line's grams, and reports whether there may be more in it.
func (b *Builder) add(text []byte) (open bool) {
	seen := &b.seen
	i, high := 0, uint64(0)
	for ; i+8 <= len(text); i += 5 {
		w := binary.LittleEndian.Uint64(text[i:])
		high |= w
		w |= fold64
		seen[uint32(w)*multiplier32>>(32-hashBits)] = 1
		seen[uint32(w>>8)*multiplier32>>(32-hashBits)] = 1
		seen[uint32(w>>16)*multiplier32>>(32-hashBits)] = 1
		seen[uint32(w>>24)*multiplier32>>(32-hashBits)] = 1
		seen[uint32(w>>32)*multiplier32>>(32-hashBits)] = 1
	}
	for ; i+gramLen <= len(text); i++ {
		w := binary.LittleEndian.Uint32(text[i:])
		high |= uint64(w)
		seen[hash(w)] = 1
	}
	for ; i < len(text); i++ {
		high |= uint64(text[i])
	}
	return high&0x8080808080808080 != 0 && folds(text)
}

// collect adds the grams of whole lines to their block.
func (b *Builder) collect(m *bitmap) {
	for i := range m {
		for k, seen := 0, b.seen[i*64:i*64+64]; k < 8; k++ {
			// The lowest bits of eight bytes come together in the highest byte.
			m[i] |= binary.LittleEndian.Uint64(seen[k*8:]) * 0x0102040810204080 >> 56 << (k * 8)
		}
	}
	clear(b.seen[:])
}

// add adds a text's grams.
func (m *bitmap) add(text []byte) {
	for i := 0; i+gramLen <= len(text); i++ {
		h := hash(binary.LittleEndian.Uint32(text[i:]))
		m[h>>6] |= 1 << (h & 63)
	}
}

// Append appends the filter of the blocks that were added since the one before, of size
// bytes at most; nothing where that is too little. Enc encodes what is compressed of it.
func (b *Builder) Append(dst []byte, size int, enc *zstd.Encoder) []byte {
	defer b.clear()
	n := len(b.blocks)
	rowLen := (n + 7) / 8
	size = min(size, MaxLen)
	if n == 0 || size < headLen+tailLen+(1+leastRows)*rowLen {
		return dst
	}
	width := (n + 63) / 64
	p := plan{bits: hashBits, often: b.transpose(width)}
	for !p.fits(n, rowLen, size-headLen-tailLen-rowLen) {
		if p.bits == leastBits {
			return dst
		}
		b.fold(&p, width)
	}
	raw := make([]byte, len(p.often)/8)
	for h, d := range p.often {
		if int(d) > p.limit {
			raw[h/8] |= 1 << (h % 8)
		}
	}
	frequent := enc.EncodeAll(raw, nil)
	if p.rows = min(p.rows, (size-headLen-tailLen-rowLen-len(frequent))/rowLen); p.rows < leastRows {
		return dst
	}
	return b.encode(dst, p, rowLen, width, frequent)
}

// plan is what a filter is to have.
type plan struct {
	bits  int      // of a hash
	often []uint16 // in how many blocks each hash is
	limit int      // what is in more of them is left out
	rows  int
}

// fits finds the most grams that there is room for, the rarest ones, where half of a row's
// bits are set. It is false where these are few.
func (p *plan) fits(n, rowLen, room int) bool {
	var hist [MaxBlocks + 1]int
	for _, d := range p.often {
		hist[d]++
	}
	most := min(maxRows, len(p.often))
	p.limit, p.rows = 0, 0
	for d, set, left := 1, 0, len(p.often)-hist[0]; d <= n/2; d++ {
		set += d * hist[d]
		left -= hist[d]
		rows := max(leastRows, min(most, int(float64(set)/float64(n)/math.Ln2)))
		if rows*rowLen+encoded(left, len(p.often)) <= room {
			p.limit, p.rows = d, rows
		}
	}
	return p.limit > 0 && p.limit >= n/fewest
}

// fold has hashes be a bit shorter.
func (b *Builder) fold(p *plan, width int) {
	p.bits--
	p.often = p.often[:len(p.often)/2]
	for h := range p.often {
		d := 0
		for g := range width {
			w := b.byHash[2*h*width+g] | b.byHash[(2*h+1)*width+g]
			b.byHash[h*width+g] = w
			d += bits.OnesCount64(w)
		}
		p.often[h] = uint16(d)
	}
}

// encoded is about how many bytes a bitmap takes, encoded, in which n bits of all are set.
func encoded(n, all int) int {
	if n == 0 {
		return 0
	}
	return max(all/64, min(all/8, int(float64(n)*(math.Log2(float64(all)/float64(n))+1.5)/8)))
}

// transpose fills byHash, and returns in how many blocks each hash is.
func (b *Builder) transpose(width int) []uint16 {
	b.byHash = slices.Grow(b.byHash[:0], width*hashes)[:width*hashes]
	often := make([]uint16, hashes)
	var t [8][64]uint64
	for i := 0; i < hashes/64; i += 8 { // a line of the processor's cache of each block
		for g := range width {
			for k := range 64 {
				if x := g*64 + k; x < len(b.blocks) {
					for j, w := range (*[8]uint64)(b.blocks[x][i:]) {
						t[j][k] = w
					}
					continue
				}
				for j := range t {
					t[j][k] = 0
				}
			}
			for j := range t {
				swap(&t[j])
				at := (i + j) << 6
				for k, w := range &t[j] {
					b.byHash[(at+k)*width+g] = w
					often[at+k] += uint16(bits.OnesCount64(w))
				}
			}
		}
	}
	return often
}

// swap swaps rows and columns of 64 by 64 bits.
func swap(t *[64]uint64) {
	mask := uint64(0x00000000ffffffff)
	for j := 32; j != 0; j, mask = j>>1, mask^mask<<(j>>1) {
		for k := 0; k < 64; k = (k + j + 1) &^ j {
			x := (t[k]>>j ^ t[k+j]) & mask
			t[k] ^= x << j
			t[k+j] ^= x
		}
	}
}

// encode appends the frame.
func (b *Builder) encode(dst []byte, p plan, rowLen, width int, frequent []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, magic)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(frequent)+(1+p.rows)*rowLen+tailLen))
	start := len(dst)
	dst = append(dst, frequent...)
	dst = appendRow(dst, b.open[:width], rowLen)
	row := make([]uint64, width)
	next := uint32(0)
	for h, d := range p.often {
		for r := rowOf(uint32(h), uint32(p.rows), p.bits); next < r; next++ {
			dst = appendRow(dst, row, rowLen)
			clear(row)
		}
		if d > 0 && int(d) <= p.limit {
			for g, w := range b.byHash[h*width : (h+1)*width] {
				row[g] |= w
			}
		}
	}
	dst = appendRow(dst, row, rowLen)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(frequent)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.rows))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(b.blocks)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(p.bits))
	dst = binary.BigEndian.AppendUint32(dst, version)
	dst = binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
	return append(dst, tailMagic[:]...)
}

// appendRow appends the first n bytes of a row.
func appendRow(dst []byte, row []uint64, n int) []byte {
	at := len(dst)
	for _, w := range row {
		dst = binary.LittleEndian.AppendUint64(dst, w)
	}
	return dst[:at+n]
}
