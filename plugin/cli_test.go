package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/ingest"
	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/scan"
	"logscan/internal/store"
	"logscan/internal/transcript"
	"logscan/internal/trigger"
)

type fakePlugin struct{}

func (fakePlugin) Attachments() []ingest.Attachment { return nil }
func (fakePlugin) Losses() map[string]journal.LossCount {
	return map[string]journal.LossCount{"budget": {Times: 2, Bytes: 4096, Latest: time.Now()}}
}
func (fakePlugin) Lag() map[string]int64 { return map[string]int64{strings.Repeat("ab", 32): 1500} }
func (fakePlugin) List() []journal.Info {
	return []journal.Info{
		{
			Container: journal.Container{ID: strings.Repeat("ab", 32), Name: "web", Image: "nginx", Workload: "shop/web", Scan: true},
			State:     journal.State{Attached: 1}, Bytes: 20_480_000, Latest: time.Now().Add(-3 * time.Second),
		},
		{Container: journal.Container{ID: "unknown-0123456789ab"}, Bytes: 12},
	}
}

type fakeIngest struct{ fakePlugin }

func (fakeIngest) Stats() ingest.Stats { return ingest.Stats{Attachments: 1, Bytes: 5_000_000_000} }

type fakeScanner struct{ fakePlugin }

func (fakeScanner) Stats() scan.Stats { return scan.Stats{} }
func (fakeScanner) RuleStats() map[int64]rule.Counts {
	return map[int64]rule.Counts{1: {Hits: 3, Cooldown: 46, Bucket: 2}}
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

// allowed are the hosts in the transcripts, for which no resolver is asked.
var allowed = []string{"hooks.example.com", "h.example.com", "other.example.com"}

// testPlugin is the control socket of a plugin that isn't there, over a real
// store.
type testPlugin struct {
	t       *testing.T
	store   *store.Store
	handler http.Handler
	socket  string
}

func newTestPlugin(t *testing.T) *testPlugin {
	t.Helper()
	dir, err := os.MkdirTemp("", "cli") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	p := &testPlugin{t: t, socket: filepath.Join(dir, "s")}
	if p.store, err = store.Open(filepath.Join(dir, "logscan.db"), log); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	p.handler = api.New(api.Config{
		Rules:  liveRules{p.store},
		Worker: trigger.NewWorker(trigger.WorkerConfig{Store: p.store, AllowTargets: []string{"127.0.0.1"}}),
		Token:  func() (api.Token, bool) { return api.Token{Token: "the token", Listen: "127.0.0.1:8414"}, true },
		Store:  p.store, Scanner: fakeScanner{}, Ingest: fakeIngest{}, Journals: fakePlugin{},
		Reload:      func(context.Context) error { return nil },
		CheckTarget: func(u string) error { return trigger.CheckTarget(u, allowed) },
		Version:     "1.2.3", Logger: log,
	})
	srv := httptest.NewUnstartedServer(p.handler)
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
		p.store.Close()
		os.RemoveAll(dir)
	})
	return p
}

// emit puts a hit into the event log: severity rule message.
func (p *testPlugin) emit(severity, rule, message string, more map[string]any) {
	p.t.Helper()
	m := map[string]any{
		"rule_name": rule, "container_name": "web", "container_id": strings.Repeat("ab", 32), "workload_id": "shop/web",
		"line_time": "2026-01-02T15:04:05.123456789Z",
	}
	for k, v := range more {
		m[k] = v
	}
	ev := store.Event{Source: "logscan", Severity: severity, Message: message, Metadata: m}
	if _, err := p.store.Commit(p.t.Context(), store.Batch{Events: []store.Event{ev}}, func(store.Event) []int64 { return []int64{1} }); err != nil {
		p.t.Fatal(err)
	}
}

// run executes one command line; out holds what it printed to both.
func (p *testPlugin) run(stdin string, args ...string) (out string, code int) {
	var b strings.Builder
	c := &cli{in: strings.NewReader(stdin), out: &b, err: &b, getenv: func(string) string { return "" }, plugin: true}
	code = c.run(p.t.Context(), append([]string{"logscan", "--socket", p.socket}, args...))
	return b.String(), code
}

// TestTranscripts runs what testdata/*.txt show. Besides logscan there is "emit
// severity rule message", which makes an event, and "break id pattern", which
// puts a pattern into the store that the API would refuse.
func TestTranscripts(t *testing.T) {
	t.Setenv("TZ", "UTC")
	time.Local = time.UTC
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		transcript.Run(t, file, func(t *testing.T) transcript.Command { return newTestPlugin(t).command })
	}
}

func (p *testPlugin) command(t *testing.T, words []string, stdin string) string {
	t.Helper()
	switch words[0] {
	case "emit":
		more := map[string]any{}
		if len(words) > 4 {
			more["suppressed"], more["suppressed_since"] = 46, words[4]
		}
		p.emit(words[1], words[2], words[3], more)
		return ""
	case "break":
		id, _ := strconv.ParseInt(words[1], 10, 64)
		r, err := p.store.Rule(t.Context(), id)
		if err == nil {
			r.Pattern = words[2]
			_, err = p.store.UpdateRule(t.Context(), r)
		}
		if err != nil {
			t.Fatal(err)
		}
		return ""
	case "logscan":
		out, code := p.run(stdin, words[1:]...)
		if code != 0 {
			out += fmt.Sprintf("[%d]\n", code)
		}
		return out
	}
	t.Fatalf("unknown command %q", words[0])
	return ""
}
