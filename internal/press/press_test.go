package press

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"logscan/internal/action"
	"logscan/internal/egress"
	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

const token = "123456789:AbC-dEf_0123456789"

var key = []byte("key")

// api is Telegram's, as far as a bot needs it that is asked: it keeps what was pressed
// until a later question confirms it (https://core.telegram.org/bots/api#getupdates).
type api struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	pressed  chan struct{} // closed when there is something new
	updates  []map[string]any
	next     int
	calls    []string // but questions: method and body
	asked    int
	conflict bool
	// on is called before a method is answered.
	on func(method string)
}

func serve(t *testing.T) *api {
	a := &api{t: t, pressed: make(chan struct{}), next: 1000, on: func(string) {}}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method, ours := strings.CutPrefix(r.URL.Path, "/bot"+token+"/")
	var in map[string]any
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || !ours || r.Method != http.MethodPost {
		a.t.Errorf("%s %s: %v", r.Method, r.URL, err)
	}
	answer := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v)
	}
	if method != "getUpdates" {
		body, _ := json.Marshal(in)
		a.mu.Lock()
		a.calls = append(a.calls, method+" "+string(body))
		on := a.on
		a.mu.Unlock()
		on(method)
		answer(200, map[string]any{"ok": true, "result": true})
		return
	}
	for {
		a.mu.Lock()
		a.asked++
		from := int(in["offset"].(float64))
		for len(a.updates) > 0 && a.updates[0]["update_id"].(int) < from {
			a.updates = a.updates[1:]
		}
		some, wait, conflict := a.updates[:min(len(a.updates), int(in["limit"].(float64)))], a.pressed, a.conflict
		a.mu.Unlock()
		if conflict {
			answer(409, map[string]any{"ok": false, "error_code": 409, "description": "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"})
			return
		}
		if len(some) > 0 {
			answer(200, map[string]any{"ok": true, "result": some})
			return
		}
		if fmt.Sprint(in["allowed_updates"]) != "[callback_query]" || in["timeout"].(float64) < 10 {
			a.t.Errorf("asked %v", in)
		}
		select {
		case <-wait:
		case <-r.Context().Done():
			return
		}
	}
}

// tell has an update be there, whatever else it is.
func (a *api) tell(update map[string]any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	update["update_id"] = a.next
	a.next++
	a.updates = append(a.updates, update)
	close(a.pressed)
	a.pressed = make(chan struct{})
}

// press has alice press a button with data in a chat, below a message with further
// buttons.
func (a *api) press(chat int, data string, others ...string) {
	rows := [][]map[string]string{{{"text": "it", "callback_data": data}}}
	for _, o := range others {
		rows = append(rows, []map[string]string{{"text": "other", "callback_data": o}})
	}
	a.tell(map[string]any{"callback_query": map[string]any{
		"id": fmt.Sprint("query-", a.next), "data": data, "from": map[string]any{"id": 1, "first_name": "Alice", "username": "alice"}, "chat_instance": "x",
		"message": map[string]any{"message_id": 42, "chat": map[string]any{"id": chat, "username": "our_channel"}, "text": strings.Repeat("😀", 2000), "reply_markup": map[string]any{"inline_keyboard": rows}},
	}})
}

// until waits for a state of what the API was told.
func (a *api) until(what string, there func() bool) {
	a.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		a.mu.Lock()
		ok := there()
		a.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(end) {
			a.t.Fatalf("%s: never; %q", what, a.take())
		}
	}
}

// heard waits until all that was pressed is confirmed.
func (a *api) heard() {
	a.t.Helper()
	a.until("all is heard", func() bool { return len(a.updates) == 0 })
}

func (a *api) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.calls
	a.calls = nil
	return all
}

type world struct {
	*testing.T
	*api
	db  *store.Store
	log *buffer
}

// buffer is safe concurrently.
type buffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *buffer) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.String()
}

