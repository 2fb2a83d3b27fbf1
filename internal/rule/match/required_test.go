package match

import (
	"strings"
	"testing"
)

func TestRequiredBy(t *testing.T) {
	for pattern, want := range map[string]string{
		`card reader \d+ failed`: "card reader ", `(?i)Out of Memory`: "out of memory", `timeout|refused`: "timeout refused", `\d+`: "", `(`: "",
	} {
		r := RequiredBy(pattern)
		got := ""
		if r != nil {
			got = strings.Join(r.Texts, " ")
		}
		if got != want {
			t.Errorf("%s: %q", pattern, got)
		}
	}
	if r := RequiredBy(`(?i)Out of Memory`); !r.In([]byte("OUT of memory.")) || r.In([]byte("out of")) {
		t.Error("in")
	}
}
