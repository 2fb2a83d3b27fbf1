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
	"syscall"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// services are PagerDuty, Slack and Telegram, as far as the test needs them.
type services struct {
	*httptest.Server
	mu      sync.Mutex
	got     map[string][]map[string]any // bodies by method
	pressed []map[string]any            // updates that nobody has confirmed
	heard   func()                      // called at each answer to a press, before it is taken
}

func newServices(t *testing.T) *services {
	s := &services{got: map[string][]map[string]any{}, heard: func() {}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *services) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	b, err := io.ReadAll(r.Body)
	var in map[string]any
	if err != nil || json.Unmarshal(b, &in) != nil {
		w.WriteHeader(400)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch method {
	case "getUpdates":
		s.mu.Lock()
		for len(s.pressed) > 0 && s.pressed[0]["update_id"].(int) < int(in["offset"].(float64)) {
			s.pressed = s.pressed[1:]
		}
		answer, _ := json.Marshal(map[string]any{"ok": true, "result": append([]map[string]any{}, s.pressed...)})
		s.mu.Unlock()
		if string(answer) == `{"ok":true,"result":[]}` {
			select { // a poll that is shorter than Telegram's
			case <-time.After(50 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
		w.Write(answer)
		return
	case "answerCallbackQuery":
		s.mu.Lock()
		heard := s.heard
		s.mu.Unlock()
		heard()
	}
	s.mu.Lock()
	s.got[method] = append(s.got[method], in)
	s.mu.Unlock()
	switch method {
	case "enqueue":
		w.WriteHeader(202)
		io.WriteString(w, `{"status":"success","message":"Event processed"}`)
	case "chat.postMessage", "chat.update":
		io.WriteString(w, `{"ok":true,"channel":"C0123456789","ts":"1503435956.000247"}`)
	default:
		io.WriteString(w, `{"ok":true,"result":{"message_id":42}}`)
	}
}

func (s *services) told(method string) []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]map[string]any{}, s.got[method]...)
}

// TestAcknowledgedFromTheMessage has an incident told by Telegram, PagerDuty and Slack,
// from where nobody can reach logscan. Somebody presses the button in Telegram, and the
// plugin is killed before it has answered. The incident is acknowledged, once, and
// PagerDuty and Slack hear of it, and of the end.
func TestAcknowledgedFromTheMessage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin("LOGSCAN_ALLOW_TARGETS=127.0.0.1")
	c := control(t, e)
	makeRule(t, c, "db", "refused", api.RuleFields{"severity": "error", "cooldown_seconds": 0, "resolve_after_seconds": 3600, "tell_resolved": true})
	s := newServices(t)
	host := strings.TrimPrefix(s.URL, "http://")
	const bot = "123456789:AbC-dEf_0123456789"
	for _, tr := range []api.TriggerCreate{
		{Name: "phone", ActionURL: "telegram+http://" + host + "/-100", TriggerFields: api.TriggerFields{"sources": "logscan", "action_secret": bot, "notices": "opened"}},
		{Name: "pager", ActionURL: "pagerduty+http://" + host, TriggerFields: api.TriggerFields{"sources": "logscan", "action_secret": strings.Repeat("k", 32)}},
		{Name: "chat", ActionURL: "slack+http://" + host + "/general", TriggerFields: api.TriggerFields{"sources": "logscan", "action_secret": "xoxb-t0ken", "group_by": "incident", "group_interval_seconds": 0, "notices": "opened,acknowledged,resolved"}},
	} {
		if _, err := c.CreateTrigger(ctx, tr); err != nil {
			t.Fatal(err)
		}
	}
	e.Wait(e.Run([]string{"--log-driver", enginetest.Plugin}, "echo", "connection to 10.0.0.1:5432 refused"))
	e.Eventually(time.Minute, "all being told", func() bool {
		return len(s.told("sendMessage")) == 1 && len(s.told("enqueue")) == 1 && len(s.told("chat.postMessage")) == 1 &&
			count(t, e, "SELECT count(*) FROM deliveries WHERE state <> 'delivered'") == 0
	})
	sent := s.told("sendMessage")[0]
	keyboard, _ := json.Marshal(sent["reply_markup"])
	var markup struct {
		Rows [][]struct {
			Text string `json:"text"`
			Data string `json:"callback_data"`
		} `json:"inline_keyboard"`
	}
	if err := json.Unmarshal(keyboard, &markup); err != nil || len(markup.Rows) != 2 || markup.Rows[0][0].Text != "Acknowledge" || len(markup.Rows[0][0].Data) > 64 {
		t.Fatalf("%v: the buttons are %s", err, keyboard)
	}

	supervisor, kills := e.SupervisorPID(), 0
	s.mu.Lock()
	s.heard = func() {
		if kills == 0 {
			kills++
			if pid := e.WorkerOf(supervisor); pid == 0 || syscall.Kill(pid, syscall.SIGKILL) != nil {
				t.Error("the worker is not there to be killed")
			}
		}
	}
	s.pressed = append(s.pressed, map[string]any{"update_id": 7, "callback_query": map[string]any{
		"id": "q", "data": markup.Rows[0][0].Data, "from": map[string]any{"first_name": "Alice"},
		"message": map[string]any{"message_id": 42, "chat": map[string]any{"id": -100}, "reply_markup": sent["reply_markup"]},
	}})
	s.mu.Unlock()
	e.Eventually(time.Minute, "the buttons being gone", func() bool { return len(s.told("editMessageReplyMarkup")) > 0 })
	c = control(t, e)
	if kills != 1 {
		t.Errorf("%d kills", kills)
	}
	all, err := c.Incidents(ctx, api.IncidentQuery{Rule: "db"})
	if err != nil || len(all) != 1 || all[0].State != "acknowledged" || all[0].By != "Alice in Telegram" {
		t.Fatalf("%+v, %v", all, err)
	}
	last := func(method, field string) string {
		if all := s.told(method); len(all) > 0 {
			return strings.Fields(fmt.Sprint(all[len(all)-1][field]))[0]
		}
		return ""
	}
	e.Eventually(time.Minute, "the others hearing of it", func() bool {
		return last("enqueue", "event_action") == "acknowledge" && last("chat.update", "text") == "[ACKNOWLEDGED]"
	})
	if _, err := c.ChangeIncident(ctx, all[0].ID, "resolve", api.IncidentChange{}); err != nil {
		t.Fatal(err)
	}
	e.Eventually(time.Minute, "and of the end", func() bool {
		return last("enqueue", "event_action") == "resolve" && last("chat.update", "text") == "[RESOLVED]"
	})
	// What was on its way when the worker was killed came twice.
	var events []string
	for _, m := range s.told("enqueue") {
		if m["dedup_key"] != s.told("enqueue")[0]["dedup_key"] {
			t.Errorf("%v is of another alert", m)
		}
		events = append(events, fmt.Sprint(m["event_action"]))
	}
	if got := fmt.Sprint(slices.Compact(events)); got != "[trigger acknowledge resolve]" {
		t.Errorf("PagerDuty was told %s", got)
	}
	var said []string
	for _, m := range s.told("chat.update") {
		if m["ts"] != "1503435956.000247" || m["channel"] != "C0123456789" {
			t.Errorf("another message is changed: %v", m)
		}
		said = append(said, strings.Fields(fmt.Sprint(m["text"]))[0])
	}
	if got := fmt.Sprint(slices.Compact(said), len(s.told("chat.postMessage"))); got != "[[ACKNOWLEDGED] [RESOLVED]] 1" {
		t.Errorf("Slack shows %s", got)
	}
	if n := count(t, e, "SELECT count(*) FROM notices WHERE kind = 'acknowledged'"); n != 1 {
		t.Errorf("%d notices of one acknowledgement", n)
	}
}
