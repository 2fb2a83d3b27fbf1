package match

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// trapPatterns are those that a matcher like this one may well get wrong.
var trapPatterns = []string{
	// (?i) takes runes beyond ASCII for k and s.
	`(?i)task killed`, `(?i)kernel`, `(?i)straße`, `(?i)É`, `(?i)[k]ey=`, `(?i)s`, `(?i)\x{212a}elvin`, `(?i)ſtart`, `(?i:[k-s])ey=val`,
	`(?i)(success|successful) stopped services`, `(?i)kiosk kiosk kiosk`, `a{0,3}(?i)ask$`,
	// Case, half of it.
	`error(?i)FATAL`, `(?i:WARN)ing`, `[Ee]rror`, `[Ee][Rr][Rr]or code`, `(?i)Ĳssel error`, `(?i)αβγδ`, `(?i)ǆungla`,
	// Empty branches and repeats.
	`foo|`, `(foo|bar|)baz`, `a*`, `a*?`, `(a*)*`, `(a|b*)*c`, `(?:(?:a*)+)*x{0}`, `x{0}error`, `(error){0,2}z`, `(?:panic){2,3}`, `(abc){1,}`, `(|a)+foo`, `(?:)`,
	`(a+)+b`, `(?:x?){30}y`, `x{1000}`, `[ab]{40}z`, `.{3,200}end`,
	// Anchors and boundaries.
	`^$`, `^`, `$`, `$^`, `(?m)^foo$`, `(?m)$`, `(?m)^`, `\Afoo\z`, `\z`, `foo\z`, `foo$`, `^foo`, `(^|x)foo($|y)`, `a^b`, `a$b`, `(?m)a$\nb`, `(?m)^b`,
	`\bOOM\b`, `\B`, `\b`, `\Bfoo`, `foo\B`, `\b5\d\d\b`, `é\b`, `\bé`, `\Bé\B`, `(?m)^\s*$`, `\b\B`, `(\b|x)foo`,
	// Newlines, and bytes that are hardly ever there.
	`foo\nbar`, `(?s)foo.*bar`, `foo.bar`, `[^a]bcdef`, `foo[^x]bar`, `\x00\x01\x02\x03\x04\x05\x06\x07`, `\x10\x11\x12\x13\x14\x15\x16\x17`, `\rfoo`, `a\tb\tcdef`, `\x00`, `\x7f\x7f\x7f\x7f`,
	// Invalid UTF-8 reads as U+FFFD.
	`\x{FFFD}bad`, `[\x{FFFD}x]yzzy`, `bad\x{FFFD}`, `.bad`, `^.{3}bad`, `[^\x00-\x{10FFFF}]`, `\x{FFFD}`, `[^\x{FFFD}]bad`, `(?:\x{FFFD}|abc)def`, `foo.{1,3}bar`, `\x{D800}foo`, `[\x{D800}-\x{DFFF}]bar`,
	// Folding with 0x20 takes these for each other.
	`@[A-Z]{2}`, "`tick`[{]", `\Q[x]\E`, `\[error\]`, `\{error\}`, `\^_\^`, `0123456789`, `PPPP\x10`, `\|\|\\\\`,
	// Short literals, at either end.
	`OOM`, `WARN`, `ab`, `a`, `é`, `日`, `x=1$`, `^abc`, `abc$`, `abcd$`, `abcde$`, `abcdef$`, `(OOM|WARN|ERROR)`, `foo.*bar`, `(foo|quux)[0-9]+bar`, `foo`, `(?i)foo`, `foox?`,
	// Sets of literals.
	`(abc|abd|abe)x`, `(a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p|q)(1|2|3|4|5|6|7|8)longlit`, `foo(bar|baz|)qux`, `err(or|no)?=(failed|refused)`, `(aa|aaa|aaaa)b`, `(?:foo|xfoobar)baz`, `(foo|foobar)$`, `^(xfoo|foo)!`,
	// What is bounded, and what isn't.
	`x\d{3}abcde`, `abcde\d{3}`, `(?:é|日){3}abcde`, `abcde.*z`, `z.*abcde`, `z.*abcde.*z`, `abcde[^z]*z`, `ab(cd)+ef`, `(?U)foo.+bar`, `foo.+?bar`, `(?s).*foo`, `[a-z]*abcde[0-9]*`,
	// Classes.
	`é+rror`, `日本語ログ`, `日本.ログ`, `\pL+error`, `\p{Greek}{2}`, `[[:^ascii:]]x`, `[0-9]{3}-[0-9]{4}`, `\d+ms`, `status=5\d\d`, `[^\d\s]{5}`, `[a-zé-ü]+1`, `\pN`, `[\x{80}-\x{7ff}]a`, `\S+@\S+`, `[^[:^alpha:]]{4}9`,
}

