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

// wrote is a line that a container wrote.
type wrote struct {
	at   int64
	c    int
	text string
}

// readers are containers whose lines are read at different speeds, up to a time.
type readers struct {
	lines [][]wrote // of each
	next  []int     // of these
	now   int64
}

func (r *readers) atEnd(c int) bool { return r.next[c] == len(r.lines[c]) }

// upTo is up to when a container's lines are read.
func (r *readers) upTo(c int) int64 {
	switch {
	case r.atEnd(c):
		return r.now
	case r.next[c] == 0:
		return 0
	}
	return r.lines[c][r.next[c]-1].at
}

func (r *readers) clocks() (behind []Behind, all int64, of map[string]int64) {
	all, of = r.now, map[string]int64{}
	for c := range r.lines {
		k, v := replica(c), Behind{ID: replica(c).ID, UpTo: r.upTo(c)}
		if r.next[c] > 0 {
			v.Rules = &rule.Container{Workload: k.Workload, Name: k.Name}
		}
		behind = append(behind, v)
		all, of[k.ID] = min(all, v.UpTo), v.UpTo
	}
	return behind, all, of
}

// saidOf returns hits and ends, sorted, and how many matches came behind hits, by values.
func saidOf(out []string) (all []string, more map[string]int64) {
	more = map[string]int64{}
	for _, s := range out {
		_, what, _ := strings.Cut(s, " ")
		if n, by := int64(0), ""; !strings.HasPrefix(what, "hit") && !strings.HasPrefix(what, "end") {
			fmt.Sscanf(what, "%d more%s", &n, &by)
			more[by] += n
			continue
		}
		all = append(all, s)
	}
	slices.Sort(all)
	return all, more
}

