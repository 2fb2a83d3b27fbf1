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
