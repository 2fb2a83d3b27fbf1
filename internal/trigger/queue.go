package trigger

import (
	"context"
	"sync"
	"time"

	"logscan/internal/channel"
)

// queue sends one trigger's deliveries, one at a time, in the order in which
// they are due. All but id and wake belong to its goroutine.
type queue struct {
	w    *Worker
	id   int64
	wake chan struct{} // holds a token when the outbox has changed

	seen       time.Time // the clock, when it was last looked at
	alarm      <-chan time.Time
	alarmAt    time.Time
	unrecorded sync.WaitGroup // outcomes that the recorder still has

	// While the receiver fails, nothing is sent before pause, unless the trigger
	// is another one than at edited.
	failures int // in a row
	pause    time.Time
	edited   time.Time
	told     map[string]bool // what the log says of it

	resend resend
}

// run returns when ctx ends or the trigger has gone or is disabled.
func (q *queue) run(ctx context.Context) {
	// Outcomes are recorded while the next delivery is sent, so that the outbox
	// may hold what was sent already: it is walked from after on, and from the
	// beginning once all is on record.
	var after Delivery
	for ctx.Err() == nil {
		now, setBack := q.now()
		if setBack { // all that waits, with what is being recorded, has to become due before it is looked at
			q.unrecorded.Wait()
			after = Delivery{}
			_, err := q.w.Store.Resume(ctx, now)
			if token(q.w.setBack); err != nil { // Run says so, and goes on trying
				q.sleep(ctx, now, now.Add(storeWait))
			}
			continue
		}
		job, err := q.w.Store.Next(ctx, q.id, after)
		if err != nil {
			if ctx.Err() == nil {
				q.w.Logger.Error("outbox", "err", err)
			}
			q.sleep(ctx, now, now.Add(storeWait))
			continue
		}
		due := job.Delivery.NextAt
		if pause := q.paused(job.Trigger); pause.After(due) {
			due = pause
		}
		none := job.Delivery.ID == ""
		switch {
		case !none && !due.After(now):
			if q.send(ctx, job) {
				return
			}
			after = job.Delivery
		case after.ID != "":
			q.unrecorded.Wait()
			after = Delivery{}
		case job.Trigger.ID == 0:
			if q.w.forget(q) {
				return
			}
		default:
			next, stopped := q.tellAgain(ctx, job.Trigger, now)
			if stopped {
				return
			}
			if none || !next.IsZero() && next.Before(due) {
				due = next
			}
			if due.IsZero() || due.After(now) {
				q.sleep(ctx, now, due)
			}
		}
	}
}

// now is the time on the wall, and whether that was set back.
func (q *queue) now() (_ time.Time, setBack bool) {
	now := q.w.Now()
	wall := now.Round(0) // without the monotonic clock's reading
	if setBack = wall.Before(q.seen); setBack {
		q.pause, q.resend = time.Time{}, resend{}
	}
	q.seen = wall
	return now, setBack
}

// paused is until when nothing is sent, because the receiver fails; it may be past.
func (q *queue) paused(t Trigger) time.Time {
	if t.UpdatedAt.Equal(q.edited) {
		return q.pause
	}
	return time.Time{}
}

// sleep returns when the outbox has changed or at a time, zero for never.
func (q *queue) sleep(ctx context.Context, now, until time.Time) {
	if !until.Equal(q.alarmAt) {
		q.alarm, q.alarmAt = nil, until
		if !until.IsZero() {
			q.alarm = q.w.After(until.Sub(now))
		}
	}
	select {
	case <-ctx.Done():
	case <-q.wake:
	case <-q.alarm:
		q.alarmAt = time.Time{}
	}
}

// send makes one attempt and hands its outcome to the recorder. stopped says
// that ctx ended and the outcome says nothing.
func (q *queue) send(ctx context.Context, job Job) (stopped bool) {
	t, d := job.Trigger, job.Delivery
	out, stopped := q.attempt(ctx, job)
	if stopped {
		return true
	}
	now := q.w.Now()
	q.w.classify(&d, out, now)
	q.heard(t, out, now)
	switch d.State {
	case Delivered:
		q.w.delivered.Add(1)
	case Dead:
		q.w.dead.Add(1)
	default:
		q.w.failed.Add(1)
	}
	q.say(t, d, out)
	q.unrecorded.Add(1)
	q.w.outcomes <- recordable{d, q.unrecorded.Done}
	return false
}

// heard notes whether the receiver is there.
func (q *queue) heard(t Trigger, out channel.Verdict, now time.Time) {
	if out.Reason == "" || out.Final {
		q.failures, q.pause = 0, time.Time{}
		return
	}
	q.failures++
	q.pause, q.edited = now.Add(max(min(backoff(q.failures), longestPause), out.Wait)), t.UpdatedAt
}

// attempt sends once. When ctx ends it has a moment left; stopped says that
// even that was too short, so that the outcome says nothing.
func (q *queue) attempt(ctx context.Context, job Job) (_ channel.Verdict, stopped bool) {
	sendCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, cancel) })()
	out := q.w.send(sendCtx, job)
	return out, sendCtx.Err() != nil
}

// say logs each way in which a receiver fails, once until it is well again.
func (q *queue) say(t Trigger, d Delivery, out channel.Verdict) {
	switch {
	case out.Reason == "":
		if len(q.told) > 0 {
			q.w.Logger.Info("deliveries get through again", "trigger", t)
			clear(q.told)
		}
	case !q.told[out.Reason]:
		q.w.Logger.Warn("deliveries fail", "trigger", t, "delivery", d.ID, "reason", out.Reason)
		q.told[out.Reason] = true
	}
}

// classify turns an outcome into what is to become of d.
func (w *Worker) classify(d *Delivery, out channel.Verdict, now time.Time) {
	d.TriedAt, d.LastStatus, d.LastError, d.Ref = now, out.Status, out.Reason, out.Ref
	until := d.Since.Add(keepTrying)
	if until.Before(w.overdue) {
		until = w.overdue
	}
	switch {
	case out.Reason == "":
		d.State, d.NextAt = Delivered, time.Time{}
	case out.Final || !now.Before(until):
		d.State, d.NextAt = Dead, time.Time{}
	default:
		d.NextAt = now.Add(max(backoff(d.Attempts+1), out.Wait))
		if d.NextAt.After(until) {
			d.NextAt = now.Add(until.Sub(now))
		}
	}
}
