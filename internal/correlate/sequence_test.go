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

func jobs(within int64) rule.Rule {
	r := rule.New()
	r.ID, r.Name, r.Kind, r.WithinSeconds = 3, "jobs", rule.KindSequence, within
	r.Steps = []string{`job (?P<id>\w+) begins`, `job $id is loaded`, `job $id is done`}
	return r
}

func TestSequenceMissing(t *testing.T) {
	g := newRig(t, jobs(60))
	g.line(web, 0, "job a begins")
	g.line(web, 1, "job b begins")
	g.line(web, 2, "job b is done") // not in its turn
	g.line(web, 10, "job a is loaded")
	g.line(web, 20, "job a is done")
	g.line(web, 30, "job b is loaded")
	g.until(62)
	g.want()
	g.until(63)
	g.want("1m1s hit [id=b]: step 3 (job $id is done) didn't come within 1 min (id=b); the last: job b is loaded")
	g.start() // killed
	g.line(web, 90, "job b is done")
	g.until(92)
	g.want("1m30s end [id=b]: it was completed after all, in 1 min 29 s")
	// Missed twice, and done in time then.
	g.line(web, 100, "job c begins")
	g.until(163)
	g.line(web, 170, "job c begins")
	g.until(233)
	g.want("2m40s hit [id=c]: step 2 (job $id is loaded) didn't come within 1 min (id=c); the last: job c begins", "3m50s hit [id=c]: step 2 (job $id is loaded) didn't come within 1 min (id=c); the last: job c begins")
	for n, text := range []string{"begins", "is loaded", "is done"} {
		g.line(web, 240+float64(n), "job c "+text)
	}
	g.until(250)
	g.want("4m2s end [id=c]: it was completed again, in 2 s")
	g.until(300)
	for k := range g.rows {
		if k.Rule != 0 {
			t.Errorf("%v is kept", k)
		}
	}
}

func TestSequenceComplete(t *testing.T) {
	r := rule.New()
	r.ID, r.Name, r.Kind, r.WithinSeconds, r.Hit, r.SlowerThanSeconds = 3, "checkpoint", rule.KindSequence, 3600, rule.HitComplete, 30
	r.Steps = []string{"checkpoint starting", "checkpoint complete"}
	g := newRig(t, r)
	g.line(web, 0, "checkpoint starting")
	g.line(web, 5, "checkpoint complete")
	g.line(web, 100, "checkpoint starting") // the program is killed
	g.line(web, 500, "checkpoint starting")
	g.line(web, 540, "checkpoint complete")
	g.line(web, 550, "checkpoint complete")
	g.until(600)
	g.want("9m0s hit: 2 steps in 40 s: checkpoint complete")
	r.SlowerThanSeconds, r.WithinSeconds, r.Steps = 0, 60, []string{"failed", "failed", "success"}
	g = newRig(t, r)
	for n, text := range []string{"failed", "success", "failed", "success", "failed", "failed", "success"} {
		g.line(web, float64(n), text)
	}
	g.until(100)
	// A line is one step, not two.
	g.want("3s hit: 3 steps in 3 s: success", "6s hit: 3 steps in 2 s: success")
}

func TestSequenceUntil(t *testing.T) {
	r := jobs(60)
	r.Until = []string{"job $id is cancelled", "shutting down"}
	g := newRig(t, r)
	for n, text := range []string{"job a begins", "job b begins", "job c begins", "job a is cancelled"} {
		g.line(web, float64(n), text)
	}
	g.until(62)
	g.want()
	g.until(63)
	g.want("1m1s hit [id=b]: step 2 (job $id is loaded) didn't come within 1 min (id=b); the last: job b begins")
	g.line(web, 62, "shutting down")
	g.until(100)
	g.want("1m2s end [id=b]: it isn't waited for any more: shutting down")
}

