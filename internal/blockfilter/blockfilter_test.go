package blockfilter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"logscan/internal/entry"
	"logscan/internal/rule/match"
)

func encoder(t testing.TB) *zstd.Encoder {
	t.Helper()
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { enc.Close() })
	return enc
}

// ended is a line, and the block in which it ends.
type ended struct {
	text  string
	block int
}

// writer makes blocks of lines, some of them in chunks that lie in several blocks.
type writer struct {
	*rand.Rand
	blocks  [][]byte
	lines   []ended
	joiners [2]entry.Joiner
	at      [2]int // block of the latest chunk
	n       int
	ids     [2]string // of the lines in chunks
	whole   bool      // there are none
}

func (w *writer) word() string {
	switch w.IntN(40) {
	case 0:
		if len(w.blocks)%10 == 3 {
			return "\u212aelvin \u017fee"
		}
	case 1:
		return "\xff\xfe\x80broken"
	case 2:
		return "ÄRGER Straße"
	}
	return fmt.Sprintf([]string{"Level=%x", "user%d", "%08x", "GET /api/%d", "Disk %d"}[w.IntN(5)], w.Uint32()>>w.IntN(20))
}

func (w *writer) text() string {
	var all []string
	for range 1 + w.IntN(8) {
		all = append(all, w.word())
	}
	return strings.Join(all, " ")
}

// block adds one.
func (w *writer) block(entries int) []byte {
	k := len(w.blocks)
	var b []byte
	for range entries {
		i := w.IntN(2)
		j := &w.joiners[i]
		e := entry.Entry{Source: []string{"stdout", "stderr"}[i], TimeNano: 1e18, Line: []byte(w.text())}
		if j.Max = 1 << 20; !w.whole && w.IntN(3) == 0 {
			if !j.Pending() || w.IntN(10) == 0 {
				w.n++ // another line; what was unfinished is over
				e.Ordinal = 1
			} else {
				e.Ordinal = 2
			}
			e.Partial, e.HasMeta, e.ID, e.Last = true, true, fmt.Sprint(i, w.n), w.IntN(4) == 0
			if e.Ordinal > 1 {
				e.ID = w.ids[i]
			}
			if w.IntN(5) == 0 {
				e.Line = e.Line[:w.IntN(3)]
			}
			w.ids[i] = e.ID
		}
		b = entry.Append(b, &e)
		if j.Interrupts(&e) {
			if l, ok := j.Flush(); ok {
				w.lines = append(w.lines, ended{string(l.Text), w.at[i]})
			}
		}
		w.at[i] = k
		if l, ok := j.Add(&e); ok {
			w.lines = append(w.lines, ended{string(l.Text), k})
		}
	}
	w.blocks = append(w.blocks, b)
	return b
}

// TestHolding looks for pieces of lines, in either case and by the literals of patterns: no
// block in which such a line ends is left out, and of others most are.
func TestHolding(t *testing.T) {
	enc := encoder(t)
	for _, n := range []int{2, 3, 8, 63, 64, 65, 320, MaxBlocks} {
		w := &writer{Rand: rand.New(rand.NewPCG(1, uint64(n)))}
		var b Builder
		b.Reset()
		for range n {
			b.Add(w.block(60))
		}
		out := b.Append([]byte("before"), 1000+n*2000, enc)
		f, err := Read(bytes.NewReader(out), int64(len(out)), n)
		if err != nil {
			t.Fatalf("%d blocks: %v", n, err)
		}
		if got := len(out) - len("before"); got > 1000+n*2000 {
			t.Errorf("%d blocks: a filter of %d bytes", n, got)
		}
		for _, k := range w.Perm(len(w.lines))[:min(200, len(w.lines))] {
			l := w.lines[k]
			if len(l.text) < 20 {
				continue
			}
			at := w.IntN(len(l.text) - 12)
			piece := l.text[at : at+4+w.IntN(min(30, len(l.text)-at-4))]
			for _, expr := range []string{
				regexp.QuoteMeta(piece), "(?i)" + regexp.QuoteMeta(piece), "(?i)" + regexp.QuoteMeta(strings.ToUpper(piece)), regexp.QuoteMeta(piece) + "|other[0-9]+",
				"(?i)" + regexp.QuoteMeta(piece[:len(piece)/2]) + ".?.?" + regexp.QuoteMeta(piece[len(piece)/2:]),
			} {
				re, err := regexp.Compile(expr)
				if err != nil || !re.MatchString(l.text) { // of what isn't UTF-8
					continue
				}
				p, err := match.NewPattern(expr)
				if err != nil {
					t.Fatal(err)
				}
				wanted := Want(p.Required())
				if wanted == nil {
					continue
				}
				if set := f.Holding(wanted); !set.Has(l.block) {
					t.Fatalf("%d blocks: %s is missed in block %d: %q", n, expr, l.block, l.text)
				}
			}
		}
		if n < 64 {
			continue
		}
		open := f.row(f.open)
		free := 0
		for k := range n {
			if !open.Has(k) {
				free++
			}
		}
		for range 200 {
			set := f.Holding(Want([][]string{{fmt.Sprintf("nothing like %016x", w.Uint64())}}))
			for k := range n {
				if set.Has(k) && !open.Has(k) {
					t.Fatalf("%d blocks: a text that isn't there may be in block %d", n, k)
				}
			}
		}
		if free == 0 {
			t.Errorf("%d blocks: all of them are open", n)
		}
	}
}

