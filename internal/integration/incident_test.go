package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// phone is a service that messages are sent to: it keeps what it was told.
type phone struct {
	*httptest.Server
	mu  sync.Mutex
	got []map[string]any
}

func newPhone(t *testing.T) *phone {
	p := &phone{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		var m map[string]any
		if err != nil || json.Unmarshal(b, &m) != nil {
			w.WriteHeader(400)
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.got = append(p.got, m)
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"id":"x","event":"message"}`))
	}))
	t.Cleanup(p.Close)
	return p
}

// said are the titles of what the phone was told.
func (p *phone) said() (out []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.got {
		out = append(out, fmt.Sprint(m["title"]))
	}
	return out
}

// topics are where the phone was told it.
func (p *phone) topics() (out []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.got {
		out = append(out, fmt.Sprint(m["topic"]))
	}
	return out
}

// TestIncidents has containers log trouble, and people told of it once, on a phone, by
// a message with a button that says that they know.
func TestIncidents(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := enginetest.Start(t, enginetest.Options{})
	addr := freeAddress(t)
	e.InstallPlugin("LOGSCAN_ALLOW_TARGETS=127.0.0.1", "LOGSCAN_LISTEN="+addr, "LOGSCAN_URL=http://"+addr)
	c := control(t, e)
	makeRule(t, c, "db", "refused|full", api.RuleFields{"severity": "error", "cooldown_seconds": 0, "resolve_after_seconds": 3, "tell_resolved": true})
	p := newPhone(t)
	url := strings.Replace(p.URL, "http://", "ntfy+http://", 1) + "/ops"
	if _, err := c.CreateTrigger(ctx, api.TriggerCreate{Name: "phone", ActionURL: url, TriggerFields: api.TriggerFields{"group_interval_seconds": 0}}); err != nil {
		t.Fatal(err)
	}

	// Many lines of one shape, from two containers, are one incident; another shape
	// is another one.
	run := func(script string) {
		t.Helper()
		e.Wait(e.Run([]string{"--log-driver", enginetest.Plugin, "--log-opt", "workload=shop/db"}, "sh", "-c", script))
	}
	run(`for i in $(seq 1 20); do echo "connection to 10.0.0.$i:5432 refused"; done; echo "disk /dev/sda1 is full"`)
	run(`echo "connection to 10.9.9.9:5432 refused"`)
	list := func(q api.IncidentQuery) []api.Incident {
		t.Helper()
		all, err := c.Incidents(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	var refused api.Incident
	e.Eventually(time.Minute, "two incidents with all their hits", func() bool {
		all := list(api.IncidentQuery{State: "all", Rule: "db"})
		for _, i := range all {
			if i.Matches == 21 && len(i.Containers) == 2 {
				refused = i
			}
		}
		return len(all) == 2 && refused.ID != 0
	})
	e.Eventually(time.Minute, "both told", func() bool { return len(p.said()) >= 2 })

	// Both end when it has been quiet, and the end is told.
	e.Eventually(time.Minute, "both over", func() bool { return len(list(api.IncidentQuery{State: "resolved", Rule: "db"})) == 2 })
	e.Eventually(time.Minute, "their ends told", func() bool { return strings.Count(strings.Join(p.said(), "\n"), "[RESOLVED] db") == 2 })
	opened := 0
	for _, title := range p.said() {
		if strings.HasPrefix(title, "[ERROR] db") {
			opened++
		}
	}
	if opened != 2 {
		t.Errorf("told %q", p.said())
	}

	// It comes again: a new incident, which says so, and the button in its message
	// acknowledges it, once.
	if _, err := c.UpdateRule(ctx, 1, api.RuleFields{"resolve_after_seconds": 3600}); err != nil {
		t.Fatal(err)
	}
	run(`echo "connection to 10.0.0.1:5432 refused"`)
	e.Eventually(time.Minute, "the new one told", func() bool { return len(p.said()) == 5 })
	p.mu.Lock()
	last := p.got[4]
	p.mu.Unlock()
	if text := fmt.Sprint(last["message"]); !strings.Contains(text, "again, after") || !strings.Contains(text, "connection to 10.0.0.1:5432 refused") {
		t.Errorf("the message is %v", last)
	}
	link := ""
	if actions, ok := last["actions"].([]any); ok {
		for _, a := range actions {
			if a, ok := a.(map[string]any); ok && a["label"] == "Acknowledge" {
				link = fmt.Sprint(a["url"])
			}
		}
	}
	if !strings.HasPrefix(link, "http://"+addr+"/act/") {
		t.Fatalf("the message's buttons are %v", last["actions"])
	}
	open := list(api.IncidentQuery{})
	if len(open) != 1 || open[0].State != "open" || open[0].Again == nil || open[0].Again.ID != refused.ID {
		t.Fatalf("%+v", open)
	}
	page := func(method string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, link, bytes.NewReader(nil))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Sec-Fetch-Site", map[string]string{"GET": "cross-site", "POST": "same-origin"}[method])
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	if code, text := page("GET"); code != 200 || !strings.Contains(text, "<button") || list(api.IncidentQuery{})[0].State != "open" {
		t.Errorf("to open the link: %d, %s", code, text)
	}
	if code, text := page("POST"); code != 200 || !strings.Contains(text, "acknowledged") || list(api.IncidentQuery{})[0].State != "acknowledged" {
		t.Errorf("to press the button: %d, %s", code, text)
	}
	if code, text := page("POST"); code != 409 || !strings.Contains(text, "used before") {
		t.Errorf("to press it again: %d, %s", code, text)
	}

	// What a silence fits is folded, not told.
	if _, err := c.CreateSilence(ctx, api.SilenceCreate{Matchers: []string{"rule=db"}, Ends: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	run(`echo "disk /dev/sdb1 is full"; echo "table is full of rows"`)
	e.Eventually(time.Minute, "the silenced incidents", func() bool { return len(list(api.IncidentQuery{})) == 3 })
	if err := c.EndSilence(ctx, 1); err != nil {
		t.Fatal(err)
	}
	e.Eventually(3*time.Minute, "what the silence held back told", func() bool {
		return strings.Contains(fmt.Sprint(p.said()), "logscan") && len(p.said()) == 6
	})

	// What a cooldown holds back is no event, but counts at once, and is another
	// incident where the one before was ended by hand. A trigger for a label gets
	// what is of containers that have it.
	makeRule(t, c, "cool", "timed out", api.RuleFields{"cooldown_seconds": 3600})
	if _, err := c.CreateTrigger(ctx, api.TriggerCreate{Name: "team", ActionURL: strings.TrimSuffix(url, "ops") + "team", TriggerFields: api.TriggerFields{"group_interval_seconds": 0, "labels": "com.example.*=data*"}}); err != nil {
		t.Fatal(err)
	}
	box := e.Run([]string{"--log-driver", enginetest.Plugin, "--label", "com.example.team=database"}, "sh", "-c", `for i in $(seq 1 50); do echo "query $i timed out"; done`)
	counted := func(what string, open int, hits, matches int64) api.Incident {
		t.Helper()
		var newest api.Incident
		e.Eventually(time.Minute, what, func() bool {
			all := list(api.IncidentQuery{Rule: "cool"})
			if len(all) != open {
				return false
			}
			newest = all[0]
			return newest.Hits == hits && newest.Matches == matches
		})
		return newest
	}
	first := counted("all counted", 1, 1, 50)
	if _, err := c.ChangeIncident(ctx, first.ID, "resolve", api.IncidentChange{}); err != nil {
		t.Fatal(err)
	}
	e.Docker("start", box)
	if again := counted("those after it was resolved", 1, 0, 50); again.Again == nil || again.Again.ID != first.ID {
		t.Errorf("%+v", again)
	}
	run(`echo "query 1 timed out"`)
	counted("one without the label", 2, 1, 1)
	if n := len(allEvents(t, c, api.EventQuery{Rule: "cool"})); n != 2 {
		t.Errorf("%d events", n)
	}
	e.Eventually(time.Minute, "those with the label told", func() bool {
		st, err := c.Stats(ctx)
		return err == nil && st.Deliveries.Pending == 0 && strings.Count(fmt.Sprint(p.topics()), "team") == 2
	})
}
