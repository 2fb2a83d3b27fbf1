package scan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"logscan/internal/correlate"
	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/rule"
	"logscan/internal/store"
)

func kindRule(t testing.TB, id int64, kind, pattern string, set func(*rule.Rule)) rule.Rule {
	t.Helper()
	r := rule.New()
	r.ID, r.Name, r.Kind, r.Pattern = id, fmt.Sprint(kind, " ", id), kind, pattern
	set(&r)
	if err := rule.Fields.Validate(r); err != nil {
		t.Fatal(err)
	}
	return r
}

func compileAll(t testing.TB, rules ...rule.Rule) *rule.Snapshot {
	t.Helper()
	s, bad := rule.Compile(rules)
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	return s
}

// TestNewIsSeeded has a rule of kind new know what was kept before it, whether its
// scanner is killed meanwhile or not.
func TestNewIsSeeded(t *testing.T) {
	g := newRig(t)
	c := g.container(0)
	c.lines("ERROR disk 1 is full", "ok", "ERROR connection to 10.0.0.1 refused")
	g.start(compileAll(t))
	g.caughtUp()
	r := kindRule(t, 1, rule.KindNew, "ERROR", func(r *rule.Rule) { r.UpdatedAt = time.Unix(0, c.nano+1) })
	g.s.SetSnapshot(compileAll(t, r))
	c.lines("ERROR disk 22 is full", "ERROR out of memory", "ERROR out of memory")
	eventually(t, "one that is new", func() bool { return messages(g.events()) == "ERROR out of memory" })
	g.caughtUp()
	g.stop()
	g.start(compileAll(t, r))
	c.lines("ERROR disk 3 is full", "ERROR out of memory", "ERROR no route to host")
	eventually(t, "another one", func() bool {
		return messages(g.events()) == "ERROR out of memory ERROR no route to host"
	})
	g.caughtUp()
	all, err := g.db.Incidents(t.Context(), store.IncidentFilter{})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[1].Matches != 3 || all[1].Hits != 1 || all[1].Kind != rule.KindNew {
		t.Errorf("%+v", all)
	}
}

// unreadable is a store that doesn't say at first what rules have added up.
type unreadable struct {
	Store
	times atomic.Int64
}

func (s *unreadable) Correlated(ctx context.Context) ([]correlate.Row, int64, error) {
	if s.times.Add(1) <= 3 {
		return nil, 0, errors.New("disk I/O error")
	}
	return s.Store.Correlated(ctx)
}

// TestSumsWaitForTheStore has nothing be committed, and nothing lost, until it is known
// what rules have added up.
func TestSumsWaitForTheStore(t *testing.T) {
	g := newRig(t)
	c := g.container(0)
	r := kindRule(t, 1, rule.KindCount, `failed for (?P<user>\w+)`, func(r *rule.Rule) { r.AtLeast, r.WithinSeconds, r.By = 3, 3600, []string{"$user"} })
	g.start(compileAll(t, r))
	c.lines("failed for bob", "failed for root", "failed for bob")
	g.caughtUp()
	g.stop()
	s := &unreadable{Store: g.db}
	g.cfg.Store = s
	g.start(compileAll(t, r))
	c.lines("failed for root", "failed for bob")
	e := g.wait(1)
	if n := s.times.Load(); n != 4 {
		t.Errorf("%d tries", n)
	}
	g.caughtUp()
	if len(e) != 1 || !strings.HasPrefix(e[0].Message, "3 matches in ") || e[0].Metadata["by"] != "user=bob" {
		t.Errorf("%+v", e)
	}
}

// TestSumsOfACommitThatWasMade has commits fail that were made all the same: what rules
// add up is counted once.
func TestSumsOfACommitThatWasMade(t *testing.T) {
	g := newRig(t)
	s := &faulty{Store: g.db}
	g.cfg.Store = s
	c := g.container(0)
	r := kindRule(t, 1, rule.KindCount, "failed", func(r *rule.Rule) { r.AtLeast, r.WithinSeconds = 5, 3600 })
	failed := errors.New("disk I/O error")
	g.start(compileAll(t, r))
	for range 4 {
		s.then(fault{true, failed}, fault{false, failed}, fault{true, failed})
		c.lines("failed")
		eventually(t, "the faults being over", s.over)
		g.caughtUp()
	}
	if e := g.events(); len(e) != 0 {
		t.Errorf("hits too soon: %+v", e)
	}
	c.lines("failed", "failed", "failed")
	g.caughtUp()
	all, err := g.db.Incidents(t.Context(), store.IncidentFilter{})
	if e := g.events(); len(e) != 1 || err != nil || len(all) != 1 || all[0].Matches != 7 {
		t.Errorf("%+v, %+v, %v", e, all, err)
	}
}

