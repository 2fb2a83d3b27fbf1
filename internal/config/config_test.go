package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"logscan/internal/fields"
	"logscan/internal/rule"
	"logscan/internal/store"
)

type ruleOf = rule.Rule

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

const example = `version: 1
x-shared: &shared
  severity: critical
  cooldown: 10m
rules:
  pg-disk:
    <<: *shared
    pattern: 'No space left on device'
    labels: {com.docker.compose.project: shop}
    triggers: [phone]
    tests:
      - lines: ["+0s FATAL:  could not write: No space left on device", "+1s LOG:  ok"]
        expect: {incidents: 1, severity: critical}
      - hits: [No space left on device]
        misses: [there is space left]
  logins:
    pattern: 'Failed password for (?P<user>\S+)'
    kind: count
    by: [$user]
    at_least: 3
    within: 1m
    tests:
      - lines: ["Failed password for root", "+10s Failed password for root", "Failed password for ann", "+20s Failed password for root"]
        expect: {hits: 1, incidents: 1}
  pg-disk-dev:
    name: pg-disk
    pattern: 'No space left on device'
    overrides_id: pg-disk
    workload_id: shop/dev
    state: off
triggers:
  phone: {url: 'ntfy://ntfy.sh/${env:TOPIC}', min_severity: error, at_most: 40/h}
silences:
  backup: {match: {workload: shop/backup}, cron: '0 3 * * *', for_seconds: 1h}
`

func parse(t *testing.T, text string) *Set {
	t.Helper()
	return must[*Set](t)(Parse([]File{{"f.yaml", []byte(text)}}, Given(map[string]string{"${env:TOPIC}": "s3cr3t"})))
}

// bench is a store that files are applied to.
type bench struct {
	*testing.T
	s *store.Store
}

func newBench(t *testing.T) bench {
	s := must[*store.Store](t)(store.Open(filepath.Join(t.TempDir(), "db"), nil))
	t.Cleanup(func() { s.Close() })
	s.UseKey([]byte(strings.Repeat("k", 32)))
	return bench{t, s}
}

func (b bench) objects() store.Objects { return must[store.Objects](b.T)(b.s.Objects(b.Context())) }

// plan is what there is to do for files of a source.
func (b bench) plan(source, text string, prune bool) *Plan {
	b.Helper()
	return must[*Plan](b.T)(NewPlan(b.objects(), parse(b.T, text), Options{Source: source, Prune: prune}))
}

// apply applies files of a source, and returns what that was.
func (b bench) apply(source, text string, prune bool) string {
	b.Helper()
	p := b.plan(source, text, prune)
	if err := b.s.Apply(b.Context(), p.Apply); err != nil {
		b.Fatal(err)
	}
	return summary(p)
}

func summary(p *Plan) string {
	var out []string
	for _, c := range p.Changes {
		s := fmt.Sprintf("%s %s %s", c.Action, c.Kind, c.Key)
		for _, f := range c.Fields {
			s += fmt.Sprintf(" %s:%s->%s", f.Name, f.From, f.To)
		}
		if c.Why != "" {
			s += " (" + c.Why + ")"
		}
		out = append(out, s)
	}
	return strings.Join(out, "\n")
}

