package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"logscan/internal/api"
	"logscan/internal/egress"
	"logscan/internal/event"
	"logscan/internal/ingest"
	"logscan/internal/journal"
	"logscan/internal/labels"
	"logscan/internal/query"
	"logscan/internal/rule"
	"logscan/internal/scan"
	"logscan/internal/script"
	"logscan/internal/shape"
	"logscan/internal/store"
	"logscan/internal/suggestion"
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

func (fakePlugin) Attachments() []ingest.FIFOStatus { return nil }
func (fakePlugin) Losses() map[string]journal.LossCount {
	return map[string]journal.LossCount{"budget": {Times: 2, Bytes: 4096, Latest: time.Now()}}
}
func (fakePlugin) Echoes() map[string]int64 { return nil }

func (fakePlugin) Lag() map[string]int64 { return map[string]int64{strings.Repeat("ab", 32): 1500} }
func (fakePlugin) Runs(id string) ([]journal.Run, bool, error) {
	if id != strings.Repeat("ab", 32) {
		return nil, false, nil
	}
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.Local)
	return []journal.Run{{N: 1, Started: at, Ended: at.Add(1500 * time.Millisecond)}, {N: 2, Started: at.Add(time.Minute)}}, true, nil
}
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
	return map[int64]rule.Counts{0: {Nanos: 1000}, 1: {Hits: 3, Cooldown: 46, Bucket: 2, GivenUp: 1, Nanos: 250}, 2: {Nanos: 501}}
}
func (fakeScanner) Ignored() map[rule.Ignored]int64 { return nil }

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

func (l liveRules) Labels(c journal.Container) *api.ContainerLabels {
	if c.Name != "web" {
		return nil
	}
	return &api.ContainerLabels{Rules: []string{"oom"}, Silences: []string{}, Newest: "web-2", Problems: []labels.Problem{
		{Key: "logscan.rule.oom.patern", Reason: "a rule has no such field: did you mean pattern?"},
	}}
}

// scriptReceiver is where the receiver of scripts listens.
const scriptReceiver = "127.0.0.2"

// allowed are the hosts in the scripts, for which no resolver is asked.
var allowed = []string{"hooks.example.com", "h.example.com", "other.example.com", scriptReceiver}

// testPlugin is the control socket of a plugin that isn't there, over a real
// store.
type testPlugin struct {
	t       testing.TB
	store   *store.Store
	handler http.Handler
	socket  string
	logs    *journal.Dir
	lines   int // written into them
}