// TestAbsentByTheWatermark has time pass for a rule that waits: not while lines wait to
// be evaluated, and not for a container that is stopped.
func TestAbsentByTheWatermark(t *testing.T) {
	g := newRig(t)
	c := g.container(0)
	c.nano = time.Now().Add(-time.Hour).UnixNano()
	r := kindRule(t, 1, rule.KindAbsent, "beat", func(r *rule.Rule) { r.ForSeconds, r.GraceSeconds = 60, 0 })
	c.lines("beat")
	c.nano = time.Now().UnixNano()
	c.lines("beat")
	g.start(compileAll(t, r))
	pass := func() { g.s.Pass() }
	e := g.wait(1) // missed, and made up for while nobody looked
	if !strings.HasPrefix(e[0].Message, "no match for 1 min; the last: beat") {
		t.Errorf("%+v", e)
	}
	state := func() string {
		all, err := g.db.Incidents(t.Context(), store.IncidentFilter{})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, i := range all {
			out = append(out, string(i.State))
		}
		return strings.Join(out, " ")
	}
	eventually(t, "its end", func() bool { pass(); return state() == "resolved" })
	g.s.Stood(-2 * time.Minute) // as if it were later
	eventually(t, "another one", func() bool { pass(); return state() == "open resolved" })
	c.end()
	eventually(t, "its end since the container was stopped", func() bool { return state() == "resolved resolved" })
}

// startAt runs a scanner whose clock is a time ahead, in nanoseconds.
func (g *rig) startAt(rules *rule.Snapshot, ahead *atomic.Int64) {
	g.start(nil)
	g.stop()
	g.s = New(g.cfg)
	g.s.tick = 20 * time.Millisecond
	g.s.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	g.s.SetSnapshot(rules)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); g.s.Run(ctx) }()
	g.stop = func() {
		cancel()
		<-ended
		g.stop = nil
	}
}

// TestDowntimeMissesNothing has a plugin be away for longer than a rule waits: the line
// that comes then is in time, and what is missing after that is told in time.
func TestDowntimeMissesNothing(t *testing.T) {
	g := newRig(t)
	c := g.container(0)
	r := kindRule(t, 1, rule.KindAbsent, "beat", func(r *rule.Rule) { r.ForSeconds, r.GraceSeconds = 60, 0 })
	c.nano = time.Now().Add(-time.Hour).UnixNano()
	var ahead atomic.Int64
	ahead.Store(-int64(time.Hour))
	g.startAt(compileAll(t, r), &ahead)
	c.lines("beat")
	seen := func() (seen bool) {
		rows, _, err := g.db.Correlated(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			seen = seen || row.Scope == "seen"
		}
		return seen
	}
	eventually(t, "the time that was seen", func() bool { g.s.Pass(); return seen() })
	g.stop()
	ahead.Store(0)
	c.nano = time.Now().UnixNano()
	c.lines("beat")
	for range 3 { // again and again
		g.startAt(compileAll(t, r), &ahead)
		eventually(t, "the line being evaluated", func() bool { return g.s.Finished(containerID(0)) })
		g.stop()
	}
	if e := g.events(); len(e) != 0 {
		t.Fatalf("missed although it was there: %v", messages(e))
	}
	g.startAt(compileAll(t, r), &ahead)
	eventually(t, "it being waited for", g.s.commits.timed.Load)
	ahead.Store(int64(70 * time.Second))
	eventually(t, "what is missing now", func() bool { g.s.Pass(); return len(g.events()) == 1 })
}

// TestEditInTraffic changes what a rule counts while there are matches of it.
func TestEditInTraffic(t *testing.T) {
	g := newRig(t)
	c := g.container(0)
	r := kindRule(t, 1, rule.KindCount, `failed for (?P<user>\w+)`, func(r *rule.Rule) { r.AtLeast, r.WithinSeconds = 1000, 3600 })
	g.start(compileAll(t, r))
	for n := range 60 {
		r.Distinct = map[bool]string{true: "$user"}[n%2 == 0]
		for k := range 20 {
			c.lines(fmt.Sprintf("failed for u%d", k))
			if k == 10 {
				g.s.SetSnapshot(compileAll(t, r))
			}
		}
	}
	g.caughtUp()
}

// TestEndedBeforeItsFirstTurn has nothing be missed of a container that had ended in time
// before it was known, however late that is.
func TestEndedBeforeItsFirstTurn(t *testing.T) {
	g := newRig(t)
	r := kindRule(t, 1, rule.KindAbsent, "done", func(r *rule.Rule) { r.ForSeconds, r.GraceSeconds = 60, 0 })
	c := g.container(0)
	c.nano = time.Now().UnixNano()
	c.lines("done")
	c.end()
	other := g.container(1)
	other.nano = time.Now().UnixNano()
	other.lines("done")
	var ahead atomic.Int64
	ahead.Store(int64(2 * time.Minute))
	g.startAt(compileAll(t, r), &ahead)
	eventually(t, "another one being missed", func() bool { g.s.Pass(); return len(g.events()) > 0 })
	g.caughtUp()
	if e := g.events(); len(e) != 1 || e[0].Metadata["container_name"] != "c1" {
		t.Errorf("%+v", e)
	}
}

