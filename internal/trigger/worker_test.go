package trigger_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"logscan/internal/egress"
	"logscan/internal/event"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// What arrives is the documented trigger.Payload, and that project's own library
// verifies it, whatever the form of the secret.
func TestPayloadAndSignature(t *testing.T) {
	const encoded = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	raw := func(secret string) *webhooks.Webhook { w, _ := webhooks.NewWebhookRaw([]byte(secret)); return w }
	std, err := webhooks.NewWebhook(encoded)
	if err != nil {
		t.Fatal(err)
	}
	for secret, verify := range map[string]*webhooks.Webhook{
		encoded:                std,
		"any text":             raw("any text"),
		"whsec_no base64 !":    raw("whsec_no base64 !"),
		"whsec_":               raw("whsec_"),
		"bXkgc2VjcmV0IGtleQ==": raw("bXkgc2VjcmV0IGtleQ=="),
		"":                     nil,
	} {
		b := newBench(t)
		r := b.receive(always(204))
		tr := b.trigger("ops", r.URL+"/hook?x=1")
		tr.ActionSecret = secret
		b.update(tr)
		b.emit("Out of <memory>")
		b.start()
		b.until("delivered", b.settled)
		if n := len(r.all()); n != 1 {
			t.Fatalf("%d requests", n)
		}
		q, d := r.all()[0], b.deliveries(trigger.Delivered)[0]
		if q.id != d.ID || !strings.HasPrefix(q.id, "msg_") || q.header.Get("Content-Type") != "application/json" {
			t.Errorf("header %v, delivery %+v", q.header, d)
		}
		if verify == nil {
			if s, ok := q.header["Webhook-Signature"]; ok {
				t.Errorf("signed without a secret: %v", s)
			}
			if q.header.Get("webhook-timestamp") == "" {
				t.Error("no timestamp")
			}
		} else if err := verify.Verify([]byte(q.body), q.header); err != nil {
			t.Errorf("secret %q: %v", secret, err)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(q.body), &got); err != nil {
			t.Fatal(err)
		}
		data, _ := got["data"].(map[string]any)
		meta, _ := data["metadata"].(map[string]any)
		if got["type"] != "logscan.hit" || got["timestamp"] != data["created_at"] || got["test"] != nil ||
			data["id"] != 1.0 || data["source"] != "logscan" || data["severity"] != "warn" || data["message"] != "Out of <memory>" || meta["rule_name"] != "r" {
			t.Errorf("payload %s", q.body)
		}
	}
}

