package query

import (
	"cmp"
	"context"
	"slices"
	"time"

	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/store"
)

// rules says what became of the line for each rule.
func (w *why) rules(ctx context.Context) error {
	scope := scopeOf(w.out.Container)
	set := w.snapshot.ForContainer(scope)
	if err := w.replay(ctx, whyBefore, func(i journal.Info) bool { return i.ID == w.out.Container.ID }); err != nil {
		return err
	}
	w.out.Lines = max(1, w.seen.lines)
	if err := w.storedHits(ctx); err != nil {
		return err
	}
	off := slices.Clone(w.all)
	for i := range off {
		if off[i].State == rule.Off {
			off[i].State, off[i].Enabled = rule.On, true
		}
	}
	switchedOn, _ := rule.Compile(off)
	all := switchedOn.ForContainer(scope)
	meant := map[int64]bool{}
	for _, r := range set.Rules() {
		meant[r.ID] = true
		v, err := w.rule(ctx, set, r)
		if err != nil {
			return err
		}
		w.out.Rules = append(w.out.Rules, v)
	}
	for _, r := range all.Rules() {
		if meant[r.ID] {
			continue
		}
		if r, _ = w.ruleOf(r.ID); r.State == rule.Off {
			meant[r.ID] = true
			w.out.Rules = append(w.out.Rules, w.switchedOff(all, r))
		}
	}
	for i := range w.all {
		if !meant[w.all[i].ID] && w.near[w.all[i].ID] != nil { // it was meant then
			v := WhyRule{Rule: w.all[i], Changed: true}
			if err := w.hit(ctx, &v, WhyHit, w.near[v.Rule.ID]); err != nil {
				return err
			}
			w.out.Rules = append(w.out.Rules, v)
		} else if !meant[w.all[i].ID] {
			w.out.Elsewhere++
		}
	}
	slices.SortFunc(w.out.Rules, func(a, b WhyRule) int { return cmp.Compare(a.Rule.ID, b.Rule.ID) })
	return nil
}

func (w *why) time() time.Time { return time.Unix(0, w.out.Line.TimeNano).UTC() }

// storedHits finds the events that the line made.
func (w *why) storedHits(ctx context.Context) error {
	w.near = map[int64]*event.Event{}
	events, err := w.cfg.Store.Events(ctx, store.EventFilter{
		Source: event.Logscan, Container: w.out.Container.ID, Since: w.time().Add(-time.Second), Ascending: true, Limit: whyEvents,
	})
	for i := range events {
		e := &events[i]
		if id := metaNumber(e, "rule_id"); w.near[id] == nil && w.isOfLine(e, w.time()) {
			w.near[id] = e
		}
	}
	if e := w.out.Event; e != nil {
		w.near[metaNumber(e, "rule_id")] = e
	}
	return err
}

// isOfLine reports whether an event is about the container's line of a time.
func (w *why) isOfLine(e *event.Event, at time.Time) bool {
	return metaText(e, "container_id") == w.out.Container.ID && metaTime(e, "line_time").Equal(at) && cmp.Or(metaText(e, "stream"), w.out.Line.Stream) == w.out.Line.Stream
}

// switchedOff is what a rule that is off would say; set has it switched on.
func (w *why) switchedOff(set *rule.Set, r rule.Rule) WhyRule {
	v := WhyRule{Rule: r, Changed: r.UpdatedAt.After(w.time())}
	w.unmatched(set, &v)
	if v.Outcome == "" {
		v.Outcome = WhyOff
	}
	return v
}

