package packs

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"logscan/internal/config"
	"logscan/internal/rule"
	"logscan/internal/trial"
)

// declared are the rules of a pack, as its file has them.
func declared(t testing.TB, p Pack) *config.Set {
	t.Helper()
	set, err := config.Parse([]config.File{{Name: p.Name + ".yaml", Data: p.YAML}}, config.Unknown)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// trials are the rules of a pack, and each ready to be tried.
func trials(t testing.TB, p Pack) ([]*config.Rule, []*trial.Trial) {
	t.Helper()
	all := declared(t, p).Rules
	var rules []rule.Rule
	for _, r := range all {
		rules = append(rules, r.Value)
	}
	out, bad := trial.All(rules)
	for k, err := range bad {
		if err != nil {
			t.Fatalf("%s: %v", all[k].Key, err)
		}
	}
	return all, out
}

// TestHeads asks for what a person reads of a pack before it is added.
func TestHeads(t *testing.T) {
	owner := map[string]string{}
	for _, p := range All() {
		if p.Description == "" || len(p.Sources) == 0 || p.Rules < 4 || p.Rules > 12 {
			t.Errorf("%s: description %q, %d sources, %d rules", p.Name, p.Description, len(p.Sources), p.Rules)
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
		set := declared(t, p)
		if len(set.Rules) != p.Rules || len(set.Triggers)+len(set.Silences) > 0 {
			t.Errorf("%s: says that it has %d rules: %d, and %d triggers, %d silences", p.Name, p.Rules, len(set.Rules), len(set.Triggers), len(set.Silences))
		}
		name := regexp.MustCompile(`^` + regexp.QuoteMeta(p.Name) + `(-[a-z0-9]+)+$`)
		for _, r := range set.Rules {
			if !name.MatchString(r.Key) || r.Value.Name != r.Key {
				t.Errorf("%s: rule %s, named %s, has to be called %s-…, in lower case", p.Name, r.Key, r.Value.Name, p.Name)
			}
			if owner[r.Key] != "" {
				t.Errorf("%s: rule %s is also in %s", p.Name, r.Key, owner[r.Key])
			}
			owner[r.Key] = p.Name
			if len(r.Value.Description) < 30 {
				t.Errorf("%s: says too little: %q", r.Key, r.Value.Description)
			}
		}
	}
}

// TestLines tries each rule on the lines that are beside it, and asks for enough of them.
func TestLines(t *testing.T) {
	for _, p := range All() {
		set := declared(t, p)
		if err := set.Test(t.Context(), nil); err != nil {
			t.Error(err)
		}
		for _, r := range set.Rules {
			hits, misses, sums := 0, 0, 0
			for _, test := range r.Tests {
				hits, misses, sums = hits+len(test.Hits), misses+len(test.Misses), sums+len(test.Lines)
			}
			if hits < 2 || misses < 2 {
				t.Errorf("%s has %d lines to hit and %d to miss; there have to be two of each", r.Key, hits, misses)
			}
			if r.Value.Correlated() && sums == 0 {
				t.Errorf("%s: of kind %s, and no test says what lines add up to", r.Key, r.Value.Kind)
			}
		}
	}
}

// meant are rules of one pack that are for lines which another pack's rules must not hit:
// "rule" and a text of the lines.
var meant = map[string][]string{}

// TestOtherPacks has each rule be silent on what all packs say is ordinary, since packs
// are added together, and a container may be of none of their programs.
func TestOtherPacks(t *testing.T) {
	type miss struct{ of, pack, text, lower string }
	var misses []miss
	for _, p := range All() {
		for _, r := range declared(t, p).Rules {
			for _, test := range r.Tests {
				for _, text := range test.Misses {
					misses = append(misses, miss{r.Key, p.Name, text, strings.ToLower(text)})
				}
			}
		}
	}
	for _, p := range All() {
		rules, trials := trials(t, p)
		for k, r := range rules {
			unused, rare := slices.Clone(meant[r.Key]), rule.Rarest(r.Value.Pattern)
			for _, m := range misses {
				has := func(text string) bool { return strings.Contains(m.lower, strings.ToLower(text)) }
				if m.pack == p.Name || !slices.ContainsFunc(rare.Texts, has) || trials[k].Run(lines(m.text), 0).Matches == 0 {
					continue // of its own pack, TestLines has it, or it is for another rule
				}
				in := func(part string) bool { return strings.Contains(m.text, part) }
				if !slices.ContainsFunc(meant[r.Key], in) {
					t.Errorf("%s matches what %s must not: %s", r.Key, m.of, m.text)
				}
				unused = slices.DeleteFunc(unused, in)
			}
			if len(unused) > 0 {
				t.Errorf("%s matches no line of others that has %q", r.Key, unused)
			}
		}
	}
}

// lines are those of a text.
func lines(text string) (out []trial.Line) {
	for line := range strings.Lines(text) {
		out = append(out, trial.Line{Text: strings.TrimSuffix(line, "\n")})
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
		for _, r := range declared(t, p).Rules {
			required := rule.Rarest(r.Value.Pattern)
			if required == nil || slices.ContainsFunc(required.Texts, func(s string) bool { return len(s) < cheap }) {
				t.Errorf("%s: too little is known of the lines that %s matches: %+v", r.Key, r.Value.Pattern, required)
			}
		}
	}
}

func TestGet(t *testing.T) {
	p, err := Get("redis")
	if err != nil || p.Name != "redis" || p.Rules == 0 || !strings.Contains(string(p.YAML), "pack: redis") {
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