// TestAttachedAgain has a container be attached again a while after a new process began:
// until then it isn't taken for stopped.
func TestAttachedAgain(t *testing.T) {
	g := newRig(t)
	c := g.container(0)
	r := kindRule(t, 1, rule.KindAbsent, "beat", func(r *rule.Rule) { r.ForSeconds, r.GraceSeconds = 60, 0 })
	g.start(compileAll(t, r))
	c.nano = time.Now().Add(-50 * time.Second).UnixNano()
	c.lines("beat")
	g.caughtUp()
	g.stop()
	c.a.Detach()
	var ready atomic.Bool
	g.cfg.Ready = ready.Load
	g.startAt(compileAll(t, r), new(atomic.Int64))
	g.s.Notify(containerID(0))
	g.caughtUp()
	c.a = c.j.Attach(true)
	ready.Store(true)
	g.s.Notify(containerID(0))
	eventually(t, "it being missed, in time", func() bool { g.s.Pass(); return len(g.events()) == 1 })
	if at, want := g.events()[0].Metadata["since"], timestamp(c.nano); at != want {
		t.Errorf("missed since %v, not %v", at, want)
	}
}

// TestSeedOfAnOverride has an override of kind new know what was there before it.
func TestSeedOfAnOverride(t *testing.T) {
	g := newRig(t)
	c := g.container(0)
	c.lines("ERROR disk 1 is full", "ok")
	g.start(compileAll(t))
	g.caughtUp()
	since := time.Unix(0, c.nano+1)
	r := kindRule(t, 1, rule.KindNew, "ERROR", func(r *rule.Rule) { r.UpdatedAt = since })
	o := kindRule(t, 2, rule.KindNew, "ERROR", func(r *rule.Rule) { r.UpdatedAt, r.OverridesID, r.WorkloadID = since, 1, "w0" })
	g.s.SetSnapshot(compileAll(t, r, o))
	c.lines("ERROR disk 22 is full", "ERROR out of memory")
	g.wait(1)
	g.caughtUp()
	if e := g.events(); messages(e) != "ERROR out of memory" {
		t.Error(messages(e))
	}
}

// TestClearOfLines has a line end what others have opened, of a rule each of whose
// matches is a hit: of one value, or of all; and nothing that was hit behind it.
func TestClearOfLines(t *testing.T) {
	g := newRig(t)
	c := g.container(0)
	r := kindRule(t, 1, rule.KindLine, `disk (?P<dev>\w+) failed`, func(r *rule.Rule) {
		r.By, r.Clear, r.CooldownSeconds = []string{"$dev"}, []string{"disk $dev is back", "all disks are back"}, 0
	})
	g.start(compileAll(t, r))
	open := func() string {
		all, err := g.db.Incidents(t.Context(), store.IncidentFilter{States: []incident.State{incident.Open}})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, i := range all {
			out = append(out, i.Key.By)
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	is := func(want string) {
		t.Helper()
		g.caughtUp()
		eventually(t, "open: "+want, func() bool { return open() == want })
	}
	c.lines("disk sda failed", "disk sdb failed", "disk sdc failed")
	is("dev=sda dev=sdb dev=sdc")
	c.lines("disk sdb is back")
	is("dev=sda dev=sdc")
	g.stop()
	g.start(compileAll(t, r))
	c.lines("disk sda is back", "disk sdb failed")
	is("dev=sdb dev=sdc")
	c.lines("disk sdb failed", "all disks are back")
	is("")
	// Behind the line.
	c.lines("all disks are back", "disk sda failed")
	is("dev=sda")
	all, err := g.db.Incidents(t.Context(), store.IncidentFilter{})
	if err != nil || len(all) != 5 {
		t.Errorf("%d incidents, %v", len(all), err)
	}
	for _, i := range all {
		if i.State == incident.Resolved && !strings.HasPrefix(i.EndedWhy, "a line says so: ") {
			t.Errorf("%+v", i)
		}
	}
}

// TestSequenceOutlivesKills has a sequence go on where it was.
func TestSequenceOutlivesKills(t *testing.T) {
	g := newRig(t)
	c := g.container(0)
	r := kindRule(t, 1, rule.KindSequence, "", func(r *rule.Rule) {
		r.Steps, r.WithinSeconds = []string{`job (?P<id>\w+) begins`, "job $id is done"}, 3600
		r.Hit = rule.HitComplete
	})
	for _, text := range []string{"job a begins", "job b begins", "job a is done"} {
		g.start(compileAll(t, r))
		c.lines(text)
		g.caughtUp()
		g.stop()
	}
	g.start(compileAll(t, r)) // nothing comes any more but time
	var e []event.Event
	eventually(t, "the last step counting", func() bool {
		g.s.Pass()
		e = g.events()
		return len(e) == 1
	})
	if e[0].Metadata["by"] != "id=a" || !strings.HasSuffix(e[0].Message, "job a is done") {
		t.Errorf("%+v", e)
	}
}
