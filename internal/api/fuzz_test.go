package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"logscan/internal/egress"
	"logscan/internal/event"
	"logscan/internal/query"
	"logscan/internal/rule"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// fuzzed is an API over a real store with something in it.
func fuzzed(f *testing.F) http.Handler {
	db, err := store.Open(filepath.Join(f.TempDir(), "logscan.db"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { db.Close() })
	ctx := context.Background()
	if _, err := db.CreateRule(ctx, rule.Rule{Name: "r", Pattern: "x", Severity: "warn", Streams: "all", Enabled: true}); err != nil {
		f.Fatal(err)
	}
	if _, err := db.CreateTrigger(ctx, trigger.Trigger{Name: "t", Mode: trigger.ModeEvents, ActionURL: "https://h.example.com/"}); err != nil {
		f.Fatal(err)
	}
	if _, err := db.Commit(ctx, store.Batch{Events: []event.Event{hit(1, "warn", "r")}}, nil); err != nil {
		f.Fatal(err)
	}
	return New(Config{
		Store: db, Scanner: fakeScanner{}, Rules: liveRules{db}, Ingest: fakeIngest{}, Journals: fakeJournals{},
		Worker:      trigger.NewWorker(trigger.WorkerConfig{Store: db}),
		Search:      query.New(searchable(f, &query.Watch{}), nil, nil).Search,
		Reload:      func(context.Context) error { return nil },
		CheckTarget: func(u string) error { return trigger.CheckTarget(u, egress.Targets{Allow: []string{"h.example.com"}}) },
	})
}

// check wants an answer that is no fault of ours, and a problem document where
// it isn't what was asked for.
func check(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code >= 500 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w.Code < 400 {
		return
	}
	var p Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Status != w.Code || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	if w.Body.Len() > 64<<10 {
		t.Fatalf("the answer has %d bytes", w.Body.Len())
	}
}

func FuzzEventQuery(f *testing.F) {
	h := fuzzed(f)
	for _, q := range []string{
		"severity=warn,error&limit=5", "since=2026-01-02T15:04:05Z&until=2026-01-02T15:04:05.5+02:00", "after=1&before=2", "rule=r&rule_id=1",
		"container=ab%25&workload=shop/web", "limit=99999999999999999999", "severity=%00", "since=0000-00-00", "source=system;limit=1", "%zz=1", "since=9999-12-31T23:59:59Z",
	} {
		f.Add(q, "1", false)
		f.Add(q, "999999999999999999999", true)
	}
	f.Fuzz(func(t *testing.T, query, last string, stream bool) {
		r := httptest.NewRequest("GET", eventsPath, nil)
		r.URL.RawQuery = query
		if stream {
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // a stream that gets through ends at once
			r = r.WithContext(ctx)
			r.URL.Path = streamPath
			r.Header["Last-Event-Id"] = []string{last}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		check(t, w)
	})
}

func FuzzBodies(f *testing.F) {
	h := fuzzed(f)
	targets := []struct{ method, path string }{
		{"POST", rulesPath}, {"PATCH", rulesPath + "/1"}, {"POST", rulesPath + "/test"}, {"POST", triggersPath}, {"PATCH", triggersPath + "/1"},
		{"POST", incidentsPath + "/1/acknowledge"}, {"POST", incidentsPath + "/1/snooze"}, {"POST", incidentsPath + "/1/reopen"}, {"POST", incidentsPath + "/1/resolve"},
		{"POST", silencesPath}, {"POST", silencesPath + "/preview"},
	}
	for n := range targets {
		for _, b := range []string{
			`{"name":"a","pattern":"x(?P<n>y)"}`, `{"name":null}`, `{"rule_id":1,"lines":["x",""]}`, `{"pattern":"\\xff","lines":["\ud800"]}`,
			`{"name":"t","action_url":"https://h.example.com/","action_secret":"********","message_regex":"a{1000}"}`, `{"overrides_id":1,"workload_id":"w"}`,
			`{"cooldown_seconds":9223372036854775807}`, `{"nmae":1}`, `[]`, `"`, `{"name":"a","name":"b","pattern":"x"}`, `{"enabled":1e400}`,
			`{"until":"9999-12-31T23:59:59Z"}`, `{"hits":-1}`, `{"times":1e308,"by":"\u0000"}`, `{"image":true,"note":"\ud800"}`, `{"until":"0001-01-01T00:00:01Z"}`,
			`{"matchers":["rule~(a{1000}){1000}"],"ends_at":"9999-12-31T23:59:59Z"}`, `{"matchers":["rule=*"],"ends_at":"2200-01-01T00:00:00Z","starts_at":"2199-12-31T00:00:00Z","cron":"0 0 30 2 *","for_seconds":9223372036854775807}`,
		} {
			f.Add(n, []byte(b))
		}
	}
	f.Fuzz(func(t *testing.T, n int, body []byte) {
		to := targets[uint(n)%uint(len(targets))]
		if strings.Contains(string(body), "action_url") && !strings.Contains(string(body), "h.example.com") {
			return // no resolver is to be asked for made-up names
		}
		r := httptest.NewRequest(to.method, to.path, strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		check(t, w)
	})
}

// Whatever a workload is called, its rules are found under its id, and no path
// leads elsewhere.
func FuzzWorkloadPath(f *testing.F) {
	h := fuzzed(f)
	for _, id := range []string{"shop/web", "a//b", "../x", "%2F", "ü?#", "effective-rules", "/", "x/effective-rules", "a;b", "\x00"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if id == "" || id == "/" || len(id) > 512 {
			return // net/http's router takes %2F alone for a trailing slash
		}
		u, err := url.Parse("http://logscan" + workloadsPath + "/" + strings.ReplaceAll(url.PathEscape(id), ".", "%2E") + effectiveRules)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.URL = u
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var e EffectiveRules
		if err := json.Unmarshal(w.Body.Bytes(), &e); w.Code != 200 || err != nil || e.WorkloadID != strings.ToValidUTF8(id, "\uFFFD") && !strings.Contains(e.WorkloadID, "\uFFFD") || len(e.Items) != 1 {
			t.Fatalf("%q: %d %s", id, w.Code, w.Body)
		}
	})
}
