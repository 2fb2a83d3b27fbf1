package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// sink is a receiver that behaves as it is told to, and remembers every request.
type sink struct {
	*httptest.Server
	mu       sync.Mutex
	requests []arrival
	behave   func(w http.ResponseWriter, n int) int // status; 0 cuts the connection, -1 has answered
}

type arrival struct {
	id, body, message string
	took              bool // answered with a 2xx
}

func newSink(t *testing.T, behave func(w http.ResponseWriter, n int) int) *sink {
	t.Helper()
	s := &sink{behave: behave}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *sink) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var hook struct{ Data struct{ Message string } }
	json.Unmarshal(body, &hook)
	s.mu.Lock()
	n := len(s.requests)
	s.requests = append(s.requests, arrival{r.Header.Get("webhook-id"), string(body), hook.Data.Message, false})
	behave := s.behave
	s.mu.Unlock()
	status := behave(w, n)
	s.mu.Lock()
	s.requests[n].took = status/100 == 2
	s.mu.Unlock()
	switch status {
	case 0:
		panic(http.ErrAbortHandler)
	case -1:
	default:
		w.WriteHeader(status)
	}
}

// become changes what it does.
func (s *sink) become(behave func(w http.ResponseWriter, n int) int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behave = behave
}

func (s *sink) all() []arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// taken are the messages that it took, each delivery once, in order.
func (s *sink) taken() (messages []string) {
	seen := map[string]bool{}
	for _, r := range s.all() {
		if r.took && !seen[r.id] {
			seen[r.id] = true
			messages = append(messages, r.message)
		}
	}
	return messages
}

// stable says what is wrong with the ids of what came: each must stand for one
// body, and each body for one id. What is tried again may have more of the lines around
// a hit.
func (s *sink) stable() string {
	bodies, ids := map[string]string{}, map[string]string{}
	for _, r := range s.all() {
		body := withoutContext(r.body)
		if b, ok := bodies[r.id]; ok && b != body || r.id == "" {
			return "two bodies under id " + r.id
		}
		if id, ok := ids[body]; ok && id != r.id {
			return "one body under the ids " + id + " and " + r.id
		}
		bodies[r.id], ids[body] = body, r.id
	}
	return ""
}

// withoutContext is a webhook's body without the lines around hits.
func withoutContext(body string) string {
	var v any
	if json.Unmarshal([]byte(body), &v) != nil {
		return body
	}
	var strip func(v any)
	strip = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, name := range []string{"context", "before", "after"} {
				if _, lines := v[name].([]any); lines {
					delete(v, name)
				}
			}
			for _, in := range v {
				strip(in)
			}
		case []any:
			for _, in := range v {
				strip(in)
			}
		}
	}
	strip(v)
	b, _ := json.Marshal(v)
	return string(b)
}

func answer(status int) func(http.ResponseWriter, int) int {
	return func(http.ResponseWriter, int) int { return status }
}

