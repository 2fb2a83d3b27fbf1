package scan

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/store"
)

// replayRules are rules of all kinds but run and spike.
func replayRules(t testing.TB, since time.Time) *rule.Snapshot {
	rules := []rule.Rule{
		kindRule(t, 1, rule.KindLine, `error (\d+)`, func(r *rule.Rule) { r.CooldownSeconds = 5 }),
		kindRule(t, 2, rule.KindLine, `user=(?P<user>\w+)`, func(r *rule.Rule) { r.By, r.CooldownSeconds, r.Ignore = []string{"$user"}, 20, []string{"ok"} }),
		kindRule(t, 3, rule.KindCount, `failed user=(?P<user>\w+)`, func(r *rule.Rule) { r.By, r.AtLeast, r.WithinSeconds = []string{"$user"}, 3, 20 }),
		kindRule(t, 4, rule.KindCount, `error`, func(r *rule.Rule) { r.Per, r.AtLeast, r.WithinSeconds = rule.PerWorkload, 4, 20 }),
		kindRule(t, 5, rule.KindAbsent, `beat`, func(r *rule.Rule) { r.ForSeconds, r.GraceSeconds = 15, 0 }),
		kindRule(t, 6, rule.KindSequence, "", func(r *rule.Rule) {
			r.Steps, r.WithinSeconds = []string{`began (?P<id>\d+)`, `ended $id$`}, 8
		}),
		kindRule(t, 7, rule.KindChange, `version=(?P<v>\d+)`, func(r *rule.Rule) { r.Field = "$v" }),
		kindRule(t, 8, rule.KindRatio, `failed`, func(r *rule.Rule) { r.Of, r.Over, r.AtLeast, r.WindowSeconds = `user=`, "40%", 5, 20 }),
		kindRule(t, 9, rule.KindNew, `error`, func(r *rule.Rule) {}),
		kindRule(t, 10, rule.KindLine, `Cart`, func(r *rule.Rule) { r.Record, r.CooldownSeconds = true, 0 }),
	}
	for i := range rules {
		rules[i].UpdatedAt = since
	}
	s, bad := rule.Compile(rules, rule.WithBucket(rule.Bucket{Burst: 10, Refill: time.Second}))
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	return s
}

// replayLine is a line that some of these rules are about.
func replayLine(rnd *rand.Rand, n int) []string {
	switch rnd.IntN(9) {
	case 0:
		return []string{fmt.Sprint([]string{"disk ", "net ", "cpu "}[rnd.IntN(3)], "error ", n)}
	case 1, 2:
		return []string{fmt.Sprintf("%s user=u%d", []string{"failed", "ok", "login"}[rnd.IntN(3)], rnd.IntN(3))}
	case 3:
		return []string{"beat"}
	case 4:
		return []string{fmt.Sprint("began ", rnd.IntN(5))}
	case 5:
		return []string{fmt.Sprint("ended ", rnd.IntN(5))}
	case 6:
		return []string{fmt.Sprint("version=", 1+n/200)}
	case 7:
		return []string{fmt.Sprintf("java.lang.IllegalStateException: no %d", n), "\tat shop.Cart.add(Cart.java:7)"}
	}
	return []string{"all is well"}
}

// scratchStore is a store with a clock of its own.
func scratchStore(t testing.TB, now func() time.Time) *store.Store {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "scratch.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.UseClock(now)
	return db
}

func replayEvents(t testing.TB, db *store.Store) (out []string) {
	t.Helper()
	var after int64
	var all []event.Event
	for {
		page, err := db.Events(context.Background(), store.EventFilter{Ascending: true, After: after})
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		all, after = append(all, page...), page[len(page)-1].ID
	}
	for _, e := range all {
		m := e.Metadata
		if m["rule_id"] == 4.0 { // which of several matches at about the same time is the last isn't said
			m["container_name"], m["line_time"], m["record"], e.Message = m["workload_id"], "", "", ""
		}
		out = append(out, fmt.Sprint(m["rule_id"], " ", m["container_name"], " ", m["line_time"], " ", m["by"], " ", m["matches"], " ", m["since"], " ", e.Message, " ", m["suppressed"], " ", m["record"]))
	}
	slices.SortStableFunc(out, func(a, b string) int { return cmp.Compare(a, b) })
	return out
}

