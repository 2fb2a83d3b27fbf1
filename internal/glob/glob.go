// Package glob matches names against patterns in which * stands for any characters,
// also none and also slashes, and ? for any one byte.
package glob

import "strings"

// Match reports whether a pattern fits a whole name. It takes at most
// len(pattern)·len(name) steps.
func Match(pattern, name string) bool {
	p, n := 0, 0
	star, from := -1, 0 // the last *, and where in name what follows it was tried last
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			from++
			p, n = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// Any reports whether one of some patterns fits a name; where there are none, any name
// will do.
func Any(patterns []string, name string) bool {
	for _, p := range patterns {
		if Match(p, name) {
			return true
		}
	}
	return len(patterns) == 0
}

// Labels reports whether labels have all that is wanted: KEY or KEY=VALUE, both of them
// patterns.
func Labels(wanted []string, labels map[string]string) bool {
	for _, w := range wanted {
		key, value, withValue := strings.Cut(w, "=")
		has := false
		for k, v := range labels {
			if has = Match(key, k) && (!withValue || Match(value, v)); has {
				break
			}
		}
		if !has {
			return false
		}
	}
	return true
}