// Each way in which an attempt can end.
func TestOutcomes(t *testing.T) {
	elsewhere := atomic.Int64{}
	other := func(b *bench) *receiver {
		return b.receive(func(http.ResponseWriter, request) int { elsewhere.Add(1); return 200 })
	}
	hijack := func(answer string) func(http.ResponseWriter, request) int {
		return func(w http.ResponseWriter, _ request) int {
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				c.Write([]byte(answer))
				c.Close()
			}
			return -1
		}
	}
	hang := func(w http.ResponseWriter, _ request) int {
		<-time.After(300 * time.Millisecond) // longer than the attempt
		return 200
	}
	endless := func(status int) func(http.ResponseWriter, request) int {
		return func(w http.ResponseWriter, _ request) int {
			w.WriteHeader(status)
			for range 1000 {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					break
				}
			}
			return -1
		}
	}
	status := func(code int) func(*bench) func(http.ResponseWriter, request) int {
		return func(*bench) func(http.ResponseWriter, request) int { return always(code) }
	}
	plain := func(f func(http.ResponseWriter, request) int) func(*bench) func(http.ResponseWriter, request) int {
		return func(*bench) func(http.ResponseWriter, request) int { return f }
	}
	redirect := func(code int) func(*bench) func(http.ResponseWriter, request) int {
		return func(b *bench) func(http.ResponseWriter, request) int {
			to := other(b)
			return func(w http.ResponseWriter, _ request) int { w.Header().Set("Location", to.URL); return code }
		}
	}
	for name, tt := range map[string]struct {
		answer func(*bench) func(http.ResponseWriter, request) int
		state  trigger.State
		says   string
	}{
		"200":               {status(200), trigger.Delivered, ""},
		"202":               {status(202), trigger.Delivered, ""},
		"204":               {status(204), trigger.Delivered, ""},
		"200 and endless":   {plain(endless(200)), trigger.Delivered, ""},
		"301":               {redirect(301), trigger.Pending, "301, a redirect; they are not followed"},
		"302":               {redirect(302), trigger.Pending, "302"},
		"307":               {redirect(307), trigger.Pending, "307"},
		"308":               {redirect(308), trigger.Pending, "308"},
		"304":               {status(304), trigger.Pending, "304"},
		"400":               {status(400), trigger.Dead, "answered 400"},
		"401":               {status(401), trigger.Pending, "401"},
		"404":               {status(404), trigger.Pending, "404"},
		"403":               {status(403), trigger.Pending, "403"},
		"410":               {status(410), trigger.Dead, "410"},
		"413":               {status(413), trigger.Dead, "413"},
		"415":               {status(415), trigger.Dead, "415"},
		"422":               {status(422), trigger.Dead, "422"},
		"408":               {status(408), trigger.Pending, "408"},
		"429":               {status(429), trigger.Pending, "429"},
		"500":               {status(500), trigger.Pending, "500"},
		"500 and endless":   {plain(endless(500)), trigger.Pending, "500"},
		"502":               {status(502), trigger.Pending, "502"},
		"503":               {status(503), trigger.Pending, "503"},
		"999":               {status(999), trigger.Pending, "999"},
		"cut":               {status(0), trigger.Pending, "closed the connection without an answer"},
		"too slow":          {plain(hang), trigger.Pending, "no answer within 100ms"},
		"not HTTP":          {plain(hijack("SSH-2.0-top-secret-banner\r\n")), trigger.Pending, "not HTTP"},
		"half an answer":    {plain(hijack("HTTP/1.1 200")), trigger.Pending, "closed"},
		"headers too large": {plain(hijack("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("top-secret", 20000) + "\r\n\r\n")), trigger.Pending, "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if name == "too slow" {
				b.config.Timeout = 100 * time.Millisecond
			}
			r := b.receive(tt.answer(b))
			b.trigger("ops", r.URL)
			b.emit("one")
			b.start()
			b.until("attempted", func() bool { return b.deliveries("")[0].Attempts > 0 })
			b.stop()
			d := b.deliveries("")[0]
			if d.State != tt.state && !(d.State == trigger.Dead && tt.state == trigger.Pending) {
				t.Errorf("%+v", d)
			}
			if (tt.says == "") != (d.LastError == "") || !strings.Contains(d.LastError, tt.says) || strings.Contains(d.LastError, "top-secret") || len(d.LastError) > 200 {
				t.Errorf("last error %q", d.LastError)
			}
			if code, err := strconv.Atoi(name); err == nil && d.LastStatus != code {
				t.Errorf("last status %d", d.LastStatus)
			}
			if elsewhere.Load() != 0 {
				t.Error("a redirect was followed")
			}
			if strings.Contains(b.log.String(), "top-secret") {
				t.Error("the answer is in the log")
			}
		})
	}
}

