package scan

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
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

	"logscan/internal/correlate"
	"logscan/internal/entry"
	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/store"
)

// killRules are the child's rules: one that fires for every line, one with a
// cooldown, one that the token bucket holds back.
func killRules(t testing.TB, kind string) *rule.Snapshot {
	if kind == "every line" {
		return compile(t, rule.Rule{Pattern: `#(\d+)$`})
	}
	switch kind {
	case "kinds":
		return killKinds(t)
	case "records":
		return killRecordRules(t)
	case "usual":
		return killUsual(t)
	}
	rules := []rule.Rule{
		{ID: 1, Name: "cooldown", Pattern: `#\d+$`, Severity: "warn", Streams: "all", CooldownSeconds: 5, Enabled: true},
		{ID: 2, Name: "stderr", Pattern: `#\d+3$`, Severity: "warn", Streams: "stderr", CooldownSeconds: 1, Enabled: true},
		{ID: 3, Name: "bucket", Pattern: `#\d*7$`, Severity: "warn", Streams: "all", Enabled: true},
	}
	s, bad := rule.Compile(rules, rule.WithBucket(rule.Bucket{Burst: 5, Refill: 2 * time.Second}))
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	return s
}

// killKinds are rules that add matches up: in a sliding window, by a key, of different
// values, and of a workload; and two that wait.
func killKinds(t testing.TB) *rule.Snapshot {
	count := func(id int64, pattern string, atLeast, within int64) rule.Rule {
		r := rule.New()
		r.ID, r.Name, r.Pattern, r.Kind, r.AtLeast, r.WithinSeconds = id, fmt.Sprint("count ", id), pattern, rule.KindCount, atLeast, within
		return r
	}
	absent := func(id int64, pattern string, seconds int64) rule.Rule {
		r := rule.New()
		r.ID, r.Name, r.Pattern, r.Kind, r.ForSeconds = id, fmt.Sprint("absent ", id), pattern, rule.KindAbsent, seconds
		return r
	}
	keyed, distinct, workload, keyedAbsent := count(2, `#\d*(\d)7$`, 4, 2), count(3, `#\d*(\d)(\d)1$`, 7, 3), count(4, `#\d*99$`, 3, 2), absent(6, `#\d*(\d)33$`, 8)
	keyed.By, distinct.By, distinct.Distinct, workload.Per, keyedAbsent.By = []string{"$1"}, []string{"$1"}, "$2", rule.PerWorkload, []string{"$1"}
	rules := []rule.Rule{count(1, `#\d*5$`, 12, 1), keyed, distinct, workload, absent(5, `#\d*777$`, 9), keyedAbsent}
	for _, r := range rules {
		if err := rule.Fields.Validate(r); err != nil {
			t.Fatal(err)
		}
	}
	s, bad := rule.Compile(rules)
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	return s
}

// killUsual are rules that tell what matches are a share of, by a key too, and what is
// usual, of a workload too.
func killUsual(t testing.TB) *rule.Snapshot {
	ratio := func(r *rule.Rule) { r.Of, r.Over, r.AtLeast, r.WindowSeconds = `#\d+$`, "15%", 50, 10 }
	keyed := func(r *rule.Rule) {
		ratio(r)
		r.Of, r.By = `#\d*(\d)\d{4}$`, []string{"$1"}
	}
	spike := func(r *rule.Rule) { r.AtLeast, r.Factor, r.WindowSeconds = 5, "1", 60 }
	workload := func(r *rule.Rule) {
		spike(r)
		r.Per, r.Factor = rule.PerWorkload, "1.25"
	}
	return compileAll(t,
		kindRule(t, 1, rule.KindRatio, `#\d*[02468]\d\d[0-3]$`, ratio), kindRule(t, 2, rule.KindRatio, `#\d*(\d)[02468]\d\d[0-3]$`, keyed),
		kindRule(t, 3, rule.KindSpike, `#\d*5$`, spike), kindRule(t, 4, rule.KindSpike, `#\d*7$`, workload))
}

