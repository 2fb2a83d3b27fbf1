package nearest

import (
	"strings"
	"testing"
)

func TestName(t *testing.T) {
	known := []string{"max-file", "max-size", "tag"}
	for _, row := range []struct {
		name, want string
		near       bool
	}{
		{"max-sise", "max-size", true},
		{"max-file", "max-file", true},
		{"Tag", "tag", true},
		{"loki-url", "max-file", false},
		{strings.Repeat("x", 1<<20), "max-file", false},
		{"\xff\xfe", "tag", false},
	} {
		got, near := Name(row.name, known)
		if got != row.want || near != row.near {
			t.Errorf("%.20q: %q, %v", row.name, got, near)
		}
	}
	if got, near := Name("tag", nil); got != "" || near {
		t.Errorf("of none: %q, %v", got, near)
	}
}
