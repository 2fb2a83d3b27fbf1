package match

import (
	"strings"
	"testing"
)

func TestRarest(t *testing.T) {
	rarest := func(pattern string) *Required {
		p, err := NewPattern(pattern)
		if err != nil {
			return nil
		}
		if r := p.Rarest(); r != nil && r.Telling() {
			return r
		}
		return nil
	}
	for pattern, want := range map[string]string{
		`card reader \d+ failed`: "card reader ", `(?i)Out of Memory`: "out of memory", `timeout|refused`: "timeout refused", `\d+`: "", `(`: "",
	} {
		r := rarest(pattern)
		got := ""
		if r != nil {
			got = strings.Join(r.Texts, " ")
		}
		if got != want {
			t.Errorf("%s: %q", pattern, got)
		}
	}
	for _, pattern := range []string{`(?i)Out of Memory`, `Out of memory`} {
		if r := rarest(pattern); !r.Near([]byte("OUT of memory.")) || r.Near([]byte("out of")) {
			t.Error("near", pattern)
		}
	}
}