func TestSequenceOnStop(t *testing.T) {
	for onStop, want := range map[string][2]string{
		rule.StopWait:   {"", "1m0s hit [id=a]: step 2 (job $id is loaded) didn't come within 1 min (id=a); the last: job a begins"},
		rule.StopForget: {"", ""},
		rule.StopHit:    {"10s hit [id=a]: step 2 (job $id is loaded) didn't come before the container ended (id=a); the last: job a begins", ""},
	} {
		r := jobs(60)
		r.OnStop = onStop
		g := newRig(t, r)
		g.e.Started(web, 0)
		g.line(web, 0, "job a begins")
		g.e.Stopped(web.ID, int64(10e9))
		g.until(50)
		g.want(slices.DeleteFunc([]string{want[0]}, func(s string) bool { return s == "" })...)
		g.until(70)
		g.want(slices.DeleteFunc([]string{want[1]}, func(s string) bool { return s == "" })...)
	}
	// A container that is removed can't complete anything any more.
	g := newRig(t, jobs(60))
	g.line(web, 0, "job a begins")
	g.e.Gone(web.ID, int64(10e9))
	g.commit()
	g.want("10s hit [id=a]: step 2 (job $id is loaded) didn't come before the container ended (id=a); the last: job a begins")
}

// TestQuotedValues has a value be known in another place, whatever the group could match
// there besides.
func TestQuotedValues(t *testing.T) {
	r := jobs(60)
	r.Steps = []string{`user "(?P<user>[^"]*)" begins`, `end: user=$user from`}
	g := newRig(t, r)
	g.line(web, 0, `user "eve" begins`)
	g.line(web, 0, `user "bob from x" begins`)
	g.line(web, 1, "end: user=eve from here, from there")
	g.line(web, 1, "end: user=bob from x from there")
	g.until(100)
	g.want()
	l := rule.New()
	l.ID, l.Name, l.Pattern, l.By, l.Clear = 5, "disk", `disk "(?P<dev>[^"]*)" failed`, []string{"$dev"}, []string{"$dev is back"}
	g = newRig(t, l)
	g.line(web, 1, "sda is back, which is back")
	g.want("1s end [dev=\"sda is back, which\"]: a line says so: sda is back, which is back", "1s end [dev=sda]: a line says so: sda is back, which is back")
}

// TestSequenceByFields pairs lines by a field that each of them has.
func TestSequenceByFields(t *testing.T) {
	r := jobs(60)
	r.Steps, r.By = []string{"where event = begin", "where event = end\nwhere code = 0"}, []string{"job.id"}
	g := newRig(t, r)
	g.line(web, 0, `{"event":"begin","job":{"id":7}}`)
	g.line(web, 1, `{"event":"begin","job":{"id":8}}`)
	g.line(web, 2, `{"event":"end","job":{"id":7},"code":0}`)
	g.line(web, 3, `{"event":"end","job":{"id":8},"code":1}`)
	g.until(70)
	g.want(`1m1s hit [job.id=8]: step 2 (where event = end) didn't come within 1 min (job.id=8); the last: {"event":"begin","job":{"id":8}}`)
}

func TestChange(t *testing.T) {
	r := rule.New()
	r.ID, r.Name, r.Kind, r.Pattern, r.Field, r.Per = 4, "version", rule.KindChange, `version (?P<v>\S+)`, "$v", rule.PerWorkload
	g := newRig(t, r)
	g.line(web, 0, "version 1.2")
	g.line(web, 10, "version 1.2")
	g.line(Container{ID: "c2", Name: "web", Workload: web.Workload}, 20, "version 1.3")
	g.line(web, 20.5, "nothing")
	g.start() // killed
	g.until(21)
	g.want()
	g.until(22)
	g.want(`20s hit: $v is "1.3", and was "1.2": version 1.3`)
	// In the order of their times.
	g.line(web, 31, "version 1.5")
	g.line(web, 30, "version 1.4")
	g.until(100)
	g.want(`30s hit: $v is "1.4", and was "1.3": version 1.4`, `31s hit: $v is "1.5", and was "1.4": version 1.5`)
}