// TestOpen has blocks of which not all is known: they may hold anything.
func TestOpen(t *testing.T) {
	chunk := func(id string, ordinal int32, last bool, text string) entry.Entry {
		return entry.Entry{Source: "stdout", TimeNano: 1e18, Line: []byte(text), Partial: true, HasMeta: true, ID: id, Ordinal: ordinal, Last: last}
	}
	frames := func(all ...entry.Entry) (b []byte) {
		for i := range all {
			b = entry.Append(b, &all[i])
		}
		return b
	}
	plain := entry.Entry{Source: "stdout", TimeNano: 1e18, Line: []byte("plain text")}
	other := entry.Entry{Source: "stderr", TimeNano: 1e18, Line: []byte("plain text")}
	damaged := frames(plain, plain)
	copy(damaged, "\xff\xff\xff\xff")
	noLine := binary.BigEndian.AppendUint32(nil, 3)
	noLine = append(noLine, "\xff\xff\xff"...)
	noMeta := chunk("", 0, false, "text")
	noMeta.HasMeta = false
	for name, c := range map[string]struct {
		blocks [][]byte
		open   string
	}{
		"all known":                  {[][]byte{frames(plain), frames(chunk("a", 1, false, "x"), other), frames(chunk("a", 2, true, "y"))}, "..."},
		"goes on an earlier segment": {[][]byte{frames(chunk("a", 3, false, "x")), frames(other), frames(chunk("a", 4, true, "y")), frames(plain)}, "o.o."},
		"without what tells chunks":  {[][]byte{frames(noMeta), frames(plain)}, "o."},
		"U+212A":                     {[][]byte{frames(entry.Entry{Source: "stdout", Line: []byte("2 \u212a")}), frames(plain)}, "o."},
		"U+017F in two chunks":       {[][]byte{frames(chunk("a", 1, false, "long\xc5")), frames(chunk("a", 2, false, "\xbfs")), frames(other), frames(chunk("a", 3, true, ""), plain), frames(plain)}, ".o.o."},
		"damaged":                    {[][]byte{frames(plain), damaged, frames(plain)}, ".o."},
		"damaged within a line":      {[][]byte{frames(chunk("a", 1, false, "x")), damaged, frames(chunk("a", 2, true, "y")), frames(plain)}, ".oo."},
		"an entry that isn't one":    {[][]byte{frames(plain), append(noLine, frames(plain)...), frames(plain)}, ".o."},
	} {
		var b Builder
		got := ""
		for _, block := range c.blocks {
			b.Add(block)
		}
		for k := range c.blocks {
			got += string(".o"[b.open[0]>>k&1])
		}
		if got != c.open {
			t.Errorf("%s: open %s; want %s", name, got, c.open)
		}
	}
}

// built is a filter of some blocks.
func built(t testing.TB, n int) []byte {
	t.Helper()
	w := &writer{Rand: rand.New(rand.NewPCG(1, 3))}
	var b Builder
	for range n {
		b.Add(w.block(40))
	}
	out := b.Append(nil, n*2000, encoder(t))
	if len(out) == 0 {
		t.Fatal("no filter")
	}
	return out
}

