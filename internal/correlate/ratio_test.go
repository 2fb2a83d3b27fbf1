package correlate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/rule"
)

func ratio(over string, atLeast, window int64) rule.Rule {
	r := rule.New()
	r.ID, r.Name, r.Kind = 4, "5xx", rule.KindRatio
	r.Pattern, r.Of, r.Over, r.AtLeast, r.WindowSeconds = `^(?P<host>\S+) 5\d\d$`, `^\S+ \d\d\d$`, over, atLeast, window
	return r
}

func TestRatio(t *testing.T) {
	r := ratio("25%", 4, 50) // buckets of a second
	r.By, r.Of = []string{"$host"}, `^$host \d\d\d$`
	g := newRig(t, r)
	for n, line := range []string{"a 200", "a 503", "b 500", "b 500", "b 500", "a 200", "a 200"} {
		g.line(web, 0.1+0.2*float64(n), line)
	}
	g.want()
	g.line(web, 2.5, "a 500")
	g.line(web, 2.6, "a 500")
	g.until(4.9)
	g.want()
	g.until(5)
	g.want("3s hit [host=a]: 50 % of 6 lines in 50 s match (3), over 25 % (host=a); the last: a 500")
	g.line(web, 4.25, "a 502")
	g.until(10)
	g.want("4.25s 1 more [host=a]")
	// Above until the four of the first two seconds are behind, at 52 s: then there are
	// too few.
	g.until(200)
	g.want("1m41s end [host=a]: 25 % of lines or less match for 50 s, or there were too few to tell: 0 now, and 4 would do")
	for k := range g.rows {
		if k.Rule != 0 {
			t.Errorf("%v is kept", k)
		}
	}
}

func TestRatioComesBack(t *testing.T) {
	g := newRig(t, ratio("0.1", 10, 50))
	for n := range 300 {
		line := "a 200"
		if n >= 50 && n < 70 {
			line = "a 500"
		}
		g.line(web, float64(n)+0.5, line)
	}
	g.until(400)
	var hits, ends []string
	for _, s := range g.out {
		switch {
		case strings.Contains(s, " hit: "):
			hits = append(hits, s)
		case strings.Contains(s, " end: "):
			ends = append(ends, s)
		}
	}
	// Six of the fifty lines up to 56 s; and at 115 s five of fifty again.
	if want := []string{"56s hit: 12 % of 50 lines in 50 s match (6), over 10 %; the last: a 500"}; !slices.Equal(hits, want) {
		t.Errorf("%q", hits)
	}
	if want := []string{"2m44s end: 10 % of lines or less match for 50 s: 0 % of 50 now"}; !slices.Equal(ends, want) {
		t.Errorf("%q", ends)
	}
}

