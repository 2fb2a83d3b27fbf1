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

func spike(atLeast int64, factor string, window int64) rule.Rule {
	r := rule.New()
	r.ID, r.Name, r.Kind = 5, "errors", rule.KindSpike
	r.Pattern, r.AtLeast, r.Factor, r.WindowSeconds = "ERROR", atLeast, factor, window
	return r
}

// errors writes so many lines, a second apart, from a time on.
func (r *rig) errors(from float64, n int) {
	r.t.Helper()
	for k := range n {
		r.line(web, from+float64(k), "ERROR something")
	}
}

const day = 24 * 3600

func TestSpike(t *testing.T) {
	r := spike(5, "3", 300)
	g := newRig(t, r)
	g.e.Seed(g.rules[5], Before{})
	g.e.Started(web, 0)
	for d := range 6 {
		g.errors(float64(d*day+36_000), []int{2, 4, 4, 3, 5, 100}[d]) // at 10:00
		g.start()
	}
	g.until(6 * day)
	if g.out[0] != "130h0m12s hit: 13 matches in 5 min, usually 4 (median of 5 days at this time): ERROR something" || g.out[len(g.out)-1] != "130h10m0s end: 0 matches in 5 min, which is not over 5" {
		t.Error(strings.Join(g.out, "\n"))
	}
	g.out = nil
	g.errors(6*day+36_000+200, 12)
	g.want()
	g.line(web, 6*day+36_250, "ERROR the last straw")
	g.want("154h4m10s hit: 13 matches in 5 min, usually 4 (median of 6 days at this time): ERROR the last straw")
	g.start()
	g.line(web, 6*day+36_299, "ERROR something")
	g.want("154h4m59s 1 more")
	// At another time none is usual.
	g.errors(6*day+36_300+10, 5) // five is what is no hit at any time
	g.until(6*day + 36_601)
	g.out = nil
	g.until(6*day + 36_603)
	g.want("154h10m0s end: 5 matches in 5 min, which is not over 5")
	g.errors(6*day+72_000, 6)
	g.want("164h0m5s hit: 6 matches in 5 min, usually 0 (median of 6 days at this time): ERROR something")
}

// TestSpikeLearns has nothing be a hit until twelve windows are known.
func TestSpikeLearns(t *testing.T) {
	g := newRig(t, spike(2, "2.5", 60))
	g.e.Seed(g.rules[5], Before{})
	g.e.Started(web, int64(30e9))
	for n := range 12 { // the first one isn't known as a whole
		g.errors(float64(60*n+31), 5)
	}
	g.errors(12*60, 30)
	g.want()
	if text := g.e.Learning(g.rules[5], int64(12*60e9)); text != "what is usual isn't known yet: 10 of 12 windows are" {
		t.Error(text)
	}
	if n := g.e.TakeLearning()[5]; n != 90 {
		t.Errorf("%d matches came while it learned", n)
	}
	g.errors(13*60, 30) // the one before doesn't count: eleven are known
	g.want()
	g.errors(14*60, 14)
	g.want("14m12s hit: 13 matches in 1 min, usually 5 (median of 12 windows): ERROR something", "14m13s 1 more")
	if text := g.e.Learning(g.rules[5], int64(14*60e9)); text != "" {
		t.Error(text)
	}
}