// trapLines are made to hold what they look for, or nearly so, in every place.
func trapLines() []string {
	base := []string{
		"task killed", "TASK KILLED", "ta\u017fk \u212ailled", "\u212aernel", "kernel", "KERNEL", "STRASSE", "straße", "STRA\u1e9eE", "É", "é", "key=", "\u212aey=", "KEY=", "s", "\u017f", "sey=val", "\u212aey=val", "\u017fey=val",
		"ask", "aaaASK", "a\u017fk", "\u212aiosk kio\u017fk \u212aIO\u017f\u212a", "kiosk kiosk kiosk", "KIOSK KIOSK KIOSK",
		"\u0132ssel error", "\u0133SSEL ERROR", "ΑΒΓΔ", "αβγδ", "\u01c4ungla", "\u01c5UNGLA",
		"foo", "baz", "foobaz", "barbaz", "", "a", "b", "c", "aaab", "aabac", "foo x bar", "foo\rbar", "foo\nbar", "xfoo", "foo\n", "\nfoo\n", "a\nb", "b\na", "foo\xffbar", "foo\xff\xfe\xfdbar", "fooébar", "foo日bar", "foo\xe6\x97bar",
		"\xffbad", "\ufffdbad", "bad\xff", "bad\xe6", "\xffyzzy", "xyzzy", "\xff\xff\xffbad", "é\xffxbad", "\xed\xa0\x80foo", "\xed\xa0\x80bar", "\ufffdfoo", "\ufffd", "\xc3", "\xf0\x9f\x98bad", "\ufffddef", "\xffdef", "abcdef",
		"Kelvin", "kelvin", "\u212aelvin", "START", "start", "\u017ftart", "error", "errorz", "errorerrorz", "z", "panicpanic", "panicpanicpanic", "panic", "OOM", "OOMx", " OOM ", "_OOM", "éOOMé", "oom", "WARN", "warn",
		"errorfatal", "errorFATAL", "ErrorFATAL", "warning", "WARNing", "WARNING", "Error", "eRrOr code", "ERRor code", "abcx", "abdx", "abcabc", "[x]", "{x}", "[error]", "{error}", "{ERROR]", "^_^", "\x7e_\x7e", "PPPP\x10", "PPPP0", "pppp\x10", "||\\\\", "\\\\||",
		"ééérror", "日本語ログ", "日本あログ", "日本\xe6ログ", "555-1234", "foozbar", "xbcdef", "\xffbcdef", "éerror", "12ms", "status=503", "status=4503", "a1longlit", "q8longlit", "successful stopped services", "\u017fucce\u017f\u017f \u017ftopped \u017fervice\u017f",
		"@AB", "`AB", "`ab", "`tick`[", "@tick@{", "`tick`{", "\x00\x01\x02\x03\x04\x05\x06\x07", "\x20\x21\x22\x23\x24\x25\x26\x27", "0123456789", "\x10\x11\x12\x13\x14\x15\x16\x17", "01234567", "\x00", "\x7f\x7f\x7f\x7f", "\x5f\x5f\x5f\x5f", "a\tb\tcdef", "\rfoo",
		"abc", "abcd", "abcde", "x=1", "ab", "foobarqux", "foobazqux", "fooqux", "errno=failed", "error=refused", "err=failed", "aab", "aaab", "xfoobarbaz", "foobar", "xfoo!", "foo!", "foo1bar", "quux12bar", "fooX",
		"x123abcde", "x12abcde", "abcde123", "abcde12", "é日éabcde", "abcde..z", "z..abcde", "z.abcde.z", "abcdcdef", "ab cdef", "500", "4500", "5000", "a@b", "hello9", "x x", "αβ", strings.Repeat("x", 1000), strings.Repeat("x", 30) + "y", strings.Repeat("ab", 20) + "z", strings.Repeat("q", 150) + "end",
	}
	var out []string
	for _, b := range base {
		out = append(out, b)
		for n := range 4 { // each way of lying in a block
			out = append(out, strings.Repeat(".", n)+b, strings.Repeat("-", 30+n)+b+strings.Repeat("_", n))
		}
		out = append(out, b+" suffix text", "日 "+b+" 本", strings.Repeat("x", 37)+b+strings.Repeat("y", 13), strings.Repeat(b, 20))
	}
	return out
}

