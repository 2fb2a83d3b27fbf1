package correlate

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/rule"
)

func runRule(set func(*rule.Rule)) rule.Rule {
	r := rule.New()
	r.ID, r.Name, r.Kind = 4, "backup", rule.KindRun
	set(&r)
	return r
}

func (r *rig) runs(c Container) []*rule.Rule {
	rules, _ := r.snapshot.ForContainer(rule.Container{Workload: c.Workload, Name: c.Name, Image: c.Image, Labels: c.Labels}).Runs()
	return rules
}

// begins has a container's n-th run begin.
func (r *rig) begins(c Container, n int64, sec float64) {
	r.t.Helper()
	r.e.Began(c, n, int64(sec*1e9), r.runs(c))
	r.commit()
}

func (r *rig) ends(c Container, n int64, sec float64) {
	r.t.Helper()
	r.e.Ended(c.ID, n, int64(sec*1e9))
	r.commit()
}

// says has a container write lines, a second after each other.
func (r *rig) says(c Container, sec float64, lines ...string) {
	r.t.Helper()
	for i, l := range lines {
		r.e.Lines(c.ID, 1, r.runs(c))
		r.line(c, sec+float64(i), l)
	}
}

// job is the container of the n-th `docker run --rm` of a workload.
func job(n int) Container {
	return Container{ID: fmt.Sprint("j", n), Name: fmt.Sprint("job", n), Workload: "shop/backup"}
}

func TestRun(t *testing.T) {
	all := runRule(func(r *rule.Rule) {
		r.Must, r.MustNot, r.MinLines = []string{"done", "where size > 0"}, []string{"ERROR\nignore harmless", "panic"}, 3
	})
	g := newRig(t, all)
	g.begins(job(1), 1, 0)
	g.says(job(1), 1, "start", "size=5", "ERROR harmless", "done")
	g.until(1000)
	g.ends(job(1), 1, 60)
	g.want()
	if len(g.rows) != 3 { // the container, what was seen, and since when there is the rule
		t.Errorf("what was fine is kept: %v", g.rows)
	}
	g.begins(job(2), 1, 1000)
	g.says(job(2), 1001, "size=0", "ERROR 1", "ERROR 2")
	g.start() // killed
	g.ends(job(2), 1, 1180)
	g.want("19m40s hit: a run of 3 min ended: no line matched /done/; no line matched where size > 0; 2 lines matched /ERROR/, ignore harmless, the last: ERROR 2")
	g.begins(job(3), 1, 2000)
	g.says(job(3), 2001, "size=1 done")
	g.ends(job(3), 1, 2002)
	g.want("33m22s hit: a run of 2 s ended: it had 1 line, of at least 3")
	g.begins(job(4), 1, 3000)
	g.ends(job(4), 1, 3000)
	g.want("50m0s hit: a run of less than a second ended: no line matched /done/; no line matched where size > 0; it had 0 lines, of at least 3")
	g.begins(job(4), 2, 3010)
	g.says(job(4), 3011, "size=1 done", "", "")
	g.e.Gone("j2", 3)
	g.start()
	g.ends(job(4), 2, 3020)
	g.want("50m20s end: a run of 10 s was fine")
	g.ends(job(4), 2, 3030) // it is known
	g.begins(job(4), 2, 3010)
	g.ends(job(4), 2, 3030)
	g.want()
	for k, v := range g.rows {
		if k.Rule != 0 {
			t.Errorf("%v is kept: %s", k, v)
		}
	}
}

// TestRunWithoutAnEnd has a run be over by the start of the next.
func TestRunWithoutAnEnd(t *testing.T) {
	g := newRig(t, runRule(func(r *rule.Rule) { r.Must, r.MaxDurationSeconds = []string{"done"}, 60 }))
	g.begins(job(1), 1, 0)
	g.begins(job(1), 2, 1000)
	g.want("0s hit: a run ended: no line matched /done/")
	g.says(job(1), 1001, "done")
	g.ends(job(1), 2, 1010)
	g.want("16m50s end: a run of 10 s was fine")
}

