package ingest

import (
	"time"

	"golang.org/x/sys/unix"
)

// nap bounds, see loop. Where many FIFOs have something, each round costs more
// and may be worth a longer one; where much comes through one, its pipe is large
// and holds what comes meanwhile. In a crowd, thousands of
// times a second one has something, and a look at one costs as much as scores of
// lines: of a thousand, each is looked at some six times a second then.
const (
	napMin   = 250 * time.Microsecond
	napMax   = 2 * time.Millisecond
	napMuch  = 5 * time.Millisecond
	napMany  = 10 * time.Millisecond
	napLots  = 20 * time.Millisecond
	napCrowd = 40 * time.Millisecond
	many     = 16       // FIFOs
	lots     = 64       // FIFOs
	crowd    = 128      // FIFOs
	muchSize = 64 << 10 // bytes
)

// Shares of its pipe, in percent: what a FIFO should hold after a nap, and what
// makes it one that should have a larger pipe.
const (
	fillAim  = 25
	fillBusy = 35
)

// loop waits for FIFOs to have something, takes it, and naps before it looks
// again, so that one round carries many lines: until the FIFO that is filling up
// fastest should hold fillAim. With nothing to carry it sleeps in the kernel
// until there is. Busy FIFOs it visits in each round, without epoll.
func (i *Ingest) loop() {
	events := make([]unix.EpollEvent, 2*crowd)
	var direct, visits []*attachment
	last := time.Now()
	for {
		wait := -1
		if len(direct) > 0 {
			wait = 0
		}
		n, err := unix.EpollWait(i.epoll, events, wait)
		if err != nil && err != unix.EINTR {
			i.log.Error("epoll", "err", err)
			return
		}
		i.rounds.Add(1)
		visits = append(visits[:0], direct...)
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == i.event {
				return
			}
			i.mu.Lock()
			if a := i.fds[int(e.Fd)]; a != nil {
				visits = append(visits, a)
			}
			i.mu.Unlock()
		}
		fullest := 0 // percent of its pipe
		before := i.bytes.Load()
		now := time.Now()
		direct = direct[:0]
		for _, a := range visits {
			fill, again := a.turn()
			fullest = max(fullest, fill)
			if again {
				direct = append(direct, a)
			}
		}
		longest := napMax
		switch {
		case len(visits) >= crowd:
			longest = napCrowd
		case len(visits) >= lots:
			longest = napLots
		case len(visits) >= many:
			longest = napMany
		case i.bytes.Load()-before >= muchSize:
			longest = napMuch
		}
		sleep(nap(now.Sub(last), fullest, longest))
		last = now
	}
}

// nap is how long to sleep when the fullest pipe took a time to hold so many
// percent. Of a time longer than a nap nobody knows when the pipe began to fill.
func nap(took time.Duration, fullest int, longest time.Duration) time.Duration {
	d := longest
	if fullest > 0 {
		d = min(took, longest) * fillAim / time.Duration(fullest)
	}
	return min(max(d, napMin), longest)
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