// TestRatioSaysMore has as many places be shown as tell a share from the bound.
func TestRatioSaysMore(t *testing.T) {
	for want, v := range map[string][3]int64{
		"7.3 %": {90, 1234, 5_000_000}, "5.04 %": {504, 10_000, 5_000_000}, "50 %": {1, 2, 0}, "33.3 %": {1, 3, 10_000_000}, "0 %": {0, 5, -1},
	} {
		if got := percent(v[0], v[1], v[2]); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}

// TestRatioIsCleared has a line end what is open, and what was before it count no more.
func TestRatioIsCleared(t *testing.T) {
	r := ratio("50%", 2, 50)
	r.Clear = []string{"^deployed$"}
	g := newRig(t, r)
	for n := range 5 {
		g.line(web, float64(n), "a 500")
	}
	g.until(10)
	g.out = nil
	g.line(web, 11, "a 200")
	g.line(web, 10.5, "deployed") // of the other stream
	g.want("10.5s end: a line says so: deployed")
	g.line(web, 11.5, "a 500")
	g.until(20)
	g.want()
	g.line(web, 21, "a 500")
	g.until(25)
	g.want("22s hit: 66.7 % of 3 lines in 50 s match (2), over 50 %; the last: a 500")
}

// TestRatioStood has calm begin anew where nothing was evaluated.
func TestRatioStood(t *testing.T) {
	g := newRig(t, ratio("50%", 2, 50))
	for n := range 2 {
		g.line(web, float64(n), "a 500")
	}
	g.until(5)
	g.out = nil
	g.e.Stood(time.Hour, int64(3605e9))
	g.until(3656)
	g.want()
	g.until(3657)
	g.want("1h0m55s end: 50 % of lines or less match for 50 s, or there were too few to tell: 0 now, and 2 would do")
}

// TestRatioSetBack has what was counted in the future not be in the way.
func TestRatioSetBack(t *testing.T) {
	g := newRig(t, ratio("50%", 2, 50))
	const ahead = 1e8
	for n := range 5 {
		g.line(web, ahead+float64(n), "a 500")
	}
	g.until(ahead + 10)
	g.out = nil
	g.until(1000)
	for n := range 5 {
		g.line(web, 1001+float64(n), "a 500")
	}
	g.until(1110)
	if all := strings.Join(g.out, "\n"); !strings.Contains(all, "18m24s end: ") {
		t.Error(all)
	}
	g.out = nil
	for n := range 2 {
		g.line(web, 1201+float64(n), "a 500")
	}
	g.until(1205)
	g.want("20m3s hit: 100 % of 2 lines in 50 s match (2), over 50 %; the last: a 500")
}

// ratioLines are lines of which some match, jittered; their share comes and goes.
type ratioOf struct {
	nano  int64
	match bool
}

func ratioHistory(rnd *rand.Rand, n int) (out []ratioOf) {
	share := 0.0
	for _, at := range jittered(rnd, n, time.Duration(1+rnd.IntN(1500))*time.Millisecond) {
		if rnd.IntN(40) == 0 {
			share = rnd.Float64() * rnd.Float64()
		}
		out = append(out, ratioOf{at, rnd.Float64() < share})
	}
	return out
}

// wantRatio recomputes all from the lines in the order of time.
func wantRatio(r *rule.Rule, lines []ratioOf) (out []string) {
	lines = slices.Clone(lines)
	slices.SortStableFunc(lines, func(a, b ratioOf) int { return int(a.nano - b.nano) })
	length, window := int64(r.Bucket()), int64(r.Window())
	open, above, more := false, int64(0), int64(0)
	say := func(end int64, format string, args ...any) {
		if more > 0 {
			out = append(out, fmt.Sprintf("%d more", more))
			more = 0
		}
		out = append(out, at(end)+" "+fmt.Sprintf(format, args...))
	}
	last := lines[len(lines)-1].nano
	for end := lines[0].nano / length * length; end < last+4*window; end += length {
		var of, matches, own int64
		for _, l := range lines {
			if l.nano >= end-window && l.nano < end {
				of++
				if l.match {
					matches++
				}
			}
			if l.match && l.nano >= end-length && l.nano < end {
				own++
			}
		}
		if open {
			more += own
		}
		isAbove := of >= r.Least() && float64(matches) > float64(of)*float64(r.Share())/float64(rule.Whole)
		if isAbove {
			above = end
		}
		if isAbove && !open {
			say(end, "hit of %d in %d", matches, of)
			open = true
		} else if open && end-above >= window {
			say(end, "end")
			open = false
		}
	}
	return out
}

// TestRatioOracle compares with what the lines say in their order, whenever it is killed
// and the watermark is looked at.
func TestRatioOracle(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		r := ratio(fmt.Sprint(1+rnd.IntN(60), "%"), 1+rnd.Int64N(20), 10+rnd.Int64N(60))
		lines := ratioHistory(rnd, 300)
		want := wantRatio(&r, lines)
		g := newRig(t, r)
		wall := int64(0)
		for _, l := range lines {
			wall = max(wall, l.nano)
			switch rnd.IntN(6) {
			case 0:
				g.start()
			case 1:
				g.e.Advance(wall, wall, func(string) int64 { return wall })
				g.commit()
			}
			g.lineAt(web, l.nano, map[bool]string{true: "a 500", false: "a 200"}[l.match])
		}
		g.until(float64(wall)/1e9 + 4*r.Window().Seconds())
		got := summed(t, g.out, func(text string) string {
			// 7.3 % of 12 lines in 5 min match (1), …
			_, of, _ := strings.Cut(text, " of ")
			of, _, _ = strings.Cut(of, " ")
			_, matches, _ := strings.Cut(text, "(")
			matches, _, _ = strings.Cut(matches, ")")
			return "hit of " + matches + " in " + of
		})
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d, %s of %d in %d s: %s", seed, r.Over, r.AtLeast, r.WindowSeconds, differ(got, want))
		}
	}
}

