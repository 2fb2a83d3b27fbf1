package rule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"logscan/internal/fields"
)

// A rule with conditions on fields matches the lines that fulfil all of them, with a
// pattern or without.
func TestWhere(t *testing.T) {
	for _, tt := range []struct {
		pattern     string
		all, ignore []string
		where       []string
		lines       map[string]string // and what isn't fulfilled
	}{
		{where: []string{"status >= 500", "path != /health"}, lines: map[string]string{
			`{"status":502,"path":"/cart"}`:                 "",
			`{"status":502}`:                                "",
			`{"status":404,"path":"/cart"}`:                 "where status >= 500: status is 404",
			`{"status":502,"path":"/health"}`:               "where path != /health: path is /health",
			`{"path":"/health"}`:                            "where status >= 500: no status",
			`status=503 path=/cart`:                         "",
			`app | {"status":"503"}`:                        "",
			`status 503`:                                    "where status >= 500: no status",
			`{"status":"` + strings.Repeat("x", 600):        "where status >= 500: no status",
			`{"status":"` + strings.Repeat("x", 600) + `"}`: "where status >= 500: status is " + strings.Repeat("x", MaxText-3) + "…",
		}},
		{pattern: `took (?P<ms>\d+) ms(?: of (\d+))?`, where: []string{"$ms > 1000", "$2 != 5000", "level != debug"}, lines: map[string]string{
			"took 1842 ms":         "",
			"took 1842 ms of 9":    "",
			"took 842 ms":          "where $ms > 1000: $ms is 842",
			"took 1842 ms of 5000": "where $2 != 5000: $2 is 5000",
			"DEBUG: took 1842 ms":  "where level != debug: level is debug",
			`{"ms":2000}`:          "",
		}},
		{pattern: `(?P<a>x)|(?P<a>y)`, where: []string{"$a = y"}, lines: map[string]string{"y": "", "x": "where $a = y: $a is x", "z": ""}},
		{pattern: `(x)|y`, where: []string{"$1 missing"}, lines: map[string]string{"y": "", "x": "where $1 missing: $1 is x"}},
		{all: []string{"GET", "shop"}, ignore: []string{"kube"}, where: []string{"status exists"}, lines: map[string]string{
			"GET shop status=1":      "",
			"GET blog status=1":      "all shop",
			"GET shop":               "where status exists: no status",
			"GET shop status=1 kube": "ignore kube",
			"shop status=1":          "",
		}},
		{all: []string{"GET", "shop"}, lines: map[string]string{"GET shop": "", "GET": "all shop", "shop": ""}},
		{ignore: []string{"kube"}, where: []string{"status exists"}, lines: map[string]string{"status=1": "", "status=1 kube": "ignore kube"}},
		{where: []string{"level >= error"}, lines: map[string]string{"ERROR x": "", `{"level":60}`: "", "INFO error": "where level >= error: level is info", "x": "where level >= error: no level"}},
	} {
		r := valid()
		r.Pattern, r.All, r.Ignore, r.Where = tt.pattern, tt.all, tt.ignore, tt.where
		if err := Fields.Validate(r); err != nil {
			t.Error(err)
		}
		m := set(t, Bucket{}, r).Begin()
		for text, want := range tt.lines {
			var st State
			matched := m.Match(&st, Line{Text: []byte(text)})
			got := ""
			for _, u := range m.Unmet() {
				got = u.Field + " " + u.Pattern
				switch {
				case u.Missing:
					got += ": no " + u.About
				case u.About != "":
					got += ": " + u.About + " is " + u.Value
				}
			}
			first := tt.pattern // what has to be there for a condition to be looked at
			if first == "" && len(tt.all) > 0 {
				first = tt.all[0]
			}
			found := regexp.MustCompile(first).MatchString(text)
			if got != want || matched != (want == "" && found) {
				t.Errorf("%v %s: %v, %q instead of %q", r.Where, text, matched, got, want)
			}
		}
		m.End()
	}
}

