package ingest

import (
	"time"

	"golang.org/x/sys/unix"
)

// nap bounds, see loop. Where many FIFOs have something, each round costs more
// and may be worth a longer one.
const (
	napMin  = 250 * time.Microsecond
	napMax  = 2 * time.Millisecond
	napMany = 10 * time.Millisecond
	many    = 16
	napLots = 20 * time.Millisecond
	lots    = 64
)

// Shares of its pipe, in percent, above which one drain calls a FIFO busy, and
// below which it found little.
const (
	fillBusy   = 35
	fillLittle = 15
)

// loop waits for FIFOs to have something, takes it, and naps before it looks
// again, so that one round carries many lines. The nap adapts: shorter while
// pipes run full, longer while they hold little. With nothing to carry it
// sleeps in the kernel until there is.
func (i *Ingest) loop() {
	events := make([]unix.EpollEvent, 256)
	nap := napMin
	for {
		n, err := unix.EpollWait(i.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			i.log.Error("epoll", "err", err)
			return
		}
		i.rounds.Add(1)
		fullest := 0 // percent of its pipe
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == i.event {
				return
			}
			i.mu.Lock()
			a := i.fds[int(e.Fd)]
			i.mu.Unlock()
			if a != nil {
				fullest = max(fullest, a.turn())
			}
		}
		longest := napMax
		switch {
		case n >= lots:
			longest = napLots
		case n >= many:
			longest = napMany
		}
		if fullest > fillBusy {
			nap = max(napMin, nap/2)
		} else if fullest < fillLittle {
			nap = min(longest, nap*5/4)
		}
		sleep(nap)
	}
}

// sleep sleeps in the kernel where time.Sleep would be a millisecond too late,
// and else by time.Sleep, because the runtime watches threads that are in the
// kernel, which costs more than the round.
func sleep(d time.Duration) {
	if d >= time.Millisecond {
		time.Sleep(d)
		return
	}
	ts := unix.NsecToTimespec(int64(d))
	unix.Nanosleep(&ts, nil)
}
