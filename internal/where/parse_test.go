package where

import (
	"strings"
	"testing"
)

// What Parse takes, it writes in the usual form, and takes that.
func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"status >= 500":                  "",
		"  status>=500\t":                "status >= 500",
		"http.status != 200":             "",
		`a[0].b[12] = x`:                 "",
		`labels."k8s.io/x" exists`:       "",
		`"a \"b\" \\" missing`:           "",
		`"level" = 30`:                   "",
		`level >= ERR`:                   "level >= error",
		`level in (Warning,critical)`:    "level in (warn, fatal)",
		`path = /a b/c`:                  "",
		`path = " x "`:                   "",
		`path in ( a b , "c, d" ,e)`:     `path in (a b, "c, d", e)`,
		`msg ~ ^a (b|c)$`:                "",
		`msg !~ "\d+ \"x\" "`:            "",
		`msg ~ ""`:                       "",
		`msg ~ "x"`:                      "msg ~ x",
		`msg ~ " \"x\\\""`:               "",
		`$ms > 1000`:                     "",
		`$1 in (1, 2)`:                   "",
		`took > 1.5s`:                    "",
		`size <= 10MB`:                   "",
		`@timestamp exists`:              "",
		`msg = "a and b = c"`:            "",
		`msg = cats and dogs`:            "",
		`msg = ""`:                       "",
		strings.Repeat("a.", 15) + "a=1": strings.Repeat("a.", 15) + "a = 1",
	} {
		if want == "" {
			want = text
		}
		c, err := Parse(text, Compile)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if c.String() != want {
			t.Errorf("%s: %s, not %s", text, c, want)
		}
		if again := must(t, c.String()); again.String() != want {
			t.Errorf("%s becomes %s", want, again)
		}
	}
}

