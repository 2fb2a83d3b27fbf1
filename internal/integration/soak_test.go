package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

const (
	// LOGSCAN_SOAK says how long TestSoak lasts, and LOGSCAN_SOAK_SEED repeats
	// the choices of a former one.
	soakEnv, seedEnv = "LOGSCAN_SOAK", "LOGSCAN_SOAK_SEED"
	soakTime         = 2 * time.Minute

	soakMark     = 10 // every so many'th line is marked
	soakCooldown = time.Second
	// soakCalm is how long there is no kill, now and then: a worker after many
	// that ended soon only carries lines for its first ten seconds.
	soakCalm = 12 * time.Second
)

// TestSoak has containers start, write, restart and stop, rules and triggers
// change and readers come and go, while the plugin's processes are killed at
// random moments. At the end every number agrees with every other: the lines
// that were written are the lines that docker logs has, and the lines that rules
// have seen; what rules have found is told or counted as suppressed; what a
// trigger is for was delivered.
func TestSoak(t *testing.T) {
	t.Parallel()
	last, seed := soakTime, uint64(time.Now().UnixNano())
	if v := os.Getenv(soakEnv); v != "" {
		var err error
		if last, err = time.ParseDuration(v); err != nil {
			t.Fatalf("%s: %v; say how long, such as 30m", soakEnv, err)
		}
	}
	if v := os.Getenv(seedEnv); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedEnv, err)
		}
	}
	t.Logf("%s=%d", seedEnv, seed)

	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin(append([]string{"LOGSCAN_ALLOW_TARGETS=127.0.0.1", "LOGSCAN_EVENTS_MAX=1000000000"}, unbounded...)...)
	s := &soak{t: t, e: e, c: control(t, e), hooks: startSoakHooks(t), rnd: rand.New(rand.NewPCG(seed, 0))}
	s.every = makeRule(t, s.c, "every", `^(?P<head>\d{10}|end \d+)\b`, api.RuleFields{"severity": "info"})
	s.cool = makeRule(t, s.c, "cool", `^\d+ MARK`, api.RuleFields{
		"severity": "error", "workload_id": "soak", "cooldown_seconds": int64(soakCooldown / time.Second), "cooldown_by": "rule"})
	for kind, f := range map[string]api.RuleFields{
		"count":    {"at_least": 1, "within_seconds": 2, "per": "workload"},
		"absent":   {"for_seconds": 24 * 3600, "per": "workload"},
		"new":      {},
		"change":   {"field": "$n", "per": "workload", "clear": []string{`^end \d+`}},
		"sequence": {"steps": []string{`^\d+ MARK`, `^end \d+`}, "within_seconds": 600, "hit": "complete"},
		"ratio":    {"of": "^", "over": "0.1%", "at_least": 10, "window_seconds": 10, "per": "workload"},
		"spike":    {"window_seconds": 60, "at_least": 1, "per": "workload"},
	} {
		f["kind"], f["severity"], f["workload_id"] = kind, "info", "soak"
		pattern := `^(?P<n>\d+) MARK`
		if kind == "sequence" {
			pattern = "" // its steps have them
		}
		s.kinds = append(s.kinds, makeRule(t, s.c, kind, pattern, f))
	}
	s.kinds = append(s.kinds, makeRule(t, s.c, "run", "", api.RuleFields{"kind": "run", "severity": "info", "min_lines": shortLines + 1}))
	var err error
	s.trigger, err = s.c.CreateTrigger(t.Context(), api.TriggerCreate{Name: "hooks", ActionURL: s.hooks.URL + "/hooks",
		TriggerFields: api.TriggerFields{"mode": "events", "severities": "error", "sources": "logscan"}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		s.boxes = append(s.boxes, s.newBox(i))
	}

	stopKilling := s.killWorkers(rand.New(rand.NewPCG(seed, 1)))
	actions := 0
	for end := time.Now().Add(last); time.Now().Before(end); actions++ {
		s.act()
	}
	kills := stopKilling()
	s.readers.stop()
	s.readers.wait()
	for _, b := range s.boxes {
		s.stop(b)
	}
	// One more marked line of each, after its cooldown, tells what was
	// suppressed before it.
	stopped := time.Now()
	e.Eventually(time.Minute, "the cooldown's end", func() bool { return time.Since(stopped) > 2*soakCooldown })
	for _, b := range s.boxes {
		b.write(t, "-n 1 -mark 1")
		s.start(b)
		e.Wait(b.name)
	}
	s.c = control(t, e)
	t.Logf("%d actions, %d workers and %d plugins killed, %d readers, %d short containers", actions, kills, s.readers.killed.Load(), s.readers.n, len(s.short))
	s.reconcile()
}