// Ten minutes down, in every way there is, with restarts of the plugin: nothing
// is lost or doubled without need, and no id changes.
func TestDownForTenMinutes(t *testing.T) {
	b := newBench(t)
	start := b.clock.Now()
	up := start.Add(10 * time.Minute)
	var n atomic.Int64 // a worker that was stopped may have a request under way
	r := b.receive(func(w http.ResponseWriter, q request) int {
		if !q.at.Before(up) {
			return 200
		}
		switch n.Add(1) % 5 {
		case 0:
			return 0
		case 1:
			return 500
		case 2:
			w.Header().Set("Retry-After", "20")
			return 429
		case 3:
			w.Header().Set("Location", "/elsewhere")
			return 301
		}
		return 503
	})
	b.trigger("ops", r.URL)
	b.start()
	for i := range 30 {
		b.emit(strconv.Itoa(i))
		if i%10 == 5 {
			at := start.Add(time.Duration(i) * 15 * time.Second)
			b.until("some time has passed", func() bool { return !b.clock.Now().Before(at) })
			b.start() // again
		}
	}
	b.until("all is delivered", b.settled)
	b.emit("after")
	b.until("all is delivered", b.settled)
	b.stop()
	if got, want := sorted(r.got()), sorted(strings.Join(append(numbers(0, 29), "after"), " ")); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	stable(t, r.all())
	if n := len(r.all()); n > 31+60 {
		t.Errorf("%d requests", n)
	}
	if n := b.count(trigger.Delivered); n != 31 {
		t.Errorf("%d delivered", n)
	}
	// The log says it when it begins, once for each way to fail, and when it ends.
	const ways, runs = 5, 4
	if n := strings.Count(b.log.String(), "deliveries fail"); n < 1 || n > ways*runs {
		t.Errorf("%d times in the log:\n%s", n, b.log.String())
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	for name, header := range map[string]func(time.Time) string{
		"seconds": func(time.Time) string { return "3600" },
		"date":    func(now time.Time) string { return now.Add(time.Hour + time.Second).UTC().Format(http.TimeFormat) },
	} {
		for _, status := range []int{429, 503} {
			b := newBench(t)
			first := true // requests come one at a time
			r := b.receive(func(w http.ResponseWriter, q request) int {
				if first {
					first = false
					w.Header().Set("Retry-After", header(q.at))
					return status
				}
				return 200
			})
			b.trigger("ops", r.URL)
			b.emit("one", "two")
			b.start()
			b.until("delivered", b.settled)
			b.stop()
			all := r.all()
			if len(all) != 3 || sorted(r.got()) != "one two" {
				t.Fatalf("%s %d: %+v", name, status, all)
			}
			if wait := all[1].at.Sub(all[0].at); wait < time.Hour || wait > time.Hour+time.Minute {
				t.Errorf("%s %d: came again after %v", name, status, wait)
			}
		}
	}
}

// The waits between attempts grow, with jitter, up to their bound.
func TestBackoff(t *testing.T) {
	for n := range 70 {
		want := trigger.LongestWait
		if n < 10 {
			want = trigger.FirstWait << max(n-1, 0)
		}
		seen := map[time.Duration]bool{}
		for range 20 {
			d := trigger.Backoff(n)
			if d < want/2 || d > want {
				t.Errorf("after %d failures %v, want about %v", n, d, want)
			}
			seen[d] = true
		}
		if len(seen) < 5 {
			t.Errorf("no jitter after %d failures", n)
		}
	}
}

// After a day it is dead, an event says so to others, and it can be redelivered
// under the same id.
func TestGiveUp(t *testing.T) {
	b := newBench(t)
	var well atomic.Bool
	r := b.receive(func(http.ResponseWriter, request) int {
		if well.Load() {
			return 200
		}
		return 500
	})
	watch := b.receive(always(200))
	bad, ops := b.trigger("bad", r.URL), b.trigger("ops", watch.URL)
	ops.Sources = []event.Source{event.System}
	b.update(ops)
	start := b.clock.Now()
	b.emit("one")
	b.start()
	b.until("dead and reported", func() bool { return b.count(trigger.Dead) == 1 && b.count(trigger.Delivered) == 1 })
	dead := b.deliveries(trigger.Dead)[0]
	if dead.TriggerID != bad.ID || dead.LastStatus != 500 || dead.LastError != "the receiver answered 500" {
		t.Errorf("%+v", dead)
	}
	all := r.all()
	if last := all[len(all)-1].at.Sub(start); last < trigger.KeepTrying || last > trigger.KeepTrying+time.Minute {
		t.Errorf("last attempt after %v", last)
	}
	if n := len(all); n < keepTryingAttempts || n > 4*keepTryingAttempts {
		t.Errorf("%d attempts", n)
	}
	events := b.systemEvents()
	if len(events) != 1 || events[0].Metadata["trigger_name"] != "bad" || !strings.Contains(watch.got(), "Trigger bad: 1 delivery was given up") {
		t.Errorf("events %+v, received %q", events, watch.got())
	}
	well.Store(true)
	must[trigger.Delivery](t)(b.store.Redeliver(t.Context(), dead.ID))
	b.until("redelivered", b.settled)
	b.stop()
	stable(t, r.all())
	if r.got() != "one" {
		t.Errorf("got %q", r.got())
	}
	if s := b.worker.Stats(); s.Dead != 1 || s.Delivered != 2 || s.Failed == 0 {
		t.Errorf("%+v", s)
	}
}

const keepTryingAttempts = int(trigger.KeepTrying / trigger.LongestWait)

// What was overdue when the plugin started is not given up at the first failure.
func TestOverdueAtStart(t *testing.T) {
	b := newBench(t)
	start := b.clock.Now()
	var well atomic.Bool
	r := b.receive(func(http.ResponseWriter, request) int {
		if well.Load() {
			return 200
		}
		return 500
	})
	b.trigger("ops", r.URL)
	b.emit("one")
	b.clock.now = start.Add(72 * time.Hour)
	b.start()
	b.until("half an hour later", func() bool { return b.clock.Now().Sub(start) > 72*time.Hour+30*time.Minute })
	well.Store(true)
	b.until("settled", b.settled)
	if r.got() != "one" {
		t.Error("given up")
	}
}

// A clock that is set back an hour holds up neither what was tried before nor
// what wasn't, whether or not the worker is begun again.
func TestClockSetBack(t *testing.T) {
	for name, again := range map[string]bool{"while it runs": false, "while it is stopped": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			var well atomic.Bool
			r := b.receive(func(_ http.ResponseWriter, q request) int {
				if !well.Load() {
					return 500
				}
				return 200
			})
			b.trigger("ops", r.URL)
			b.emit("old")
			b.start()
			b.until("tried in vain", func() bool { return b.deliveries("")[0].Attempts > 5 })
			b.emit("new")
			if again {
				b.stop()
				clear(b.clock.waiters) // those of the worker that was stopped
			}
			b.clock.mu.Lock()
			b.clock.now = b.clock.now.Add(-time.Hour)
			start := b.clock.now
			for ch, at := range b.clock.waiters { // they wait for a time to pass
				b.clock.waiters[ch] = at.Add(-time.Hour)
			}
			well.Store(true) // before the clock goes on, which it does in no time
			b.clock.mu.Unlock()
			if again {
				b.start()
			}
			b.until("all is delivered", b.settled)
			if took := b.clock.Now().Sub(start); took > 2*trigger.LongestPause { // an attempt may have been under way
				t.Errorf("took %v", took)
			}
			stable(t, r.all())
		})
	}
}