// TestSpikeIsSeeded has what the journal knows count, whenever that is told, and lines
// from before the rule once.
func TestSpikeIsSeeded(t *testing.T) {
	r := spike(5, "3", 300)
	r.UpdatedAt = time.Unix(3*day+150, 0)
	g := newRig(t, r)
	all := g.e.Unseeded()
	if len(all) != 1 || all[0].Before != int64(3*day+150)*1e9 {
		t.Fatal(all)
	}
	g.e.Started(web, int64(3*day+150)*1e9)
	g.errors(3*day+140, 20) // half of them are before the rule
	g.start()               // killed meanwhile
	g.want()
	db := Container{ID: "c3", Name: "db", Workload: "shop/db"}
	seed := Before{Counted: []Counted{
		{&web, 0, map[int64]int64{288: 2, 2 * 288: 4, 3 * 288: 10}},
		{&db, int64(2*day) * 1e9, map[int64]int64{2 * 288: 1}},
	}}
	g.e.Seed(g.rules[5], seed)
	g.e.Seed(g.rules[5], seed) // it waits for it no more
	g.commit()
	g.want("72h2m39s hit: 20 matches in 5 min, usually 2 (median of 3 days at this time): ERROR something")
	g.start()
	if all := g.e.Unseeded(); len(all) != 0 {
		t.Error("it forgot what was before it")
	}
	g.line(db, 3*day+160, "ERROR something")
	for n := range 5 {
		g.line(db, 3*day+161+float64(n), "ERROR something")
	}
	g.want("72h2m45s hit: 6 matches in 5 min, usually 1 (median of 1 day at this time): ERROR something")
	// An edit that means the same, and one that doesn't.
	r.Severity, r.UpdatedAt = "critical", time.Unix(3*day+400, 0)
	g.use(r)
	g.e.SetRules(g.snapshot, 0)
	g.line(web, 3*day+399, "ERROR something") // that was on its way
	g.want("72h6m39s 1 more")
	r.Pattern = "ERROR|FATAL"
	g.use(r)
	g.e.SetRules(g.snapshot, int64(3*day+400)*1e9)
	g.commit()
	if all := g.e.Unseeded(); len(all) != 1 || all[0].Before != int64(3*day+400)*1e9 {
		t.Error(all)
	}
	g.e.Seed(g.rules[5], Before{})
	g.use()
	g.e.SetRules(g.snapshot, 0)
	g.commit()
	for k := range g.rows {
		if k.Rule != 0 || strings.HasPrefix(k.Scope, "since") || strings.HasPrefix(k.Scope, "seeded") {
			t.Errorf("%v is kept", k)
		}
	}
}

// TestSpikeStood has the windows in which nothing was evaluated be unknown.
func TestSpikeStood(t *testing.T) {
	r := spike(5, "3", 300)
	g := newRig(t, r)
	g.e.Seed(g.rules[5], Before{})
	g.e.Started(web, 0)
	for d := range 3 {
		g.errors(float64(d*day+36_000), 4)
	}
	g.e.Stood(20*time.Minute, int64(3*day+36_600)*1e9) // from 09:50 to 10:10
	g.commit()
	g.start()
	g.errors(4*day+36_000, 12)
	g.want() // the usual is 4, not 2
	g.errors(4*day+36_100, 1)
	g.want("106h1m40s hit: 13 matches in 5 min, usually 4 (median of 3 days at this time): ERROR something")
	// What is open isn't over by it.
	g.e.Stood(10*time.Minute, int64(4*day+36_900)*1e9)
	g.until(4*day + 37_199)
	g.want()
	g.until(4*day + 37_202)
	g.want("106h20m0s end: 0 matches in 5 min, which is not over 5")
	// For longer than anything is remembered.
	g.e.Stood(30*24*time.Hour, int64(40*day)*1e9)
	g.errors(40*day+600, 30)
	g.want()
	if n := len(g.e.rules[5].keys[Key{5, "container c1", ""}].spike.past.counts); n > 2017+2016 {
		t.Errorf("%d windows are known", n)
	}
}

// TestSpikeSetBack has the future be forgotten where the clock is set back.
func TestSpikeSetBack(t *testing.T) {
	g := newRig(t, spike(5, "3", 300))
	g.e.Seed(g.rules[5], Before{})
	g.e.Started(web, 0)
	g.errors(100*day, 20)
	g.until(100*day + 30)
	g.out = nil
	g.until(8 * day)
	g.want("192h0m0s end: the clock was set back")
	g.start()
	g.errors(8*day+10, 6)
	g.want("192h0m15s hit: 6 matches in 5 min, usually 0 (median of 7 days at this time): ERROR something")
}