// oracle is package regexp, one pattern after the other.
type oracle []*regexp.Regexp

func newOracle(t testing.TB, patterns []string) oracle {
	t.Helper()
	o := make(oracle, len(patterns))
	for i, p := range patterns {
		re, err := regexp.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		o[i] = re
	}
	return o
}

func (o oracle) match(line []byte, in Mask) []uint32 {
	var out []uint32
	for i, re := range o {
		if in.Has(i) && re.Match(line) {
			out = append(out, uint32(i))
		}
	}
	return out
}

func build(t testing.TB, patterns []string, stats *Stats) *Matcher {
	t.Helper()
	ps := make([]*Pattern, len(patterns))
	for i, p := range patterns {
		var err error
		if ps[i], err = NewPattern(p); err != nil {
			t.Fatal(err)
		}
	}
	return Build(ps, stats)
}

// compare reports a difference between the matcher and the oracle.
func compare(t testing.TB, m *Matcher, o oracle, line string, in Mask) {
	t.Helper()
	check(t, m, o, line, in, o.match([]byte(line), in))
}

func check(t testing.TB, m *Matcher, o oracle, line string, in Mask, want []uint32) {
	t.Helper()
	got := m.Match([]byte(line), in, nil)
	if slices.Equal(got, want) {
		return
	}
	for i, re := range o {
		g, w := slices.Contains(got, uint32(i)), slices.Contains(want, uint32(i))
		if g != w {
			t.Errorf("%q on %.300q (%d bytes): %v, want %v", re, line, len(line), g, w)
		}
	}
	if !t.Failed() {
		t.Errorf("on %.300q: %v, want %v: order or doubles", line, got, want)
	}
}

// everyStride calls f with a matcher of each stride that the literals allow.
func everyStride(t *testing.T, patterns []string, stats *Stats, f func(*Matcher)) {
	for _, stride := range []int{2, 4} {
		m := build(t, patterns, stats)
		if m.filter != nil {
			if m.filter = filterOf(m.filter.lits, fixed(), stride, math.MaxInt); m.filter == nil {
				continue
			}
		}
		f(m)
	}
}

func TestTraps(t *testing.T) {
	lines := trapLines()
	trained := Learn([]byte(strings.Join(lines, "\n")))
	all := newOracle(t, trapPatterns)
	want := make([][]uint32, len(lines))
	for i, l := range lines {
		want[i] = all.match([]byte(l), nil)
	}
	for k, p := range trapPatterns { // each alone
		o := all[k : k+1]
		everyStride(t, []string{p}, trained, func(m *Matcher) {
			for i := k % 3; i < len(lines); i += 3 {
				var alone []uint32
				if slices.Contains(want[i], uint32(k)) {
					alone = []uint32{0}
				}
				check(t, m, o, lines[i], nil, alone)
			}
		})
	}
	for k, stats := range []*Stats{nil, trained} { // and all together, on half of them each
		everyStride(t, trapPatterns, stats, func(m *Matcher) {
			for i := k; i < len(lines); i += 2 {
				check(t, m, all, lines[i], nil, want[i])
			}
		})
	}
}

// More short literals than the filter can take go elsewhere.
func TestManyShortLiterals(t *testing.T) {
	var patterns []string
	for a := range 26 {
		for b := range 8 {
			patterns = append(patterns, fmt.Sprintf("%c%c%c", 'a'+a, 'a'+b, 'a'+(a+b)%26))
		}
	}
	m := build(t, patterns, nil)
	if wild := len(m.filter.singles.entries); wild > 2*maxWild || len(m.unions) < 2 {
		t.Errorf("%d grams, %d shared automata", wild, len(m.unions))
	}
	o := newOracle(t, patterns)
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		b := make([]byte, r.IntN(80))
		for i := range b {
			b[i] = byte('a' + r.IntN(26))
		}
		compare(t, m, o, string(b), nil)
	}
}