// unmatched says which condition of a rule the line doesn't fulfil; the outcome stays ""
// where it fulfils all of those of a part, and the parts are set.
func (w *why) unmatched(set *rule.Set, v *WhyRule) {
	text := w.out.Line.Text
	if whole := w.seen.whole[v.Rule.RecordStart]; v.Rule.Record && whole != nil {
		text = whole
	}
	verdicts, _ := set.Verdicts(v.Rule.ID, text, 0)
	nearest := -1
	for len(verdicts) > 0 { // of a part
		n := slices.IndexFunc(verdicts, func(o rule.Verdict) bool {
			return o.Part.Role != verdicts[0].Part.Role || o.Part.N != verdicts[0].Part.N
		})
		if n < 0 {
			n = len(verdicts)
		}
		part := verdicts[:n]
		verdicts = verdicts[n:]
		unmet := slices.IndexFunc(part, func(o rule.Verdict) bool { return !o.Met })
		if unmet < 0 {
			v.Parts = append(v.Parts, part[0].Part.String())
			continue
		}
		if unmet > nearest {
			nearest, v.Unmet = unmet, &part[unmet]
		}
	}
	streams := v.Rule.Streams != rule.Streams[0] && v.Rule.Streams != w.out.Line.Stream
	switch {
	case len(v.Parts) > 0 && streams:
		v.Outcome, v.Unmet = WhyStream, nil
	case len(v.Parts) > 0:
		v.Unmet = nil
	case v.Unmet == nil: // it has no conditions, as one that only counts starts
		v.Outcome = WhyUnmatched
	case v.Unmet.GivenUp:
		v.Outcome = WhyGivenUp
	case v.Unmet.Field == "ignore":
		v.Outcome = WhyIgnored
	case nearest > 0 || v.Unmet.Field == "where":
		v.Outcome = WhyUnmet
	default:
		v.Outcome = WhyUnmatched
	}
}

// rule says what became of the line for a rule that is in effect.
func (w *why) rule(ctx context.Context, set *rule.Set, r rule.Rule) (v WhyRule, err error) {
	v = WhyRule{Rule: r, Changed: r.UpdatedAt.After(w.time())}
	f := w.seen.found[r.ID]
	if f == nil {
		w.unmatched(set, &v)
		switch e := w.near[r.ID]; {
		case e != nil: // the rule was another one
			v.Unmet, v.Parts = nil, nil
			return v, w.hit(ctx, &v, WhyHit, e)
		case v.Outcome == "" && w.seen.hidden:
			v.Outcome = WhyEcho
		case v.Outcome == "": // its log is gone meanwhile
			v.Outcome = WhyUnknown
		}
		return v, nil
	}
	v.Parts, v.By = f.parts, w.cfg.Redact.Text(f.by())
	at := time.Unix(0, cmp.Or(f.at(), w.out.Line.TimeNano)).UTC()
	if e := w.near[r.ID]; e != nil {
		return v, w.hit(ctx, &v, WhyHit, e)
	}
	later, err := w.eventsFrom(ctx, &r, at)
	if err != nil {
		return v, err
	}
	for i := range later {
		if e := &later[i]; w.isOfLine(e, at) || f.match != nil && w.hasMatch(e, f) {
			return v, w.hit(ctx, &v, WhyJoined, e)
		}
	}
	return v, w.held(ctx, &v, later, at)
}

// eventsFrom returns the first events of a rule that were stored behind a time: of the
// container, or, where the rule adds up several containers, of all.
func (w *why) eventsFrom(ctx context.Context, r *rule.Rule, at time.Time) ([]event.Event, error) {
	f := store.EventFilter{Source: event.Logscan, RuleID: r.ID, Since: at.Add(-time.Second), Ascending: true, Limit: whyEvents}
	if alone(r) {
		f.Container = w.out.Container.ID
	}
	return w.cfg.Store.Events(ctx, f)
}

// alone reports whether a rule goes by what one container writes.
func alone(r *rule.Rule) bool {
	return r.Kind == rule.KindLine || r.Kind == "" || r.Per == rule.PerContainer
}

// hasMatch reports whether a match of the line is one of those that made an event.
func (w *why) hasMatch(e *event.Event, f *found) bool {
	since, until := metaTime(e, "since"), metaTime(e, "until")
	if at := metaTime(e, "line_time"); at.After(until) {
		until = at
	}
	at := time.Unix(0, f.match.TimeNano)
	return !since.IsZero() && !at.Before(since) && !at.After(until) &&
		metaText(e, "by") == w.cfg.Redact.Text(f.match.By) && cmp.Or(metaText(e, "workload_id"), w.out.Container.Workload) == w.out.Container.Workload
}
