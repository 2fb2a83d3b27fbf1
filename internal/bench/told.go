package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	_ "github.com/mattn/go-sqlite3"

	"logscan/internal/egress"
	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// storm is hits that come within a minute of line time.
type storm struct {
	hits, shapes, containers int
	commits                  int           // of the minute, as many hits in each
	check                    func(*sql.DB) // looks at the database in the end; nil: nobody does
}

// setting is what a storm meets.
type setting struct {
	name   string
	rules  int // the hits' shapes are shared out among them
	change func(*trigger.Trigger)
}

var stormSettings = []setting{
	{"`--mode events`", 4, func(t *trigger.Trigger) { t.Mode = trigger.ModeEvents }},
	{"`--group-by incident`", 4, func(t *trigger.Trigger) { t.GroupBy = "incident" }},
	{"defaults: by workload, each 5 min", 4, func(*trigger.Trigger) {}},
	{"the same, all hits of one rule", 1, func(*trigger.Trigger) {}},
	{"`--group-wait 30s`", 4, func(t *trigger.Trigger) { t.GroupWaitSeconds = 30 }},
	{"`--at-most 40/h`", 4, func(t *trigger.Trigger) { t.AtMost = "40/h" }},
	{"`--at-most 40/h --group-by incident`", 4, func(t *trigger.Trigger) { t.AtMost, t.GroupBy = "40/h", "incident" }},
}

// outcome is what became of a storm.
type outcome struct {
	minute, all int // messages that the receiver got
	biggest     int // bytes of one
	incidents   int
	notices     int
	held        int // notices that waited at the storm's end
	waiting     int // notices that wait in the end
	named       int // incidents that messages have a notice of
	counted     int // incidents that messages count beyond those
	database    int64
	resident    int64         // at most
	stored      time.Duration // what commits and the passing of time took
	took        time.Duration // with delivery
}

// told measures how many messages a storm of hits becomes.
func told(b *bench) (*section, error) {
	st := storm{hits: b.pick(63_000, 6_300), shapes: b.pick(5_800, 580), containers: 20, commits: b.pick(600, 60)}
	s := &section{title: "A storm of hits"}
	s.say("%d hits of %d shapes within a minute of line time, of %d containers in half as many workloads, committed as the scanner does, %d together; one trigger, a webhook that a receiver on the same machine takes, "+
		"and the 65 minutes from the storm's begin: by then it is over for the budget too. The clock is the lines': it goes on as fast as it can be worked off. Seconds are of storing, and in brackets with delivery. Memory is the process's, with the receiver in it.", st.hits, st.shapes, st.containers, st.hits/st.commits)
	var rows [][]string
	for _, set := range stormSettings {
		o, err := st.run(set)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", set.name, err)
		}
		rows = append(rows, []string{
			set.name, strconv.Itoa(o.minute), strconv.Itoa(o.all), strconv.Itoa(o.incidents), strconv.Itoa(o.notices), strconv.Itoa(o.held), strconv.Itoa(o.waiting),
			number(float64(o.biggest) / 1024), number(float64(o.database) / (1 << 20)), number(float64(o.resident) / (1 << 20)),
			fmt.Sprintf("%s (%s)", number(o.stored.Seconds()), number(o.took.Seconds())),
		})
		progress("%s: %s", s.title, set.name)
	}
	s.table([]string{"trigger", "messages in the minute", "in 65 minutes", "incidents", "notices", "held after the minute", "in the end", "largest KiB", "database MiB", "memory MiB", "seconds"}, rows)
	return s, nil
}

// run has a storm meet a setting. It fails where a hit isn't accounted for.
func (st storm) run(set setting) (o outcome, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir, err := os.MkdirTemp("", "logscan-storm")
	if err != nil {
		return o, err
	}
	defer os.RemoveAll(dir)
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // the peak begins anew
	path := filepath.Join(dir, "logscan.db")
	s, err := store.Open(path, nil)
	if err != nil {
		return o, err
	}
	defer s.Close()
	w, err := newWorld(ctx, s, set)
	if err != nil {
		return o, err
	}
	began := time.Now()
	if err := w.minute(ctx, st, set.rules); err != nil {
		return o, err
	}
	db, err := sql.Open("sqlite3", "file:"+path+"?mode=ro")
	if err != nil {
		return o, err
	}
	defer db.Close()
	o.minute = w.receiver.count()
	if err := db.QueryRow("SELECT count(*) FROM held").Scan(&o.held); err != nil {
		return o, err
	}
	if err := w.rest(ctx); err != nil {
		return o, err
	}
	o.all, o.stored, o.took = w.receiver.count(), w.stored, time.Since(began)
	o.resident = statusField("/proc/self/status", "VmHWM") << 10
	cancel()
	w.end()
	if err := w.account(db, st, &o); err != nil {
		return o, err
	}
	if st.check != nil {
		st.check(db)
	}
	db.Close()
	if err := s.Close(); err != nil {
		return o, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return o, err
	}
	o.database = info.Size()
	return o, nil
}

