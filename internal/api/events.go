package api

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/sse"

	"logscan/internal/event"
	"logscan/internal/rule"
	"logscan/internal/store"
)

const (
	eventsPath = "/api/events"
	streamPath = "/api/events/stream"
)

// Filter is shared by the list and the stream.
type Filter struct {
	Severity  string    `query:"severity" doc:"Any of these, comma-separated: info, warn, error, critical" maxLength:"64"`
	Source    string    `query:"source" doc:"logscan or system" enum:"logscan,system"`
	Workload  string    `query:"workload"`
	Container string    `query:"container" doc:"Name, or the beginning of an id" maxLength:"256"`
	Rule      string    `query:"rule" doc:"Name of the rule" maxLength:"256"`
	RuleID    int64     `query:"rule_id" doc:"Id of the rule, whatever it was called then" minimum:"1"`
	Incident  int64     `query:"incident" doc:"Id of the incident that it is part of" minimum:"1"`
	Since     time.Time `query:"since" doc:"Created then or later"`
	Until     time.Time `query:"until" doc:"Created before then"`
}

type eventsInput struct {
	Filter
	After  optional[int64] `query:"after" minimum:"0" doc:"Only events with a greater id: the oldest of those; 0 begins with the first there is"`
	Before int64           `query:"before" minimum:"1" doc:"Only events with a lesser id: the newest of those"`
	Limit  int             `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

// optional is a parameter of which it matters whether it was given.
type optional[T any] struct {
	value T
	given bool
}

// Schema describes the parameter as its value's type.
func (o optional[T]) Schema(r huma.Registry) *huma.Schema {
	return huma.SchemaFromType(r, reflect.TypeFor[T]())
}

// Receiver implements huma.ParamWrapper.
func (o *optional[T]) Receiver() reflect.Value { return reflect.ValueOf(&o.value).Elem() }

// OnParamSet implements huma.ParamReactor.
func (o *optional[T]) OnParamSet(given bool, _ any) { o.given = given }

func (s *server) events(api huma.API) {
	huma.Register(api, operation(http.MethodGet, eventsPath, "list-events", "List events, oldest first; without after, the newest that match", 200, 422), s.listEvents)
	huma.Register(api, operation(http.MethodGet, eventsPath+"/{id}", "get-event", "Show an event, with the lines around it", 200, 404), s.getEvent)
	sse.Register(api, operation(http.MethodGet, streamPath, "stream-events", "Follow events as they come (server-sent events)", 200, 422),
		map[string]any{"message": Event{}, "ping": Ping{}}, s.streamEvents)
}

// Resolve checks what a schema can't say.
func (f *Filter) Resolve(huma.Context) []error {
	if len(f.Workload) > rule.MaxWorkload {
		return []error{&huma.ErrorDetail{Location: "query.workload", Message: fmt.Sprintf("is %d bytes long; the most is %d", len(f.Workload), rule.MaxWorkload)}}
	}
	if _, err := event.ParseSeverities(f.Severity); err != nil {
		return []error{&huma.ErrorDetail{Location: "query.severity", Message: err.Error()}}
	}
	return nil
}

// query turns the filter into the store's terms.
func (f *Filter) query() store.EventFilter {
	return store.EventFilter{
		Severities: event.Split[event.Severity](f.Severity), Source: event.Source(f.Source), Workload: f.Workload, Container: f.Container, Rule: f.Rule, RuleID: f.RuleID, Incident: f.Incident,
		Since: f.Since, Until: f.Until,
	}
}

func (s *server) listEvents(ctx context.Context, in *eventsInput) (*output[EventPage], error) {
	if in.After.given && in.Before > 0 {
		return nil, huma.Error422UnprocessableEntity("give either after or before, not both")
	}
	f := in.query()
	f.After, f.Before, f.Limit, f.Ascending = in.After.value, in.Before, in.Limit+1, in.After.given
	events, err := s.Store.Events(ctx, f)
	if err != nil {
		return nil, s.fail(err, "event")
	}
	more := len(events) > in.Limit
	if more {
		events = events[:in.Limit]
	}
	if !f.Ascending {
		slices.Reverse(events)
	}
	out := &output[EventPage]{Body: EventPage{Items: make([]Event, len(events)), More: more}}
	for i, e := range events {
		out.Body.Items[i] = eventOut(e)
	}
	return out, nil
}

func (s *server) getEvent(ctx context.Context, in *ByID) (*output[EventDetails], error) {
	e, err := s.Store.Event(ctx, in.ID)
	if err != nil {
		return nil, s.fail(err, "event")
	}
	around, err := s.Store.Context(ctx, in.ID)
	if err != nil {
		return nil, s.fail(err, "event")
	}
	out := &output[EventDetails]{Body: EventDetails{Event: eventOut(e), Context: contextOut(around.Lines), Whole: around.Whole}}
	for n, l := range contextOut(around.Siblings) {
		out.Body.Siblings = append(out.Body.Siblings, SiblingLine{Container: around.Siblings[n].Container, ContextLine: l})
	}
	return out, nil
}

func contextOut(lines []event.ContextLine) []ContextLine {
	out := make([]ContextLine, len(lines))
	for n, l := range lines {
		out[n] = ContextLine{Time: l.Time.UTC(), Stream: l.Stream, Text: l.Text, Cut: l.Cut, Own: l.Own}
	}
	return out
}

func eventOut(e event.Event) Event {
	out := Event{ID: e.ID, Source: string(e.Source), Severity: string(e.Severity), Message: e.Message, Metadata: e.Metadata, CreatedAt: e.CreatedAt.UTC(), Incident: e.IncidentID}
	if out.Metadata == nil {
		out.Metadata = map[string]any{}
	}
	return out
}
