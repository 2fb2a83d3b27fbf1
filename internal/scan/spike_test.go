package scan

import (
	"context"
	"strings"
	"testing"
	"time"

	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/store"
)

const fiveMinutes = 300_000_000_000

// at has the next lines be so long behind the beginning of a window.
func (w *writer) at(after time.Duration) {
	w.nano = int64(1e18)/fiveMinutes*fiveMinutes + int64(after)
}

// errors writes so many lines that match, and one that doesn't.
func (w *writer) errors(n int) {
	w.lines("fine")
	for range n {
		w.lines("ERROR something")
	}
}

// TestSpikeIsSeeded has the journal say what was usual before a rule, of which each line
// counts once: whether it was evaluated before there was the rule or waited for that, and
// whether the scanner is stopped meanwhile.
func TestSpikeIsSeeded(t *testing.T) {
	const day = 24 * time.Hour
	for _, waits := range []bool{false, true} {
		g := newRig(t)
		c := g.container(0)
		if !waits {
			g.start(compileAll(t))
		}
		c.at(-time.Minute)
		c.lines("from here on it is known")
		for d, n := range []int{2, 4, 3} {
			c.at(time.Duration(d) * day)
			c.errors(n)
		}
		c.at(3 * day)
		c.errors(7) // of the window in which the rule is made
		if !waits {
			g.caughtUp()
		}
		r := kindRule(t, 1, rule.KindSpike, "ERROR", func(r *rule.Rule) { r.AtLeast, r.UpdatedAt = 1, time.Unix(0, c.nano+1) })
		if waits {
			g.start(compileAll(t, r))
		} else {
			g.s.SetSnapshot(compileAll(t, r))
		}
		c.errors(2)
		g.caughtUp()
		eventually(t, "the rule knowing what was before it", func() bool { return hasRows(t, g.db, "seeded 1") })
		if e := g.events(); len(e) != 0 {
			t.Fatalf("waiting %v: %v", waits, messages(e))
		}
		g.stop()
		g.start(compileAll(t, r))
		c.errors(1) // more than three times three
		e := g.wait(1)
		if want := "10 matches in 5 min, usually 3 (median of 3 days at this time): ERROR something"; e[0].Message != want || e[0].Metadata["matches"] != 10.0 {
			t.Errorf("waiting %v: %v, %v", waits, e[0].Message, e[0].Metadata)
		}
		c.at(4*day + time.Minute)
		c.errors(11)
		g.caughtUp()
		eventually(t, "another one", func() bool { return len(g.events()) == 2 })
		if want := "11 matches in 5 min, usually 3.5 (median of 4 days at this time): ERROR something"; g.events()[1].Message != want {
			t.Errorf("waiting %v: %v", waits, messages(g.events()))
		}
		all, err := g.db.Incidents(t.Context(), store.IncidentFilter{})
		if err != nil || len(all) != 2 || all[1].Matches != 10 || all[0].Matches != 11 || all[1].EndedWhy != "0 matches in 5 min, which is not over 1" {
			t.Errorf("%+v, %v", all, err)
		}
	}
}

// TestSpikeKnowsSinceWhen has a container's log be known from its creation on, or, where
// its beginning isn't kept, from its first line on.
func TestSpikeKnowsSinceWhen(t *testing.T) {
	for want, options := range map[string]journal.Options{
		"6 matches in 5 min, usually 0 (median of 2 days at this time): ERROR something": journal.DefaultOptions,
		"6 matches in 5 min, usually 0 (median of 1 day at this time): ERROR something":  {MaxSize: 64 << 10, MaxFile: 2},
	} {
		g := newRig(t)
		g.openJournals(journal.Config{HoldMax: 1 << 30})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go g.dir.Run(ctx)
		g.start(compileAll(t))
		c := g.attach(0, options, true, false)
		start := time.Unix(0, int64(1e18)/fiveMinutes*fiveMinutes)
		j, err := g.dir.Create(journal.Container{ID: containerID(0), Name: "c0", Workload: "w0", Scan: true, Options: options, Created: start})
		if err != nil {
			t.Fatal(err)
		}
		j.Release()
		c.at(29 * time.Hour)
		for range 100 {
			c.lines(strings.Repeat("x", 4000))
		}
		c.at(48 * time.Hour)
		r := kindRule(t, 1, rule.KindSpike, "ERROR", func(r *rule.Rule) { r.AtLeast, r.UpdatedAt = 5, time.Unix(0, c.nano) })
		eventually(t, "the bound of the log", func() bool {
			state := c.j.State()
			return (state.First > state.Birth) == (options.MaxFile == 2)
		})
		g.s.SetSnapshot(compileAll(t, r))
		eventually(t, "the rule knowing what was before it", func() bool { return hasRows(t, g.db, "seeded 1") })
		c.at(54*time.Hour + time.Minute)
		c.errors(6)
		if e := g.wait(1); e[0].Message != want {
			t.Errorf("%s, not %s", e[0].Message, want)
		}
	}
}

// TestRatioOverRestarts has the share be told of lines that were counted before and behind
// restarts.
func TestRatioOverRestarts(t *testing.T) {
	g := newRig(t)
	c := g.container(0)
	r := kindRule(t, 1, rule.KindRatio, " 5..$", func(r *rule.Rule) { r.Of, r.Over, r.AtLeast = ` \d\d\d$`, "5%", 100 })
	for range 3 {
		g.start(compileAll(t, r))
		for range 40 {
			c.lines("GET / 200")
		}
		c.lines("GET / 503", "GET / 502", "GET / 500", "GET /favicon.ico 404", "started")
		g.caughtUp()
		g.stop()
	}
	g.start(compileAll(t, r))
	c.nano += int64(10 * time.Second)
	c.lines("GET / 200")
	e := g.wait(1)
	if want := "6.8 % of 132 lines in 5 min match (9), over 5 %; the last: GET / 500"; e[0].Message != want {
		t.Error(e[0].Message)
	}
	g.caughtUp()
	c.nano += int64(10 * time.Minute)
	c.lines("GET / 200")
	eventually(t, "its end", func() bool {
		all, err := g.db.Incidents(t.Context(), store.IncidentFilter{})
		if err != nil || len(all) != 1 {
			t.Fatalf("%+v, %v", all, err)
		}
		return strings.HasPrefix(all[0].EndedWhy, "5 % of lines or less match for 5 min, or there were too few")
	})
}
