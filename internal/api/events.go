package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/sse"

	"logscan/internal/store"
)

const (
	eventsPath     = "/api/events"
	streamPath     = "/api/events/stream"
	deliveriesPath = "/api/deliveries"

	defaultPage = 100
	// pingEvery is how often a quiet stream shows that it is alive.
	pingEvery = 15 * time.Second
	// streamBuffer is how many events may wait to be seen by a stream; they are
	// read from the store, so that a full buffer costs a query only.
	streamBuffer = 64
)

// Filter is shared by the list and the stream.
type Filter struct {
	Severity  string    `query:"severity" doc:"Any of these, comma-separated: info, warn, error" maxLength:"64"`
	Source    string    `query:"source" doc:"logscan or system" enum:"logscan,system"`
	Workload  string    `query:"workload" maxLength:"256"`
	Container string    `query:"container" doc:"Name, or the beginning of an id" maxLength:"256"`
	Rule      string    `query:"rule" doc:"Name of the rule" maxLength:"256"`
	RuleID    int64     `query:"rule_id" doc:"Id of the rule, whatever it was called then" minimum:"1"`
	Since     time.Time `query:"since" doc:"Created then or later"`
	Until     time.Time `query:"until" doc:"Created before then"`
}

type eventsInput struct {
	Filter
	After  int64 `query:"after" minimum:"1" doc:"Only events with a greater id: the oldest of those"`
	Before int64 `query:"before" minimum:"1" doc:"Only events with a lesser id: the newest of those"`
	Limit  int   `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

type streamInput struct {
	Filter
	LastEventID string `header:"Last-Event-ID" pattern:"^[0-9]{1,18}$" doc:"Go on after this event; without it the stream begins now"`
}

// Ping is sent when a stream opens, and when it has been quiet.
type Ping struct {
	LastID int64 `json:"last_id" doc:"What Last-Event-ID would be now"`
}

func (s *server) events(api huma.API) {
	huma.Register(api, operation(http.MethodGet, eventsPath, "list-events", "List events, oldest first; without after, the newest that match", 200, 422), s.listEvents)
	sse.Register(api, operation(http.MethodGet, streamPath, "stream-events", "Follow events as they come (server-sent events)", 200, 422),
		map[string]any{"message": Event{}, "ping": Ping{}}, s.streamEvents)
}

// Resolve checks what a schema can't say.
func (f *Filter) Resolve(huma.Context) []error {
	for _, v := range f.severities() {
		if !slices.Contains(severities, v) {
			return []error{&huma.ErrorDetail{Location: "query.severity", Message: "must be of " + strings.Join(severities, ", ")}}
		}
	}
	return nil
}

var severities = []string{"info", "warn", "error"}

func (f *Filter) severities() []string {
	return strings.FieldsFunc(f.Severity, func(r rune) bool { return r == ',' || r == ' ' })
}

// query turns the filter into the store's terms.
func (f *Filter) query() store.EventFilter {
	return store.EventFilter{
		Severities: f.severities(), Source: f.Source, Workload: f.Workload, Container: f.Container, Rule: f.Rule, RuleID: f.RuleID,
		Since: f.Since, Until: f.Until,
	}
}

func (s *server) listEvents(ctx context.Context, in *eventsInput) (*output[EventPage], error) {
	if in.After > 0 && in.Before > 0 {
		return nil, huma.Error422UnprocessableEntity("give either after or before, not both")
	}
	f := in.query()
	f.After, f.Before, f.Limit, f.Ascending = in.After, in.Before, in.Limit+1, in.After > 0
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

func eventOut(e store.Event) Event {
	out := Event{ID: e.ID, Source: e.Source, Severity: e.Severity, Message: e.Message, Metadata: e.Metadata, CreatedAt: e.CreatedAt.UTC()}
	if out.Metadata == nil {
		out.Metadata = map[string]any{}
	}
	return out
}

// streamEvents sends what the store has after the client's last event, and then
// what comes. A live event is only the sign to look: what is sent is read from
// the store in the order of ids, so that neither a slow client nor one that
// comes back misses or repeats anything.
func (s *server) streamEvents(ctx context.Context, in *streamInput, send sse.Sender) {
	put := func(m sse.Message) bool { return ctx.Err() == nil && send(m) == nil }
	live, cancel := s.Store.Subscribe(streamBuffer)
	defer func() { cancel() }()
	last, err := in.start(ctx, s.Store)
	if err != nil {
		s.Logger.Error("event stream", "err", err)
		return // the client comes back
	}
	// The first ping tells the client that it is heard, and from where on.
	if !put(sse.Message{Data: Ping{LastID: last}}) {
		return
	}
	f := in.query()
	f.Limit, f.Ascending = maxPage, true
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		more := true
		for more {
			f.After = last
			events, err := s.Store.Events(ctx, f)
			if err != nil {
				if ctx.Err() == nil {
					s.Logger.Error("event stream", "err", err)
				}
				return
			}
			for _, e := range events {
				if !put(sse.Message{ID: int(e.ID), Data: eventOut(e)}) {
					return
				}
				last = e.ID
			}
			more = len(events) == f.Limit
		}
		select {
		case <-ctx.Done():
			return
		case <-ping.C:
			if !put(sse.Message{Data: Ping{LastID: last}}) {
				return
			}
		case _, open := <-live:
			if !open { // it was full; everything is in the store
				cancel()
				live, cancel = s.Store.Subscribe(streamBuffer)
			}
		drain: // one query sees them all
			for {
				select {
				case _, open := <-live:
					if !open {
						break drain
					}
				default:
					break drain
				}
			}
		}
	}
}

// start is the id after which a stream begins.
func (in *streamInput) start(ctx context.Context, st *store.Store) (int64, error) {
	if in.LastEventID != "" {
		// The schema has checked that it is a number.
		return strconv.ParseInt(in.LastEventID, 10, 64)
	}
	newest, err := st.Events(ctx, store.EventFilter{Limit: 1})
	if err != nil || len(newest) == 0 {
		return 0, err
	}
	return newest[0].ID, nil
}