// soak is what TestSoak works with. Its methods are for the test's goroutine.
type soak struct {
	t           *testing.T
	e           *enginetest.Engine
	c           *api.Client
	rnd         *rand.Rand
	hooks       *soakHooks
	every, cool api.Rule
	kinds       []api.Rule // of marked lines too
	trigger     api.Trigger
	boxes       []*soakBox
	short       []string // ids of containers that came and went
	supervisor  atomic.Int64
	readers     readers
}

// soakBox is a container that is started again and again. Each time it counts
// its lines in another file.
type soakBox struct {
	name, id, dir string
	running       bool
	runs          int
}

// shortLines is how many lines a container writes that comes and goes.
const shortLines = 40

func (s *soak) newBox(i int) *soakBox {
	b := &soakBox{name: fmt.Sprint("soak-", i), dir: s.t.TempDir()}
	if err := os.Mkdir(filepath.Join(b.dir, "runs"), 0o700); err != nil {
		s.t.Fatal(err)
	}
	b.write(s.t, fmt.Sprintf("-n 0 -rate 40 -len 60 -mark %d", soakMark))
	b.id = s.e.Docker("create", "--name", b.name, "--network", "none", "-v", b.dir+":/soak",
		"--log-driver", enginetest.Plugin, "--log-opt", "workload=soak", enginetest.Image,
		"sh", "-c", "exec loggen $(cat /soak/flags) -tally /soak/runs/$(ls /soak/runs | wc -l)")
	return b
}

// write says what the next run does.
func (b *soakBox) write(t *testing.T, flags string) {
	if err := os.WriteFile(filepath.Join(b.dir, "flags"), []byte(flags), 0o600); err != nil {
		t.Fatal(err)
	}
}

// wrote returns how many lines a run has written.
func (b *soakBox) wrote(t *testing.T, run int) int {
	return tallied(t, filepath.Join(b.dir, "runs", strconv.Itoa(run)))
}

// tallied reads a tally; 0 where nothing was written yet.
func tallied(t *testing.T, file string) int {
	t.Helper()
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(b) == 0 {
		return 0
	}
	return decodeTally(b, err).lines
}

func (s *soak) start(b *soakBox) {
	s.t.Helper()
	if b.running {
		return
	}
	s.e.Docker("start", b.name)
	s.started(b)
}

// started waits for a run's first line: from then on, SIGTERM ends it in order.
func (s *soak) started(b *soakBox) {
	s.t.Helper()
	b.running = true
	s.e.Eventually(time.Minute, "a run's first line", func() bool { return b.wrote(s.t, b.runs) > 0 })
	b.runs++
}

func (s *soak) stop(b *soakBox) {
	s.t.Helper()
	if b.running {
		s.e.Docker("stop", "-t", "60", b.name)
		b.running = false
	}
}

