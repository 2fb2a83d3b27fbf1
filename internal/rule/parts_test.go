package rule

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestQuoteGroups puts a group in each place where a pattern quotes one, and nowhere
// else.
func TestQuoteGroups(t *testing.T) {
	groups := map[string]string{"id": `\w+`, "_2": "x"}
	for text, want := range map[string]string{
		"done $id":          `done (?P<id>\w+)`,
		"done ${id}s":       `done (?P<id>\w+)s`,
		"$_2$":              "(?P<_2>x)$",
		"end$":              "end$",
		`\$id`:              `\$id`,
		`\\$id`:             `\\(?P<id>\w+)`,
		`\Q$id\E$id`:        `\Q$id\E(?P<id>\w+)`,
		`\Q$id`:             `\Q$id`,
		"[$id]":             "[$id]",
		"[]$id]$id":         `[]$id](?P<id>\w+)`,
		"[^]$id]$id":        `[^]$id](?P<id>\w+)`,
		"[[:alpha:]$id]$id": `[[:alpha:]$id](?P<id>\w+)`,
		"[[]$id":            `[[](?P<id>\w+)`,
		`[\]$id]$id`:        `[\]$id](?P<id>\w+)`,
		"${id":              "${id",
		"é$id":              `é(?P<id>\w+)`,
		"$|a":               "$|a",
		"$id $id":           "twice",
		"$nobody":           "has to be a group of the pattern",
		"a${nobody}":        "has to be a group of the pattern",
		"":                  "",
	} {
		got, err := quoteGroups(text, groups)
		if err != nil {
			got = err.Error()
			if !strings.Contains(got, want) || want == "" {
				t.Errorf("%s: %s", text, got)
			}
			continue
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
		_, before := regexp.Compile(text)
		if _, err := regexp.Compile(got); err != nil && before == nil {
			t.Errorf("%s: %v", got, err)
		}
	}
}

func FuzzQuoteGroups(f *testing.F) {
	for _, s := range []string{"$id", `\Q$id`, "[$id]", "${id}", "[[:$id:]]", `\`, "$", "[^]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := quoteGroups(text, map[string]string{"id": "x+"})
		if err != nil {
			return
		}
		if !strings.Contains(text, "id") && got != text {
			t.Errorf("%q became %q", text, got)
		}
		// A pattern stays one: what is put into it is whole.
		if re, err := regexp.Compile(text); err == nil {
			with, err := regexp.Compile(got)
			if err != nil && !strings.Contains(text, "(?P<id>") && !strings.Contains(text, "(?<id>") {
				t.Errorf("%q became %q: %v", text, got, err)
			}
			if got == text && with != nil && with.String() != re.String() {
				t.Errorf("%q", text)
			}
		}
	})
}

func TestConditionsOfAText(t *testing.T) {
	c, err := parseConditions("done (\\w+)\nwhere code = 0\nignore dry\nall x\n")
	if err != nil || c.Pattern != `done (\w+)` || !slices.Equal(c.Where, []string{"code = 0"}) || !slices.Equal(c.Ignore, []string{"dry"}) || !slices.Equal(c.All, []string{"x"}) {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := parseConditions("where code = 0"); err != nil || c.Pattern != "" || len(c.Where) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	for text, want := range map[string]string{"": "line 1", "a\nb": "line 2", "ignore x": "has no pattern", "a\n\nb": "line 2"} {
		if _, err := parseConditions(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestPartsAreChecked has parts that can't be used be refused, with the field and the
// reason.
func TestPartsAreChecked(t *testing.T) {
	sequence := func(steps ...string) Rule {
		r := New()
		r.Name, r.Kind, r.WithinSeconds, r.Steps = "s", KindSequence, 60, steps
		return r
	}
	with := func(r Rule, set func(*Rule)) Rule {
		set(&r)
		return r
	}
	line := func(set func(*Rule)) Rule { return with(valid(), set) }
	for want, r := range map[string]Rule{
		"":                                        sequence(`begin (?P<id>\d+)`, "end $id"),
		"steps: are 1; there have to be 2 to 10":  sequence("a"),
		"steps: is required for rules of kind":    sequence(),
		"steps: 2: pattern":                       sequence("a", "b("),
		"steps: 1: pattern":                       sequence("a(", "b"),
		"steps: 2 quotes $id, which":              sequence("begin", "end $id"),
		"steps: 2: has no group $id":              sequence(`begin (?P<id>\d+)`, "half", "end $id"),
		"steps: say which lines":                  with(sequence("a", "b"), func(r *Rule) { r.Pattern = "x" }),
		"until: 1 quotes $no":                     with(sequence("a", "b"), func(r *Rule) { r.Until = []string{"$no"} }),
		"steps: is for rules of kind sequence":    line(func(r *Rule) { r.Steps = []string{"a", "b"} }),
		"slower_than_seconds: is for hit":         with(sequence("a", "b"), func(r *Rule) { r.SlowerThanSeconds = 5 }),
		"clear: 1 quotes $user, which has to be":  line(func(r *Rule) { r.Pattern, r.Clear = "(?P<user>x)", []string{"ok $user"} }),
		"clear: 1: names some values of by, but":  line(func(r *Rule) { r.Pattern, r.By, r.Clear = "(?P<a>x)(?P<b>y)", []string{"$a", "$b"}, []string{"ok $a"} }),
		"clear: 2: where: condition 1":            line(func(r *Rule) { r.Clear = []string{"ok", "where x ="} }),
		"clear: has 17":                           line(func(r *Rule) { r.Clear = slices.Repeat([]string{"x"}, 17) }),
		"field: is required for rules of kind":    line(func(r *Rule) { r.Kind = KindChange }),
		"field: the pattern has no group $v":      line(func(r *Rule) { r.Kind, r.Field = KindChange, "$v" }),
		"hit: is for rules of kind sequence only": line(func(r *Rule) { r.Hit = HitComplete }),
	} {
		err := Fields.Validate(r)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
		if _, bad := Compile([]Rule{r}); err == nil && len(bad) > 0 {
			t.Errorf("%v", bad)
		}
	}
}
