package blockfilter

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Filter is one that was read.
type Filter struct {
	blocks   int
	rowLen   int
	bits     int // of a hash
	rows     uint32
	frequent []byte
	open     []byte
	body     []byte // its rows
}

// decoders are to be had by one who reads a filter.
var decoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(bitmapLen))
	if err != nil {
		panic(err) // its options are wrong
	}
	return d
}}

// Read reads the filter of so many blocks that ends at an offset of a file. It is an
// error where there is none that is whole and known.
func Read(r io.ReaderAt, end int64, blocks int) (*Filter, error) {
	if end < headLen+tailLen {
		return nil, errFilter
	}
	var tail [tailLen]byte
	if _, err := r.ReadAt(tail[:], end-tailLen); err != nil {
		return nil, err
	}
	f, frequent, ok := parseTail(tail[:], blocks)
	size := int64(headLen) + int64(frequent) + int64(f.rowLen)*(1+int64(f.rows)) + tailLen
	if !ok || size > min(end, MaxLen) {
		return nil, errFilter
	}
	b := make([]byte, size)
	if _, err := r.ReadAt(b, end-size); err != nil {
		return nil, err
	}
	body := b[headLen:]
	if binary.LittleEndian.Uint32(b) != magic || int(binary.LittleEndian.Uint32(b[4:])) != len(body) ||
		crc32.Checksum(body[:len(body)-12], castagnoli) != binary.BigEndian.Uint32(body[len(body)-12:]) {
		return nil, errFilter
	}
	d := decoders.Get().(*zstd.Decoder)
	defer decoders.Put(d)
	var err error
	if f.frequent, err = d.DecodeAll(body[:frequent], make([]byte, 0, bitmapLen)); err != nil || len(f.frequent) != 1<<f.bits/8 {
		return nil, errFilter
	}
	f.open, f.body = body[frequent:frequent+f.rowLen], body[frequent+f.rowLen:len(body)-tailLen]
	return &f, nil
}

// parseTail reads the end of a filter of so many blocks; frequent is how long that is.
func parseTail(b []byte, blocks int) (f Filter, frequent int, ok bool) {
	if [8]byte(b[20:]) != tailMagic || binary.BigEndian.Uint32(b[12:]) != version {
		return f, 0, false
	}
	long, rows := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	n, bits := int(binary.BigEndian.Uint16(b[8:])), int(binary.BigEndian.Uint16(b[10:]))
	if n != blocks || n == 0 || n > MaxBlocks || bits < leastBits || bits > hashBits || rows == 0 || rows > maxRows || long > 2*bitmapLen {
		return f, 0, false
	}
	return Filter{blocks: n, rowLen: (n + 7) / 8, bits: bits, rows: rows}, int(long), true
}

// Wanted is what a line that is looked for has: of each of some sets one text. The letters
// of texts may be of either case.
type Wanted struct {
	sets [][][]uint16 // hashes of the grams of each text of each set
}

// Want returns what is looked for; nil where a filter can't tell anything of it.
func Want(sets [][]string) *Wanted {
	var w Wanted
	for _, set := range sets {
		if len(set) == 0 || slices.ContainsFunc(set, func(text string) bool { return len(text) < gramLen }) {
			continue // it may be in any block
		}
		var all [][]uint16
		for _, text := range set {
			var grams []uint16
			for i := 0; i+gramLen <= len(text); i++ {
				grams = append(grams, uint16(hash(uint32(text[i])|uint32(text[i+1])<<8|uint32(text[i+2])<<16|uint32(text[i+3])<<24)))
			}
			slices.Sort(grams)
			all = append(all, slices.Compact(grams))
		}
		w.sets = append(w.sets, all)
	}
	if len(w.sets) == 0 {
		return nil
	}
	return &w
}

// Holding returns the blocks that may hold what is wanted.
func (f *Filter) Holding(w *Wanted) Set {
	var all Set
	for i := range f.blocks {
		all[i/64] |= 1 << (i % 64)
	}
	out := all
	for _, set := range w.sets {
		var any Set
		for _, grams := range set {
			one := out
			f.narrow(&one, grams)
			for k := range any {
				any[k] |= one[k]
			}
		}
		out = any
	}
	open := f.row(f.open)
	for k := range out {
		out[k] |= open[k] & all[k]
	}
	return out
}

// narrow leaves the blocks that may have all of some grams.
func (f *Filter) narrow(s *Set, grams []uint16) {
	for _, long := range grams {
		h := uint32(long) >> (hashBits - f.bits)
		if f.frequent[h/8]>>(h%8)&1 != 0 {
			continue
		}
		at := int(rowOf(h, f.rows, f.bits)) * f.rowLen
		row := f.row(f.body[at : at+f.rowLen])
		left := uint64(0)
		for k := range s {
			s[k] &= row[k]
			left |= s[k]
		}
		if left == 0 {
			return
		}
	}
}

// row decodes a row.
func (f *Filter) row(b []byte) (s Set) {
	var padded [MaxBlocks / 8]byte
	copy(padded[:], b)
	for i := range s {
		s[i] = binary.LittleEndian.Uint64(padded[i*8:])
	}
	return s
}
