package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"golang.org/x/sys/unix"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// receiver takes webhooks, as somebody's service would: it believes nothing that
// is not signed. While it is down its port refuses connections.
type receiver struct {
	t      *testing.T
	verify *webhooks.Webhook
	port   int
	server *http.Server
	fd     int // bound; the port stays ours while we are down

	mu    sync.Mutex
	got   []received
	await chan struct{} // if set, the next request waits here for its answer
	asked chan struct{} // closed when it does
}

type received struct {
	id    string
	event api.Event
}

func newReceiver(t *testing.T, secret string) *receiver {
	t.Helper()
	verify, err := webhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{t: t, verify: verify, fd: -1}
	r.bind()
	t.Cleanup(func() {
		if r.server != nil {
			r.server.Close()
		}
		if r.fd >= 0 {
			unix.Close(r.fd)
		}
	})
	return r
}

func (r *receiver) url() string { return fmt.Sprintf("http://127.0.0.1:%d/hook", r.port) }

// bind takes the port, without listening.
func (r *receiver) bind() {
	r.t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: r.port, Addr: netip.MustParseAddr("127.0.0.1").As4()})
	}
	if err != nil {
		r.t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		r.t.Fatal(err)
	}
	r.fd, r.port = fd, name.(*unix.SockaddrInet4).Port
}

func (r *receiver) up() {
	r.t.Helper()
	if err := unix.Listen(r.fd, 16); err != nil {
		r.t.Fatal(err)
	}
	f := os.NewFile(uintptr(r.fd), "receiver")
	r.fd = -1
	l, err := net.FileListener(f)
	f.Close()
	if err != nil {
		r.t.Fatal(err)
	}
	r.server = &http.Server{Handler: r}
	go r.server.Serve(l)
}

