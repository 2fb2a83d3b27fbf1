package scan

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/rule"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// faulty is a store whose commits go wrong as its next faults say, one after the
// other.
type faulty struct {
	*store.Store
	mu     sync.Mutex
	faults []fault
}

type fault struct {
	persisted bool // nevertheless
	err       error
}

func (s *faulty) Commit(ctx context.Context, b store.Batch, route func(event.Event) []int64) ([]event.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) == 0 {
		return s.Store.Commit(ctx, b, route)
	}
	next := s.faults[0]
	s.faults = s.faults[1:]
	if next.persisted {
		if _, err := s.Store.Commit(ctx, b, route); err != nil {
			return nil, err
		}
	}
	return nil, next.err
}

func (s *faulty) then(faults ...fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults
}

func (s *faulty) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.faults) == 0
}

// Whether a commit that failed was persisted or not, and also where it was so at
// the repeated attempt only, each hit is an event once, and so is what follows.
func TestCommitFails(t *testing.T) {
	for name, faults := range map[string][]fault{
		"failed":                               {{false, errFull}},
		"failed, but persisted":                {{true, errFull}},
		"failed, then failed, but persisted":   {{false, errFull}, {true, errFull}},
		"failed, but persisted, then failed":   {{true, errFull}, {false, errFull}, {false, errFull}},
		"failed, but persisted, several times": {{true, errFull}, {true, errFull}, {true, errFull}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t)
			st := &faulty{Store: g.db}
			g.cfg.Store, g.cfg.Route = st, func(event.Event) []int64 { return []int64{1} }
			if _, err := g.db.CreateTrigger(t.Context(), trigger.Trigger{Name: "t", Mode: trigger.ModeEvents, Enabled: true, ActionURL: "http://h/"}); err != nil {
				t.Fatal(err)
			}
			one, two := g.container(0), g.container(1)
			defer one.end()
			defer two.end()
			g.start(compile(t, rule.Rule{Pattern: "x"}))
			for round := range 3 {
				st.then(faults...)
				one.lines(fmt.Sprint("x", 2*round), "nothing")
				two.lines("nothing", fmt.Sprint("x", 2*round+1))
				g.wait(2*round + 2)
				eventually(t, "end of the faults", st.over)
				g.caughtUp()
			}
			// A cursor alone is as well repeated.
			st.then(faults...)
			one.lines("nothing")
			eventually(t, "end of the faults", st.over)
			eventually(t, "stored cursor", func() bool { return g.s.Finished(containerID(0)) })
			g.stop()
			g.start(compile(t, rule.Rule{Pattern: "x"}))
			one.lines("x6")
			g.wait(7)
			seen := map[string]bool{}
			for _, e := range g.events() {
				if seen[e.Message] {
					t.Errorf("%s twice", e.Message)
				}
				seen[e.Message] = true
			}
			if d, err := g.db.Deliveries(t.Context(), store.DeliveryFilter{State: trigger.Pending}); err != nil || len(d) != 7 {
				t.Errorf("%d deliveries, %v", len(d), err)
			}
		})
	}
}

// logged keeps what is logged.
type logged struct {
	slog.Handler // for what nobody calls
	mu           sync.Mutex
	lines        []string
}

func (r *logged) Enabled(context.Context, slog.Level) bool { return true }

func (r *logged) Handle(_ context.Context, rec slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	line := rec.Message
	rec.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			line += ": " + a.Value.String()
		}
		return true
	})
	r.lines = append(r.lines, line)
	return nil
}

// What keeps failing is logged when it begins, when the reason changes, and when
// it is over.
func TestCommitLogsChanges(t *testing.T) {
	g := newRig(t)
	st := &faulty{Store: g.db}
	log := &logged{}
	g.cfg.Store, g.cfg.Logger = st, slog.New(log)
	w := g.container(0)
	defer w.end()
	other := errors.New("disk I/O error")
	st.then(fault{err: errFull}, fault{err: errFull}, fault{err: other}, fault{err: other}, fault{err: errFull})
	g.start(compile(t, rule.Rule{Pattern: "x"}))
	w.lines("x")
	g.wait(1)
	g.stop()
	log.mu.Lock()
	defer log.mu.Unlock()
	const waits = "hits can't be stored; scanning waits, lines are kept: "
	want := []string{waits + "disk full", waits + "disk I/O error", waits + "disk full", "hits are stored again"}
	if got := strings.Join(log.lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("logged:\n%s", got)
	}
}

// Hits that the database refuses for what they hold hold up nobody: the others
// of their batch are stored, and an event tells of each.
func TestRefusedHits(t *testing.T) {
	g := newRig(t)
	db, err := sql.Open("sqlite3", filepath.Join(g.root, "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`CREATE TRIGGER poison BEFORE INSERT ON event_log WHEN new.message LIKE '%poison%' BEGIN SELECT RAISE(ABORT, 'no'); END`); err != nil {
		t.Fatal(err)
	}
	g.cfg.CommitEvery = 50 * time.Millisecond // they share a commit
	rules := compile(t, rule.Rule{Pattern: `^x (\d+)`})
	g.start(rules)
	bad, good := g.container(0), g.container(1)
	defer bad.end()
	defer good.end()
	for i := range 20 {
		if i%5 == 3 {
			bad.lines(fmt.Sprintf("x %d poison", i))
		} else {
			bad.lines(fmt.Sprintf("x %d", i))
		}
		good.lines(fmt.Sprintf("x %d", i))
	}
	g.wait(40)
	g.caughtUp()
	if st := g.s.Stats(); st.Refused != 4 || st.Hits != 40 || st.Failing {
		t.Errorf("%+v", st)
	}
	g.stop()
	g.start(rules)
	bad.lines("x 20")
	next := map[any]int{}
	for _, e := range g.wait(41) {
		id := e.Metadata["container_id"]
		n := next[id]
		next[id]++
		switch {
		case e.Source == event.Logscan && e.Message == fmt.Sprint("x ", n):
		case e.Source == event.System && id == containerID(0) && n%5 == 3:
			if e.Metadata["about"] != "refused_hit" || e.Metadata["rule_id"] != 1.0 || e.Metadata["captures"] != nil || e.Metadata["line_time"] == nil {
				t.Errorf("%+v", e)
			}
		default:
			t.Errorf("event %d of %v: %+v", n, id, e)
		}
	}
}
