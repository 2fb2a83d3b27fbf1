package scan

import (
	"context"
	"fmt"
	"testing"
	"time"

	"logscan/internal/entry"
	"logscan/internal/rule"
)

// Of a rule that is awaited it is known where it begins: each line is evaluated once, by a
// replay up to there or live, however late lines are read, and whenever the scanner is
// killed.
func TestBegins(t *testing.T) {
	replayed := 0
	for seed := range uint64(12) {
		p := newPast(t, seed, time.Second)
		p.rules = compile(t, rule.Rule{Pattern: "Cart"})
		p.scans()
		for n := range p.writers {
			p.starts(n)
		}
		lines, made := 0, 10+p.rnd.IntN(20)
		write := func() {
			for range p.rnd.IntN(4) {
				var all []entry.Entry
				for range 1 + p.rnd.IntN(3) {
					all = append(all, entry.Entry{Source: streams[p.rnd.IntN(2)], TimeNano: p.clock.Add(1e6), Line: fmt.Appendf(nil, "#%d", lines)})
					lines++
				}
				p.writers[p.rnd.IntN(len(p.writers))].put(all...)
				p.turns(false)
			}
		}
		var ends map[string]int64
		for step := 0; ends == nil || step < made+20; step++ {
			p.clock.Add(int64(time.Second))
			write()
			if step == made {
				for n, pattern := range []string{"Cart", `#(\d+)`} {
					r := rule.New()
					r.Name, r.Pattern = fmt.Sprint("rule ", n), pattern
					add := p.db.CreateRule
					if n == 1 {
						add = func(ctx context.Context, r rule.Rule) (rule.Rule, error) {
							return p.db.CreateRuleWithHistory(ctx, r, time.Unix(0, 0))
						}
					}
					if _, err := add(t.Context(), r); err != nil {
						t.Fatal(err)
					}
				}
				p.awaited, p.rules = []int64{2}, compile(t, rule.Rule{Pattern: "Cart"}, rule.Rule{Pattern: `#(\d+)`})
				p.s.Await(p.awaited)
				p.s.SetSnapshot(p.rules)
				write()
			}
			if p.rnd.IntN(8) == 0 || step == made && seed%2 == 0 {
				if p.rnd.IntN(2) == 0 {
					p.catchUp()
				}
				p.drop()
				p.scans()
			}
			if p.rnd.IntN(2) == 0 {
				p.catchUp()
			}
			if ends != nil {
				continue
			}
			if at, known := p.s.Begins(2); known {
				ends = at
			}
		}
		p.catchUp()
		seen := map[string]int{}
		for _, e := range p.told(p.db) {
			seen[e.Message]++
		}
		p.rules = compile(t, rule.Rule{Pattern: "Cart"}, rule.Rule{Pattern: `#(\d+)`})
		for _, e := range p.told(p.replayed(ends)) {
			seen[e.Message]++
			replayed++
		}
		if len(seen) != lines {
			t.Errorf("seed %d: %d of %d lines", seed, len(seen), lines)
		}
		for text, n := range seen {
			if n != 1 {
				t.Errorf("seed %d: %s is %d events", seed, text, n)
			}
		}
	}
	if replayed < 100 {
		t.Errorf("%d lines are of before the rule", replayed)
	}
}
