package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"logscan/internal/rule"
	"logscan/internal/store"
)

const (
	triggersPath = "/api/event-triggers"

	maxName   = 128
	maxURL    = 2048
	maxSecret = 4096
)

func (s *server) triggers(api huma.API) {
	huma.Register(api, operation(http.MethodGet, triggersPath, "list-triggers", "List triggers", 200), s.listTriggers)
	huma.Register(api, operation(http.MethodPost, triggersPath, "create-trigger", "Add a trigger", 201, 409, 413, 422), s.createTrigger)
	huma.Register(api, operation(http.MethodGet, triggersPath+"/{id}", "get-trigger", "Show a trigger", 200, 404), s.getTrigger)
	huma.Register(api, operation(http.MethodPatch, triggersPath+"/{id}", "update-trigger", "Change a trigger", 200, 404, 409, 413, 422), s.updateTrigger)
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
		out.Body.Items[i] = triggerOut(t)
	}
	return out, nil
}

func (s *server) getTrigger(ctx context.Context, in *ByID) (*output[Trigger], error) {
	t, err := s.Store.Trigger(ctx, in.ID)
	if err != nil {
		return nil, s.fail(err, "trigger")
	}
	return &output[Trigger]{Body: triggerOut(t)}, nil
}

func (s *server) createTrigger(ctx context.Context, in *struct{ Body TriggerCreate }) (*created[Trigger], error) {
	f := in.Body.TriggerFields
	f.Name, f.ActionURL = Set(in.Body.Name), Set(in.Body.ActionURL)
	t := store.Trigger{Enabled: true}
	if err := s.applyTrigger(f, &t); err != nil {
		return nil, err
	}
	t, err := s.Store.CreateTrigger(ctx, t)
	if err != nil {
		return nil, s.fail(err, "trigger")
	}
	if err := s.reload(ctx); err != nil {
		return nil, err
	}
	return &created[Trigger]{Location: fmt.Sprintf("%s/%d", triggersPath, t.ID), Body: triggerOut(t)}, nil
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
	return &output[Trigger]{Body: triggerOut(t)}, nil
}

func (s *server) changeTrigger(ctx context.Context, id int64, f TriggerFields) (store.Trigger, error) {
	s.change.Lock()
	defer s.change.Unlock()
	t, err := s.Store.Trigger(ctx, id)
	if err != nil {
		return t, err
	}
	if err := s.applyTrigger(f, &t); err != nil {
		return t, err
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
		OK: r.Error == "", Status: r.Status, LatencyMS: r.Latency.Milliseconds(), Error: r.Error,
	}}, nil
}

func triggerOut(t store.Trigger) Trigger {
	out := Trigger{
		ID: t.ID, Name: t.Name, Enabled: t.Enabled,
		Severities: t.Severities, Sources: t.Sources, MessageRegex: t.MessageRegex,
		ActionURL: redact(t.ActionURL),
		CreatedAt: t.CreatedAt.UTC(), UpdatedAt: t.UpdatedAt.UTC(),
	}
	if t.ActionSecret != "" {
		out.ActionSecret = Placeholder
	}
	return out
}

// redact takes the password out of a URL.
func redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.User == nil {
		return raw
	}
	return u.Redacted()
}

// applyTrigger changes t as f says and checks the whole.
func (s *server) applyTrigger(f TriggerFields, t *store.Trigger) error {
	if f.Name.Null {
		return invalid("name", "can't be null")
	}
	if f.ActionURL.Null {
		return invalid("action_url", "can't be null")
	}
	old := *t
	f.Name.into(&t.Name, "")
	f.Enabled.into(&t.Enabled, true)
	f.Severities.into(&t.Severities, "")
	f.Sources.into(&t.Sources, "")
	f.MessageRegex.into(&t.MessageRegex, "")
	f.ActionURL.into(&t.ActionURL, "")
	f.ActionSecret.into(&t.ActionSecret, "")
	if t.ActionSecret == Placeholder {
		t.ActionSecret = old.ActionSecret
	}
	if f.ActionURL.Set && f.ActionURL.Value == redact(old.ActionURL) {
		t.ActionURL = old.ActionURL
	}
	var err error
	switch {
	case t.Name == "":
		return invalid("name", "is required")
	case len(t.Name) > maxName:
		return invalid("name", fmt.Sprintf("is longer than %d bytes", maxName))
	case len(t.ActionURL) > maxURL:
		return invalid("action_url", fmt.Sprintf("is longer than %d bytes", maxURL))
	case len(t.ActionSecret) > maxSecret:
		return invalid("action_secret", fmt.Sprintf("is longer than %d bytes", maxSecret))
	}
	if t.Severities, err = choices("severities", t.Severities, severities); err != nil {
		return err
	}
	if t.Sources, err = choices("sources", t.Sources, []string{"logscan", "system"}); err != nil {
		return err
	}
	if t.MessageRegex != "" {
		if err := rule.CheckPattern(t.MessageRegex); err != nil {
			return invalid("message_regex", err.Error())
		}
	}
	if t.ActionURL != old.ActionURL || t.ActionURL == "" {
		if t.ActionURL == "" {
			return invalid("action_url", "is required")
		}
		if err := s.CheckTarget(t.ActionURL); err != nil {
			return invalid("action_url", err.Error())
		}
	}
	return nil
}

// choices checks a comma-separated list and gives it its plain form.
func choices(field, csv string, known []string) (string, error) {
	var out []string
	for v := range strings.SplitSeq(csv, ",") {
		switch v = strings.TrimSpace(v); {
		case v == "", slices.Contains(out, v):
		case !slices.Contains(known, v):
			return "", invalid(field, fmt.Sprintf("%q is not one of %s", shown(v), strings.Join(known, ", ")))
		default:
			out = append(out, v)
		}
	}
	return strings.Join(out, ","), nil
}

// shown bounds what an answer repeats of a request.
func shown(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}
