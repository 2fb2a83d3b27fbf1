package faults

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"logscan/internal/enginetest/trap"
)

// TestAHangIsEnded has the loop that drains the FIFOs hang in a call that never
// returns, as by a bug. The worker is ended for it, another one begins, and every
// line is there.
func TestAHangIsEnded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var hung atomic.Bool
	end := make(chan struct{})
	defer close(end) // what waits for it, the trap waits for
	r.start(trapped("splice"), func(c *trap.Call) trap.Answer {
		if s, ours := stepOf(c, r.data); ours && s.class == "new segment" || ours && s.class == "segment" {
			if hung.CompareAndSwap(false, true) {
				<-end
			}
		}
		return trap.Continue
	})
	c := r.open(fresh)
	c.attach()
	if err := c.write(200); err != nil {
		t.Fatal(err)
	}
	r.eventually("a call that hangs", hung.Load)
	for {
		// The API answers all the while: only the loop hangs.
		if st, err := r.Stats(t.Context()); err == nil && st.Worker.Restarts > 0 {
			if st.Worker.Restarts != 1 || !strings.HasPrefix(st.Worker.LastExit, "hung: ") {
				t.Errorf("%+v", st.Worker)
			}
			break
		}
		if t.Failed() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := c.write(200); err != nil {
		t.Fatal(err)
	}
	c.end()
	if kept := r.kept(fresh); len(kept) != 400 {
		t.Errorf("%d lines are kept; missing %s", len(kept), gaps(kept, 400))
	}
	r.stop()
}