// build has a database with two open incidents, and the API.
func build(t *testing.T) *world {
	db, err := store.Open(filepath.Join(t.TempDir(), "logscan.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	var b store.Batch
	for _, line := range []string{"a broke", "b broke"} {
		b.Events = append(b.Events, event.Event{Source: event.Logscan, Severity: event.Error, Message: line, Time: time.Now(), Metadata: map[string]any{"rule_id": int64(1), "rule_name": "r", "workload_id": "w"}})
	}
	if _, err := db.Commit(t.Context(), b, nil); err != nil {
		t.Fatal(err)
	}
	return &world{t, serve(t), db, &buffer{}}
}

func (w *world) trigger(change func(*trigger.Trigger)) trigger.Trigger {
	t := trigger.Fields.New()
	t.ID, t.Name, t.ActionSecret = 1, "phone", token
	t.ActionURL = strings.Replace(w.URL, "http://", "telegram+http://", 1) + "/-100"
	if change != nil {
		change(&t)
	}
	return t
}

// run has an asker go on until stop is called.
func (w *world) run(triggers ...trigger.Trigger) (a *Asker, stop func()) {
	w.Helper()
	a = New(Config{
		Store: w.db, Key: key, Targets: egress.Targets{Allow: []string{"127.0.0.1"}}, Logger: slog.New(slog.NewTextHandler(w.log, nil)),
		After: func(time.Duration) <-chan time.Time { return time.After(time.Millisecond) },
	})
	a.Set(triggers)
	ctx, cancel := context.WithCancel(w.Context())
	var done sync.WaitGroup
	done.Go(func() { a.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); done.Wait() })
	w.Cleanup(stop)
	return a, stop
}

func (w *world) state(id int64) incident.State {
	w.Helper()
	i, err := w.db.Incident(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return i.State
}

// notices are what there was to tell of an incident but its beginning.
func (w *world) notices(id int64) (out []string) {
	w.Helper()
	all, err := w.db.Notices(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	for _, n := range all[1:] {
		out = append(out, string(n.Kind)+" "+n.Reason)
	}
	return out
}

func button(v action.Verb, incident int64, good time.Duration) string {
	return action.Token(key, action.Action{Incident: incident, Verb: v, Until: time.Now().Add(good)})
}

func said(text string, query int) string {
	return fmt.Sprintf(`answerCallbackQuery {"callback_query_id":"query-%d","text":%q}`, query, text)
}

const taken = `editMessageReplyMarkup {"chat_id":-100,"message_id":42,"reply_markup":{"inline_keyboard":[]}}`

func (w *world) expect(want ...string) {
	w.Helper()
	w.heard()
	if got := w.take(); fmt.Sprint(got) != fmt.Sprint(want) {
		w.Errorf("called\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A press does what its button says, once, and the buttons of its incident go away.
func TestPress(t *testing.T) {
	w := build(t)
	w.run(w.trigger(nil))
	ack, snooze, other := button(action.Acknowledge, 1, time.Hour), button(action.Snooze, 1, time.Hour), button(action.Acknowledge, 2, time.Hour)
	if len(ack) > 64 {
		t.Errorf("Telegram takes 64 bytes, not %d", len(ack))
	}
	w.press(-100, ack, snooze, other)
	w.expect(said("Done: the incident is acknowledged.", 1000),
		`editMessageReplyMarkup {"chat_id":-100,"message_id":42,"reply_markup":{"inline_keyboard":[[{"callback_data":"`+other+`","text":"other"}]]}}`)
	if got := fmt.Sprint(w.notices(1)); got != "[acknowledged by @alice in Telegram]" || w.state(2) != incident.Open {
		t.Errorf("%s, %s", got, w.state(2))
	}
	// Pressed again, also by somebody else who still sees the button, it does nothing.
	if _, err := w.db.ChangeIncident(t.Context(), 1, func(i *incident.Incident) (incident.Notice, error) { return incident.Notice{}, i.Reopen(time.Now()) }); err != nil {
		t.Fatal(err)
	}
	w.press(-100, ack)
	w.expect(said("This button was used before. The incident is open.", 1001), taken)
	w.press(-100, snooze)
	w.expect(said("Done: the incident is snoozed.", 1002), taken)
	w.press(-100, button(action.Resolve, 1, time.Hour))
	w.expect(said("Done: the incident is resolved.", 1003), taken)
	w.press(-100, button(action.Acknowledge, 1, 2*time.Hour))
	w.expect(said("Nothing to do: the incident is resolved.", 1004), taken)
}

// What isn't pressed where a trigger sends, or isn't logscan's own, does nothing.
func TestRefused(t *testing.T) {
	w := build(t)
	w.run(w.trigger(nil), w.trigger(func(t *trigger.Trigger) { t.ActionURL = strings.Replace(t.ActionURL, "-100", "@Our_Channel", 1) }))
	good := button(action.Acknowledge, 1, time.Hour)
	forged := action.Token([]byte("another"), action.Action{Incident: 1, Verb: action.Acknowledge, Until: time.Now().Add(time.Hour)})
	for _, c := range []struct {
		data, said string
		buttons    bool // they are taken away
	}{
		{forged, "This button is not one of this logscan's.", false},
		{good[:len(good)-2] + "AA", "This button is not one of this logscan's.", false},
		{"", "This button is not one of this logscan's.", false},
		{strings.Repeat("A", 44), "This button is not one of this logscan's.", false},
		{button(action.Acknowledge, 1, -time.Second), "This button has expired: it was good for a day.", true},
		{button(action.Acknowledge, 99, time.Hour), "The incident is no longer kept.", true},
	} {
		want := []string{said(c.said, w.next)}
		if c.buttons {
			want = append(want, taken)
		}
		w.press(-100, c.data)
		w.expect(want...)
	}
	// The chat's name counts, too, and what is no press of ours is passed over.
	for _, update := range []map[string]any{
		{"message": map[string]any{"text": "/start"}}, {"callback_query": "x"}, {"callback_query": map[string]any{"id": "q", "data": good, "inline_message_id": "x"}},
		{"callback_query": map[string]any{"id": 7, "data": []int{1}, "message": "x"}}, {},
	} {
		w.tell(update)
	}
	w.expect()
	if got := w.state(1); got != incident.Open || w.notices(1) != nil {
		t.Errorf("%s, %v", got, w.notices(1))
	}
	w.press(-999, good)
	w.expect(said("Done: the incident is acknowledged.", w.next-1), strings.Replace(taken, "-100", "-999", 1))
}

// A chat to which no trigger sends doesn't count.
func TestOtherChat(t *testing.T) {
	w := build(t)
	a, _ := w.run(w.trigger(nil), w.trigger(func(t *trigger.Trigger) {
		t.ActionURL, t.Enabled = strings.Replace(t.ActionURL, "-100", "-7", 1), false
	}))
	good := button(action.Acknowledge, 1, time.Hour)
	for _, chat := range []int{-7, 100, -1001} {
		w.press(chat, good)
		w.expect(said("This chat is not one that logscan sends to.", w.next-1))
	}
	if got := w.state(1); got != incident.Open {
		t.Error(got)
	}
	// The chats are those of the triggers that there are now.
	a.Set([]trigger.Trigger{w.trigger(func(t *trigger.Trigger) { t.ActionURL = strings.Replace(t.ActionURL, "-100", "-7", 1) })})
	w.press(-7, good)
	w.expect(said("Done: the incident is acknowledged.", w.next-1), strings.Replace(taken, "-100", "-7", 1))
}

// Killed after what was pressed was done, and before anybody heard so, it is done once,
// and the next start answers.
func TestKilledBeforeAnswer(t *testing.T) {
	for _, at := range []string{"answerCallbackQuery", "editMessageReplyMarkup"} {
		t.Run(at, func(t *testing.T) {
			w := build(t)
			reached, killed := make(chan struct{}), make(chan struct{})
			w.mu.Lock()
			w.on = func(method string) {
				if method == at {
					close(reached)
					<-killed
				}
			}
			w.mu.Unlock()
			_, stop := w.run(w.trigger(nil))
			w.press(-100, button(action.Acknowledge, 1, time.Hour))
			<-reached
			if got := w.state(1); got != incident.Acknowledged {
				t.Errorf("answered before it is done: %s", got)
			}
			gone := make(chan struct{})
			go func() { defer close(gone); stop() }()
			w.mu.Lock()
			w.on = func(string) {}
			w.mu.Unlock()
			<-gone // its connections are cut: it waits for no answer
			close(killed)
			w.take()
			w.run(w.trigger(nil))
			w.expect(said("This button was used before. The incident is acknowledged.", 1000), taken)
			if got := fmt.Sprint(w.notices(1)); got != "[acknowledged by @alice in Telegram]" {
				t.Error(got)
			}
		})
	}
}

// failing is a store that fails for a while.
type failing struct {
	Store
	left int
}

func (f *failing) ChangeIncidentOnce(ctx context.Context, id int64, token string, until time.Time, change func(*incident.Incident) (incident.Notice, error)) (incident.Incident, error) {
	if f.left > 0 {
		f.left--
		return incident.Incident{}, fmt.Errorf("disk full")
	}
	return f.Store.ChangeIncidentOnce(ctx, id, token, until, change)
}

// What the database refuses is done later, in order.
func TestStoreFails(t *testing.T) {
	w := build(t)
	w.press(-100, button(action.Acknowledge, 1, time.Hour))
	w.press(-100, button(action.Acknowledge, 2, time.Hour))
	a := New(Config{
		Store: &failing{w.db, 3}, Key: key, Targets: egress.Targets{Allow: []string{"127.0.0.1"}}, Logger: slog.New(slog.NewTextHandler(w.log, nil)),
		After: func(time.Duration) <-chan time.Time { return time.After(time.Millisecond) },
	})
	a.Set([]trigger.Trigger{w.trigger(nil)})
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { a.Run(ctx) })
	w.expect(said("Done: the incident is acknowledged.", 1000), taken, said("Done: the incident is acknowledged.", 1001), taken)
	cancel()
	done.Wait()
	if got := w.log.text(); strings.Count(got, "disk full") != 1 || strings.Count(got, "heard again") != 1 {
		t.Errorf("%s", got)
	}
}

// That somebody else asks is said once, without the token, until it is over; and what
// was pressed meanwhile is done.
func TestConflict(t *testing.T) {
	w := build(t)
	w.conflict = true
	_, stop := w.run(w.trigger(nil))
	w.until("asked again and again", func() bool { return w.asked > 10 })
	w.press(-100, button(action.Acknowledge, 1, time.Hour))
	w.mu.Lock()
	w.conflict = false
	w.mu.Unlock()
	w.expect(said("Done: the incident is acknowledged.", 1000), taken)
	stop()
	got := w.log.text()
	if strings.Count(got, "a bot of its own is needed") != 1 || strings.Count(got, "heard again") != 1 || strings.Contains(got, "AbC") || strings.Contains(got, w.URL[7:]) {
		t.Errorf("%s", got)
	}
}

// Only bots of triggers that are on, and tell of incidents, are asked, and each once.
func TestWhoIsAsked(t *testing.T) {
	w := build(t)
	a, _ := w.run(
		w.trigger(func(t *trigger.Trigger) { t.Enabled = false }),
		w.trigger(func(t *trigger.Trigger) { t.Mode = trigger.ModeEvents }),
		w.trigger(func(t *trigger.Trigger) { t.ActionURL = "https://hooks.example.com/x" }),
		w.trigger(func(t *trigger.Trigger) { t.ActionSecret = "none" }),
	)
	if len(a.bots) != 0 {
		t.Errorf("%d bots", len(a.bots))
	}
	a.Set([]trigger.Trigger{w.trigger(nil), w.trigger(func(t *trigger.Trigger) { t.ActionURL = strings.Replace(t.ActionURL, "-100", "-200/7", 1) })})
	w.press(-200, button(action.Acknowledge, 1, time.Hour))
	w.expect(said("Done: the incident is acknowledged.", 1000), strings.Replace(taken, "-100", "-200", 1))
	if b := a.bot(w.URL + "/bot" + token + "/"); b == nil || len(a.bots) != 1 || len(b.chats) != 2 {
		t.Errorf("%+v", a.bots)
	}
	// One whose triggers have gone isn't asked any more.
	a.Set(nil)
	w.press(-200, button(action.Acknowledge, 2, time.Hour))
	a.Set([]trigger.Trigger{w.trigger(func(t *trigger.Trigger) { t.ActionURL = strings.Replace(t.ActionURL, "-100", "-200", 1) })})
	w.expect(said("Done: the incident is acknowledged.", 1001), strings.Replace(taken, "-100", "-200", 1))
}
