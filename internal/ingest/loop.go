package ingest

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// The bounds of a nap, see loop. A round costs what it costs to wake up and to
// look at each FIFO that has something; a nap may be the longer, the more of them
// share it.
//
//	FIFOs with something | longest nap | because
//	---------------------+-------------+------------------------------------------
//	few, little in them  | napMax      | what is followed comes at once
//	few, from muchSize   | napMuch     | the pipes have grown, and hold what comes
//	many                 | napMany     | of 1,000 with 10 lines a second each, a
//	lots                 | napLots     | nap of 5 ms takes 14 % of a core, one of
//	a crowd              | napCrowd    | 50 ms 12 % of one
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
	muchSize = 64 << 10 // bytes in one round
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
// until there is. Busy FIFOs it visits in each round, without epoll. It returns
// when it is to end, or with an error.
func (i *Ingest) loop() error {
	events := make([]unix.EpollEvent, 2*crowd)
	var direct, visits []*fifo
	last := time.Now()
	for {
		wait := -1
		if len(direct) > 0 {
			wait = 0
		}
		n, err := unix.EpollWait(i.epoll, events, wait)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("epoll: %w", err)
		}
		i.rounds.Add(1)
		visits = append(visits[:0], direct...)
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == i.event {
				if i.woken() {
					return nil
				}
				continue
			}
			i.mu.Lock()
			if f := i.fds[int(e.Fd)]; f != nil {
				visits = append(visits, f)
			}
			i.mu.Unlock()
		}
		fullest := 0 // percent of its pipe
		before := i.bytes.Load()
		now := time.Now()
		direct = direct[:0]
		for _, f := range visits {
			fill, again := f.visit()
			fullest = max(fullest, fill)
			if again {
				direct = append(direct, f)
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

// wake has the loop see to what it is asked for.
func (i *Ingest) wake() {
	unix.Write(i.event, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// woken answers who waits for a turn, and reports whether the loop is to end.
func (i *Ingest) woken() (end bool) {
	var count [8]byte
	unix.Read(i.event, count[:])
	for {
		select {
		case turned := <-i.turns:
			close(turned)
			continue
		default:
		}
		return i.ending.Load()
	}
}

// Turn waits until the loop that drains the FIFOs has come round: until it is
// done with all that it had begun when Turn was called.
func (i *Ingest) Turn(ctx context.Context) error {
	turned := make(chan struct{})
	select {
	case i.turns <- turned:
	case <-ctx.Done():
		return ctx.Err()
	}
	i.mu.Lock()
	if !i.done {
		i.wake()
	}
	i.mu.Unlock()
	select {
	case <-turned:
		return nil
	case <-ctx.Done():
		return ctx.Err()
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
