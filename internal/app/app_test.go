package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/loss"
	"logscan/internal/rule"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// plugin is all of logscan but the Engine.
type plugin struct {
	*api.Client
	t      *testing.T
	cfg    Config
	cancel context.CancelFunc
	ended  chan error
}

func newPlugin(t *testing.T, settings map[string]string) *plugin {
	t.Helper()
	dir, err := os.MkdirTemp("", "app") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{"LOGSCAN_FIFO_DIR": dir, "LOGSCAN_SOCKET_DIR": dir}
	for k, v := range settings {
		vars[k] = v
	}
	p := &plugin{t: t, cfg: ConfigFromEnv(env(vars)), Client: api.Dial(filepath.Join(dir, ControlSocket))}
	p.cfg.Version = "test"
	p.cfg.EngineSocket = "" // not this machine's
	old := syscall.Umask(0o022)
	t.Cleanup(func() {
		p.stop()
		p.Close()
		syscall.Umask(old)
		os.RemoveAll(dir)
	})
	return p
}

func (p *plugin) start() {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.ended = cancel, make(chan error, 1)
	go func() { p.ended <- Run(ctx, p.cfg, slog.New(slog.DiscardHandler)) }()
	p.eventually("the API answers", func() bool { _, err := p.Health(p.t.Context()); return err == nil })
}

func (p *plugin) stop() {
	p.t.Helper()
	if p.cancel == nil {
		return
	}
	p.cancel()
	if err := <-p.ended; err != nil {
		p.t.Error(err)
	}
	p.cancel = nil
}

func (p *plugin) eventually(what string, ok func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatal("not within a minute: " + what)
		}
	}
}

// ready waits until all is served.
func (p *plugin) ready() {
	p.t.Helper()
	p.eventually("the database is open", func() bool { _, err := p.Stats(p.t.Context()); return err == nil })
}