// TestSpikeIsCleared has what was before a line that says so not be a hit again.
func TestSpikeIsCleared(t *testing.T) {
	r := spike(3, "3", 300)
	r.Clear = []string{"^deployed$"}
	g := newRig(t, r)
	g.e.Seed(g.rules[5], Before{})
	g.e.Started(web, 0)
	g.errors(2*day, 5)
	g.out = nil
	g.line(web, 2*day+20, "deployed")
	g.want("48h0m20s end: a line says so: deployed")
	g.errors(2*day+30, 3)
	g.want()
	g.errors(2*day+40, 1)
	g.want("48h0m40s hit: 4 matches in 5 min, usually 0 (median of 2 days at this time): ERROR something")
	g.errors(3*day, 9)
	g.out = nil
	g.errors(4*day, 14) // on the other days there were 0, 0, 9 and 9: all count
	g.want("72h10m0s end: 0 matches in 5 min, which is not over 3", "96h0m13s hit: 14 matches in 5 min, usually 4.5 (median of 4 days at this time): ERROR something")
}

// TestSpikeOfAWorkload has a new container of it not learn anew.
func TestSpikeOfAWorkload(t *testing.T) {
	r := spike(3, "3", 300)
	r.Per = rule.PerWorkload
	g := newRig(t, r)
	g.e.Seed(g.rules[5], Before{})
	g.e.Started(web, 0)
	g.e.Gone(web.ID, int64(2*day)*1e9)
	g.commit()
	g.start()
	other := Container{ID: "c2", Name: "web2", Workload: web.Workload}
	g.e.Started(other, int64(2*day)*1e9)
	for n := range 4 {
		g.line(other, 2*day+float64(n), "ERROR something")
	}
	g.want("48h0m3s hit: 4 matches in 5 min, usually 0 (median of 2 days at this time): ERROR something")
}

// wantSpike recomputes all from the times in their order. The rule is known from 0 on.
func wantSpike(r *rule.Rule, times []int64) (out []string) {
	times = slices.Clone(times)
	slices.Sort(times)
	length := int64(r.Window())
	count := func(n int64) (sum int64) {
		for _, v := range times {
			if v/length == n {
				sum++
			}
		}
		return sum
	}
	perDay := int64(24*time.Hour) / length
	usual := func(n int64) (twice int64, known bool) {
		var all []int64
		for d := int64(1); d <= 7; d++ {
			if n-d*perDay >= 0 {
				all = append(all, count(n-d*perDay))
			}
		}
		if len(all) == 0 {
			for k := int64(0); k < n-1; k++ {
				all = append(all, count(k))
			}
			if len(all) < 12 {
				return 0, false
			}
		}
		slices.Sort(all)
		return all[len(all)/2] + all[(len(all)-1)/2], true
	}
	open, more := false, int64(0)
	say := func(format string, args ...any) {
		if more > 0 {
			out = append(out, fmt.Sprintf("%d more", more))
			more = 0
		}
		out = append(out, fmt.Sprintf(format, args...))
	}
	for n := times[0] / length; n <= times[len(times)-1]/length+2; n++ {
		twice, known := usual(n)
		c := count(n)
		isOver := float64(c) > max(float64(r.Least()), float64(r.Hundredths())/100*float64(twice)/2)
		switch {
		case open:
			more += c
			if !isOver {
				say("%s end", at((n+1)*length))
				open = false
			}
		case known && isOver:
			say("hit in %d", n)
			open, more = true, c
		}
	}
	return out
}

