package trigger

import (
	"context"
	"errors"
	"time"

	"logscan/internal/store"
)

// round sends a trigger's pending deliveries in their order until none is left
// or one has to wait. It returns when to go on; zero: when something comes.
//
// A delivery that fails holds up those behind it, for most often it is the
// receiver that is ill. After some failures the one behind it is tried too: if
// that gets through, the first is overtaken from then on.
func (w *Worker) round(ctx context.Context, id int64, l *lane, overdue time.Time) time.Time {
	var stuck *store.Delivery // keeps failing; whatever gets through now overtakes it
	var rest time.Time
	var seq int64
	done := w.newOutcomes(ctx)
	defer done.end()
	for ctx.Err() == nil {
		now := w.Now()
		// Read anew each time: an edited URL or secret counts at once.
		t, err := w.Store.Trigger(ctx, id)
		if errors.Is(err, store.ErrNotFound) || err == nil && !t.Enabled {
			return time.Time{}
		}
		var d store.Delivery
		var e store.Event
		var ok bool
		if err == nil {
			d, e, ok, err = w.Store.NextDelivery(ctx, id, seq, now)
		}
		if err != nil {
			return w.broken(ctx, err)
		}
		if !ok {
			break
		}
		seq = d.Seq
		if wait := d.Wait(now); wait > 0 && !d.Overtaken {
			d.NextAt = now.Add(wait) // the same, and a clock set back meanwhile doesn't prolong it
			rest = earlier(rest, d.NextAt)
			if stuck == nil && d.Attempts >= patience && d.LastStatus != statusThrottled {
				stuck = &d
				continue // one that was never tried may show that the receiver is well
			}
			break
		}
		body, err := newPayload(e, false, w.Marks.At(e.CreatedAt))
		if err != nil {
			return w.broken(ctx, err)
		}
		out, stopped := w.attempt(ctx, t, d.ID, body)
		if stopped {
			return time.Time{}
		}
		w.judge(&d, out, overdue, stuck)
		if d.State == store.Delivered && stuck == nil {
			done.add(d)
			w.note(l, t, d, out)
			continue
		}
		if err := w.record(ctx, func(ctx context.Context) error { return w.Store.RecordAttempts(ctx, d) }); err != nil {
			if errors.Is(err, store.ErrNotFound) {
				continue // it has gone, or was made to start again
			}
			return w.broken(ctx, err)
		}
		w.note(l, t, d, out)
		switch {
		case d.State != store.Pending && (out.reason == "" || out.final):
			// The receiver is there.
			if stuck != nil {
				if err := w.record(ctx, func(ctx context.Context) error { return w.Store.Overtake(ctx, stuck.ID) }); err != nil && !errors.Is(err, store.ErrNotFound) {
					return w.broken(ctx, err)
				}
				stuck, rest = nil, time.Time{}
			}
		case d.Overtaken, d.State == store.Dead:
		case stuck == nil && d.Attempts+1 >= patience && out.status != statusThrottled:
			stuck, rest = &d, d.NextAt
		default:
			return w.withOvertaken(ctx, id, earlier(rest, d.NextAt))
		}
	}
	return w.withOvertaken(ctx, id, rest)
}

const statusThrottled = 429

// attempt sends once. When ctx ends it has a moment left; stopped says that
// even that was too short, so that the outcome says nothing.
func (w *Worker) attempt(ctx context.Context, t store.Trigger, id string, body []byte) (_ outcome, stopped bool) {
	sendCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, cancel) })()
	out := w.sender.send(sendCtx, t, id, body)
	return out, sendCtx.Err() != nil
}

// judge turns an outcome into what is to become of d.
func (w *Worker) judge(d *store.Delivery, out outcome, overdue time.Time, stuck *store.Delivery) {
	now := w.Now()
	d.TriedAt, d.LastStatus, d.LastError = now, out.status, out.reason
	until := d.Since.Add(keepTrying)
	if until.Before(overdue) {
		until = overdue
	}
	switch {
	case out.reason == "":
		d.State, d.NextAt = store.Delivered, time.Time{}
	case out.final || !now.Before(until):
		d.State, d.NextAt = store.Dead, time.Time{}
	default:
		d.NextAt = now.Add(max(backoff(d.Attempts+1), out.wait))
		if stuck != nil && !d.Overtaken && out.wait == 0 {
			d.NextAt = stuck.NextAt // it was only tried to learn about the receiver
		}
		if d.NextAt.After(until) {
			d.NextAt = now.Add(until.Sub(now))
		}
	}
}

// note counts, and logs when a receiver begins to fail or is well again.
func (w *Worker) note(l *lane, t store.Trigger, d store.Delivery, out outcome) {
	switch d.State {
	case store.Delivered:
		w.delivered.Add(1)
	case store.Dead:
		w.dead.Add(1)
	default:
		w.failed.Add(1)
	}
	failed := out.reason != ""
	switch {
	case failed && !l.failing:
		w.Logger.Warn("deliveries fail", "trigger", t, "delivery", d.ID, "reason", out.reason)
	case !failed && l.failing:
		w.Logger.Info("deliveries get through again", "trigger", t)
	}
	l.failing = failed
}

// withOvertaken is the earlier of rest and the time at which an overtaken
// delivery is due.
func (w *Worker) withOvertaken(ctx context.Context, id int64, rest time.Time) time.Time {
	at, err := w.Store.NextOvertaken(ctx, id, w.Now())
	if err != nil {
		return w.broken(ctx, err)
	}
	return earlier(rest, at)
}

// broken is when to go on after an error of the store.
func (w *Worker) broken(ctx context.Context, err error) time.Time {
	if ctx.Err() == nil {
		w.Logger.Error("outbox", "err", err)
	}
	return w.Now().Add(storeWait)
}
