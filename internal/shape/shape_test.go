package shape

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

type vector struct {
	line     []byte
	sum      string
	words    int
	readable string
}

func golden(t testing.TB) (vs []vector) {
	f, err := os.Open("testdata/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unquote := func(s string) string {
		u, err := strconv.Unquote(s)
		if err != nil {
			t.Fatalf("%v: %s", err, s)
		}
		return u
	}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		text := sc.Text()
		switch {
		case text[0] == '#':
		case text[0] == ' ':
			vs[len(vs)-1].readable = unquote(strings.TrimSpace(text))
		default:
			var v vector
			if _, err := fmt.Sscan(text, &v.sum, &v.words); err != nil {
				t.Fatal(err)
			}
			v.line = []byte(unquote(text[strings.IndexAny(text, "`\""):]))
			vs = append(vs, v)
		}
	}
	if len(vs) < 150 {
		t.Fatalf("%d vectors", len(vs))
	}
	return vs
}

func TestGolden(t *testing.T) {
	for _, v := range golden(t) {
		s := Of(v.line)
		if s.String() != v.sum || s.Words != v.words {
			t.Errorf("%q is %v with %d words, not %s with %d", v.line, s, s.Words, v.sum, v.words)
		}
		if s.Continues != (bytes.HasPrefix(v.line, []byte(" ")) || bytes.HasPrefix(v.line, []byte("\t"))) {
			t.Errorf("%q continues: %v", v.line, s.Continues)
		}
		if got := Readable(v.line, 200); got != v.readable {
			t.Errorf("%q reads %q, not %q", v.line, got, v.readable)
		}
	}
}

// TestSameAndOther has sets of lines: those of one set have the same shape, which no
// line of another set has.
func TestSameAndOther(t *testing.T) {
	seen := map[uint64]string{}
	for _, set := range [][]string{
		{"", " ", "1 2 3", "=====", "2026-03-01 10:00:00", "\x1b[0m", "{}", "00ff 12ab 34cd"},
		{"listening on 10.0.0.1:80", "listening on [::]:8080", "listening on db-1.example.internal", "listening on http://x/y?z",
			"listening on /run/x.sock", "listening on 2001:db8::1", "2026-03-01T10:00:00Z listening on 80",
			"\x1b[32mlistening on 7\x1b[0m", "listening on 7!", "[listening] on: 7"},
		{"listening", "listening...", "  listening", "12 listening"},
		{"Listening"},
		{"took 3ms", "took 3 ms", "took 12 seconds", "took 1,234 us", "took 1h 2m 3s"},
		{"took 3 tries", "took 9 tries"},
		{"exited with code 1"}, {"exited with code 2"}, {"exited with code 1234", "exited with code 99999"},
		{"HTTP/1.1 404 x", "HTTP/2 404 x"}, {"HTTP/1.1 500 x"},
		{`"GET /a HTTP/1.1" 200 12`, `1.2.3.4 - bob [01/Mar/2026:10:00:00 +0000] "GET /b?c HTTP/1.0" 200 7 "-" "curl/8.5.0"`},
		{`"GET /a HTTP/1.1" 404 12`}, {`"PUT /a HTTP/1.1" 200 12`},
		{"user=bob quit", "user=alice quit", "user=x9 quit"}, {"user= quit"},
		{"state=up now"}, {"state=down now"},
		{"KeyError: 'a'"}, {"KeyError: 'b'"},
		{`relation "a" missing`, `relation "b2" missing`, `relation 5 missing`}, {`relation "a b" missing`},
		{"Failed password for invalid user bob from 1.2.3.4 port 5", "Failed password for invalid user x1 from 1.2.3.4 port 99"},
		{"Failed password for bob from 1.2.3.4 port 5", "Failed password for root from 1.2.3.5 port 6"},
		{`{"level":"error","msg":"no disk 1"}`, `{"msg":"no disk 2","n":[1,{"msg":"x"}],"level":"ERROR"}`,
			`level=error msg="no disk 3"`, `ts=7 level=Error host=a msg="no disk 4" n=2`, `{"Level":"error","Message":"no disk 5"}`},
		{`{"level":"warn","msg":"no disk 1"}`, `level=warn msg="no disk 1"`},
		{`{"level":"error","msg":"no disk 1","err":"timeout"}`, `{"level":"error","msg":"no disk 1","error":{"message":"timeout","stack":"x\n y"}}`},
		{`{"level":"error","msg":"no disk 1","err":"refused"}`},
		{`{"a":1,"b":2}`, `{"a":"x","b":{"c":3}}`}, {`{"b":2,"a":1}`},
		{"read blk_1", "read blk_1 blk_2", "read blk_1 blk_2 blk_3"},
	} {
		want := Of([]byte(set[0]))
		if other, ok := seen[want.Sum]; ok {
			t.Errorf("%q has the shape of %q", set[0], other)
		}
		seen[want.Sum] = set[0]
		for _, line := range set[1:] {
			if s := Of([]byte(line)); s.Sum != want.Sum || s.Words != want.Words {
				t.Errorf("%q (%s) doesn't have the shape of %q (%s)", line, Readable([]byte(line), 200), set[0], Readable([]byte(set[0]), 200))
			}
		}
	}
}

