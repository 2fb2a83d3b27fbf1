package integration

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"golang.org/x/sys/unix"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

const (
	batchLines = 50
	bucketSize = 5
	refill     = 500 * time.Millisecond
)

// TestClockSteps steps the clock that dockerd and the plugin read, forward an
// hour, back, back another one and forward again, while containers write, rules
// hold hits back, webhooks fail and are repeated, containers are stopped, and
// logs and events are young or too old.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin("LOGSCAN_ALLOW_TARGETS=127.0.0.1", "LOGSCAN_STOPPED_AGE=30m", "LOGSCAN_EVENTS_AGE=30m",
		fmt.Sprintf("LOGSCAN_BUCKET_BURST=%d", bucketSize), fmt.Sprintf("LOGSCAN_BUCKET_REFILL=%s", refill))
	client, c := engineClient(e), control(t, e)
	const number = `^(?P<n>\d+) `
	makeRule(t, c, "cooldown", number, api.RuleFields{"workload_id": "cooldown", "cooldown_seconds": 1})
	makeRule(t, c, "bucket", number, api.RuleFields{"workload_id": "bucket"})
	makeRule(t, c, "batch", `^batch (?P<n>\d+) line 0$`, api.RuleFields{})
	hooks := newClockedReceiver(t)
	if _, err := c.CreateTrigger(ctx, api.TriggerCreate{Name: "hooks", ActionURL: hooks.URL, TriggerFields: api.TriggerFields{"mode": "events",
		"message_regex": "^batch . ", "action_secret": clockSecret,
	}}); err != nil {
		t.Fatal(err)
	}

	// Logs and events to be kept, and such to be removed: an hour ahead the clock
	// makes all of them too old.
	short := func() string {
		t.Helper()
		name := e.Run([]string{"--log-driver", enginetest.Plugin, "--log-opt", "workload=short"}, "echo", "batch 99 line 0")
		e.Wait(name)
		return name
	}
	young, old := short(), short()
	allHits(t, e, c, "batch", 2)
	oldLog := makeOld(t, e, e.ContainerID(old))
	e.KillPlugin() // the next process finds out how old logs are; one that runs remembers it
	c = control(t, e)

	// Two containers write the same at the same times, as they are told to.
	boxes := map[string]*batches{"json-file": startBatches(t, e, "json-file"), enginetest.Plugin: startBatches(t, e, enginetest.Plugin)}
	name := boxes[enginetest.Plugin].name
	follower := follow(t, e, name)
	rules := map[string]string{} // by container
	for _, rule := range []string{"cooldown", "bucket"} {
		rules[e.Run([]string{"--log-driver", enginetest.Plugin, "--log-opt", "workload=" + rule}, "loggen", "-n", "0", "-rate", "300", "-len", "20")] = rule
	}
	base := time.Now()
	offsets := append([]int8{0}, clockSteps...)
	offsets = append(offsets, -1, -2, 0)
	for i, hours := range offsets {
		hooks.step(hours, func() { setClock(t, hours, e.DockerdPID(), e.PluginPID()) })
		before := map[string]int{}
		for _, rule := range rules {
			before[rule] = len(hits(t, c, rule))
		}
		for driver, b := range boxes {
			b.write(t, i)
			e.Eventually(time.Minute, fmt.Sprintf("batch %d in the log of %s", i, driver), func() bool {
				return len(readLogs(t, client, b.name, logOptions{})) == (i+1)*batchLines
			})
		}
		// Nothing waits for the hour: not the hit of this batch, nor the webhook of
		// the one before, which was refused until now; not the rules that hold back.
		e.Eventually(time.Minute, fmt.Sprintf("the hit of batch %d", i), func() bool { return hitOf(t, c, i) })
		if i > 0 {
			e.Eventually(time.Minute, fmt.Sprintf("the webhook of batch %d", i-1), func() bool { return hooks.has(i - 1) })
		}
		e.Eventually(time.Minute, fmt.Sprintf("the webhook of batch %d being refused", i), func() bool { return hooks.refused(i) })
		for _, rule := range rules {
			e.Eventually(time.Minute, "more hits of "+rule, func() bool { return len(hits(t, c, rule)) >= before[rule]+3 })
		}
		// Nor does docker stop: the container ends of itself, and its log is whole.
		stopped := e.Run([]string{"--log-driver", enginetest.Plugin, "--log-opt", "workload=stopped"}, "loggen", "-n", "0", "-len", "20")
		f := flow{e: e, client: client, control: c, name: stopped}
		e.Eventually(time.Minute, "lines to stop at", func() bool { return len(readLogs(t, client, stopped, logOptions{tail: "1"})) > 0 })
		e.Docker("stop", stopped)
		if _, err := f.count(t); err != nil {
			t.Errorf("docker stop with a clock wrong by %d hours: %v", hours, err)
		}
		if i == 1 {
			// An hour ahead, for as long as it takes until what is old is removed.
			e.Eventually(3*time.Minute, "the old log and event removed", func() bool {
				_, err := os.Stat(oldLog) // to read it would make it young
				return os.IsNotExist(err) && len(allEvents(t, c, api.EventQuery{Container: old})) == 0
			})
		}
	}
	last := len(offsets) - 1
	hooks.step(0, func() {})
	e.Eventually(time.Minute, "the last webhook", func() bool { return hooks.has(last) })

	if lines, events := len(readLogs(t, client, young, logOptions{})), len(allEvents(t, c, api.EventQuery{Container: young})); lines != 1 || events != 1 {
		t.Errorf("of a young log and its event, %d and %d are left", lines, events)
	}
	for _, b := range boxes {
		b.end()
		e.Wait(b.name)
	}
	followed := follower()
	all := readLogs(t, client, name, logOptions{timestamps: true})
	for i := range all {
		want := fmt.Sprintf("batch %d line %d\n", i/batchLines, i%batchLines)
		at := base.Add(time.Duration(offsets[min(i/batchLines, last)]) * time.Hour)
		if string(all[i].text) != want || all[i].time.Sub(at).Abs() > 30*time.Minute {
			t.Fatalf("line %d is %s instead of %q at about %s", i, all[i], want, at)
		}
	}
	if n := strings.Count(followed, "\n"); len(all) != len(offsets)*batchLines || n != len(all) {
		t.Errorf("%d lines, %d of them followed", len(all), n)
	}

	// Of times that go back, docker logs shows what it shows of json-file's. But
	// whatever a plugin answers, the Engine leaves out each line from before since;
	// of json-file's, newer Engines only those before the first that isn't.
	var times []time.Time
	for h := -5; h <= 3; h += 2 {
		times = append(times, base.Add(time.Duration(h)*30*time.Minute))
	}
	compared := 0
	for _, tail := range []string{"", "70", "220"} {
		for _, since := range append(times, time.Time{}) {
			for _, until := range append(times, time.Time{}) {
				o := logOptions{tail: tail, since: since, until: until, timestamps: true}
				got := stream(readLogs(t, client, name, o), 1)
				of := readLogs(t, client, boxes["json-file"].name, o)
				want := stream(slices.DeleteFunc(of, func(k chunk) bool { return k.time.Before(since) }), 1)
				if d := diff(got, want); d != "" {
					t.Errorf("%s: %s", o, d)
				}
				compared++
			}
		}
	}

	for name, rule := range rules {
		e.Docker("kill", "-s", "TERM", name)
		e.Wait(name)
		caughtUp(t, e, c)
		events := hits(t, c, rule)
		checkHeldBack(t, rule, events)
		t.Logf("%s: %d hits", rule, len(events))
	}
	st, err := c.Stats(ctx)
	if err != nil || st.Journal.Losses != 0 || st.Deliveries.Dead != 0 {
		t.Errorf("%+v: %v", st, err)
	}
	t.Logf("%d batches, %d requests of docker logs compared, %d webhooks", len(offsets), compared, hooks.attempts())
}