// A hit of a rule without a pattern has no captures, and holds to its streams, scope,
// overrides and cooldown.
func TestWhereAlone(t *testing.T) {
	base, own, out, err := valid(), valid(), valid(), valid()
	base.Pattern, base.Where, base.CooldownSeconds = "", []string{"status >= 500"}, 60
	own.ID, own.Pattern, own.Where, own.WorkloadID, own.OverridesID = 2, "", []string{"status >= 400"}, "shop", 1
	out.ID, out.Pattern, out.Where, out.Streams = 3, "", []string{"status < 300"}, "stdout"
	err.ID, err.Pattern, err.Where, err.Names = 4, "", []string{"status < 300"}, []string{"db"}
	s, bad := Compile([]Rule{base, own, out, err}, WithBucket(Bucket{}))
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	for _, tt := range []struct {
		c      Container
		stream string
		status int
		want   []int64
	}{
		{Container{}, "stdout", 500, []int64{1}}, {Container{}, "stderr", 400, nil}, {Container{}, "stdout", 200, []int64{3}}, {Container{}, "stderr", 200, nil},
		{Container{Workload: "shop"}, "stdout", 500, []int64{2}}, {Container{Workload: "shop"}, "stderr", 400, []int64{2}}, {Container{Name: "db"}, "stdout", 200, []int64{3, 4}}, {Container{Name: "db"}, "stderr", 200, []int64{4}},
	} {
		var st State
		var got []int64
		set := s.ForContainer(tt.c)
		line := Line{Stream: tt.stream, TimeNano: 1, Text: fmt.Appendf(nil, `{"status":%d}`, tt.status)}
		for _, h := range set.Eval(&st, line, nil) {
			got = append(got, h.Rule.ID)
			if h.Captures != nil {
				t.Errorf("captures: %v", h.Captures)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%+v %s %d: %v", tt.c, tt.stream, tt.status, got)
		}
		if again := set.Eval(&st, line, nil); slices.Contains(got, 1) && (len(again) != 0 || st.TakeCounts()[1] != Counts{Hits: 1, Cooldown: 1}) {
			t.Errorf("no cooldown: %v", again)
		}
		m := set.Begin()
		if m.Match(&st, line); m.Spans(line, 9) != nil {
			t.Error("there are spans")
		}
		m.End()
	}
	if got := s.Matches([]byte(`{"status":500}`)); !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("all that match: %v", got)
	}
}

// A rule has to find something, and to name groups that there are, whatever is changed.
func TestWhereValidation(t *testing.T) {
	good := valid()
	good.Pattern, good.All, good.Where = `(?P<ms>\d+)`, []string{"x"}, []string{"$ms > 5"}
	if err := Fields.Validate(good); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		field, want string
		change      func(*Rule)
	}{
		{"where", "the pattern has no group $ms: write (?P<ms>…) in it", func(r *Rule) { r.Pattern = "x" }},
		{"where", "the pattern has no group $ms", func(r *Rule) { r.Pattern = "" }},
		{"where", "condition 1: the pattern has no group $2", func(r *Rule) { r.Where = []string{"$2 > 5"} }},
		{"where", "condition 2: an operator is missing", func(r *Rule) { r.Where = []string{"a = 1", "b"} }},
		{"where", "condition 1: its pattern, from position 5, missing closing ) at position 3", func(r *Rule) { r.Where = []string{"a ~ (b"} }},
		{"where", "compiles to", func(r *Rule) { r.Where = []string{"a ~ " + strings.Repeat(`\pL{1000}`, 11)} }},
		{"where", "are 17 conditions; the most is 16", func(r *Rule) { r.Where = slices.Repeat([]string{"a = 1"}, 17) }},
		{"where", "is 4097 bytes long; the most is 4096", func(r *Rule) { r.Where = []string{"a = " + strings.Repeat("x", MaxPattern-3)} }},
		{"pattern", "is required where a rule has neither all nor where", func(r *Rule) { r.Pattern, r.All, r.Where = "", nil, nil }},
		{"", "", func(r *Rule) { r.Pattern, r.Where = "", []string{"a = " + strings.Repeat("x", MaxPattern-4)} }},
		{"", "", func(r *Rule) { r.Pattern, r.All, r.Where = "", nil, slices.Repeat([]string{"a = 1"}, 16) }},
		{"", "", func(r *Rule) { r.Pattern, r.Where = "", nil }},
		{"", "", func(r *Rule) { r.Kind, r.AtLeast, r.WithinSeconds, r.By = KindCount, 5, 60, []string{"$ms"} }},
		{"", "", func(r *Rule) {
			r.Pattern, r.Where, r.Kind, r.AtLeast, r.WithinSeconds = "", []string{"a = 1"}, KindCount, 5, 60
		}},
		{"by", "has to be a group of the pattern, and there is none", func(r *Rule) {
			r.Pattern, r.Where, r.Kind, r.AtLeast, r.WithinSeconds, r.By = "", []string{"a = 1"}, KindCount, 5, 60, []string{"$ms"}
		}},
	} {
		now := good
		tt.change(&now)
		for _, err := range []error{Fields.Validate(now), Fields.ValidateChange(good, now)} {
			var fe *fields.Error
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
			} else if !errors.As(err, &fe) || fe.Field != tt.field || !strings.Contains(fe.Reason, tt.want) {
				t.Errorf("got %v, want %s: …%s…", err, tt.field, tt.want)
			}
		}
		if _, bad := Compile([]Rule{now}); tt.want != "" && strings.Contains(tt.want, "group") && len(bad) != 1 {
			t.Errorf("%s: it is in use", tt.want)
		}
	}
	only := valid()
	only.Pattern, only.Where = "", []string{"a = 1"}
	now := only
	now.Where = nil
	if err := Fields.ValidateChange(only, now); err == nil {
		t.Error("a rule's only condition can be taken away")
	}
}

