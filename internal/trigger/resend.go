package trigger

import (
	"context"
	"time"

	"logscan/internal/channel/all"
)

// resend is how far a queue has come with telling again what is open.
type resend struct {
	began time.Time // the round
	next  time.Time // the next one begins; zero: at once
	after int64     // the incident that was told last in this round; 0: between rounds
}

// resends is how often what is open is told again to a trigger's receiver; 0 for
// never.
func (t Trigger) resends() time.Duration {
	kind, _, err := all.Find(t.ActionURL)
	if err != nil || t.Mode == ModeEvents {
		return 0
	}
	return kind.Resend
}

// tellAgain tells one of the trigger's open incidents again, as it was told last, if it
// is time to, and returns when to call it again: never where that is zero. It is for
// when nothing is due: so what is new goes first, and as it is sent by who sends all
// else, what is told again never comes after an end that was told meanwhile.
//
// Nothing is kept of it. What fails is left to the next round, and so is what is said
// as of a moment ago.
func (q *queue) tellAgain(ctx context.Context, t Trigger, now time.Time) (next time.Time, stopped bool) {
	every := t.resends()
	r := &q.resend
	switch {
	case every == 0:
		*r = resend{}
		return time.Time{}, false
	case q.paused(t).After(now):
		return q.paused(t), false
	case r.after == 0 && r.next.After(now):
		return r.next, false
	case r.after == 0:
		r.began = now
	}
	job, err := q.w.Store.LastTold(ctx, t.ID, r.after)
	d := job.Delivery
	switch {
	case err != nil:
		if ctx.Err() == nil {
			q.w.Logger.Error("outbox", "err", err)
		}
		return now.Add(storeWait), false
	case d.ID == "":
		r.after, r.next = 0, r.began.Add(every)
		return r.next, false
	}
	r.after = d.IncidentID
	if age := now.Sub(job.Message.At); age >= 0 && age < every || len(job.Message.Notices) != 1 {
		return now, false
	}
	job.Trigger, job.Message.Again = t, now
	out, stopped := q.attempt(ctx, job)
	if stopped {
		return time.Time{}, true
	}
	q.heard(t, out, q.w.Now())
	q.say(t, d, out)
	return now, false
}
