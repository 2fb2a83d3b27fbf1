package trigger_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"logscan/internal/egress"
	"logscan/internal/event"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// clock is simulated time: it stands still until it is made to jump.
type clock struct {
	mu      sync.Mutex
	now     time.Time
	waiters map[chan time.Time]time.Time
	added   chan struct{}
}

func newClock() *clock {
	return &clock{now: time.Now(), waiters: map[chan time.Time]time.Time{}, added: make(chan struct{}, 1)}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := make(chan time.Time, 1)
	if d <= 0 {
		ch <- c.now
		return ch
	}
	c.waiters[ch] = c.now.Add(d)
	select {
	case c.added <- struct{}{}:
	default:
	}
	return ch
}

// jump goes to the next time that something waits for.
func (c *clock) jump() {
	c.mu.Lock()
	defer c.mu.Unlock()
	var next time.Time
	for _, at := range c.waiters {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if next.After(c.now) {
		c.now = next
	}
	c.fire()
}

// advance lets a time pass at once.
func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	c.fire()
}

// fire wakes those whose time has come. c.mu is held.
func (c *clock) fire() {
	for ch, at := range c.waiters {
		if !at.After(c.now) {
			ch <- c.now
			delete(c.waiters, ch)
		}
	}
}

// lockedBuffer is a log to look at while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// bench is a worker over a real store, in simulated time.
type bench struct {
	t      *testing.T
	store  *store.Store
	router *trigger.Router
	clock  *clock
	log    lockedBuffer
	config trigger.WorkerConfig
	worker *trigger.Worker
	stop   func() // waits until the worker has stopped
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, router: trigger.NewRouter(), clock: newClock(), stop: func() {}}
	b.store = must[*store.Store](t)(store.Open(filepath.Join(t.TempDir(), "logscan.db"), nil))
	b.config = trigger.WorkerConfig{
		Store: b.store, Route: b.router.Match,
		Logger:  slog.New(slog.NewTextHandler(&b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Targets: egress.Targets{Allow: []string{"127.0.0.1"}}, Now: b.clock.Now, After: b.clock.After,
	}
	t.Cleanup(func() {
		b.stop()
		b.store.Close()
	})
	return b
}

// start runs a new worker, as after a restart of the plugin.
func (b *bench) start() {
	b.t.Helper()
	b.stop()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	b.worker = trigger.NewWorker(b.config)
	go func() {
		defer close(done)
		b.worker.Run(ctx)
	}()
	b.stop = func() {
		cancel()
		<-done
	}
}

// until lets simulated time pass until cond holds.
func (b *bench) until(what string, cond func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	idle := 0
	for !cond() {
		select {
		case <-b.clock.added:
			b.clock.jump()
			idle = 0
		case <-time.After(time.Millisecond):
			// Of many that waited, one that is through doesn't wait again.
			if idle++; idle%50 == 0 {
				b.clock.jump()
			}
		}
		if time.Now().After(deadline) {
			for _, d := range b.deliveries("") {
				b.t.Logf("%+v", d)
			}
			b.t.Fatalf("waited in vain until %s; log:\n%s", what, b.log.String())
		}
	}
}

func (b *bench) trigger(name, url string) trigger.Trigger {
	b.t.Helper()
	tr := must[trigger.Trigger](b.t)(b.store.CreateTrigger(b.t.Context(), trigger.Trigger{Name: name, Mode: trigger.ModeEvents, Enabled: true, ActionURL: url, ActionSecret: "s3cr3t of " + name}))
	b.reload()
	return tr
}

func (b *bench) reload() {
	b.t.Helper()
	b.router.Set(must[[]trigger.Trigger](b.t)(b.store.Triggers(b.t.Context())))
}

func (b *bench) update(tr trigger.Trigger) {
	b.t.Helper()
	must[trigger.Trigger](b.t)(b.store.UpdateTrigger(b.t.Context(), tr))
	b.reload()
}

// emit stores hits, each in a commit of its own.
func (b *bench) emit(messages ...string) {
	b.t.Helper()
	for _, m := range messages {
		e := event.Event{Source: event.Logscan, Severity: "warn", Message: m, Metadata: map[string]any{"rule_name": "r"}}
		must[[]event.Event](b.t)(b.store.Commit(b.t.Context(), store.Batch{Events: []event.Event{e}}, b.router.Match))
	}
}

func (b *bench) deliveries(state trigger.State) []trigger.Delivery {
	b.t.Helper()
	return must[[]trigger.Delivery](b.t)(b.store.Deliveries(b.t.Context(), store.DeliveryFilter{State: state}))
}

func (b *bench) count(state trigger.State) int { b.t.Helper(); return len(b.deliveries(state)) }

func (b *bench) settled() bool { b.t.Helper(); return b.count(trigger.Pending) == 0 }

func (b *bench) systemEvents() []event.Event {
	b.t.Helper()
	return must[[]event.Event](b.t)(b.store.Events(b.t.Context(), store.EventFilter{Source: event.System, Ascending: true}))
}

// request is one attempt as a receiver saw it.
type request struct {
	id, message, body string
	header            http.Header
	at                time.Time // simulated
	answered          bool      // with a 2xx
}

// receiver is a real HTTP server on loopback.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests []request
}

// receive starts a receiver. answer says what it does with a request; a status
// of 0 cuts the connection.
func (b *bench) receive(answer func(http.ResponseWriter, request) int) *receiver {
	b.t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		_, message, _ := strings.Cut(string(body), `"message":"`)
		message, _, _ = strings.Cut(message, `"`)
		q := request{id: req.Header.Get("webhook-id"), message: message, body: string(body), header: req.Header, at: b.clock.Now()}
		status := answer(w, q)
		q.answered = status/100 == 2
		r.mu.Lock()
		r.requests = append(r.requests, q)
		r.mu.Unlock()
		switch status {
		case 0:
			panic(http.ErrAbortHandler)
		case -1: // answered already
		default:
			w.WriteHeader(status)
		}
	}))
	b.t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]request(nil), r.requests...)
}

// got are the messages that the receiver took, in order.
func (r *receiver) got() string {
	var out []string
	for _, q := range r.all() {
		if q.answered {
			out = append(out, q.message)
		}
	}
	return strings.Join(out, " ")
}

// sorted puts words in order, for where messages may come in any.
func sorted(words string) string {
	list := strings.Fields(words)
	slices.Sort(list)
	return strings.Join(list, " ")
}

func always(status int) func(http.ResponseWriter, request) int {
	return func(http.ResponseWriter, request) int { return status }
}

func numbers(from, to int) (out []string) {
	for n := from; n <= to; n++ {
		out = append(out, fmt.Sprint(n))
	}
	return out
}

// stable checks that an id always came with the same body, and each body with
// one id.
func stable(t *testing.T, requests []request) {
	t.Helper()
	bodies, ids := map[string]string{}, map[string]string{}
	for _, q := range requests {
		if old, ok := bodies[q.id]; ok && old != q.body {
			t.Errorf("%s came with two bodies:\n%s\n%s", q.id, old, q.body)
		}
		if old, ok := ids[q.body]; ok && old != q.id {
			t.Errorf("one body came with two ids: %s and %s", old, q.id)
		}
		bodies[q.id], ids[q.body] = q.body, q.id
	}
}
