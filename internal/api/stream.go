package api

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2/sse"

	"logscan/internal/event"
	"logscan/internal/store"
)

const (
	// pingEvery is how often a quiet stream shows that it is alive.
	pingEvery = 15 * time.Second
	// streamBuffer is how many events may wait to be looked at by a stream. One
	// that lets more wait reads them from the store.
	streamBuffer = 64
)

// eventLog is the part of the store that streams read. Safe concurrently; what
// Subscribe's channel gives begins no later than its return.
type eventLog interface {
	Events(context.Context, store.EventFilter) ([]event.Event, error)
	LastEventID(context.Context) (int64, error)
	Subscribe(buf int) (<-chan event.Event, func())
}

type streamInput struct {
	Filter
	LastEventID string `header:"Last-Event-ID" pattern:"^[0-9]{1,18}$" doc:"Go on after this event, 0 for all there are; without it the stream begins now"`
}

// Ping is sent when a stream opens, when it has been quiet, and when it has
// passed over events that are not for it.
type Ping struct {
	LastID int64 `json:"last_id" doc:"What Last-Event-ID would be now: the latest event that was looked at"`
}

// errTokenRemoved ends a stream whose token is good no more.
var errTokenRemoved = errors.New("the token was removed")

func (s *server) streamEvents(ctx context.Context, in *streamInput, send sse.Sender) {
	err := runStream(ctx, s.Store, in, func(m sse.Message) error {
		if !s.Tokens.stand(ctx) {
			return errTokenRemoved
		}
		return send(m)
	})
	if ctx.Err() == nil && !errors.Is(err, errTokenRemoved) {
		s.Logger.Error("event stream", "err", err) // the client comes back
	}
}

// stream sends the events that its filter selects, each once, in the order of
// ids. It reads the store up to where it began to listen; what is published from
// then on it filters itself.
type stream struct {
	log    eventLog
	filter store.EventFilter
	send   func(sse.Message) error
	last   int64 // the latest event that was looked at
	told   int64 // what the client would come back with
}

// runStream returns when ctx ends, or the client or the log fails.
func runStream(ctx context.Context, log eventLog, in *streamInput, send func(sse.Message) error) error {
	s := &stream{log: log, filter: in.query(), send: send}
	s.filter.Ascending, s.filter.Limit = true, maxPage
	if err := s.begin(ctx, in.LastEventID); err != nil {
		return err
	}
	for {
		live, cancel := log.Subscribe(streamBuffer)
		err := s.catchUp(ctx)
		if err == nil {
			err = s.follow(ctx, live)
		}
		cancel()
		if err != nil {
			return err
		}
	}
}

// begin tells the client that it is heard, and from where on.
func (s *stream) begin(ctx context.Context, lastEventID string) (err error) {
	if lastEventID == "" {
		s.last, err = s.log.LastEventID(ctx)
	} else { // the schema has checked that it is a number
		s.last, err = strconv.ParseInt(lastEventID, 10, 64)
	}
	if err != nil {
		return err
	}
	return s.ping()
}

// ping tells the client how far the stream has come.
func (s *stream) ping() error {
	s.told = s.last
	return s.send(sse.Message{Data: Ping{LastID: s.last}})
}

func (s *stream) event(e event.Event) error {
	s.last, s.told = e.ID, e.ID
	return s.send(sse.Message{ID: int(e.ID), Data: eventOut(e)})
}

// catchUp sends what is stored. Only events that came before the call are read,
// so that each is looked at once, here or in follow.
func (s *stream) catchUp(ctx context.Context) error {
	end, err := s.log.LastEventID(ctx)
	if err != nil {
		return err
	}
	for s.last < end {
		f := s.filter
		f.After, f.Before = s.last, end+1
		events, err := s.log.Events(ctx, f)
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := s.event(e); err != nil {
				return err
			}
		}
		if len(events) < f.Limit {
			s.last = end
		}
	}
	if s.told < s.last {
		return s.ping()
	}
	return nil
}

// follow sends what is published until live ends, which it does when more
// events waited than it holds.
func (s *stream) follow(ctx context.Context, live <-chan event.Event) error {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ping.C:
			err = s.ping()
		case e, open := <-live:
			switch {
			case !open:
				return nil
			case e.ID <= s.last: // read from the store already
			case s.filter.Matches(e):
				err = s.event(e)
			default:
				s.last = e.ID
			}
		}
		if err != nil {
			return err
		}
	}
}
