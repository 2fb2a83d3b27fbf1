// Package age tells the time by which things are old enough to be removed.
//
// A machine's clock may be wrong for a while. What it says an hour ahead makes
// everything an hour older, and what is removed then isn't there any more when
// the clock has been put right. Therefore a Clock doesn't believe a step forward
// before it has held for some time.
//
// What it promises: it is never ahead of the machine's clock; and after a step
// forward of the machine's, by however much, nothing ages faster than time
// passes, until the step has held for Trust. It notices steps of a minute and
// more, between one call of Now and the next.
package age

import (
	"context"
	"sync"
	"time"
)

const (
	// Trust is how long a step must have held to be believed.
	Trust = time.Hour
	// least is the smallest step: two clocks never go exactly alike.
	least = time.Minute
)

// Clock is for one process. The zero Clock is one that believes the time of the
// first call of Now. It is safe concurrently.
type Clock struct {
	mu      sync.Mutex
	last    reading
	behind  time.Duration // that the machine's clock has been stepped forward by
	stepped time.Duration // when it last was; as reading.run
}

// reading is what the machine's clocks say at one moment.
type reading struct {
	wall time.Time
	run  time.Duration // that has passed by the clock that isn't stepped
}

var start = time.Now()

// Now returns the time.
func (c *Clock) Now() time.Time {
	now := time.Now()
	return c.now(reading{now.Round(0), now.Sub(start)})
}

// Watch looks at the clock each second until ctx ends: what is written while the
// machine's is set back is as young as the rest once it has been put right, but
// only if both steps are noticed.
func (c *Clock) Watch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		c.Now()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (c *Clock) now(r reading) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.last.wall.IsZero() {
		switch step := r.wall.Sub(c.last.wall) - (r.run - c.last.run); {
		case step >= least:
			c.behind += step
			c.stepped = r.run
		case step <= -least:
			c.behind = max(0, c.behind+step)
		}
	}
	if r.run-c.stepped >= Trust {
		c.behind = 0
	}
	c.last = r
	return r.wall.Add(-c.behind)
}