// A delivery that its receiver can't take holds up others for a moment only,
// whenever they come, and is delivered once it can be.
func TestPoison(t *testing.T) {
	b := newBench(t)
	var well atomic.Bool
	r := b.receive(func(_ http.ResponseWriter, q request) int {
		if q.message == "poison" && !well.Load() {
			return 500
		}
		return 200
	})
	b.trigger("ops", r.URL)
	b.emit("1", "poison", "2", "3")
	start := b.clock.Now()
	b.start()
	b.until("the others are through", func() bool { return b.count(trigger.Delivered) == 3 })
	if took := b.clock.Now().Sub(start); took > time.Minute {
		t.Errorf("took %v", took)
	}
	b.until("it waits long", func() bool { return b.deliveries(trigger.Pending)[0].Attempts >= 10 })
	at := b.clock.Now()
	b.emit("4", "5")
	b.until("the others are through", func() bool { return b.count(trigger.Delivered) == 5 })
	if took := b.clock.Now().Sub(at); took > trigger.LongestWait {
		t.Errorf("later ones took %v", took)
	}
	well.Store(true)
	b.until("all is delivered", b.settled)
	if got := r.got(); got != "1 2 3 4 5 poison" {
		t.Errorf("got %s", got)
	}
	stable(t, r.all())
}

