package rule

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

func verdicts(v []Verdict) string {
	var out []string
	for _, v := range v {
		s := strings.TrimSpace(v.Part.String()+" "+v.Field) + " " + v.Pattern
		switch {
		case v.GivenUp:
			s += ": given up"
		case !v.Met:
			s += ": no"
		default:
			s += ": yes"
		}
		if v.About != "" && v.Missing {
			s += ", missing"
		} else if v.About != "" {
			s += ", " + v.Value
		}
		if len(v.Spans) > 0 {
			s += fmt.Sprint(" ", v.Spans)
		}
		out = append(out, s)
	}
	return strings.Join(out, "\n")
}

// Each condition is judged by itself, also where others aren't fulfilled.
func TestVerdicts(t *testing.T) {
	r := valid()
	r.Pattern, r.All, r.Ignore, r.Where = `user=(?P<user>\w+)`, []string{"GET"}, []string{"/health"}, []string{"status >= 500", "$user != root", "took exists"}
	s := set(t, Bucket{}, r)
	for text, want := range map[string]string{
		"user=ann GET / GET /health status=503\r": "pattern user=(?P<user>\\w+): yes [[0 8]]\nall GET: yes [[9 12] [15 18]]\nignore /health: no [[19 26]]\nwhere status >= 500: yes, 503\nwhere $user != root: yes, ann\nwhere took exists: no, missing",
		"user=root status=200 took=1s":            "pattern user=(?P<user>\\w+): yes [[0 9]]\nall GET: no\nignore /health: yes\nwhere status >= 500: no, 200\nwhere $user != root: no, root\nwhere took exists: yes, 1s",
		"":                                        "pattern user=(?P<user>\\w+): no\nall GET: no\nignore /health: yes\nwhere status >= 500: no, missing\nwhere $user != root: no, missing\nwhere took exists: no, missing",
	} {
		got, work := s.Verdicts(r.ID, []byte(text), 2)
		if verdicts(got) != want || work <= 0 {
			t.Errorf("%q:\n%s", text, verdicts(got))
		}
	}
	if got, _ := s.Verdicts(r.ID+1, nil, 1); len(got) > 0 {
		t.Errorf("of a rule that isn't there: %+v", got)
	}

	r = valid()
	r.Kind, r.Pattern, r.By, r.WithinSeconds = KindSequence, "", nil, 60
	r.Steps, r.Until = []string{`began (?P<id>\d+)`, "ended $id\nignore failed"}, []string{"restart"}
	r.CooldownSeconds = 0
	got, _ := set(t, Bucket{}, r).Verdicts(r.ID, []byte("ended 17 failed"), 1)
	if want := "step 1 pattern began (?P<id>\\d+): no\nstep 2 pattern ended (?P<id>[0-9]+): yes [[0 8]]\nstep 2 ignore failed: no [[9 15]]\nuntil 1 pattern restart: no"; verdicts(got) != want {
		t.Errorf("%s", verdicts(got))
	}

	r = valid()
	r.Pattern, r.Where = "", []string{"level >= error"}
	got, _ = set(t, Bucket{}, r).Verdicts(r.ID, []byte("[WARN] x"), 1)
	if want := "where level >= error: no, warn"; verdicts(got) != want {
		t.Errorf("%s", verdicts(got))
	}
	r.Where, r.Ignore = nil, []string{`(a?){1000}.*c`}
	r.All = []string{"^x"}
	got, _ = set(t, Bucket{}, r).Verdicts(r.ID, []byte("x"+strings.Repeat(strings.Repeat("a", 10_000)+"b", 3)), 1)
	if want := "all ^x: yes [[0 1]]\nignore (a?){1000}.*c: given up"; verdicts(got) != want {
		t.Errorf("%s", verdicts(got))
	}
}

// A line matches a rule where it fulfils each condition, and each verdict is package
// regexp's.
func TestVerdictsAgree(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	words := strings.Fields("disk memory full error warn a=1 a=2 b=x user=ann")
	pattern := func() string {
		w := words[rnd.IntN(len(words))]
		return []string{w, w + ".*" + words[rnd.IntN(len(words))], "^" + w, w + "$", `\b` + w}[rnd.IntN(5)]
	}
	matched := 0
	for range 300 {
		r := valid()
		r.CooldownSeconds, r.Pattern = 0, []string{pattern(), `user=(?P<user>\w+)`, ""}[rnd.IntN(3)]
		for range rnd.IntN(3) {
			r.All = append(r.All, pattern())
		}
		for range rnd.IntN(3) {
			r.Ignore = append(r.Ignore, pattern())
		}
		for range rnd.IntN(3) {
			w := []string{"a = 1", "b exists", "a != 2", "b missing", "$user = ann", "$user missing", "a > 0"}[rnd.IntN(7)]
			if !strings.HasPrefix(w, "$") || strings.Contains(r.Pattern, "user>") {
				r.Where = append(r.Where, w)
			}
		}
		if r.Pattern == "" && len(r.All)+len(r.Where) == 0 {
			continue
		}
		s := set(t, Bucket{}, r)
		for range 40 {
			var parts []string
			for range rnd.IntN(7) {
				parts = append(parts, words[rnd.IntN(len(words))])
			}
			line := strings.Join(parts, " ")
			got, _ := s.Verdicts(r.ID, []byte(line), 100)
			all := true
			for _, v := range got {
				all = all && v.Met
				if v.Field == "where" {
					continue
				}
				spans := regexp.MustCompile(v.Pattern).FindAllStringIndex(line, -1)
				if fmt.Sprint(spans) != fmt.Sprint(v.Spans) || v.Met != ((len(spans) > 0) != (v.Field == "ignore")) {
					t.Fatalf("%q: %+v, not %v", line, v, spans)
				}
			}
			var st State
			is := len(s.Eval(&st, Line{Text: []byte(line)}, nil)) > 0
			if is != all {
				t.Fatalf("%q matches: %v, by its conditions: %v: %s", line, is, all, verdicts(got))
			}
			if is {
				matched++
			}
		}
	}
	if matched < 200 {
		t.Errorf("only %d lines matched", matched)
	}
}
