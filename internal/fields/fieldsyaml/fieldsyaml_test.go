package fieldsyaml_test

import (
	"reflect"
	"strings"
	"testing"

	"logscan/internal/fields"
	"logscan/internal/fields/fieldsyaml"
	"logscan/internal/rule"
)

// read is the rule that a file is.
func read(t *testing.T, data []byte) rule.Rule {
	t.Helper()
	f, err := fieldsyaml.Read[rule.Rule]("f", data)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	r := rule.New()
	if err := rule.Fields.Apply(&r, f.Members); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	return r
}

var hostile = []string{
	"plain", " lead", "trail ", "yes", "on", "y", "NO", "true", "null", "~", "0x1", "0o7", "1.20", "1_000", "1:30", "-5", "+1", ".inf", "2026-01-02", "a: b", "a #b", "#", "- x", "-", "? x", ":", "'q'", `"dq"`,
	"l1\nl2", "l1\n", "\n", "  \n x", "\r\n", "x\r", "tab\tx", "\x07", "\x1b[2J", "\u0085", "é\u2028x", "\u202e", "\ufeffx", "a\u200b", "\u00a0x", "😀 ü", "{a}", "[a", "!t", "!!int 5", "&a", "*a", "%d", "@x", "`x", "|", ">", "<<", "=", "---", "...", "--- x",
	`^status=(?P<code>5\d\d) "x"$`, `\`, `'`, `"`, "a,b", strings.Repeat("long ", 500) + "\\d", "\x7f",
}

// What is written of a rule gives the same rule, whatever its texts are.
func TestRoundTrip(t *testing.T) {
	for _, s := range hostile {
		r := rule.New()
		r.Name, r.Pattern, r.Description, r.WorkloadID = s, s, s, s
		r.All, r.Ignore = fields.Texts{s, "x", s}, fields.Texts{s}
		if one := strings.TrimSpace(s); one != "" && !strings.Contains(s, ",") {
			r.Labels, r.Images = fields.List[string]{one}, fields.List[string]{"z" + one, one}
		}
		r.Kind, r.By, r.AtLeast, r.WithinSeconds, r.Distinct = rule.KindCount, fields.List[string]{"$1", "$user"}, 5, 3600, s
		r.CooldownSeconds, r.ResolveAfter, r.Repeat, r.TellResolved, r.OverridesID = 0, 61, 86400, true, 7
		r.State, r.Enabled, r.Severity, r.CooldownBy = rule.Shadow, true, "critical", rule.ByRule
		out, err := fieldsyaml.Write("about", r)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if got := read(t, out); !reflect.DeepEqual(got, r) {
			t.Errorf("%q:\n%+v\nis written as\n%s\nand read as\n%+v", s, r, out, got)
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := rule.New()
		r.Name, r.All = strings.ToValidUTF8(s, "\ufffd"), fields.Texts{strings.ToValidUTF8(s, "\ufffd")}
		out, err := fieldsyaml.Write("about", r)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, out); !reflect.DeepEqual(got, r) {
			t.Errorf("%q is read as %q, %q\n%s", r.Name, got.Name, got.All, out)
		}
	})
}

// Whatever a file holds, it is read or refused with its name.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"name: x\n", "all: [a, b]\n", "a: &a [*a]\n", "{", "? [x]: y", "name: !!binary aGk=", "- x", "", "\x00", "cooldown_seconds: 5m\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := fieldsyaml.Read[rule.Rule]("FILE", data)
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(line, "FILE") {
					t.Fatalf("%q", line)
				}
			}
			return
		}
		r := rule.New()
		_ = rule.Fields.Apply(&r, file.Members)
	})
}

// What has its default is left out, and what is meant for clients that know no other.
func TestWrite(t *testing.T) {
	r := rule.New()
	r.ID, r.Name, r.Pattern, r.CooldownSeconds = 5, "yes", `5\d\d "x`, 3600
	r.All = fields.Texts{"a: b", "c"}
	out, err := fieldsyaml.Write("Rule 5.", r)
	if want := `# Rule 5.
name: 'yes'
pattern: 5\d\d "x
all:
- 'a: b'
- c
cooldown_seconds: 3600 # 1h0m0s
`; err != nil || string(out) != want {
		t.Errorf("%v, got\n%s", err, out)
	}
}

// What mappings share may be merged into them; a mapping's own entries go before.
func TestMerged(t *testing.T) {
	got := read(t, []byte("<<: [{severity: error, name: a}, {severity: info, <<: {pattern: p}}]\nname: b\ncooldown: 5m\nlabels: {k: v, x: }\n"))
	if got.Name != "b" || got.Severity != "error" || got.Pattern != "p" || got.CooldownSeconds != 300 || got.Labels.String() != "k=v,x" {
		t.Errorf("%+v", got)
	}
}