// What it would take too much work to find out is given up and counted.
func TestWhereGivenUp(t *testing.T) {
	r := valid()
	r.Pattern, r.Where = "", []string{`msg ~ (a?){1000}.*c`}
	var st State
	if hits := set(t, Bucket{}, r).Eval(&st, Line{Text: []byte(`{"msg":"` + strings.Repeat("a", 900_000) + `"}`)}, nil); len(hits) != 0 || st.TakeCounts()[1] != (Counts{GivenUp: 1}) {
		t.Errorf("%d hits", len(hits))
	}
	r.Pattern, r.Where = `(?P<who>\w+) did (?P<what>x{900}|[a-z]+) at (?P<when>.*)end`, []string{"$who = bob"}
	if hits := set(t, Bucket{}, r).Eval(&st, Line{Text: []byte("bob did it at " + strings.Repeat("a ", 100_000) + "end")}, nil); len(hits) != 0 || st.TakeCounts()[1] != (Counts{GivenUp: 1}) {
		t.Errorf("of a group: %d hits", len(hits))
	}
}

// Sets of rules with conditions of all kinds agree with a map and package regexp.
func TestWhereAgrees(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	pick := func(from ...string) string { return from[rnd.IntN(len(from))] }
	values := []string{"1", "2", "10", "2.5", "GET", "error", "/health", "disk full"}
	for range 300 {
		var rules []Rule
		for n := range 1 + rnd.IntN(8) {
			r := valid()
			r.ID, r.Name, r.Pattern, r.CooldownSeconds = int64(n+1), fmt.Sprint("r", n), "", 0
			for range rnd.IntN(4) {
				r.Where = append(r.Where, pick("a", "b", "c")+" "+pick("= ", "!= ", "~ ", "!~ ")+pick("1", "GET", "error", "disk full"))
			}
			for range rnd.IntN(2) {
				r.Where = append(r.Where, pick("a", "b", "c")+" "+pick(">= ", "< ")+pick("1", "2", "2.5"), pick("a", "d")+" "+pick("exists", "missing"))
			}
			if rnd.IntN(2) == 0 || len(r.Where) == 0 {
				r.Pattern = pick("a", `"a":`, "GET|error", "(disk) full", ".", "^.")
			}
			if rnd.IntN(3) == 0 {
				r.All = append(r.All, pick("a", "full", "1", "."))
			}
			if rnd.IntN(3) == 0 {
				r.Ignore = append(r.Ignore, pick("b", "health", "10"))
			}
			if err := Fields.Validate(r); err != nil {
				t.Fatal(err)
			}
			rules = append(rules, r)
		}
		s := set(t, Bucket{}, rules...)
		m := s.Begin()
		for range 20 {
			line := map[string]any{}
			for _, key := range []string{"a", "b", "c", "d"} {
				switch v := pick(values...); rnd.IntN(3) {
				case 0:
					line[key] = v
				case 1:
					if _, err := strconv.ParseFloat(v, 64); err == nil {
						line[key] = json.Number(v)
					}
				}
			}
			text, err := json.Marshal(line)
			if err != nil {
				t.Fatal(err)
			}
			var st State
			var got, want []int64
			m.Match(&st, Line{Text: text})
			for _, h := range m.Admit(&st, Line{Text: text}, nil) {
				got = append(got, h.Rule.ID)
			}
			for _, r := range rules {
				if naivelyMatches(r, text) {
					want = append(want, r.ID)
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s: rules %v, not %v, of %+v", text, got, want, rules)
			}
		}
		m.End()
	}
}

func naivelyMatches(r Rule, text []byte) bool {
	matches := func(p string) bool { return regexp.MustCompile(p).Match(text) }
	if !matches(r.Pattern) || slices.ContainsFunc(r.All, func(p string) bool { return !matches(p) }) || slices.ContainsFunc(r.Ignore, matches) {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var line map[string]any
	if err := d.Decode(&line); err != nil {
		panic(err)
	}
	for _, c := range r.Where {
		part := strings.SplitN(c, " ", 3)
		v, is := line[part[0]]
		value := fmt.Sprint(v)
		a, errA := strconv.ParseFloat(value, 64)
		holds := false
		switch part[1] {
		case "exists":
			holds = is
		case "missing":
			holds = !is
		case "=":
			holds = is && value == part[2]
		case "!=":
			holds = !is || value != part[2]
		case "~":
			holds = is && regexp.MustCompile(part[2]).MatchString(value)
		case "!~":
			holds = is && !regexp.MustCompile(part[2]).MatchString(value)
		default:
			b, _ := strconv.ParseFloat(part[2], 64)
			holds = is && errA == nil && (part[1] == "<") == (a < b)
		}
		if !holds {
			return false
		}
	}
	return true
}

func BenchmarkWhere(b *testing.B) {
	line := Line{Stream: "stdout", Text: []byte(`{"time":"2026-05-20T11:45:06.123456Z","level":"info","service":"shop-7","method":"GET","path":"/api/v1/orders/48213","status":200,"took":"12.5ms","bytes":48213,"remote":"10.0.3.17","user":{"id":4711,"name":"carol"},"trace_id":"075983cf098bbbbfbf5a2c0ecc8ef3a1","agent":"Mozilla/5.0 (X11; Linux x86_64; rv:128.0)"}`)}
	for _, name := range []string{"alone", "behind a pattern", "none"} {
		b.Run(name, func(b *testing.B) {
			var rules []Rule
			for n := range 100 {
				r := valid()
				r.ID, r.Pattern = int64(n+1), fmt.Sprintf("service-%d is down", n)
				if name != "none" {
					r.Where = []string{fmt.Sprintf("status = %d", 400+n), "path != /health"}
				}
				if name == "alone" {
					r.Pattern = ""
				}
				rules = append(rules, r)
			}
			m := set(b, Bucket{}, rules...).Begin()
			defer m.End()
			var st State
			b.ReportAllocs()
			for b.Loop() {
				m.Match(&st, line)
			}
		})
	}
}

// A rule of kind new that says nothing of its lines is for errors.
func TestNewIsForErrors(t *testing.T) {
	r := New()
	r.ID, r.Name, r.Kind = 1, "new", KindNew
	if err := Fields.Validate(r); err != nil {
		t.Fatal(err)
	}
	snapshot, bad := Compile([]Rule{r})
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	m := snapshot.For("").Begin()
	defer m.End()
	for line, want := range map[string]bool{"ERROR disk is full": true, `{"level":"fatal","msg":"x"}`: true, "WARN slow": false, "no error at all": false} {
		var st State
		if got := m.Match(&st, Line{Stream: "stdout", Text: []byte(line)}); got != want {
			t.Errorf("%s: %v", line, got)
		}
	}
	r.Kind = KindLine
	if err := Fields.Validate(r); err == nil {
		t.Error("a rule for no lines is accepted")
	}
}