// TestDamaged has a filter that is damaged anywhere, cut off, of another version or of
// other blocks be none; and it is a frame that zstd passes over.
func TestDamaged(t *testing.T) {
	whole := built(t, 20)
	read := func(b []byte, blocks int) error {
		_, err := Read(bytes.NewReader(b), int64(len(b)), blocks)
		return err
	}
	if err := read(whole, 20); err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1 << (i % 8)
		if read(b, 20) == nil {
			t.Errorf("byte %d of %d damaged: it is still a filter", i, len(whole))
		}
	}
	for _, n := range []int{0, 1, tailLen, len(whole) / 2, len(whole) - 1} {
		if read(whole[:n], 20) == nil || n > 0 && read(whole[len(whole)-n:], 20) == nil {
			t.Errorf("cut off to %d bytes: it is still a filter", n)
		}
	}
	if read(whole, 19) == nil || read(whole, 21) == nil {
		t.Error("a filter of other blocks")
	}
	next := bytes.Clone(whole)
	binary.BigEndian.PutUint32(next[len(next)-16:], version+1)
	binary.BigEndian.PutUint32(next[len(next)-12:], crc32.Checksum(next[headLen:len(next)-12], castagnoli))
	if read(next, 20) == nil {
		t.Error("a filter of another version")
	}
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	if out, err := dec.DecodeAll(append(encoder(t).EncodeAll([]byte("block"), nil), whole...), nil); err != nil || string(out) != "block" {
		t.Errorf("unpacked: %q, %v", out, err)
	}
}

// TestSmall has no filter where the share for it is too small, and none too large.
func TestSmall(t *testing.T) {
	w := &writer{Rand: rand.New(rand.NewPCG(1, 4))}
	var b Builder
	enc := encoder(t)
	for size := 0; size < 20_000; size += 313 {
		for range 30 {
			b.Add(w.block(10))
		}
		out := b.Append(nil, size, enc)
		if len(out) > size || b.Len() != 0 {
			t.Errorf("%d bytes in %d", len(out), size)
		}
		if len(out) == 0 && size > 4_000 {
			t.Errorf("no filter in %d bytes", size)
		}
		if len(out) > 0 {
			if _, err := Read(bytes.NewReader(out), int64(len(out)), 30); err != nil {
				t.Error(err)
			}
		}
	}
}

// FuzzRead reads any bytes as a filter, with the checksum put right.
func FuzzRead(f *testing.F) {
	f.Add(built(f, 20), 20)
	f.Add(built(f, 65), 65)
	f.Fuzz(func(t *testing.T, b []byte, blocks int) {
		wanted := Want([][]string{{"some text", "other"}, {"GET /"}})
		for range 2 {
			if got, err := Read(bytes.NewReader(b), int64(len(b)), blocks); err == nil {
				set := got.Holding(wanted)
				for i := blocks; i < MaxBlocks; i++ {
					if set.Has(i) {
						t.Fatalf("block %d of %d", i, blocks)
					}
				}
			}
			if len(b) < headLen+tailLen {
				return
			}
			b = bytes.Clone(b)
			binary.BigEndian.PutUint32(b[len(b)-12:], crc32.Checksum(b[headLen:len(b)-12], castagnoli))
		}
	})
}

// BenchmarkBuild tells what a filter costs beside compression: ns a byte of frames.
func BenchmarkBuild(b *testing.B) {
	w := &writer{Rand: rand.New(rand.NewPCG(1, 5)), whole: true}
	var blocks [][]byte
	for range 320 {
		var block []byte
		for len(block) < 64<<10 {
			block = append(block, w.block(50)...)
		}
		blocks = append(blocks, block)
	}
	enc := encoder(b)
	b.Run("compress", func(b *testing.B) {
		var out []byte
		for n := 0; b.Loop(); n++ {
			k := n % len(blocks)
			out = enc.EncodeAll(blocks[k], out[:0])
			b.SetBytes(int64(len(blocks[k])))
		}
	})
	b.Run("filter", func(b *testing.B) {
		var f Builder
		var out []byte
		for n := 0; b.Loop(); n++ {
			k := n % len(blocks)
			f.Add(blocks[k])
			if k == len(blocks)-1 {
				out = f.Append(out[:0], 80<<10, enc)
			}
			b.SetBytes(int64(len(blocks[k])))
		}
	})
}