// TestClear ends what is open by a line, of one key or of all.
func TestClear(t *testing.T) {
	r := count(2, 60)
	r.By, r.Clear = []string{"$ip"}, []string{"unblocked $ip", "all is well"}
	g := newRig(t, r)
	hit := func(sec float64, ip string) {
		g.t.Helper()
		g.line(web, sec, "failed for bob from "+ip)
		g.line(web, sec+1, "failed for bob from "+ip)
		if len(g.out) != 1 || !strings.Contains(g.out[0], "hit [ip="+ip+"]") {
			g.t.Errorf("%v", g.out)
		}
		g.out = nil
	}
	hit(0, "a")
	hit(2, "b")
	g.line(web, 5, "unblocked b")
	g.want("5s end [ip=b]: a line says so: unblocked b")
	hit(6, "b") // anew
	g.line(web, 10, "all is well")
	g.want("10s end [ip=a]: a line says so: all is well", "10s end [ip=b]: a line says so: all is well")
	g.line(web, 9, "failed for bob from a") // late: from before
	g.line(web, 11, "failed for bob from a")
	g.want()
	hit(100, "a")
	g.line(web, 100.5, "all is well") // there was a match behind it
	g.want()
	g.until(1000)
	g.want("3m41s end [ip=a]: less than half of 2 within 1 min")
	for k, v := range g.rows {
		if k.Rule != 0 {
			t.Errorf("%v is kept: %s", k, v)
		}
	}
	// A heartbeat that isn't waited for any more.
	a := absent(60)
	a.Clear = []string{"no more backups"}
	g = newRig(t, a)
	g.e.Started(web, 0)
	g.line(web, 10, "backup of shop done")
	g.until(72)
	g.line(web, 80, "no more backups")
	g.until(500)
	g.want("1m10s hit: no match for 1 min; the last: backup of shop done", "1m20s end: a line says so: no more backups")
	// What is open of a rule of kind line isn't known here: all of it ends.
	l := rule.New()
	l.ID, l.Name, l.Pattern, l.By, l.Clear = 5, "disk", `disk (?P<dev>\w+) failed`, []string{"$dev"}, []string{"disk $dev is back"}
	g = newRig(t, l)
	g.line(web, 0, "disk sda failed")
	g.line(web, 1, "disk sda is back")
	g.want("1s end [dev=sda]: a line says so: disk sda is back")
}

// oracle says what a rule of kind sequence gives for steps in the order of their times,
// without any state but the list.
func sequenceOracle(r *rule.Rule, events []pending, by string, end int64) (out []string) {
	say := func(what string, at int64) { out = append(out, fmt.Sprintf("%s %s %s", time.Duration(at), what, by)) }
	began, step := int64(-1), 0
	open, missedStep := false, 0
	within := int64(r.Within())
	giveUp := func(now int64) {
		if began < 0 || began+within > now {
			return
		}
		if r.Hit == rule.HitMissing {
			say("hit", began+within)
			open, missedStep = true, step
		}
		began, step = -1, 0
	}
	for _, ev := range events {
		giveUp(ev.At - 1)
		switch {
		case began >= 0 && ev.N == step:
			if step++; step == len(r.Steps) {
				if r.Hit == rule.HitComplete {
					say("hit", ev.At)
				} else if open {
					say("end", ev.At)
					open = false
				}
				began, step = -1, 0
			}
		case ev.N == 0 && (began < 0 || r.Hit == rule.HitComplete && step == 1):
			began, step = ev.At, 1
		case open && ev.N == missedStep:
			if missedStep++; missedStep == len(r.Steps) {
				say("end", ev.At)
				open = false
			}
		}
	}
	giveUp(end)
	return out
}

