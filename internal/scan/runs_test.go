package scan

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/store"
)

var fifos atomic.Int64

// begins has a container of a workload be started, as ingest does.
func (g *rig) begins(n int, workload string, set ...func(*journal.Container)) *writer {
	g.t.Helper()
	c := journal.Container{
		ID: containerID(n), Name: fmt.Sprint("c", n), Image: "busybox", Workload: workload, Scan: true,
		Options: journal.DefaultOptions, Started: time.Now(), FIFO: fmt.Sprint("fifo ", fifos.Add(1)),
	}
	for _, f := range set {
		f(&c)
	}
	j, err := g.dir.Create(c)
	if err != nil {
		g.t.Fatal(err)
	}
	w := &writer{t: g.t, j: j, a: j.Attach(false), nano: time.Now().UnixNano()}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		g.t.Fatal(err)
	}
	w.r, w.w = p[0], p[1]
	return w
}

// states are those of all incidents, the latest first.
func (g *rig) states() string {
	g.t.Helper()
	all, err := g.db.Incidents(g.t.Context(), store.IncidentFilter{})
	if err != nil {
		g.t.Fatal(err)
	}
	var out []string
	for _, i := range all {
		out = append(out, string(i.State))
	}
	return strings.Join(out, " ")
}

func backup(t testing.TB) rule.Rule {
	return kindRule(t, 1, rule.KindRun, "", func(r *rule.Rule) {
		r.Must, r.MustNot, r.MinLines = []string{"done"}, []string{"ERROR"}, 3
	})
}