// Errors say where and what to write.
func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "is empty: write PATH OP VALUE, such as status >= 500",
		" ":                              "is empty",
		"= 5":                            `a field's name is missing; write one such as status, http.status or "k8s.io/app" at position 1`,
		"a. = 5":                         "a field's name is missing; write one such as status, http.status or \"k8s.io/app\" at position 3",
		"status":                         "an operator is missing: write =, !=, <, <=, >, >=, ~, !~, in, exists or missing at position 7",
		"status 500":                     `"5" is no operator: write =, !=, <, <=, >, >=, ~, !~, in, exists or missing; it stands at position 8`,
		"status is 500":                  `"is" is no operator`,
		"status == 500":                  "== is no operator: write = instead, it stands at position 8",
		"status => 5":                    "=> is no operator: write >= instead",
		"status =~ 5":                    "=~ is no operator: write ~ instead",
		"status <> 5":                    "<> is no operator: write != instead",
		"status >=":                      `a value is missing behind >=; write "" for an empty one at position 10`,
		"status >= high":                 "a number such as 500, a duration such as 1.5s, or a size such as 10MB, not the value at position 11",
		`status >= "500"`:                "not the value at position 11",
		"status exists 5":                "nothing can follow exists; there is more at position 15",
		"status >= 500 and path = /x":    "there is and at position 15",
		"path = /x and status >= 500":    "give each condition by itself, all of them have to hold, or put the value in quotes; there is and at position 11",
		"path = /x || a exists":          "there is || at position 11",
		`"a`:                             "a quote is missing that ends the text which begins at position 1",
		`a = "b`:                         "a quote is missing that ends the text which begins at position 5",
		`a = "b" c`:                      "there is more at position 8",
		`a = "\n"`:                       `in quotes write \\ for a backslash and \" for a quote, unlike what stands at position 6`,
		"a[x] = 1":                       "an index is a number in brackets, such as [0], unlike what stands at position 2",
		"a[9999999] = 1":                 "an index is a number in brackets",
		strings.Repeat("a.", 16) + "a=1": "a path has at most 16 parts; it has more at position 33",
		"a in b":                         "in takes a list such as (a, b), which has to begin at position 6",
		"a in (b":                        "a ) is missing at position 8",
		"a in (b,)":                      `a value of the list is missing; write "" for an empty one at position 9`,
		`a in ("b" c)`:                   `write a comma between values`,
		"a in (b) c":                     "nothing can follow the list; there is more at position 9",
		"ä ~ a(b":                        "its pattern, from position 5, error parsing regexp: missing closing )",
		`a ~ "b`:                         "a quote is missing that ends the text which begins at position 5",
		`a ~ "b" c`:                      "there is more at position 8",
		"level = loud":                   `a level is trace, debug, info, warn, error or fatal, not "loud" at position 9`,
		"level >= 40":                    `the level is trace, debug, info, warn, error or fatal, not a number; write "level" in quotes for the field as it is: there is "40" at position 10`,
		"level ~ err":                    `write "level" in quotes for the field`,
		"$ = 1":                          "a group's name or number is missing",
		"a = \xff":                       "has a character at position 5 that can't be looked for",
		"a = \x00":                       "has a character at position 5",
	} {
		c, err := Parse(text, Compile)
		if err == nil {
			t.Errorf("%s is %s", text, c)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Whatever the text, Parse ends, and what it takes has a form that it takes again.
func FuzzParse(f *testing.F) {
	for _, text := range someConditions {
		f.Add(text)
	}
	f.Add(`msg ~ " \"x\\\""`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(text, Compile)
		if err != nil {
			return
		}
		again, err := Parse(c.String(), Compile)
		if err != nil || again.String() != c.String() {
			t.Errorf("%q becomes %q, and that %v, %v", text, c, again, err)
		}
	})
}

// Numbers are what people write, with units of either kind.
func TestQuantity(t *testing.T) {
	for text, want := range map[string]quantity{
		"500": {plain, false, 500, 500}, "-3": {plain, false, -3, -3}, "+3": {plain, false, 3, 3}, "007": {plain, false, 7, 7}, "1.50": {plain, true, 0, 1.5}, "2.00": {plain, false, 2, 2},
		"1e3": {plain, true, 0, 1000}, "1E-3": {plain, true, 0, 0.001}, "9007199254740993": {plain, false, 9007199254740993, 9007199254740992},
		"1s": {duration, false, 1e9, 1e9}, "1.1s": {duration, false, 11e8, 11e8}, "4.35ms": {duration, false, 4350000, 4350000}, "12 ms": {duration, false, 12e6, 12e6}, "1h2m3.5s": {duration, false, 3723.5e9, 3723.5e9},
		"1d": {duration, false, 86400e9, 86400e9}, "-5min": {duration, false, -300e9, -300e9}, "951µs": {duration, false, 951000, 951000}, "0.5ns": {duration, true, 0, 0.5},
		"10MB": {size, false, 1e7, 1e7}, "1.5KiB": {size, false, 1536, 1536}, "48 kB": {size, false, 48000, 48000}, "1B": {size, false, 1, 1},
		"": {}, "x": {}, "5x": {}, "5 ": {}, "5  s": {}, ".5": {}, "5.": {}, "1.2.3": {}, "1.2.3.4": {}, "2026-01-01": {}, "10:00": {}, "1MB2MB": {}, "1s2": {}, "1 s 2 s": {}, "0x10": {}, "1e9999": {}, "1e": {}, "1_000": {}, "NaN": {}, "Inf": {}, "5m5MB": {}, "1kb": {}, "--5": {},
		strings.Repeat("1", maxNumber+1): {},
	} {
		got := parseQuantity([]byte(text))
		if got.inexact {
			got.i = 0
		}
		if got != want && (got.kind != want.kind || got.inexact != want.inexact || got.i != want.i || got.inexact && got.f != want.f) {
			t.Errorf("%s: %+v, not %+v", text, got, want)
		}
	}
}