// checkHeldBack looks at the hits of a rule that matches each line of a container:
// every match is either a hit or counted by the next one; a cooldown, or the limit
// of hits, holds by the lines' own time, and begins anew where that jumps.
func checkHeldBack(t *testing.T, rule string, events []api.Event) {
	t.Helper()
	last, lastAt := -1, time.Time{}
	var begun time.Time // of the hits since the last jump
	hits := 0
	for i, ev := range events {
		n, at := lineOf(t, ev)
		checkSuppressed(t, ev, last)
		passed := at.Sub(lastAt)
		if passed.Abs() > 30*time.Minute {
			begun, hits = at, 0
		}
		hits++
		if rule == "cooldown" && passed.Abs() < time.Second {
			t.Errorf("cooldown: hit %d at %v, the one before at %v", i, at, lastAt)
		}
		if bound := bucketSize + 1 + int(at.Sub(begun)/refill); rule == "bucket" && hits > bound {
			t.Errorf("bucket: %d hits within %v", hits, at.Sub(begun))
		}
		last, lastAt = n, at
	}
}

// hitOf reports whether a batch has its hit.
func hitOf(t *testing.T, c *api.Client, batch int) bool {
	t.Helper()
	for _, ev := range hits(t, c, "batch") {
		if n, _ := lineOf(t, ev); n == batch {
			return true
		}
	}
	return false
}

