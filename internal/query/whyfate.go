package query

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/silence"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// hit says what became of a line that made an event.
func (w *why) hit(ctx context.Context, v *WhyRule, outcome WhyOutcome, e *event.Event) error {
	v.Outcome, v.Event = outcome, e
	v.By = cmp.Or(v.By, metaText(e, "by"))
	var err error
	if v.Each, err = w.each(ctx, e); err != nil || e.IncidentID == 0 {
		return err
	}
	i, err := w.cfg.Store.Incident(ctx, e.IncidentID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return w.follow(ctx, v, i, time.Time{}, e)
}

// each is what became of an event for the triggers that are told of each event.
func (w *why) each(ctx context.Context, e *event.Event) (out []trigger.Fate, err error) {
	deliveries, err := w.cfg.Store.Deliveries(ctx, store.DeliveryFilter{EventID: e.ID})
	if err != nil {
		return nil, err
	}
	labelled := *e
	if c := w.out.Container; c != nil {
		labelled.Labels = c.Labels
	}
	for _, t := range w.triggers {
		f := trigger.Fate{TriggerID: t.ID, Trigger: t.Name}
		i := slices.IndexFunc(deliveries, func(d trigger.Delivery) bool { return d.TriggerID == t.ID })
		switch {
		case i >= 0:
			f.State, f.DeliveryID, f.Delivery = trigger.FateTold, deliveries[i].ID, deliveries[i]
		case t.Mode != trigger.ModeEvents:
			continue
		case t.CreatedAt.After(e.CreatedAt):
			f.State, f.Why = trigger.FateUnknown, "the trigger was made later"
		case t.UpdatedAt.After(e.CreatedAt):
			f.State, f.Why = trigger.FateUnknown, "the trigger has changed since"
		case !t.Enabled:
			f.State, f.Field = trigger.FateUnwanted, "enabled"
		default:
			f.State = trigger.FateUnknown
			if f.Field = t.EventUnwantedBy(labelled); f.Field != "" {
				f.State = trigger.FateUnwanted
			}
		}
		out = append(out, f)
	}
	return out, nil
}

// follow says what became of an incident of which the line is one: at is when it was, or e
// its event.
func (w *why) follow(ctx context.Context, v *WhyRule, i incident.Incident, at time.Time, e *event.Event) error {
	v.Incident, v.Folded = &i, true
	notices, err := w.cfg.Store.Notices(ctx, i.ID)
	if err != nil || len(notices) == 0 {
		return err
	}
	own := -1
	if e != nil {
		times := []time.Time{metaTime(e, "line_time"), metaTime(e, "until")}
		at = slices.MaxFunc(times, time.Time.Compare)
		own = slices.IndexFunc(notices, func(n store.Noticed) bool {
			return (n.Kind == incident.NoticeOpened || n.Kind == incident.NoticeEscalated) && slices.ContainsFunc(times, n.At.Equal)
		})
		if own < 0 {
			first, err := w.cfg.Store.Events(ctx, store.EventFilter{Incident: i.ID, Ascending: true, Limit: 1})
			if err != nil {
				return err
			}
			if len(first) > 0 && first[0].ID == e.ID && notices[0].Kind == incident.NoticeOpened && !notices[0].CreatedAt.After(e.CreatedAt.Add(time.Second)) {
				own = 0
			}
		}
		if at.IsZero() {
			at = e.CreatedAt
		}
	}
	v.Folded = own < 0
	if own >= 0 {
		notices = notices[own : own+1]
	} else {
		next := slices.IndexFunc(notices, func(n store.Noticed) bool { return n.At.After(at) })
		if next < 0 {
			next = len(notices)
		}
		notices = notices[max(0, next-1):min(len(notices), next+1)]
	}
	fates, err := w.cfg.Store.Fates(ctx, i, notices)
	if err != nil {
		return err
	}
	for k, n := range notices {
		out := WhyNotice{Noticed: n}
		if s := slices.IndexFunc(w.silences, func(s silence.Silence) bool { return s.ID == n.SilencedBy }); s >= 0 {
			out.Silence = &w.silences[s]
		}
		for _, f := range fates[k] {
			each := slices.ContainsFunc(w.triggers, func(t trigger.Trigger) bool { return t.ID == f.TriggerID && t.Mode == trigger.ModeEvents })
			if !each || f.State == trigger.FateTold || f.State == trigger.FateHeld { // else Each has it
				out.Fates = append(out.Fates, f)
			}
		}
		for _, t := range w.triggers {
			if !t.Enabled && t.Mode != trigger.ModeEvents && !slices.ContainsFunc(fates[k], func(f trigger.Fate) bool { return f.TriggerID == t.ID }) {
				out.Fates = append(out.Fates, trigger.Fate{TriggerID: t.ID, Trigger: t.Name, State: trigger.FateUnwanted, Field: "enabled"})
			}
		}
		slices.SortFunc(out.Fates, func(a, b trigger.Fate) int { return cmp.Compare(a.TriggerID, b.TriggerID) })
		v.Notices = append(v.Notices, out)
	}
	return nil
}

// held says what held back a match that made no event; later are the rule's first events
// behind it.
func (w *why) held(ctx context.Context, v *WhyRule, later []event.Event, at time.Time) error {
	r := &v.Rule
	for i := range later {
		e := &later[i]
		if since := metaTime(e, "suppressed_since"); metaText(e, "container_id") == w.out.Container.ID && !since.IsZero() && !since.After(at) && metaTime(e, "line_time").After(at) {
			v.ToldWith = e
			break
		}
	}
	i, err := w.incidentOf(ctx, v, at)
	if err != nil {
		return err
	}
	if i != nil {
		if err := w.follow(ctx, v, *i, at, nil); err != nil {
			return err
		}
		if v.BehindEvent, err = w.behind(ctx, r, i.ID, at); err != nil {
			return err
		}
	}
	switch unread, err := w.unread(); {
	case err != nil:
		return err
	case r.CreatedAt.After(w.time()):
		v.Outcome = WhyLater
		return nil
	case unread:
		v.Outcome = WhyUnread
		return nil
	case v.BehindEvent != nil:
		v.Outcome, v.Behind = WhyCooldown, metaTime(v.BehindEvent, "line_time")
		v.Until = v.Behind.Add(r.Cooldown())
		return nil
	}
	if err := w.replayAll(ctx); err != nil {
		return err
	}
	return w.replayed(ctx, v, at)
}

// unread reports whether rules have yet to see the line.
func (w *why) unread() (bool, error) {
	if w.cfg.Lag == nil {
		return false, nil
	}
	lag := w.cfg.Lag()[w.out.Container.ID]
	j, err := w.journals.Acquire(w.out.Container.ID)
	if errors.Is(err, journal.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer j.Release()
	_, end := j.Bounds()
	return lag > 0 && w.out.Line.To > end-lag, nil
}

// incidentOf is the incident in which a match counts that made no event; nil for none.
func (w *why) incidentOf(ctx context.Context, v *WhyRule, at time.Time) (*incident.Incident, error) {
	f := w.seen.found[v.Rule.ID]
	all, err := w.cfg.Store.Incidents(ctx, store.IncidentFilter{RuleID: v.Rule.ID, At: at, Limit: 1000})
	if err != nil {
		return nil, err
	}
	var out *incident.Incident
	for k := range all {
		i := &all[k]
		switch own := i.Key.Shape == f.shape(); {
		case i.Key.Workload != "" && i.Key.Workload != w.out.Container.Workload, i.Key.By != f.by() && i.Key.Shape != incident.OtherShapes:
		case own, out == nil && (i.Key.Shape == incident.AllShapes || i.Key.Shape == incident.OtherShapes):
			if out = i; own {
				return out, nil
			}
		}
	}
	return out, nil
}

// behind is the event of an incident within whose cooldown a match of the container is;
// nil for none.
func (w *why) behind(ctx context.Context, r *rule.Rule, id int64, at time.Time) (*event.Event, error) {
	if r.Kind != rule.KindLine || r.CooldownSeconds == 0 {
		return nil, nil
	}
	events, err := w.cfg.Store.Events(ctx, store.EventFilter{Incident: id, Container: w.out.Container.ID, Limit: whyEvents})
	for i := range events {
		e := &events[i]
		if hit := metaTime(e, "line_time"); !hit.IsZero() && !hit.After(at) && at.Sub(hit) < r.Cooldown() {
			return e, nil
		}
	}
	return nil, err
}

// replayed says what the rules of today make of a match that made no event.
func (w *why) replayed(ctx context.Context, v *WhyRule, at time.Time) error {
	v.Replayed = true
	r, f := &v.Rule, w.seen.found[v.Rule.ID]
	switch {
	case f == nil:
		v.Outcome = WhyUnknown
	case f.match != nil, f.became == nil && r.Kind != rule.KindLine:
		v.Outcome = WhyCounted
		if r.Kind == rule.KindCount && f.match != nil && f.match.Role == rule.Main {
			v.Of = r.AtLeast
			v.Matches, v.MatchesSince = w.seen.within(r, f.match)
			if v.Matches >= v.Of {
				v.Outcome = WhyUnknown
			}
		}
	case f.became != nil && !f.became.Hit && f.became.Bucket:
		v.Outcome = WhyBucket
		return nil
	case f.became != nil && !f.became.Hit:
		v.Outcome, v.Behind = WhyCooldown, time.Unix(0, f.became.Behind).UTC()
		v.Until = v.Behind.Add(r.Cooldown())
		return nil
	default:
		v.Outcome = WhyUnknown
	}
	if v.Outcome != WhyUnknown {
		return nil
	}
	first, err := w.cfg.Store.Events(ctx, store.EventFilter{Ascending: true, Limit: 1})
	if err == nil && len(first) > 0 && first[0].ID > 1 && first[0].CreatedAt.After(at.Add(time.Minute)) {
		v.Outcome = WhyForgotten
	}
	return err
}
