package match

import (
	_ "embed"
	"encoding/binary"
	"math"
	"slices"
	"sync"
)

// Stats says how often strings occur in the lines that are to be matched. It
// decides how fast a Matcher is, never what it finds. It doesn't change and
// may be used concurrently. Letters' cases are taken together.
type Stats struct {
	bytes float64
	runs  [3][1 << runBits]uint16 // of 3, 4 and 8 bytes, hashed
	pairs [1 << 16]uint32
	first [1 << 8]uint32
	// sample is some of the lines, from the middle.
	sample []byte
}

const (
	runBits = 18
	mix32   = 0x9E3779B1         // Fibonacci hashing
	mix64   = 0x9E3779B97F4A7C15 //
	low24   = 0xffffff           // the first three bytes of a gram
	fold32  = 0x20202020
	fold64  = 0x2020202020202020
	// prior is how many bytes of text a guess from pairs of bytes is worth.
	prior = 1 << 15
	// minSample is how many bytes say enough by themselves.
	minSample = 64 << 10
	// maxSample bounds what is kept of the sample, in bytes.
	maxSample = 512 << 10
)

// Learn counts what is in a sample: lines, with a newline behind each. Some
// hundred KiB are enough; without any, nil stands for lines as they commonly
// are.
func Learn(sample []byte) *Stats {
	if len(sample) == 0 {
		return nil
	}
	s := &Stats{}
	from := max(0, len(sample)-maxSample) / 2
	s.sample = slices.Clone(sample[from:min(from+maxSample, len(sample))])
	if len(sample) < minSample {
		sample = slices.Concat(typical, sample)
	}
	le := binary.LittleEndian
	for i := 0; i+8 <= len(sample); i++ {
		w := le.Uint64(sample[i:]) | fold64
		s.first[byte(w)]++
		s.pairs[uint16(w)]++
		count(&s.runs[0][run4(uint32(w)&low24)])
		count(&s.runs[1][run4(uint32(w))])
		count(&s.runs[2][run8(w)])
		s.bytes++
	}
	return s
}

func count(n *uint16) {
	if *n < math.MaxUint16 {
		*n++
	}
}

// typical is made of lines as common programs write them.
//
//go:embed typical.txt
var typical []byte

// fixed is what there is to go by without a sample.
var fixed = sync.OnceValue(func() *Stats { return Learn(typical) })

func run4(g uint32) uint32 { return g * mix32 >> (32 - runBits) }
func run8(g uint64) uint64 { return g * mix64 >> (64 - runBits) }

// gram returns four bytes of a text, folded.
func gram(text string, at int) uint32 {
	return uint32(text[at]) | uint32(text[at+1])<<8 | uint32(text[at+2])<<16 | uint32(text[at+3])<<24 | fold32
}

// guess estimates from pairs how often a text of n folded bytes occurs at a
// place.
func (s *Stats) guess(w uint64, n int) float64 {
	p := (float64(s.first[byte(w)]) + 0.5) / (s.bytes + 128)
	for i := 1; i < n; i++ {
		p *= (float64(s.pairs[uint16(w)]) + 0.02) / (float64(s.first[byte(w)]) + 2.56)
		w >>= 8
	}
	return p
}

func (s *Stats) blend(count, guess float64) float64 {
	return (count + prior*guess) / (s.bytes + prior)
}

// rate is how often a text occurs at a place.
func (s *Stats) rate(text string) float64 {
	if len(text) < 4 {
		var w uint64
		for i := range len(text) {
			w |= uint64(text[i]|0x20) << (8 * i)
		}
		if len(text) == 3 {
			return s.blend(float64(s.runs[0][run4(uint32(w))]), s.guess(w, 3))
		}
		return s.guess(w, len(text))
	}
	least := 1.0
	if len(text) < 8 {
		for i := 0; i+4 <= len(text); i++ {
			g := gram(text, i)
			least = min(least, s.blend(float64(s.runs[1][run4(g)]), s.guess(uint64(g), 4)))
		}
		return least
	}
	for i := 0; i+8 <= len(text); i++ {
		w := uint64(gram(text, i)) | uint64(gram(text, i+4))<<32
		least = min(least, s.blend(float64(s.runs[2][run8(w)]), s.guess(w, 8)))
	}
	return least
}