// TestReadAtDifferentSpeeds has lines of several containers that a rule adds up, read at
// whatever speeds, and killed in between, give what they give in the order of time.
func TestReadAtDifferentSpeeds(t *testing.T) {
	ab := func(format string) []string {
		return []string{fmt.Sprintf(format, "a"), fmt.Sprintf(format, "b")}
	}
	with := func(r rule.Rule, set func(*rule.Rule)) rule.Rule { set(&r); return r }
	version := rule.New()
	version.ID, version.Name, version.Kind, version.Pattern, version.Field = 6, "version", rule.KindChange, `version (?P<v>\S+)`, "$v"
	kinds := map[string]struct {
		rule  rule.Rule
		lines []string
		gap   time.Duration
	}{
		"count":    {with(count(3, 20), func(r *rule.Rule) { r.By, r.Clear = []string{"$ip"}, []string{"unblocked $ip"} }), slices.Concat(ab("failed for bob from %s"), ab("failed for eve from %s"), ab("unblocked %s")), 8 * time.Second},
		"distinct": {with(count(2, 20), func(r *rule.Rule) { r.By, r.Distinct = []string{"$ip"}, "$user" }), slices.Concat(ab("failed for bob from %s"), ab("failed for eve from %s")), 30 * time.Second},
		"absent":   {with(absent(60), func(r *rule.Rule) { r.By = []string{"$db"} }), ab("backup of %s done"), 60 * time.Second},
		"started":  {with(absent(60), func(r *rule.Rule) { r.Arm, r.GraceSeconds, r.Clear = rule.ArmStart, 0, []string{"never mind"} }), append(ab("backup of %s done"), "never mind"), 80 * time.Second},
		"sequence": {with(jobs(60), func(r *rule.Rule) { r.Clear = []string{"all is well"} }), slices.Concat(ab("job %s begins"), ab("job %s is loaded"), ab("job %s is done"), []string{"all is well"}), 20 * time.Second},
		"complete": {with(jobs(300), func(r *rule.Rule) { r.Hit = rule.HitComplete }), slices.Concat(ab("job %s begins"), ab("job %s is loaded"), ab("job %s is done")), 20 * time.Second},
		"change":   {version, ab("version %s"), 10 * time.Second},
		"ratio":    {ratio("50%", 3, 20), []string{"a 500", "a 200"}, 10 * time.Second},
		"spike":    {spike(2, "1", 60), []string{"ERROR something", "nothing", "nothing", "nothing"}, 20 * time.Second},
	}
	for name, k := range kinds {
		hits, waited := 0, 0
		for seed := range uint64(15) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			r := k.rule
			r.Per = []string{rule.PerWorkload, rule.PerRule}[rnd.IntN(2)]
			start := func() *rig {
				g := newRig(t, r)
				if name == "spike" {
					g.e.Seed(g.rules[r.ID], Before{})
				}
				for c := range 3 {
					g.e.Started(replica(c), 1)
				}
				g.commit()
				return g
			}
			sorted, slow := start(), start()
			read := readers{lines: make([][]wrote, 3), next: make([]int, 3), now: 1e9}
			for n := range 150 {
				c, text := rnd.IntN(3), k.lines[rnd.IntN(len(k.lines))]
				if left := 150 - n; left > len(k.lines) {
					read.now += 1 + rnd.Int64N(int64(k.gap))
				} else { // nothing is missing when they stop
					read.now += 1 + rnd.Int64N(int64(time.Second))
					text = k.lines[left-1]
				}
				read.lines[c] = append(read.lines[c], wrote{read.now, c, text})
				sorted.lineAt(replica(c), read.now, text)
			}
			read.now += int64(time.Hour)
			stops := rnd.IntN(2) == 0
			if stops {
				for c := range 3 {
					sorted.e.Stopped(replica(c).ID, read.now)
				}
			}
			sorted.until(float64(read.now) / 1e9)
			speeds, stopped, gone := []int{1 + rnd.IntN(40), 1 + rnd.IntN(40), 1}, map[int]bool{}, map[int]bool{}
			for done := false; !done; {
				before := slices.Clone(read.next)
				var inputs []wrote
				take := func() {
					c := rnd.IntN(3)
					n := min(rnd.IntN(speeds[c]+1), len(read.lines[c])-read.next[c])
					inputs = append(inputs, read.lines[c][read.next[c]:read.next[c]+n]...)
					read.next[c] += n
				}
				take()
				behind, all, of := read.clocks()
				take() // others came until then
				slow.e.Behind(read.now, behind)
				for _, l := range inputs {
					slow.read(replica(l.c), l.at, l.text)
				}
				if rnd.IntN(4) == 0 { // killed before it was stored
					read.next = before
					clear(stopped)
					clear(gone)
					slow.start()
					continue
				}
				done = true
				for c := range 3 {
					done = done && read.atEnd(c) && of[replica(c).ID] == read.now
					if stops && read.atEnd(c) && !stopped[c] {
						slow.e.Stopped(replica(c).ID, read.now)
						stopped[c] = true
					}
					if stops && read.atEnd(c) && rnd.IntN(10) == 0 && !gone[c] {
						slow.e.Gone(replica(c).ID, read.now)
						gone[c] = true
					}
				}
				if done || rnd.IntN(2) == 0 {
					slow.e.Advance(read.now, all, func(id string) int64 { return of[id] })
				}
				slow.commit()
				waited += len(slow.e.early.all)
				if rnd.IntN(4) == 0 {
					slow.start()
					clear(stopped)
					clear(gone)
				}
			}
			got, gotMore := saidOf(slow.out)
			want, wantMore := saidOf(sorted.out)
			if !slices.Equal(got, want) || fmt.Sprint(gotMore) != fmt.Sprint(wantMore) {
				t.Fatalf("%s, seed %d: %s\n%v, want %v", name, seed, differ(got, want), gotMore, wantMore)
			}
			hits += len(want)
			for key, row := range slow.rows {
				if strings.HasPrefix(key.Scope, earlyScope) {
					t.Errorf("%s is kept: %s", key.Scope, row)
				}
			}
			if late := slow.e.TakeLate(); len(late) > 0 {
				t.Errorf("late: %v", late)
			}
		}
		if hits < 40 || waited < 1000 {
			t.Errorf("%s: the histories hold little: %d, %d", name, hits, waited)
		}
	}
}

// behind has a replica be behind, up to so many seconds, and another one not.
func (r *rig) behind(c int, upTo float64) {
	k := replica(c)
	r.e.Behind(int64(1e15), []Behind{{ID: k.ID, Rules: &rule.Container{Workload: k.Workload, Name: k.Name}, UpTo: int64(upTo * 1e9)}})
}