// TestRuns has runs be judged each for itself, while the scanner is there, across its
// end, and while it isn't.
func TestRuns(t *testing.T) {
	g := newRig(t)
	rules := compileAll(t, backup(t))
	g.start(rules)
	w := g.begins(0, "backup")
	w.lines("1", "2", "done")
	w.end()
	w = g.begins(0, "backup")
	w.lines("1", "ERROR 1")
	g.caughtUp()
	g.stop()
	g.start(rules)
	w.lines("ERROR 2")
	w.end()
	e := g.wait(1)[0]
	if e.Message != "a run of less than a second ended: no line matched /done/; 2 lines matched /ERROR/, the last: ERROR 2" {
		t.Error(e.Message)
	}
	m := e.Metadata
	if m["kind"] != rule.KindRun || m["container_name"] != "c0" || m["workload_id"] != "backup" || m["matches"] != 2.0 || m["line"] != "ERROR 2" {
		t.Errorf("%+v", m)
	}
	if runs, _ := w.j.Runs(); m["since"] != timestamp(runs[1].Started.UnixNano()) || m["until"] != timestamp(runs[1].Ended.UnixNano()) {
		t.Errorf("%+v; the journal says %+v", m, runs)
	}
	g.stop()
	w = g.begins(0, "backup") // three while nobody looks, one of them of another container
	w.lines("1")
	w.end()
	w = g.begins(1, "backup")
	w.lines("1", "2", "done")
	w.end()
	w = g.begins(2, "silent")
	w.end()
	g.start(rules)
	g.wait(3)
	var said []string
	for _, e := range g.events()[1:] {
		said = append(said, e.Metadata["container_name"].(string)+": "+e.Message)
	}
	slices.Sort(said)
	want := []string{"c0: a run of less than a second ended: no line matched /done/; it had 1 line, of at least 3", "c2: a run of less than a second ended: no line matched /done/; it had 0 lines, of at least 3"}
	if !slices.Equal(said, want) {
		t.Errorf("got %q", said)
	}
	w = g.begins(3, "backup")
	w.lines("1", "2", "done")
	w.end()
	eventually(t, "the end of what the backup's runs began", func() bool {
		all, err := g.db.Incidents(t.Context(), store.IncidentFilter{Workload: "backup", States: []incident.State{incident.Open}})
		return err == nil && len(all) == 0
	})
	all, err := g.db.Incidents(t.Context(), store.IncidentFilter{Workload: "backup"})
	if err != nil || len(all) == 0 || !strings.HasSuffix(all[0].EndedWhy, " was fine") {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestRunsWithoutLines tells runs that say nothing from `docker logs` of what is stopped.
func TestRunsWithoutLines(t *testing.T) {
	g := newRig(t)
	rules := compileAll(t, backup(t))
	g.start(rules)
	w := g.begins(0, "backup")
	w.lines("1", "2", "done")
	w.end()
	for range 3 { // docker logs
		w = g.begins(0, "backup")
		w.j.Asked()
		w.end()
	}
	w = g.begins(0, "backup") // asked for its log, it says something later
	w.j.Asked()
	w.lines("late")
	w.end()
	w = g.begins(0, "backup") // and one that says nothing at all
	w.end()
	g.wait(2)
	g.caughtUp()
	g.stop()
	g.start(rules)
	eventually(t, "it being known again", func() bool { return g.s.Finished(containerID(0)) })
	if e := g.wait(2); !strings.HasSuffix(e[0].Message, "it had 1 line, of at least 3") || !strings.HasSuffix(e[1].Message, "it had 0 lines, of at least 3") {
		t.Errorf("%v", messages(e))
	}
}

// TestFinishedIsJudged has a container that was stopped be finished with once its run is
// judged: then its log may go, as behind `docker run --rm`.
func TestFinishedIsJudged(t *testing.T) {
	g := newRig(t)
	g.start(compileAll(t, backup(t)))
	for n := range 20 {
		w := g.begins(n, "backup")
		w.end()
		eventually(t, "the end", func() bool { return g.s.Finished(containerID(n)) && g.dir.Remove(containerID(n)) })
		if e := g.events(); len(e) != n+1 {
			t.Fatalf("%d containers are finished with, and %d judged", n+1, len(e))
		}
		g.s.Notify(containerID(n))
	}
}

// TestRunAttachedAgain has a container be attached again a while after a new process began:
// until then its run isn't over.
func TestRunAttachedAgain(t *testing.T) {
	g := newRig(t)
	rules := compileAll(t, backup(t))
	g.start(rules)
	w := g.begins(0, "backup")
	w.lines("1", "2")
	g.caughtUp()
	g.stop()
	w.a.Detach()
	var ready atomic.Bool
	g.cfg.Ready = ready.Load
	g.start(rules)
	g.s.Notify(containerID(0))
	g.caughtUp()
	if g.s.Finished(containerID(0)) {
		t.Error("it isn't known yet whether it runs")
	}
	w.a = w.j.Attach(true)
	ready.Store(true)
	w.lines("done")
	w.end()
	w = g.begins(0, "backup")
	w.end()
	g.caughtUp()
	if e := g.wait(1); !strings.HasSuffix(e[0].Message, "it had 0 lines, of at least 3") {
		t.Errorf("%v", messages(e))
	}
}

// TestRunOfAnEmptyLog has a run begin whose plugin is killed before its first line.
func TestRunOfAnEmptyLog(t *testing.T) {
	g := newRig(t)
	w := g.begins(0, "backup")
	g.dir.Close()
	g.openJournals(journal.Config{})
	j, err := g.dir.Acquire(containerID(0))
	if err != nil {
		t.Fatal(err)
	}
	w.j, w.a = j, j.Attach(true)
	w.lines("1", "2")
	g.start(compileAll(t, backup(t)))
	g.caughtUp()
	w.end()
	if e := g.wait(1); !strings.HasSuffix(e[0].Message, "ended: no line matched /done/; it had 2 lines, of at least 3") {
		t.Errorf("%v", messages(e))
	}
}

// TestRunTakesTooLong has time pass for a run: not while it isn't known whether it goes on.
func TestRunTakesTooLong(t *testing.T) {
	g := newRig(t)
	r := kindRule(t, 1, rule.KindRun, "", func(r *rule.Rule) { r.MaxDurationSeconds = 60 })
	rules := compileAll(t, r)
	g.start(rules)
	away, long, mute := g.begins(0, "away"), g.begins(1, "long"), g.begins(2, "mute")
	away.lines("1")
	long.lines("1")
	g.caughtUp()
	g.stop()
	away.end() // while the plugin is away
	var ready atomic.Bool
	g.cfg.Ready = ready.Load
	var ahead atomic.Int64
	ahead.Store(int64(time.Hour))
	g.startAt(rules, &ahead)
	pass := func() { g.s.Pass() }
	eventually(t, "both that run", func() bool { pass(); return len(g.events()) == 2 })
	ready.Store(true)
	eventually(t, "the end of the one that doesn't", func() bool { pass(); return g.s.Finished(containerID(0)) })
	long.lines("2")
	long.end()
	eventually(t, "the end of another", func() bool { pass(); return g.s.Finished(containerID(1)) })
	e := g.wait(2)
	for _, e := range e {
		if e.Message != "a run takes longer than 1 min" || e.Metadata["workload_id"] == "away" {
			t.Errorf("%v of %v", e.Message, e.Metadata["workload_id"])
		}
	}
	g.caughtUp()
	if g.states() != "open open" {
		t.Error(g.states())
	}
	mute.end()
}

// TestRunsAfterTheRule has runs that were over before a rule was made not be judged by it.
func TestRunsAfterTheRule(t *testing.T) {
	g := newRig(t)
	for range 3 {
		w := g.begins(0, "backup")
		w.end()
	}
	w := g.begins(0, "backup")
	w.lines("1")
	g.start(compileAll(t))
	g.caughtUp()
	r := backup(t)
	r.UpdatedAt = time.Now()
	g.s.SetSnapshot(compileAll(t, r))
	w.lines("ERROR")
	w.end()
	w = g.begins(0, "backup")
	w.end()
	e := g.wait(2)
	if !strings.HasSuffix(e[0].Message, "ended: 1 line matched /ERROR/, the last: ERROR") || !strings.HasSuffix(e[1].Message, "it had 0 lines, of at least 3") {
		t.Errorf("%v", messages(e))
	}
}

const killRunsEnv = "LOGSCAN_TEST_SCAN_RUNS"

func killRunRules(t testing.TB) *rule.Snapshot {
	return compileAll(t,
		kindRule(t, 1, rule.KindRun, "", func(r *rule.Rule) { r.MinLines = 100 }),
		kindRule(t, 2, rule.KindRun, "", func(r *rule.Rule) {
			r.Must, r.MustNot, r.Names = []string{"#7$", "#77$"}, []string{"#9\\d$", "#13$"}, []string{"c1", "c2"}
		}),
		kindRule(t, 3, rule.KindRun, "", func(r *rule.Rule) { r.Restarts, r.WithinSeconds = 10, 3600 }))
}

// TestKillRuns has children scan the logs of many runs, and kills them with SIGKILL again
// and again. What they say of the runs, to the line, is what one says that nobody killed.
func TestKillRuns(t *testing.T) {
	if root := os.Getenv(killRunsEnv); root != "" {
		scanRuns(t, root)
		return
	}
	root := t.TempDir()
	g := newRig(t)
	rnd := rand.New(rand.NewPCG(8, 9))
	for range 40 {
		for n := range 8 {
			w := g.begins(n, fmt.Sprint("w", n%4))
			lines := make([]string, max(0, rnd.IntN(220)-10))
			for i := range lines {
				lines[i] = fmt.Sprint(strings.Repeat("x", rnd.IntN(50)), " #", i)
			}
			w.lines(lines...)
			w.end()
		}
	}
	g.dir.Close()
	events := func(kills int) []event.Event {
		into := filepath.Join(root, fmt.Sprint(kills))
		if err := os.CopyFS(into, os.DirFS(g.root)); err != nil {
			t.Fatal(err)
		}
		start := func() *exec.Cmd {
			cmd := exec.Command(os.Args[0], "-test.run=^TestKillRuns$")
			cmd.Env = append(os.Environ(), killRunsEnv+"="+into)
			cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			return cmd
		}
		for range kills {
			cmd := start()
			// A random moment of its life is what this is about.
			time.Sleep(time.Duration(20+rnd.IntN(200)) * time.Millisecond)
			cmd.Process.Kill()
			cmd.Wait()
		}
		if err := start().Wait(); err != nil {
			t.Fatal(err)
		}
		r := &rig{t: t, root: into}
		r.openStore()
		defer r.db.Close()
		return r.events()
	}
	want, got := events(0), events(20)
	key := func(e event.Event) string {
		return fmt.Sprint(e.Metadata["rule_id"], e.Metadata["container_name"], e.Metadata["since"], e.Message)
	}
	for _, events := range [][]event.Event{want, got} {
		for i := range events {
			events[i].ID, events[i].IncidentID, events[i].CreatedAt = 0, 0, time.Time{}
		}
		slices.SortFunc(events, func(a, b event.Event) int { return strings.Compare(key(a), key(b)) })
	}
	if len(want) < 200 || len(want) != len(got) {
		t.Fatalf("%d events, %d without kills", len(got), len(want))
	}
	short := 0
	for i := range want {
		if want[i].Metadata["rule_id"] == 3.0 {
			continue // which start of several containers is the tenth is not told by their logs
		}
		if strings.Contains(want[i].Message, "of at least 100") {
			short++
		}
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("event %d:\n%+v\n%+v without kills", i, got[i], want[i])
		}
	}
	if short < 100 {
		t.Errorf("%d runs had too few lines", short)
	}
}

// scanRuns is the child: it goes on where the one before was killed.
func scanRuns(t *testing.T, root string) {
	g := &rig{t: t, root: root}
	g.openJournals(journal.Config{})
	g.openStore()
	g.cfg.CommitEvery = time.Millisecond
	g.start(killRunRules(t))
	eventually(t, "all being judged", func() bool {
		return !slices.ContainsFunc(g.dir.IDs(), func(id string) bool { return !g.s.Finished(id) })
	})
	g.stop()
}
