package match

import (
	"fmt"
	"regexp"
	"slices"
	"sync"
	"testing"

	"logscan/internal/rule/match/matchtest"
)

// corpus is 64 MiB of lines; statistics come from other ones of the same kind.
var corpus = sync.OnceValue(func() [][]byte {
	return matchtest.Split(matchtest.Mixed(64<<20, matchtest.Rules(5000), 0.001, 1))
})

var learned = sync.OnceValue(func() *Stats {
	return Learn(matchtest.Mixed(512<<10, matchtest.Rules(5000), 0.001, 2))
})

func exprs(rules []matchtest.Rule) []string {
	var out []string
	for _, r := range rules {
		out = append(out, r.Pattern)
	}
	return out
}

func exprsOf(n int) []string { return exprs(matchtest.Rules(n)) }

// long is a line of about this many bytes, as programs write them.
func long(bytes int) []byte { return matchtest.Split(matchtest.Long(2*bytes, bytes))[0] }

func benchmark(b *testing.B, m *Matcher, lines [][]byte) {
	b.Helper()
	bytes := 0
	for _, l := range lines {
		bytes += len(l) + 1
	}
	var buf [16]uint32
	for _, l := range lines {
		m.Match(l, nil, buf[:0])
	}
	b.SetBytes(int64(bytes / len(lines)))
	b.ReportAllocs()
	hits := 0
	for i := 0; b.Loop(); i++ {
		if i == len(lines) {
			i = 0
		}
		hits += len(m.Match(lines[i], nil, buf[:0]))
	}
	b.ReportMetric(float64(hits)/float64(b.N), "hits/op")
}

// One operation is one line.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 5000} {
		rules := exprs(matchtest.Rules(n))
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmark(b, build(b, rules, learned()), corpus()) })
		b.Run(fmt.Sprint(n, "/untrained"), func(b *testing.B) { benchmark(b, build(b, rules, nil), corpus()) })
	}
}

func BenchmarkAdverse(b *testing.B) {
	rules := matchtest.Rules(1000)
	m := build(b, exprs(rules), learned())
	const size = 4 << 20
	for name, text := range map[string][]byte{
		"flood":   matchtest.Flood(size, rules),
		"dense":   matchtest.Dense(size, rules),
		"hits":    matchtest.Mixed(size, rules, 1, 3),
		"long":    matchtest.Long(size, 1<<20),
		"hostile": matchtest.Hostile(1<<20, append(rules, matchtest.Wide(50)...), 1),
	} {
		b.Run(name, func(b *testing.B) { benchmark(b, m, matchtest.Split(text)) })
	}
	loose := append(rules, matchtest.Loose()...)
	b.Run("loose", func(b *testing.B) { benchmark(b, build(b, exprs(loose), learned()), corpus()) })
	b.Run("loose/alone", func(b *testing.B) { benchmark(b, build(b, exprs(matchtest.Loose()), learned()), corpus()) })
}

func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{100, 1000, 5000} {
		rules := exprs(matchtest.Rules(n))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			learned()
			for b.Loop() {
				build(b, rules, learned())
			}
		})
	}
	b.Run("learn", func(b *testing.B) {
		text := matchtest.Mixed(512<<10, nil, 0, 2)
		for b.Loop() {
			Learn(text)
		}
	})
}

// A loop over package regexp, for comparison.
func BenchmarkRegexps(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var res []*regexp.Regexp
			for _, r := range matchtest.Rules(n) {
				res = append(res, regexp.MustCompile(r.Pattern))
			}
			lines := corpus()
			for i := 0; b.Loop(); i++ {
				for _, re := range res {
					re.Match(lines[i%len(lines)])
				}
			}
		})
	}
}

// What the generator says of its rules is so.
func TestGenerator(t *testing.T) {
	for _, r := range slices.Concat(matchtest.Rules(2000), matchtest.Loose(), matchtest.Wide(50)) {
		re := regexp.MustCompile(r.Pattern)
		if !re.MatchString(r.Example) || r.Part != "" && re.MatchString(r.Part) {
			t.Errorf("%+v", r)
		}
	}
}