// What comes of a replay of lines is what came when they were written, with the same
// rules.
func TestReplay(t *testing.T) {
	kinds := map[string]int{}
	for seed := range uint64(4) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		g := newRig(t)
		begin := time.Unix(1e9, 0)
		clock := begin
		now := func() time.Time { return clock }
		rules := replayRules(t, begin)
		g.db.UseClock(now)
		g.cfg.Journals, g.cfg.Store, g.cfg.Bucket = g.dir, g.db, rule.DefaultBucket
		g.s = New(g.cfg)
		g.s.now = now
		g.s.SetSnapshot(rules)
		var ws []*writer
		var fs []*follower
		for n := range 3 {
			w := g.container(n, func(c *journal.Container) { c.Workload, c.Started = fmt.Sprint("w", n/2), begin })
			f := g.s.newFollower(containerID(n))
			g.s.followers.Store(f.id, f)
			ws, fs = append(ws, w), append(fs, f)
		}
		// second is what a scanner does each second, in one goroutine.
		second := func() {
			for _, f := range fs {
				for g.s.turn(f) == more {
				}
			}
			g.s.commits.timePass = true
			g.s.commits.commit()
			g.s.seeders.Wait()
			g.s.commits.commit()
		}
		second()
		n, until := 0, begin.Add(5*time.Minute)
		for at := begin; at.Before(until); at = at.Add(time.Second) {
			if rnd.IntN(30) == 0 {
				at = at.Add(time.Duration(rnd.IntN(20)) * time.Second) // nobody writes
			}
			for k := range rnd.IntN(6) {
				w := ws[rnd.IntN(len(ws))]
				w.nano = at.UnixNano() + int64(k)*150e6
				w.lines(replayLine(rnd, n)...)
				n++
			}
			for _, w := range ws { // what ends a record that would go on
				w.nano = at.UnixNano() + 950e6
				w.lines("tick")
			}
			clock = at.Add(time.Second)
			second()
		}
		end := now()
		for _, f := range fs {
			g.s.closeJournal(f)
		}
		want := replayEvents(t, g.db)

		db := scratchStore(t, now)
		clock = time.Time{}
		all, counts, err := Replay(t.Context(), ReplayConfig{
			Config: Config{Journals: g.dir, Store: db, Bucket: rule.DefaultBucket}, Rules: rules, Since: begin, Until: end,
			Clock: func(at time.Time) { clock = at },
			Pass:  func(ctx context.Context, at time.Time) error { return db.Pass(ctx, at, at) },
			Due:   db.Due,
		})
		if err != nil {
			t.Fatal(err)
		}
		got := replayEvents(t, db)
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("seed %d: %d events, %d live", seed, len(got), len(want))
			for _, e := range got {
				if !slices.Contains(want, e) {
					t.Log("replayed only: ", e)
				}
			}
			for _, e := range want {
				if !slices.Contains(got, e) {
					t.Log("live only: ", e)
				}
			}
		}
		for _, e := range want {
			id, _, _ := strings.Cut(e, " ")
			kinds[id]++
		}
		if len(all) != 3 || counts[1].Hits == 0 || !all[0].Whole || all[0].Lines == 0 {
			t.Errorf("%d events, %d logs, hits %d, whole %v, %d lines", len(want), len(all), counts[1].Hits, all[0].Whole, all[0].Lines)
		}
	}
	if len(kinds) != 10 {
		t.Errorf("not every rule has hits: %v", kinds)
	}
}
