package packs

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"logscan/internal/rule"
)

// TestHeads asks for what a person reads of a pack before it is added.
func TestHeads(t *testing.T) {
	owner := map[string]string{}
	for _, p := range All() {
		if p.Description == "" || len(p.Sources) == 0 || len(p.Rules) < 4 || len(p.Rules) > 12 {
			t.Errorf("%s: description %q, %d sources, %d rules", p.Name, p.Description, len(p.Sources), len(p.Rules))
		}
		for _, s := range p.Sources {
			if !strings.HasPrefix(s, "https://") {
				t.Errorf("%s: source %q is no address", p.Name, s)
			}
		}
		for _, g := range p.Images {
			if strings.Trim(g, "*") == "" {
				t.Errorf("%s: image %q is any", p.Name, g)
			}
		}
		name := regexp.MustCompile(`^` + regexp.QuoteMeta(p.Name) + `(-[a-z0-9]+)+$`)
		for _, r := range p.Rules {
			if !name.MatchString(r.Name) {
				t.Errorf("%s: rule %s has to be called %s-…, in lower case", p.Name, r.Name, p.Name)
			}
			if owner[r.Name] != "" {
				t.Errorf("%s: rule %s is also in %s", p.Name, r.Name, owner[r.Name])
			}
			owner[r.Name] = p.Name
			if len(r.Description) < 30 {
				t.Errorf("%s: says too little: %q", r.Name, r.Description)
			}
		}
	}
}

// TestLines tries each rule on the lines that are beside it.
func TestLines(t *testing.T) {
	for _, p := range All() {
		t.Run(p.Name, func(t *testing.T) {
			for _, r := range p.Rules {
				tr := newTrial(t, r.Rule)
				hits, misses, sums := 0, 0, 0
				for _, test := range r.Tests {
					hits, misses = hits+len(test.Hits), misses+len(test.Misses)
					for _, text := range test.Hits {
						if len(tr.matching(text)) == 0 {
							t.Errorf("%s doesn't match: %s", r.Name, text)
						}
					}
					for _, text := range test.Misses {
						if len(tr.matching(text)) > 0 {
							t.Errorf("%s matches: %s", r.Name, text)
						}
					}
					if len(test.Lines) > 0 {
						sums++
						if n := tr.hits(t, test.Lines); n != test.Expect.Hits {
							t.Errorf("%s: %d hits, want %d, of\n%s", r.Name, n, test.Expect.Hits, strings.Join(test.Lines, "\n"))
						}
					}
				}
				if hits < 2 || misses < 2 {
					t.Errorf("%s has %d lines to hit and %d to miss; there have to be two of each", r.Name, hits, misses)
				}
				if r.Correlated() && sums == 0 {
					t.Errorf("%s: of kind %s, and no test says what lines add up to", r.Name, r.Kind)
				}
			}
		})
	}
}

// meant are rules of one pack that are for lines which another pack's rules must not hit:
// "rule" and a text of the lines.
var meant = map[string][]string{}

// TestOtherPacks has each rule be silent on what all packs say is ordinary, since packs
// are added together, and a container may be of none of their programs.
func TestOtherPacks(t *testing.T) {
	all := newTrial(t, everyRule()...)
	of := map[string]string{} // the pack of each rule
	for _, p := range All() {
		for _, r := range p.Rules {
			of[r.Name] = p.Name
		}
	}
	used := map[string]bool{}
	for _, p := range All() {
		for _, r := range p.Rules {
			for _, test := range r.Tests {
				for _, text := range test.Misses {
					for _, name := range all.matching(text) {
						n := slices.IndexFunc(meant[name], func(part string) bool { return strings.Contains(text, part) })
						switch {
						case of[name] == p.Name: // TestLines has it, or another rule of the pack is for it
						case n < 0:
							t.Errorf("%s matches what %s must not: %s", name, r.Name, text)
						default:
							used[name+meant[name][n]] = true
						}
					}
				}
			}
		}
	}
	for name, parts := range meant {
		for _, part := range parts {
			if !used[name+part] {
				t.Errorf("meant: %s matches no line with %q", name, part)
			}
		}
	}
}

