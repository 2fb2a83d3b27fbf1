package rule

import (
	"errors"
	"strings"
	"testing"
	"time"

	"logscan/internal/fields"
)

func valid() Rule {
	r := New()
	r.ID, r.Name, r.Pattern, r.CooldownSeconds, r.CooldownBy = 1, "a rule", "x", 0, ByRule
	return r
}

func TestValidate(t *testing.T) {
	if err := Fields.Validate(valid()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*Rule)
		field  string
		want   string // part of the reason; "" = it is fine
	}{
		{"no name", func(r *Rule) { r.Name = " " }, "name", "required"},
		{"long name", func(r *Rule) { r.Name = strings.Repeat("n", MaxName+1) }, "name", "most is 128"},
		{"longest name", func(r *Rule) { r.Name = strings.Repeat("n", MaxName) }, "", ""},
		{"name with a newline", func(r *Rule) { r.Name = "a\nb" }, "name", "printed"},
		{"name with an escape", func(r *Rule) { r.Name = "a\x1b[31m" }, "name", "printed"},
		{"name that is no UTF-8", func(r *Rule) { r.Name = "a\xff" }, "name", "printed"},
		{"name beyond ASCII", func(r *Rule) { r.Name = "Düsseldorf 東京" }, "", ""},
		{"long description", func(r *Rule) { r.Description = strings.Repeat("n", MaxDescription+1) }, "description", "most is 4096"},
		{"severity", func(r *Rule) { r.Severity = "fatal" }, "severity", "info, warn, error or critical"},
		{"no severity", func(r *Rule) { r.Severity = "" }, "severity", "info, warn, error or critical"},
		{"streams", func(r *Rule) { r.Streams = "stdin" }, "streams", "all, stdout or stderr"},
		{"negative cooldown", func(r *Rule) { r.CooldownSeconds = -1 }, "cooldown_seconds", "31536000"},
		{"cooldown of more than a year", func(r *Rule) { r.CooldownSeconds = int64(MaxCooldown/time.Second) + 1 }, "cooldown_seconds", "31536000"},
		{"workload", func(r *Rule) { r.WorkloadID = strings.Repeat("w", MaxWorkload+1) }, "workload_id", "most is 128"},
		{"workload with a control character", func(r *Rule) { r.WorkloadID = "a\x00" }, "workload_id", "printed"},
		{"overrides", func(r *Rule) { r.OverridesID = -1 }, "overrides_id", "id"},
		{"no pattern", func(r *Rule) { r.Pattern = "" }, "pattern", "required"},
		{"long pattern", func(r *Rule) { r.Pattern = strings.Repeat("x", MaxPattern+1) }, "pattern", "most is 4096"},
		{"longest pattern", func(r *Rule) { r.Pattern = strings.Repeat("x", MaxPattern) }, "", ""},
		{"huge program", func(r *Rule) { r.Pattern = strings.Repeat(`\pL{1000}`, 11) }, "pattern", "most is 10000"},
		{"repeat count", func(r *Rule) { r.Pattern = `ok x{1001}` }, "pattern", "invalid repeat count `{1001}` at position 5"},
		{"nested repeats", func(r *Rule) { r.Pattern = `((a{100}){100}){100}` }, "pattern", "invalid repeat count"},
		{"deep nesting", func(r *Rule) { r.Pattern = strings.Repeat("(", 1500) + strings.Repeat(")", 1500) }, "pattern", "nests too deeply"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := valid()
			tt.change(&r)
			err := Fields.Validate(r)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var fe *fields.Error
			if !errors.As(err, &fe) || fe.Field != tt.field || !strings.Contains(fe.Reason, tt.want) {
				t.Fatalf("got %v, want %s: …%s…", err, tt.field, tt.want)
			}
		})
	}
}

func TestPatternPosition(t *testing.T) {
	for pattern, want := range map[string]string{
		`ab(c`:       "missing closing ) at position 5",
		`(a)|(b|(c)`: "missing closing ) at position 11",
		`ab)c`:       "unexpected ) at position 3",
		`(a)[)]\))`:  "unexpected ) at position 9",
		`x[a-`:       "missing closing ] `[a-` at position 2",
		`[`:          "missing closing ] at position 1",
		`x[z-a]`:     "invalid character class range `z-a` at position 3",
		`z-a[z-a]`:   "invalid character class range `z-a` at position 5",
		`*`:          "missing argument to repetition operator at position 1",
		`\*a|*`:      "missing argument to repetition operator `*` at position 5",
		`a**`:        "invalid nested repetition operator `**` at position 2",
		`[*]\**x**`:  "invalid nested repetition operator `**` at position 8",
		`a\`:         "trailing backslash at end of expression at position 2",
		`é\y`:        "invalid escape sequence `\\y` at position 2",
		`\\y\y`:      "invalid escape sequence `\\y` at position 4",
		`a(?=b)`:     "invalid or unsupported Perl syntax `(?=` at position 2",
		`(a)\1`:      "invalid escape sequence `\\1` at position 4",
		`\p{Nope}`:   "invalid character class range at position 1",
	} {
		_, err := parsePattern(pattern)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", pattern, err, want)
		}
	}
}

func FuzzValidate(f *testing.F) {
	for _, s := range []string{"x", "(", ")", `[z-a]`, `a**`, `\`, "\xff", `(?P<n>a)(?P<n>b)`, `x{1001}`, `\pN`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		r := valid()
		r.Pattern = pattern
		err := Fields.Validate(r)
		_, bad := Compile([]Rule{r})
		if (err == nil) != (len(bad) == 0) {
			t.Errorf("Validate says %v, Compile %v", err, bad)
		}
	})
}

func ids(s *Set) (out []int64) {
	for _, r := range s.Rules() {
		out = append(out, r.ID)
	}
	return out
}

const second = int64(time.Second)