// counting counts what a worker asks the store.
type counting struct {
	inner
	next atomic.Int64
}

func (c *counting) Next(ctx context.Context, id int64, after trigger.Delivery) (trigger.Job, error) {
	c.next.Add(1)
	return c.inner.Next(ctx, id, after)
}

// Triggers that fail are not looked at for what doesn't concern them.
func TestOthersDoNotWake(t *testing.T) {
	b := newBench(t)
	b.store.UseClock(b.clock.Now) // what is new is due by the clock that stands still
	c := &counting{inner: b.store}
	b.config.Store = c
	r := b.receive(always(503))
	for i := range 10 {
		b.trigger("dead "+strconv.Itoa(i), r.URL)
	}
	b.start()
	b.emit("1")
	b.until("all failed", func() bool {
		return !slices.ContainsFunc(b.deliveries(""), func(d trigger.Delivery) bool { return d.Attempts == 0 })
	})
	// From here on the clock stands still, so that all of them wait.
	for waiting := 0; waiting < 10; {
		b.clock.mu.Lock()
		waiting = len(b.clock.waiters)
		b.clock.mu.Unlock()
	}
	before := c.next.Load()
	for range 100 {
		e := event.Event{Source: event.System, Severity: event.Info, Message: "unrelated"}
		must[[]event.Event](t)(b.store.Commit(t.Context(), store.Batch{Events: []event.Event{e}}, nil))
	}
	other := b.receive(always(200))
	b.trigger("well", other.URL)
	b.emit("2")
	for deadline := time.Now().Add(time.Minute); other.got() != "2"; time.Sleep(time.Millisecond) { // until would have the clock go on
		if time.Now().After(deadline) {
			t.Fatalf("the other has %q; log:\n%s\n%+v", other.got(), b.log.String(), b.deliveries("pending"))
		}
	}
	b.stop()
	// Each was woken once, for its own.
	if n := c.next.Load() - before; n > 10+10*3+5 {
		t.Errorf("the outbox was read %d times", n)
	}
}

// A proxy that answers for a receiver which is being started loses nothing.
func TestAnswersOfProxies(t *testing.T) {
	for _, status := range []int{401, 403, 404, 502, 503} {
		b := newBench(t)
		var up atomic.Bool
		r := b.receive(func(http.ResponseWriter, request) int {
			if up.Load() {
				return 200
			}
			return status
		})
		b.trigger("behind a proxy", r.URL)
		b.start()
		b.emit("1", "2", "3")
		b.until("all were tried", func() bool {
			return !slices.ContainsFunc(b.deliveries(""), func(d trigger.Delivery) bool { return d.Attempts == 0 })
		})
		up.Store(true)
		b.until("all is delivered", b.settled)
		b.stop()
		if n := b.count(trigger.Delivered); n != 3 {
			t.Errorf("%d: %d delivered", status, n)
		}
	}
}

// The log says how a receiver fails when that changes, not each time.
func TestLogSaysWhatChanges(t *testing.T) {
	b := newBench(t)
	var status atomic.Int64
	status.Store(500)
	r := b.receive(func(http.ResponseWriter, request) int { return int(status.Load()) })
	b.trigger("ops", r.URL)
	b.start()
	b.emit("1")
	tried := func(n int) func() bool { return func() bool { return b.deliveries("")[0].Attempts >= n } }
	b.until("it failed some times", tried(3))
	status.Store(401)
	b.until("it failed in another way", tried(6))
	status.Store(200)
	b.until("all is delivered", b.settled)
	b.stop()
	log := b.log.String()
	if n := strings.Count(log, "deliveries fail"); n != 2 || !strings.Contains(log, "answered 500") || !strings.Contains(log, "answered 401") || strings.Count(log, "get through again") != 1 {
		t.Errorf("%d times in the log:\n%s", n, log)
	}
}

