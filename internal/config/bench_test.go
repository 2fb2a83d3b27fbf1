package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"logscan/internal/rule"
	"logscan/internal/store"
)

// manyRules is a file of rules with a test each; of one the cooldown is given.
func manyRules(n, cooldown int) File {
	var b strings.Builder
	b.WriteString("version: 1\nrules:\n")
	for k := range n {
		fmt.Fprintf(&b, "  service-%d:\n    description: The service %d is out of sorts\n    pattern: 'service-%d: (?i:error|failed) code=(?P<code>5\\d\\d)'\n    severity: error\n    ignore: ['health check %d']\n", k, k, k, k)
		if k == n/2 {
			fmt.Fprintf(&b, "    cooldown: %d\n", cooldown)
		}
		fmt.Fprintf(&b, "    tests:\n      - hits: ['service-%d: ERROR code=503']\n        misses: ['service-%d: ok code=200']\n", k, k)
	}
	return File{"many.yaml", []byte(b.String())}
}

// BenchmarkApply applies 1,000 rules that have a test each: all at first, then with one
// that is changed; and compiles them as they are made live.
func BenchmarkApply(b *testing.B) {
	open := func() *store.Store {
		s, err := store.Open(filepath.Join(b.TempDir(), "db"), nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { s.Close() })
		return s
	}
	apply := func(s *store.Store, cooldown int) *Plan {
		p, err := Apply(b.Context(), s, []File{manyRules(1000, cooldown)}, Given(nil), Options{Source: "file:many", Prune: true})
		if err != nil {
			b.Fatal(err)
		}
		return p
	}
	compile := func(s *store.Store, patterns *rule.Patterns) {
		rules, err := s.Rules(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if _, bad := rule.Compile(rules, rule.WithPatterns(patterns)); len(bad) > 0 {
			b.Fatal(bad)
		}
	}
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			s := open()
			b.StartTimer()
			apply(s, 5)
			compile(s, &rule.Patterns{})
		}
	})
	s, patterns := open(), &rule.Patterns{}
	apply(s, 5)
	compile(s, patterns)
	b.Run("one", func(b *testing.B) {
		n := 5
		for b.Loop() {
			n++
			if p := apply(s, n); len(p.Changes) != 1 {
				b.Fatal(p.Changes)
			}
			compile(s, patterns)
		}
	})
	b.Run("parse", func(b *testing.B) {
		for b.Loop() {
			if _, err := Parse([]File{manyRules(1000, 7)}, Given(nil)); err != nil {
				b.Fatal(err)
			}
		}
	})
	set, err := Parse([]File{manyRules(1000, 7)}, Given(nil))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("test", func(b *testing.B) {
		for b.Loop() {
			if err := set.Test(nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("compile", func(b *testing.B) {
		for b.Loop() {
			compile(s, patterns)
		}
	})
}