// randomPattern makes a pattern from a grammar.
func randomPattern(r *rand.Rand, depth int) string {
	atoms := []string{
		"a", "b", "k", "s", "er", "err", "ab", "Ks", "foo", "error", "task", "skip", "kiosk", "Exception", "ask task", ".", "[a-c]", "[^a]", `\d`, `\w`, `\b`, `\B`, "^", "$", `\A`, `\z`, "é",
		"(?i:k)", "(?i:Sk)", "5", "[ks]", "(?i:[k-s])", `\S`, " ", `\x{FFFD}`, "(?m:^)", "(?m:$)", `\n`, "(?s:.)", `\pL`, "connection reset", "(?i:refused)", "[Ee]rr", "()",
	}
	if depth == 0 {
		return atoms[r.IntN(len(atoms))]
	}
	sub := func() string { return randomPattern(r, depth-1) }
	switch r.IntN(9) {
	case 0, 1, 2, 3:
		var b strings.Builder
		for range 1 + r.IntN(4) {
			b.WriteString(sub())
		}
		return b.String()
	case 4:
		return "(" + sub() + "|" + sub() + ")"
	case 5:
		return "(?:" + sub() + "|" + sub() + "|" + sub() + ")"
	case 6:
		return "(?:" + sub() + ")" + []string{"?", "*", "+", "{2}", "{1,2}", "{0,2}", "+?", "*?"}[r.IntN(8)]
	case 7:
		return "(?i:" + sub() + ")"
	}
	return sub() + sub()
}

func randomPatterns(r *rand.Rand, n int) []string {
	var out []string
	for len(out) < n {
		p := randomPattern(r, 3)
		if _, err := regexp.Compile(p); err == nil && len(p) < 300 {
			out = append(out, p)
		}
	}
	return out
}

func randomLine(r *rand.Rand) string {
	words := []string{
		"a", "b", "k", "K", "s", "S", "e", "r", "E", "R", "f", "o", "t", "5", "1", " ", "é", "É", "\u212a", "\u017f", "\xff", "err", "error", "ERROR", "task", "foo", "Sk", "xyz", "skip", "SKIP", "Kiosk", "\u212aio\u017fk", "exception", "Exception", "ask", "task",
		"\n", "\r", "\x00", "日本", "\xe6\x97", "connection reset", "refused", "REFUSED", "ask task", "ab", "\ufffd", "_", ".",
	}
	var b strings.Builder
	for range r.IntN(16) {
		b.WriteString(words[r.IntN(len(words))])
	}
	return b.String()
}

// Patterns of a grammar against lines of the same words.
func TestRandomPatterns(t *testing.T) {
	for round := range 60 {
		r := rand.New(rand.NewPCG(uint64(round), 7))
		patterns := randomPatterns(r, 12)
		lines := make([]string, 50)
		for i := range lines {
			lines[i] = randomLine(r)
		}
		var stats *Stats
		if round%2 == 0 {
			stats = Learn([]byte(strings.Join(lines, "\n")))
		}
		o := newOracle(t, patterns)
		everyStride(t, patterns, stats, func(m *Matcher) {
			for i, l := range lines {
				in := Mask(nil)
				if i%3 == 0 {
					in = NewMask(len(patterns))
					for range 8 {
						in.Add(r.IntN(len(patterns)))
					}
				}
				compare(t, m, o, l, in)
			}
		})
		if t.Failed() {
			t.Fatalf("round %d: %q", round, patterns)
		}
	}
}

func FuzzMatch(f *testing.F) {
	for i, p := range trapPatterns {
		f.Add(p, "foo|error", "a line with error, foo and "+fmt.Sprint(i))
	}
	for _, l := range trapLines()[:200] {
		f.Add("(?i)task|foo.*bar", `\bOOM\b`, l)
	}
	f.Fuzz(func(t *testing.T, p, q, line string) {
		for _, e := range []string{p, q} {
			if _, err := regexp.Compile(e); err != nil || len(e) > 200 {
				return
			}
		}
		patterns := []string{p, q}
		o := newOracle(t, patterns)
		everyStride(t, patterns, nil, func(m *Matcher) {
			compare(t, m, o, line, nil)
			compare(t, m, o, strings.Repeat("x", 37)+line+line, nil)
			everyMeans(m, func() { compare(t, m, o, line+strings.Repeat("é", 200)+line, nil) })
			compareGroups(t, m, o, strings.Repeat("é", 37)+line+line)
		})
	})
}

// FuzzRandomPatterns lets the fuzzer choose among the grammar's patterns.
func FuzzRandomPatterns(f *testing.F) {
	f.Add(uint64(1), "an error of a task")
	f.Fuzz(func(t *testing.T, seed uint64, line string) {
		r := rand.New(rand.NewPCG(seed, 1))
		patterns := randomPatterns(r, 4)
		o := newOracle(t, patterns)
		m := build(t, patterns, nil)
		compare(t, m, o, line, nil)
		for range 4 {
			compare(t, m, o, line+randomLine(r), nil)
		}
	})
}