// A receiver that never answers delays its own deliveries only.
func TestHangingReceiver(t *testing.T) {
	b := newBench(t)
	b.config.Now, b.config.After = nil, nil // real time
	release := make(chan struct{})
	arrived := make(chan struct{}, 200) // more than there are deliveries
	hung := b.receive(func(http.ResponseWriter, request) int {
		arrived <- struct{}{}
		<-release
		return 200
	})
	var good []*receiver
	for range 3 {
		b.trigger("hung", hung.URL)
		r := b.receive(always(200))
		b.trigger("good", r.URL)
		good = append(good, r)
	}
	b.start()
	for n := range 50 {
		b.emit(strconv.Itoa(n))
	}
	for range 3 {
		<-arrived
	}
	b.until("the good ones have all", func() bool { return b.count(trigger.Delivered) == 150 })
	for _, r := range good {
		if got, want := r.got(), strings.Join(numbers(0, 49), " "); got != want {
			t.Errorf("got %s", got)
		}
	}
	if n := len(arrived); n != 0 {
		t.Errorf("%d more requests to the hanging receiver", n)
	}
	close(release)
	b.until("all is delivered", b.settled)
}

// Triggers that all fail, and are all told about each other's failures: it ends.
func TestReportsDoNotBreed(t *testing.T) {
	b := newBench(t)
	r := b.receive(always(410))
	for _, name := range []string{"a", "b", "c"} {
		b.trigger(name, r.URL)
	}
	b.start()
	b.emit("one")
	b.until("all is dead", func() bool { return b.count(trigger.Dead) == 3+6 })
	b.clock.advance(48 * time.Hour)
	b.start()
	b.emit("two")
	b.until("all is dead", func() bool { return b.count(trigger.Dead) == 2*(3+6) })
	b.stop()
	events := b.systemEvents()
	if len(events) != 6 {
		t.Errorf("%d events: %+v", len(events), events)
	}
	for _, d := range b.deliveries("") {
		for _, e := range events {
			if d.EventID == e.ID && e.Metadata["trigger_id"] == float64(d.TriggerID) {
				t.Errorf("trigger %d was told about itself", d.TriggerID)
			}
		}
	}
	// All that delivery ever writes is of source system.
	if hits := must[[]event.Event](t)(b.store.Events(t.Context(), store.EventFilter{Source: event.Logscan})); len(hits) != 2 {
		t.Errorf("%d hits", len(hits))
	}
}

// Many dead deliveries make few events, which count them all.
func TestReportsAreSummaries(t *testing.T) {
	b := newBench(t)
	r := b.receive(always(410))
	b.trigger("a", r.URL)
	began := b.clock.Now()
	b.start()
	for n := range 200 {
		b.emit(strconv.Itoa(n))
	}
	reported := func() (n float64) {
		for _, e := range b.systemEvents() {
			n += e.Metadata["deliveries"].(float64)
		}
		return n
	}
	b.until("all are reported", func() bool { return reported() == 200 })
	took := b.clock.Now().Sub(began)
	if n := len(b.systemEvents()); n > 1+int(took/trigger.ReportEvery) {
		t.Errorf("%d events in %v", n, took)
	}
}

// An edited URL counts at once for what waits; a disabled trigger's deliveries
// wait, a removed one's go.
func TestTriggerChanges(t *testing.T) {
	b := newBench(t)
	bad, good := b.receive(always(500)), b.receive(always(200))
	tr := b.trigger("ops", bad.URL)
	b.start()
	b.emit("1", "2")
	b.until("it fails", func() bool { return len(bad.all()) >= 2 })
	tr.ActionURL, tr.Enabled = good.URL, false
	b.update(tr)
	b.emit("not for it")
	other := b.trigger("other", good.URL+"/other")
	b.emit("3")
	b.until("the other has it", func() bool { return b.count(trigger.Delivered) == 1 })
	if n := b.count(trigger.Pending); n != 2 {
		t.Errorf("%d wait", n)
	}
	tr.Enabled = true
	b.update(tr)
	b.until("all is delivered", b.settled)
	if got := good.got(); !strings.HasPrefix(got, "3 ") || sorted(got) != "1 2 3" {
		t.Errorf("got %q", got)
	}
	other.ActionURL = bad.URL
	b.update(other)
	tr.Enabled = false
	b.update(tr)
	b.emit("4")
	b.until("it fails", func() bool { return b.deliveries("")[0].Attempts > 0 })
	if err := b.store.DeleteTrigger(t.Context(), other.ID); err != nil {
		t.Fatal(err)
	}
	b.until("gone", b.settled)
	b.stop()
	if strings.Contains(b.log.String(), "level=ERROR") {
		t.Errorf("log: %s", b.log.String())
	}
}