func TestRunTooLong(t *testing.T) {
	r := runRule(func(r *rule.Rule) { r.Must, r.MustNot, r.MaxDurationSeconds = []string{"done"}, []string{"slow"}, 60 })
	g := newRig(t, r)
	g.begins(job(1), 1, 0)
	g.says(job(1), 1, "slow")
	g.until(61)
	g.want()
	g.until(62)
	g.want("1m0s hit: a run takes longer than 1 min; 1 line matched /slow/, the last: slow")
	g.start()
	g.until(1000)
	g.says(job(1), 100, "slow")
	g.ends(job(1), 1, 120)
	g.want("2m0s 1 more")
	g.begins(job(2), 1, 200)
	g.says(job(2), 201, "done")
	g.ends(job(2), 1, 202)
	g.want("3m22s end: a run of 2 s was fine")
	// By its end alone, it says the same.
	g.begins(job(3), 1, 1000)
	g.says(job(3), 1001, "done")
	g.ends(job(3), 1, 1090)
	g.want("17m40s hit: a run takes longer than 1 min", "18m10s 1 more")
	// The plugin was away for an hour: for so long it may take longer.
	g.begins(job(4), 1, 2000)
	g.e.Stood(time.Hour, int64(5600e9))
	g.until(5661)
	g.want()
	g.until(5662)
	g.want("1h34m20s hit: a run takes longer than 1 min")
	// Somebody else's run that is fine doesn't end what goes on.
	g.begins(job(5), 1, 6000)
	g.says(job(5), 6001, "done")
	g.ends(job(5), 1, 6002)
	g.want()
	g.ends(job(4), 1, 6010)
	g.want("1h40m10s 1 more")
	g.begins(job(6), 1, 6020)
	g.says(job(6), 6021, "done")
	g.ends(job(6), 1, 6022)
	g.want("1h40m22s end: a run of 2 s was fine")
}

func TestRestarts(t *testing.T) {
	r := runRule(func(r *rule.Rule) { r.Restarts, r.WithinSeconds = 3, 60 })
	g := newRig(t, r)
	for n := range int64(5) {
		g.begins(job(1), n+1, float64(20*n))
		g.ends(job(1), n+1, float64(20*n+1))
		if n%2 == 1 {
			g.start()
		}
	}
	g.want("40s hit: 3 starts in 40 s", "1m0s 1 more", "1m20s 1 more")
	g.until(142)
	g.want()
	g.until(143)
	g.want("2m20s end: there was no start for 1 min")
	g.begins(job(1), 6, 200)
	g.begins(job(2), 1, 240)
	g.begins(job(3), 1, 261)
	g.want() // not within a minute
	g.begins(job(4), 1, 262)
	g.want("4m22s hit: 3 starts in 22 s")
	g.until(1000)
	g.want("5m22s end: there was no start for 1 min")
	for k, v := range g.rows {
		if k.Rule != 0 && strings.HasPrefix(k.Scope, workloadScope) {
			t.Errorf("%v is kept: %s", k, v)
		}
	}
}

// TestLoopOfBadRuns has a loop whose runs are bad be open until both are over.
func TestLoopOfBadRuns(t *testing.T) {
	r := runRule(func(r *rule.Rule) { r.Must, r.Restarts, r.WithinSeconds = []string{"done"}, 2, 60 })
	g := newRig(t, r)
	g.begins(job(1), 1, 0)
	g.ends(job(1), 1, 1)
	g.begins(job(1), 2, 2)
	g.says(job(1), 3, "done")
	g.ends(job(1), 2, 4)
	g.want("1s hit: a run of 1 s ended: no line matched /done/", "2s hit: 2 starts in 2 s")
	g.until(100)
	g.want("1m2s end: there was no start for 1 min")
	g.begins(job(1), 3, 200)
	g.begins(job(1), 4, 201)
	g.until(500)
	g.want("3m20s hit: a run ended: no line matched /done/", "3m21s hit: 2 starts in 1 s")
	g.says(job(1), 501, "done")
	g.ends(job(1), 4, 502)
	g.want("8m22s end: a run of 5 min 1 s was fine")
}