func newTestPlugin(t testing.TB) *testPlugin {
	t.Helper()
	dir, err := os.MkdirTemp("", "cli") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	p := &testPlugin{t: t, socket: filepath.Join(dir, "s")}
	watch := &query.Watch{}
	if p.logs, err = journal.OpenDir(journal.Config{Root: filepath.Join(dir, "logs"), OnAppend: watch.Notify, OnAttach: watch.Notify, OnDetach: watch.Notify}); err != nil {
		t.Fatal(err)
	}
	if p.store, err = store.Open(filepath.Join(dir, "logscan.db"), log); err != nil {
		t.Fatal(err)
	}
	p.store.UseKey([]byte(strings.Repeat("k", 32)))
	l, err := net.Listen("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	searcher := query.New(p.logs, nil, nil)
	why := query.WhyConfig{Store: p.store, Bucket: rule.DefaultBucket}
	p.handler = api.New(api.Config{
		Rules:  liveRules{p.store},
		Worker: trigger.NewWorker(trigger.WorkerConfig{Store: p.store, Targets: egress.Targets{Allow: []string{"127.0.0.1", scriptReceiver}}}),
		Token:  func() (api.Token, bool) { return api.Token{Token: "the token", Listen: "127.0.0.1:8414"}, true },
		Store:  p.store, Scanner: fakeScanner{}, Ingest: fakeIngest{}, Journals: fakePlugin{},
		Reload: func(context.Context) error { return nil },
		Share:  func(context.Context, rule.Rule) (api.Hint, error) { return api.Hint{Lines: 4, Matched: 1}, nil },
		Search: searcher.Search,
		Tail:   query.NewTailer(query.TailConfig{Journals: p.logs, Searcher: searcher, Watch: watch, Rules: p.liveRules}).Tail,
		Why:    func(ctx context.Context, q query.WhyQuery) (query.Why, error) { return searcher.Why(ctx, why, q) },
		WhyRule: func(ctx context.Context, q query.WhyRuleQuery) (query.RuleWhy, error) {
			return searcher.WhyRule(ctx, why, q)
		},
		Backtest: fakeBacktest,
		Suggest: func(_ context.Context, q suggestion.Query) (suggestion.List, error) {
			out := suggestion.List{Until: q.Since.Add(7 * 24 * time.Hour), Complete: q.Added["nginx"]}
			if !q.Added["nginx"] {
				last := query.BacktestSample{At: time.Now(), Container: "web", Message: "no live upstreams\x1b while connecting"}
				out.Items = append(out.Items, suggestion.Item{Pack: "nginx", Workload: "shop/web", Container: "web", Image: "nginx:1.27", Incidents: 2,
					Rules: []suggestion.Found{{Rule: "nginx-upstream-unreachable", Hits: 9, Incidents: 2, Last: last}}})
			}
			for _, workload := range []string{"a b", "cache"} {
				out.Items = append(out.Items, suggestion.Item{Pack: "redis", Workload: workload, Container: workload, Shapes: 5, Incidents: 1})
			}
			out.Items = append(out.Items, suggestion.Item{Pack: "common"})
			return out, nil
		},
		Uncovered: func(_ context.Context, _ []rule.Rule, q query.UncoveredQuery) (query.Uncovered, error) {
			at := time.Now().Add(-90 * time.Second)
			line := func(n int64, sample, pattern string) query.UncoveredShape {
				return query.UncoveredShape{Workload: "shop/web", Shape: shape.Of([]byte(sample)), Lines: n, First: at, Last: at, Container: "web", Sample: sample, Pattern: pattern}
			}
			all := []query.UncoveredShape{line(37, "it's failed for 17", `it's failed for \S+`), line(2, "it's failed for\x1b good", `it's failed for`), line(1, "!?", "")}
			n := min(q.Limit, len(all))
			return query.Uncovered{Shapes: all[:n], More: len(all) - n, Lines: 1000, Errors: 50, Missed: 40}, nil
		},
		CheckTarget: func(u string) error { return trigger.CheckTarget(u, egress.Targets{Allow: allowed}) },
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
		p.logs.Close()
		os.RemoveAll(dir)
	})
	return p
}

// liveRules are those that are stored.
func (p *testPlugin) liveRules() query.LiveRules {
	rules, err := p.store.Rules(context.Background())
	if err != nil {
		p.t.Error(err)
	}
	snapshot, _ := rule.Compile(rules)
	return query.LiveRules{Snapshot: snapshot}
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
	rules, err := p.store.Rules(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	for _, r := range rules {
		if r.Name == rule {
			m["rule_id"] = r.ID
		}
	}
	ev := event.Event{Source: "logscan", Severity: event.Severity(severity), Message: message, Metadata: m}
	if _, err := p.store.Commit(p.t.Context(), store.Batch{Events: []event.Event{ev}}, func(event.Event) []int64 { return []int64{1} }); err != nil {
		p.t.Fatal(err)
	}
}

// run executes one command line; out holds what it printed to both.
func (p *testPlugin) run(stdin string, args ...string) (out string, code int) {
	var b strings.Builder
	code = p.runWith(&cli{in: strings.NewReader(stdin), out: &b, err: &b}, args...)
	return b.String(), code
}

// runWith executes one command line as c.
func (p *testPlugin) runWith(c *cli, args ...string) (code int) {
	c.getenv, c.plugin = func(string) string { return "" }, true
	return c.run(p.t.Context(), append([]string{"logscan", "--socket", p.socket}, args...))
}

// TestScripts runs testdata/*.txtar, each against a plugin of its own, where
// logscan is what docker would run. Besides the commands of package script there
// are
//
//	event SEVERITY RULE MESSAGE [SINCE]  stores a hit; 46 matches were suppressed since then
//	break ID PATTERN                     puts a pattern into the store that the API would refuse
//	log CONTAINER WORKLOAD STREAM TEXT   writes a line into a container's log, a second after the one before
//	received PATTERN                     matches the latest request to the receiver at $RECEIVER
//
// MESSAGE and TEXT may have the escapes of Go's strings. The receiver quotes a request's path
// and credentials in its answer, and refuses what goes to a path with "refuse".
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	type plugin struct{}
	type received struct{}
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
		var latest atomic.Value
		receiver := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			latest.Store(string(body))
			if strings.Contains(r.URL.Path, "refuse") {
				w.WriteHeader(http.StatusForbidden)
			}
			fmt.Fprintf(w, `{"id":"1","event":"message","heard":"from %s, to %s%s"}`, r.Header.Get("Authorization"), r.Host, r.URL.Path)
		}))
		receiver.Listener.Close()
		var err error
		if receiver.Listener, err = net.Listen("tcp", scriptReceiver+":0"); err != nil {
			return err
		}
		receiver.Start()
		env.Defer(receiver.Close)
		env.Values[received{}] = &latest
		env.Setenv("RECEIVER", receiver.Listener.Addr().String())
		env.Setenv("LOGSCAN_HOST", "unix://"+p.socket)
		env.Setenv("TZ", "UTC")
		env.Setenv("GORACE", "atexit_sleep_ms=10") // not a second in each command
		return nil
	}, map[string]script.Command{
		"event":   with((*testPlugin).eventCommand),
		"history": with((*testPlugin).historyCommand),
		"break":   with((*testPlugin).breakCommand),
		"log":     with((*testPlugin).logCommand),
		"received": func(ts *testscript.TestScript, neg bool, args []string) {
			got, _ := ts.Value(received{}).(*atomic.Value).Load().(string)
			if len(args) != 1 || regexp.MustCompile(args[0]).MatchString(got) == neg {
				ts.Fatalf("received %s", got)
			}
		},
	}))
}

