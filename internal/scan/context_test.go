package scan

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"logscan/internal/entry"
	"logscan/internal/journal"
	"logscan/internal/redact"
	"logscan/internal/rule"
	"logscan/internal/store"
)

// contextOf shows the lines around an event: those that it is about are in brackets.
func (g *rig) contextOf(id int64) (shown string, whole bool) {
	g.t.Helper()
	c, err := g.db.Context(context.Background(), id)
	if err != nil {
		g.t.Fatal(err)
	}
	var out []string
	for _, l := range c.Lines {
		text := l.Text
		if l.Own {
			text = "[" + text + "]"
		}
		if l.Cut {
			text += "…"
		}
		out = append(out, text)
	}
	return strings.Join(out, " "), c.Whole
}

func (g *rig) wantContext(id int64, want string) {
	g.t.Helper()
	eventually(g.t, "context", func() bool { _, whole := g.contextOf(id); return whole })
	if got, _ := g.contextOf(id); got != want {
		g.t.Errorf("event %d has %s\nnot %s", id, got, want)
	}
}

func contextRule(before, after int64) rule.Rule {
	return rule.Rule{Pattern: "hit", Before: before, After: after}
}

func TestContextOfHits(t *testing.T) {
	g := newRig(t)
	g.cfg.Redact, _ = redact.New("")
	g.start(compile(t, contextRule(2, 3)))
	w := g.container(1)
	w.put(entry.Entry{Line: []byte("1")}, entry.Entry{Line: []byte("2 password=hunter2"), Source: "stderr"}, entry.Entry{Line: []byte("3")}, entry.Entry{Line: []byte("hit")})
	id := g.wait(1)[0].ID
	eventually(t, "lines before", func() bool { got, _ := g.contextOf(id); return got == "2 password=[redacted] 3 [hit]" })
	w.put(entry.Entry{Line: []byte("4"), Source: "stderr"})
	eventually(t, "a line after", func() bool { got, _ := g.contextOf(id); return got == "2 password=[redacted] 3 [hit] 4" })
	w.lines("5", "6", "7")
	g.wantContext(id, "2 password=[redacted] 3 [hit] 4 5 6")
}

// Lines that are owed are kept by whoever comes next, whatever was in between.
func TestContextAfterAKill(t *testing.T) {
	g := newRig(t)
	rules := compile(t, contextRule(2, 2))
	w := g.container(1)
	w.lines("1", "2", "hit", "3")
	g.start(rules)
	id := g.wait(1)[0].ID
	g.stop()
	if _, whole := g.contextOf(id); whole {
		t.Fatal("it is whole already")
	}
	w.lines("4", "5")
	g.start(rules)
	g.wantContext(id, "1 2 [hit] 3 4")
}

// Where a container ends, no more lines are waited for; nor are they where it isn't there.
func TestContextWhereAContainerEnds(t *testing.T) {
	g := newRig(t)
	g.start(compile(t, contextRule(2, 5)))
	w := g.container(1)
	w.lines("1", "hit", "2")
	w.put(chunk("stderr", "a", "3", false))
	id := g.wait(1)[0].ID
	w.end()
	g.wantContext(id, "1 [hit] 2 3")
}

// What is a record is its event's own, with what lies between, and a rule says how much is
// kept.
func TestContextOfRecords(t *testing.T) {
	g := newRig(t)
	none := rule.Rule{Pattern: "no such", CooldownBy: rule.ByRule}
	g.start(compile(t, rule.Rule{Pattern: "no such", Before: 1, After: 1}, none))
	w := g.container(1)
	w.lines("1", "panic: no such item")
	w.put(entry.Entry{Line: []byte("2"), Source: "stderr"})
	w.lines("", "goroutine 1 [running]:", "done", "after")
	events := g.wait(2)
	g.wantContext(events[0].ID, "1 [panic: no such item] 2 [] [goroutine 1 [running]:] done")
	g.wantContext(events[1].ID, "")
}

// Hits of rules that add lines up have the lines around the one that made them.
func TestContextOfCounts(t *testing.T) {
	g := newRig(t)
	r := contextRule(1, 1)
	r.Kind, r.AtLeast, r.WithinSeconds, r.Per = rule.KindCount, 2, 60, rule.PerContainer
	g.start(compile(t, r))
	w := g.container(1)
	w.lines("hit 1", "a", "hit 2", "b", "c")
	g.wantContext(g.wait(1)[0].ID, "a [hit 2] b")
}