// summed are outcomes with the matches behind a hit in one line, of a hit what a function
// makes of its sentence.
func summed(t *testing.T, out []string, hit func(text string) string) (sums []string) {
	t.Helper()
	more := int64(0)
	for _, s := range out {
		when, what, _ := strings.Cut(s, " ")
		head, text, _ := strings.Cut(what, ": ")
		if n := int64(0); strings.HasSuffix(what, " more") {
			if _, err := fmt.Sscanf(what, "%d more", &n); err != nil {
				t.Fatal(err)
			}
			more += n
			continue
		}
		if more > 0 {
			sums = append(sums, fmt.Sprintf("%d more", more))
			more = 0
		}
		if head == "hit" {
			head = hit(text)
		}
		sums = append(sums, when+" "+head)
	}
	if more > 0 {
		sums = append(sums, fmt.Sprintf("%d more", more))
	}
	return sums
}

// TestRatioIsBounded has what is kept of a key, in memory and as stored, not grow.
func TestRatioIsBounded(t *testing.T) {
	r := ratio("99%", 10_000, 10)
	g := newRig(t, r)
	most := 0
	for n := range 20_000 {
		g.line(web, float64(n)/200, "a 500")
		s := g.e.rules[4].keys[Key{4, "container c1", ""}]
		if len(s.ratio.Buckets) > rule.WindowBuckets+12 || len(s.ratio.Lines) > 12 {
			t.Fatalf("%d buckets, %d lines", len(s.ratio.Buckets), len(s.ratio.Lines))
		}
		most = max(most, len(g.rows[s.key]))
	}
	t.Log(most, "bytes of a row")
	if most > 3000 {
		t.Errorf("a row has %d bytes", most)
	}
}

// Lines are told alike however many are looked at before their matches are added up, also
// where the clock steps back.
func TestRatioOfTurns(t *testing.T) {
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		type line struct {
			nano int64
			text string
		}
		var lines []line
		now := int64(1e15)
		for n := range 6000 {
			now += rnd.Int64N(200e6)
			if rnd.IntN(100) == 0 {
				now += rnd.Int64N(30e9) - 15e9
			}
			status := "200"
			if rnd.IntN(100) < []int{5, 60}[n/1000%2] {
				status = "500"
			}
			nano := now
			if rnd.IntN(12) == 0 { // its first part came long before its last
				nano += rnd.Int64N(8e9) - 4e9
			}
			lines = append(lines, line{nano, []string{"a ", "b "}[rnd.IntN(2)] + status})
		}
		var first []string
		for n, turn := range []func() int{func() int { return 1 }, func() int { return 1 + rnd.IntN(40) }, func() int { return 1 + rnd.IntN(400) }} {
			r := ratio("26%", 10, 50)
			r.By, r.Of = []string{"$host"}, `^$host \d\d\d$`
			g := newRig(t, r)
			for rest := lines; len(rest) > 0; {
				some := rest[:min(turn(), len(rest))]
				rest = rest[len(some):]
				m := g.snapshot.For(web.Workload).Begin()
				var st rule.State
				for _, l := range some {
					of := rule.Line{Stream: "stdout", TimeNano: l.nano, Text: []byte(l.text)}
					if m.Match(&st, of) {
						m.Admit(&st, of, nil)
					}
				}
				for _, match := range m.TakeMatches() {
					c := web
					g.e.Match(&c, &match)
				}
				m.End()
				g.commit()
			}
			told := slices.DeleteFunc(g.out, func(s string) bool { return strings.Contains(s, " more") })
			if n == 0 {
				if first = told; len(first) < 4 {
					t.Fatalf("only %q", first)
				}
			} else if !slices.Equal(told, first) {
				t.Fatalf("seed %d:\n%s\nnot\n%s", seed, strings.Join(told, "\n"), strings.Join(first, "\n"))
			}
		}
	}
}