// makeOld makes a log and its event two hours older. It returns the log's
// directory.
func makeOld(t *testing.T, e *enginetest.Engine, id string) (log string) {
	t.Helper()
	data := filepath.Join(e.PluginData(), ".logscan")
	log = filepath.Join(data, "journal", id)
	files, err := filepath.Glob(filepath.Join(log, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	then := time.Now().Add(-2 * time.Hour)
	for _, f := range files {
		if err := os.Chtimes(f, then, then); err != nil {
			t.Fatal(err)
		}
	}
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(data, "logscan.db")+"?mode=rw&_busy_timeout=10000")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	res, err := db.Exec("UPDATE event_log SET created_at = ? WHERE container_id = ?", then.UnixNano(), id)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := res.RowsAffected(); n != 1 {
		t.Fatalf("%d events made old: %v", n, err)
	}
	return log
}

// batches is a container that writes lines when it is told to.
type batches struct {
	name string
	tell *os.File
}

func startBatches(t *testing.T, e *enginetest.Engine, driver string) *batches {
	t.Helper()
	dir := t.TempDir()
	fifo := filepath.Join(dir, "batches")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	tell, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tell.Close() })
	return &batches{tell: tell, name: e.Run([]string{"-v", dir + ":/told", "--log-driver", driver}, "sh", "-c",
		fmt.Sprintf(`while read n && [ $n != end ]; do for i in $(seq 0 %d); do echo batch $n line $i; done; done </told/batches`, batchLines-1))}
}

func (b *batches) write(t *testing.T, n int) {
	t.Helper()
	if _, err := fmt.Fprintln(b.tell, n); err != nil {
		t.Fatal(err)
	}
}

func (b *batches) end() { fmt.Fprintln(b.tell, "end") }

// follow starts `docker logs -f`. The function that it returns waits for its end,
// and returns what it printed.
func follow(t *testing.T, e *enginetest.Engine, name string) (ended func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	cmd := e.Command(ctx, "logs", "-f", name)
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() string {
		t.Helper()
		stuck := time.AfterFunc(time.Minute, cancel)
		defer stuck.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("docker logs -f: %v", err)
		}
		return out.String()
	}
}

const clockSecret = "whsec_Y2xvY2tzIGNhbiBiZSBzZXQgYmFjaywgdG9v"

// clockedReceiver knows what time it should be to who sends. It refuses a webhook
// until the sender's clock has been set after the first attempt.
type clockedReceiver struct {
	*httptest.Server
	t      *testing.T
	verify *webhooks.Webhook

	mu    sync.Mutex
	hours []int8         // by which the sender's clock may be wrong: while it is set, two
	steps int            // how often it was set
	first map[string]int // by id, steps at the first attempt
	count int            // attempts
	taken map[int]bool   // by batch; false where it was only refused yet
}

func newClockedReceiver(t *testing.T) *clockedReceiver {
	t.Helper()
	verify, err := webhooks.NewWebhook(clockSecret)
	if err != nil {
		t.Fatal(err)
	}
	r := &clockedReceiver{t: t, verify: verify, hours: []int8{0}, first: map[string]int{}, taken: map[int]bool{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// step sets the sender's clock. What was sent just before may come just after.
func (r *clockedReceiver) step(hours int8, set func()) {
	r.mu.Lock()
	r.hours = []int8{r.hours[len(r.hours)-1], hours}
	r.mu.Unlock()
	set()
	r.mu.Lock()
	r.steps++
	r.mu.Unlock()
}

func (r *clockedReceiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err == nil {
		err = r.verify.VerifyIgnoringTimestamp(body, req.Header)
	}
	var seconds int64
	if err == nil {
		seconds, err = strconv.ParseInt(req.Header.Get(webhooks.HeaderWebhookTimestamp), 10, 64)
	}
	var batch int
	if err == nil {
		_, message, _ := strings.Cut(string(body), `"message":"batch `)
		_, err = fmt.Sscan(message, &batch)
	}
	if err != nil {
		r.t.Errorf("webhook: %v: %s", err, body)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	right := false
	for _, h := range r.hours {
		right = right || time.Since(time.Unix(seconds, 0).Add(-time.Duration(h)*time.Hour)).Abs() < 30*time.Second
	}
	if !right {
		r.t.Errorf("a webhook of %s came at %s, with the sender's clock wrong by %d hours", time.Unix(seconds, 0), time.Now(), r.hours)
	}
	id := req.Header.Get(webhooks.HeaderWebhookID)
	r.count++
	if _, again := r.first[id]; !again {
		r.first[id] = r.steps
	}
	if r.taken[batch] = r.steps > r.first[id]; !r.taken[batch] {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func (r *clockedReceiver) has(batch int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken[batch]
}

func (r *clockedReceiver) refused(batch int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken, tried := r.taken[batch]
	return tried && !taken
}

func (r *clockedReceiver) attempts() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}