// A value may be written in each way in which people write it.
func TestRead(t *testing.T) {
	got := read(t, []byte(`
id: 7
created_at: 2026-01-02T15:04:05Z
name: 0x1F
description: 1.20
pattern: &p yes
all: [1.10, *p, "null"]
severity: ~
images: [web:*, 'db']
labels: a=1, b
cooldown_seconds: 1h30m
repeat_seconds: 90
tell_resolved: yes
enabled: false
`))
	want := rule.New()
	want.Name, want.Description, want.Pattern, want.All = "0x1F", "1.20", "yes", fields.Texts{"1.10", "yes", "null"}
	want.Images, want.Labels = fields.List[string]{"web:*", "db"}, fields.List[string]{"a=1", "b"}
	want.CooldownSeconds, want.Repeat, want.TellResolved, want.State, want.Enabled = 5400, 90, true, rule.Off, false
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	f, err := fieldsyaml.Read[rule.Rule]("f", []byte("overrides_id: oom\n"))
	if err != nil || string(f.Members["overrides_id"]) != `"oom"` || f.At("overrides_id") != "f:1" || f.At("name") != "" {
		t.Errorf("%s, %v", f.Members, err)
	}
}

// Each thing that is wrong is told, with its line.
func TestRefusals(t *testing.T) {
	for in, want := range map[string][]string{
		"name: x\npatern: y\npattern: z\nseverety: warn\n": {"f:2: patern: unknown field; did you mean pattern?", "f:4: severety: unknown field; did you mean severity?"},
		"name: x\npatern: 5m\n":                            {"f:2: patern: unknown field; did you mean pattern?"},
		"cooldown: 5m\ncooldown_seconds: 5\n":              {"f:2: cooldown_seconds: is there twice, also in line 1"},
		"\"\\e[2J\": 5m\n":                                 {`f:1: \x1b[2J: unknown field`},
		"name: a\npattern: x\nname: b":                     {"f:3: name: is there twice, also in line 1"},
		"name: [a]\nall: x\nignore: 5":                     {"f:1: name: has to be a text", "f:2: all: has to be a list", "f:3: ignore: has to be a list"},
		"all:\n- x\n- [y]":                                 {"f:2: all: number 2 of the list has to be a text"},
		"all:\n- x\n-\n":                                   {"f:2: all: number 2 of the list has to be a text, not !!null"},
		"cooldown_seconds: soon":                           {`f:1: cooldown_seconds: "soon" is no duration in whole seconds`},
		"cooldown_seconds: 1.5":                            {`f:1: cooldown_seconds: "1.5" is no duration in whole seconds`},
		"tell_resolved: 1":                                 {"f:1: tell_resolved: has to be true or false"},
		"tell_resolved: 'true'":                            {"f:1: tell_resolved: has to be true or false"},
		"images: [a, 'b,c']":                               {`f:1: images: "b,c" has a comma`},
		"name: !!binary aGk=":                              {"f:1: name: has to be a text, not !!binary"},
		"name: x\n\tpattern: y":                            {"f:2: "},
		"name: x\npattern: a: b":                           {"f:2: mapping values are not allowed"},
		"name: 'x\npattern: y\n":                           {"f:3: found unexpected end of stream (while scanning a quoted scalar, which begins in line 1)"},
		"- name: x":                                        {"f:1: there have to be fields"},
		"x":                                                {"f:1: there have to be fields"},
		"":                                                 {"f: no documents in stream"},
		"name: a\n---\nname: b\n":                          {"f: expected single document, found multiple"},
		"? [a]\n: b\n":                                     {"f:1: a name has to be a text"},
		strings.Repeat("[", 100_000):                       {"f"},
		"<<: name\npattern: y":                             {"f:1: has to be a mapping"},
		"a: &a {<<: [*a, *a, *a]}\n<<: *a\n":               {"f:1: there may be at most 64 mappings merged", "f:1: a: unknown field"},
		"labels: {a: [b]}\n":                               {"f:1: labels: a has to be a text"},
		"where_: x\nall: &a [*a]\n":                        {"f:1: where_: unknown field", "f:2: all: number 1 of the list has to be a text"},
		"pattern: x\ncooldown_by: [1]\n":                   {"f:2: cooldown_by: has to be a text"},
	} {
		_, err := fieldsyaml.Read[rule.Rule]("f", []byte(in))
		if err == nil {
			t.Errorf("%.50q is read", in)
			continue
		}
		got := strings.Split(err.Error(), "\n")
		for k, line := range got {
			if k >= len(want) || !strings.HasPrefix(line, want[k]) {
				t.Errorf("%.50q: %s", in, line)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%.50q: %d errors, want %d", in, len(got), len(want))
		}
	}
}
