package main

import (
	"context"
	"errors"
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

	"github.com/rogpeppe/go-internal/testscript"

	"logscan/internal/api"
	"logscan/internal/ingest"
	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/scan"
	"logscan/internal/script"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// TestMain lets scripts run this program as logscan: with the words with which
// docker runs it.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"logscan": func() {
		os.Args = append([]string{"docker-logscan", "logscan"}, os.Args[1:]...)
		main()
	}})
}

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

// allowed are the hosts in the scripts, for which no resolver is asked.
var allowed = []string{"hooks.example.com", "h.example.com", "other.example.com"}

// testPlugin is the control socket of a plugin that isn't there, over a real
// store.
type testPlugin struct {
	t       testing.TB
	store   *store.Store
	handler http.Handler
	socket  string
}

func newTestPlugin(t testing.TB) *testPlugin {
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

// TestScripts runs testdata/*.txtar, each against a plugin of its own, where
// logscan is what docker would run. Besides the commands of package script there
// are
//
//	event SEVERITY RULE MESSAGE [SINCE]  stores a hit; 46 were held back since then
//	break ID PATTERN                     puts a pattern into the store that the API would refuse
//
// MESSAGE may have the escapes of Go's strings.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	type plugin struct{}
	with := func(f func(*testPlugin, []string) error) script.Command {
		return func(ts *testscript.TestScript, neg bool, args []string) {
			if neg {
				ts.Fatalf("it has to succeed")
			}
			ts.Check(f(ts.Value(plugin{}).(*testPlugin), args))
		}
	}
	testscript.Run(t, script.Params(files, func(env *testscript.Env) error {
		p := newTestPlugin(env.T().(testing.TB))
		env.Values[plugin{}] = p
		env.Setenv("LOGSCAN_HOST", "unix://"+p.socket)
		env.Setenv("TZ", "UTC")
		env.Setenv("GORACE", "atexit_sleep_ms=10") // not a second in each command
		return nil
	}, map[string]script.Command{
		"event": with((*testPlugin).eventCommand),
		"break": with((*testPlugin).breakCommand),
	}))
}

func (p *testPlugin) eventCommand(args []string) error {
	if len(args) < 3 || len(args) > 4 {
		return errors.New("usage: event SEVERITY RULE MESSAGE [SINCE]")
	}
	message, err := strconv.Unquote(`"` + strings.ReplaceAll(args[2], `"`, `\"`) + `"`)
	if err != nil {
		return fmt.Errorf("message: %w", err)
	}
	more := map[string]any{}
	if len(args) == 4 {
		more["suppressed"], more["suppressed_since"] = 46, args[3]
	}
	p.emit(args[0], args[1], message, more)
	return nil
}

func (p *testPlugin) breakCommand(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: break ID PATTERN")
	}
	id, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return err
	}
	r, err := p.store.Rule(p.t.Context(), id)
	if err != nil {
		return err
	}
	r.Pattern = args[1]
	_, err = p.store.UpdateRule(p.t.Context(), r)
	return err
}
