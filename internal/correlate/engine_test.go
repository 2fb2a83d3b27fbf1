package correlate

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"logscan/internal/rule"
	"logscan/internal/shape"
)

// rig is an engine at work, that can be killed.
type rig struct {
	t        *testing.T
	e        *Engine
	snapshot *rule.Snapshot
	rules    map[int64]*rule.Rule
	rows     map[Key][]byte
	out      []string
	outcomes []Outcome // of the latest commit
}

var web = Container{ID: "c1", Name: "web", Workload: "shop/web", Image: "nginx:1"}

func newRig(t *testing.T, rules ...rule.Rule) *rig {
	t.Helper()
	r := &rig{t: t, rules: map[int64]*rule.Rule{}, rows: map[Key][]byte{}}
	r.use(rules...)
	r.start()
	return r
}

func (r *rig) use(rules ...rule.Rule) {
	r.t.Helper()
	for i := range rules {
		if err := rule.Fields.Validate(rules[i]); err != nil {
			r.t.Fatal(err)
		}
	}
	snapshot, bad := rule.Compile(rules)
	if len(bad) > 0 {
		r.t.Fatal(bad)
	}
	r.snapshot = snapshot
	clear(r.rules)
	for _, v := range snapshot.Correlated() {
		r.rules[v.ID] = v
	}
}

// start makes an engine of what is stored.
func (r *rig) start() {
	r.e = New(rule.Bucket{})
	var rows []Row
	for k, b := range r.rows {
		rows = append(rows, Row{k, b})
	}
	if bad := r.e.Load(rows); len(bad) > 0 {
		r.t.Errorf("not readable: %v", bad)
	}
	if bad := r.e.SetRules(r.snapshot, 0); len(bad) > 0 {
		r.t.Errorf("not readable: %v", bad)
	}
}

// commit stores what came.
func (r *rig) commit() {
	out, rows := r.e.Take()
	for _, row := range rows {
		if row.Data == nil {
			delete(r.rows, row.Key)
		} else {
			r.rows[row.Key] = row.Data
		}
	}
	for _, o := range out {
		r.out = append(r.out, say(o))
	}
	r.outcomes = out
}

func say(o Outcome) string {
	by := ""
	if o.By != "" {
		by = " [" + o.By + "]"
	}
	switch {
	case o.Hit != nil:
		return fmt.Sprintf("%s hit%s: %s", at(o.Hit.TimeNano), by, o.Hit.Text)
	case o.More != nil && o.More.Held:
		return fmt.Sprintf("%s held%s: %s", at(o.More.Last), by, o.More.Text)
	case o.More != nil && o.More.OnlyOpen:
		return fmt.Sprintf("%s %d more%s, if open", at(o.More.Last), o.More.Matches, by)
	case o.More != nil:
		return fmt.Sprintf("%s %d more%s", at(o.More.Last), o.More.Matches, by)
	}
	return fmt.Sprintf("%s end%s: %s", at(o.End.TimeNano), by, o.End.Why)
}

func at(nano int64) string { return time.Duration(nano).String() }

func (r *rig) line(c Container, sec float64, text string) {
	r.t.Helper()
	r.lineAt(c, int64(sec*1e9), text)
}

func (r *rig) lineAt(c Container, nano int64, text string) {
	r.t.Helper()
	r.read(c, nano, text)
	r.commit()
}

// read adds up a line, and stores nothing yet.
func (r *rig) read(c Container, nano int64, text string) {
	r.t.Helper()
	m := r.snapshot.ForContainer(rule.Container{Workload: c.Workload, Name: c.Name, Image: c.Image, Labels: c.Labels}).Begin()
	defer m.End()
	var st rule.State
	l := rule.Line{Stream: "stdout", TimeNano: nano, Text: []byte(text)}
	if m.Match(&st, l) {
		m.Admit(&st, l, nil)
	}
	for _, match := range m.TakeMatches() {
		r.e.Match(&c, &match)
	}
}

// until has time pass up to so many seconds.
func (r *rig) until(sec float64) {
	upTo := int64(sec * 1e9)
	r.e.Advance(upTo, upTo, func(string) int64 { return upTo })
	r.commit()
}