// TestReceiversThatMisbehave sends the same hits to receivers each of which is
// ill in its own way, and kills the plugin meanwhile. Nothing is lost, nothing
// overtakes without need, nobody waits for another.
func TestReceiversThatMisbehave(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin(append([]string{"LOGSCAN_ALLOW_TARGETS=127.0.0.1"}, unbounded...)...)
	c := control(t, e)

	elsewhere := newSink(t, answer(200))
	release := make(chan struct{})
	released := sync.OnceFunc(func() { close(release) })
	defer released() // before the server that waits for it is closed
	sinks := map[string]*sink{
		"well": newSink(t, answer(200)),
		"slow": newSink(t, func(http.ResponseWriter, int) int { time.Sleep(30 * time.Millisecond); return 202 }),
		"hanging": newSink(t, func(http.ResponseWriter, int) int {
			<-release
			return 200
		}),
		// Each refuses its first request and every fifth, and takes the rest.
		"500":      newSink(t, sometimes(answer(500))),
		"503":      newSink(t, sometimes(answer(503))),
		"redirect": newSink(t, sometimes(func(w http.ResponseWriter, _ int) int { w.Header().Set("Location", elsewhere.URL); return 301 })),
		"throttle": newSink(t, sometimes(func(w http.ResponseWriter, _ int) int { w.Header().Set("Retry-After", "1"); return 429 })),
		"cut":      newSink(t, sometimes(answer(0))),
		"half": newSink(t, sometimes(func(w http.ResponseWriter, _ int) int {
			// Cut in the middle of the answer's headers.
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Le")
				conn.Close()
			}
			return -1
		})),
		"gone": newSink(t, answer(410)),
	}
	ids := map[string]int64{}
	for name, s := range sinks {
		tr, err := c.CreateTrigger(ctx, api.TriggerCreate{Name: name, ActionURL: s.URL, TriggerFields: api.TriggerFields{"mode": "events"}})
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = tr.ID
	}
	addRule(t, c, "hit", `^hit \d+$`)
	const lines = 12
	var want []string
	for i := range lines {
		want = append(want, fmt.Sprint("hit ", i))
	}
	say := func(from, to int) {
		t.Helper()
		e.Wait(e.Run([]string{"--log-driver", enginetest.Plugin}, "sh", "-c", fmt.Sprintf("for i in $(seq %d %d); do echo hit $i; done", from, to-1)))
	}
	hitsOf := func(s *sink) (messages []string) {
		for _, m := range s.taken() {
			if strings.HasPrefix(m, "hit ") {
				messages = append(messages, m)
			}
		}
		return messages
	}

	say(0, lines/2)
	e.Eventually(time.Minute, "the hanging receiver being asked", func() bool { return len(sinks["hanging"].all()) > 0 })
	e.KillPlugin()
	control(t, e)
	say(lines/2, lines)
	for name, s := range sinks {
		if name == "gone" || name == "hanging" {
			continue
		}
		e.Eventually(2*time.Minute, name+" having all", func() bool { return len(hitsOf(s)) == lines })
	}
	if got := sinks["hanging"].taken(); len(got) != 0 {
		t.Errorf("the hanging receiver took %v", got)
	}
	e.KillPlugin()
	c = control(t, e)
	released()
	e.Eventually(2*time.Minute, "the hanging receiver having all", func() bool { return len(hitsOf(sinks["hanging"])) == lines })

	for name, s := range sinks {
		if name == "gone" {
			continue
		}
		// Not in order, where a delivery failed and was tried again.
		if got := hitsOf(s); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
			t.Errorf("%s took %v", name, got)
		}
		if bad := s.stable(); bad != "" {
			t.Errorf("%s: %s", name, bad)
		}
	}
	if n := len(elsewhere.all()); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}

	// The receiver that answered 410 was asked once for each, unless a kill
	// came between; all of it is dead, and others have been told, it has not.
	gone := sinks["gone"]
	e.Eventually(time.Minute, "the dead deliveries being told of", func() bool {
		return slices.ContainsFunc(sinks["well"].taken(), func(m string) bool { return strings.HasPrefix(m, "Trigger gone: ") })
	})
	for _, r := range gone.all() {
		if !strings.HasPrefix(r.message, "hit ") {
			t.Errorf("the trigger that failed was sent %q", r.message)
		}
	}
	var reported float64
	for _, ev := range allEvents(t, c, api.EventQuery{Source: "system"}) {
		if ev.Metadata["about"] == "dead_deliveries" {
			if ev.Metadata["trigger_name"] != "gone" {
				t.Errorf("an event about dead deliveries of %v", ev.Metadata["trigger_name"])
			}
			n, _ := ev.Metadata["deliveries"].(float64)
			reported += n
		}
	}
	dead, err := c.Deliveries(ctx, api.DeliveryQuery{State: "dead"})
	if err != nil || len(dead) != lines || reported == 0 || reported > lines {
		t.Errorf("%d dead deliveries, %v of them told of: %v", len(dead), reported, err)
	}
	for _, d := range dead {
		if d.TriggerID != ids["gone"] || d.LastStatus != http.StatusGone || !strings.Contains(d.LastError, "410") {
			t.Errorf("dead: %+v", d)
		}
	}

	// They can be redelivered, under the ids that they had.
	before := map[string]bool{}
	for _, r := range gone.all() {
		before[r.id] = true
	}
	gone.become(answer(204))
	slices.Reverse(dead) // the newest came first
	for _, d := range dead {
		if !before[d.ID] {
			t.Errorf("delivery %s died without having been sent", d.ID)
		}
		if _, err := c.Redeliver(ctx, d.ID); err != nil {
			t.Error(err)
		}
	}
	e.Eventually(time.Minute, "all being redelivered", func() bool { return len(hitsOf(gone)) == lines })
	if bad := gone.stable(); bad != "" || len(before) != lines {
		t.Errorf("redelivered under %d ids: %s", len(before), bad)
	}
	e.Eventually(time.Minute, "nothing left to deliver", func() bool {
		st, err := c.Stats(ctx)
		return err == nil && st.Deliveries.Pending == 0 && st.Deliveries.Dead == 0
	})
	if events := hits(t, c, "hit"); len(events) != lines {
		t.Errorf("%d events for %d lines", len(events), lines)
	}
}

// sometimes misbehaves at a receiver's first request and at every fifth.
func sometimes(misbehave func(http.ResponseWriter, int) int) func(http.ResponseWriter, int) int {
	return func(w http.ResponseWriter, n int) int {
		if n%5 == 0 {
			return misbehave(w, n)
		}
		return 200
	}
}
