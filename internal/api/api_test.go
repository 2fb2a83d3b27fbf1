package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"logscan/internal/egress"
	"logscan/internal/event"
	"logscan/internal/ingest"
	"logscan/internal/journal"
	"logscan/internal/labels"
	"logscan/internal/query"
	"logscan/internal/rule"
	"logscan/internal/scan"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

type fakeIngest struct{}

func (fakeIngest) Attachments() []ingest.FIFOStatus { return nil }
func (fakeIngest) Stats() ingest.Stats              { return ingest.Stats{Attachments: 2, Bytes: 4096} }

type fakeJournals struct{}

func (fakeJournals) List() []journal.Info {
	return []journal.Info{{
		Container: journal.Container{ID: strings.Repeat("ab", 32), Name: "web", Image: "nginx", Workload: "shop/web", Scan: true},
		State:     journal.State{Attached: 1, End: 4096},
		Bytes:     4200,
	}}
}
func (fakeJournals) Runs(string) ([]journal.Run, bool, error) {
	at := time.Unix(1000, 0)
	return []journal.Run{{N: 7, Started: at, Ended: at.Add(time.Second)}, {N: 8, Started: at.Add(time.Minute), Ended: at.Add(time.Hour)}, {N: 9, Started: at.Add(2 * time.Hour)}}, true, nil
}
func (fakeJournals) Losses() map[string]journal.LossCount {
	return map[string]journal.LossCount{"torn": {Times: 3, Bytes: 30, Latest: time.Now().Add(-2 * lossNews)}}
}

type fakeScanner struct{}

func (fakeScanner) Stats() scan.Stats { return scan.Stats{Lines: 7, Cooldown: 4, Bucket: 2} }
func (fakeScanner) RuleStats() map[int64]rule.Counts {
	return map[int64]rule.Counts{0: {Nanos: 1000}, 1: {Hits: 5, Cooldown: 4, Bucket: 2, GivenUp: 3, Nanos: 250}}
}
func (fakeScanner) Ignored() map[rule.Ignored]int64 {
	return map[rule.Ignored]int64{{Rule: 1, Pattern: "/health"}: 7, {Rule: 99, Pattern: "x"}: 1}
}
func (fakeScanner) Echoes() map[string]int64 {
	return map[string]int64{"c1": 3}
}

func (fakeScanner) Lag() map[string]int64 {
	return map[string]int64{strings.Repeat("ab", 32): 99}
}

// liveRules compiles what the store holds, as the plugin does.
type liveRules struct{ s *store.Store }

func (l liveRules) compile() (*rule.Snapshot, []rule.CompileError) {
	rules, err := l.s.Rules(context.Background())
	if err != nil {
		panic(err)
	}
	return rule.Compile(rules)
}

func (l liveRules) Effective(workload string) []rule.Rule {
	s, _ := l.compile()
	return s.For(workload).Rules()
}

func (l liveRules) LeftOut() []rule.CompileError {
	_, bad := l.compile()
	return bad
}

func (l liveRules) Labels(c journal.Container) *ContainerLabels {
	if c.Name != "web" {
		return nil
	}
	return &ContainerLabels{Rules: []string{"oom"}, Silences: []string{}, Newest: "web-2", Problems: []labels.Problem{
		{Key: "logscan.rule.oom.patern", Reason: "a rule has no such field: did you mean pattern?"},
	}}
}

// bench is a real API on a real socket, over a real store.
type bench struct {
	*Client
	t       *testing.T
	store   *store.Store
	socket  string
	reloads atomic.Int64
	fail    atomic.Pointer[error] // what Reload returns
	srv     *httptest.Server
	log     lockedBuffer
	reasons atomic.Pointer[[]Reason]
	tokens  *Tokens
	share   func(context.Context, rule.Rule) (Hint, error)
	// journals are those that are searched, by search unless that is nil.
	journals *journal.Dir
	search   atomic.Pointer[searchFunc]
	tailer   *query.Tailer
	watch    *query.Watch
}

type searchFunc struct {
	do func(context.Context, query.Request, query.Output) (query.Summary, error)
}

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

