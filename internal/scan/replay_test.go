package scan

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/store"
)

// past is a stretch of time in which containers write, while a scanner evaluates it and is
// killed.
type past struct {
	*rig
	rnd     *rand.Rand
	clock   atomic.Int64 // in nanoseconds
	begin   time.Time
	pace    time.Duration // how much time a step takes on the average
	all     []rule.Rule
	rules   *rule.Snapshot
	awaited []int64
	writers []*writer // nil for a container that doesn't run
	lines   int
	another int // events that name another match
}

func (p *past) now() time.Time { return time.Unix(0, p.clock.Load()) }

func newPast(t testing.TB, seed uint64, pace time.Duration) *past {
	p := &past{rig: &rig{t: t, root: t.TempDir()}, rnd: rand.New(rand.NewPCG(seed, 9)), begin: time.Unix(1e9, 0), pace: pace}
	p.clock.Store(p.begin.UnixNano())
	p.openJournals(journal.Config{Clock: p.now})
	p.writers = make([]*writer, 4)
	t.Cleanup(func() {
		p.drop()
		p.dir.Close()
	})
	return p
}

// one gives one of several things.
func one[T any](rnd *rand.Rand, of ...T) T { return of[rnd.IntN(len(of))] }

// randomRule is a rule of a kind, with whatever that can have.
func (p *past) randomRule(id int64, kind string) rule.Rule {
	rnd := p.rnd
	maybe := func() bool { return rnd.IntN(2) == 0 }
	seconds := func(least, most int64) int64 { return least + rnd.Int64N(most-least) }
	unit := int64(max(p.pace/time.Second, 1))
	for {
		r := rule.New()
		r.ID, r.Name, r.Kind, r.UpdatedAt = id, fmt.Sprint(kind, " ", id), kind, p.begin
		r.Pattern = one(rnd, `error (\d+)`, `error`, `user=(?P<user>\w+)`, `failed user=(?P<user>\w+)`, `beat`, `Cart`, `version=(?P<user>\d+)`)
		if maybe() {
			r.Streams = one(rnd, rule.Streams...)
		}
		if maybe() {
			r.By = one(rnd, []string{"$user"}, []string{"user"}, []string{"$user", "status"})
		}
		if maybe() {
			r.Ignore = one(rnd, []string{"ok"}, []string{"cpu", "u2"})
		}
		if maybe() {
			r.Where = one(rnd, []string{"status >= 500"}, []string{"user != u1"})
		}
		if rnd.IntN(4) == 0 {
			r.All = []string{"e"}
		}
		if maybe() {
			r.Per = one(rnd, rule.PerWorkload, rule.PerRule, rule.PerContainer)
		}
		if rnd.IntN(4) == 0 {
			r.Record = true
		}
		if rnd.IntN(3) == 0 {
			r.Clear = one(rnd, []string{"all clear"}, []string{`recovered user=$user$`})
		}
		switch kind {
		case rule.KindLine:
			r.CooldownSeconds, r.CooldownBy = one(rnd, 0, 1, seconds(2, 60)), one(rnd, rule.ByShape, rule.ByRule)
		case rule.KindCount:
			r.AtLeast, r.WithinSeconds = seconds(2, 6), unit*seconds(3, 40)
			if maybe() {
				r.Distinct = one(rnd, "status", "$user", "$1")
			}
		case rule.KindAbsent:
			r.ForSeconds, r.GraceSeconds, r.Arm, r.WhenStopped = 5+unit*seconds(1, 30), one(rnd, 0, unit*seconds(1, 10)), one(rnd, rule.ArmFirst, rule.ArmStart), one(rnd, rule.StoppedPause, rule.StoppedHit)
		case rule.KindSequence:
			r.Pattern, r.All, r.Ignore, r.Where = "", nil, nil, nil
			r.Steps, r.WithinSeconds, r.Hit, r.OnStop = []string{`began (?P<id>\d+)`, `ended $id$`}, unit*seconds(2, 12), one(rnd, rule.HitMissing, rule.HitComplete), one(rnd, rule.StopWait, rule.StopForget, rule.StopHit)
			if maybe() {
				r.By = []string{"$id"}
			}
			if maybe() {
				r.Until = []string{"all clear"}
			}
			if r.Hit == rule.HitComplete && maybe() {
				r.SlowerThanSeconds = 1
			}
		case rule.KindChange:
			r.Field = one(rnd, "$user", "status", "version")
		case rule.KindRun:
			r.Clear = nil // of runs of several containers, which was before a line isn't told by logs
			r.Pattern, r.All, r.Ignore, r.Where = "", nil, nil, nil
			if maybe() {
				r.Must = []string{"beat"}
			}
			if maybe() {
				r.MustNot = []string{"error", "failed user=u1"}
			}
			if maybe() {
				r.MinLines = seconds(1, 20)
			}
			if maybe() {
				r.MaxDurationSeconds = unit * seconds(20, 120)
			}
			if maybe() {
				r.Restarts, r.WithinSeconds = seconds(2, 4), unit*seconds(50, 400)
			}
		case rule.KindRatio:
			r.Of, r.Over, r.AtLeast, r.WindowSeconds = one(rnd, "user=", "e"), one(rnd, "10%", "40%"), seconds(3, 10), 10+unit*seconds(1, 30)
		case rule.KindSpike:
			r.AtLeast, r.Factor, r.WindowSeconds = seconds(1, 5), one(rnd, "1", "1.5", "3"), one[int64](rnd, 600, 3600, 7200)
		case rule.KindNew:
			r.AtMost = one[int64](rnd, 2, 10)
		}
		if rule.Fields.Validate(r) == nil {
			return r
		}
	}
}

