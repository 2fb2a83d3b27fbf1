package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/config"
	"logscan/internal/entry"
	"logscan/internal/event"
	"logscan/internal/fields"
	"logscan/internal/journal"
	"logscan/internal/lines"
	"logscan/internal/packs"
	"logscan/internal/rule"
	"logscan/internal/scan"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// labelRig is a scanner with what it needs to apply labels.
type labelRig struct {
	*scanning
	t    *testing.T
	root string
	stop func()
	made int // containers
}

func newLabelRig(t *testing.T) *labelRig {
	g := &labelRig{t: t, root: t.TempDir()}
	g.open()
	t.Cleanup(func() { g.close() })
	return g
}

func (g *labelRig) open() {
	log := slog.New(slog.DiscardHandler)
	db, err := store.Open(g.root+"/logscan.db", log)
	if err != nil {
		g.t.Fatal(err)
	}
	s := &scanning{store: db, router: trigger.NewRouter(), log: log, noticed: make(chan struct{}, 1)}
	notify := func(id string) {
		if s.scanner != nil {
			s.scanner.Notify(id)
		}
	}
	if s.journals, err = journal.OpenDir(journal.Config{Root: g.root + "/journal", OnAppend: notify, OnAttach: notify, OnDetach: notify}); err != nil {
		g.t.Fatal(err)
	}
	s.incidents.router = s.router
	db.UseIncidents(&s.incidents)
	ctx, cancel := context.WithCancel(context.Background())
	s.scanner = scan.New(scan.Config{Journals: s.journals, Store: db, Route: s.router.Match, Declare: func(c *journal.Container) error { return s.declare(ctx, c) }})
	g.scanning = s
	if err := s.reload(ctx); err != nil {
		g.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { s.scanner.Run(ctx); close(done) }()
	g.stop = func() { cancel(); <-done }
}

func (g *labelRig) close() {
	g.stop()
	g.journals.Close()
	g.store.Close()
}

// start makes a container that says something by labels, and then writes lines.
func (g *labelRig) start(name, workload string, declared map[string]string, texts ...string) (id string) {
	g.t.Helper()
	g.made++
	c := journal.Container{
		ID: fmt.Sprintf("%064x", g.made), Name: name, Workload: workload, Scan: true, Options: journal.DefaultOptions,
		Created: time.Unix(int64(1e9+g.made), 0).UTC(), Started: time.Now().UTC(), Declared: declared,
	}
	j, err := g.journals.Create(c)
	if err != nil {
		g.t.Fatal(err)
	}
	defer j.Release()
	write(g.t, j, texts...)
	return c.ID
}

// write has a container write lines.
func write(t *testing.T, j *journal.Journal, texts ...string) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	w := j.Attach(false)
	defer w.Detach()
	for _, text := range texts {
		e := entry.Entry{Source: "stdout", Line: []byte(text), TimeNano: time.Now().UnixNano()}
		if _, err := unix.Write(p[1], entry.Append(nil, &e)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Ingest(p[0], 1<<20); err != nil && !errors.Is(err, unix.EAGAIN) {
			t.Fatal(err)
		}
	}
}

// wait waits until something holds.
func (g *labelRig) wait(what string, ok func() bool) {
	g.t.Helper()
	for until := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			g.t.Fatalf("never: %s", what)
		}
	}
}

func (g *labelRig) events(about string) (out []event.Event) {
	g.t.Helper()
	all, err := g.store.Events(g.t.Context(), store.EventFilter{Ascending: true})
	if err != nil {
		g.t.Fatal(err)
	}
	for _, e := range all {
		if fmt.Sprint(e.Metadata["about"]) == about || about == "" && e.Source == event.Logscan {
			out = append(out, e)
		}
	}
	return out
}

// hits are the rules and containers of all hits.
func (g *labelRig) hits() (out []string) {
	for _, e := range g.events("") {
		out = append(out, fmt.Sprint(e.Metadata["rule_name"], " in ", e.Metadata["container_name"]))
	}
	return out
}

