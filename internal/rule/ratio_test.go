package rule

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestSharesAreChecked has what can't be a ratio or a spike be refused, with a reason that
// says what to do.
func TestSharesAreChecked(t *testing.T) {
	ratio := func(set func(*Rule)) Rule {
		r := valid()
		r.Pattern, r.Kind, r.Of, r.Over = `^(?P<host>\S+) 5`, KindRatio, `^\S+ \d`, "5%"
		set(&r)
		return r
	}
	spike := func(set func(*Rule)) Rule {
		r := valid()
		r.Kind = KindSpike
		set(&r)
		return r
	}
	for _, v := range []struct {
		want string
		rule Rule
	}{
		{"", ratio(func(r *Rule) { r.By, r.Of = []string{"$host"}, `^$host \d` })},
		{"", ratio(func(r *Rule) { r.Of, r.Over, r.AtLeast = "where status exists", "0.05", 10_000 })},
		{"of: is required", ratio(func(r *Rule) { r.Of = "" })},
		{"of: pattern missing closing", ratio(func(r *Rule) { r.Of = "(" })},
		{"of: has no pattern, all or where", ratio(func(r *Rule) { r.Of = "ignore x" })},
		{"of: has to name $host too", ratio(func(r *Rule) { r.By = []string{"$host"} })},
		{"of: quotes $host, which has to be", ratio(func(r *Rule) { r.Of = "$host" })},
		{"of: is for rules of kind ratio only", spike(func(r *Rule) { r.Of = "x" })},
		{"over: is required", ratio(func(r *Rule) { r.Over = "" })},
		{`over: "5" is no share below 100 %, such as 5% or 0.05`, ratio(func(r *Rule) { r.Over = "5" })},
		{"over: \"100%\" is no share", ratio(func(r *Rule) { r.Over = "100%" })},
		{"over: \"-1%\" is no share", ratio(func(r *Rule) { r.Over = "-1%" })},
		{"over: is for rules of kind ratio only", spike(func(r *Rule) { r.Over = "5%" })},
		{"window_seconds: must be from 10s", ratio(func(r *Rule) { r.WindowSeconds = 9 })},
		{"window_seconds: must be from 1m", spike(func(r *Rule) { r.WindowSeconds = 30 })},
		{"window_seconds: must be from", ratio(func(r *Rule) { r.WindowSeconds = 86_401 })},
		{"window_seconds: must be a part of a day", spike(func(r *Rule) { r.WindowSeconds = 7 * 60 })},
		{"window_seconds: is for rules of kind ratio, spike only", spike(func(r *Rule) { r.Kind, r.WindowSeconds = KindLine, 60 })},
		{"at_least: must be from 1 to 10000", ratio(func(r *Rule) { r.AtLeast = 10_001 })},
		{"by: is for rules of kind", spike(func(r *Rule) { r.By = []string{"host"} })},
		{"factor: is for rules of kind spike only", ratio(func(r *Rule) { r.Factor = "2" })},
		{"", spike(func(r *Rule) { r.Factor, r.WindowSeconds, r.Per, r.AtLeast = "2.25", 900, PerRule, 5 })},
		{"factor: must be a number from 1 to 1000", spike(func(r *Rule) { r.Factor = "0.99" })},
		{"factor: must be a number from 1 to 1000", spike(func(r *Rule) { r.Factor = "2,5" })},
		{"factor: must be a number from 1 to 1000", spike(func(r *Rule) { r.Factor = "1000.01" })},
	} {
		err := Fields.Validate(v.rule)
		if (err == nil) != (v.want == "") || err != nil && !strings.HasPrefix(err.Error(), v.want) {
			t.Errorf("%v; want %q", err, v.want)
		}
	}
}

func TestShares(t *testing.T) {
	for text, want := range map[string]string{"5%": "5 %", "0.05": "5 %", " 0.5 % ": "0.5 %", "0.000001%": "0.000001 %", "0": "0 %", "99.999999%": "99.999999 %", "0.07300000": "7.3 %"} {
		r := Rule{Over: text}
		if _, err := parseShare(text); err != nil || Percent(r.Share()) != want {
			t.Errorf("%q is %s, %v", text, Percent(r.Share()), err)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1234: "1,234", 1_234_567: "1,234,567"} {
		if got := Thousands(n); got != want {
			t.Errorf("%s", got)
		}
	}
	for nano, want := range map[int64]int64{0: 0, 9: 0, 10: 1, -1: -1, -10: -1, -11: -2} {
		if got := Slot(nano, 10*time.Nanosecond); got != want {
			t.Errorf("%d is in %d", nano, got)
		}
	}
}

// TestLinesOfARatio has lines be counted together that are of the same key and bucket, and
// no others, and a line that is a match too be both.
func TestLinesOfARatio(t *testing.T) {
	r := valid()
	r.Pattern, r.Kind, r.Of, r.Over, r.By, r.WindowSeconds = `^(?P<host>\S+) 5`, KindRatio, `^$host \d`, "5%", []string{"$host"}, 50
	if err := Fields.Validate(r); err != nil {
		t.Fatal(err)
	}
	s, bad := Compile([]Rule{r})
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	m := s.For("").Begin()
	defer m.End()
	var st State
	for _, l := range []struct {
		milli int64
		text  string
	}{{100, "a 200"}, {200, "b 200"}, {50, "a 300"}, {300, "a 503"}, {999, "a 404"}, {1000, "a 200"}, {998, "b 500"}, {1001, "x"}, {4000, "a 200"}, {1002, "a 201"}, {3999, "a 200"}} {
		line := Line{Stream: "stdout", TimeNano: l.milli * 1e6, Text: []byte(l.text)}
		if m.Match(&st, line) {
			m.Admit(&st, line, nil)
		}
	}
	var got []string
	for _, v := range m.TakeMatches() {
		got = append(got, strings.TrimSpace(fmt.Sprint(v.TimeNano/1e6, " ", v.By, " ", v.Role, v.Lines, " ", v.Text)))
	}
	want := "50 host=a of4|200 host=b of2|300 host=a 0 a 503|1000 host=a of1|998 host=b 0 b 500|4000 host=a of1|1002 host=a of1|3999 host=a of1"
	if all := strings.Join(got, "|"); all != want {
		t.Errorf("got\n%s\nwant\n%s", all, want)
	}
	if n := st.TakeCounts()[r.ID].Matches; n != 2 {
		t.Errorf("%d matches are counted", n)
	}
}
