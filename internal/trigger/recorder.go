package trigger

import (
	"context"
	"time"
)

// maxUnrecorded is how many deliveries of a trigger may be on record as pending
// although their receiver has them: that many are sent again after a kill.
const maxUnrecorded = 16

// recordable is a delivery with what has become of it.
type recordable struct {
	Delivery
	done func() // called when it is on record, or never will be
}

// record keeps the outcomes of all queues' attempts while they send on: the
// database has one writer, who often waits for the disk, and what comes meanwhile
// shares a transaction. It also reports what was given up. It returns when
// w.outcomes is closed.
func (w *Worker) record(ctx context.Context) {
	dead := true // there may be some from before
	var reported time.Time
	var timer <-chan time.Time
	for {
		if dead && timer == nil && ctx.Err() == nil {
			now := w.Now()
			if reported.IsZero() || !now.Before(reported.Add(reportEvery)) {
				n, err := w.Store.ReportDead(ctx, w.Route)
				switch {
				case err != nil:
					if ctx.Err() == nil {
						w.Logger.Error("event about dead deliveries not kept; trying again", "err", err)
					}
					timer = w.After(storeWait)
				case n > 0:
					reported = now
					fallthrough
				default:
					dead = false
				}
			} else {
				timer = w.After(reported.Add(reportEvery).Sub(now))
			}
		}
		select {
		case <-timer:
			timer = nil
		case <-w.died:
			dead = true
		case first, open := <-w.outcomes:
			if !open {
				return
			}
			batch := []recordable{first}
			for len(w.outcomes) > 0 {
				batch = append(batch, <-w.outcomes)
			}
			w.keep(ctx, batch)
			for _, r := range batch {
				dead = dead || r.State == Dead
				r.done()
			}
		}
	}
}

// keep records outcomes, however long that takes: a delivery that was answered
// mustn't be sent again because the disk is full. What can't be recorded before
// ctx ends is sent again after the next start.
func (w *Worker) keep(ctx context.Context, batch []recordable) {
	deliveries := make([]Delivery, len(batch))
	for i, r := range batch {
		deliveries[i] = r.Delivery
	}
	for said := false; ; {
		err := w.Store.Record(context.WithoutCancel(ctx), deliveries)
		if err == nil || ctx.Err() != nil {
			return
		}
		if !said {
			w.Logger.Error("outcome of a delivery not recorded yet", "err", err)
			said = true
		}
		select {
		case <-ctx.Done():
			return
		case <-w.After(storeWait):
		}
	}
}