// someLines are lines that some of the rules are about.
func (p *past) someLines() []string {
	p.lines++
	rnd, n := p.rnd, p.lines
	switch rnd.IntN(11) {
	case 0:
		return []string{fmt.Sprint(one(rnd, "disk ", "net ", "cpu "), "error ", n)}
	case 1, 2, 3:
		return []string{fmt.Sprintf("%s user=u%d status=%d", one(rnd, "failed", "ok", "login"), rnd.IntN(3), one(rnd, 200, 404, 500, 503))}
	case 4:
		return []string{"beat"}
	case 5:
		return []string{fmt.Sprint("began ", rnd.IntN(5))}
	case 6:
		return []string{fmt.Sprint("ended ", rnd.IntN(5))}
	case 7:
		return []string{fmt.Sprint("version=", 1+n/200)}
	case 8:
		return []string{fmt.Sprintf("java.lang.IllegalStateException: no %d", n), "\tat shop.Cart.add(Cart.java:7)", "\tat shop.Main.main(Main.java:2)"}
	case 9:
		return []string{one(rnd, "all clear", fmt.Sprintf("recovered user=u%d", rnd.IntN(3)))}
	}
	return []string{"all is well"}
}

// starts has a container be started, as ingest does.
func (p *past) starts(n int) {
	created := p.now()
	if j, err := p.dir.Acquire(containerID(n)); err == nil {
		created = j.Container().Created
		j.Release()
	}
	j, err := p.dir.Create(journal.Container{
		ID: containerID(n), Name: fmt.Sprint("c", n), Image: "busybox", Workload: fmt.Sprint("w", n/2), Scan: true,
		Options: journal.DefaultOptions, Created: created, Started: p.now(), FIFO: fmt.Sprint("fifo ", fifos.Add(1)),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	w := &writer{t: p.t, j: j, a: j.Attach(false)}
	var fd [2]int
	if err := unix.Pipe2(fd[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		p.t.Fatal(err)
	}
	w.r, w.w = fd[0], fd[1]
	p.writers[n] = w
}

func (p *past) stops(n int) {
	p.writers[n].end()
	p.writers[n] = nil
}

// scans has another scanner go on from what is stored.
func (p *past) scans() {
	p.openStore()
	p.db.UseClock(p.now)
	p.s = New(Config{Journals: p.dir, Store: p.db, Bucket: rule.DefaultBucket})
	p.s.now = p.now
	for _, id := range p.dir.IDs() {
		p.s.Notify(id)
	}
	p.s.listed.Store(true)
	p.s.Await(p.awaited)
	p.s.SetSnapshot(p.rules)
	p.s.commits.load()
	p.s.commits.stood = 0 // what is waited for longer, because nobody scanned, isn't told by logs
	p.s.commits.commit()
	p.s.seeders.Wait()
	p.s.commits.commit()
}

// drop has the scanner be gone, and all that it hasn't stored.
func (p *past) drop() {
	if p.s == nil {
		return
	}
	p.s.stopping.Store(true)
	p.s.seeders.Wait()
	p.s.followers.Range(func(_, v any) bool {
		f := v.(*follower)
		if f.alarm != nil {
			f.alarm.Stop()
		}
		p.s.closeJournal(f)
		return true
	})
	p.s = nil
	p.db.Close()
}

// turns gives turns to those who wait for theirs, the last ones maybe not.
func (p *past) turns(all bool) {
	waiting := func() bool {
		p.s.queue.mu.Lock() // a follower's timer may push meanwhile
		defer p.s.queue.mu.Unlock()
		return p.s.queue.anyLocked()
	}
	for waiting() && (all || p.rnd.IntN(8) > 0) {
		f, heavy, _ := p.s.queue.pop(false)
		p.s.takeTurn(f, heavy)
	}
}

func (p *past) commit(pass bool) {
	p.s.commits.looked = p.now()
	p.s.commits.timePass = pass
	p.s.commits.commit()
}

// see has it be known which containers run, as it is a moment behind their start or end.
func (p *past) see() {
	p.turns(true)
	p.commit(false)
}

// catchUp has all that there is be evaluated and stored.
func (p *past) catchUp() {
	p.s.look(false)
	p.turns(true)
	p.commit(true)
}

// pass has time pass for a while, in which containers start, write and stop, and the scanner
// comes late, commits when it wants, and is killed now and then.
func (p *past) pass(steps int, kills bool) {
	rnd := p.rnd
	for range steps {
		took := time.Duration(rnd.Int64N(2 * int64(p.pace)))
		if rnd.IntN(40) == 0 {
			took *= 15 // nobody does anything
		}
		from := p.clock.Load()
		for done, n := int64(0), 0; done < int64(took); n++ { // what waits for time comes in time
			tick := time.Second
			if n > 20 {
				tick = max(p.pace/5, tick)
			}
			done = min(int64(took), done+int64(tick))
			p.clock.Store(from + done)
			if done < int64(took) {
				p.catchUp()
			}
		}
		stopped := -1
		for range rnd.IntN(5) {
			n := rnd.IntN(len(p.writers))
			w := p.writers[n]
			p.clock.Add(1 + rnd.Int64N(300e6))
			switch {
			case w == nil && n != stopped && rnd.IntN(3) == 0:
				p.starts(n)
				p.see()
			case w == nil:
			case rnd.IntN(40) == 0:
				p.stops(n)
				p.see()
				stopped = n
			default:
				var all []entry.Entry
				stream := streams[rnd.IntN(2)]
				for k, l := range p.someLines() {
					all = append(all, entry.Entry{Source: stream, Line: []byte(l), TimeNano: p.clock.Load() + int64(k)})
				}
				p.clock.Add(10)
				w.put(all...)
			}
			if rnd.IntN(3) == 0 {
				p.turns(false)
			}
			if rnd.IntN(4) == 0 {
				p.commit(rnd.IntN(2) == 0)
			}
		}
		if kills && rnd.IntN(30) == 0 {
			p.drop()
			p.scans()
		}
		p.catchUp()
	}
}

// replayed has the same time be replayed into another store.
func (p *past) replayed(ends map[string]int64) *store.Store {
	db, err := store.Open(filepath.Join(p.t.TempDir(), "scratch.db"), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { db.Close() })
	clock := p.begin
	db.UseClock(func() time.Time { return clock })
	all, _, err := Replay(context.Background(), ReplayConfig{
		Config: Config{Journals: p.dir, Store: db, Bucket: rule.DefaultBucket}, Rules: p.rules, Since: p.begin, Until: p.now(), Ends: ends,
		Clock: func(at time.Time) { clock = at },
		Pass:  func(ctx context.Context, at time.Time) error { return db.Pass(ctx, at, at) },
		Due:   db.Due,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	for _, c := range all {
		if !c.Whole || c.Unread > 0 {
			p.t.Errorf("%+v", c)
		}
	}
	return db
}

// told are a store's events.
func (p *past) told(db *store.Store) (out []event.Event) {
	for f := (store.EventFilter{Ascending: true}); ; f.After = out[len(out)-1].ID {
		page, err := db.Events(context.Background(), f)
		if err != nil {
			p.t.Fatal(err)
		}
		if len(page) == 0 {
			return out
		}
		out = append(out, page...)
	}
}

// said is what two events that are the same say.
func said(e *event.Event) string {
	m := e.Metadata
	switch what := fmt.Sprint(m["kind"], " ", e.Message); {
	case strings.HasPrefix(what, "run a run takes longer than "): // how many of its lines there were by then isn't told by logs
		return fmt.Sprint("a run takes longer than it may; since ", m["since"], "; workload ", m["workload_id"])
	case strings.HasPrefix(what, "run ") && strings.Contains(what, " starts in "): // nor is which of several starts was seen first
		return fmt.Sprint("so many starts; since ", m["since"], "; workload ", m["workload_id"])
	}
	out := fmt.Sprint("rule ", m["rule_id"], " ", e.Time.UTC().Format(time.RFC3339Nano), " ", e.Message)
	for _, name := range []string{"container_name", "workload_id", "stream", "line_time", "line", "first_line", "by", "matches", "since", "until", "suppressed", "suppressed_since", event.Record} {
		if v, is := m[name]; is {
			out += fmt.Sprintf("; %s %v", name, v)
		}
	}
	return out
}

// namesAnother reports whether two events are the same but for which of several matches
// at about the same time, of containers or streams, they name.
func namesAnother(a, b *event.Event) bool {
	for _, name := range []string{"workload_id", "by", "matches", "since", "until"} {
		if a.Metadata[name] != b.Metadata[name] {
			return false
		}
	}
	at := func(e *event.Event) time.Time {
		text, _ := e.Metadata["line_time"].(string)
		t, _ := time.Parse(time.RFC3339Nano, text)
		return t
	}
	return at(a).Sub(at(b)).Abs() < rule.Slack && a.CreatedAt.Sub(b.CreatedAt).Abs() < 5*time.Minute
}

// compare compares what was told live with what a replay tells, and counts it by kind.
func (p *past) compare(kinds map[string]int) {
	p.t.Helper()
	byRule := func(events []event.Event) map[int64][]event.Event {
		out := map[int64][]event.Event{}
		for _, e := range events {
			id := int64(e.Metadata["rule_id"].(float64))
			out[id] = append(out[id], e)
		}
		for _, of := range out {
			slices.SortFunc(of, func(a, b event.Event) int { return cmp.Compare(said(&a), said(&b)) })
		}
		return out
	}
	same := func(a, b event.Event) bool { return said(&a) == said(&b) }
	live, again := byRule(p.told(p.db)), byRule(p.told(p.replayed(nil)))
	for _, r := range p.all {
		want, got := live[r.ID], again[r.ID]
		kinds[r.Kind] += len(want)
		if slices.EqualFunc(got, want, same) {
			continue
		}
		only := func(in, not []event.Event) (out []event.Event) {
			for i := range in {
				if !slices.ContainsFunc(not, func(e event.Event) bool { return said(&e) == said(&in[i]) }) {
					out = append(out, in[i])
				}
			}
			return out
		}
		wants, gots := only(want, got), only(got, want)
		if len(wants) == len(gots) {
			wants = slices.DeleteFunc(wants, func(e event.Event) bool {
				n := slices.IndexFunc(gots, func(other event.Event) bool { return r.Correlated() && namesAnother(&e, &other) })
				if n >= 0 {
					p.another++
					gots = slices.Delete(gots, n, n+1)
				}
				return n >= 0
			})
			if len(wants) == 0 {
				continue
			}
		}
		var diff []string
		for _, e := range wants {
			diff = append(diff, "live only:     "+said(&e))
		}
		for _, e := range gots {
			diff = append(diff, "replayed only: "+said(&e))
		}
		p.t.Errorf("%d events live, %d replayed, of rule %+v\n%s", len(want), len(got), r, strings.Join(diff[:min(len(diff), 10)], "\n"))
	}
}

// What comes of a replay of lines is what came when they were written, with the same
// rules, whatever these are, however late lines were evaluated, and whoever was killed.
func TestReplay(t *testing.T) {
	kinds, all, another := map[string]int{}, 0, 0
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			p := newPast(t, seed, []time.Duration{time.Second, 10 * time.Second, 10 * time.Minute}[seed%3])
			for range 2 {
				for _, kind := range rule.Kinds {
					p.all = append(p.all, p.randomRule(int64(len(p.all)+1), kind))
				}
			}
			p.rules = compileLimited(t, p.all)
			p.scans()
			p.pass(300, seed%2 == 1)
			for n, w := range p.writers {
				if w != nil {
					p.clock.Add(int64(time.Second))
					p.stops(n)
					p.see()
				}
			}
			p.clock.Add(int64(time.Minute))
			p.catchUp()
			p.compare(kinds)
			another += p.another
		})
	}
	for _, n := range kinds {
		all += n
	}
	if t.Log(kinds, another); another*20 > all {
		t.Errorf("%d of %d events name another match", another, all)
	}
	for _, kind := range rule.Kinds {
		if kinds[kind] < 5 {
			t.Errorf("%d hits of kind %s", kinds[kind], kind)
		}
	}
}

// compileLimited compiles rules of which the hits of a container are bounded.
func compileLimited(t testing.TB, rules []rule.Rule) *rule.Snapshot {
	t.Helper()
	s, bad := rule.Compile(rules, rule.WithBucket(rule.Bucket{Burst: 10, Refill: time.Second}))
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	return s
}