func (r *rig) want(lines ...string) {
	r.t.Helper()
	if got, want := strings.Join(r.out, "\n"), strings.Join(lines, "\n"); got != want {
		r.t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	r.out = nil
}

func count(atLeast, within int64) rule.Rule {
	r := rule.New()
	r.ID, r.Name, r.Pattern, r.Kind, r.AtLeast, r.WithinSeconds = 1, "logins", `failed for (?P<user>\w+) from (?P<ip>\S+)`, rule.KindCount, atLeast, within
	return r
}

func absent(seconds int64) rule.Rule {
	r := rule.New()
	r.ID, r.Name, r.Pattern, r.Kind, r.ForSeconds, r.GraceSeconds = 2, "backup", `backup of (?P<db>\w+) done`, rule.KindAbsent, seconds, 60
	return r
}

func TestCount(t *testing.T) {
	r := count(3, 60)
	r.By = []string{"$ip"}
	g := newRig(t, r)
	g.line(web, 0, "failed for root from 192.0.2.7")
	g.line(web, 10, "failed for root from 192.0.2.8")
	g.line(web, 20, "failed for admin from 192.0.2.7")
	g.line(web, 30, "nothing")
	g.want()
	g.line(web, 60, "failed for bob from 192.0.2.7")
	g.want("1m0s hit [ip=192.0.2.7]: 3 matches in 1 min (ip=192.0.2.7): failed for bob from 192.0.2.7")
	g.line(web, 61, "failed for bob from 192.0.2.7")
	g.want("1m1s 1 more [ip=192.0.2.7]")
	// Fewer than half, two, for one minute: one in the last minute from 2m0s on.
	g.until(181)
	g.want()
	g.until(183)
	g.want("3m0s end [ip=192.0.2.7]: less than half of 3 within 1 min")
	g.line(web, 190, "failed for bob from 192.0.2.7")
	g.want()
	if len(g.rows) != 4 { // the container, the bucket is full, two keys and what was seen
		for k, v := range g.rows {
			t.Logf("%v %s", k, v)
		}
	}
}

func TestCountDistinct(t *testing.T) {
	r := count(3, 60)
	r.By, r.Distinct = []string{"$ip"}, "$user"
	g := newRig(t, r)
	for i, user := range []string{"root", "root", "admin", "root", "admin"} {
		g.line(web, float64(i), "failed for "+user+" from 192.0.2.7")
	}
	g.want()
	g.line(web, 10, "failed for bob from 192.0.2.7")
	g.want("10s hit [ip=192.0.2.7]: 3 values of $user in 7 s (ip=192.0.2.7): failed for bob from 192.0.2.7")
}

func TestCountOfAWorkload(t *testing.T) {
	other := Container{ID: "c2", Name: "web2", Workload: "shop/web"}
	third := Container{ID: "c3", Name: "db", Workload: "shop/db"}
	r := count(2, 60)
	r.Per = rule.PerWorkload
	g := newRig(t, r)
	g.line(web, 0, "failed for root from 192.0.2.7")
	g.line(third, 1, "failed for root from 192.0.2.7")
	g.want()
	g.line(other, 2, "failed for root from 192.0.2.7")
	g.want("2s hit: 2 matches in 2 s: failed for root from 192.0.2.7")
	r.Per = rule.PerRule
	g = newRig(t, r)
	g.line(web, 0, "failed for root from 192.0.2.7")
	g.line(third, 1, "failed for root from 192.0.2.7")
	g.want("1s hit: 2 matches in 1 s: failed for root from 192.0.2.7")
}

func TestAbsent(t *testing.T) {
	g := newRig(t, absent(60))
	g.e.Started(web, 0)
	g.until(1000)
	g.want() // armed by the first
	g.line(web, 1000, "backup of shop done")
	g.until(1061)
	g.want()
	g.until(1062)
	g.want("17m40s hit: no match for 1 min; the last: backup of shop done")
	g.until(2000)
	g.want() // once
	g.line(web, 2000, "backup of shop done")
	g.until(2003)
	g.want("33m20s end: there was a match again, after 16 min")
	// Missed and made up for while nobody looked.
	g.line(web, 2070, "backup of shop done")
	g.line(web, 2100, "backup of shop done")
	g.want("34m20s hit: no match for 1 min; the last: backup of shop done", "34m30s end: there was a match again, after 1 min 10 s")
	g.e.Stopped(web.ID, int64(2101e9))
	g.until(9000)
	g.want()
	g.e.Started(web, int64(9000e9))
	g.until(9121)
	g.want()
	g.until(9122)
	g.want("2h32m0s hit: no match for 1 min; the last: backup of shop done")
	g.e.Stopped(web.ID, int64(9200e9))
	g.commit()
	g.want("2h33m20s end: no container runs any more")
	g.e.Gone(web.ID, int64(9300e9))
	g.commit()
	for k, v := range g.rows {
		if k != seenKey {
			t.Errorf("%v is kept: %s", k, v)
		}
	}
}

// TestAbsentInHours has nothing be missed outside of a rule's hours, and a match be waited
// for anew when they begin.
func TestAbsentInHours(t *testing.T) {
	r := absent(600)
	r.Active = "Thu-Fri 08:00-18:00" // 1970 begins with a Thursday
	const hour = 3600.0
	g := newRig(t, r)
	g.e.Started(web, 0)
	g.line(web, 17.9*hour, "backup of shop done")
	g.until(24*hour + 8*hour + 600 + 1)
	g.want()
	g.until(24*hour + 8*hour + 600 + 2)
	g.want("32h10m0s hit: no match for 10 min; the last: backup of shop done")
	g.line(web, 24*hour+17*hour, "backup of shop done")
	g.line(web, 24*hour+17.5*hour, "backup of shop done")
	g.until(24*hour + 17.51*hour)
	g.want("41h0m0s end: there was a match again, after 23 h", "41h10m0s hit: no match for 10 min; the last: backup of shop done", "41h30m0s end: there was a match again, after 30 min")
	for _, h := range []float64{17.6, 17.75, 17.9} {
		g.line(web, 24*hour+h*hour, "backup of shop done")
	}
	g.until(6 * 24 * hour)
	g.want()
}

func TestAbsentFromTheStart(t *testing.T) {
	r := absent(60)
	r.Arm = rule.ArmStart
	g := newRig(t, r)
	g.e.Started(web, int64(10e9))
	g.until(131)
	g.want()
	g.start() // killed
	g.until(132)
	g.want("2m10s hit: no match for 1 min")
	// A container that runs when the rule comes.
	g = newRig(t)
	g.e.Started(web, int64(10e9))
	g.commit()
	g.use(r)
	g.e.SetRules(g.snapshot, int64(100e9))
	g.until(221)
	g.want()
	g.until(222)
	g.want("3m40s hit: no match for 1 min")
}

func TestAbsentOfAWorkload(t *testing.T) {
	other := Container{ID: "c2", Name: "web2", Workload: "shop/web"}
	r := absent(60)
	r.Per = rule.PerWorkload
	g := newRig(t, r)
	g.e.Started(web, 0)
	g.e.Started(other, 0)
	g.line(web, 10, "backup of shop done")
	g.e.Stopped(web.ID, int64(11e9))
	g.line(other, 60, "backup of shop done")
	g.until(121)
	g.want()
	g.until(122)
	g.want("2m0s hit: no match for 1 min; the last: backup of shop done")
}

func TestStood(t *testing.T) {
	g := newRig(t, absent(60))
	g.e.Started(web, 0)
	g.line(web, 10, "backup of shop done")
	g.e.Stood(time.Hour, int64(3610e9))
	g.until(3671)
	g.want()
	g.until(3672)
	g.want("1h1m10s hit: no match for 1 min; the last: backup of shop done")
}

// TestLeave has a rule of kind absent wait no more where it isn't in effect any more.
func TestLeave(t *testing.T) {
	r := absent(60)
	g := newRig(t, r)
	db := Container{ID: "c3", Name: "db", Workload: "shop/db"}
	for _, c := range []Container{web, db} {
		g.e.Started(c, 0)
		g.line(c, 10, "backup of shop done")
	}
	o := absent(600)
	o.ID, o.Name, o.WorkloadID, o.OverridesID = 9, "other", web.Workload, r.ID
	g.use(r, o)
	g.e.SetRules(g.snapshot, int64(11e9))
	g.until(500)
	g.want("1m10s hit: no match for 1 min; the last: backup of shop done") // of db alone
	r.Images = []string{"postgres:*"}
	g.use(r, o)
	g.e.SetRules(g.snapshot, int64(501e9))
	g.commit()
	g.want("8m21s end: the rule isn't for it any more")
}

// TestWorkloadWithoutContainers has a job's container be removed after each run: what it
// has to say is waited for all the same, whatever becomes of other rules.
func TestWorkloadWithoutContainers(t *testing.T) {
	r := absent(3600)
	r.Per, r.WhenStopped = rule.PerWorkload, rule.StoppedHit
	g := newRig(t, r)
	g.e.Started(web, 0)
	g.line(web, 10, "backup of shop done")
	g.e.Gone(web.ID, int64(20e9))
	g.use(r, count(3, 60))
	g.e.SetRules(g.snapshot, int64(30e9))
	g.commit()
	g.start()
	g.until(3612)
	g.want("1h0m10s hit: no match for 1 h; the last: backup of shop done")
	r.WorkloadID = "another"
	g.use(r)
	g.e.SetRules(g.snapshot, int64(4000e9))
	g.commit()
	g.want("1h6m40s end: the rule isn't for it any more")
}

// TestSetBack has the clock be set back by years: what was counted then is no more in the
// way.
func TestSetBack(t *testing.T) {
	c, a := count(3, 60), absent(60)
	g := newRig(t, c, a)
	g.e.Started(web, 0)
	const ahead = 1e8
	for n := range 3 {
		g.line(web, ahead+float64(n), "failed for root from 192.0.2.7")
	}
	g.line(web, ahead, "backup of shop done")
	g.until(ahead + 5)
	g.out = nil
	g.until(1000)
	g.want("16m40s end: the clock was set back")
	for n := range 3 {
		g.line(web, 1001+float64(n), "failed for root from 192.0.2.7")
	}
	g.line(web, 1002, "backup of shop done")
	g.want("16m43s hit: 3 matches in 2 s: failed for root from 192.0.2.7")
	g.until(1065)
	g.want("17m42s hit: no match for 1 min; the last: backup of shop done")
}

// TestChanges shows what a rule's change does to what is known.
func TestChanges(t *testing.T) {
	r := count(2, 60)
	g := newRig(t, r)
	line := "failed for root from 192.0.2.7"
	g.line(web, 0, line)
	r.Severity, r.WithinSeconds = "critical", 90
	g.use(r)
	g.e.SetRules(g.snapshot, 0)
	g.line(web, 80, line)
	g.want("1m20s hit: 2 matches in 1 min 20 s: " + line)
	r.Pattern = `failed for (?P<user>\w+)`
	g.use(r)
	g.e.SetRules(g.snapshot, int64(81e9))
	g.commit()
	g.want("1m21s end: the rule was changed")
	g.line(web, 82, line)
	g.want()
	g.use()
	g.e.SetRules(g.snapshot, int64(83e9))
	g.commit()
	for k := range g.rows {
		if k.Rule != 0 {
			t.Errorf("%v is kept", k)
		}
	}
	g.start()
}

func TestKeysAreBounded(t *testing.T) {
	r := count(2, 60)
	r.By = []string{"$ip"}
	g := newRig(t, r)
	for n := range MaxKeys + 50 {
		g.line(web, float64(n)/1000, fmt.Sprintf("failed for root from %d", n))
	}
	if n, forgotten := len(g.e.rules[1].keys), g.e.TakeForgotten()[1]; n > MaxKeys || forgotten < 50 {
		t.Errorf("%d keys, %d forgotten", n, forgotten)
	}
	g.line(web, 10.5, "failed for root from 60") // the first ones went
	g.line(web, 10.6, fmt.Sprintf("failed for root from %d", MaxKeys))
	g.want("10.6s hit [ip=10000]: 2 matches in less than a second (ip=10000): failed for root from 10000")
	g.until(100)
	if n := len(g.e.rules[1].keys); n != 1 {
		t.Errorf("%d keys are known although they don't count any more", n)
	}
}

func TestBucket(t *testing.T) {
	r := count(1, 60)
	r.By = []string{"$ip"}
	g := newRig(t, r)
	g.e.bucket = rule.Bucket{Burst: 2, Refill: 2 * time.Second}
	for n := range 4 {
		g.line(web, float64(n)/10, fmt.Sprintf("failed for root from %d", n))
	}
	g.want(
		"0s hit [ip=0]: 1 matches in less than a second (ip=0): failed for root from 0",
		"100ms hit [ip=1]: 1 matches in less than a second (ip=1): failed for root from 1",
		"200ms held [ip=2]: 1 matches in less than a second (ip=2): failed for root from 2",
		"300ms held [ip=3]: 1 matches in less than a second (ip=3): failed for root from 3")
}

func newRule() rule.Rule {
	r := rule.New()
	r.ID, r.Name, r.Pattern, r.Kind = 3, "new errors", `ERROR`, rule.KindNew
	return r
}

func TestNew(t *testing.T) {
	other := Container{ID: "c2", Name: "web2", Workload: "shop/web"}
	db := Container{ID: "c3", Name: "db", Workload: "shop/db"}
	r := newRule()
	r.AtMost = 3
	g := newRig(t, r)
	g.line(web, 1, "ERROR connection to 10.0.0.1 refused")
	g.line(web, 2, "ERROR disk 7 is full")
	g.line(web, 3, "ERROR disk 8 is full")
	g.want() // what was there before isn't known yet
	g.start()
	if all := g.e.Unseeded(); len(all) != 1 || all[0].Rule.ID != 3 {
		t.Fatal(all)
	}
	refused := g.shape("ERROR connection to 10.9.9.9 refused")
	g.e.Seed(g.rules[3], Before{Seen: []Seen{{&web, refused, 1}, {&db, refused, 1}}})
	g.commit()
	g.want("2s hit: ERROR disk 7 is full", "3s 1 more, if open")
	g.start()
	if all := g.e.Unseeded(); len(all) != 0 {
		t.Error(all)
	}
	g.line(other, 4, "ERROR connection to 10.0.0.2 refused")
	g.line(other, 5, "ERROR disk 9 is full")
	g.want("4s 1 more, if open", "5s 1 more, if open") // of the workload, not of the container
	g.line(db, 6, "ERROR disk 9 is full")
	g.line(db, 7, "ERROR something else")
	g.line(db, 8, "ERROR too much now")
	g.want("6s hit: ERROR disk 9 is full", "7s hit: ERROR something else", "8s held: ERROR too much now")
	// A shape that was not seen for so long is new again.
	month := r.Forget().Seconds()
	g.line(web, month-10, "ERROR disk 7 is full")
	g.out = nil
	g.until(month + 5)
	g.line(web, month+6, "ERROR connection to 10.0.0.1 refused")
	g.line(web, month+7, "ERROR disk 7 is full")
	g.want("720h0m6s hit: ERROR connection to 10.0.0.1 refused", "720h0m7s 1 more, if open")
	// It begins anew where it means something else.
	r.Ignore = []string{"x"}
	g.use(r)
	g.e.SetRules(g.snapshot, 0)
	g.commit()
	g.start()
	if all := g.e.Unseeded(); len(all) != 1 {
		t.Error(all)
	}
	g.e.Seed(g.rules[3], Before{})
	g.commit()
	if len(g.rows) > 5 {
		t.Errorf("%d rows: %v", len(g.rows), g.rows)
	}
}

func (r *rig) shape(line string) string { return shape.Of([]byte(line)).String() }

// oracle counts without forgetting anything.
type oracle struct {
	r     rule.Rule
	times []int64
	open  bool
	out   []string
}

func (o *oracle) pass(upTo int64) {
	if !o.open {
		return
	}
	half := int(o.r.AtLeast+1) / 2
	if over := o.times[len(o.times)-half] + 2*int64(o.r.Within()); over <= upTo {
		o.open = false
		o.out = append(o.out, fmt.Sprintf("%s end", at(over)))
	}
}

func (o *oracle) match(t int64) {
	o.pass(t)
	o.times = append(o.times, t)
	slices.Sort(o.times)
	if o.open {
		o.out = append(o.out, fmt.Sprintf("%s more", at(t)))
		return
	}
	n := int(o.r.AtLeast)
	for from := 0; from+n <= len(o.times); from++ {
		first, last := o.times[from], o.times[from+n-1]
		if first <= t && t <= last && last-first <= int64(o.r.Within()) {
			o.open = true
			o.out = append(o.out, fmt.Sprintf("%s hit", at(t)))
			return
		}
	}
}

// jittered are times of which each is at most Slack before one that came earlier.
func jittered(rnd *rand.Rand, n int, gap time.Duration) []int64 {
	times := make([]int64, n)
	now := int64(1e9)
	for i := range times {
		now += rnd.Int64N(int64(gap))
		if rnd.IntN(10) == 0 {
			now += rnd.Int64N(20 * int64(gap))
		}
		times[i] = max(1, now-rnd.Int64N(slack))
	}
	return times
}

// TestCountOracle compares with the oracle, and with runs that are killed and whose
// watermark is looked at at other times.
func TestCountOracle(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		r := count(1+rnd.Int64N(6), 1+rnd.Int64N(20))
		times := jittered(rnd, 150, time.Duration(1+rnd.Int64N(5))*time.Second)
		o := &oracle{r: r}
		for _, v := range times {
			o.match(v)
		}
		if got := runCount(t, r, times, rnd); !slices.Equal(got, o.out) {
			t.Fatalf("seed %d, %d in %d s: %s", seed, r.AtLeast, r.WithinSeconds, differ(got, o.out))
		}
	}
}