// TestSequencesAgreeWithAnOracle has random steps come a little out of order, with kills
// in between.
func TestSequencesAgreeWithAnOracle(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 8))
	texts := []string{"job %s begins", "job %s is loaded", "job %s is done"}
	for round := range 300 {
		r := jobs(int64(5 + rnd.IntN(60)))
		if round%2 == 1 {
			r.Hit = rule.HitComplete
		}
		g := newRig(t, r)
		r.Steps = g.rules[3].Steps
		type line struct {
			at, comes int64
			n         int
			by        string
		}
		var lines []line
		now := int64(1e12)
		for range 60 {
			now += rnd.Int64N(int64(8e9)) + 1
			lines = append(lines, line{now, now + rnd.Int64N(slack/2), []int{0, 0, 1, 1, 2, 2}[rnd.IntN(6)], string("ab"[rnd.IntN(2)])})
		}
		end := now + int64(3600e9)
		want := []string{}
		for _, by := range []string{"a", "b"} {
			var events []pending
			for _, l := range lines {
				if l.by == by {
					events = append(events, pending{At: l.at, N: l.n})
				}
			}
			want = append(want, sequenceOracle(&r, events, by, end)...)
		}
		slices.SortStableFunc(lines, func(a, b line) int { return int(a.comes - b.comes) })
		for _, l := range lines {
			if rnd.IntN(3) == 0 {
				g.until(float64(l.comes-slack/2) / 1e9)
			}
			if rnd.IntN(4) == 0 {
				g.start()
			}
			g.lineAt(web, l.at, fmt.Sprintf(texts[l.n], l.by))
		}
		g.until(float64(end+slack) / 1e9)
		got := []string{}
		for _, o := range g.out {
			f := strings.Fields(o)
			what, by := f[1], ""
			by = strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(f[len(f)-1], "[id="), "]"), ":")
			for _, w := range f {
				if strings.HasPrefix(w, "[id=") {
					by = strings.Trim(strings.TrimPrefix(w, "[id="), "]:")
				}
			}
			got = append(got, fmt.Sprintf("%s %s %s", f[0], what, by))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("round %d\ngot  %q\nwant %q", round, got, want)
		}
	}
}

// TestOneStepALine has a line that could be two steps be the later one alone.
func TestOneStepALine(t *testing.T) {
	r := jobs(1800)
	r.Steps = []string{`job (?P<id>\d+)`, `job $id is done`}
	g := newRig(t, r)
	g.line(web, 0, "job 7 begins")
	g.line(web, 300, "job 7 is done")
	g.until(4000)
	g.want()
	r.Steps, r.Hit, r.WithinSeconds = []string{"failed", "failed"}, rule.HitComplete, 60
	g = newRig(t, r)
	for n := range 5 {
		g.line(web, float64(n), "failed")
	}
	g.until(100)
	g.want("1s hit: 2 steps in 1 s: failed", "3s hit: 2 steps in 1 s: failed")
}

// TestClearOfSequences counts what was done before the line, and ends what is open however
// long ago it was.
func TestClearOfSequences(t *testing.T) {
	r := jobs(60)
	r.Steps, r.Hit, r.Clear = []string{"failed", "login ok"}, rule.HitComplete, []string{"logout"}
	g := newRig(t, r)
	g.line(web, 0, "failed")
	g.line(web, 1, "login ok")
	g.line(web, 2, "logout")
	g.line(web, 3, "failed")
	g.line(web, 4, "logout")
	g.line(web, 5, "login ok")
	g.until(100)
	g.want("1s hit: 2 steps in 1 s: login ok", "2s end: a line says so: logout", "4s end: a line says so: logout")
	c := rule.New()
	c.ID, c.Name, c.Kind, c.Pattern, c.Field, c.Clear = 4, "version", rule.KindChange, `version (?P<v>\S+)`, "$v", []string{"rollout ok"}
	g = newRig(t, c)
	g.line(web, 0, "version 1.2")
	g.line(web, 5, "version 1.3")
	g.line(web, 10, "rollout ok")
	g.until(100)
	g.want("10s end: a line says so: rollout ok", `5s hit: $v is "1.3", and was "1.2": version 1.3`)
}

// TestStoodBetween has time in which nothing was evaluated give no hit, though what began
// before it is known only then.
func TestStoodBetween(t *testing.T) {
	g := newRig(t, jobs(1800))
	g.line(web, 0, "job a begins")
	g.e.Stood(time.Hour, int64(3601e9))
	g.until(3700)
	g.want()
	g.until(1800 + 3600 + 2)
	g.want("1h30m0s hit [id=a]: step 2 (job $id is loaded) didn't come within 30 min (id=a); the last: job a begins")
	a := absent(300)
	g = newRig(t, a)
	g.e.Started(web, 0)
	g.line(web, 10, "backup of shop done")
	g.e.Stood(time.Hour, int64(3620e9))
	for _, sec := range []float64{70, 130} { // written into the pipe, which was full then
		g.line(web, sec, "backup of shop done")
	}
	g.line(web, 3630, "backup of shop done")
	g.until(3800)
	g.want()
}
