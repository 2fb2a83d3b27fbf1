package faults

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
	"logscan/internal/enginetest/trap"
)

const (
	// allEnv has every case run, not some of them.
	allEnv = "LOGSCAN_ALL_FAULTS"
	// seedEnv repeats a choice of cases.
	seedEnv = "LOGSCAN_FAULTS_SEED"
	// some is how many cases run otherwise.
	some = 60
	// writing is how long containers write, beside what a fault takes.
	writing = time.Second
)

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "6") // the cases wait more than they work
	enginetest.Main(m)
}

// old is a stopped container whose segments have not been compressed yet, resumed
// one that runs while logscan starts, and fresh one that starts and ends while it
// runs.
const old, resumed, fresh = "old", "resumed", "fresh"

// template is what logscan left behind when it was stopped a first time.
type template struct {
	dir     string
	lines   map[string]int // written
	trigger int64
}

func newTemplate(t *testing.T) *template {
	t.Helper()
	r := newRig(t)
	r.start("", nil)
	tm := &template{dir: t.TempDir(), lines: map[string]int{}, trigger: r.configure()}
	for _, id := range []string{old, resumed} {
		c := r.open(id)
		c.attach()
		for range 80 {
			if err := c.write(100); err != nil {
				t.Fatal(err)
			}
		}
		tm.lines[id] = c.n
		if id == old {
			c.end()
		}
	}
	r.caughtUp()
	r.stop()
	if err := os.CopyFS(tm.dir, os.DirFS(r.data)); err != nil {
		t.Fatal(err)
	}
	return tm
}

// result is what a case came to.
type result struct {
	hits          int // calls that the fault hit
	written, kept int // lines
	told          int // lines that events tell of as lost
	events, again int // hits stored; webhooks that came more than once
	refused       int // StartLogging calls
	blocked       time.Duration
}

// try has logscan go through everything with a fault, and then once more
// without; handle answers the calls that are trapped.
func (tm *template) try(t *testing.T, f *fault, calls string, handle func(r *rig, c *trap.Call) trap.Answer) (res result) {
	r := newRig(t)
	if err := os.CopyFS(r.data, os.DirFS(tm.dir)); err != nil {
		t.Fatal(err)
	}
	r.database(func(db *sql.DB) error {
		_, err := db.Exec("UPDATE triggers SET definition = json_set(definition, '$.action_url', ?)", r.hooks.URL)
		return err
	})
	res.written = tm.lines[old]
	running := r.open(resumed)
	running.n = tm.lines[resumed]
	running.run()
	r.start(calls, func(c *trap.Call) trap.Answer { return handle(r, c) })
	starts := r.open(fresh)
	starts.attach()
	starts.run()
	time.Sleep(writing)
	if f != nil { // some steps come when it stops
		for end := time.Now().Add(writing + f.lasts); !f.over() && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		}
	}
	starts.pause()
	running.pause()
	starts.end()
	r.stop()
	if f != nil {
		f.mu.Lock()
		res.hits = f.hit
		f.mu.Unlock()
	}

	r.start("", nil)
	if err := running.write(1000); err != nil {
		t.Error(err)
	}
	written := map[string]int{old: tm.lines[old], resumed: running.n, fresh: starts.n}
	kept := map[string][]int{}
	for id := range written {
		kept[id] = r.kept(id)
		r.scanned(id, kept[id])
	}
	r.caughtUp()
	for id, n := range written {
		kept := kept[id]
		told := r.told(id)
		for end := time.Now().Add(deadline); len(kept)+told < n && time.Now().Before(end); told = r.told(id) {
			time.Sleep(10 * time.Millisecond) // what was not told when logscan stopped it tells now
		}
		if len(kept)+told != n {
			t.Errorf("%s: %d lines written, %d kept, %d told as lost; missing %s", id, n, len(kept), told, gaps(kept, n))
		}
		if told > 0 && (f == nil || f.errno == 0 || f.lasts < patience) {
			t.Errorf("%s: %d lines lost, and the disk was ill for %s", id, told, f.lasts)
		}
		res.events += r.checkHits(id, kept, tm.lines[id])
		res.kept, res.told = res.kept+len(kept), res.told+told
	}
	res.written = written[old] + written[resumed] + written[fresh]
	res.again, res.refused = r.hooks.again, r.refused
	res.blocked = max(starts.blocked, running.blocked)
	r.stop()
	r.database(func(db *sql.DB) error {
		var said string
		if err := db.QueryRowContext(context.Background(), "PRAGMA integrity_check").Scan(&said); err != nil || said != "ok" {
			t.Errorf("database: %s, %v", said, err)
		}
		return nil
	})
	if left := r.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	return res
}

// told sums up the lines of a container that events tell of as lost.
func (r *rig) told(id string) (lines int) {
	for _, ev := range r.events(api.EventQuery{Source: "system"}) {
		if ev.Metadata["container_id"] == id {
			frames, _ := ev.Metadata["frames"].(float64)
			lines += int(frames)
		}
	}
	return lines
}

// scanned waits until the last marked line has its hit.
func (r *rig) scanned(id string, kept []int) {
	r.t.Helper()
	want := ""
	for _, n := range slices.Backward(kept) {
		if n%markEvery == 0 {
			want = fmt.Sprintf("mark %s %010d", id, n)
			break
		}
	}
	if want == "" {
		return
	}
	r.eventually("the hit "+want, func() bool {
		page, err := r.Events(context.Background(), api.EventQuery{Rule: "mark", Container: id, Limit: 1})
		return err == nil && len(page.Items) == 1 && hit(page.Items[0]) == want
	})
}

