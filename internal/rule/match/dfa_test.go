package match

import (
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func newTestDFA(t testing.TB, limit, budget int64, patterns ...string) *dfa {
	t.Helper()
	var trees []*syntax.Regexp
	for _, p := range patterns {
		tree, err := syntax.Parse(p, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		trees = append(trees, tree.Simplify())
	}
	p, err := newProgram(trees)
	if err != nil {
		t.Fatal(err)
	}
	left := new(atomic.Int64)
	left.Store(budget)
	return newDFA(p, limit, left)
}

// With little memory it forgets states all the time, and refuses where that is
// all it would do; what it answers is right.
func TestDFAWithLittleMemory(t *testing.T) {
	patterns := []string{`[ab]{3}c.*d`, `(a|b)*c{5}`, `\bfoo\b`, `(?m)^x+$`, `(a.{8}b|é+)z`}
	o := newOracle(t, patterns)
	for _, limit := range []int64{1, 600, 2_000, 10_000, 1 << 20} {
		d := newTestDFA(t, limit, 1<<20, patterns...)
		r := rand.New(rand.NewPCG(1, uint64(limit)))
		answered, refused, resets := 0, 0, 0
		for range 1000 {
			var b strings.Builder
			for range r.IntN(60) {
				b.WriteString([]string{"a", "b", "c", "ccccc", "d", " foo ", "x", "\n", "é", "z", "\xff"}[r.IntN(11)])
			}
			line := b.String()
			era := d.cache.Load().era
			found, ok := d.run([]byte(line), 0, len(line), 1<<len(patterns)-1)
			resets += d.cache.Load().era - era
			if d.cache.Load().bytes > limit {
				t.Fatalf("%d bytes of states; the most is %d", d.cache.Load().bytes, limit)
			}
			if !ok {
				refused++
				d.rest.Store(0)
				continue
			}
			answered++
			for i, re := range o {
				if want := re.MatchString(line); want != (found>>i&1 != 0) {
					t.Fatalf("limit %d: %v on %q: want %v", limit, re, line, want)
				}
			}
		}
		switch {
		case limit == 1 && answered > 0, limit == 1<<20 && refused+resets > 0:
			t.Errorf("limit %d: answered %d, refused %d, resets %d", limit, answered, refused, resets)
		case limit == 10_000 && (answered == 0 || resets == 0):
			t.Errorf("limit %d: answered %d, refused %d, resets %d", limit, answered, refused, resets)
		}
	}
}

// A Matcher whose automata get no memory decides without.
func TestMatchWithoutStates(t *testing.T) {
	lines := trapLines()
	o := newOracle(t, trapPatterns)
	for _, budget := range []int64{0, 5_000, 100_000} {
		m := build(t, trapPatterns, nil)
		m.budget.Store(budget)
		for i := 0; i < len(lines); i += 9 {
			compare(t, m, o, lines[i], nil)
		}
		if left := m.budget.Load(); left < 0 {
			t.Errorf("%d bytes too many", -left)
		}
	}
}

// Parts of a line are decided as parts of that line: what stands before and
// behind matters.
func TestDFAWindow(t *testing.T) {
	for _, tt := range []struct {
		pattern, line string
		from, to      int
		want          bool
	}{
		{`^b`, "ab", 1, 2, false},
		{`\bb`, "ab", 1, 2, false},
		{`\Bb`, "ab", 1, 2, true},
		{`(?m)^b`, "\nb", 1, 2, true},
		{`b$`, "ba", 0, 1, false},
		{`b\b`, "ba", 0, 1, false},
		{`b\b`, "b a", 0, 1, true},
		{`b$`, "b", 0, 1, true},
		{`b\z`, "ab", 1, 2, true},
		{`bc`, "abc", 1, 3, true},
		{`bcd`, "abcd", 1, 3, false},
		{`\bb`, "éb", 2, 3, true},
		{`b\b`, "bé", 0, 1, true},
		{`\Bb`, "éb", 2, 3, false},
	} {
		d := newTestDFA(t, 1<<20, 1<<20, tt.pattern)
		found, ok := d.run([]byte(tt.line), tt.from, tt.to, 1)
		_, bits := newNFA(&d.program).run([]byte(tt.line), tt.from, tt.to)
		w := walker{program: &d.program}
		walked := w.run([]byte(tt.line), tt.from, tt.to)
		if !ok || (found != 0) != tt.want || bits != tt.want || walked != tt.want {
			t.Errorf("%s on %q from %d to %d: %v, %v, %v, %v", tt.pattern, tt.line, tt.from, tt.to, found, ok, bits, walked)
		}
	}
}

// A pattern that takes very many states costs no more than a bounded amount.
func TestHostilePattern(t *testing.T) {
	patterns := []string{`(a|b)*a(a|b){20}c`, `error.*(x.{0,90}y){3}`, strings.Repeat(`(a?){9}`, 20) + `z`}
	o := newOracle(t, patterns)
	m := build(t, patterns, nil)
	r := rand.New(rand.NewPCG(1, 1))
	for range 60 {
		b := []byte("error ")
		for range 500 {
			b = append(b, "abxy"[r.IntN(4)])
		}
		compare(t, m, o, string(b)+"c", nil)
	}
	if used := allCaches - m.budget.Load(); used < 0 || used > allCaches {
		t.Errorf("%d bytes", used)
	}
}

// Several goroutines share states while these come and go.
func TestConcurrently(t *testing.T) {
	patterns := append([]string{`(a|b)*a(a|b){6}c`, `\d+x`, `error.*[ab]{5}`}, trapPatterns[:40]...)
	m := build(t, patterns, nil)
	m.budget.Store(200_000)
	var res []*regexp.Regexp
	for _, p := range patterns {
		res = append(res, regexp.MustCompile(p))
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 3))
			var buf []uint32
			for range 400 {
				line := []byte(randomLine(r) + "error ")
				for range 60 {
					line = append(line, "abc1x"[r.IntN(5)])
				}
				buf = m.Match(line, nil, buf[:0])
				k := 0
				for i, re := range res {
					got := k < len(buf) && buf[k] == uint32(i)
					if got {
						k++
					}
					if want := re.Match(line); got != want {
						t.Errorf("%v on %q: %v, want %v", re, line, got, want)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestDrift(t *testing.T) {
	quiet := []byte("nothing to see here, move along please\n")
	patterns := []string{`failed to (open|close) file \d+`, `connection reset by \w+ at`, `segfault at \d+`}
	loud := []byte("failed to open file, connection reset by, segfault at ")
	feed := func(m *Matcher, line []byte, n int) {
		for range n {
			m.Match(line, nil, nil)
		}
	}
	m := build(t, patterns, Learn([]byte(strings.Repeat(string(quiet), 3000))))
	feed(m, loud, 1000)
	if m.Drifted() {
		t.Error("drifted after a few lines")
	}
	feed(m, quiet, 2*driftLines)
	if m.Drifted() {
		t.Error("drifted over lines like those learned")
	}
	feed(m, loud, driftLines+meterEvery)
	if !m.Drifted() {
		t.Error("other lines, no drift")
	}
	if m.Drifted() {
		t.Error("drifted twice over the same lines")
	}
	m = build(t, patterns, Learn([]byte(strings.Repeat(string(loud)+"\n", 3000))))
	feed(m, loud, driftLines+meterEvery)
	if m.Drifted() {
		t.Error("drifted although it was made for these lines")
	}
}