// TestRunBeforeItsRule has a rule that comes in the middle of a run judge what it can know
// of that.
func TestRunBeforeItsRule(t *testing.T) {
	g := newRig(t, runRule(func(r *rule.Rule) { r.ID, r.Must = 5, []string{"x"} }))
	g.begins(job(1), 1, 0)
	g.begins(job(2), 1, 0)
	g.ends(job(2), 1, 5)
	g.out = nil
	g.begins(job(3), 1, 0)
	r := runRule(func(r *rule.Rule) {
		r.Must, r.MinLines, r.MustNot, r.MaxDurationSeconds, r.Restarts, r.WithinSeconds = []string{"done"}, 5, []string{"ERROR"}, 60, 2, 60
		r.UpdatedAt = time.Unix(100, 0)
	})
	g.use(r)
	g.e.SetRules(g.snapshot, int64(100e9))
	g.commit()
	g.want("1m40s end: the rule was removed or switched off") // the other one
	g.says(job(3), 101, "ERROR")
	g.ends(job(3), 1, 102)
	g.until(103)
	g.want("1m40s hit: a run takes longer than 1 min; 1 line matched /ERROR/, the last: ERROR", "1m42s 1 more",
		"1m40s hit: a run takes longer than 1 min")
	g.ends(job(1), 1, 104)
	g.want("1m44s 1 more")
	// One whose rules are said to have seen all of it, though it was before this one.
	g.e.Began(job(4), 1, int64(99e9), g.runs(job(4)))
	g.e.Ended("j4", 1, int64(110e9))
	// And one of which only the rules of before have.
	g.e.Began(job(5), 1, int64(105e9), nil)
	g.e.Ended("j5", 1, int64(110e9))
	g.commit()
	g.want()
	// Long ago.
	g.e.Began(job(6), 1, int64(1e9), nil)
	g.e.Ended("j6", 1, int64(90e9))
	g.commit()
	g.want()
	// An edit that asks for the same keeps what is known.
	g.begins(job(7), 1, 200)
	g.says(job(7), 201, "1", "2", "3")
	r.Severity, r.UpdatedAt = "critical", time.Unix(210, 0)
	g.use(r)
	g.e.SetRules(g.snapshot, int64(210e9))
	g.says(job(7), 211, "done", "5")
	g.ends(job(7), 1, 213)
	g.want("3m33s end: a run of 13 s was fine")
	// So does one of which a run that began before it is known late, after a kill.
	g.start()
	r.Severity, r.UpdatedAt = "warn", time.Unix(300, 0)
	g.use(r)
	g.e.SetRules(g.snapshot, int64(300e9))
	g.begins(job(8), 1, 290)
	g.ends(job(8), 1, 301)
	g.want("5m1s hit: a run of 11 s ended: no line matched /done/; it had 0 lines, of at least 5")
	// One that asks for another thing doesn't.
	r.MinLines, r.UpdatedAt = 4, time.Unix(400, 0)
	g.use(r)
	g.e.SetRules(g.snapshot, int64(400e9))
	g.begins(job(9), 1, 390)
	g.ends(job(9), 1, 401)
	g.want("6m40s end: the rule was changed")
	g.use()
	g.e.SetRules(g.snapshot, int64(500e9))
	g.commit()
	for k, v := range g.rows {
		if strings.HasPrefix(k.Scope, sinceScope) || k.Rule != 0 {
			t.Errorf("%v is kept: %s", k, v)
		}
	}
}

// TestRunLeaves has a run not be judged by a rule that isn't for it any more.
func TestRunLeaves(t *testing.T) {
	r := runRule(func(r *rule.Rule) { r.Must = []string{"done"} })
	g := newRig(t, r)
	g.begins(job(1), 1, 0)
	g.ends(job(1), 1, 1)
	g.begins(job(1), 2, 2)
	g.out = nil
	r.Names = []string{"other"}
	g.use(r)
	g.e.SetRules(g.snapshot, int64(3e9))
	g.commit()
	g.want("3s end: the rule isn't for it any more")
	g.ends(job(1), 2, 4)
	g.e.Gone("j1", int64(5e9))
	g.commit()
	g.want()
	for k, v := range g.rows {
		if k != seenKey && k != sinceKey(4) {
			t.Errorf("%v is kept: %s", k, v)
		}
	}
}

