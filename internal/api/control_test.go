package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/correlate"
	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/store"
)

const testToken = "a token that is long enough"

func TestRuleStats(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	must[Rule](t)(b.CreateRule(ctx, RuleCreate{Name: "oom", Pattern: "Out of memory"}))
	// A rule that the API would have refused, as a newer logscan may have left it.
	if _, err := b.store.CreateRule(ctx, rule.Rule{Name: "broken", Pattern: "a(", Severity: "warn", Streams: "all", Enabled: true}); err != nil {
		t.Fatal(err)
	}
	trouble := b.emit(event.Event{Source: event.Logscan, Severity: event.Error, Message: "Out of memory", Metadata: map[string]any{"rule_id": int64(1), "rule_name": "oom"}})
	if len(trouble) != 1 || trouble[0].IncidentID == 0 {
		t.Fatalf("%+v", trouble)
	}
	if _, err := b.store.Commit(ctx, store.Batch{Correlated: &store.Correlated{Revision: 1, Rows: []correlate.Row{
		{Key: correlate.Key{Rule: 1, Scope: "a"}, Data: []byte("{}")}, {Key: correlate.Key{Rule: 1, Scope: "b"}, Data: []byte("{}")}, {Key: correlate.Key{Scope: "seen"}, Data: []byte("{}")},
	}}}, nil); err != nil {
		t.Fatal(err)
	}
	quarter, none := 0.25, 0.0
	got := must[[]RuleStats](t)(b.RuleStats(ctx))
	want := []RuleStats{
		{
			RuleID: 1, Name: "oom", State: "on", Enabled: true, Matches: 11, Hits: 5, Cooldown: 4, Bucket: 2, GivenUp: 3, Open: 1, Held: map[string]int64{},
			IgnoredBy: map[string]int64{"/health": 7}, Keys: 2, CPUShare: &quarter,
		},
		{RuleID: 2, Name: "broken", State: "on", Enabled: true, Held: map[string]int64{}, Error: "pattern missing closing ) at position 3", CPUShare: &none},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if st := must[Stats](t)(b.Stats(ctx)); st.Scan.LeftOut != 1 || st.Scan.Rules != 2 || st.Scan.Cooldown != 4 || st.Scan.Bucket != 2 {
		t.Errorf("%+v", st.Scan)
	}
}

func TestWorkloads(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	oom := must[Rule](t)(b.CreateRule(ctx, RuleCreate{Name: "oom", Pattern: "Out of memory"}))
	must[Rule](t)(b.CreateRule(ctx, RuleCreate{Name: "panic", Pattern: "panic"}))
	in := func(workload string) RuleFields { return RuleFields{"workload_id": workload} }
	over := func(workload string, enabled bool) RuleFields {
		return RuleFields{"workload_id": workload, "overrides_id": oom.ID, "enabled": enabled}
	}
	must[Rule](t)(b.CreateRule(ctx, RuleCreate{Name: "web", Pattern: " 5.. ", RuleFields: in("shop/web")}))
	must[Rule](t)(b.CreateRule(ctx, RuleCreate{Name: "web oom", Pattern: "OOM", RuleFields: over("shop/web", true)}))
	must[Rule](t)(b.CreateRule(ctx, RuleCreate{Name: "db oom", Pattern: "OOM", RuleFields: over("a b/ü%2F?#//..", false)}))

	got := must[[]Workload](t)(b.Workloads(ctx))
	if want := []Workload{{ID: "a b/ü%2F?#//..", Overrides: 1}, {ID: "shop/web", Containers: 1, Running: 1, Rules: 1, Overrides: 1}}; !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	names := func(e EffectiveRules) string {
		var out []string
		for _, r := range e.Items {
			out = append(out, r.Name)
		}
		return strings.Join(out, ",")
	}
	for workload, want := range map[string]string{
		"shop/web": "panic,web,web oom", "a b/ü%2F?#//..": "panic", "never seen": "oom,panic", "..": "oom,panic", "stats": "oom,panic",
	} {
		e := must[EffectiveRules](t)(b.EffectiveRules(ctx, workload))
		if names(e) != want || e.WorkloadID != workload {
			t.Errorf("%s: %q of %q, want %q", workload, names(e), e.WorkloadID, want)
		}
	}
	// Slashes as they are, or encoded.
	for _, path := range []string{"/shop/web", "/shop%2Fweb", "/shop%2fweb"} {
		resp, body := b.raw("GET", workloadsPath+path+effectiveRules, "", "")
		var e EffectiveRules
		if err := json.Unmarshal([]byte(body), &e); err != nil || resp.StatusCode != 200 || e.WorkloadID != "shop/web" || len(e.Items) != 3 {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}

	// What can't be used is named where it would hold.
	if _, err := b.store.CreateRule(ctx, rule.Rule{Name: "broken", Pattern: "a(", Severity: "warn", Streams: "all", Enabled: true, WorkloadID: "shop/web"}); err != nil {
		t.Fatal(err)
	}
	if e := must[EffectiveRules](t)(b.EffectiveRules(ctx, "shop/web")); len(e.LeftOut) != 1 || e.LeftOut[0].Name != "broken" || !strings.Contains(e.LeftOut[0].Reason, "position 3") {
		t.Errorf("left out: %+v", e.LeftOut)
	}
	if e := must[EffectiveRules](t)(b.EffectiveRules(ctx, "other")); len(e.LeftOut) != 0 {
		t.Errorf("left out elsewhere: %+v", e.LeftOut)
	}
}

func TestTriggerTest(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	var got []byte
	status := 204
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ = io.ReadAll(r.Body)
		w.WriteHeader(status)
		if status != 204 {
			io.WriteString(w, "not at "+r.URL.Path+"\n"+strings.Repeat("x", 1000))
		}
	}))
	defer receiver.Close()
	tr := must[Trigger](t)(b.CreateTrigger(ctx, TriggerCreate{Name: "ops", ActionURL: receiver.URL + "/h00k", TriggerFields: TriggerFields{"enabled": false, "mode": "events"}}))
	r := must[TriggerTestResult](t)(b.TestTrigger(ctx, tr.ID))
	if !r.OK || r.Status != 204 || r.Error != "" {
		t.Errorf("%+v", r)
	}
	var p struct {
		Type string
		Test bool
		Data struct{ Metadata map[string]any }
	}
	if err := json.Unmarshal(got, &p); err != nil || !p.Test || p.Type != "logscan.hit" {
		t.Errorf("payload %s: %v", got, err)
	}
	for _, k := range []string{"workload_id", "container_id", "container_name", "image", "rule_id", "rule_name", "stream", "line_time"} {
		if _, ok := p.Data.Metadata[k]; !ok {
			t.Errorf("the test has no %s", k)
		}
	}
	status = 400
	_, body := b.raw("POST", idPath(triggersPath, tr.ID)+"/test", "", "")
	if strings.Contains(body, "h00k") || len(body) > 600 || !strings.Contains(body, `"said":"not at ******** xxx`) || !strings.Contains(body, `"status":400`) || !strings.Contains(body, `"ok":false`) {
		t.Error(body)
	}
	// One that is told of incidents gets a sample of these.
	status = 204
	must[Trigger](t)(b.UpdateTrigger(ctx, tr.ID, TriggerFields{"mode": "incidents"}))
	if r := must[TriggerTestResult](t)(b.TestTrigger(ctx, tr.ID)); !r.OK || r.Said != "" {
		t.Errorf("%+v", r)
	}
	var sample struct {
		Type string
		Test bool
		Data struct {
			Notices []struct{ Kind, Rule, Text string }
		}
	}
	if err := json.Unmarshal(got, &sample); err != nil || !sample.Test || sample.Type != "logscan.incident" || len(sample.Data.Notices) != 1 || sample.Data.Notices[0].Kind != "opened" {
		t.Errorf("payload %s: %v", got, err)
	}
	receiver.Close()
	if r := must[TriggerTestResult](t)(b.TestTrigger(ctx, tr.ID)); r.OK || r.Status != 0 || r.Error != "connection refused" {
		t.Errorf("%+v", r)
	}
	// Nothing of it is an event or a delivery.
	if ev := must[EventPage](t)(b.Events(ctx, EventQuery{})); len(ev.Items) != 0 {
		t.Errorf("events %+v", ev.Items)
	}
	if d := must[[]Delivery](t)(b.Deliveries(ctx, DeliveryQuery{})); len(d) != 0 {
		t.Errorf("deliveries %+v", d)
	}
}

