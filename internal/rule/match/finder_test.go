package match

import (
	"bytes"
	"regexp"
	"regexp/syntax"
	"strings"
	"testing"

	"logscan/internal/rule/match/matchtest"
)

// finderOf returns the finder of a pattern.
func finderOf(t testing.TB, expr string) *Finder {
	t.Helper()
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		t.Fatal(err)
	}
	return PatternOf(expr, tree.Simplify()).Finder()
}

// Where a pattern matches in a line of a text, its finder finds something in that line.
func FuzzFinder(f *testing.F) {
	for _, expr := range []string{"upstream timed out", "(?i)task|kiss", "timeout after [0-9]+ms", "error (foo|bar|baz)", "ab+c.*xyz", "(?i)out of memory$"} {
		f.Add(expr, "a line\nan upstream timed out\nTASK \u212aiss ta\u017fk\ntimeout after 12ms\nerror bar\nabbc xyz\nOut of Memory")
	}
	f.Fuzz(func(t *testing.T, expr, text string) {
		re, err := regexp.Compile(expr)
		if err != nil || len(expr) > 100 {
			return
		}
		tree, err := syntax.Parse(expr, syntax.Perl)
		if err != nil {
			return
		}
		finder := PatternOf(expr, tree.Simplify()).Finder()
		if finder == nil {
			return
		}
		finder.Begin([]byte(text))
		at := 0
		for line := range strings.Lines(text) {
			end := at + len(line)
			if found := finder.From(at); found >= end && re.MatchString(strings.TrimSuffix(line, "\n")) {
				t.Fatalf("%q matches %q, and from %d on something is found at %d of %q", expr, line, at, found, text)
			}
			at = end
		}
		if finder.From(at) != len(text) {
			t.Fatal("something is found behind the end")
		}
	})
}

// BenchmarkFinder is what it takes to find where a block's lines may match.
func BenchmarkFinder(b *testing.B) {
	text := matchtest.Mixed(4<<20, nil, 0, 1)
	for _, expr := range []string{"550e8400-e29b-41d4", "upstream timed out", "timeout after [0-9]+ms", "(?i)out of memory", "error (foo|bar|baz)"} {
		b.Run(expr, func(b *testing.B) {
			f := finderOf(b, expr)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				for rest := text; len(rest) > 0; rest = rest[min(len(rest), 64<<10):] {
					block := rest[:min(len(rest), 64<<10)]
					f.Begin(block)
					for at := 0; at < len(block); at++ {
						if at = f.From(at); at < len(block) {
							if next := bytes.IndexByte(block[at:], '\n'); next >= 0 {
								at += next
							}
						}
					}
				}
			}
		})
	}
}