// world is where a storm comes down: a store with one trigger, whose receiver takes
// all, and a clock that passes as it is told to.
type world struct {
	*store.Store
	router   *trigger.Router
	receiver *stormReceiver
	recorded chan struct{} // holds a token when outcomes have been recorded
	begin    time.Time
	now      atomic.Int64
	stored   time.Duration
	end      func() // of the worker and the receiver
}

func newWorld(ctx context.Context, s *store.Store, set setting) (*world, error) {
	w := &world{Store: s, router: trigger.NewRouter(), receiver: &stormReceiver{events: map[int64]int{}, incidents: map[int64]bool{}}, recorded: make(chan struct{}, 1), begin: time.Now().UTC()}
	w.now.Store(w.begin.UnixNano())
	s.UseClock(w.clock)
	s.UseIncidents(w)
	srv := httptest.NewServer(w.receiver)
	t := trigger.Fields.New()
	t.Name, t.ActionURL = "storm", srv.URL+"/"
	set.change(&t)
	t, err := s.CreateTrigger(ctx, t)
	if err != nil {
		srv.Close()
		return nil, err
	}
	w.router.Set([]trigger.Trigger{t})
	worker := trigger.NewWorker(trigger.WorkerConfig{Store: w, Route: w.router.Match, Targets: egress.Targets{Allow: []string{"127.0.0.1"}}, Now: w.clock})
	var running sync.WaitGroup
	running.Go(func() { worker.Run(ctx) })
	w.end = func() {
		running.Wait()
		srv.Close()
	}
	return w, nil
}

func (w *world) clock() time.Time                             { return time.Unix(0, w.now.Load()).UTC() }
func (w *world) Settings(int64) incident.Settings             { return incident.Defaults }
func (w *world) Policies() []*trigger.Policy                  { return w.router.Policies() }
func (w *world) Silenced(*incident.Incident, time.Time) int64 { return 0 }

// Record implements trigger.Outbox, and says that it has.
func (w *world) Record(ctx context.Context, outcomes []trigger.Delivery) error {
	err := w.Store.Record(ctx, outcomes)
	select {
	case w.recorded <- struct{}{}:
	default:
	}
	return err
}

