package scan

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"logscan/internal/correlate"
	"logscan/internal/rule"
	"logscan/internal/store"
)

// partly is a store that doesn't say how far a container was read.
type partly struct {
	Store
	id      string
	healthy atomic.Bool
}

func (s *partly) Cursor(ctx context.Context, id string) (store.Cursor, bool, error) {
	if id == s.id && !s.healthy.Load() {
		return store.Cursor{}, false, errors.New("disk I/O error")
	}
	return s.Store.Cursor(ctx, id)
}

// beats has two containers of a workload write a line each minute, in turns, with a gap of
// ten minutes between them once, up to now.
func (g *rig) beats() {
	one, other := g.begins(0, "web"), g.begins(1, "web")
	for n := range 60 {
		w := []*writer{one, other}[n%2]
		w.nano = time.Now().Add(time.Duration(n-60)*time.Minute + 30*time.Second).UnixNano()
		if n < 20 || n > 30 {
			w.lines("beat")
		}
	}
}

func beat(t testing.TB) *rule.Snapshot {
	return compileAll(t, kindRule(t, 1, rule.KindAbsent, "beat", func(r *rule.Rule) { r.ForSeconds, r.GraceSeconds, r.Per = 90, 0, rule.PerWorkload }))
}

// TestContainersReadInTheOrderOfTime has what one container wrote wait for another one of
// its workload that can't be read yet, over restarts.
func TestContainersReadInTheOrderOfTime(t *testing.T) {
	g := newRig(t)
	g.beats()
	s := &partly{Store: g.db, id: containerID(1)}
	g.cfg.Store = s
	for range 3 {
		g.start(beat(t))
		eventually(t, "the first one being read", func() bool { g.s.Pass(); return g.s.Finished(containerID(0)) && hasRows(t, g.db, "early 23") })
		g.stop()
		if c := g.s.commits.sums.clocks(true); c.all != 0 || len(c.behind) != 1 || c.behind[0].ID != s.id || c.behind[0].Rules == nil {
			t.Errorf("%+v", c)
		}
	}
	if e := g.events(); len(e) > 0 {
		t.Errorf("hits although the other one isn't read: %v", messages(e))
	}
	g.start(beat(t))
	s.healthy.Store(true)
	eventually(t, "the other one being read", func() bool { g.s.Pass(); return g.s.Finished(containerID(1)) })
	eventually(t, "the gap being over", func() bool { g.s.Pass(); return g.states() == "resolved" })
	if e := g.wait(1); !strings.HasPrefix(e[0].Message, "no match for 1 min 30 s") || e[0].Metadata["container_name"] != "c1" {
		t.Errorf("%+v", e[0])
	}
	if rows, _, err := g.db.Correlated(t.Context()); err != nil || slices.ContainsFunc(rows, func(r correlate.Row) bool { return strings.HasPrefix(r.Scope, "early ") }) {
		t.Errorf("%v, %v", rows, err)
	}
	if n := g.s.RuleStats()[1].Late; n != 0 {
		t.Errorf("%d came late", n)
	}
}

// TestContainerThatCannotBeRead has others wait for it for a while, and no longer.
func TestContainerThatCannotBeRead(t *testing.T) {
	g := newRig(t)
	g.beats()
	s := &partly{Store: g.db, id: containerID(1)}
	g.cfg.Store = s
	var ahead atomic.Int64
	g.startAt(beat(t), &ahead)
	eventually(t, "the first one being read", func() bool { g.s.Pass(); return hasRows(t, g.db, "early 23") })
	ahead.Store(int64(waitAtMost + time.Second))
	eventually(t, "time going on", func() bool { g.s.Pass(); return len(g.events()) > 20 && !hasRows(t, g.db, "early 23") })
	s.healthy.Store(true)
	eventually(t, "what came too late", func() bool { g.s.Pass(); return g.s.RuleStats()[1].Late == 24 })
}