type inner = trigger.Outbox // so that the embedded field isn't named like a method

// flaky is a store that can't record for a while.
type flaky struct {
	inner
	left atomic.Int64
}

func (f *flaky) Record(ctx context.Context, ds []trigger.Delivery) error {
	if f.left.Add(-1) >= 0 {
		return errors.New("disk full")
	}
	return f.inner.Record(ctx, ds)
}

func (f *flaky) Next(ctx context.Context, id int64, after trigger.Delivery) (trigger.Job, error) {
	if f.left.Add(-1) >= 0 {
		return trigger.Job{}, errors.New("disk gone")
	}
	return f.inner.Next(ctx, id, after)
}

// What was delivered isn't sent again while its outcome can't be recorded, and
// the store's troubles are got over.
func TestStoreFails(t *testing.T) {
	b := newBench(t)
	f := &flaky{inner: b.store}
	b.config.Store = f
	r := b.receive(func(http.ResponseWriter, request) int { f.left.Store(20); return 200 })
	b.trigger("ops", r.URL)
	f.left.Store(5)
	b.start()
	b.emit("1", "2", "3")
	b.until("all is delivered", b.settled)
	if got := r.got(); got != "1 2 3" {
		t.Errorf("got %q", got)
	}
	if n := strings.Count(b.log.String(), "not recorded yet"); n < 1 || n > 3 {
		t.Errorf("%d log lines about it", n)
	}
}