func (p *plugin) health() api.Health {
	p.t.Helper()
	h, err := p.Health(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return h
}

// events returns the messages of all system events.
func (p *plugin) events() (out []string) {
	p.t.Helper()
	page, err := p.Events(p.t.Context(), api.EventQuery{Source: "system", Limit: 1000})
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range page.Items {
		out = append(out, e.Message)
	}
	return out
}

func (p *plugin) database() string { return filepath.Join(p.cfg.DataDir, "logscan.db") }

// Who asks right after the start isn't refused: the database takes a moment.
func TestRequestsWaitForTheDatabase(t *testing.T) {
	for range 5 {
		p := newPlugin(t, nil)
		p.start()
		if _, err := p.Rules(t.Context()); err != nil {
			t.Error(err)
		}
		p.stop()
	}
}

func TestAPIAnswersWithoutDatabase(t *testing.T) {
	p := newPlugin(t, nil)
	if err := os.MkdirAll(p.database(), 0o700); err != nil { // what stands in the way
		t.Fatal(err)
	}
	p.start()
	p.eventually("the reason is told", func() bool {
		h := p.health()
		return h.Status == "degraded" && len(h.Reasons) == 1 && h.Reasons[0].Reason == "database" && strings.Contains(h.Reasons[0].Detail, "is a directory")
	})
	_, err := p.Rules(t.Context())
	var problem *api.Problem
	if !errors.As(err, &problem) || problem.Status != 503 {
		t.Errorf("rules: %v", err)
	}
	if _, err := p.Containers(t.Context()); err != nil {
		t.Error(err)
	}
	if err := os.Remove(p.database()); err != nil {
		t.Fatal(err)
	}
	p.ready()
	if h := p.health(); h.Status != "ok" || len(h.Reasons) != 0 {
		t.Errorf("%+v", h)
	}
	if _, err := p.CreateRule(t.Context(), api.RuleCreate{Name: "r", Pattern: "x"}); err != nil {
		t.Error(err)
	}
}

// freePort is one that nobody listens at just now; held is listening there.
func freePort(t *testing.T) (held net.Listener) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestTCP(t *testing.T) {
	held := freePort(t)
	addr := held.Addr().String()
	p := newPlugin(t, map[string]string{"LOGSCAN_LISTEN": addr, "LOGSCAN_BUCKET_BURST": "none"})
	p.start()
	p.ready()
	// A port that is taken stops nothing, and is told.
	told := func() (settings, port bool) {
		for _, r := range p.health().Reasons {
			settings = settings || strings.Contains(r.Detail, "LOGSCAN_BUCKET_BURST")
			port = port || strings.Contains(r.Detail, addr) && strings.Contains(r.Detail, "address already in use")
		}
		return settings, port
	}
	p.eventually("both are told", func() bool { s, a := told(); return s && a })
	p.eventually("an event tells of the setting", func() bool { return strings.Contains(strings.Join(p.events(), "\n"), "LOGSCAN_BUCKET_BURST") })

	token, err := p.Token(t.Context())
	if err != nil || token.Listen != addr || len(token.Token) < minToken {
		t.Fatalf("%+v %v", token, err)
	}
	info, err := os.Stat(filepath.Join(p.cfg.DataDir, tokenFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	held.Close()
	c := api.DialTCP("http://"+addr, token.Token)
	defer c.Close()
	p.eventually("the port is listened at once it is free", func() bool { _, err := c.Rules(t.Context()); return err == nil })
	p.eventually("that is no problem any more", func() bool { s, a := told(); return s && !a })
	anonymous := api.DialTCP("http://"+addr, "")
	defer anonymous.Close()
	var problem *api.Problem
	if _, err := anonymous.Rules(t.Context()); !errors.As(err, &problem) || problem.Status != 401 {
		t.Errorf("without the token: %v", err)
	}
	if _, err := c.Token(t.Context()); !api.IsNotFound(err) {
		t.Errorf("the token over TCP: %v", err)
	}

	// The token outlives a restart; the event is not told again.
	before := len(p.events())
	p.stop()
	p.start()
	p.ready()
	if again, err := p.Token(t.Context()); err != nil || again != token {
		t.Errorf("another token after a restart: %v", err)
	}
	if n := strings.Count(strings.Join(p.events(), "\n"), "LOGSCAN_BUCKET_BURST"); n != 1 {
		t.Errorf("%d events about the setting (%d before)", n, before)
	}
}

func TestNoTCP(t *testing.T) {
	p := newPlugin(t, map[string]string{"LOGSCAN_TOKEN": "a token of one's own"[:16]})
	p.start()
	var problem *api.Problem
	if _, err := p.Token(t.Context()); !errors.As(err, &problem) || problem.Status != 409 || !strings.Contains(problem.Detail, "LOGSCAN_LISTEN") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(p.cfg.DataDir, tokenFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a token was made: %v", err)
	}
}

// A rule and a trigger that reached the store but can't be used are told, once.
func TestUnusableRulesAreTold(t *testing.T) {
	var mu sync.Mutex
	var heard []string
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, string(b))
	}))
	defer receiver.Close()
	p := newPlugin(t, map[string]string{"LOGSCAN_ALLOW_TARGETS": "127.0.0.1"})
	p.start()
	p.ready()
	if _, err := p.CreateTrigger(t.Context(), api.TriggerCreate{Name: "ops", ActionURL: receiver.URL, TriggerFields: api.TriggerFields{"mode": "events", "sources": "system"}}); err != nil {
		t.Fatal(err)
	}
	p.stop()
	db, err := store.Open(p.database(), nil)
	if err != nil {
		t.Fatal(err)
	}
	broken, err := db.CreateRule(t.Context(), rule.Rule{Name: "broken", Pattern: "a(", Severity: "warn", Streams: "all", Enabled: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.CreateTrigger(t.Context(), trigger.Trigger{Name: "deaf", Mode: trigger.ModeEvents, Enabled: true, MessageRegex: strings.Repeat("a{1000}", 11), ActionURL: "https://h.example.com/"}); err != nil {
		t.Fatal(err)
	}
	db.Close()

	p.start()
	p.ready()
	count := func(what string) int { return strings.Count(strings.Join(p.events(), "\n"), what) }
	p.eventually("both are told", func() bool {
		return count("Rule broken (1) is not in use: pattern missing closing ) at position 3.") == 1 &&
			count("Trigger deaf (2) gets no events: message_regex compiles to ") == 1
	})
	// Events about ourselves go to triggers like all others.
	p.eventually("the trigger for them gets both", func() bool {
		mu.Lock()
		defer mu.Unlock()
		all := strings.Join(heard, "\n")
		return strings.Contains(all, "Rule broken (1)") && strings.Contains(all, "Trigger deaf (2)") && strings.Contains(all, `"type":"logscan.system"`)
	})
	reasons := map[string]bool{}
	for _, r := range p.health().Reasons {
		reasons[r.Reason] = true
	}
	if !reasons["rules"] || !reasons["triggers"] {
		t.Errorf("health: %v", reasons)
	}
	// Neither a reload nor a restart repeats it, but another reason does.
	if _, err := p.CreateRule(t.Context(), api.RuleCreate{Name: "good", Pattern: "x"}); err != nil {
		t.Fatal(err)
	}
	p.stop()
	p.start()
	p.ready()
	if err := p.DeleteRule(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	db, err = store.Open(p.database(), nil)
	if err != nil {
		t.Fatal(err)
	}
	broken.Pattern = "b)"
	if _, err := db.UpdateRule(t.Context(), broken); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := p.CreateRule(t.Context(), api.RuleCreate{Name: "other", Pattern: "x"}); err != nil { // a reload
		t.Fatal(err)
	}
	p.eventually("the other reason is told", func() bool { return count("Rule broken (1) is not in use") == 2 })
	if n := count("missing closing )"); n != 1 {
		t.Errorf("the first reason is told %d times", n)
	}
	if st, err := p.RuleStats(t.Context()); err != nil || st[0].Error == "" || st[1].Error != "" {
		t.Errorf("%+v %v", st, err)
	}
	// Mended, all is well.
	if _, err := p.UpdateRule(t.Context(), broken.ID, api.RuleFields{"pattern": "b"}); err != nil {
		t.Fatal(err)
	}
	if err := p.DeleteTrigger(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if h := p.health(); h.Status != "ok" {
		t.Errorf("%+v", h)
	}
}

// Many changes at once, on top of as many rules as there can be, all end, are
// all live, and stop nobody who asks meanwhile.
func TestReloadStorm(t *testing.T) {
	p := newPlugin(t, nil)
	p.start()
	p.ready()
	p.stop()
	db, err := store.Open(p.database(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range store.MaxRules - 100 {
		_, err := db.CreateRule(t.Context(), rule.Rule{Name: fmt.Sprint("r", n), Pattern: fmt.Sprintf(`(?i)error %d: (\w+) failed`, n), Severity: "warn", Streams: "all", Enabled: true})
		if err != nil {
			t.Fatal(err)
		}
	}
	db.Close()
	p.start()
	p.ready()
	var wg sync.WaitGroup
	for n := range 100 {
		wg.Go(func() {
			if _, err := p.CreateRule(t.Context(), api.RuleCreate{Name: fmt.Sprint("s", n), Pattern: fmt.Sprint("storm", n)}); err != nil {
				t.Error(err)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for asked := 0; ; asked++ {
		select {
		case <-done:
			if asked == 0 {
				t.Error("nobody was answered meanwhile")
			}
			e, err := p.EffectiveRules(t.Context(), "any")
			if err != nil || len(e.Items) != store.MaxRules {
				t.Errorf("%d rules are live: %v", len(e.Items), err)
			}
			var problem *api.Problem
			_, err = p.CreateRule(t.Context(), api.RuleCreate{Name: "one more", Pattern: "x"})
			if !errors.As(err, &problem) || problem.Status != 409 || !strings.Contains(problem.Detail, fmt.Sprint(store.MaxRules)) {
				t.Errorf("one rule too many: %v", err)
			}
			return
		default:
			if _, err := p.Stats(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestLossesAreSummedUp(t *testing.T) {
	q := newLossQueue(nil, filepath.Join(t.TempDir(), "losses"), slog.New(slog.DiscardHandler))
	defer q.Close()
	now := time.Now()
	a, b := loss.Key{Container: "a", Reason: "unscanned"}, loss.Key{Container: "b", Reason: "torn"}
	take := func(now time.Time) (map[loss.Key]loss.Sum, time.Time) {
		_, due, next := q.take(now)
		return due, next
	}
	lost := journal.Loss{ContainerID: "a", Reason: "unscanned", Bytes: 10, Frames: 1}
	q.add(lost)
	due, next := take(now)
	if due[a] != (loss.Sum{Times: 1, Bytes: 10, Frames: 1}) || len(due) != 1 || !next.IsZero() {
		t.Fatalf("%v %v", due, next)
	}
	q.add(lost) // while the events are stored
	if next := q.wasTold(now, next, due); !next.Equal(now.Add(lossEvery)) {
		t.Errorf("told next %s", next)
	}
	for range 4 {
		q.add(lost)
	}
	q.add(journal.Loss{ContainerID: "b", Reason: "torn", Bytes: 1})
	due, next = take(now.Add(time.Second))
	if len(due) != 1 || due[b].Bytes != 1 || !next.Equal(now.Add(lossEvery)) {
		t.Fatalf("%v %v", due, next)
	}
	q.PutBack() // the store refused
	q.add(journal.Loss{ContainerID: "b", Reason: "torn", Bytes: 2})
	due, _ = take(now.Add(lossEvery))
	if due[a] != (loss.Sum{Times: 5, Bytes: 50, Frames: 5}) || due[b] != (loss.Sum{Times: 2, Bytes: 3}) {
		t.Fatalf("%v", due)
	}
	q.wasTold(now.Add(lossEvery), next, due)
	if due, next := take(now.Add(lossEvery)); len(due) != 0 || !next.IsZero() {
		t.Errorf("%v %v", due, next)
	}
	q.add(lost)
	q.hurry() // the last words of this process
	if due, _ := take(now.Add(lossEvery)); due[a] != (loss.Sum{Times: 1, Bytes: 10, Frames: 1}) {
		t.Errorf("%v", due)
	}
	ev := lossEvent(1, loss.Key{Container: "a", Reason: "budget"}, loss.Sum{Times: 5, Bytes: 50, Frames: 5}, journal.Container{Name: "web", Workload: "shop/web"})
	if !strings.Contains(ev.Message, "web") || ev.Metadata["workload_id"] != "shop/web" || ev.Source != event.System {
		t.Errorf("%+v", ev)
	}
}

// A process that is killed while it tells of losses, before or after the commit,
// or whose commit failed, leaves each to be told once.
func TestLossesAreToldOnce(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	files, err := loss.Files()
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.TempDir()+"/logscan.db", log)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	journals, err := journal.OpenDir(journal.Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer journals.Close()
	var s *scanning
	kept := filepath.Join(t.TempDir(), "losses")
	process := func() {
		var inherited []*os.File
		for _, f := range files {
			fd, err := syscall.Dup(int(f.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			inherited = append(inherited, os.NewFile(uintptr(fd), f.Name()))
		}
		q := newLossQueue(inherited, kept, log)
		t.Cleanup(func() { q.Close() })
		s = &scanning{store: db, router: trigger.NewRouter(), log: log, journals: journals, losses: q}
		s.worker = trigger.NewWorker(trigger.WorkerConfig{Store: db, Route: s.router.Match, Logger: log})
	}
	process()
	told := func() (times []float64) {
		t.Helper()
		events, err := db.Events(t.Context(), store.EventFilter{Ascending: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			times = append(times, e.Metadata["times"].(float64))
		}
		return times
	}
	lose := func(n int) {
		for range n {
			s.losses.add(journal.Loss{ContainerID: "a", Reason: "dropped", Bytes: 10, Frames: 1})
		}
	}
	var want []float64
	for n, between := range []func(){
		func() {},
		func() { process() }, // nothing told
		func() { // killed before the commit
			s.losses.take(time.Now())
			process()
		},
		func() { // after it
			batch, sums, _ := s.losses.take(time.Now())
			for k, sum := range sums {
				if _, err := db.Commit(t.Context(), store.Batch{Events: []event.Event{lossEvent(batch, k, sum, journal.Container{})}}, nil); err != nil {
					t.Fatal(err)
				}
			}
			lose(100)
			process()
		},
		func() { // after it, and the clock was set back in between
			batch, sums, _ := s.losses.take(time.Now().Add(time.Hour))
			for k, sum := range sums {
				if _, err := db.Commit(t.Context(), store.Batch{Events: []event.Event{lossEvent(batch, k, sum, journal.Container{})}}, nil); err != nil {
					t.Fatal(err)
				}
			}
			lose(100)
			process()
		},
		func() { // stopped with its supervisor before anything is told
			s.losses.save()
			if files, err = loss.Files(); err != nil {
				t.Fatal(err)
			}
			process()
		},
		func() { // stopped so while it told
			s.losses.take(time.Now())
			s.losses.save()
			if files, err = loss.Files(); err != nil {
				t.Fatal(err)
			}
			process()
			process() // and the next is killed: the memory has it
		},
		func() { // stopped without its supervisor
			s.losses.save()
			process()
		},
		func() { // the store refuses
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			if next := s.tellLosses(ended, time.Now()); next.IsZero() {
				t.Error("not tried again")
			}
			for len(s.losses.wake) > 0 {
				<-s.losses.wake
			}
			lose(100)
			if len(s.losses.wake) > 0 {
				t.Error("tried again at once, for each loss")
			}
		},
	} {
		n++
		lose(n)
		switch between(); n {
		case 4, 5:
			want = append(want, float64(n), 100)
		case 9:
			want = append(want, 109)
		default:
			want = append(want, float64(n))
		}
		s.tellLosses(t.Context(), time.Now())
		if got := told(); !slices.Equal(got, want) {
			t.Fatalf("%d: %v are told, not %v", n, got, want)
		}
		s.losses.hurry()
	}
}