// killFrames gives numbered lines of both streams: short ones, and long ones in
// chunks between which other lines come. The last has no end. Now and then the
// clock steps back, and there is a pause of up to a time.
func killFrames(lines int, pause time.Duration) []byte {
	rng := rand.New(rand.NewPCG(5, 6))
	var b []byte
	now := int64(1e18)
	type open struct {
		id   string
		left int
		n    int
		nano int64
	}
	var begun [2]open
	put := func(e entry.Entry) { b = entry.Append(b, &e) }
	for n := 0; n < lines; {
		i := rng.IntN(2)
		s := &begun[i]
		now += rng.Int64N(20e6)
		if rng.IntN(2000) == 0 {
			now -= rng.Int64N(60e9)
		}
		if pause > 0 && rng.IntN(400) == 0 {
			now += rng.Int64N(int64(pause))
		}
		switch {
		case s.left > 1:
			s.left--
			e := chunk(streams[i], s.id, strings.Repeat("-", 4096), false)
			e.TimeNano = s.nano
			put(e)
		case s.left == 1:
			s.left = 0
			e := chunk(streams[i], s.id, fmt.Sprint(" #", s.n), n%7 > 0) // or its end never comes
			e.TimeNano = s.nano
			put(e)
		case rng.IntN(40) == 0:
			*s = open{fmt.Sprint("id", n), 1 + rng.IntN(12), n, now}
			n++
		default:
			put(entry.Entry{Source: streams[i], TimeNano: now, Line: fmt.Appendf(nil, "%s #%d", strings.Repeat("=", rng.IntN(100)), n)})
			n++
		}
	}
	for i := range begun {
		if s := &begun[i]; s.left > 0 {
			e := chunk(streams[i], s.id, fmt.Sprint(" #", s.n), false)
			e.TimeNano = s.nano
			put(e)
		}
	}
	return b
}

// TestKill has a child ingest from a pipe that the parent fills and scan what
// comes, and kills it with SIGKILL again and again. Every line is an event
// once; and with cooldowns and the bucket, the events are those of a child that
// nobody killed.
func TestKill(t *testing.T) {
	if root := os.Getenv("LOGSCAN_TEST_SCAN"); root != "" {
		scanPipe(t, root, os.Getenv("LOGSCAN_TEST_RULES"))
		return
	}
	const lines = 40_000
	frames := killFrames(lines, 0)
	t.Run("every line", func(t *testing.T) {
		t.Parallel()
		events, _ := runChildren(t, "every line", frames, 25)
		seen := make([]int, lines)
		for _, e := range events {
			var n int
			if _, err := fmt.Sscan(e.Metadata["captures"].(map[string]any)["$1"].(string), &n); err != nil {
				t.Fatal(err)
			}
			seen[n]++
		}
		for n, times := range seen {
			if times != 1 {
				t.Errorf("line %d is %d events", n, times)
			}
		}
	})
	t.Run("limits", func(t *testing.T) {
		t.Parallel()
		matches := killedAndNot(t, "limits", frames)
		// Rule 1 matches each line that has an end.
		if matches["cooldown"] < lines*9/10 || len(matches) != 3 {
			t.Errorf("incidents count %v matches", matches)
		}
	})
	t.Run("usual", func(t *testing.T) {
		t.Parallel()
		if matches := killedAndNot(t, "usual", killFrames(lines, time.Minute)); len(matches) != 4 {
			t.Errorf("incidents count %v matches", matches)
		}
	})
	t.Run("records", func(t *testing.T) {
		t.Parallel()
		if matches := killedAndNot(t, "records", killRecords(lines)); len(matches) != 7 {
			t.Errorf("incidents count %v matches", matches)
		}
	})
	t.Run("kinds", func(t *testing.T) {
		t.Parallel()
		if matches := killedAndNot(t, "kinds", frames); len(matches) != 6 {
			t.Errorf("incidents count %v matches", matches)
		}
	})
}

// killedAndNot compares children that are killed with one that isn't, and returns how
// many matches of each rule incidents count.
func killedAndNot(t *testing.T, rules string, frames []byte) map[string]int64 {
	want, wantMatches := runChildren(t, rules, frames, 0)
	got, matches := runChildren(t, rules, frames, 25)
	if !maps.Equal(matches, wantMatches) {
		t.Errorf("incidents count %v matches, %v without kills", matches, wantMatches)
	}
	if rules == "records" {
		byRule(want)
		byRule(got)
	}
	if len(want) < 50 || len(want) != len(got) {
		t.Fatalf("%d events, %d without kills", len(got), len(want))
	}
	for i := range want {
		a, b := got[i], want[i]
		a.CreatedAt, b.CreatedAt = time.Time{}, time.Time{}
		if rules == "records" { // of several kinds: which come first depends on what is committed together
			a.ID, b.ID, a.IncidentID, b.IncidentID = 0, 0, 0, 0
		}
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("event %d:\n%+v\n%+v without kills", i, a, b)
		}
	}
	t.Log(len(want), "events,", matches)
	return matches
}