// TestSpikeOracle compares with what the times say in their order, whenever it is killed
// and the watermark is looked at.
func TestSpikeOracle(t *testing.T) {
	hits := 0
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		window := []int64{60, 300, 3600, 6 * 3600}[rnd.IntN(4)]
		r := spike(1+rnd.Int64N(4), []string{"1", "1.5", "2.25", "3"}[rnd.IntN(4)], window)
		times := jittered(rnd, 400, time.Duration(1+rnd.Int64N(window))*time.Second/2)
		want := wantSpike(&r, times)
		hits += len(want)
		g := newRig(t, r)
		g.e.Seed(g.rules[5], Before{})
		g.e.Started(web, 0)
		g.commit()
		wall := int64(0)
		for _, v := range times {
			wall = max(wall, v)
			switch rnd.IntN(6) {
			case 0:
				g.start()
			case 1:
				g.e.Advance(wall, wall, func(string) int64 { return wall })
				g.commit()
			}
			g.lineAt(web, v, "ERROR something")
		}
		g.until(float64(wall)/1e9 + 3*float64(window))
		got := spikes(t, g.out, window)
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d, %d × %s in %d s: %s", seed, r.AtLeast, r.Factor, r.WindowSeconds, differ(got, want))
		}
	}
	if hits < 1000 {
		t.Errorf("%d hits and ends", hits)
	}
}

// spikes are outcomes with the matches of a hit, all of them, in one line.
func spikes(t *testing.T, out []string, window int64) (sums []string) {
	more := int64(0)
	for _, s := range out {
		when, what, _ := strings.Cut(s, " ")
		head, text, _ := strings.Cut(what, ": ")
		var n int64
		if strings.HasSuffix(what, " more") {
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
		if head != "hit" {
			sums = append(sums, when+" "+head)
			continue
		}
		at, err := time.ParseDuration(when)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscanf(text, "%d matches", &more); err != nil {
			t.Fatal(err)
		}
		sums = append(sums, fmt.Sprintf("hit in %d", int64(at)/window/1e9))
	}
	if more > 0 {
		sums = append(sums, fmt.Sprintf("%d more", more))
	}
	return sums
}

// TestSpikeIsBounded has what is kept of a key not grow beyond a week, and rows with it be
// written only when a window is over.
func TestSpikeIsBounded(t *testing.T) {
	r := spike(10_000, "1000", 300)
	g := newRig(t, r)
	g.e.Seed(g.rules[5], Before{})
	g.e.Started(web, 0)
	g.commit()
	rnd := rand.New(rand.NewPCG(1, 5))
	past, most, written := pastKey(Key{5, "container c1", ""}), 0, 0
	m := rule.Match{Rule: g.rules[5], Stream: "stdout", Text: "ERROR something"}
	for n := range int64(9 * 288) {
		for k := range 1 + rnd.Int64N(3) {
			m.TimeNano = (n*300 + k) * 1e9
			g.e.Match(&web, &m)
			g.e.rules[5].keys[Key{5, "container c1", ""}].spike.Windows[0].Count += rnd.Int64N(100_000)
			_, rows := g.e.Take()
			for _, row := range rows {
				if row.Key == past {
					most, written = max(most, len(row.Data)), written+1
				}
			}
		}
	}
	t.Logf("%d bytes of a row, written %d times", most, written)
	if counts := len(g.e.rules[5].keys[Key{5, "container c1", ""}].spike.past.counts); counts > 2017 || most > 9000 || written > 9*288 {
		t.Errorf("%d windows, %d bytes, written %d times", counts, most, written)
	}
	for n := range MaxSpikeKeys + 5 {
		c := Container{ID: fmt.Sprint("x", n), Workload: "w"}
		g.e.Started(c, (9*day+int64(n))*1e9)
	}
	if n, forgotten := len(g.e.rules[5].keys), g.e.TakeForgotten()[5]; n > MaxSpikeKeys || forgotten < 6 {
		t.Errorf("%d keys, %d forgotten", n, forgotten)
	}
}

func FuzzPast(f *testing.F) {
	p := past{first: 5, counts: []int32{0, 0, 3, unknown, unknown, 1, 0, 100_000, 0}}
	f.Add(p.encode("m"))
	f.Add([]byte(`{"v":1,"m":"af63b04c8601a3dd","w":"AA=="}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok, _ := decodePast(b, "m")
		if !ok {
			return
		}
		again, ok, _ := decodePast(p.encode("m"), "m")
		if !ok || again.first != p.first || !slices.Equal(again.counts, p.counts) {
			t.Errorf("%v became %v", p, again)
		}
	})
}