func (g *labelRig) stored() (out []string) {
	g.t.Helper()
	rules, err := g.store.Rules(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	for _, r := range rules {
		out = append(out, fmt.Sprintf("%d %s %s %s %s", r.ID, r.WorkloadID, r.Name, r.Pattern, r.ManagedBy))
	}
	return out
}

func pattern(name, pattern string) map[string]string {
	return map[string]string{"logscan.rule." + name + ".pattern": pattern, "logscan.rule." + name + ".cooldown_seconds": "0"}
}

// TestLabelRule has a rule in a label see the container's first line, and those of its
// workload's other containers alone.
func TestLabelRule(t *testing.T) {
	g := newLabelRig(t)
	if _, err := g.store.CreateRule(t.Context(), func() rule.Rule { r := rule.New(); r.Name, r.Pattern = "all", "boom"; return r }()); err != nil {
		t.Fatal(err)
	}
	if err := g.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.start("db-1", "db", nil, "boom")
	g.start("web-1", "web", nil, "nothing")
	g.start("web-2", "web", pattern("own", "boom"), "boom")
	g.wait("hits", func() bool { return len(g.hits()) == 3 })
	hits := g.hits()
	slices.Sort(hits)
	if want := []string{"all in db-1", "all in web-2", "own in web-2"}; !slices.Equal(hits, want) {
		t.Errorf("hits are %q, want %q", hits, want)
	}
	j, err := g.journals.Acquire(fmt.Sprintf("%064x", 2))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Release()
	write(t, j, "boom")
	g.wait("hits of the other replica", func() bool { return len(g.hits()) == 5 })
	if e := g.events("labels"); len(e) > 0 {
		t.Errorf("events: %+v", e)
	}
}

// TestLabelPacks has packs that a label names be for its workload alone; the labels' own
// rules go before theirs.
func TestLabelPacks(t *testing.T) {
	g := newLabelRig(t)
	p, err := packs.Get("redis")
	if err != nil {
		t.Fatal(err)
	}
	all := p.Set().Rules
	k := slices.IndexFunc(all, func(r *config.Rule) bool { return r.Value.Kind == rule.KindLine && len(r.Tests[0].Hits) > 0 })
	of, other := all[k], all[(k+1)%len(all)]
	line := of.Tests[0].Hits[0]
	g.start("app-1", "app", nil, line)
	declared := pattern(other.Key, "never written")
	declared["logscan.packs"] = "redis, reddis"
	g.start("cache-1", "cache", declared, line)
	want := of.Key + " in cache-1"
	g.wait("a hit", func() bool { return slices.Contains(g.hits(), want) })
	if slices.ContainsFunc(g.hits(), func(s string) bool { return strings.HasSuffix(s, "app-1") }) {
		t.Errorf("%q", g.hits())
	}
	rules := g.snapshot.Load().For("cache").Rules()
	if len(rules) != len(all) {
		t.Errorf("%d rules, want %d", len(rules), len(all))
	}
	for _, r := range rules {
		if r.WorkloadID != "cache" || r.Name == other.Key && r.Pattern != "never written" {
			t.Errorf("%+v", r)
		}
	}
	c, _ := g.journals.Container(fmt.Sprintf("%064x", 2))
	if l := g.Labels(c); !slices.Equal(l.Packs, []string{"redis"}) || len(l.Problems) != 1 || !strings.Contains(l.Problems[0].Reason, "did you mean redis?") {
		t.Errorf("%+v", l)
	}
}

// TestNewestLabels has the labels of the newest container of a workload count, whichever
// is started, and last as long as its log is kept.
func TestNewestLabels(t *testing.T) {
	g := newLabelRig(t)
	g.start("web-1", "web", pattern("own", "one"), "x")
	g.wait("the first", func() bool { return slices.Equal(g.stored(), []string{"1 web own one label:web-1"}) })
	second := g.start("web-2", "web", map[string]string{"logscan.rule.own.pattern": "two", "logscan.rule.more.pattern": "three"}, "x")
	g.wait("the second", func() bool {
		return slices.Equal(g.stored(), []string{"1 web own two label:web-2", "2 web more three label:web-2"})
	})
	// The first is started again: it is still the older one.
	c, _ := g.journals.Container(fmt.Sprintf("%064x", 1))
	if err := g.declare(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
	if got := g.stored(); len(got) != 2 || got[0] != "1 web own two label:web-2" {
		t.Errorf("%q", got)
	}
	if l := g.Labels(c); l.Counts || l.Newest != "web-2" || !slices.Equal(l.Rules, []string{"own"}) {
		t.Errorf("%+v", l)
	}
	// Its log goes: the other is the newest again.
	g.wait("its log is removed", func() bool { return g.journals.Remove(second) })
	if err := g.settleLabels(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := g.stored(); !slices.Equal(got, []string{"1 web own one label:web-1"}) {
		t.Errorf("%q", got)
	}
	// One that says nothing takes them away.
	g.start("web-3", "web", nil, "x")
	g.wait("none", func() bool { return len(g.stored()) == 0 })
	if got := g.snapshot.Load().For("web").Rules(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	for workload := range g.newest(func(string) bool { return true }) {
		if workload != "web" {
			t.Errorf("a workload %s", workload)
		}
	}
	if digests, err := g.store.LabelDigests(t.Context()); err != nil || len(digests) > 0 {
		t.Error(digests, err)
	}
}

// TestWrongLabels tells once what is wrong, and has what names a trigger be in effect once
// there is one.
func TestWrongLabels(t *testing.T) {
	g := newLabelRig(t)
	declared := pattern("good", "x")
	declared["logscan.rule.bad.patern"] = "x"
	declared["logscan.rule.told.pattern"] = "x"
	declared["logscan.rule.told.triggers"] = "phone"
	g.start("web-1", "web", declared, "x")
	g.wait("the rule that is right", func() bool { return slices.Equal(g.stored(), []string{"1 web good x label:web-1"}) })
	g.wait("an event", func() bool { return len(g.events("labels")) == 1 })
	e := g.events("labels")[0]
	want := "A label of container web-1 isn't in effect (logscan.rule.bad.patern: a rule has no such field: did you mean pattern?, and 1 more): `docker logscan container show web-1` tells all."
	if e.Message != want || e.Severity != event.Warn || e.Metadata["workload_id"] != "web" {
		t.Errorf("%q %+v", e.Message, e)
	}
	g.start("web-2", "web", declared, "x") // a replica says the same
	g.wait("both are read", func() bool { return len(g.hits()) == 2 })
	if err := g.settleLabels(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(g.events("labels")); n != 1 {
		t.Errorf("%d events", n)
	}
	phone := trigger.Fields.New()
	phone.Name, phone.ActionURL = "phone", "https://hooks.example.com/x"
	if _, err := g.store.CreateTrigger(t.Context(), phone); err != nil {
		t.Fatal(err)
	}
	if err := g.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.settleLabels(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := g.stored(); len(got) != 2 || !strings.HasPrefix(got[1], "2 web told x label:web-") {
		t.Errorf("%q", got)
	}
	c, _ := g.journals.Container(fmt.Sprintf("%064x", 2))
	if l := g.Labels(c); !l.Counts || !slices.Equal(l.Rules, []string{"good", "told"}) || len(l.Problems) != 1 {
		t.Errorf("%+v", l)
	}
}

// TestLabelsAfterARestart has what is stored be in effect again, and nothing be done twice.
func TestLabelsAfterARestart(t *testing.T) {
	g := newLabelRig(t)
	declared := pattern("own", "boom")
	declared["logscan.nonsense"] = ""
	declared["logscan.silence.night.cron"] = "0 3 * * *"
	declared["logscan.silence.night.for_seconds"] = "1h"
	g.start("web-1", "web", declared, "boom")
	g.wait("a hit", func() bool { return len(g.hits()) == 1 })
	before := g.stored()
	g.close()
	g.open()
	j, err := g.journals.Acquire(fmt.Sprintf("%064x", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Release()
	write(t, j, "boom")
	g.wait("another", func() bool { return len(g.hits()) == 2 })
	if err := g.settleLabels(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := g.stored(); !slices.Equal(got, before) || len(g.events("labels")) != 1 {
		t.Errorf("rules are %q, were %q; %d events", got, before, len(g.events("labels")))
	}
	silences, err := g.store.Silences(t.Context())
	if err != nil || len(silences) != 1 || silences[0].ManagedBy != "label:web-1" || fmt.Sprint(silences[0].Matchers) != "[workload=web]" {
		t.Error(silences, err)
	}
}

// TestLabelsWithoutADatabase has a container's lines wait while what its labels say can't
// be stored, and none be missed.
func TestLabelsWithoutADatabase(t *testing.T) {
	g := newLabelRig(t)
	g.start("other", "other", nil, "boom")
	g.wait("the other is read", func() bool { return g.scanner.Stats().Lines == 1 })
	g.labelled.mu.Lock() // as while a transaction hangs
	g.start("web-1", "web", pattern("own", "boom"), "boom")
	j, err := g.journals.Acquire(fmt.Sprintf("%064x", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Release()
	write(t, j, "boom")
	g.wait("another container is read meanwhile", func() bool { return g.scanner.Stats().Lines == 2 })
	if got := g.stored(); len(got) > 0 {
		t.Errorf("%q", got)
	}
	g.labelled.mu.Unlock()
	g.wait("a hit", func() bool { return len(g.hits()) == 1 })
}

// killedLabels is the environment variable by which a child of TestLabelsKilled finds its
// directory.
const killedLabels = "LOGSCAN_TEST_KILLED_LABELS"

// TestLabelsKilled kills a process again and again while it starts containers, whose labels
// change from one replica to the next, and scans what they write. Each line is found once
// by the rule of the container's labels, the first one too.
func TestLabelsKilled(t *testing.T) {
	if dir := os.Getenv(killedLabels); dir != "" {
		startLabelled(t, dir)
	}
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(11, 12))
	for range 8 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLabelsKilled$")
		cmd.Env = append(os.Environ(), killedLabels+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "begun\n" {
			t.Errorf("a child says %q, %v", line, err)
		}
		time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
	}
	g := &labelRig{t: t, root: dir}
	g.open()
	defer g.close()
	g.wait("the end of the lag", func() bool {
		return g.scanner.Finished(g.journals.IDs()[0]) && len(g.scanner.Lag()) == 0 && g.scanner.Stats().Waiting == 0
	})
	lines := map[string]int{}
	for _, j := range g.journals.List() {
		lines[j.Name] = countLines(t, g.journals, j.ID)
	}
	hits, all := map[string]int{}, 0
	g.wait("all hits", func() bool {
		hits, all = map[string]int{}, 0
		for after := int64(0); ; {
			page, err := g.store.Events(t.Context(), store.EventFilter{Ascending: true, After: after})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page {
				hits[fmt.Sprint(e.Metadata["container_name"])]++
				all, after = all+1, e.ID
			}
			if len(page) == 0 {
				return true
			}
		}
	})
	for name, n := range lines {
		if hits[name] != n {
			t.Errorf("%s wrote %d lines, of which %d hits were made", name, n, hits[name])
		}
	}
	if all < 200 || len(lines) < 10 {
		t.Errorf("%d hits in %d containers say little", all, len(lines))
	}
	if n := len(g.stored()); n != 3 {
		t.Errorf("there are %d rules, want one for each workload: %q", n, g.stored())
	}
}

// startLabelled starts containers and scans what they write, until it is killed.
func startLabelled(t *testing.T, dir string) {
	g := &labelRig{t: t, root: dir}
	g.open()
	g.made = len(g.journals.IDs())
	fmt.Println("begun")
	for {
		declared := pattern("own", "hit")
		declared["logscan.rule.own.description"] = fmt.Sprint("as of container ", g.made)
		var texts []string
		for n := range 40 {
			texts = append(texts, fmt.Sprint("hit ", n))
		}
		g.start(fmt.Sprint("c", g.made), fmt.Sprint("w", g.made%3), declared, texts...)
	}
}

// countLines is how many lines a log has.
func countLines(t *testing.T, journals *journal.Dir, id string) (n int) {
	t.Helper()
	j, err := journals.Acquire(id)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Release()
	src := lines.New(j, lines.Position{}, lines.Config{Max: 1 << 20})
	defer src.Close()
	for {
		switch _, err := src.Next(); {
		case err == io.EOF:
			return n
		case err != nil:
			t.Fatal(err)
		}
		n++
	}
}

// BenchmarkLabelsOfAStart is what it takes to have three rules in labels be in effect where
// there are 5,000 others, up to the first line of the container; and what it takes to have
// a rule of these be in effect.
func BenchmarkLabelsOfAStart(b *testing.B) {
	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)
	db, err := store.Open(b.TempDir()+"/logscan.db", log)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	s := &scanning{store: db, router: trigger.NewRouter(), log: log, noticed: make(chan struct{}, 1)}
	if s.journals, err = journal.OpenDir(journal.Config{Root: b.TempDir()}); err != nil {
		b.Fatal(err)
	}
	defer s.journals.Close()
	s.scanner = scan.New(scan.Config{Journals: s.journals, Store: db})
	var edits []store.Edit
	for n := range store.MaxRules {
		r := rule.New()
		r.Name, r.Pattern = fmt.Sprint("rule ", n), fmt.Sprintf(`module%d: (failed|refused) to \w+ %x`, n, n*2654435761)
		r.Managed = fields.Managed{ManagedBy: "file:f", Key: r.Name}
		edits = append(edits, store.Edit{Rule: &r})
	}
	if err := db.Apply(ctx, store.Apply{Source: "file:f", Edits: edits}); err != nil {
		b.Fatal(err)
	}
	if err := s.reload(ctx); err != nil {
		b.Fatal(err)
	}
	b.Run("labels", func(b *testing.B) {
		for n := range b.N {
			c := journal.Container{ID: fmt.Sprintf("%064x", n+1), Name: "web", Workload: "web", Scan: true, Options: journal.DefaultOptions, Created: time.Unix(int64(n), 0), Declared: map[string]string{}}
			for k := range 3 {
				c.Declared[fmt.Sprintf("logscan.rule.own%d.pattern", k)] = fmt.Sprintf("own%d (error|panic) %d-%d", k, n, b.N)
			}
			b.StopTimer()
			j, err := s.journals.Create(c)
			if err != nil {
				b.Fatal(err)
			}
			j.Release()
			b.StartTimer()
			if err := s.declare(ctx, &c); err != nil {
				b.Fatal(err)
			}
			if n := len(s.snapshot.Load().For("web").Rules()); n != store.MaxRules+3 {
				b.Fatalf("%d rules", n)
			}
			b.StopTimer()
			s.journals.Remove(c.ID)
			b.StartTimer()
		}
	})
	b.Run("all", func(b *testing.B) {
		for range b.N {
			if err := s.reload(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
}