// Hits that time makes have the lines around it: of kind absent what was said last, and of
// a sequence those around its first step.
func TestContextOfHitsOfTime(t *testing.T) {
	g := newRig(t)
	absent := contextRule(2, 1)
	absent.Kind, absent.Pattern, absent.ForSeconds, absent.GraceSeconds, absent.Per = rule.KindAbsent, "beat", 60, 0, rule.PerContainer
	missing := contextRule(1, 1)
	missing.Kind, missing.Pattern, missing.Steps, missing.WithinSeconds, missing.Per = rule.KindSequence, "", []string{"begun", "done"}, 30, rule.PerContainer
	now := time.Now()
	g.start(compile(t, absent, missing))
	w := g.container(1)
	for n, text := range []string{"a", "begun", "b", "beat", "c", "d"} {
		w.put(entry.Entry{Line: []byte(text), TimeNano: now.Add(time.Duration(n-200) * time.Second).UnixNano()})
	}
	var ids [2]int64
	eventually(t, "hits", func() bool {
		g.s.Pass()
		for _, e := range g.events() {
			ids[map[any]int{rule.KindAbsent: 0, rule.KindSequence: 1}[e.Metadata["kind"]]] = e.ID
		}
		return ids[0] > 0 && ids[1] > 0
	})
	g.wantContext(ids[1], "a [begun] b")
	w.end()
	g.wantContext(ids[0], "c d")
}

// Lines of the containers of the same project are kept too, where a rule says so, of that
// time.
func TestContextOfSiblings(t *testing.T) {
	g := newRig(t)
	g.cfg.Redact, _ = redact.New("")
	r := contextRule(1, 0)
	r.SiblingsSeconds = 5
	now := time.Now().Add(-20 * time.Second)
	in := func(label, project string) func(*journal.Container) {
		return func(c *journal.Container) { c.Labels = map[string]string{label: project} }
	}
	const compose = "com.docker.compose.project"
	at := func(w *writer, second int, text string) {
		w.put(entry.Entry{Line: []byte(text), TimeNano: now.Add(time.Duration(second) * time.Second).UnixNano()})
	}
	db, cache := g.container(2, in(compose, "shop")), g.container(3, in(compose, "shop"))
	other, stack := g.container(4, in(compose, "blog")), g.container(5, in("com.docker.stack.namespace", "shop"))
	web := g.container(1, in(compose, "shop"))
	at(db, -6, "too old")
	at(db, -5, "db 1 password=hunter2")
	at(cache, -1, "cache")
	for _, w := range []*writer{other, stack} {
		at(w, 0, "not of the project")
	}
	at(db, 5, "db 2")
	at(db, 6, "too late")
	at(web, -1, "before")
	at(web, 0, "hit")
	g.start(compile(t, r))
	id := g.wait(1)[0].ID
	web.end()
	g.wantContext(id, "before [hit]")
	c, err := g.db.Context(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range c.Siblings {
		got = append(got, l.Container+": "+l.Text)
	}
	if all := strings.Join(got, ", "); all != "c2: db 1 password=[redacted], c3: cache, c2: db 2" {
		t.Errorf("siblings are %s", all)
	}
}

// Long lines are cut, and no secret with them.
func TestContextIsBounded(t *testing.T) {
	g := newRig(t)
	g.cfg.Redact, _ = redact.New("")
	g.start(compile(t, contextRule(200, 1)))
	w := g.container(1)
	const card = "4111111111111111"
	for n := range 40 {
		w.lines(strings.Repeat("é", (contextLine-20+n)/2) + " " + card + " " + strings.Repeat("x", 10_000))
	}
	w.lines("hit", "after")
	id := g.wait(1)[0].ID
	eventually(t, "context", func() bool { _, whole := g.contextOf(id); return whole })
	c, err := g.db.Context(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, l := range c.Lines {
		size += len(l.Text)
		if len(l.Text) > contextLine || strings.Contains(l.Text, "4111") || len(l.Text) > 1000 != l.Cut {
			t.Errorf("%d bytes, cut %v: …%q", len(l.Text), l.Cut, l.Text[max(0, len(l.Text)-60):])
		}
	}
	if size > contextBytes+100 || size < contextBytes/2 {
		t.Errorf("%d bytes", size)
	}
}

// Of a container that is removed there is what was kept, and nothing is waited for.
func TestContextOfARemovedContainer(t *testing.T) {
	g := newRig(t)
	w := g.container(1)
	w.lines("hit")
	g.start(compile(t, contextRule(1, 1)))
	id := g.wait(1)[0].ID
	eventually(t, "line", func() bool { got, _ := g.contextOf(id); return got == "[hit]" })
	g.stop()
	w.end()
	if !g.dir.Remove(containerID(1)) {
		t.Fatal("not removed")
	}
	g.start(compile(t, contextRule(1, 1)))
	g.wantContext(id, "[hit]")
}

// What is read doesn't depend on how many are owed.
func TestContextOfMany(t *testing.T) {
	g := newRig(t)
	r := contextRule(1, 1)
	r.CooldownBy = rule.ByRule
	w := g.attach(1, journal.DefaultOptions, true, false)
	for n := range 2 * maxContexts {
		w.lines(fmt.Sprint("before ", n), fmt.Sprint("hit ", n), fmt.Sprint("after ", n))
	}
	g.start(compile(t, r))
	for n, e := range g.wait(2 * maxContexts) {
		g.wantContext(e.ID, fmt.Sprintf("before %d [hit %d] after %d", n, n, n))
	}
	var none []store.Owed
	eventually(t, "end of what is owed", func() bool {
		var err error
		if none, err = g.db.OwedContexts(context.Background(), 0, 10); err != nil {
			t.Fatal(err)
		}
		return len(none) == 0
	})
}