// differ is the first difference.
func differ(got, want []string) string {
	n := 0
	for n < min(len(got), len(want)) && got[n] == want[n] {
		n++
	}
	from := max(0, n-3)
	return fmt.Sprintf("at %d: got\n%s\nwant\n%s", n, strings.Join(got[from:min(n+3, len(got))], "\n"), strings.Join(want[from:min(n+3, len(want))], "\n"))
}

func runCount(t *testing.T, r rule.Rule, times []int64, rnd *rand.Rand) []string {
	g := newRig(t, r)
	wall := int64(0)
	for _, v := range times {
		wall = max(wall, v)
		switch rnd.IntN(4) {
		case 0:
			g.start() // killed
		case 1:
			// What is written after this is of no earlier time than wall less Slack.
			if g.e.Waits() {
				g.e.Advance(wall, wall, func(string) int64 { return wall })
				g.commit()
			}
		}
		g.lineAt(web, v, "failed for root from 192.0.2.7")
	}
	var out []string
	for _, s := range g.out {
		when, what, _ := strings.Cut(s, " ")
		switch {
		case strings.HasPrefix(what, "hit"):
			out = append(out, when+" hit")
		case strings.HasPrefix(what, "end"):
			out = append(out, when+" end")
		default:
			out = append(out, when+" more")
		}
	}
	return out
}