// act does one thing, by chance.
func (s *soak) act() {
	s.t.Helper()
	b := s.boxes[s.rnd.IntN(len(s.boxes))]
	switch n := s.rnd.IntN(100); {
	case n < 25:
		s.start(b)
	case n < 35:
		s.stop(b)
	case n < 45 && b.running:
		s.e.Docker("restart", "-t", "60", b.name)
		s.started(b)
	case n < 55:
		s.short = append(s.short, s.e.Docker("run", "-d", "--rm", "--network", "none", "--log-driver", enginetest.Plugin,
			enginetest.Image, "loggen", "-n", strconv.Itoa(shortLines), "-mark", strconv.Itoa(soakMark)))
	case n < 62:
		s.readers.killed.Add(1)
		s.e.KillPlugin()
		s.supervisor.Store(int64(s.e.SupervisorPID()))
	case n < 77:
		s.editRules()
	case n < 87:
		s.editTriggers()
	default:
		s.readers.start(s.e, b.name, time.Duration(s.rnd.IntN(5000))*time.Millisecond)
	}
}

// do repeats a request until it was answered by a plugin that lived that long.
// What is refused the second time was done the first.
func (s *soak) do(what string, f func(ctx context.Context) error) {
	s.t.Helper()
	s.e.Eventually(time.Minute, what, func() bool {
		err := f(s.t.Context())
		var p *api.Problem
		return err == nil || errors.As(err, &p) && p.Status < 500
	})
}

// editRules changes what doesn't matter about the rules that count, and adds and
// removes others.
func (s *soak) editRules() {
	s.t.Helper()
	about := api.RuleFields{"description": fmt.Sprint("edit ", s.rnd.Uint32())}
	add, n := s.rnd.IntN(2) == 0, s.rnd.IntN(1000)
	s.do("a change of rules", func(ctx context.Context) error {
		if _, err := s.c.UpdateRule(ctx, s.every.ID, about); err != nil {
			return err
		}
		for _, r := range append(s.kinds, s.cool) {
			if _, err := s.c.UpdateRule(ctx, r.ID, about); err != nil {
				return err
			}
		}
		if add {
			_, err := s.c.CreateRule(ctx, api.RuleCreate{Name: fmt.Sprint("other ", s.rnd.Uint32()), Pattern: fmt.Sprintf("^%010d ", n)})
			return err
		}
		rules, err := s.c.Rules(ctx)
		if err != nil || len(rules) < 3+len(s.kinds) {
			return err
		}
		return s.c.DeleteRule(ctx, rules[len(rules)-1].ID)
	})
}

func (s *soak) editTriggers() {
	s.t.Helper()
	name := fmt.Sprint("hooks ", s.rnd.Uint32())
	add := s.rnd.IntN(2) == 0
	s.do("a change of triggers", func(ctx context.Context) error {
		if _, err := s.c.UpdateTrigger(ctx, s.trigger.ID, api.TriggerFields{"name": name}); err != nil {
			return err
		}
		if add {
			_, err := s.c.CreateTrigger(ctx, api.TriggerCreate{Name: "other " + name, ActionURL: s.hooks.URL + "/other",
				TriggerFields: api.TriggerFields{"mode": "events", "severities": "warn,error"}})
			return err
		}
		triggers, err := s.c.Triggers(ctx)
		if err != nil || len(triggers) < 2 {
			return err
		}
		return s.c.DeleteTrigger(ctx, triggers[len(triggers)-1].ID)
	})
}

// killWorkers kills the plugin's worker at random moments, whatever happens at
// them. The function it returns ends that and tells how many there were.
func (s *soak) killWorkers(rnd *rand.Rand) (stop func() int) {
	s.supervisor.Store(int64(s.e.SupervisorPID()))
	kills := 0
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		gap := time.Second
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(gap):
			}
			if pid := s.e.WorkerOf(int(s.supervisor.Load())); pid != 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
				kills++
			}
			gap = time.Duration(100+rnd.IntN(3000)) * time.Millisecond
			if kills%5 == 0 {
				gap += soakCalm
			}
		}
	})
	end := func() int {
		cancel()
		wg.Wait()
		return kills
	}
	s.t.Cleanup(func() { end() })
	return end
}