// When it is stopped, the worker lets an attempt come to its end if that is
// near, and otherwise leaves it to the next start.
func TestStop(t *testing.T) {
	b := newBench(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	r := b.receive(func(http.ResponseWriter, request) int {
		arrived <- struct{}{}
		<-release
		return 200
	})
	come := func() bool {
		select {
		case <-arrived:
			return true
		default:
			return false
		}
	}
	b.trigger("ops", r.URL)
	b.emit("1", "2")
	b.start()
	b.until("the first has come", come)
	stopped := make(chan struct{})
	go func() {
		b.stop()
		close(stopped)
	}()
	release <- struct{}{}
	<-stopped
	if n := b.count(trigger.Delivered); n != 1 {
		t.Errorf("%d delivered", n)
	}
	b.stop = func() {}
	b.start()
	b.until("the second has come", come)
	began := time.Now()
	b.stop()
	if took := time.Since(began); took > trigger.StopGrace+5*time.Second {
		t.Errorf("stopping took %v", took)
	}
	if d := b.deliveries(trigger.Pending); len(d) != 1 || d[0].Attempts != 0 {
		t.Errorf("%+v", d)
	}
	close(release)
	b.stop = func() {}
	go func() { <-arrived }()
	b.start()
	b.until("all is delivered", b.settled)
	stable(t, r.all())
}

// Whatever goes wrong, no log line, event or delivery holds the secret, the
// URL's password or its token.
func TestSecretsStayIn(t *testing.T) {
	b := newBench(t)
	b.config.Timeout = 100 * time.Millisecond
	n := 0
	r := b.receive(func(w http.ResponseWriter, q request) int {
		if user, pass, ok := (&http.Request{Header: q.header}).BasicAuth(); !ok || user != "bob" || pass != "hunter2" {
			t.Error("no basic auth")
		}
		n++
		w.Header().Set("Location", "http://127.0.0.1/?token=t0k3n")
		return []int{500, 301, 429, 0, 410}[n%5]
	})
	closed := b.receive(always(200))
	closed.Close()
	host := strings.TrimPrefix(r.URL, "http://")
	for _, url := range []string{
		"http://bob:hunter2@" + host + "/p4th?token=t0k3n",
		"https://bob:hunter2@" + host + "/p4th?token=t0k3n",
		strings.Replace(closed.URL, "//", "//bob:hunter2@", 1) + "/p4th?token=t0k3n",
		"http://bob:hunter2@no-such-host.invalid/p4th?token=t0k3n",
		"http://bob:hunter2@127.0.0.2/p4th?token=t0k3n",
		"http://bob:hunter2@[::1]/p4th?token=t0k3n",
		"ftp://bob:hunter2@h/p4th?token=t0k3n",
		"://bob:hunter2@h/p4th?token=t0k3n",
		"http://bob:hunter2@h:port/p4th?token=t0k3n",
	} {
		tr := b.trigger("t", url)
		res, err := trigger.NewWorker(b.config).Test(t.Context(), tr)
		if err != nil || res.Error == "" {
			t.Errorf("test of a bad target: %+v, %v", res, err)
		}
		b.log.Write([]byte(res.Error))
		if err := trigger.CheckTarget(url, egress.Targets{}); err != nil {
			b.log.Write([]byte(err.Error()))
		}
	}
	b.start()
	b.emit("1", "2", "3", "4")
	b.until("all receivers were tried", func() bool {
		tried := map[int64]bool{}
		for _, d := range b.deliveries("") {
			tried[d.TriggerID] = tried[d.TriggerID] || d.Attempts > 0
		}
		return len(tried) > 0 && !slices.Contains(slices.Collect(maps.Values(tried)), false)
	})
	b.clock.advance(trigger.KeepTrying + trigger.StartGrace)
	b.until("all is given up", func() bool { b.clock.jump(); return b.settled() })
	b.until("all is reported", func() bool { return len(b.systemEvents()) > 0 })
	b.stop()
	out := b.log.String()
	for _, d := range b.deliveries("") {
		out += d.LastError + "\n"
	}
	for _, e := range b.systemEvents() {
		js := must[[]byte](t)(json.Marshal(e))
		out += string(js)
	}
	for _, secret := range []string{"s3cr3t", "hunter2", "t0k3n", "p4th", "Ym9iOmh1bnRlcjI"} {
		if i := strings.Index(out, secret); i >= 0 {
			t.Errorf("%s is in: …%s…", secret, out[max(0, i-200):min(len(out), i+100)])
		}
	}
	for _, q := range r.all() {
		if strings.Contains(q.body, "s3cr3t") {
			t.Error("the secret is in the trigger.Payload")
		}
	}
}

func TestTest(t *testing.T) {
	b := newBench(t)
	r := b.receive(func(_ http.ResponseWriter, q request) int {
		if strings.Contains(q.message, "bad") {
			return 418
		}
		return 201
	})
	w := trigger.NewWorker(b.config)
	tr := trigger.Trigger{Name: "ops", Mode: trigger.ModeEvents, ActionURL: r.URL, ActionSecret: "s3cr3t"}
	res := must[trigger.TestResult](t)(w.Test(t.Context(), tr))
	if res.Status != 201 || res.Error != "" || res.Latency <= 0 {
		t.Errorf("%+v", res)
	}
	q := r.all()[0]
	wh, _ := webhooks.NewWebhookRaw([]byte("s3cr3t"))
	if err := wh.Verify([]byte(q.body), q.header); err != nil {
		t.Error(err)
	}
	var p trigger.Payload
	if err := json.Unmarshal([]byte(q.body), &p); err != nil || !p.Test || p.Type != "logscan.hit" || p.Data.Source != "logscan" {
		t.Errorf("%s, %v", q.body, err)
	}
	tr.Name = "bad"
	if res := must[trigger.TestResult](t)(w.Test(t.Context(), tr)); res.Status != 418 || res.Error == "" {
		t.Errorf("%+v", res)
	}
	if b.count("") != 0 || len(must[[]event.Event](t)(b.store.Events(t.Context(), store.EventFilter{}))) != 0 {
		t.Error("a test left traces")
	}
}
