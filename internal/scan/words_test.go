package scan

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"logscan/internal/entry"
	"logscan/internal/journal"
	"logscan/internal/redact"
	"logscan/internal/rule"
)

// words are the last words of a container's runs, the latest first, each with the lines
// that are kept.
func (g *rig) words(n int) (out []string) {
	g.t.Helper()
	all, err := g.db.LastWords(context.Background(), containerID(n))
	if err != nil {
		g.t.Fatal(err)
	}
	for _, w := range all {
		var texts []string
		for _, l := range w.Lines {
			texts = append(texts, l.Text)
		}
		out = append(out, strings.Join(texts, " "))
	}
	return out
}

// heard waits until so many runs of a container were looked at.
func (g *rig) heard(n, runs int) {
	g.t.Helper()
	id := containerID(n)
	j, err := g.dir.Acquire(id)
	if err != nil {
		g.t.Fatal(err)
	}
	defer j.Release()
	eventually(g.t, "look at a run's last words", func() bool {
		list, _ := j.Runs()
		heard, err := g.db.RunsHeard(context.Background())
		if err != nil {
			g.t.Fatal(err)
		}
		return len(list) >= runs && heard[id] == list[runs-1].N
	})
}

func TestLastWordsOfACrashLoop(t *testing.T) {
	g := newRig(t)
	g.cfg.Redact, _ = redact.New("")
	g.start(noRules(t))
	for n := range 3 {
		w := g.begins(1, "web")
		for i := range 60 {
			w.lines(fmt.Sprintf("%d.%d", n, i))
		}
		w.lines("password=hunter2")
		w.end()
	}
	g.heard(1, 3)
	got := g.words(1)
	if len(got) != 3 {
		t.Fatalf("%d runs have last words: %q", len(got), got)
	}
	for n, of := range got {
		run := 2 - n
		if lines := strings.Fields(of); len(lines) != wordsLines || lines[0] != fmt.Sprintf("%d.11", run) || lines[wordsLines-1] != "password=[redacted]" {
			t.Errorf("of run %d: %s", run, of)
		}
	}
}

// What one stream said last is kept however much of the other one comes behind it.
func TestLastWordsOfBothStreams(t *testing.T) {
	g := newRig(t)
	g.start(noRules(t))
	w := g.begins(1, "web")
	w.put(entry.Entry{Line: []byte("fatal"), Source: "stderr"})
	for n := range 1000 {
		w.lines(fmt.Sprint(n))
	}
	w.end()
	g.heard(1, 1)
	got := strings.Fields(g.words(1)[0])
	if len(got) != wordsLines || got[0] != "fatal" || got[1] != "951" || got[wordsLines-1] != "999" {
		t.Errorf("last words are %q", got)
	}
}

// Of a run that took its time, the last lines are kept where one looks like an error.
func TestLastWordsOfLongRuns(t *testing.T) {
	g := newRig(t)
	g.start(noRules(t))
	for _, last := range []string{"bye", `{"level":"error","msg":"no"}`, "KeyError: 'x'", "level=info msg=\"0 failed\""} {
		w := g.begins(1, "web", longAgo)
		w.lines("hello", last)
		w.end()
	}
	w := g.begins(1, "web", longAgo)
	w.lines("panic: it goes on")
	g.heard(1, 4)
	if got := strings.Join(g.words(1), "\n"); got != "hello KeyError: 'x'\nhello {\"level\":\"error\",\"msg\":\"no\"}" {
		t.Errorf("last words are\n%s", got)
	}
}

// Runs that end while nobody looks are looked at later, once, and what was kept of them
// outlives their lines, but not the container's log.
func TestLastWordsStay(t *testing.T) {
	g := newRig(t)
	ctx, cancel := context.WithCancel(context.Background())
	var removing sync.WaitGroup
	removing.Go(func() { g.dir.Run(ctx) })
	defer removing.Wait()
	defer cancel()
	few := func(c *journal.Container) { c.Options = journal.Options{MaxSize: 100 << 10, MaxFile: 2} }
	g.start(noRules(t))
	g.stop()
	w := g.begins(1, "web", few)
	w.lines("first")
	w.end()
	w = g.begins(2, "db")
	w.end() // it has said nothing
	g.start(noRules(t))
	g.heard(1, 1)
	g.heard(2, 1)
	w = g.begins(1, "web", few)
	w.lines("second")
	w.end()
	g.heard(1, 2)
	g.stop()
	g.start(noRules(t))
	w = g.begins(1, "web", few)
	eventually(t, "end of the lines before", func() bool {
		w.lines(strings.Repeat("x", 10_000))
		first, _ := w.j.Bounds()
		runs, _ := w.j.Runs()
		return first >= runs[len(runs)-1].From
	})
	if got := strings.Join(g.words(1), " "); got != "second first" {
		t.Errorf("last words are %s", got)
	}
	if got := g.words(2); len(got) > 0 {
		t.Errorf("a silent run has last words: %q", got)
	}
	w.end()
	g.heard(1, 3)
	eventually(t, "removal", func() bool { return g.dir.Remove(containerID(1)) })
	eventually(t, "end of last words", func() bool { return len(g.words(1)) == 0 })
}

func longAgo(c *journal.Container) { c.Started = time.Now().Add(-time.Minute) }

func noRules(t testing.TB) *rule.Snapshot { return compile(t, rule.Rule{Pattern: "no such"}) }