func TestEventsByRuleID(t *testing.T) {
	b := newBench(t)
	for n := range 4 {
		e := hit(n, "warn", "same")
		e.Metadata["rule_id"] = 1 + n%2
		b.emit(e)
	}
	b.emit(event.Event{Source: "system", Severity: "warn", Message: "no rule"})
	if got := numbers(must[EventPage](t)(b.Events(t.Context(), EventQuery{RuleID: 2})).Items); !slices.Equal(got, []int{1, 3}) {
		t.Errorf("%v", got)
	}
}

func TestDegraded(t *testing.T) {
	b := newBench(t)
	b.reasons.Store(&[]Reason{{"settings", "LOGSCAN_X is bad"}})
	h := must[Health](t)(b.Health(t.Context()))
	if h.Status != "degraded" || len(h.Reasons) != 1 || h.Reasons[0].Detail != "LOGSCAN_X is bad" {
		t.Errorf("%+v", h)
	}
	if st := must[Stats](t)(b.Stats(t.Context())); len(st.Problems) != 1 || st.Journal.ByReason["torn"] != (Loss{3, 30, 0}) {
		t.Errorf("%+v", st)
	}
	recent := &server{Config: Config{Degraded: func() []Reason { return nil }, Journals: lossy{}}}
	if r := recent.reasons(); len(r) != 1 || r[0].Reason != "losses" || !strings.HasPrefix(r[0].Detail, "unscanned: 2 ") {
		t.Errorf("%+v", r)
	}
}

