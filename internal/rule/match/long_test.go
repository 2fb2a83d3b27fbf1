package match

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// everyMeans calls f while m decides with its automata, without, and with its
// lines' work counted.
func everyMeans(m *Matcher, f func()) {
	f()
	left := m.budget.Swap(0)
	f()
	short := m.short
	m.short, m.work = -1, unlimited
	f()
	m.budget.Store(left)
	f()
	m.short, m.work = short, lineWork
}

// Without states, and without memory at all, an expression is decided the same.
func TestNFA(t *testing.T) {
	lines := trapLines()
	for k, p := range trapPatterns {
		re := regexp.MustCompile(p)
		d := newTestDFA(t, 1, 1, p)
		n := newNFA(&d.program)
		w := walker{program: &d.program}
		for i := k % 3; i < len(lines); i += 3 {
			b := []byte(lines[i])
			want := re.Match(b)
			if end, got := n.run(b, 0, len(b)); got != want || end > len(b) {
				t.Errorf("%s on %q: %v to %d, want %v", p, b, got, end, want)
			}
			if got := w.run(b, 0, len(b)); got != want {
				t.Errorf("%s on %q: %v in single steps, want %v", p, b, got, want)
			}
		}
	}
}

// widePatterns match over more than a few bytes.
var widePatterns = []string{
	`ERROR.{0,500}timeout`, `ERROR.{0,300}?timeout`, `(?i)exception.{1,200}at com\.`, `ERROR.*timeout`, `ERROR.*refused.*timeout`, `timeout.*ERROR`,
	`user=\S{1,64} .{0,100}denied`, `a[ab]{900}c`, `took (?P<ms>\d{4,}) ms`, `^x.{300,400}timeout`, `ERROR.{290,310}timeout$`, `\bERROR\b.{0,400}\btimeout\b`,
	`(ERROR|refused).{0,280}(timeout|denied)`, `ERROR[^x]{0,400}timeout`, `(?s)ERROR.{0,300}\n.{0,300}timeout`, `\x{FFFD}.{0,300}timeout`, `é.{0,300}日`, `(?i)task.{0,300}kill`,
	`(?m)^ERROR.{0,300}timeout$`, `timeout.{0,10}ERROR.{0,500}denied`, `(\w+)=(\d{1,5}).{0,300}denied`, `ERROR(.{0,300})(refused)?(.{0,300})timeout`,
}

// hostilePatterns take as many states as a text can make them take, or have as
// many ways to go on.
var hostilePatterns = []string{`(?:ab|cd){0,100}x\d`, `(a|b)*a(a|b){20}c`, `(a?){300}c`, `(a?){1000}x`, `ERROR(?:x|yy|a+){1,40}timeout`}

// wideLine is long, and full of what those are about.
func wideLine(r *rand.Rand) string {
	words := []string{
		"ERROR", "timeout", "refused", "denied", "exception", "Exception", "at com.", "user=x ", "took 12345 ms", "x", "yy", " ", " ", ".", "a", "b", "ab", "cd", "c", "\n",
		"é", "日", "\xff", "\xe6\x97", "\u212a", "ta\u017fk", "task", "kill", "timeou", "ERRO", "=123", "\x80\x80\x80\x80\x80",
	}
	few := make([]string, 1+r.IntN(8))
	for i := range few {
		few[i] = words[r.IntN(len(words))]
	}
	var b strings.Builder
	for n := 200 << r.IntN(6); b.Len() < n; {
		switch r.IntN(12) {
		case 0:
			b.WriteString(words[r.IntN(len(words))])
		case 1:
			b.WriteString(strings.Repeat(few[r.IntN(len(few))], r.IntN(300)))
		default:
			b.WriteString(few[r.IntN(len(few))])
		}
	}
	return b.String()
}

