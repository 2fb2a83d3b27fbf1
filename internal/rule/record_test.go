package rule

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"logscan/internal/fields"
)

// recordOf is a record of these lines.
func recordOf(way int, texts ...string) Record {
	r := Record{Way: way}
	for n, text := range texts {
		r.Lines = append(r.Lines, Line{Stream: "stderr", TimeNano: int64(1e18) + int64(n), Text: []byte(text)})
	}
	return r
}

// naively is what hits there are in a record by the definition, as showHits shows them.
func naively(rules []Rule, way string, r Record) (out []string) {
	matches := func(rule *Rule, text string) bool {
		is := func(p string) bool { return regexp.MustCompile(p).MatchString(text) }
		return (rule.Pattern == "" || is(rule.Pattern)) && !slices.ContainsFunc(rule.All, func(p string) bool { return !is(p) }) && !slices.ContainsFunc(rule.Ignore, is)
	}
	var texts []string
	for _, l := range r.Lines {
		texts = append(texts, strings.TrimRight(string(l.Text), "\r"))
	}
	for i := range rules {
		rule := &rules[i]
		if rule.RecordStart != way {
			continue
		}
		of := texts
		if rule.Record {
			of = []string{strings.Join(texts, "\n")}
		}
		hit, more := -1, 0
		for n, text := range of {
			switch {
			case !matches(rule, text):
			case hit < 0:
				hit = n
			default:
				more++
			}
		}
		if hit >= 0 {
			out = append(out, fmt.Sprintf("rule %d at %d, %d more", rule.ID, hit, more))
		}
	}
	slices.Sort(out)
	return out
}

// A rule hits a record once, by its first line that matches, or by all of it: the same as
// if each rule were looked at alone, and each line.
func TestRecordsByDefinition(t *testing.T) {
	words := []string{"alpha", "beta", "gamma", "delta", "error 7", "error 12", "  at x", "", "\tat y\r"}
	patterns := []string{`alpha`, `beta$`, `^gamma`, `error (\d+)`, `(?s)alpha.*beta`, `alpha\nbeta`, `(?m)^delta$`, `\bat\b`, `.`, `^$`, `beta[^x]*gamma`, `(?i)ALPHA`}
	pick := func(rng *rand.Rand) string { return patterns[rng.IntN(len(patterns))] }
	hits := 0
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var rules []Rule
		for id := range int64(1 + rng.IntN(12)) {
			r := New()
			r.ID, r.Name, r.Pattern, r.CooldownSeconds = id+1, "n", pick(rng), 0
			r.Record = rng.IntN(2) == 0
			for range rng.IntN(2) {
				r.All = append(r.All, pick(rng))
			}
			for range rng.IntN(2) {
				r.Ignore = append(r.Ignore, pick(rng))
			}
			if rng.IntN(3) == 0 {
				r.RecordStart = []string{`^alpha`, `^\S`}[rng.IntN(2)]
			}
			rules = append(rules, r)
		}
		snapshot, bad := Compile(rules, WithBucket(Bucket{}))
		if len(bad) > 0 {
			t.Fatal(bad)
		}
		set := snapshot.For("")
		m := set.Begin()
		for way, text := range set.Ways() {
			var texts []string
			for range 1 + rng.IntN(5) {
				texts = append(texts, words[rng.IntN(len(words))])
			}
			r := recordOf(way, texts...)
			var st State
			var where []string
			got := m.Evaluate(&st, r, nil, nil)
			counts := st.TakeCounts()
			for _, h := range got {
				n := int(h.TimeNano - 1e18)
				where = append(where, fmt.Sprintf("rule %d at %d, %d more", h.Rule.ID, n, counts[h.Rule.ID].Cooldown))
				if want := recordText(texts); h.Record != want && (h.Record != "" || h.Text != want) {
					t.Errorf("record %q, want %q", h.Record, want)
				}
			}
			slices.Sort(where)
			if want := naively(rules, text, r); !slices.Equal(where, want) {
				t.Fatalf("seed %d, records by %q, %q\nof %+v:\ngot  %q\nwant %q", seed, text, texts, rules, where, want)
			}
			hits += len(got)
			// What is held back is told with the next hit, and by incidents.
			held := int64(0)
			for _, s := range st.TakeSuppressed() {
				held += s.Matches
			}
			for _, c := range counts {
				held -= c.Cooldown
			}
			if held != 0 {
				t.Errorf("%d matches are forgotten", held)
			}
		}
		m.End()
	}
	if hits < 250 {
		t.Errorf("%d hits", hits)
	}
}

