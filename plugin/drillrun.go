package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"logscan/internal/api"
	"logscan/internal/event"
	"logscan/internal/trigger"
)

// run is the drill itself.
func (d *drill) run(ctx context.Context) (err error) {
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drillEnd)
		defer cancel()
		if e := d.tidy(ctx); e != nil {
			d.c.warn("the drill has left something behind: " + e.Error())
		}
	}()
	if err := d.removeStale(ctx); err != nil {
		return err
	}
	if d.temporary {
		r := d.rule
		d.rule, err = d.client.CreateRule(ctx, api.RuleCreate{Name: r.Name, Pattern: r.Pattern, RuleFields: api.RuleFields{
			"description": r.Description, "severity": r.Severity, "workload_id": r.WorkloadID, "cooldown_seconds": 0, "repeat_seconds": 0,
		}})
		if err != nil {
			return err
		}
	}
	before, err := d.client.Events(ctx, api.EventQuery{Limit: 1})
	if err != nil {
		return err
	}
	last := int64(0)
	if len(before.Items) > 0 {
		last = before.Items[0].ID
	}
	if err := d.p.begin(nil); err != nil {
		return err
	}
	if err := d.write(ctx); err != nil {
		return err
	}
	hit, err := d.hit(ctx, last)
	if err != nil {
		return err
	}
	return d.follow(ctx, hit)
}

// write runs the container.
func (d *drill) write(ctx context.Context) error {
	ctx, cancel := context.WithDeadline(ctx, d.deadline)
	defer cancel()
	script := `printf '%s\n' "$1"`
	if d.stderr {
		script += " >&2"
	}
	args := []string{"run", "--rm", "--pull", "never", "--network", "none", "--name", d.container, "--log-driver", d.c.engine.plugin, "--log-opt", "workload=" + d.workload}
	for _, l := range d.labels {
		args = append(args, "--label", l)
	}
	_, err := d.c.docker(ctx, append(args, "--entrypoint", "sh", d.image, "-c", script, "drill", d.line)...)
	d.left = err != nil
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return advise("--timeout 2m\ndocker ps -a --filter name="+drillName, "the drill stopped at the line: docker run did not end in time")
	case err != nil:
		return fmt.Errorf("the drill stopped at the line: %w", err)
	}
	return nil
}

// hit waits for the event of the line, and shows both.
func (d *drill) hit(ctx context.Context, after int64) (hit api.Event, err error) {
	written := time.Now()
	found, err := d.wait(ctx, func() (bool, error) {
		page, err := d.client.Events(ctx, api.EventQuery{RuleID: d.rule.ID, Container: d.container, After: after})
		if len(page.Items) > 0 {
			hit = page.Items[0]
		}
		return hit.ID != 0, err
	})
	if err != nil {
		return hit, err
	}
	text, _ := hit.Metadata["line_time"].(string)
	if d.at, err = time.Parse(time.RFC3339Nano, text); !found || err != nil {
		d.at = written
	}
	err = d.show(drillStep{Step: "line", At: d.at, Text: fmt.Sprintf("%s (container %s, workload %s)", d.line, d.container, d.workload)})
	switch {
	case err != nil:
	case !found:
		err = advise(d.c.name()+" stats      (are rules behind?)\n"+d.c.name()+" rule stats\ndocker info      (is it the Engine that the plugin runs in?)",
			"the drill stopped at the hit: there was none of rule %s in time", d.rule.Name)
	default:
		err = d.show(drillStep{Step: "hit", At: hit.CreatedAt, Text: fmt.Sprintf("event %d of rule %s", hit.ID, d.rule.Name)})
	}
	return hit, err
}