// byRule has the events of each rule stand together, in their order.
func byRule(events []event.Event) {
	slices.SortStableFunc(events, func(a, b event.Event) int {
		return cmp.Compare(a.Metadata["rule_id"].(float64), b.Metadata["rule_id"].(float64))
	})
}

// runChildren feeds the frames to children of which all but the last are
// killed, and returns the events, and how many matches of each rule incidents count.
func runChildren(t *testing.T, rules string, frames []byte, kills int) ([]event.Event, map[string]int64) {
	root := t.TempDir()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	written := make(chan struct{})
	// The last part waits until the kills are over, so that they all hit.
	hold := make(chan struct{})
	go func() {
		defer close(written)
		defer w.Close()
		part := len(frames)/(kills+1) + 1
		for i := 0; i < len(frames); i += part {
			end := min(i+part, len(frames))
			if end == len(frames) {
				<-hold
			}
			if _, err := w.Write(frames[i:end]); err != nil {
				t.Error(err)
				return
			}
			if end < len(frames) {
				time.Sleep(20 * time.Millisecond) // so that it takes about as long as the kills
			}
		}
	}()
	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "LOGSCAN_TEST_SCAN="+root, "LOGSCAN_TEST_RULES="+rules)
		cmd.ExtraFiles = []*os.File{r}
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	rng := rand.New(rand.NewPCG(7, uint64(kills)))
	for range kills {
		cmd := start()
		// A random moment of its life is what this is about.
		time.Sleep(time.Duration(30+rng.IntN(120)) * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
	}
	close(hold)
	cmd := start()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	<-written
	g := &rig{t: t, root: root}
	g.openStore()
	defer g.db.Close()
	incidents, err := g.db.Incidents(t.Context(), store.IncidentFilter{})
	if err != nil {
		t.Fatal(err)
	}
	matches := map[string]int64{}
	for _, i := range incidents {
		matches[i.Rule] += i.Matches
	}
	return g.events(), matches
}

// scanPipe is the child: it goes on where the one before was killed, and ends
// when the pipe does and everything is committed.
func scanPipe(t *testing.T, root, rules string) {
	const pipe = 3
	if err := unix.SetNonblock(pipe, true); err != nil {
		t.Fatal(err)
	}
	var s *Scanner
	dir, err := journal.OpenDir(journal.Config{
		Root: filepath.Join(root, "journal"), HoldMax: 1 << 30,
		OnAppend: func(id string) { s.Notify(id) }, OnDetach: func(id string) { s.Notify(id) },
	})
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(filepath.Join(root, "test.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	// That a record isn't added to is not known from its lines, but by when they are read.
	var attached atomic.Bool
	s = New(Config{Journals: dir, Store: db, CommitEvery: time.Millisecond, RecordAfter: time.Hour, Ready: attached.Load})
	s.tick = 10 * time.Millisecond
	s.SetSnapshot(killRules(t, rules))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	go dir.Run(ctx)
	if rules == "usual" { // until it is known what was before them, nothing is a hit
		for !hasRows(t, db, "seeded 3", "seeded 4") {
			time.Sleep(time.Millisecond)
		}
	}

	o := journal.Options{MaxSize: 256 << 10, MaxFile: 3, Compress: true} // often rotated and trimmed
	j, err := dir.Create(journal.Container{ID: containerID(0), Name: "c", Workload: "w", Scan: true, Options: o, Started: time.Unix(1e9, 0)})
	if err != nil {
		t.Fatal(err)
	}
	a := j.Attach(true)
	attached.Store(true)
	for {
		_, err := a.Ingest(pipe, 1<<20)
		if err == io.EOF {
			break
		}
		if err == unix.EAGAIN {
			time.Sleep(time.Millisecond)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	a.Detach()
	for len(s.Lag()) > 0 || s.Stats().Waiting > 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-ended
}

// hasRows reports whether something is stored in scopes of what rules add up.
func hasRows(t *testing.T, db *store.Store, scopes ...string) bool {
	rows, _, err := db.Correlated(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return !slices.ContainsFunc(scopes, func(scope string) bool {
		return !slices.ContainsFunc(rows, func(r correlate.Row) bool { return r.Scope == scope })
	})
}