// recordText is what a hit of a short record has.
func recordText(texts []string) string {
	text := strings.ReplaceAll(strings.Join(texts, "\n"), "\r", "")
	for strings.Contains(text, "\n") && strings.TrimSpace(text[strings.LastIndex(text, "\n"):]) == "" {
		text = text[:strings.LastIndex(text, "\n")]
	}
	return text
}

// The first match in a record decides for the record: where the cooldown holds it back,
// no other line of it is a hit.
func TestFirstMatchDecides(t *testing.T) {
	r := New()
	r.ID, r.Name, r.Pattern = 1, "n", `Exception`
	snapshot, _ := Compile([]Rule{r})
	m := snapshot.For("").Begin()
	defer m.End()
	trace := recordOf(0, "java.io.IOException: gone", "\tat a.B.c(B.java:1)", "Caused by: java.net.SocketException: reset", "\tat d.E.f(E.java:2)")
	var st State
	if hits := m.Evaluate(&st, trace, nil, nil); len(hits) != 1 || hits[0].Text != "java.io.IOException: gone" || hits[0].Suppressed != 0 {
		t.Fatalf("%+v", hits)
	}
	if hits := m.Evaluate(&st, trace, nil, nil); len(hits) != 0 {
		t.Errorf("the cause hits the second time: %+v", hits)
	}
	if s := st.TakeSuppressed(); len(s) != 1 || s[0].Matches != 3 || s[0].Bucket {
		t.Errorf("%+v", s)
	}
	for i := range trace.Lines {
		trace.Lines[i].TimeNano += int64(r.Cooldown())
	}
	if hits := m.Evaluate(&st, trace, nil, nil); len(hits) != 1 || hits[0].Suppressed != 3 {
		t.Errorf("%+v", hits)
	}
}

// Rules that add matches up count a record once, and have it too.
func TestRecordsAddUp(t *testing.T) {
	r := New()
	r.ID, r.Name, r.Pattern, r.Kind, r.AtLeast, r.WithinSeconds = 1, "n", `Exception`, KindCount, 5, 60
	snapshot, bad := Compile([]Rule{r})
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	m := snapshot.For("").Begin()
	defer m.End()
	var st State
	m.Evaluate(&st, recordOf(0, "java.io.IOException: gone", "Caused by: java.net.SocketException: reset"), nil, nil)
	heft := m.Heft()
	got := m.TakeMatches()
	if len(got) != 1 || got[0].Text != "java.io.IOException: gone" || got[0].Record != "java.io.IOException: gone\nCaused by: java.net.SocketException: reset" || heft != len(got[0].Record) || m.Heft() != 0 {
		t.Errorf("%+v, %d bytes", got, heft)
	}
	if c := st.TakeCounts()[1]; c != (Counts{Matches: 2}) {
		t.Errorf("%+v", c)
	}
}

// What is said of a record as a whole is its first line that says something.
func TestSummary(t *testing.T) {
	r := New()
	r.ID, r.Name, r.Where, r.Record, r.CooldownSeconds = 1, "n", fields.Texts{"level = error"}, true, 0
	snapshot, bad := Compile([]Rule{r})
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	m := snapshot.For("").Begin()
	defer m.End()
	eval := func(texts ...string) Hit {
		var st State
		hits := m.Evaluate(&st, recordOf(0, texts...), nil, nil)
		if len(hits) != 1 {
			t.Fatalf("%q: %d hits", texts, len(hits))
		}
		return hits[0]
	}
	pretty := eval("{", `  "level": "error",`, `  "msg": "no such item 7"`, "}")
	if pretty.Text != `{ "level": "error", "msg": "no such item 7" }` || pretty.Record != "{\n  \"level\": \"error\",\n  \"msg\": \"no such item 7\"\n}" {
		t.Errorf("%+v", pretty)
	}
	if other := eval("{", `  "level": "error",`, `  "msg": "no such item 8"`, "}"); other.Shape != pretty.Shape {
		t.Error("another item is another shape")
	}
	if other := eval("{", `  "level": "error",`, `  "msg": "out of stock"`, "}"); other.Shape == pretty.Shape {
		t.Error("another message is no other shape")
	}
	if h := eval("ERROR no such item", "\tat x"); h.Text != "ERROR no such item" {
		t.Errorf("%q", h.Text)
	}
	if h := eval("", " ", "level=error no such item", "\tat x"); h.Text != "level=error no such item" {
		t.Errorf("%q", h.Text)
	}
	if h := eval("ERROR no such item"); h.Text != "ERROR no such item" || h.Record != "" {
		t.Errorf("%+v", h)
	}
}