// minute has the storm come.
func (w *world) minute(ctx context.Context, st storm, rules int) error {
	shapes := st.order()
	step := time.Minute / time.Duration(st.commits)
	for n := range st.commits {
		from, to := n*len(shapes)/st.commits, (n+1)*len(shapes)/st.commits
		begin := w.begin.Add(time.Duration(n) * step)
		w.now.Store(begin.Add(step).UnixNano())
		batch := store.Batch{Cursors: make([]store.Cursor, st.containers)}
		for c := range batch.Cursors {
			batch.Cursors[c] = store.Cursor{ContainerID: containerID(c), Position: []byte(strconv.Itoa(n)), State: []byte("{}")}
		}
		for k := from; k < to; k++ {
			batch.Events = append(batch.Events, st.hit(k, shapes[k], rules, begin.Add(step*time.Duration(k-from)/time.Duration(to-from))))
		}
		began := time.Now()
		_, err := w.Commit(ctx, batch, w.router.Match)
		w.stored += time.Since(began)
		if err == nil {
			err = w.pass(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// afterwards is until when it is looked what comes of a storm, from its begin.
const afterwards = 65 * time.Minute

// rest has the time afterwards pass, second by second.
func (w *world) rest(ctx context.Context) error {
	for at := w.begin.Add(time.Minute + time.Second); !at.After(w.begin.Add(afterwards)); at = at.Add(time.Second) {
		w.now.Store(at.UnixNano())
		if err := w.pass(ctx); err != nil {
			return err
		}
	}
	return nil
}

// pass does what is due, and waits until all is delivered.
func (w *world) pass(ctx context.Context) error {
	now := w.clock()
	if due := w.Due(); !due.IsZero() && !due.After(now) {
		began := time.Now()
		err := w.Store.Pass(ctx, now, now)
		w.stored += time.Since(began)
		if err != nil {
			return err
		}
	}
	for {
		counts, err := w.DeliveryCounts(ctx)
		if err != nil {
			return err
		}
		if n := counts[trigger.Dead]; n > 0 {
			return fmt.Errorf("%d deliveries were given up", n)
		}
		if counts[trigger.Pending] == 0 {
			return nil
		}
		<-w.recorded
	}
}

// order is of which shape each hit is: each shape comes, few often and most seldom.
func (st storm) order() []int {
	r := rand.New(rand.NewPCG(1, 2))
	seldom := rand.NewZipf(r, 1.1, 1, uint64(st.shapes-1))
	out := make([]int, st.hits)
	for k := range out {
		if out[k] = k; k >= st.shapes {
			out[k] = int(seldom.Uint64())
		}
	}
	r.Shuffle(len(out), func(a, b int) { out[a], out[b] = out[b], out[a] })
	return out
}

// hit is a hit as rules make it. A shape is of one workload, which has two containers.
func (st storm) hit(k, shape, rules int, at time.Time) event.Event {
	workloads := max(st.containers/2, 1)
	workload, rule := shape%workloads, shape/workloads%rules
	c := (workload + k%2*workloads) % st.containers
	return event.Event{
		Source: event.Logscan, Severity: []event.Severity{event.Error, event.Warn, event.Error, event.Critical}[rule], Time: at, CreatedAt: at,
		Message: fmt.Sprintf("job %d: cannot %s for client 10.0.%d.%d after %d ms", k, word(shape), k>>8&255, k&255, k*7%5000),
		Metadata: map[string]any{
			"rule_id": int64(rule + 1), "rule_name": fmt.Sprintf("rule-%d", rule+1), "workload_id": fmt.Sprintf("shop/service-%d", workload),
			"container_id": containerID(c), "container_name": fmt.Sprintf("shop-service-%d-%d", workload, k%2+1), "image": "shop:1", "stream": "stderr",
			"line_time": at.Format(time.RFC3339Nano),
		},
	}
}

func containerID(n int) string { return fmt.Sprintf("%064x", n+1) }

// word is a word that no other number has.
func word(n int) string {
	var out strings.Builder
	for range 3 {
		out.WriteByte("bdfgklmnprstvz"[n%14])
		n /= 14
		out.WriteByte("aeiou"[n%5])
		n /= 5
	}
	return out.String()
}

// stormReceiver takes messages, and remembers what they are about.
type stormReceiver struct {
	mu        sync.Mutex
	messages  int
	biggest   int
	events    map[int64]int
	incidents map[int64]bool
	counted   int
}

// ServeHTTP implements http.Handler.
func (r *stormReceiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	var p struct {
		Data struct {
			ID      int64
			Notices []struct{ Incident int64 }
			Held    struct{ Notices int }
		}
	}
	body, err := io.ReadAll(q.Body)
	if err == nil {
		err = json.Unmarshal(body, &p)
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages++
	r.biggest = max(r.biggest, len(body))
	if p.Data.ID != 0 {
		r.events[p.Data.ID]++
	}
	for _, n := range p.Data.Notices {
		r.incidents[n.Incident] = true
	}
	r.counted += p.Data.Held.Notices
	w.WriteHeader(http.StatusNoContent)
}

func (r *stormReceiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.messages
}

// account checks that each hit is stored, counted by its incident, and told: by itself
// or with its incident, which a message names or counts, or which waits to be told.
func (w *world) account(db *sql.DB, st storm, o *outcome) error {
	var events, unfolded, differing, hits int
	err := errors.Join(
		db.QueryRow("SELECT count(*), coalesce(sum(incident_id = 0), 0) FROM event_log").Scan(&events, &unfolded),
		db.QueryRow("SELECT count(*), coalesce(sum(data ->> 'hits'), 0), coalesce(sum(data ->> 'hits' <> (SELECT count(*) FROM event_log e WHERE e.incident_id = i.id)), 0) FROM incidents i").Scan(&o.incidents, &hits, &differing),
		db.QueryRow("SELECT count(*) FROM notices").Scan(&o.notices),
		db.QueryRow("SELECT count(*) FROM held").Scan(&o.waiting),
	)
	if err != nil {
		return err
	}
	if events != st.hits || unfolded != 0 || hits != st.hits || differing != 0 {
		return fmt.Errorf("of %d hits %d are events, %d of these of no incident; incidents count %d, %d of them wrongly", st.hits, events, unfolded, hits, differing)
	}
	r := w.receiver
	o.biggest, o.named, o.counted = r.biggest, len(r.incidents), r.counted
	if len(w.Policies()) == 0 { // each hit by itself
		for id, n := range r.events {
			if n != 1 {
				return fmt.Errorf("event %d was told %d times", id, n)
			}
		}
		if len(r.events) != st.hits {
			return fmt.Errorf("%d of %d hits were told", len(r.events), st.hits)
		}
		return nil
	}
	rows, err := db.Query("SELECT DISTINCT n.incident_id FROM held h JOIN notices n ON n.id = h.notice_id")
	if err != nil {
		return err
	}
	defer rows.Close()
	known := map[int64]bool{}
	for id := range r.incidents {
		known[id] = true
	}
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return err
		}
		known[id] = true
	}
	// Which ones a message counts, it doesn't say.
	if missing := o.incidents - len(known); missing > o.counted {
		return fmt.Errorf("of %d incidents %d are neither told nor held, and messages count %d", o.incidents, missing, o.counted)
	}
	return rows.Err()
}