// everyRule is the rules of all packs.
func everyRule() (out []rule.Rule) {
	for _, p := range All() {
		for _, r := range p.Rules {
			out = append(out, r.Rule)
		}
	}
	return out
}

// cheap is how long the texts have to be of which every match of a pattern has one, so
// that lines without them cost next to nothing.
const cheap = 4

// TestPatternsAreCheap asks of each rule that it can be left out of most lines by texts
// that it has to find there.
func TestPatternsAreCheap(t *testing.T) {
	for _, p := range All() {
		for _, r := range p.Rules {
			patterns := append([]string{r.Pattern}, r.Steps...)
			if r.Kind == rule.KindSequence {
				patterns = patterns[1:]
			}
			for _, pattern := range patterns {
				required := rule.Rarest(pattern)
				if required == nil || slices.ContainsFunc(required.Texts, func(s string) bool { return len(s) < cheap }) {
					t.Errorf("%s: nothing is known of the lines that %s matches: %+v", r.Name, pattern, required)
				}
			}
		}
	}
}

func TestGet(t *testing.T) {
	p, err := Get("redis")
	if err != nil || p.Name != "redis" || len(p.Rules) == 0 || !strings.Contains(string(p.YAML), "pack: redis") {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := Get("reddis"); err == nil || !strings.Contains(err.Error(), "did you mean redis?") {
		t.Errorf("a slip of the pen: %v", err)
	}
	if _, err := Get("qmail-and-friends"); err == nil || strings.Contains(err.Error(), "did you mean") || !strings.Contains(err.Error(), "known: ") {
		t.Errorf("nothing like it: %v", err)
	}
	a := All()
	a[0].Name = "changed"
	if All()[0].Name == "changed" {
		t.Error("who asks changes what others get")
	}
}

func TestFor(t *testing.T) {
	for image, want := range map[string]string{
		"redis:8": "redis", "redis": "redis", "valkey/valkey:8.1-alpine": "redis", "registry.example.com/bitnami/redis:7": "redis",
		"busybox": "", "shop/web:1": "", "myredisish:1": "",
	} {
		var names []string
		for _, p := range For(image) {
			names = append(names, p.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %q, want %q", image, got, want)
		}
	}
}

// TestWrongFiles has each fault of a file be told with what to do.
func TestWrongFiles(t *testing.T) {
	for _, row := range []struct{ fault, text, want string }{
		{"no version", "pack: p\nrules: {}\n", "version: has to be 1"},
		{"no rules", "version: 1\npack: p\n", "rules: have to be"},
		{"no name", "version: 1\nrules: {}\n", "pack: is required"},
		{"unknown field of the head", "version: 1\npack: p\nrule: {}\n", "rule"},
		{"unknown field of a rule", "version: 1\npack: p\nrules:\n  p-a: {patern: x}\n", "did you mean pattern?"},
		{"a rule that finds nothing", "version: 1\npack: p\nrules:\n  p-a: {severity: error}\n", "p.yaml:4: rule p-a: pattern"},
		{"a pattern that is none", "version: 1\npack: p\nrules:\n  p-a: {pattern: '('}\n", "missing closing )"},
		{"lines without what they add up to", "version: 1\npack: p\nrules:\n  p-a: {pattern: x, tests: [{lines: [+0s x]}]}\n", "go together"},
		{"a rule that is a text", "version: 1\npack: p\nrules: {p-a: x}\n", "there have to be fields"},
		{"a rule twice", "version: 1\npack: p\nrules:\n  p-a: {pattern: x}\n  p-a: {pattern: y}\n", "p.yaml:5: rule p-a: is there twice, also in line 4"},
	} {
		if _, err := parse("p.yaml", []byte(row.text)); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.fault, err, row.want)
		}
	}
}
