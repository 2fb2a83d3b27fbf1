package rule

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A rule matches what its pattern and all further ones match, and none of those to
// ignore; what is ignored leaves no trace but its count.
func TestConditions(t *testing.T) {
	r := valid()
	r.Pattern, r.All, r.Ignore, r.CooldownSeconds = `status=5\d\d`, []string{"GET|POST", "shop"}, []string{"/health", "kube-probe"}, 60
	s := set(t, Bucket{Burst: 1, Refill: 1e15}, r)
	var st State
	for n, text := range []string{
		"GET /health status=503 shop", "GET / status=503 kube-probe shop", "PUT / status=500 shop", "GET / status=500 blog", "GET / status=200 shop",
	} {
		if hits := s.Eval(&st, Line{TimeNano: int64(n), Text: []byte(text)}, nil); len(hits) > 0 {
			t.Errorf("%s is a hit", text)
		}
	}
	if len(st.rules) > 0 {
		t.Errorf("what is no match is remembered: %+v", st.rules[r.ID])
	}
	if c := st.TakeCounts()[r.ID]; c != (Counts{Ignored: 2}) {
		t.Errorf("counted: %+v", c)
	}
	if hits := s.Eval(&st, Line{TimeNano: 9, Text: []byte("POST / status=502 shop")}, nil); len(hits) != 1 {
		t.Error("no hit, or it was held back by lines that are none")
	}
}

// Which condition isn't fulfilled is known.
func TestUnmet(t *testing.T) {
	r := valid()
	r.Pattern, r.All, r.Ignore = "a", []string{"b", "c"}, []string{"d", "e"}
	m := set(t, Bucket{}, r).Begin()
	defer m.End()
	for text, want := range map[string]string{"abc": "", "": "", "x": "", "a": "all b", "ab": "all c", "abce": "ignore e", "abcde": "ignore d", "ade": "all b"} {
		var st State
		matched := m.Match(&st, Line{Text: []byte(text)})
		got := ""
		for _, u := range m.Unmet() {
			got = u.Field + " " + u.Pattern
		}
		if got != want || matched != (text == "abc") {
			t.Errorf("%q: %v, %q instead of %q", text, matched, got, want)
		}
	}
}

// Sets of rules with conditions agree with package regexp, line by line.
func TestConditionsAgree(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("disk memory full error warn 503 GET /health foo")
	pattern := func() string {
		w := words[rnd.IntN(len(words))]
		return []string{w, w + ".*" + words[rnd.IntN(len(words))], "^" + w, w + "$", "(?i)" + strings.ToUpper(w), `\b` + w + `\b`}[rnd.IntN(6)]
	}
	for range 200 {
		var rules []Rule
		for n := range 1 + rnd.IntN(5) {
			r := valid()
			r.ID, r.Name, r.Pattern, r.CooldownSeconds = int64(n+1), fmt.Sprint("r", n), pattern(), 0
			for range rnd.IntN(3) {
				r.All = append(r.All, pattern())
			}
			for range rnd.IntN(3) {
				r.Ignore = append(r.Ignore, pattern())
			}
			rules = append(rules, r)
		}
		s := set(t, Bucket{}, rules...)
		for range 50 {
			var parts []string
			for range rnd.IntN(6) {
				parts = append(parts, words[rnd.IntN(len(words))])
			}
			line := strings.Join(parts, " ")
			var got, want []int64
			var st State
			for _, h := range s.Eval(&st, Line{Text: []byte(line)}, nil) {
				got = append(got, h.Rule.ID)
			}
			matches := func(p string) bool { return regexp.MustCompile(p).MatchString(line) }
			for _, r := range rules {
				if matches(r.Pattern) && !slices.ContainsFunc(r.All, func(p string) bool { return !matches(p) }) && !slices.ContainsFunc(r.Ignore, matches) {
					want = append(want, r.ID)
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%q: rules %v, not %v, of %+v", line, got, want, rules)
			}
		}
	}
}

// A condition that would take too much work: a line is no match where it may not be
// one, and is one where it is only not known to be ignored.
func TestConditionsGivenUp(t *testing.T) {
	dear := `(a?){1000}.*c`
	line := Line{Text: []byte("x" + strings.Repeat(strings.Repeat("a", 10_000)+"b", 3))}
	for _, all := range []bool{true, false} {
		r := valid()
		r.Pattern = "^x"
		if all {
			r.All = []string{dear}
		} else {
			r.Ignore = []string{dear}
		}
		var st State
		hits := set(t, Bucket{}, r).Eval(&st, line, nil)
		if c := st.TakeCounts()[r.ID]; (len(hits) == 1) == all || c.GivenUp != 1 || c.Ignored != 0 {
			t.Errorf("all: %v: %d hits, %+v", all, len(hits), c)
		}
	}
}