func TestParse(t *testing.T) {
	if want := fmt.Sprintf("fp%d", Version); prefix != want {
		t.Fatalf("prefix %q, not %q", prefix, want)
	}
	for _, sum := range []uint64{0, 1, 0xfedcba9876543210, 1<<64 - 1} {
		s := Shape{Sum: sum}
		if got, err := Parse(s.String()); err != nil || got != s {
			t.Errorf("%v: %v, %v", s, got, err)
		}
	}
	for _, text := range []string{"", "fp1", "fp1:", "0123456789abcdef", "fp1:0123456789abcde", "fp1:0123456789abcdef0", "fp1:0123456789ABCDEF",
		"fp1:+123456789abcdef", "fp1:0123_56789abcdef", "fp2:0123456789abcdef", "FP1:0123456789abcdef", " fp1:0123456789abcdef"} {
		if s, err := Parse(text); err == nil || s != (Shape{}) {
			t.Errorf("%q: %v, %v", text, s, err)
		}
	}
}

// TestReach puts text behind what is looked at, where it must not count, and where it
// must.
func TestReach(t *testing.T) {
	tail := append(bytes.Repeat([]byte{0}, 1<<20), " error"...)
	for _, v := range golden(t) {
		full := append(append([]byte{}, v.line...), bytes.Repeat([]byte(" "), max(0, Reach-len(v.line)))...)
		if got, want := Of(append(full[:len(full):len(full)], tail...)), Of(full); got != want {
			t.Errorf("%q and 1 MiB: %v, not %v", v.line, got, want)
		}
	}
	for _, before := range []string{"", strings.Repeat(" ", 100), "10:00:00 "} {
		for size, counts := range map[int]bool{textReach - 20: true, textReach: false} {
			line := before + "word" + strings.Repeat(" ", size)
			if got := Of([]byte(line+"error ")) != Of([]byte(line)); got != counts {
				t.Errorf("a word %d bytes behind %q counts: %v", size, before+"word", got)
			}
		}
	}
	if long := strings.Repeat("1", headReach+textReach); Of([]byte(long+" error ")).Words != 0 {
		t.Error("a word behind the head counts")
	}
	if Of([]byte(strings.Repeat("1 ", 5)+"error ")).Words != 1 {
		t.Error("a word in the head doesn't count")
	}
}

func TestLongNumbersDontMoveTheCut(t *testing.T) {
	line := func(number string) []byte {
		return []byte(strings.Repeat("copied item "+number+" to the shelf; ", 30))
	}
	if a, b := Of(line("1")), Of(line("12345678901234567890")); a != b {
		t.Errorf("%v, %v", a, b)
	}
}

func TestReadable(t *testing.T) {
	for _, tt := range []struct {
		line string
		max  int
		want string
	}{
		{"disk 9 of 10 is full", 100, "disk <num> of <num> is full"},
		{"disk 9 of 10 is full", 9, "disk <num"},
		{"disk 9 of 10 is full", 5, "disk"},
		{"disk full", 0, ""},
		{"Größe", 3, "Gr"},
		{"Größe", 4, "Grö"},
		{"a\xff\xc3b", 100, "a\ufffd\ufffdb"},
		{"a\xffb", 3, "a"},
		{"a\u0085b\u202ec\u2028d", 100, "abcd"},
		{`{"level":"a\u001b[31m\nb","msg":"x"}`, 100, `a\u001b[31m\nb | x`},
		{"{\"level\":\"a\x1b\x07\nb\",\"msg\":\"x\\u001b[31my\\u0007z\"}", 100, "ab | xy z"},
		{`{"level":"warn","msg":"[x] y","err":""}`, 100, "warn | [x] y"},
		{`{"msg":"only (this)","error":{"class":"E","message":"9 (x)"}}`, 100, "only (this) | E | <num> (x)"},
		{"1 2 3", 100, ""},
		{`via "a b" ("c")`, 100, `via "a b" ("<*>")`},
	} {
		if got := Readable([]byte(tt.line), tt.max); got != tt.want {
			t.Errorf("%q in %d bytes reads %q, not %q", tt.line, tt.max, got, tt.want)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	for _, v := range golden(t) {
		if n := testing.AllocsPerRun(5, func() { Of(v.line) }); n != 0 {
			t.Errorf("%q: %v allocations", v.line, n)
		}
	}
}

// FuzzOf holds any line to what the package promises.
func FuzzOf(f *testing.F) {
	for _, v := range golden(f) {
		f.Add(v.line, 40)
	}
	for _, h := range hostile() {
		f.Add(bytes.Repeat([]byte(h), 200), 256)
	}
	f.Fuzz(func(t *testing.T, line []byte, max int) {
		s := Of(line)
		if again := Of(bytes.Clone(line)); again != s {
			t.Fatalf("%v, then %v", s, again)
		}
		if got, err := Parse(s.String()); err != nil || got.Sum != s.Sum {
			t.Fatalf("%v: %v, %v", s, got, err)
		}
		if s.Words < 0 || s.Words > formLimit {
			t.Fatalf("%d words", s.Words)
		}
		if len(line) > 0 {
			if long := bytes.Repeat(line, Reach/len(line)+2); Of(long) != Of(long[:Reach]) {
				t.Fatalf("what is behind %d bytes counts", Reach)
			}
		}
		whole := Readable(line, 1<<30)
		if s.Words == 0 && whole != "" {
			t.Fatalf("without a word it reads %q", whole)
		}
		for _, text := range []string{whole, Readable(line, max)} {
			if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
				t.Fatalf("%q", text)
			}
		}
		if text := Readable(line, max); max >= 0 && len(text) > max || max < 0 && text != "" {
			t.Fatalf("%q in %d bytes", text, max)
		}
	})
}