// On long lines, where only parts are looked at, the hits and groups are those of
// package regexp on the whole.
func TestLongLines(t *testing.T) {
	patterns := slices.Concat(widePatterns, hostilePatterns)
	o := newOracle(t, patterns)
	var trained []byte
	for seed := range uint64(4) {
		trained = append(trained, strings.ReplaceAll(wideLine(rand.New(rand.NewPCG(seed, 9))), "\n", " ")+"\n"...)
	}
	for _, stats := range []*Stats{nil, Learn(trained)} {
		everyStride(t, patterns, stats, func(m *Matcher) {
			for seed := range uint64(12 / slowness) {
				line := wideLine(rand.New(rand.NewPCG(seed, 5)))
				want := o.match([]byte(line), nil)
				everyMeans(m, func() {
					check(t, m, o, line, nil, want)
				})
				if seed%4 == 0 {
					compareGroups(t, m, o, line)
				}
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

// compareGroups compares the leftmost matches and their groups with the oracle's,
// found in the whole line and in a part of it.
func compareGroups(t testing.TB, m *Matcher, o oracle, line string) {
	t.Helper()
	b := []byte(line)
	for i, re := range o {
		want := re.FindSubmatchIndex(b)
		if got, _, ok := m.Submatch(uint32(i), b, unlimited); !ok || !slices.Equal(got, want) {
			t.Errorf("%q on %q: %v, want %v", re, line, got, want)
		}
		r := &m.rules[i]
		if n := r.compiled().nfa; n != nil && r.facts.max < unbounded && r.behind() != nil {
			if got := r.submatch(n, b); !slices.Equal(got, want) {
				t.Errorf("%q on %q: %v in a part, want %v", re, line, got, want)
			}
		}
	}
}

func TestGroups(t *testing.T) {
	patterns := append([]string{`\Qa.b`, `\Qa.b\E`, `(a)(b)?\b`, `(?P<x>foo|foobar)(\d*)`, `(\w{1,3})$`, `(^|é)b(ar)?`, `\\Q`}, trapPatterns...)
	o := newOracle(t, patterns)
	m := build(t, patterns, nil)
	lines := append(trapLines(), "a.b", "xxa.b", "ab abc", "xx foobar12 foo")
	for i := 0; i < len(lines); i += 3 * slowness {
		compareGroups(t, m, o, lines[i])
		compareGroups(t, m, o, "é"+lines[i]+"é"+lines[i])
	}
}

// A line made to be dear for an ordinary expression isn't.
func TestOneLine(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	mix := func(words ...string) []byte {
		var b strings.Builder
		b.WriteString("timeout at com. denied ")
		for b.Len() < 1<<20 {
			b.WriteString(words[r.IntN(len(words))])
		}
		return []byte(b.String()[:1<<20])
	}
	for _, c := range []struct {
		pattern string
		line    []byte
		most    int64 // units of work
	}{
		{`ERROR.{0,500}timeout`, mix("ERROR", "x", "yy", " "), 1 << 20},
		{`ERROR.{0,200}timeout`, mix("ERROR", "x", "yy", " "), 1 << 20},
		{`(?i)exception.{1,200}at com\.`, mix("exception", "x", "yy", " "), 1 << 20},
		{`user=\S{1,64} .{0,100}denied`, mix("user=a ", "user=bb", "x", " "), 1 << 20},
		{`took (?P<ms>\d{4,}) ms`, mix("took ", "1", "22", " ms", "x"), 16 << 20},
		{`ERROR.*timeout`, mix("ERROR", "x", "yy", " "), 4 << 20},
		{`denied.*timeout`, mix("ERROR", "timeout", "x"), 16 << 20},
		{`a[ab]{900}c`, mix("a", "b"), 64 << 20},
	} {
		for _, states := range []int64{0, allCaches} {
			m := build(t, []string{c.pattern}, nil)
			m.budget.Store(states)
			s := m.Acquire()
			if s.Match(c.line, nil); s.Work() > c.most || len(s.GivenUp()) > 0 {
				t.Errorf("%s: %d units of work, the most is %d; given up: %v", c.pattern, s.Work(), c.most, s.GivenUp())
			}
		}
	}
}

// What a line costs is bounded, whatever it holds and however many patterns it is
// made against; and which of them are given up is the same with other Stats, with
// automata that know the line already, and with others that have no memory.
func TestLineWork(t *testing.T) {
	const patterns = 1000
	var exprs []string
	for i := range patterns {
		exprs = append(exprs, []string{`ERROR.{0,500}x%d`, `ERROR.*y%d[ab]{30}z`, `(?i)exception.{1,200}at y%d\.`, `q%d(a|b)*a(a|b){20}c`}[i%4])
		exprs[i] = strings.ReplaceAll(exprs[i], "%d", strings.Repeat(string(rune('a'+i%26)), 2+i/26%10)+string(rune('a'+i/260)))
	}
	var b strings.Builder
	r := rand.New(rand.NewPCG(1, 2))
	for b.Len() < 1<<20 {
		for range 20 {
			b.WriteString([]string{"ERROR", "exception", "a", "b", "ab", " "}[r.IntN(6)])
		}
		e := exprs[r.IntN(patterns)]
		b.WriteString([]string{"x", "y", "at y", "q"}[r.IntN(4)] + strings.Trim(e[max(0, len(e)-14):], ")}{0123456789.\\*([]|"))
	}
	line := []byte(b.String())
	quiet := []byte(strings.Repeat("nothing at all\n", 10_000))
	var hits, givenUp []uint32
	for k, stats := range []*Stats{nil, Learn(quiet), Learn([]byte(b.String()[:1<<16] + "\n"))} {
		m := build(t, exprs, stats)
		if k == 2 {
			m.budget.Store(0)
		}
		for range 2 {
			s := m.Acquire()
			got := slices.Clone(s.Match(line, nil))
			if s.Work() > lineWork || s.Work() < lineWork/2 {
				t.Errorf("%d units of work; the bound is %d", s.Work(), lineWork)
			}
			if hits == nil {
				hits, givenUp = got, slices.Clone(s.GivenUp())
				t.Logf("%d hits, %d given up, %d units", len(hits), len(givenUp), s.Work())
			}
			if !slices.Equal(hits, got) || !slices.Equal(givenUp, s.GivenUp()) || len(givenUp) == 0 {
				t.Errorf("Stats %d: %d hits and %d given up; before %d and %d", k, len(got), len(s.GivenUp()), len(hits), len(givenUp))
			}
			s.Release()
		}
	}
}

// Ordinary rules on ordinary lines, long ones too, never come near the bound.
func TestHonestLineWork(t *testing.T) {
	rules := exprsOf(1000)
	rules = append(rules, widePatterns...)
	m := build(t, rules, nil)
	m.short = -1 // count
	var trace strings.Builder
	trace.WriteString("ERROR request failed: java.lang.IllegalStateException: connection refused, timeout after 30000 ms")
	for i := 0; trace.Len() < 100<<10; i++ {
		trace.WriteString("\n\tat com.example.shop.checkout.PaymentService.retry(PaymentService.java:412) Caused by: exception: task failed, user=bob denied")
	}
	long := long(100 << 10)
	for _, line := range [][]byte{[]byte(trace.String()), long, long[:16<<10]} {
		s := m.Acquire()
		s.Match(line, nil)
		t.Logf("%d bytes: %.3f of the bound", len(line), float64(s.Work())/lineWork)
		if len(s.GivenUp()) > 0 || s.Work() > lineWork/2 {
			t.Errorf("%d bytes: %d of %d units, %d given up", len(line), s.Work(), lineWork, len(s.GivenUp()))
		}
	}
}