func newBench(t *testing.T) *bench {
	t.Helper()
	// A socket's path has to be short, which t.TempDir isn't.
	dir, err := os.MkdirTemp("", "api")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, socket: filepath.Join(dir, "s"), tokens: &Tokens{}, watch: &query.Watch{}}
	b.journals = searchable(t, b.watch)
	b.tailer = query.NewTailer(query.TailConfig{Journals: b.journals, Searcher: query.New(b.journals, query.NewPool(query.DefaultQueries), nil), Watch: b.watch, Rules: func() query.LiveRules {
		rules, err := b.store.Rules(context.Background())
		if err != nil {
			t.Error(err)
		}
		snapshot, _ := rule.Compile(rules)
		return query.LiveRules{Snapshot: snapshot}
	}})
	b.tokens.SetAdmin(testToken)
	log := slog.New(slog.NewTextHandler(&b.log, nil))
	if b.store, err = store.Open(filepath.Join(dir, "logscan.db"), log); err != nil {
		t.Fatal(err)
	}
	b.listen()
	b.Client = Dial(b.socket)
	t.Cleanup(func() {
		b.Client.Close()
		b.close()
		b.store.Close()
		os.RemoveAll(dir)
	})
	return b
}

func (b *bench) handler() http.Handler {
	return New(b.config())
}

func (b *bench) config() Config {
	return Config{
		Rules:  liveRules{b.store},
		Worker: trigger.NewWorker(trigger.WorkerConfig{Store: b.store, Targets: egress.Targets{Allow: []string{"127.0.0.1"}}}),
		Degraded: func() []Reason {
			if r := b.reasons.Load(); r != nil {
				return *r
			}
			return nil
		},
		Tokens: b.tokens,
		Token:  func() (Token, bool) { return Token{Token: testToken, Listen: "127.0.0.1:8414"}, true },
		Store:  b.store, Scanner: fakeScanner{}, Ingest: fakeIngest{}, Journals: fakeJournals{},
		Reload: func(context.Context) error {
			b.reloads.Add(1)
			if e := b.fail.Load(); e != nil {
				return *e
			}
			return nil
		},
		CheckTarget: func(u string) error {
			if strings.Contains(u, "127.0.0.1/") {
				return errors.New("loopback addresses are refused")
			}
			return nil
		},
		Version: "1.2.3",
		Logger:  slog.New(slog.NewTextHandler(&b.log, nil)),
		Share:   b.share,
		Search: func(ctx context.Context, r query.Request, out query.Output) (query.Summary, error) {
			if f := b.search.Load(); f != nil {
				return f.do(ctx, r, out)
			}
			return query.New(b.journals, nil, nil).Search(ctx, r, out)
		},
		Tail: b.tailer.Tail,
	}
}

func (b *bench) listen() {
	b.t.Helper()
	os.Remove(b.socket)
	l, err := net.Listen("unix", b.socket)
	if err != nil {
		b.t.Fatal(err)
	}
	b.srv = httptest.NewUnstartedServer(b.handler())
	b.srv.Listener.Close()
	b.srv.Listener = l
	b.srv.Start()
}

func (b *bench) close() {
	b.srv.CloseClientConnections()
	b.srv.Close()
}