// TestEarly shows what waits, and for whom.
func TestEarly(t *testing.T) {
	r := count(2, 60)
	r.Per = rule.PerWorkload
	own := count(1, 60)
	own.ID, own.Name = 9, "own"
	g := newRig(t, r, own)
	line := "failed for root from 192.0.2.7"
	g.behind(2, 100)
	g.line(replica(1), 200, line) // own doesn't wait
	g.line(replica(1), 210, line)
	g.line(Container{ID: "x", Name: "db", Workload: "shop/db"}, 200, line)
	g.line(Container{ID: "x", Name: "db", Workload: "shop/db"}, 210, line)
	g.want("3m20s hit: 1 matches in less than a second: "+line, "3m30s 1 more",
		"3m20s hit: 1 matches in less than a second: "+line, "3m30s hit: 2 matches in 10 s: "+line, "3m30s 1 more")
	if !g.e.Waits() {
		t.Error("nothing waits for time")
	}
	g.e.Gone(replica(1).ID, int64(300e9)) // what it wrote counts all the same
	g.commit()
	g.out = nil
	g.start()
	g.behind(2, 205)
	g.line(replica(2), 201, line)
	g.out = slices.DeleteFunc(g.out, func(s string) bool { return strings.Contains(s, " 1 matches in ") })
	g.want("3m21s hit: 2 matches in 1 s: " + line)
	g.e.Behind(int64(1e15), []Behind{{ID: "of which nothing is known yet"}})
	g.line(replica(2), 206, line)
	g.out = nil
	g.e.Behind(int64(1e15), nil)
	g.commit()
	g.want("3m30s 2 more")
	g.e.Gone(replica(1).ID, int64(300e9))
	g.commit()
	for k := range g.rows {
		if k == containerKey(replica(1).ID) || strings.HasPrefix(k.Scope, earlyScope) {
			t.Errorf("%v is kept", k)
		}
	}
}

// TestEarlyOfAnotherMeaning has matches that wait be forgotten where their rule means
// another thing.
func TestEarlyOfAnotherMeaning(t *testing.T) {
	r := count(1, 60)
	r.Per = rule.PerWorkload
	for _, killed := range []bool{false, true} {
		g := newRig(t, r)
		g.behind(2, 100)
		g.line(replica(1), 200, "failed for root from 192.0.2.7")
		g.e.Gone(replica(1).ID, int64(200e9))
		g.commit()
		if len(g.e.early.of) != 1 || g.rows[containerKey(replica(1).ID)] == nil {
			t.Errorf("%v", g.rows)
		}
		changed := r
		changed.Pattern = "failed"
		g.use(changed)
		if killed {
			g.start()
			g.e.Gone(replica(1).ID, int64(300e9))
		} else {
			g.e.SetRules(g.snapshot, int64(300e9))
		}
		g.behind(2, 300)
		g.commit()
		g.want()
		if len(g.e.early.all)+len(g.e.early.of)+g.e.early.size > 0 || len(g.rows) != 0 {
			t.Errorf("%+v, %v", g.e.early, g.rows)
		}
	}
}

// TestEarlyIsBounded has time go on where too much waits, and what comes too late then be
// counted.
func TestEarlyIsBounded(t *testing.T) {
	r := count(5000, 600)
	r.Per = rule.PerWorkload
	const text = "failed for root from 192.0.2.7"
	for _, record := range []string{"", strings.Repeat("x", 4000)} {
		g := newRig(t, r)
		g.behind(2, 1)
		most := 0
		for n := range 2 * maxEarly {
			c := replica(1)
			g.e.Match(&c, &rule.Match{Rule: g.rules[1], TimeNano: int64(100e9) + int64(n)*1e6, Stream: "stdout", Text: text, Record: record})
			if n%100 == 0 {
				g.commit()
				if most = max(most, len(g.e.early.all)); g.e.early.size > maxEarlySize || len(g.e.early.all) > maxEarly {
					t.Fatalf("%d wait, %d bytes", len(g.e.early.all), g.e.early.size)
				}
			}
		}
		if most < 3000 || len(g.out) == 0 || !strings.Contains(g.out[0], "hit: 5000 matches") {
			t.Errorf("%d waited at most: %v", most, g.out[:min(len(g.out), 1)])
		}
		if late := g.e.TakeLate(); len(late) != 0 {
			t.Errorf("late: %v", late)
		}
		g.line(replica(2), 50, text)
		if late := g.e.TakeLate(); late[1] != 1 {
			t.Errorf("late: %v", late)
		}
	}
}

// TestEarlySetBack has nothing wait for a time that won't come for years.
func TestEarlySetBack(t *testing.T) {
	r := count(1, 60)
	r.Per = rule.PerWorkload
	g := newRig(t, r)
	g.until(2e8)
	g.behind(2, 5)
	g.line(replica(1), 1e8, "failed for root from 192.0.2.7")
	g.behind(2, 5)
	g.e.Advance(int64(10e9), 0, func(string) int64 { return 0 })
	g.commit()
	g.want("27777h46m40s hit: 1 matches in less than a second: failed for root from 192.0.2.7", "10s end: the clock was set back")
}