// follow shows what becomes of a hit, until that is known of all triggers.
func (d *drill) follow(ctx context.Context, hit api.Event) error {
	var silence int64
	var news bool // the hit is worth a notice
	var fates []api.Fate
	_, err := d.wait(ctx, func() (bool, error) {
		i, err := d.client.Incident(ctx, hit.Incident)
		if err != nil {
			return false, err
		}
		fates = nil
		for _, n := range i.Notices {
			if n.At.Equal(d.at) {
				news, silence, fates = true, n.SilencedBy, n.Triggers
			}
		}
		opened := int(i.Hits) == len(i.Events) && i.Events[0].ID == hit.ID
		if d.incident = 0; opened && i.Matches == 1 { // else there is more in it than a drill
			d.incident = i.ID
		}
		if err := d.show(drillStep{Step: "incident", At: hit.CreatedAt, Text: incidentText(i, opened)}); err != nil {
			return false, err
		}
		fates, err = d.ofInterest(ctx, hit, fates)
		if err != nil {
			return false, err
		}
		settled := true
		var steps []drillStep
		for _, f := range fates {
			steps = append(steps, fateSteps(f, silence)...)
			settled = settled && d.settled(f)
		}
		slices.SortStableFunc(steps, func(a, b drillStep) int { return a.At.Compare(b.At) })
		for _, s := range steps {
			if err := d.show(s); err != nil {
				return false, err
			}
		}
		return settled, nil
	})
	if err != nil {
		return err
	}
	told := drillStep{Step: "told"}
	for _, f := range fates {
		if f.State == string(trigger.FateTold) && !d.settled(f) {
			if err := d.show(drillStep{Step: "waiting", Trigger: f.Trigger, Text: "no answer in time"}); err != nil {
				return err
			}
		}
		if f.Delivery != nil && f.Delivery.State == string(trigger.Delivered) && (told.At.IsZero() || f.Delivery.TriedAt.Before(told.At)) {
			told.At = f.Delivery.TriedAt
		}
	}
	switch {
	case told.At.IsZero():
		return d.untold(fates, news, silence)
	case d.p.tmpl != nil:
		return d.show(told)
	}
	_, err = fmt.Fprintf(d.c.out, "told in %s\n", milliseconds(d.after(told.At)))
	return err
}

func incidentText(i api.IncidentDetails, opened bool) string {
	if opened {
		return fmt.Sprintf("%d opened", i.ID)
	}
	return fmt.Sprintf("folded into %d, which is %s", i.ID, i.State)
}

// ofInterest are the fates of the triggers that are followed: those of a notice of
// incidents, and those of the hit itself for triggers that are told of each event.
func (d *drill) ofInterest(ctx context.Context, hit api.Event, notice []api.Fate) (out []api.Fate, err error) {
	var sent []api.Delivery
	for _, t := range d.triggers {
		if !t.Enabled || d.only.ID != 0 && d.only.ID != t.ID {
			continue
		}
		if t.Mode != trigger.ModeEvents {
			for _, f := range notice {
				if f.TriggerID == t.ID {
					out = append(out, f)
				}
			}
			continue
		}
		if sent == nil {
			if sent, err = d.client.EventDeliveries(ctx, hit.ID); err != nil {
				return nil, err
			}
		}
		f := api.Fate{TriggerID: t.ID, Trigger: t.Name, State: string(trigger.FateUnknown)}
		if field := t.EventUnwantedBy(d.event(hit)); field != "" {
			f.State, f.Field = string(trigger.FateUnwanted), field
		}
		for _, s := range sent {
			if s.TriggerID == t.ID {
				f = api.Fate{TriggerID: t.ID, Trigger: t.Name, State: string(trigger.FateTold), DeliveryID: s.ID, Delivery: &s}
			}
		}
		out = append(out, f)
	}
	return out, nil
}

// event is a hit as triggers see it.
func (d *drill) event(hit api.Event) event.Event {
	return event.Event{Source: event.Source(hit.Source), Severity: event.Severity(hit.Severity), Message: hit.Message, Metadata: hit.Metadata, Labels: d.labelled()}
}

// settled reports whether nothing more is to be waited for.
func (d *drill) settled(f api.Fate) bool {
	switch trigger.FateState(f.State) {
	case trigger.FateTold:
		return f.Delivery == nil || answered(f.Delivery)
	case trigger.FateHeld:
		return f.Until.After(d.deadline)
	}
	return true
}

// answered reports whether there was an attempt, or will be none.
func answered(d *api.Delivery) bool { return d.Attempts > 0 || d.State != string(trigger.Pending) }

// fateSteps are the steps that are known of a trigger.
func fateSteps(f api.Fate, silence int64) []drillStep {
	switch {
	case f.State == string(trigger.FateSilenced):
		return []drillStep{{Step: f.State, Trigger: f.Trigger, Text: fmt.Sprintf("held back by silence %d", silence)}}
	case f.State != string(trigger.FateTold) || f.Delivery == nil:
		return []drillStep{{Step: f.State, Trigger: f.Trigger, Text: fateText(f)}}
	}
	steps := []drillStep{{Step: "queued", At: f.Delivery.CreatedAt, Trigger: f.Trigger, Text: f.DeliveryID}}
	if answered(f.Delivery) {
		steps = append(steps, drillStep{Step: "answered", At: f.Delivery.TriedAt, Trigger: f.Trigger, Text: deliveryText(*f.Delivery)})
	}
	return steps
}