// TestClearOfRuns has a line end what is open of a workload.
func TestClearOfRuns(t *testing.T) {
	g := newRig(t, runRule(func(r *rule.Rule) { r.Must, r.Clear = []string{"done"}, []string{"never mind"} }))
	g.begins(job(1), 1, 0)
	g.ends(job(1), 1, 1)
	g.begins(job(1), 2, 2)
	g.says(job(1), 3, "never mind")
	g.ends(job(1), 2, 10)
	g.want("1s hit: a run of 1 s ended: no line matched /done/", "3s end: a line says so: never mind", "10s hit: a run of 8 s ended: no line matched /done/")
}

func TestRunSetBack(t *testing.T) {
	g := newRig(t, runRule(func(r *rule.Rule) { r.MaxDurationSeconds, r.Restarts, r.WithinSeconds = 60, 2, 60 }))
	const ahead = 1e8
	g.begins(job(1), 1, ahead)
	g.begins(job(2), 1, ahead)
	g.until(ahead + 1)
	g.out = nil
	g.until(1000)
	g.want("16m40s end: the clock was set back")
	g.until(1061)
	g.want()
	g.until(1062)
	g.want("17m40s hit: a run takes longer than 1 min", "17m40s hit: a run takes longer than 1 min")
}

func TestRunsAreBounded(t *testing.T) {
	g := newRig(t, runRule(func(r *rule.Rule) { r.Must = []string{"done"} }))
	for n := range MaxKeys + 50 {
		g.begins(job(n), 1, float64(n))
	}
	if n, forgotten := len(g.e.rules[4].keys), g.e.TakeForgotten()[4]; n > MaxKeys || forgotten < 50 {
		t.Errorf("%d runs, %d forgotten", n, forgotten)
	}
	g.ends(job(0), 1, 1e6)
	g.want()
	g.ends(job(MaxKeys), 1, MaxKeys+1)
	g.want("2h46m41s hit: a run of 1 s ended: no line matched /done/")
}

// did is one thing that happens to a container.
type did struct {
	at   int64 // nanoseconds
	c, n int   // of which container, and of which run of it
	what string
}