func check(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A file is applied as it is; then there is nothing to do, until it is changed.
func TestApply(t *testing.T) {
	b := newBench(t)
	if err := parse(t, example).Test(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	check(t, b.apply("file:f", example, false), "add trigger phone\nadd rule logins\nadd rule pg-disk\nadd rule pg-disk-dev\nadd silence backup")
	have := b.objects()
	for _, r := range have.Rules {
		switch {
		case r.ManagedBy != "file:f", !strings.HasPrefix(r.DeclaredAt, "f.yaml:"):
			t.Errorf("%+v", r.Managed)
		case r.Managed.Key == "pg-disk" && (r.CooldownSeconds != 600 || r.Severity != "critical" || r.Labels.String() != "com.docker.compose.project=shop" || r.Triggers.String() != "phone"):
			t.Errorf("%+v", r)
		case r.Managed.Key == "pg-disk-dev" && (r.OverridesID == 0 || r.Name != "pg-disk"):
			t.Errorf("%+v", r)
		}
	}
	if tr := have.Triggers[0]; tr.ActionURL != "ntfy://ntfy.sh/s3cr3t" || tr.Refs["action_url"] != "ntfy://ntfy.sh/${env:TOPIC}" || tr.AtMost != "40/h" {
		t.Errorf("%q, %v", tr.ActionURL, tr.Refs)
	}
	if v := have.Silences[0]; v.Matchers[0].String() != "workload=shop/backup" || v.For.Hours() != 1 {
		t.Errorf("%+v", v)
	}
	check(t, b.apply("file:f", example, true), "")
	changed := strings.Replace(example, "10m", "5m", 1)
	changed = strings.Replace(changed, "  logins:", "  bad-logins:\n    renamed_from: logins", 1)
	changed = strings.Replace(changed, "hits: [No", "hits: [Oh No", 1)
	changed, _, _ = strings.Cut(changed, "silences:")
	check(t, b.apply("file:f", changed, false), "change rule bad-logins name:logins->bad-logins (renamed from logins)\nchange rule pg-disk cooldown_seconds:600->300 tests:2->2")
	for _, r := range b.objects().Rules {
		if r.Managed.Key == "bad-logins" && r.ID != have.Rules[1].ID && r.ID != have.Rules[0].ID {
			t.Errorf("it is another one: %+v", r)
		}
	}
	check(t, b.apply("file:f", changed, true), "remove silence backup")
	check(t, b.apply("file:f", "version: 1\n", true), "remove trigger phone\nremove rule bad-logins\nremove rule pg-disk\nremove rule pg-disk-dev")
}

// Where only lines are others, rules go on as they are.
func TestMovedLines(t *testing.T) {
	b := newBench(t)
	b.apply("file:f", example, true)
	before := b.objects()
	check(t, b.apply("file:f", "# a comment\n"+example, true), "")
	after := b.objects()
	for k, r := range after.Rules {
		was := before.Rules[k]
		if r.DeclaredAt == was.DeclaredAt || !r.UpdatedAt.Equal(was.UpdatedAt) {
			t.Errorf("%+v was %+v", r, was)
		}
	}
}

// A source changes and removes what it declares alone; what the API made becomes a
// source's that declares it.
func TestOwnership(t *testing.T) {
	b := newBench(t)
	b.apply("file:f", "version: 1\nrules: {a: {pattern: x}, b: {pattern: y}}", false)
	_, err := NewPlan(b.objects(), parse(t, "version: 1\nrules:\n  a: {pattern: z}"), Options{Source: "file:g"})
	if err == nil || !strings.Contains(err.Error(), "f.yaml:3:3: rule a: it is managed by file:f, at f.yaml:2: change it there") {
		t.Error(err)
	}
	check(t, b.apply("file:g", "version: 1\nrules: {c: {pattern: z}}", true), "add rule c")
	own := b.objects().Rules[0]
	own.Name, own.Pattern = "mine", "m"
	own = must[ruleOf](t)(b.s.CreateRule(t.Context(), own))
	check(t, b.apply("file:g", "version: 1\nrules: {c: {pattern: z}, mine: {pattern: m}}", true), "adopt rule mine")
	if r := must[ruleOf](t)(b.s.Rule(t.Context(), own.ID)); r.ManagedBy != "file:g" || !r.UpdatedAt.Equal(own.UpdatedAt) {
		t.Errorf("%+v", r)
	}
	over := own
	over.Name, over.WorkloadID, over.OverridesID = "mine here", "w", own.ID
	must[ruleOf](t)(b.s.CreateRule(t.Context(), over))
	check(t, b.apply("file:g", "version: 1", true), "remove rule c\nremove rule mine\nremove rule mine here (it overrides mine)")
	var managed *fields.ManagedError
	if err := b.s.DeleteRule(t.Context(), b.objects().Rules[0].ID); !errors.As(err, &managed) {
		t.Error(err)
	}
}

// What can't be is told with its place, the line there and the name that may have been
// meant; no secret is in it.
func TestProblems(t *testing.T) {
	for text, want := range map[string][]string{
		"version: 1\nrules:\n  a:\n    patern: 'x'":  {"f.yaml:4:5: rule a: patern: unknown field; did you mean pattern?", "    patern: 'x'"},
		"version: 1\nrules:\n  a:\n    pattern: '('": {"f.yaml:4:5: rule a: pattern: ", "    pattern: '('"},
		"version: 1\nrulez: {}":                      {"f.yaml:2:1: rulez: unknown; did you mean rules?"},
		"version: 2":                                 {"f.yaml:1:10: version: has to be 1, not 2"},
		"rules: {}":                                  {"f.yaml: version is missing"},
		"":                                           {"f.yaml: is empty"},
		"version: 1\nrules:\n\ta: 1":                 {"there is a tab: indent by blanks"},
		"version: 1\nrules: [a]":                     {"f.yaml:2:8: has to be a mapping"},
		"version: 1\nrules: {a: 5}":                  {"f.yaml:2:12: rule a: there have to be fields"},
		"version: 1\nrules: {a: {pattern: x}, a: {pattern: y}}":                                     {"f.yaml:2:26: rule a: is there twice, also at f.yaml:2"},
		"version: 1\nrules: {}\nrules: {}":                                                          {"f.yaml:3:1: rules: is there twice, also in line 2"},
		"version: 1\nrules: {a: {pattern: x, tests: [{lines: [x]}]}}":                               {"each has lines and expect, or hits and misses"},
		"version: 1\nrules: {a: {pattern: x, tests: [{hit: [x]}]}}":                                 {"hit: is unknown"},
		"version: 1\nrules: {a: {pattern: x, tests: [{lines: [+2s x, +1s y], expect: {hits: 1}}]}}": {"goes back in time"},
		"version: 1\nrules: {a: {pattern: x, overrides_id: b}}":                                     {"overrides_id: goes with a workload_id"},
		"version: 1\ntriggers:\n  t:\n    url: https://h/T0KEN\n    min_severty: warn":              {"f.yaml:5:5: trigger t: min_severty: unknown field; did you mean min_severity?"},
		"version: 1\ntriggers:\n  t: {url: 'https://h/${env:GONE}'}":                                {"f.yaml:3:7: trigger t: action_url: ${env:GONE}: nothing was sent for it"},
		"version: 1\nsilences: {s: {match: {rul: x}}}":                                              {`silence s: matchers: there is no field "rul"`},
		"version: 1\nsilences: {s: {match: {rule: x}, cron: daily}}":                                {"silence s: cron: "},
		"version: 1\nrules: {a: &x {pattern: [*x]}}":                                                {"pattern: has to be a text"},
		"\xff\xfev\x00":               {"is UTF-16: save it as UTF-8"},
		"version: 1\n# \xe4\n":        {"f.yaml:2: is not UTF-8"},
		"version: 1\n---\nversion: 1": {"expected single document"},
		"a: &a [x,x]\nb: &b [*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\nversion: 1": {"a: unknown"},
		"version: 1\nx-: [" + strings.Repeat("a,", 600_000) + "]":                       {"f.yaml: has too much in it"},
		"version: 1\nx-lines: &l [" + strings.Repeat("x,", 900) + "]\nx-tests: &t [" + strings.Repeat("{hits: *l},", 90) + "]\nrules:" +
			"\n  a: {pattern: x, tests: *t}\n  b: {pattern: x, tests: *t}": {"rule b: tests: all tests together may have at most 100000 lines"},
		"version: 1\nx-: &l [" + strings.Repeat("x,", 2000) + "]\nrules: {a: {pattern: x, ignore: *l, by: *l}}": {"ignore: is a list of more than 1000", "by: is a list of more than 1000"},
		strings.Repeat("[", 200_000): {"f.yaml:"},
	} {
		_, err := Parse([]File{{"f.yaml", []byte(text)}}, Given(nil))
		var p *Problems
		if !errors.As(err, &p) {
			t.Errorf("%.60q: %v", text, err)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%.60q gives\n%v\nwant %s", text, err, w)
			}
		}
		if strings.Contains(err.Error(), "T0KEN") {
			t.Errorf("%v", err)
		}
	}
	b := newBench(t)
	for text, want := range map[string]string{
		"version: 1\nrules: {a: {pattern: x, triggers: [phone]}}":               `rule a: triggers: there is no trigger "phone"`,
		"version: 1\nrules: {a: {pattern: x, workload_id: w, overrides_id: b}}": "overrides_id: there is no global rule b",
		"version: 1\ntriggers:\n  t: {url: '${stored}'}":                        "there is no trigger t here whose action_url could stay",
	} {
		if _, err := NewPlan(b.objects(), parse(t, text), Options{Source: "file:f"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Where references aren't known, a file is right whatever they may stand for.
func TestUnknownSecrets(t *testing.T) {
	for _, url := range []string{"${env:A}", "slack://${env:A}", "telegram://${file:b}@telegram?chats=${env:C}"} {
		if _, err := Parse([]File{{"f.yaml", []byte("version: 1\ntriggers: {t: {url: '" + url + "', secret: '${env:S}'}}")}}, Unknown); err != nil {
			t.Error(err)
		}
	}
}

// A test that isn't as expected is told with its place.
func TestTests(t *testing.T) {
	err := parse(t, `version: 1
rules:
  a:
    pattern: boom
    cooldown: 0
    tests:
      - hits: [boom, bang]
        misses: [boom, bang]
      - lines: ["+0s boom 1", "+20m boom 2"]
        expect: {hits: 1, incidents: 1, severity: error}
  b:
    pattern: beat
    kind: absent
    for: 1m
    tests:
      - lines: [beat, +10m]
        expect: {hits: 1}
      - lines: [beat, "+30s beat"]
        expect: {hits: 0}
  c:
    pattern: refused
    ignore: [twice]
    kind: count
    at_least: 5
    within: 1m
    tests:
      - hits: [refused, twice refused]
        misses: [taken, refused once]
  d:
    pattern: '(?s)Traceback.*KeyError'
    record: true
    tests:
      - hits: ["Traceback (most recent call last):\n  File \"a.py\", line 1, in a\nKeyError: 1"]
        misses: ["Traceback (most recent call last):\n  File \"a.py\", line 1, in a\nValueError: 1", "KeyError: 1"]
`).Test(t.Context(), nil)
	if err == nil {
		t.Fatal("all is as expected")
	}
	check(t, err.Error(), `f.yaml:7:9: rule a: test: is no hit: "bang"
f.yaml:7:9: rule a: test: is a hit: "boom"
f.yaml:9:9: rule a: test: there are 2 hits, not 1
f.yaml:9:9: rule a: test: there are 2 incidents, not 1
f.yaml:9:9: rule a: test: the severity is warn, not error
f.yaml:27:9: rule c: test: is no hit: "twice refused"
f.yaml:27:9: rule c: test: is a hit: "refused once"`)
}

// Files are found below a directory; what is hidden isn't.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{"a.yaml": "a", "sub/b.yml": "b", ".git/c.yaml": "c", "d.txt": "d", ".e.yaml": "e"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(data), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	check(t, fmt.Sprintf("%s", must[[]File](t)(Load(dir))), "[{a.yaml a} {sub/b.yml b}]")
	check(t, fmt.Sprintf("%s", must[[]File](t)(Load(filepath.Join(dir, "sub/b.yml")))), "[{b.yml b}]")
	if _, err := Load(filepath.Join(dir, ".git")); err != nil {
		t.Error(err) // what is named is read
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if files := must[[]File](t)(Load(link)); len(files) != 2 {
		t.Errorf("by a link to the directory: %v", files)
	}
	if err := os.Truncate(filepath.Join(dir, "a.yaml"), 100<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || err.Error() != "a.yaml is longer than 4 MiB" {
		t.Error(err)
	}
}