// checkHits compares events with the lines of a container that are kept, and
// webhooks with those from number from on, and returns how many events there are.
func (r *rig) checkHits(id string, kept []int, from int) (events int) {
	t := r.t
	t.Helper()
	stored := map[string]int{}
	cool := map[int]int{} // suppressed before that line
	for _, ev := range r.events(api.EventQuery{Source: "logscan", Container: id}) {
		stored[hit(ev)]++
		events++
		if ev.Metadata["rule_name"] == "cool" {
			captures, _ := ev.Metadata["captures"].(map[string]any)
			var n int
			fmt.Sscanf(fmt.Sprint(captures["n"]), "%d", &n)
			held, _ := ev.Metadata["suppressed"].(float64)
			cool[n] = int(held)
		}
	}
	bad := 0
	complain := func(format string, args ...any) {
		if bad++; bad <= 5 {
			t.Errorf(format, args...)
		}
	}
	held := 0
	for _, n := range kept {
		if n%markEvery == 0 {
			if k := fmt.Sprintf("mark %s %010d", id, n); stored[k] != 1 {
				complain("%s: %d events", k, stored[k])
			}
		}
		if n%coolEvery != 0 {
			continue
		}
		if before, ok := cool[n]; !ok {
			held++
		} else {
			if before != held {
				complain("%s: line %d tells of %d held back, and %d were", id, n, before, held)
			}
			held = 0
		}
	}
	if lasts := int(time.Second / lineTime / coolEvery); held > lasts {
		complain("%s: the last %d matches of cool have no event", id, held)
	}
	r.hooks.mu.Lock()
	defer r.hooks.mu.Unlock()
	for k, times := range stored {
		if times != 1 {
			complain("%s: %d events", k, times)
		}
		var n int
		fmt.Sscanf(k[strings.LastIndexByte(k, ' ')+1:], "%d", &n)
		if n < from { // went to another receiver
			continue
		}
		if n := len(r.hooks.got[k]); n != 1 {
			complain("%s: %d webhooks", k, n)
		}
	}
	if bad > 5 {
		t.Errorf("%s: and %d more", id, bad-5)
	}
	return events
}

// gaps tells which numbers below n are not there.
func gaps(kept []int, n int) string {
	var out []string
	next := 0
	for _, k := range append(slices.Clone(kept), n) {
		if k > next {
			out = append(out, fmt.Sprintf("%d–%d", next, k-1))
		}
		next = k + 1
	}
	return strings.Join(out[:min(len(out), 10)], ", ")
}

// TestEveryStep fails each step that logscan takes on its files, once and for
// seconds, or has it killed there, before it is done and though it was. Nothing is
// lost but what a disk refused for longer than lines can wait, and that is told;
// each hit is stored once and delivered; and the next process finds it all well.
// It tries some of all cases, unless it is told otherwise (allEnv).
func TestEveryStep(t *testing.T) {
	tm := newTemplate(t)
	var mu sync.Mutex
	occurs := map[step]int{}
	t.Run("no fault", func(t *testing.T) {
		tm.try(t, nil, strings.Join(calls, ","), func(r *rig, c *trap.Call) trap.Answer {
			if s, ours := stepOf(c, r.data); ours {
				mu.Lock()
				occurs[s]++
				mu.Unlock()
			}
			return trap.Continue
		})
	})
	if t.Failed() {
		return
	}
	var steps []step
	for s := range occurs {
		steps = append(steps, s)
	}
	slices.SortFunc(steps, func(a, b step) int { return strings.Compare(a.String(), b.String()) })
	var cases []*fault
	for _, s := range steps {
		t.Logf("%6d × %s", occurs[s], s)
		cases = append(cases, faultsOf(s, occurs[s])...)
	}
	t.Logf("%d steps, %d cases", len(steps), len(cases))
	if os.Getenv(allEnv) == "" {
		seed := uint64(time.Now().UnixNano())
		fmt.Sscan(os.Getenv(seedEnv), &seed)
		t.Logf("%s=%d", seedEnv, seed)
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(cases), func(i, k int) { cases[i], cases[k] = cases[k], cases[i] })
		cases = cases[:min(some, len(cases))]
	}
	results := make([]result, len(cases))
	t.Run("with", func(t *testing.T) {
		for i, f := range cases {
			t.Run(strings.ReplaceAll(f.String(), " ", "_"), func(t *testing.T) {
				t.Parallel()
				results[i] = tm.try(t, f, trapped(f.call), func(r *rig, c *trap.Call) trap.Answer { return f.answer(c, r.data) })
			})
		}
	})
	var table strings.Builder
	met, run := 0, 0
	for i, f := range cases {
		res := results[i]
		if res.written == 0 { // left out by -run
			continue
		}
		if run++; res.hits > 0 {
			met++
		}
		fmt.Fprintf(&table, "%-60s hit %5d  written %6d  kept %6d  told %4d  events %4d  webhooks again %3d  refused %d  blocked %s\n",
			f, res.hits, res.written, res.kept, res.told, res.events, res.again, res.refused, res.blocked.Round(time.Millisecond))
	}
	t.Logf("\n%s%d of %d faults hit a call", table.String(), met, run)
	if met < run*3/4 {
		t.Error("the others never came to their step")
	}
}