// TestAbsentOracle compares with what the times say in their order.
func TestAbsentOracle(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		r := absent(5 + rnd.Int64N(20))
		times := jittered(rnd, 100, time.Duration(1+rnd.Int64N(8))*time.Second)
		sorted := slices.Clone(times)
		slices.Sort(sorted)
		var want []string
		for i := 1; i < len(sorted); i++ {
			if sorted[i]-sorted[i-1] > int64(r.For()) {
				want = append(want, at(sorted[i-1]+int64(r.For()))+" hit", at(sorted[i])+" end")
			}
		}
		g := newRig(t, r)
		wall := int64(0)
		for _, v := range times {
			wall = max(wall, v)
			switch rnd.IntN(4) {
			case 0:
				g.start()
			case 1:
				g.e.Advance(wall, wall, func(string) int64 { return wall })
				g.commit()
			}
			g.lineAt(web, v, "backup of shop done")
		}
		g.until(float64(wall)/1e9 + 3)
		var got []string
		for _, s := range g.out {
			when, what, _ := strings.Cut(s, " ")
			what, _, _ = strings.Cut(what, ":")
			got = append(got, when+" "+what)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d, for %d s: %s", seed, r.ForSeconds, differ(got, want))
		}
	}
}

func FuzzDecode(f *testing.F) {
	r := count(3, 60)
	s := &state{times: []int64{1, 2, 3e9}, container: "c", open: true, line: "x"}
	f.Add(s.encode(&r))
	f.Add([]byte(`{"v":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok, _ := decode(b, meaning(&r))
		if !ok {
			return
		}
		if !sort.SliceIsSorted(s.times, func(i, j int) bool { return s.times[i] < s.times[j] }) {
			t.Errorf("out of order: %v", s.times)
		}
		again, ok, _ := decode(s.encode(&r), meaning(&r))
		if !ok || !slices.Equal(again.times, s.times) {
			t.Errorf("%v became %v", s, again)
		}
	})
}

// TestNewOutlivesContainers has a shape stay known to a workload whose container goes,
// and be learned anew where the rule was off, or means another thing.
func TestNewOutlivesContainers(t *testing.T) {
	r := newRule()
	g := newRig(t, r)
	g.e.Seed(g.rules[3], Before{})
	g.line(web, 1, "ERROR disk 7 is full")
	g.out = nil
	g.e.Gone(web.ID, int64(2e9))
	g.commit()
	g.start()
	g.line(Container{ID: "c9", Name: "web", Workload: web.Workload}, 3, "ERROR disk 8 is full")
	g.want("3s 1 more, if open")
	g.use()
	g.e.SetRules(g.snapshot, 0)
	g.use(r)
	g.e.SetRules(g.snapshot, 0)
	g.commit()
	if all := g.e.Unseeded(); len(all) != 1 {
		t.Error("it knows what was there while it was off")
	}
	g.e.Seed(g.rules[3], Before{})
	g.commit()
	r.Pattern = "ERROR|FATAL"
	g.use(r)
	g.start() // killed before the change was noticed
	if all := g.e.Unseeded(); len(all) != 1 {
		t.Error("it knows what it would have matched")
	}
}

// TestKilledEdit has what is open end where its rule was changed, or went, before a kill.
func TestKilledEdit(t *testing.T) {
	r := absent(60)
	g := newRig(t, r)
	g.e.Started(web, 0)
	g.line(web, 10, "backup of shop done")
	g.until(100)
	g.out = nil
	rows := maps.Clone(g.rows)
	r.Pattern = "backup .* done"
	g.use(r)
	g.start()
	g.commit()
	g.want("0s end: the rule was changed")
	g.rows = rows
	g.use()
	g.start()
	g.commit()
	g.want("0s end: the rule was removed or switched off")
}

// TestShorterFor has a rule that waits less long now not wait for what it was.
func TestShorterFor(t *testing.T) {
	r := absent(3600)
	g := newRig(t, r)
	g.e.Started(web, 0)
	g.line(web, 10, "backup of shop done")
	g.until(20)
	r.ForSeconds = 60
	g.use(r)
	g.e.SetRules(g.snapshot, int64(30e9))
	g.until(73)
	g.want("1m10s hit: no match for 1 min; the last: backup of shop done")
}

// TestRemovedContainerIsNamed has an alarm about a job that didn't run say which container
// ran last.
func TestRemovedContainerIsNamed(t *testing.T) {
	r := absent(60)
	r.Per, r.WhenStopped = rule.PerWorkload, rule.StoppedHit
	g := newRig(t, r)
	c := web
	c.Labels = map[string]string{"team": "ops"}
	g.e.Started(c, 0)
	g.line(c, 10, "backup of shop done")
	g.e.Gone(c.ID, int64(20e9))
	g.commit()
	g.start()
	g.e.Advance(int64(80e9), int64(80e9), func(string) int64 { return 0 })
	out, _ := g.e.Take()
	if len(out) != 1 || out[0].Container.Name != "web" || out[0].Container.Labels["team"] != "ops" {
		t.Errorf("%+v", out)
	}
}

// TestHeldStaysHeld has what is behind a hit that was held back be held back too.
func TestHeldStaysHeld(t *testing.T) {
	r := count(1, 60)
	r.By = []string{"$ip"}
	g := newRig(t, r)
	g.e.bucket = rule.Bucket{Burst: 1, Refill: time.Hour}
	for n := range 2 {
		g.line(web, float64(n), fmt.Sprintf("failed for root from %d", n))
	}
	g.start()
	g.line(web, 3, "failed for root from 1")
	g.want("0s hit [ip=0]: 1 matches in less than a second (ip=0): failed for root from 0",
		"1s held [ip=1]: 1 matches in less than a second (ip=1): failed for root from 1",
		"3s held [ip=1]: failed for root from 1")
}