// historyCommand has a rule's history be found: history RULE MESSAGE.
func (p *testPlugin) historyCommand(args []string) error {
	rules, err := p.store.Rules(context.Background())
	for _, r := range rules {
		if err == nil && len(args) == 2 && r.Name == args[0] {
			e := event.Event{Source: event.Logscan, Severity: r.Severity, Message: args[1], Metadata: map[string]any{"rule_id": r.ID, "rule_name": r.Name}}
			return p.store.PutHistory(context.Background(), r.ID, []event.Event{e})
		}
	}
	return cmp.Or(err, errors.New("usage: history RULE MESSAGE"))
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

// fakeBacktest has found something in shop/web, and nothing elsewhere.
func fakeBacktest(_ context.Context, q query.BacktestQuery) (query.Backtest, error) {
	at := q.Until.UTC()
	b := query.Backtest{
		Since: q.Since, Until: q.Until, Complete: true, Took: time.Millisecond, Lines: 1000,
		Containers: []query.BacktestContainer{{Name: "web", Workload: "shop/web", First: at.Add(-3 * time.Hour), Last: at, Lines: 900, Hits: 6}, {Name: "db\x1b", Lines: 100, Hits: 1, Whole: true, Unread: 5}},
	}
	if q.Workload == "elsewhere" {
		b.Complete = false
		return b, nil
	}
	b.Counts = rule.Counts{Hits: 7, Cooldown: 212, Bucket: 3, Ignored: 4, GivenUp: 1}
	b.Hits, b.Incidents, b.Notices, b.Messages = 7, 2, map[string]int64{"opened": 2, "repeated": 1}, map[string]int64{"ops": 3, "phone": 1}
	b.Hours = []query.BacktestHour{{At: at.Add(-2 * time.Hour), Hits: 1}, {At: at.Add(-time.Hour), Hits: 6}}
	b.Shapes = []query.BacktestShape{{Readable: "Out of memory: Killed process <num>", Hits: 7}}
	b.Samples = []query.BacktestSample{{At: at, Container: "web", Message: "Out of memory: Killed process 17", Before: []string{"before\x1b"}, After: []string{"after"}}}
	if q.Against != nil {
		b.Against = &query.BacktestDifference{
			Hits: 12, Incidents: 3, Messages: map[string]int64{"ops": 5},
			Added: query.BacktestSide{Hits: 1, Hours: b.Hours[:1], Samples: b.Samples},
		}
	}
	b.Warnings = []string{"ops would get more than a message an hour: 30 in 24 h"}
	return b, nil
}