func (r *receiver) down() {
	r.t.Helper()
	if err := r.server.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.server = nil
	r.bind()
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err == nil {
		err = r.verify.Verify(body, req.Header)
	}
	var payload struct {
		Type string
		Data api.Event
	}
	if err == nil {
		err = json.Unmarshal(body, &payload)
	}
	if err == nil && (payload.Type != "logscan.hit" || req.Header.Get("Content-Type") != "application/json") {
		err = fmt.Errorf("a %s of type %q", req.Header.Get("Content-Type"), payload.Type)
	}
	if err != nil {
		r.t.Errorf("webhook: %v: %s", err, body)
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	r.got = append(r.got, received{req.Header.Get(webhooks.HeaderWebhookID), payload.Data})
	await := r.await
	if r.await = nil; await != nil {
		close(r.asked)
	}
	r.mu.Unlock()
	if await != nil {
		<-await
	}
	w.WriteHeader(http.StatusNoContent)
}

// hold makes the next request wait for its answer until release; asked is
// closed when it has come.
func (r *receiver) hold() (asked <-chan struct{}, release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.await, r.asked = make(chan struct{}), make(chan struct{})
	await := r.await
	return r.asked, sync.OnceFunc(func() { close(await) })
}

// all returns what has come, each delivery once, and how often each came.
func (r *receiver) all() (got []received, times map[string]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	times = make(map[string]int)
	for _, g := range r.got {
		if times[g.id]++; times[g.id] == 1 {
			got = append(got, g)
		}
	}
	return got, times
}

// TestFromALineToAWebhook goes the whole road on a real Engine: a line, its
// event, its signed webhook. Meanwhile the receiver is away for a time and the
// plugin is killed, also between a receiver's work and its answer: every event
// arrives, under one id.
func TestFromALineToAWebhook(t *testing.T) {
	t.Parallel()
	const secret = "whsec_bG9nc2NhbiB0ZXN0cyBpdHMgb3duIHdlYmhvb2tz"
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin(append([]string{"LOGSCAN_ALLOW_TARGETS=127.0.0.1"}, unbounded...)...)
	client, c := engineClient(e), control(t, e)
	ctx := context.Background()
	r := newReceiver(t, secret)
	r.up()
	addRule(t, c, "broken", `disk (?P<disk>\w+) is broken`)
	_, err := c.CreateTrigger(ctx, api.TriggerCreate{
		Name: "ops", ActionURL: r.url(), TriggerFields: api.TriggerFields{"mode": "events", "action_secret": secret, "sources": "logscan"},
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	say := func(lines int) {
		t.Helper()
		script := fmt.Sprintf("for i in $(seq %d %d); do echo disk d$i is broken; echo all is well; done", n, n+lines-1)
		name := e.Run([]string{"--log-driver", enginetest.Plugin}, "sh", "-c", script)
		e.Wait(name)
		var want []chunk
		for i := n; i < n+lines; i++ {
			want = append(want, chunk{stream: 1, text: fmt.Appendf(nil, "disk d%d is broken\n", i)}, chunk{stream: 1, text: []byte("all is well\n")})
		}
		if d := diff(readLogs(t, client, name, logOptions{}), want); d != "" {
			t.Errorf("docker logs: %s", d)
		}
		n += lines
		e.Eventually(time.Minute, "an event for each line", func() bool { return len(hits(t, c, "broken")) == n })
	}
	arrived := func(want int) {
		t.Helper()
		e.Eventually(time.Minute, fmt.Sprint(want, " webhooks"), func() bool { got, _ := r.all(); return len(got) >= want })
	}

	say(3)
	arrived(3)

	r.down()
	say(5)
	e.Eventually(time.Minute, "a delivery that failed", func() bool {
		pending, err := c.Deliveries(ctx, api.DeliveryQuery{State: "pending"})
		return err == nil && slices.ContainsFunc(pending, func(d api.Delivery) bool { return d.Attempts > 0 && d.LastError != "" })
	})
	e.KillPlugin()
	c = control(t, e)
	say(4)
	pending, err := c.Deliveries(ctx, api.DeliveryQuery{State: "pending"})
	if err != nil || len(pending) != 9 {
		t.Fatalf("%d deliveries wait: %v", len(pending), err)
	}
	e.KillPlugin()
	c = control(t, e)
	r.up()
	arrived(n)

	// The receiver has it, but we are killed before we know.
	asked, release := r.hold()
	defer release()
	say(6)
	<-asked
	e.KillPlugin()
	c = control(t, e)
	release()
	arrived(n)
	e.Eventually(time.Minute, "no delivery that waits", func() bool {
		st, err := c.Stats(ctx)
		return err == nil && st.Deliveries.Pending == 0 && st.Deliveries.Delivered == int64(n)
	})

	got, times := r.all()
	held := got[n-6].id // the first that came after the last time that the receiver was away
	// What failed comes when it is due again, which need not be in the order of events.
	slices.SortFunc(got, func(a, b received) int { return int(a.event.ID - b.event.ID) })
	events := hits(t, c, "broken")
	if len(got) != n || len(events) != n {
		t.Fatalf("%d webhooks and %d events for %d lines", len(got), len(events), n)
	}
	for i, g := range got {
		want := "disk d" + strconv.Itoa(i) + " is broken"
		if g.event.Message != want || g.event.ID != events[i].ID || g.event.Metadata["container_id"] != events[i].Metadata["container_id"] {
			t.Errorf("webhook %d is %+v, the event %+v", i, g.event, events[i])
		}
		if times[g.id] > 2 || times[g.id] == 2 && i < n-6 {
			t.Errorf("webhook %d came %d times", i, times[g.id])
		}
	}
	deliveries, err := c.Deliveries(ctx, api.DeliveryQuery{})
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(deliveries) // the newest came first
	for i, d := range deliveries {
		if d.ID != got[i].id || d.EventID != events[i].ID {
			t.Errorf("webhook %d has id %s, its delivery %+v", i, got[i].id, d)
		}
	}
	for _, p := range pending {
		if times[p.ID] == 0 {
			t.Errorf("delivery %s waited while the plugin was killed, and came under no id of that kind", p.ID)
		}
	}
	if times[held] != 2 {
		t.Errorf("the delivery whose answer was not heard came %d times", times[held])
	}
	inDatabase(t, e, "SELECT count(*) FROM event_log WHERE source = 'logscan' AND message LIKE 'disk d% is broken'", n)
}
