package query

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"logscan/internal/journal"
)

// filtered is a log of several compressed segments with filters, behind which nothing is
// written, and random.
func filtered(t *testing.T) (*journal.Dir, *log, *rand.Rand) {
	t.Helper()
	random := rand.New(rand.NewPCG(3, 1))
	dir := newDir(t, journal.Config{})
	l := newLog(t, dir, journal.Container{ID: strings.Repeat("f", 64), Name: "web", Options: journal.Options{MaxSize: 2 << 20, MaxFile: 9, Compress: true}}, random)
	for n := 0; len(l.j.Segments()) < 4; n++ {
		stream := []string{"stdout", "stderr"}[min(1, random.IntN(4)/3)]
		text := fmt.Sprintf("%s request %016x of user %d", words[random.IntN(len(words))], random.Uint64(), random.IntN(1000))
		switch {
		case random.IntN(3000) == 0:
			text += []string{" 300 \u212aelvin", " Mi\u017fs", " ÄRGER mit Straße", " \xff\xfe broken", " Disk Space Low", " task KILLED"}[random.IntN(6)]
		case random.IntN(4) == 0:
			text += strings.Repeat(fmt.Sprintf(" GET /index.html?%x", random.Uint64()), 1+random.IntN(3))
		}
		if l.open[stream] != nil || random.IntN(30) == 0 {
			// In several chunks, between which the other stream may fill blocks.
			l.chunk(stream, text+strings.Repeat("x", random.IntN(1000)), random.IntN(5) == 0)
			continue
		}
		l.line(stream, text, 0)
	}
	maintain(t, dir)
	until(t, "rotated segments are compressed", func() bool {
		c, raw := files(t, roots[dir], l.j.Container().ID)
		return c == 3 && raw == 1
	})
	return dir, l, random
}

// TestFilters compares searches with a slow one over segments that have filters, by pieces
// of lines: in either case, across chunks and blocks, and of what isn't ASCII or UTF-8. Of
// what is rare, few bytes are read.
func TestFilters(t *testing.T) {
	dir, l, random := filtered(t)
	s := New(dir, nil, nil)
	_, end := l.j.Bounds()
	size := end - l.j.State().First
	compare := func(r Request) Summary {
		t.Helper()
		want := expected(t, []*log{l}, r)
		got, sum := all(t, s, r)
		if !slices.Equal(got, want) {
			differ(t, r, got, want)
		}
		return sum
	}
	for range 10 {
		w := l.lines[random.IntN(len(l.lines))]
		if !w.finished {
			continue
		}
		text := strings.TrimRight(w.text(0), "x")
		if len(w.chunks) > 1 && random.IntN(2) == 0 { // across two chunks
			text = w.text(0)
			at := len(w.chunks[0].text)
			text = text[max(0, at-6):min(len(text), at+6)]
		}
		if len(text) < 6 {
			continue
		}
		from := random.IntN(len(text) - 5)
		piece := strings.ToValidUTF8(text[from:min(len(text), from+5+random.IntN(30))], "")
		r := Request{Pattern: piece, Fixed: true, Order: Orders[random.IntN(2)]}
		switch random.IntN(5) {
		case 0:
			r.Pattern, r.IgnoreCase = strings.ToUpper(piece), true
		case 1:
			r.Pattern, r.Fixed = regexp.QuoteMeta(piece)+"|not[0-9]there", false
		case 2:
			r.Pattern, r.Fixed = regexp.QuoteMeta(piece[:len(piece)/2])+".{0,2}"+regexp.QuoteMeta(piece[len(piece)/2:]), false
		case 3:
			r.Invert = random.IntN(5) == 0
		}
		if random.IntN(3) == 0 {
			r.Before, r.After, r.Limit = 2, 2, 3
		}
		compare(r)
	}
	if sum := compare(Request{Pattern: "quite another thing", IgnoreCase: true}); sum.Bytes > size/4 {
		t.Errorf("of what isn't there, %d bytes of %d were read", sum.Bytes, size)
	}
	for _, expr := range []string{"kelvin", "MISS", "task killed|ärger", "sk"} {
		compare(Request{Pattern: expr, IgnoreCase: true})
	}
}

// TestFilterDamaged has filters that are damaged, and segments as earlier versions wrote
// them, tell nothing: all is found.
func TestFilterDamaged(t *testing.T) {
	dir, l, random := filtered(t)
	s := New(dir, nil, nil)
	r := Request{Pattern: "Disk Space Low|[kK]elvin|KILLED"}
	want := expected(t, []*log{l}, r)
	sum, err := s.Search(t.Context(), r, Output{Hit: func(*Hit) error { return nil }})
	if err != nil || len(want) == 0 || int(sum.Hits) != len(want) {
		t.Fatal(sum, len(want), err)
	}
	names, err := filepath.Glob(filepath.Join(roots[dir], l.j.Container().ID, "*.seg.zst"))
	if err != nil || len(names) != 3 {
		t.Fatal(names, err)
	}
	for i, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		end := strings.LastIndex(string(b), "logscanF")
		if end < 0 {
			t.Fatal("no filter in ", name)
		}
		switch i {
		case 0: // another version
			b[end-5]++
		case 1: // as if there were none
			copy(b[end:], "LOGSCANF")
		default:
			b[end-random.IntN(1000)] ^= 4
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, _ := all(t, s, r)
	if !slices.Equal(got, want) {
		differ(t, r, got, want)
	}
	again, err := s.Search(t.Context(), r, Output{Hit: func(*Hit) error { return nil }})
	if err != nil || again.Bytes < sum.Bytes || again.Bytes < l.j.State().End-l.j.State().First {
		t.Errorf("%d bytes were read, and with filters %d; %v", again.Bytes, sum.Bytes, err)
	}
}
