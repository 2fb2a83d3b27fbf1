package glob

import "testing"

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "shop/web", true}, {"shop/*", "shop/web", true}, {"shop/*", "shop", false},
		{"*web*", "shop/web-1", true}, {"?hop/web", "shop/web", true}, {"?", "", false}, {"a*b*c", "axxbyyc", true}, {"a*b*c", "axxbyy", false},
		{"**", "x", true}, {"a*", "a", true}, {"*a", "ba", true}, {"*ab", "aab", true}, {"*ab", "aba", false}, {"[a]", "a", false}, {"[a]", "[a]", true}, {"a.c", "abc", false},
	} {
		if got := Match(c.pattern, c.name); got != c.want {
			t.Errorf("%q, %q: %v", c.pattern, c.name, got)
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("a*b?c*", "axxbyczz")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 200 || len(name) > 1000 {
			return
		}
		if Match(pattern, name) != slow(pattern, name) {
			t.Errorf("%q, %q: %v", pattern, name, !slow(pattern, name))
		}
	})
}

// slow says the same by the definition.
func slow(pattern, name string) bool {
	reach := make([]bool, len(name)+1)
	reach[0] = true
	for i := range len(pattern) {
		next := make([]bool, len(name)+1)
		for n := range reach {
			switch {
			case pattern[i] == '*':
				next[n] = reach[n] || n > 0 && next[n-1]
			case n > 0 && reach[n-1] && (pattern[i] == '?' || pattern[i] == name[n-1]):
				next[n] = true
			}
		}
		reach = next
	}
	return reach[len(name)]
}
