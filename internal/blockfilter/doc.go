// Package blockfilter says which blocks of a log's frames may hold a text, so that a
// search needn't read the others.
//
// # Grams
//
// A filter knows of each block which grams of four bytes are in the lines that may end in
// it, in either case: a byte counts with 0x20 set, of the text as of what is looked for.
// A gram is a hash of 16 bits or, where there is little room, fewer. What is in more than
// half of the blocks tells little, and is left out; so are the most frequent of the others,
// as far as room asks for it.
//
// A line in chunks counts, as far as it has come, for each block with a chunk of it,
// whatever ends it there. Where its beginning isn't known, or frames are damaged, or a
// text has one of the two runes beyond ASCII that (?i) takes for k and s, the block is
// open: it may hold anything.
//
// # What it promises
//
//   - A block that holds a line with the text is never passed over.
//   - A filter that is damaged, of another version, or of other blocks is none.
//   - A filter takes the share of its blocks that it is told, at most; where that is too
//     little, there is none.
//   - Everything here is a pure function of bytes, and its memory is bounded: some 8 MiB
//     to build a filter, and what is read of one.
package blockfilter

import (
	"errors"
	"hash/crc32"
)

// A filter is a skippable zstd frame (RFC 8878, 3.1.2):
//
//	+------------------------------+
//	| 0x184D2A51, length           |  little-endian uint32 each
//	| frequent: zstd of 2^bits bits|  hashes of grams that are left out
//	| open: a row                  |  blocks that may hold anything
//	| rows                         |  which blocks have a gram whose hash falls to the row
//	| length of frequent uint32, rows uint32, blocks uint16, bits uint16, version uint32,
//	| crc32c of all behind the length, "logscanF"
//	+------------------------------+  big-endian
//
// A row has a bit for each block, the least of a byte first, and whole bytes. A hash falls
// to the row hash * rows / 2^bits. Hashes of fewer bits are the upper ones of longer ones.
const (
	magic        = 0x184D2A51
	headLen      = 8
	tailLen      = 28
	version      = 1
	hashBits     = 16
	hashes       = 1 << hashBits
	bitmapLen    = hashes / 8 // bytes
	gramLen      = 4
	leastBits    = 14
	leastRows    = 64
	fewest       = 10 // what isn't in more than one of so many blocks has to have room
	maxRows      = hashes
	fold32       = 0x20202020
	fold64       = 0x2020202020202020
	multiplier32 = 0x9E3779B1
)

// Bounds of a filter.
const (
	MaxBlocks = 512     // that it is about
	MaxLen    = 1 << 20 // bytes
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	tailMagic  = [8]byte{'l', 'o', 'g', 's', 'c', 'a', 'n', 'F'}
	errFilter  = errors.New("blockfilter: no filter that is whole and known")
)

// bitmap has a bit for each hash.
type bitmap [hashes / 64]uint64

// Set is blocks, a bit each.
type Set [MaxBlocks / 64]uint64

// Has reports whether a block is in it.
func (s *Set) Has(i int) bool { return s[i/64]>>(i%64)&1 != 0 }

func hash(gram uint32) uint32 { return (gram | fold32) * multiplier32 >> (32 - hashBits) }

func rowOf(hash, rows uint32, bits int) uint32 { return uint32(uint64(hash) * uint64(rows) >> bits) }