// lossy has lost lines just now, and removed others as it was told to.
type lossy struct{ fakeJournals }

func (lossy) Losses() map[string]journal.LossCount {
	return map[string]journal.LossCount{"unscanned": {Times: 2, Latest: time.Now()}, "budget": {Times: 9, Latest: time.Now()}}
}

// While the database isn't open, what doesn't need it answers, and the rest
// says that it can't.
func TestWithoutDatabase(t *testing.T) {
	h := New(Config{
		Ingest: fakeIngest{}, Journals: fakeJournals{}, Version: "1.2.3",
		Degraded: func() []Reason { return []Reason{{"database", "disk full"}} },
	})
	get := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w
	}
	if w := get("GET", healthPath); w.Code != 200 || !strings.Contains(w.Body.String(), `"degraded"`) || !strings.Contains(w.Body.String(), "disk full") {
		t.Errorf("health: %d %s", w.Code, w.Body)
	}
	if w := get("GET", containersPath); w.Code != 200 || !strings.Contains(w.Body.String(), `"web"`) {
		t.Errorf("containers: %d %s", w.Code, w.Body)
	}
	if w := get("GET", metricsPath); w.Code != 200 || !strings.Contains(w.Body.String(), `logscan_degraded{reason="database"} 1`) {
		t.Errorf("metrics: %d %s", w.Code, w.Body)
	}
	for _, op := range [][2]string{
		{"GET", rulesPath}, {"POST", rulesPath}, {"GET", rulesPath + "/1"}, {"PATCH", rulesPath + "/1"}, {"DELETE", rulesPath + "/1"},
		{"GET", rulesPath + "/stats"}, {"POST", rulesPath + "/test"}, {"GET", triggersPath}, {"POST", triggersPath + "/1/test"},
		{"GET", eventsPath}, {"GET", streamPath}, {"GET", deliveriesPath}, {"POST", deliveriesPath + "/x/redeliver"},
		{"GET", statsPath}, {"GET", workloadsPath}, {"GET", workloadsPath + "/a/b" + effectiveRules},
	} {
		w := get(op[0], op[1])
		var p Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != 503 || w.Header().Get("Content-Type") != "application/problem+json" || w.Header().Get("Retry-After") == "" || !strings.Contains(p.Detail, "database is not open") {
			t.Errorf("%v: %d %s", op, w.Code, w.Body)
		}
	}
}

func TestMetrics(t *testing.T) {
	b := newBench(t)
	resp, body := b.raw("GET", metricsPath, "", "")
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	for _, want := range []string{
		`logscan_build_info{version="1.2.3"} 1`, "logscan_lines_total 7", "logscan_worker_restarts_total 0", "logscan_ingested_bytes_total 4096", "logscan_hits_total 0",
		`logscan_suppressed_total{reason="cooldown"} 4`, `logscan_suppressed_total{reason="bucket"} 2`,
		"logscan_lag_bytes 99", `logscan_container_lag_bytes{container_id="abababababab",container_name="web"} 99`,
		`logscan_losses_total{reason="torn"} 3`, `logscan_losses_total{reason="unscanned"} 0`, `logscan_lost_bytes_total{reason="torn"} 30`,
		`logscan_delivery_attempts_total{outcome="delivered"} 0`, `logscan_delivery_attempts_total{outcome="dead"} 0`, `logscan_deliveries{state="pending"} 0`,
		"logscan_journal_bytes 4200", "go_goroutines ", "process_open_fds ", `logscan_degraded{reason="database"} 0`,
	} {
		if !strings.Contains(body, "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}

// However many containers there are, the series stay bounded, and nothing is
// missing in the sum.
func TestMetricsAreBounded(t *testing.T) {
	var all []journal.Info
	lag := map[string]int64{}
	for n := range 3 * containerSeries {
		id := fmt.Sprintf("%064d", n)
		i := journal.Info{Container: journal.Container{ID: id, Scan: true, Started: time.Unix(int64(n), 0)}}
		if n >= 2*containerSeries {
			i.Attached = 1
		} else if n%2 == 0 {
			lag[id] = 1
		}
		all = append(all, i)
	}
	own, rest := seriesFor(all, lag)
	if len(own) != containerSeries || len(rest) != containerSeries {
		t.Fatalf("%d with series, %d without", len(own), len(rest))
	}
	for i, j := range own {
		if j.ID != fmt.Sprintf("%064d", 2*containerSeries+i) {
			t.Fatalf("%s has a series instead of a running one", j.ID)
		}
	}
	var sum int64
	for _, j := range rest {
		sum += lag[j.ID]
	}
	if sum != containerSeries {
		t.Errorf("the rest lag by %d", sum)
	}
}
