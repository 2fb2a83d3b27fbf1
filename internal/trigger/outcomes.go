package trigger

import (
	"context"

	"logscan/internal/store"
)

// maxUnrecorded is how many deliveries of a trigger may be on record as pending
// although their receiver has them: that many are sent again after a kill.
const maxUnrecorded = 16

// outcomes records what got through while the next is sent: the database has one
// writer, who often waits for the disk. What comes meanwhile shares a
// transaction.
type outcomes struct {
	in   chan store.Delivery
	done chan struct{}
}

func (w *Worker) newOutcomes(ctx context.Context) *outcomes {
	// As many again are in the batch, one begins it, and one waits in add.
	o := &outcomes{in: make(chan store.Delivery, (maxUnrecorded-2)/2), done: make(chan struct{})}
	go func() {
		defer close(o.done)
		for d := range o.in {
			batch := []store.Delivery{d}
			for len(o.in) > 0 {
				batch = append(batch, <-o.in)
			}
			// One that has gone, or was made to start again, needs no record;
			// and what can't be recorded before the end is sent again.
			w.record(ctx, func(ctx context.Context) error { return w.Store.RecordAttempts(ctx, batch...) })
		}
	}()
	return o
}

// add waits while too many are not recorded yet.
func (o *outcomes) add(d store.Delivery) { o.in <- d }

// end waits until all are recorded, or record has given up.
func (o *outcomes) end() {
	close(o.in)
	<-o.done
}
