package correlate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"logscan/internal/rule"
)

func replica(n int) Container {
	return Container{ID: fmt.Sprint("r", n), Name: fmt.Sprint("web-", n), Workload: "shop/web"}
}

// TestReplicas has an incident that containers of a workload share end with the last of
// them.
func TestReplicas(t *testing.T) {
	r := count(2, 60)
	r.By, r.Clear = []string{"$ip"}, []string{"unblocked $ip"}
	g := newRig(t, r)
	failed := func(c int, sec float64) {
		g.line(replica(c), sec, "failed for bob from a")
		g.line(replica(c), sec+1, "failed for bob from a")
	}
	failed(1, 0)
	failed(2, 2)
	g.out = nil
	g.line(replica(1), 10, "unblocked a")
	g.start()
	g.want()
	failed(1, 20)
	g.want("21s hit [ip=a]: 2 matches in 1 s (ip=a): failed for bob from a")
	g.line(replica(2), 30, "unblocked a")
	g.e.Gone(replica(1).ID, int64(40e9))
	g.commit()
	g.want("40s end [ip=a]: its container was removed")
	// All that a line ends but what is open elsewhere.
	s := jobs(60)
	s.Clear = []string{"begin anew"}
	g = newRig(t, s)
	g.line(replica(1), 0, "job a begins")
	g.line(replica(2), 0, "job b begins")
	g.until(70)
	g.line(replica(1), 80, "begin anew")
	if o := g.outcomes[len(g.outcomes)-1]; o.End == nil || !o.Keys || !slices.Equal(o.Except, []string{"id=b"}) {
		t.Errorf("%+v", o)
	}
	g.line(replica(2), 90, "begin anew")
	if o := g.outcomes[len(g.outcomes)-1]; o.End == nil || !o.Keys || o.Except != nil {
		t.Errorf("%+v", o)
	}
}

// troubles are the incidents of a rule that are open, by values.
type troubles map[string]bool

func (t troubles) add(all []Outcome) {
	for _, o := range all {
		switch {
		case o.Hit != nil:
			t[o.By] = true
		case o.End == nil:
		case o.Keys:
			for by := range t {
				if !slices.Contains(o.Except, by) {
					delete(t, by)
				}
			}
		default:
			delete(t, o.By)
		}
	}
}

// TestReplicasOracle has what is open of containers that share incidents be what is open of
// any of them where each has an engine of its own.
func TestReplicasOracle(t *testing.T) {
	both := func(format string) []string {
		return []string{fmt.Sprintf(format, "a"), fmt.Sprintf(format, "b")}
	}
	kinds := map[string]struct {
		rule  rule.Rule
		by    string
		clear []string
		lines []string
		gap   time.Duration
	}{
		"count":    {count(2, 20), "$ip", []string{"unblocked $ip", "all is well"}, append(both("failed for bob from %s"), append(both("unblocked %s"), "all is well")...), 2 * time.Second},
		"absent":   {absent(10), "$db", []string{"never mind"}, append(both("backup of %s done"), "never mind"), 5 * time.Second},
		"sequence": {jobs(10), "", []string{"cancelled $id", "all is well"}, slices.Concat(both("job %s begins"), both("job %s is loaded"), both("job %s is done"), both("job %s is done"), both("cancelled %s"), []string{"all is well"}), 2 * time.Second},
		"ratio":    {ratio("50%", 2, 10), "", nil, []string{"a 500", "a 200"}, 3 * time.Second},
		"spike":    {spike(1, "1", 60), "", []string{"all is well"}, []string{"ERROR something", "ERROR something", "ERROR something", "all is well"}, 30 * time.Second},
	}
	for name, k := range kinds {
		opened, shared := 0, 0
		for seed := range uint64(15) {
			rnd := rand.New(rand.NewPCG(seed, 6))
			r := k.rule
			r.Clear = k.clear
			if k.by != "" {
				r.By = []string{k.by}
			}
			const n = 3
			g, open := newRig(t, r), troubles{}
			var alone [n]*rig
			var each [n]troubles
			for c := range n {
				alone[c], each[c] = newRig(t, r), troubles{}
			}
			of := func(c int, do func(g *rig)) {
				do(g)
				open.add(g.outcomes)
				for i := range n {
					if c == i || c < 0 {
						do(alone[i])
						each[i].add(alone[i].outcomes)
					}
				}
			}
			of(-1, func(g *rig) {
				if name == "spike" {
					g.e.Seed(g.rules[r.ID], Before{})
				}
				g.commit()
			})
			now := int64(1e9)
			for range 400 {
				now += rnd.Int64N(int64(k.gap))
				c := rnd.IntN(n)
				switch rnd.IntN(30) {
				case 0:
					g.start() // killed
				case 1:
					of(c, func(g *rig) { g.e.Started(replica(c), now); g.commit() })
				case 2:
					of(c, func(g *rig) { g.e.Stopped(replica(c).ID, now); g.commit() })
				case 3:
					if name != "sequence" { // what can't be completed any more waits for quiet
						of(c, func(g *rig) { g.e.Gone(replica(c).ID, now); g.commit() })
					}
				case 4:
					of(-1, func(g *rig) { g.e.SetRules(g.snapshot, now); g.commit() })
				case 5:
					if rnd.IntN(10) == 0 {
						more := []string{fmt.Sprint("x", now)} // it means another thing
						if name == "sequence" {
							r.Until = more
						} else {
							r.Ignore = more
						}
						of(-1, func(g *rig) {
							g.use(r)
							g.e.SetRules(g.snapshot, now)
							if name == "spike" {
								g.e.Seed(g.rules[r.ID], Before{})
							}
							g.commit()
						})
					}
				case 6, 7, 8, 9, 10:
					of(-1, func(g *rig) { g.e.Advance(now, now, func(string) int64 { return now }); g.commit() })
				default:
					text := k.lines[rnd.IntN(len(k.lines))]
					of(c, func(g *rig) { g.lineAt(replica(c), now, text) })
				}
				for _, by := range []string{"", "ip=a", "ip=b", "db=a", "db=b", "id=a", "id=b"} {
					troubled := 0
					for _, one := range each {
						if one[by] {
							troubled++
						}
					}
					if open[by] != (troubled > 0) {
						t.Fatalf("%s, seed %d, %s: open is %v of %q, and in %d containers\n%v", name, seed, at(now), open[by], by, troubled, g.out[max(0, len(g.out)-10):])
					}
					if troubled > 0 {
						opened++
					}
					if troubled > 1 {
						shared++
					}
				}
			}
		}
		if opened < 300 || shared < 100 {
			t.Errorf("%s: the histories hold little: %d, %d", name, opened, shared)
		}
	}
}
