package faults

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest/trap"
)

// TestKilledBacktests kills the worker at calls that a backtest makes, from the first
// on, while a container writes. The backtest says that it was cut off, no line or hit
// is missing or doubled, and the next one tells what one would have told before.
func TestKilledBacktests(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var left atomic.Int64 // calls of backtests until the worker is killed, from 1; 0: it isn't
	var calls atomic.Int64
	r.start(strings.Join([]string{trapped("mkdirat"), trapped("openat"), trapped("pwrite64"), trapped("unlinkat")}, ","), func(c *trap.Call) trap.Answer {
		if !strings.HasPrefix(c.Target(), r.data+"/backtests") {
			return trap.Continue
		}
		calls.Add(1)
		if left.Load() > 0 && left.Add(-1) == 0 {
			c.Kill()
		}
		return trap.Continue
	})
	r.configure()
	past := r.open(old)
	past.attach()
	for range 20 {
		if err := past.write(1000); err != nil {
			t.Fatal(err)
		}
	}
	past.end()
	r.caughtUp()
	backtest := func() (string, error) {
		b, err := r.Backtest(t.Context(), api.BacktestRequest{Rule: api.RuleFields{"pattern": "MARK", "cooldown_seconds": 0}, Since: time.Unix(0, 0), Until: time.Unix(0, int64(time.Hour)+int64(past.n)*int64(lineTime))})
		return fmt.Sprint(b.Lines, b.Hits, b.Incidents, b.Complete, b.Hours), err
	}
	want, err := backtest()
	if err != nil || !strings.HasPrefix(want, fmt.Sprint(past.n, " ", past.n/markEvery)) {
		t.Fatalf("%s, %v", want, err)
	}
	of := calls.Load()
	c := r.open(fresh)
	c.n = past.n // later than what backtests are of
	c.attach()
	c.run()
	for _, at := range []int64{1, of / 2, of * 9 / 10} {
		left.Store(max(1, at))
		if _, err := backtest(); err == nil || !strings.Contains(err.Error(), "the backtest was cut off") || !strings.Contains(err.Error(), "ask again") {
			t.Errorf("killed at call %d of %d: %v", at, of, err)
		}
		var got string
		r.eventually("another backtest", func() bool {
			got, err = backtest()
			return err == nil
		})
		if got != want {
			t.Errorf("killed at call %d of %d, the next one: %s; want %s", at, of, got, want)
		}
	}
	c.pause()
	c.end()
	st, err := r.Stats(t.Context())
	if err != nil || st.Worker.Restarts != 3 {
		t.Errorf("%d restarts, %v", st.Worker.Restarts, err)
	}
	for id, from := range map[string]int{old: 0, fresh: past.n} {
		kept := r.kept(id)
		r.scanned(id, kept)
		if n := map[string]int{old: past.n, fresh: c.n - past.n}[id]; len(kept) != n || kept[0] != from {
			t.Errorf("%s: %d lines written, %d kept, from %d on", id, n, len(kept), kept[0])
		}
	}
	r.caughtUp()
	for id := range map[string]bool{old: true, fresh: true} {
		r.checkHits(id, r.kept(id), 0)
	}
	r.stop()
	if left := r.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
