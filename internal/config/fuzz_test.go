package config

import (
	"errors"
	"strings"
	"testing"
)

// Whatever a file holds, it is parsed, or refused with problems that name it; and what is
// parsed can be tried.
func FuzzParse(f *testing.F) {
	f.Add(example)
	for _, s := range []string{
		"version: 1\nrules: {a: {pattern: x, tests: [{hits: [x], misses: [y]}]}}", "version: 1\nrules: &a {a: *a}", "a: &a {<<: [*a, *a]}\nrules: *a",
		"version: 1\nsilences: {s: {match: {rule: x}, ends_at: 2026-01-01}}", "version: 1\ntriggers: {t: {url: '${env:X}${file:y}'}}", "\t", "? a", "- ", "%YAML 1.1\n---", "version: !!int 1\nrules: ~",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, err := Parse([]File{{"FILE", []byte(text)}}, Given(map[string]string{"${env:TOPIC}": "x"}))
		var wrong *Problems
		switch {
		case err == nil:
			_ = set.Test(t.Context(), nil)
		case !errors.As(err, &wrong):
			t.Fatal(err)
		default:
			for _, p := range wrong.List {
				if p.File != "FILE" || strings.ContainsAny(p.Source, "\x1b\n") {
					t.Fatalf("%+v", p)
				}
			}
		}
	})
}