// raw sends a request as it is and returns the answer.
func (b *bench) raw(method, path, contentType, body string) (*http.Response, string) {
	b.t.Helper()
	req, err := http.NewRequest(method, "http://logscan"+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, string(out)
}

// emit puts events into the log.
func (b *bench) emit(events ...event.Event) []event.Event {
	b.t.Helper()
	out, err := b.store.Commit(b.t.Context(), store.Batch{Events: events}, func(event.Event) []int64 { return nil })
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func hit(n int, severity, rule string) event.Event {
	return event.Event{Source: "logscan", Severity: event.Severity(severity), Message: fmt.Sprint("line ", n), Metadata: map[string]any{
		"n": n, "rule_name": rule, "container_name": "web", "container_id": strings.Repeat("ab", 32), "workload_id": "shop/web",
	}}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantProblem(t *testing.T, err error, status int, words ...string) {
	t.Helper()
	var p *Problem
	if !errors.As(err, &p) || p.Status != status {
		t.Fatalf("got %v, want a problem with status %d", err, status)
	}
	for _, w := range words {
		if !strings.Contains(p.Error(), w) {
			t.Errorf("%q does not say %q", p.Error(), w)
		}
	}
}

func TestRules(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	r := must[Rule](t)(b.CreateRule(ctx, RuleCreate{Name: "oom", Pattern: "Out of memory"}))
	if r.ID == 0 || r.Severity != "warn" || r.Streams != "all" || r.CooldownSeconds != 300 || !r.Enabled || r.CreatedAt.IsZero() {
		t.Errorf("defaults: %+v", r)
	}
	if n := b.reloads.Load(); n != 1 {
		t.Errorf("%d reloads", n)
	}
	got := must[Rule](t)(b.Rule(ctx, r.ID))
	if !reflect.DeepEqual(got, r) {
		t.Errorf("read back %+v, want %+v", got, r)
	}
	// Absent stays, a value is set (zero ones too), null is the default.
	r = must[Rule](t)(b.UpdateRule(ctx, r.ID, RuleFields{"cooldown_seconds": 0, "enabled": false, "severity": "error"}))
	if r.CooldownSeconds != 0 || r.Enabled || r.Severity != "error" || r.Pattern != "Out of memory" {
		t.Errorf("after PATCH: %+v", r)
	}
	r = must[Rule](t)(b.UpdateRule(ctx, r.ID, RuleFields{"cooldown_seconds": nil, "severity": nil}))
	if r.CooldownSeconds != 300 || r.Severity != "warn" || r.Enabled {
		t.Errorf("after null: %+v", r)
	}
	// What was read can be sent back whole.
	whole, _ := json.Marshal(r)
	if resp, body := b.raw("PATCH", idPath(rulesPath, r.ID), "application/json", string(whole)); resp.StatusCode != 200 {
		t.Errorf("echo: %d %s", resp.StatusCode, body)
	}
	if resp, _ := b.raw("POST", rulesPath, "application/json", `{"name":"two","pattern":"x"}`); resp.StatusCode != 201 || !strings.HasPrefix(resp.Header.Get("Location"), rulesPath+"/") {
		t.Errorf("created: %d, Location %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	if l := must[[]Rule](t)(b.Rules(ctx)); len(l) != 2 {
		t.Errorf("%d rules", len(l))
	}
	if err := b.DeleteRule(ctx, r.ID); err != nil {
		t.Fatal(err)
	}
	_, err := b.Rule(ctx, r.ID)
	wantProblem(t, err, 404, "no such rule")
	if !IsNotFound(err) {
		t.Error("IsNotFound")
	}
	wantProblem(t, b.DeleteRule(ctx, r.ID), 404)
	_, err = b.UpdateRule(ctx, r.ID, RuleFields{"name": "x"})
	wantProblem(t, err, 404)
}

// Two changes of different fields at once both count.
func TestPatchesDoNotUndoEachOther(t *testing.T) {
	b := newBench(t)
	r := must[Rule](t)(b.CreateRule(t.Context(), RuleCreate{Name: "r", Pattern: "x"}))
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			f := RuleFields{"description": "d"}
			if i%2 == 0 {
				f = RuleFields{"workload_id": "w"}
			}
			if _, err := b.UpdateRule(t.Context(), r.ID, f); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if r = must[Rule](t)(b.Rule(t.Context(), r.ID)); r.Description != "d" || r.WorkloadID != "w" {
		t.Errorf("%+v", r)
	}
}

func TestReloadFails(t *testing.T) {
	b := newBench(t)
	r := must[Rule](t)(b.CreateRule(t.Context(), RuleCreate{Name: "r", Pattern: "x"}))
	e := errors.New("secret inner reason")
	b.fail.Store(&e)
	_, err := b.UpdateRule(t.Context(), r.ID, RuleFields{"name": "s"})
	wantProblem(t, err, 500, "stored but not live")
	if strings.Contains(err.Error(), "inner") {
		t.Errorf("%v tells the inside", err)
	}
	// What is new is there, so that nobody tries to make it again.
	var warnings []string
	b.Warn = func(s string) { warnings = append(warnings, s) }
	r = must[Rule](t)(b.CreateRule(t.Context(), RuleCreate{Name: "r2", Pattern: "x"}))
	tr := must[Trigger](t)(b.CreateTrigger(t.Context(), TriggerCreate{Name: "t", ActionURL: "https://h.example.com/"}))
	if r.ID != 2 || tr.ID != 1 || len(warnings) != 2 || !strings.Contains(warnings[0], "stored but not live") || strings.Contains(warnings[1], "inner") {
		t.Errorf("%+v, %+v, %q", r, tr, warnings)
	}
}

func newRuleFor(t *testing.T) rule.Rule {
	t.Helper()
	return must[rule.Rule](t)(RuleFields{"name": "first", "pattern": "x"}.create())
}

// Every refusal is a problem document that names the place and the remedy.
func TestHostileInput(t *testing.T) {
	b := newBench(t)
	if _, err := b.store.CreateRule(t.Context(), newRuleFor(t)); err != nil { // id 1
		t.Fatal(err)
	}
	const js = "application/json"
	for _, tt := range []struct {
		name, method, path, contentType, body string
		status                                int
		says                                  []string
	}{
		{"no such path", "GET", "/api/nothing", "", "", 404, []string{"openapi"}},
		{"no such method", "PUT", rulesPath, js, "{}", 405, []string{"PUT", "GET", "POST"}},
		{"body too large", "POST", rulesPath, js, `{"name":"` + strings.Repeat("x", maxBody) + `"}`, 413, nil},
		{"test body too large", "POST", rulesPath + "/test", js, `{"pattern":"` + strings.Repeat("x", maxTestBody) + `"}`, 413, nil},
		{"no JSON", "POST", rulesPath, js, `{"name":`, 400, nil},
		{"no body", "POST", rulesPath, js, ``, 400, []string{"body"}},
		{"other content type", "POST", rulesPath, "application/xml", `<rule/>`, 415, nil},
		{"array", "POST", rulesPath, js, `[]`, 422, []string{"object"}},
		{"null", "POST", rulesPath, js, `null`, 422, nil},
		{"deep nesting", "POST", rulesPath, js, strings.Repeat("[", 30000), 400, nil},
		{"wrong type", "POST", rulesPath, js, `{"name":5,"pattern":"x"}`, 422, []string{"name", "string"}},
		{"wrong type in a field", "POST", rulesPath, js, `{"name":"a","pattern":"x","cooldown_seconds":"5m"}`, 422, []string{"cooldown_seconds", "integer"}},
		{"fraction", "POST", rulesPath, js, `{"name":"a","pattern":"x","cooldown_seconds":1.5}`, 422, []string{"cooldown_seconds"}},
		{"huge number", "POST", rulesPath, js, `{"name":"a","pattern":"x","cooldown_seconds":1e300}`, 422, []string{"cooldown_seconds"}},
		{"overflowing number", "POST", rulesPath, js, `{"name":"a","pattern":"x","cooldown_seconds":9223372036854775807}`, 422, []string{"cooldown_seconds", "31536000"}},
		{"negative cooldown", "POST", rulesPath, js, `{"name":"a","pattern":"x","cooldown_seconds":-1}`, 422, []string{"cooldown_seconds"}},
		{"unknown field", "POST", rulesPath, js, `{"name":"a","patern":"x"}`, 422, []string{"patern", "did you mean pattern?"}},
		{"far-off field", "POST", rulesPath, js, `{"name":"a","pattern":"x","zzzzzzzzzz":1}`, 422, []string{"zzzzzzzzzz", "known: active, after, all, arm, at_least"}},
		{"no name", "POST", rulesPath, js, `{"pattern":"x"}`, 422, []string{"name"}},
		{"empty name", "POST", rulesPath, js, `{"name":"","pattern":"x"}`, 422, []string{"name"}},
		{"bad regexp", "POST", rulesPath, js, `{"name":"a","pattern":"ab(c"}`, 422, []string{"pattern", "missing closing )", "position"}},
		{"severity", "POST", rulesPath, js, `{"name":"a","pattern":"x","severity":"fatal"}`, 422, []string{"severity", "info", "warn", "error"}},
		{"streams", "POST", rulesPath, js, `{"name":"a","pattern":"x","streams":"stdin"}`, 422, []string{"streams"}},
		{"id is no number", "GET", rulesPath + "/abc", "", "", 422, []string{"id"}},
		{"id is zero", "GET", rulesPath + "/0", "", "", 422, []string{"id"}},
		{"id overflows", "GET", rulesPath + "/99999999999999999999", "", "", 422, []string{"id"}},
		{"null name", "PATCH", rulesPath + "/1", js, `{"name":null}`, 422, []string{"name", "null"}},
		{"test of nothing", "POST", rulesPath + "/test", js, `{"lines":["x"]}`, 422, []string{"pattern", "rule_id"}},
		{"test of both", "POST", rulesPath + "/test", js, `{"rule_id":1,"pattern":"x","lines":["x"]}`, 422, []string{"either"}},
		{"test of a bad pattern", "POST", rulesPath + "/test", js, `{"pattern":"(","lines":[]}`, 422, []string{"pattern", "missing closing )"}},
		{"test of too many lines", "POST", rulesPath + "/test", js, `{"pattern":"x","lines":[` + strings.Repeat(`"",`, 1000) + `""]}`, 422, []string{"lines", "1000"}},
		{"test of no such rule", "POST", rulesPath + "/test", js, `{"rule_id":4711,"lines":[]}`, 404, []string{"no such rule"}},
		{"trigger to loopback", "POST", triggersPath, js, `{"name":"t","action_url":"http://127.0.0.1/"}`, 422, []string{"action_url", "loopback"}},
		{"trigger without URL", "POST", triggersPath, js, `{"name":"t"}`, 422, []string{"action_url"}},
		{"trigger severities", "POST", triggersPath, js, `{"name":"t","action_url":"http://h/","severities":"warn,loud"}`, 422, []string{"severities", "loud"}},
		{"trigger sources", "POST", triggersPath, js, `{"name":"t","action_url":"http://h/","sources":"docker"}`, 422, []string{"sources", "docker"}},
		{"trigger regexp", "POST", triggersPath, js, `{"name":"t","action_url":"http://h/","message_regex":"a**"}`, 422, []string{"message_regex", "a**"[1:]}},
		{"trigger regexp too large", "POST", triggersPath, js, `{"name":"t","action_url":"http://h/","message_regex":"` + strings.Repeat("a{1000}", 11) + `"}`, 422, []string{"message_regex", "instructions", fmt.Sprint(rule.MaxProgram)}},
		{"trigger regexp too long", "POST", triggersPath, js, `{"name":"t","action_url":"http://h/","message_regex":"` + strings.Repeat("a", rule.MaxPattern+1) + `"}`, 422, []string{"message_regex", fmt.Sprint(rule.MaxPattern)}},
		{"pattern too long", "POST", rulesPath, js, `{"name":"a","pattern":"` + strings.Repeat("a", rule.MaxPattern+1) + `"}`, 422, []string{"pattern", fmt.Sprint(rule.MaxPattern)}},
		{"pattern too large", "POST", rulesPath, js, `{"name":"a","pattern":"` + strings.Repeat("a{1000}", 11) + `"}`, 422, []string{"pattern", fmt.Sprint(rule.MaxProgram)}},
		{"test of no such trigger", "POST", triggersPath + "/4711/test", "", "", 404, []string{"no such trigger"}},
		{"workload id too long", "GET", workloadsPath + "/" + strings.Repeat("a/", 300) + effectiveRules[1:], "", "", 422, []string{"id"}},
		{"rule_id", "GET", eventsPath + "?rule_id=oom", "", "", 422, []string{"rule_id"}},
		{"trigger secret too long", "POST", triggersPath, js, `{"name":"t","action_url":"http://h/","action_secret":"` + strings.Repeat("s", trigger.MaxSecret+1) + `"}`, 422, []string{"action_secret"}},
		{"limit", "GET", eventsPath + "?limit=100000", "", "", 422, []string{"limit", "1000"}},
		{"limit is no number", "GET", eventsPath + "?limit=many", "", "", 422, []string{"limit"}},
		{"since", "GET", eventsPath + "?since=yesterday", "", "", 422, []string{"since"}},
		{"event severity", "GET", eventsPath + "?severity=loud", "", "", 422, []string{"severity", "info, warn, error"}},
		{"event source", "GET", eventsPath + "?source=me", "", "", 422, []string{"source"}},
		{"after and before", "GET", eventsPath + "?after=1&before=2", "", "", 422, []string{"either"}},
		{"unknown parameter", "GET", eventsPath + "?severty=warn", "", "", 422, []string{"severty", "did you mean severity?"}},
		{"stream severity", "GET", streamPath + "?severity=loud", "", "", 422, []string{"severity"}},
		{"delivery state", "GET", deliveriesPath + "?state=lost", "", "", 422, []string{"state"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.t = t
			resp, body := b.raw(tt.method, tt.path, tt.contentType, tt.body)
			if resp.StatusCode != tt.status {
				t.Fatalf("status %d, want %d: %.300s", resp.StatusCode, tt.status, body)
			}
			if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" {
				t.Errorf("content type %q", ct)
			}
			var p Problem
			if err := json.Unmarshal([]byte(body), &p); err != nil {
				t.Fatalf("%v: %.300s", err, body)
			}
			if p.Status != tt.status || p.Detail == "" {
				t.Errorf("problem %+v", p)
			}
			if len(body) > 4000 {
				t.Errorf("the answer is %d bytes", len(body))
			}
			for _, w := range tt.says {
				if !strings.Contains(p.Detail, w) {
					t.Errorf("%q does not say %q", p.Detail, w)
				}
			}
		})
	}
	b.t = t
	if n := b.reloads.Load(); n != 0 {
		t.Errorf("%d reloads for refused changes", n)
	}
}

func TestRuleTest(t *testing.T) {
	b := newBench(t)
	res := must[RuleTestResult](t)(b.TestRule(t.Context(), RuleTest{
		Pattern: `user=(?P<user>\w+) (\d+)`,
		Lines:   []string{"é user=bob 42", "nothing", "", "user=al 1 user=cy 2"},
	}))
	if res.Matched != 2 || len(res.Lines) != 4 || res.Lines[1].Matched || res.Lines[2].Matched {
		t.Fatalf("%+v", res)
	}
	l := res.Lines[0]
	if l.Captures["user"] != "bob" || l.Captures["$2"] != "42" {
		t.Errorf("captures %v", l.Captures)
	}
	if len(l.Spans) != 1 || l.Spans[0] != (Span{3, 14}) {
		t.Errorf("spans %v", l.Spans)
	}
	if len(res.Lines[3].Spans) != 2 {
		t.Errorf("spans %v", res.Lines[3].Spans)
	}
	// A stored rule is tried as it is written, on any stream, and switched off
	// or cooling down all the same.
	r := must[Rule](t)(b.CreateRule(t.Context(), RuleCreate{Name: "r", Pattern: "boom", RuleFields: RuleFields{
		"enabled": false, "streams": "stderr", "workload_id": "shop/web",
	}}))
	res = must[RuleTestResult](t)(b.TestRule(t.Context(), RuleTest{RuleID: r.ID, Lines: []string{"boom", "boom", "calm"}}))
	if res.Matched != 2 || res.Pattern != "boom" {
		t.Errorf("%+v", res)
	}
}

func TestStatus(t *testing.T) {
	b := newBench(t)
	h := must[Health](t)(b.Health(t.Context()))
	if h.Status != "ok" || h.Version != "1.2.3" {
		t.Errorf("%+v", h)
	}
	cs := must[[]Container](t)(b.Containers(t.Context()))
	if len(cs) != 1 || cs[0].Name != "web" || !cs[0].Running || cs[0].Lag != 99 || cs[0].Bytes != 4200 {
		t.Errorf("%+v", cs)
	}
	st := must[Stats](t)(b.Stats(t.Context()))
	if st.Version != "1.2.3" || st.Ingest.Attachments != 2 || st.Journal.Losses != 3 || st.Journal.Bytes != 4200 || st.Scan.Lines != 7 || st.Scan.Lag != 99 || time.Since(st.Started) > time.Minute {
		t.Errorf("%+v", st)
	}
}

func TestOpenAPI(t *testing.T) {
	b := newBench(t)
	resp, body := b.raw("GET", "/openapi.json", "", "")
	var doc struct {
		OpenAPI string
		Info    struct{ Version string }
		Paths   map[string]map[string]struct {
			Responses map[string]struct{ Content map[string]any }
		}
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp.StatusCode, err)
	}
	if !strings.Contains(body, `"scheme":"bearer"`) {
		t.Error("the token over TCP is not described")
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || doc.Info.Version != "1.2.3" {
		t.Errorf("openapi %q, version %q", doc.OpenAPI, doc.Info.Version)
	}
	for _, path := range []string{
		rulesPath, rulesPath + "/{id}", rulesPath + "/test", rulesPath + "/stats",
		triggersPath, triggersPath + "/{id}", triggersPath + "/{id}/test",
		eventsPath, streamPath, deliveriesPath, deliveriesPath + "/{id}/redeliver",
		workloadsPath, workloadsPath + "/{id}" + effectiveRules,
		containersPath, statsPath, healthPath, metricsPath, tokenPath,
	} {
		if len(doc.Paths[path]) == 0 {
			t.Errorf("%s is not described", path)
		}
		for method, op := range doc.Paths[path] {
			problem := false
			for _, r := range op.Responses {
				_, ok := r.Content["application/problem+json"]
				problem = problem || ok
			}
			if !problem {
				t.Errorf("%s %s: errors are not described", method, path)
			}
		}
	}
}