// What a hit has of its record is bounded, valid, and says what it lacks.
func FuzzRecordText(f *testing.F) {
	f.Add("a\nb\n\n", 3)
	f.Add(strings.Repeat("x", MaxRecordText), 1)
	f.Add(strings.Repeat("é", MaxRecordText/4)+"\n\xff\xfe", 5)
	f.Fuzz(func(t *testing.T, text string, times int) {
		texts := strings.Split(strings.Repeat(text+"\n", min(max(times, 1), 50)), "\n")
		r := recordOf(0, texts[:min(len(texts), 500)]...)
		got := r.text(nil)
		if len(got) > MaxRecordText || !utf8.ValidString(got) {
			t.Fatalf("%d bytes, valid %v", len(got), utf8.ValidString(got))
		}
		all := recordText(strings.Split(strings.Join(texts[:len(r.Lines)], "\n"), "\n"))
		if strings.HasSuffix(got, "are left out") == (len(all) <= MaxRecordText && utf8.ValidString(all) && !strings.HasSuffix(all, "are left out")) {
			t.Fatalf("%d bytes of %d: …%q", len(got), len(all), got[max(0, len(got)-60):])
		}
	})
}

func TestRecordTextSaysWhatIsLeftOut(t *testing.T) {
	line := strings.Repeat("x", 99)
	r := recordOf(0, slices.Repeat([]string{line}, 300)...)
	got := r.text(nil)
	if len(got) > MaxRecordText || !strings.HasSuffix(got, " bytes more are left out") || strings.Count(got, line) < 160 {
		t.Errorf("%d bytes, …%q", len(got), got[len(got)-80:])
	}
	if whole := r.Lines[:150]; (Record{Lines: whole}).text(nil) != strings.TrimSuffix(strings.Repeat(line+"\n", 150), "\n") {
		t.Error("a record that fits isn't whole")
	}
}

// Rules that have records begin by patterns go their own ways, of which there are not too
// many.
func TestWays(t *testing.T) {
	var rules []Rule
	for id := range int64(MaxStarts + 2) {
		r := New()
		r.ID, r.Name, r.Pattern, r.RecordStart = id+1, "n", "x", fmt.Sprint("^", id)
		rules = append(rules, r)
	}
	rules[1].RecordStart = rules[0].RecordStart
	snapshot, bad := Compile(rules)
	if len(bad) != 1 || bad[0].RuleID != MaxStarts+2 || !strings.Contains(bad[0].Reason, "record_start: there are 16") {
		t.Errorf("%v", bad)
	}
	set := snapshot.For("")
	if ways := set.Ways(); len(ways) != MaxStarts+1 || ways[0] != "" || ways[1] != "^0" {
		t.Errorf("%q", ways)
	}
	m := set.Begin()
	defer m.End()
	want := make([]bool, MaxStarts+1)
	want[1], want[2] = false, true // ^2
	if got := m.Begins(Line{Stream: "stdout", Text: []byte("2 x")}); !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	var st State
	if hits := m.Evaluate(&st, recordOf(1, "x"), nil, nil); len(hits) != 2 || hits[0].Rule.ID != 1 || hits[1].Rule.ID != 2 {
		t.Errorf("%+v", hits)
	}
	if m.Match(&st, Line{Stream: "stdout", Text: []byte("x")}) {
		t.Error("a line by itself is a record by its form")
	}
}