// untold says why nobody was told, and what to do.
func (d *drill) untold(fates []api.Fate, news bool, silence int64) error {
	at := func(step, try, format string, a ...any) error {
		return advise(try, "nobody was told: the drill stopped at the %s: %s", step, fmt.Sprintf(format, a...))
	}
	of := func(state trigger.FateState) (api.Fate, bool) {
		k := slices.IndexFunc(fates, func(f api.Fate) bool { return f.State == string(state) })
		if k < 0 {
			return api.Fate{}, false
		}
		return fates[k], true
	}
	name := d.c.name()
	if f, ok := of(trigger.FateTold); ok {
		if f.Delivery == nil || !answered(f.Delivery) {
			return at("message", name+" delivery ls\n"+name+" trigger test "+f.Trigger, "trigger %s has it, and did not get an answer in time", f.Trigger)
		}
		return at("answer", name+" trigger test "+f.Trigger+"      (says what the receiver said)", "trigger %s: %s", f.Trigger, deliveryText(*f.Delivery))
	}
	if f, ok := of(trigger.FateHeld); ok {
		return at("message", name+" trigger show "+f.Trigger, "trigger %s holds it %s", f.Trigger, fateText(f))
	}
	if f, ok := of(trigger.FateSilenced); ok {
		return at("message", fmt.Sprintf("%s silence rm %d", name, silence), "silence %d holds it back from trigger %s", silence, f.Trigger)
	}
	if !news {
		return at("incident", name+" incident ls", "the line is of an incident that is told already, and there is nothing new to tell")
	}
	if f, ok := of(trigger.FateUnwanted); ok {
		return at("message", name+" trigger show "+f.Trigger, "no trigger is for it; %s: %s", f.Trigger, fateText(f))
	}
	if f, ok := of(trigger.FateUnknown); ok {
		return at("message", name+" stats", "trigger %s did not tell it; %s", f.Trigger, fateText(f))
	}
	return at("message", name+" trigger ls", "no trigger is switched on")
}

// wait calls ready until it is, fails, or the drill's time is over.
func (d *drill) wait(ctx context.Context, ready func() (bool, error)) (bool, error) {
	for {
		if ok, err := ready(); ok || err != nil || time.Now().After(d.deadline) {
			return ok, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(drillPoll):
		}
	}
}

// after is how long after the line something was, in milliseconds.
func (d *drill) after(at time.Time) float64 {
	return float64(at.Sub(d.at).Microseconds()) / 1000
}

// show prints a step, once.
func (d *drill) show(s drillStep) error {
	key := shownStep{s.Step, s.Trigger, s.At.UnixNano()}
	if d.shown[key] {
		return nil
	}
	d.shown[key] = true
	if !s.At.IsZero() {
		s.After = d.after(s.At)
	}
	return d.p.one(s)
}

// tidy ends the drill's incident, and removes what was made for it.
func (d *drill) tidy(ctx context.Context) error {
	var errs []error
	if d.left {
		_, _ = d.c.docker(ctx, "rm", "--force", d.container) // it isn't there where it could not be made
	}
	if d.incident != 0 {
		_, err := d.client.ChangeIncident(ctx, d.incident, "resolve", api.IncidentChange{By: drillBy})
		var p *api.Problem
		if errors.As(err, &p) && p.Status == http.StatusConflict { // it is over
			err = nil
		}
		errs = append(errs, err)
	}
	if d.temporary && d.rule.ID != 0 {
		errs = append(errs, d.client.DeleteRule(ctx, d.rule.ID))
	}
	return errors.Join(errs...)
}

// removeStale removes the rules of drills that were killed.
func (d *drill) removeStale(ctx context.Context) error {
	rules, err := d.client.Rules(ctx)
	if err != nil {
		return err
	}
	for _, r := range rules {
		text, drilled := strings.CutPrefix(r.Description, drillUntil)
		text, whole := strings.CutSuffix(text, drillUntilEnd)
		until, err := time.Parse(time.RFC3339, text)
		if !drilled || !whole || err != nil || until.After(time.Now()) {
			continue
		}
		if err := d.client.DeleteRule(ctx, r.ID); err != nil && !api.IsNotFound(err) {
			return fmt.Errorf("the rule %s of an earlier drill: %w", strconv.FormatInt(r.ID, 10), err)
		}
	}
	return nil
}
