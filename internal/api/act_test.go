package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"logscan/internal/action"
	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/store"
)

// A message's link shows the incident to whoever opens it, and changes it once, by its
// button alone, also where a browser says no more than the page's origin.
func TestLinkOfMessage(t *testing.T) {
	db, err := store.Open(filepath.Join(t.TempDir(), "logscan.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	evil := hit(1, "error", "r")
	evil.Message = `</pre><script>alert(1)</script><img src=x onerror=alert(1)>`
	if _, err := db.Commit(t.Context(), store.Batch{Events: []event.Event{evil}}, nil); err != nil {
		t.Fatal(err)
	}
	key := []byte("key")
	h := SameOrigin(New(Config{Store: db, Scanner: fakeScanner{}, Rules: liveRules{db}, Ingest: fakeIngest{}, Journals: fakeJournals{}, ActionKey: key, Reload: func(context.Context) error { return nil }}))
	link := func(v action.Verb, until time.Duration) string {
		return action.Path + action.Token(key, action.Action{Incident: 1, Verb: v, Until: time.Now().Add(until)})
	}
	do := func(method, path string, header ...string) *httptest.ResponseRecorder {
		t.Helper()
		r := httptest.NewRequest(method, "http://logscan.example:7373"+path, nil)
		for n := 0; n < len(header); n += 2 {
			r.Header.Set(header[n], header[n+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if strings.Contains(w.Body.String(), "<script") || strings.Contains(w.Body.String(), "<img") {
			t.Errorf("a line's markup is the page's: %s", w.Body)
		}
		return w
	}
	state := func() incident.State {
		t.Helper()
		i, err := db.Incident(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		return i.State
	}
	acknowledge := link(action.Acknowledge, time.Hour)
	for _, method := range []string{"GET", "HEAD", "GET"} {
		w := do(method, acknowledge, "Sec-Fetch-Site", "cross-site")
		if w.Code != 200 || w.Header().Get("Referrer-Policy") != "same-origin" || w.Header().Get("Cache-Control") != "no-store" || state() != incident.Open {
			t.Errorf("%s: %d %v, %s", method, w.Code, w.Header(), state())
		}
	}
	for _, c := range []struct {
		method, path string
		header       []string
		want         int
	}{
		{"POST", acknowledge, []string{"Origin", "http://evil.example"}, 403},
		{"POST", acknowledge, []string{"Origin", "null"}, 403},
		{"POST", acknowledge, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"PUT", acknowledge, nil, 405},
		{"POST", acknowledge[:len(acknowledge)-2] + "AA", nil, 403},
		{"POST", action.Path, nil, 403},
		{"POST", action.Path + strings.Repeat("A", 44), nil, 403},
		{"POST", link(action.Acknowledge, -time.Second), nil, 410},
		{"POST", action.Path + action.Token([]byte("another"), action.Action{Incident: 1, Verb: action.Resolve, Until: time.Now().Add(time.Hour)}), nil, 403},
		{"POST", action.Path + action.Token(key, action.Action{Incident: 99, Verb: action.Resolve, Until: time.Now().Add(time.Hour)}), nil, 404},
	} {
		if w := do(c.method, c.path, c.header...); w.Code != c.want || state() != incident.Open {
			t.Errorf("%s %s %v: %d, %s", c.method, c.path, c.header, w.Code, state())
		}
	}
	if w := do("POST", acknowledge, "Origin", "http://logscan.example:7373"); w.Code != http.StatusOK || state() != incident.Acknowledged {
		t.Errorf("%d %s, %s", w.Code, w.Body, state())
	}
	if _, err := db.ChangeIncident(t.Context(), 1, func(i *incident.Incident) (incident.Notice, error) {
		return incident.Notice{}, i.Reopen(time.Now())
	}); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"POST", "GET"} {
		if w := do(method, acknowledge); w.Code != http.StatusConflict || state() != incident.Open {
			t.Errorf("used before: %d, %s", w.Code, state())
		}
	}
}
