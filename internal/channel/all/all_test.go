package all

import (
	"strings"
	"testing"
)

// Each URL leads to one kind, and each kind's example to itself.
func TestKinds(t *testing.T) {
	seen := map[string]string{}
	for _, k := range Kinds {
		schemes := append([]string{k.Scheme}, k.Other...)
		if k.Plain {
			schemes = append(schemes, k.Scheme+"+http")
		}
		for _, s := range schemes {
			if seen[s] != "" {
				t.Errorf("%s is of %s and %s", s, seen[s], k.Title)
			}
			seen[s] = k.Title
		}
		found, c, err := Find(k.Example)
		if err != nil || found.Title != k.Title {
			t.Errorf("%s: %s, %v", k.Example, found.Title, err)
			continue
		}
		if _, err := k.New(c); err != nil && k.Secret == "" {
			t.Errorf("%s: %v", k.Example, err)
		}
	}
	for _, u := range []string{"", "example.com", "gopher://example.com", "ntfys://ntfy.sh/x", "://x"} {
		if _, _, err := Find(u); err == nil || strings.Contains(u, "example") && strings.Contains(err.Error(), u) {
			t.Errorf("%q: %v", u, err)
		}
	}
}
