package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"logscan/internal/trigger"
)

const triggersPath = "/api/event-triggers"

func (s *server) triggers(api huma.API) {
	huma.Register(api, operation(http.MethodGet, triggersPath, "list-triggers", "List triggers", 200), s.listTriggers)
	huma.Register(api, withBody(operation(http.MethodPost, triggersPath, "create-trigger", "Add a trigger", 201, 409)), s.createTrigger)
	huma.Register(api, operation(http.MethodGet, triggersPath+"/{id}", "get-trigger", "Show a trigger", 200, 404), s.getTrigger)
	huma.Register(api, withBody(operation(http.MethodPatch, triggersPath+"/{id}", "update-trigger", "Change a trigger", 200, 404, 409)), s.updateTrigger)
	huma.Register(api, operation(http.MethodDelete, triggersPath+"/{id}", "delete-trigger", "Remove a trigger", 204, 404), s.deleteTrigger)
	huma.Register(api, operation(http.MethodPost, triggersPath+"/{id}/test", "test-trigger", "Send a test to a trigger's URL, now and once", 200, 404), s.testTrigger)
}

func (s *server) listTriggers(ctx context.Context, _ *struct{}) (*output[List[Trigger]], error) {
	triggers, err := s.Store.Triggers(ctx)
	if err != nil {
		return nil, s.fail(err, "trigger")
	}
	out := &output[List[Trigger]]{Body: List[Trigger]{Items: make([]Trigger, len(triggers))}}
	for i, t := range triggers {
		out.Body.Items[i] = t.Shown()
	}
	return out, nil
}

func (s *server) getTrigger(ctx context.Context, in *ByID) (*output[Trigger], error) {
	t, err := s.Store.Trigger(ctx, in.ID)
	if err != nil {
		return nil, s.fail(err, "trigger")
	}
	return &output[Trigger]{Body: t.Shown()}, nil
}

func (s *server) createTrigger(ctx context.Context, in *struct{ Body TriggerCreate }) (*created[Trigger], error) {
	f := withoutShown(in.Body.TriggerFields, trigger.Trigger{})
	t, err := f.create()
	if err == nil {
		err = checkURL(t, trigger.Trigger{}, s.checkTarget(f))
	}
	if err == nil {
		t, err = s.Store.CreateTrigger(ctx, t)
	}
	if err != nil {
		return nil, s.fail(err, "trigger")
	}
	return newlyMade(fmt.Sprintf("%s/%d", triggersPath, t.ID), t.Shown(), s.reload(ctx)), nil
}

func (s *server) updateTrigger(ctx context.Context, in *struct {
	ByID
	Body TriggerFields
}) (*output[Trigger], error) {
	t, err := s.changeTrigger(ctx, in.ID, in.Body)
	if err != nil {
		return nil, s.fail(err, "trigger")
	}
	if err := s.reload(ctx); err != nil {
		return nil, err
	}
	return &output[Trigger]{Body: t.Shown()}, nil
}

func (s *server) changeTrigger(ctx context.Context, id int64, f TriggerFields) (trigger.Trigger, error) {
	target := s.checkTarget(f) // before the lock: it asks a name server
	s.change.Lock()
	defer s.change.Unlock()
	old, err := s.Store.Trigger(ctx, id)
	if err != nil {
		return old, err
	}
	t, err := withoutShown(f, old).change(old)
	if err == nil {
		err = checkURL(t, old, target)
	}
	if err != nil {
		return t, err
	}
	if (t.ActionURL != old.ActionURL || t.ActionSecret != old.ActionSecret) && !may(ctx, ScopeAdmin) {
		return t, huma.Error403Forbidden(outOfScope(ctx, ScopeAdmin) + ": it changes where events are sent, or what signs them")
	}
	return s.Store.UpdateTrigger(ctx, t)
}

func (s *server) deleteTrigger(ctx context.Context, in *ByID) (*struct{}, error) {
	if err := s.Store.DeleteTrigger(ctx, in.ID); err != nil {
		return nil, s.fail(err, "trigger")
	}
	return nil, s.reload(ctx)
}

// testTrigger also tests a trigger that is switched off: one is tested before
// it is switched on.
func (s *server) testTrigger(ctx context.Context, in *ByID) (*output[TriggerTestResult], error) {
	t, err := s.Store.Trigger(ctx, in.ID)
	if err != nil {
		return nil, s.fail(err, "trigger")
	}
	r, err := s.Worker.Test(ctx, t)
	if err != nil {
		return nil, s.fail(err, "trigger")
	}
	return &output[TriggerTestResult]{Body: TriggerTestResult{
		OK: r.Error == "", Status: r.Status, LatencyMS: r.Latency.Milliseconds(), Error: r.Error, Said: r.Said,
	}}, nil
}

// checkTarget says why nothing may be sent to the URL that f holds, if it holds
// one.
func (s *server) checkTarget(f TriggerFields) error {
	to := f.text("action_url")
	if to == "" || strings.Contains(to, trigger.Placeholder) {
		return nil
	}
	return s.CheckTarget(to)
}

// withoutShown is f without what is shown instead of old's secrets, which stay as
// they are.
func withoutShown(f TriggerFields, old trigger.Trigger) TriggerFields {
	f = maps.Clone(f)
	if f.text("action_secret") == trigger.Placeholder {
		delete(f, "action_secret")
	}
	if old.ActionURL != "" && f.text("action_url") == old.Shown().ActionURL {
		delete(f, "action_url")
	}
	return f
}

// checkURL refuses a new URL that is none, or one of which target says what is wrong
// with where it leads.
func checkURL(t, old trigger.Trigger, target error) error {
	switch {
	case t.ActionURL == old.ActionURL:
	case strings.Contains(t.ActionURL, trigger.Placeholder):
		return invalid("action_url", "holds "+trigger.Placeholder+", which is shown instead of what is secret; give the whole URL, or leave it out to keep it")
	case target != nil:
		return invalid("action_url", target.Error())
	}
	return nil
}
