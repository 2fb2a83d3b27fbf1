package rule

import (
	"regexp"
	"testing"
)

// There is an example of what people write, and it is what one would expect.
func TestExample(t *testing.T) {
	for pattern, want := range map[string]string{
		"Out of memory":                      "Out of memory",
		`(?i)panic:|fatal error`:             "PANIC:",
		`^\[?ERROR`:                          "ERROR",
		`status=(?P<code>5\d\d)`:             "status=511",
		`level=(error|fatal).*took \d{3,}ms`: "level=errortook 111ms",
		`\bOOM\b`:                            "OOM",
		`a\b.b`:                              "a b",
		`a\B.b`:                              "axb",
		`^$`:                                 "",
		`[^a-z]$`:                            "1",
		`\p{Greek}+`:                         "Ͱ",
		`.{3}`:                               "xxx",
		`\tat `:                              "\tat ",
		`(a|[^\x00-\x{10FFFF}])`:             "a",
	} {
		if got, ok := Example(pattern); got != want || !ok {
			t.Errorf("%s: %q, %v, want %q", pattern, got, ok, want)
		}
	}
	for _, pattern := range []string{"", "(", `a\nb`, `\x00`, `a\bb`, `[^\x00-\x{10FFFF}]`, `$a`} {
		if got, ok := Example(pattern); ok {
			t.Errorf("%s: %q", pattern, got)
		}
	}
}

// Whatever the pattern, its example is a line, and matches.
func FuzzExample(f *testing.F) {
	for _, pattern := range []string{`(?i)panic:|fatal error`, `^\[?ERROR\b.*x{2,5}?$`, `a\b.b*[^a-z](?:b|c)+`, `(?s).\z`, `\p{Greek}`, `(?m)^a$`, `(a{9}){9}`, `\xff`, `[\x{FFFD}]`} {
		f.Add(pattern)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		line, ok := Example(pattern)
		if !ok {
			return
		}
		if !regexp.MustCompile(pattern).MatchString(line) {
			t.Errorf("%q doesn't match %q", pattern, line)
		}
		if !writable(line) {
			t.Errorf("%q of %q is no line", line, pattern)
		}
	})
}

// A rule with conditions on fields has an example, which is an object where there are
// fields to name.
func TestExampleOf(t *testing.T) {
	for _, tt := range []struct {
		pattern     string
		all, ignore []string
		where       []string
		want        string
	}{
		{where: []string{"status >= 500", "path != /health"}, want: `{"msg":"a test","status":500}`},
		{where: []string{"status > 500", "status < 503", "http.path = /cart", `tags[1] = "x"`}, want: `{"http":{"path":"/cart"},"msg":"a test","status":501,"tags":[null,"x"]}`},
		{where: []string{"level >= error", "took > 1.5s", "size <= 10MB", `"k8s.io/x" exists`, "msg ~ ^out of"}, want: `{"k8s.io/x":"x","level":"error","message":"a test","msg":"out of","size":"10MB","took":"101.5s"}`},
		{where: []string{"ok in (true, false)", "user missing", "id !~ ^1", "id = 2"}, want: `{"id":2,"msg":"a test","ok":true}`},
		{where: []string{"user missing"}, want: `a test`},
		{pattern: `took (?P<ms>\d+) ms`, where: []string{"$ms > 1000"}, want: `a test (took 1001 ms)`},
		{pattern: `^took (\d+) ms`, where: []string{"$1 > 1000", "status = 5"}, want: `took 1001 ms {"msg":"a test","status":5}`},
		{pattern: `"status":\s*5`, where: []string{"status >= 500"}, want: `{"msg":"a test","status":500}`},
		{pattern: "Out of memory", want: "a test (Out of memory)"},
		{all: []string{"GET", "shop"}, ignore: []string{"a test"}, want: "GET shop"},
		{all: []string{"GET"}, where: []string{"status = 5"}, want: `{"msg":"a test (GET)","status":5}`},
	} {
		r := valid()
		r.Pattern, r.All, r.Ignore, r.Where, r.Enabled, r.Streams, r.WorkloadID = tt.pattern, tt.all, tt.ignore, tt.where, false, "stderr", "shop"
		if got, ok := ExampleOf(r, "a test"); got != tt.want || !ok {
			t.Errorf("%s %v %v: %s, %v, not %s", r.Pattern, r.All, r.Where, got, ok, tt.want)
		}
	}
	for _, where := range [][]string{{"a = 1", "a = 2"}, {"a = x", "a.b = x"}, {"a["}, {"$x = 1"}} {
		r := valid()
		r.Pattern, r.Where = "", where
		if got, ok := ExampleOf(r, "a test"); ok {
			t.Errorf("%v: %s", where, got)
		}
	}
}