// history is what happens to containers of a workload, by time.
func history(rnd *rand.Rand, containers, n int) (all []did) {
	for c := range containers {
		at, run, runs := int64(1e9), 0, false
		for range n {
			at += 1 + rnd.Int64N(int64(20*time.Second))
			switch {
			case !runs:
				run++
				all = append(all, did{at, c, run, "begin"})
				runs = true
			case rnd.IntN(4) == 0:
				all = append(all, did{at, c, run, "end"})
				runs = false
			default:
				all = append(all, did{at, c, run, []string{"done", "ERROR", "nothing"}[rnd.IntN(3)]})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b did) int { return int(min(max(a.at-b.at, -1), 1)) })
	return all
}

// runOracle goes over the whole history for each run.
func runOracle(r *rule.Rule, all []did, upTo int64) (out []string) {
	type told struct {
		at   int64
		rank int
		what string
	}
	var say []told
	add := func(at int64, rank int, what string) { say = append(say, told{at, rank, what}) }
	// What each run is, and what happens to the workload in the order of time.
	type verdict struct {
		at   int64
		kind string // late, bad, fine, start
		run  [2]int
	}
	var verdicts []verdict
	for i, b := range all {
		if b.what != "begin" {
			continue
		}
		verdicts = append(verdicts, verdict{b.at, "start", [2]int{b.c, b.n}})
		lines, done, bad, end := int64(0), false, 0, int64(0)
		for _, d := range all[i+1:] {
			if d.c != b.c || d.n != b.n {
				continue
			}
			switch d.what {
			case "end":
				end = d.at
			case "done":
				done = true
			case "ERROR":
				bad++
			}
			if d.what != "end" {
				lines++
			}
		}
		deadline := b.at + int64(r.MaxDuration())
		late := end > deadline || end == 0 && deadline <= upTo
		if late {
			verdicts = append(verdicts, verdict{deadline, "late", [2]int{b.c, b.n}})
		}
		if end != 0 {
			kind := "fine"
			if late || !done || bad > 0 || lines < r.MinLines {
				kind = "bad"
			}
			verdicts = append(verdicts, verdict{end, kind, [2]int{b.c, b.n}})
		}
	}
	slices.SortStableFunc(verdicts, func(a, b verdict) int { return int(min(max(a.at-b.at, -1), 1)) })
	open, wrong, loop := false, false, false
	var starts []int64
	late, goesOn := map[[2]int]bool{}, map[[2]int]bool{}
	over := func(at int64) {
		if loop && starts[len(starts)-1]+int64(r.Within()) < at {
			if loop = false; open && !wrong {
				open = false
				add(starts[len(starts)-1]+int64(r.Within()), 1, "end")
			}
		}
	}
	for _, v := range verdicts {
		over(v.at)
		switch v.kind {
		case "start":
			starts = append(starts, v.at)
			n := len(starts) - int(r.Restarts)
			switch {
			case loop:
				add(v.at, 0, "more")
			case n >= 0 && v.at-starts[n] <= int64(r.Within()):
				add(v.at, 0, "hit")
				open, loop = true, true
			}
		case "late":
			late[v.run], goesOn[v.run] = true, true
			add(v.at, 0, "hit")
			open, wrong = true, true
		case "bad":
			if late[v.run] && open {
				add(v.at, 0, "more")
			} else {
				add(v.at, 0, "hit")
			}
			delete(goesOn, v.run)
			open, wrong = true, true
		case "fine":
			if len(goesOn) > 0 {
				break
			}
			wrong = false
			if open && !loop {
				open = false
				add(v.at, 0, "end")
			}
		}
	}
	over(upTo)
	for _, s := range say {
		out = append(out, at(s.at)+" "+s.what)
	}
	return out
}

// TestRunOracle compares with the oracle, for engines that are killed and whose watermark
// is looked at at other times.
func TestRunOracle(t *testing.T) {
	kinds := map[string]int{}
	for seed := range uint64(400) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		r := runRule(func(r *rule.Rule) {
			r.Must, r.MustNot, r.MinLines = []string{"done"}, []string{"ERROR"}, rnd.Int64N(3)
			r.MaxDurationSeconds = 10 + rnd.Int64N(100)
			r.Restarts, r.WithinSeconds = 2+rnd.Int64N(3), 5+rnd.Int64N(60)
		})
		all := history(rnd, 1+rnd.IntN(3), 60)
		upTo := all[len(all)-1].at + int64(time.Hour)
		want := runOracle(&r, all, upTo)
		g := newRig(t, r)
		for _, d := range all {
			switch rnd.IntN(4) {
			case 0:
				g.start()
			case 1:
				g.e.Advance(d.at, d.at, func(string) int64 { return d.at })
				g.commit()
			}
			c := job(d.c)
			switch d.what {
			case "begin":
				g.e.Advance(d.at+slack, d.at+slack, func(string) int64 { return d.at + slack })
				g.e.Began(c, int64(d.n), d.at, g.runs(c))
			case "end":
				g.e.Advance(d.at+slack, d.at+slack, func(string) int64 { return d.at + slack })
				g.e.Ended(c.ID, int64(d.n), d.at)
			default:
				g.e.Lines(c.ID, 1, g.runs(c))
				g.lineAt(c, d.at, d.what)
			}
			g.commit()
		}
		g.e.Advance(upTo+slack, upTo+slack, func(string) int64 { return upTo + slack })
		g.commit()
		var got []string
		for _, s := range g.out {
			when, what, _ := strings.Cut(s, " ")
			switch {
			case strings.HasPrefix(what, "hit"):
				what = "hit"
			case strings.HasPrefix(what, "end"):
				what = "end"
			default:
				what = "more"
			}
			kinds[what]++
			got = append(got, when+" "+what)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d, %+v: %s", seed, r.Sums(), differ(got, want))
		}
	}
	if kinds["hit"] < 400 || kinds["end"] < 400 || kinds["more"] < 100 {
		t.Errorf("the histories hold little: %v", maps.Collect(maps.All(kinds)))
	}
}
