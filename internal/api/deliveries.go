package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"logscan/internal/store"
	"logscan/internal/trigger"
)

const deliveriesPath = "/api/deliveries"

func (s *server) deliveries(api huma.API) {
	huma.Register(api, operation(http.MethodGet, deliveriesPath, "list-deliveries", "List deliveries, the newest first", 200, 422), s.listDeliveries)
	huma.Register(api, operation(http.MethodPost, deliveriesPath+"/{id}/redeliver", "redeliver", "Send a delivery again, under its old id", 200, 404), s.redeliver)
	huma.Register(api, operation(http.MethodPost, triggersPath+"/{id}/redeliver", "redeliver-all", "Send all of a trigger's deliveries in a state again, under their old ids", 200, 404, 422), s.redeliverAll)
}

type deliveriesInput struct {
	State   string `query:"state" enum:"pending,delivered,dead"`
	Trigger int64  `query:"trigger" minimum:"1" doc:"Id of the trigger"`
	Event   int64  `query:"event" minimum:"1" doc:"Id of the event that they carry"`
	Before  string `query:"before" maxLength:"64" doc:"Only deliveries older than the one with this id"`
	Limit   int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

func (s *server) listDeliveries(ctx context.Context, in *deliveriesInput) (*output[List[Delivery]], error) {
	deliveries, err := s.Store.Deliveries(ctx, store.DeliveryFilter{
		State: trigger.State(in.State), TriggerID: in.Trigger, EventID: in.Event, Before: in.Before, Limit: in.Limit,
	})
	if err != nil {
		return nil, s.fail(err, "delivery")
	}
	out := &output[List[Delivery]]{Body: List[Delivery]{Items: make([]Delivery, len(deliveries))}}
	for i, d := range deliveries {
		out.Body.Items[i] = deliveryOut(d)
	}
	return out, nil
}

func deliveryOut(d trigger.Delivery) Delivery {
	return Delivery{
		ID: d.ID, EventID: d.EventID, IncidentID: d.IncidentID, TriggerID: d.TriggerID, State: string(d.State), Attempts: d.Attempts,
		TriedAt: d.TriedAt.UTC(), NextAt: d.NextAt.UTC(), LastStatus: d.LastStatus, LastError: d.LastError, CreatedAt: d.CreatedAt.UTC(),
	}
}

func (s *server) redeliver(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"64"`
}) (*output[Delivery], error) {
	d, err := s.Store.Redeliver(ctx, in.ID)
	if err != nil {
		return nil, s.fail(err, "delivery")
	}
	return &output[Delivery]{Body: deliveryOut(d)}, nil
}

func (s *server) redeliverAll(ctx context.Context, in *struct {
	ByID
	State string `query:"state" enum:"delivered,dead" default:"dead"`
}) (*output[Redelivered], error) {
	n, err := s.Store.RedeliverAll(ctx, in.ID, trigger.State(in.State))
	if err != nil {
		return nil, s.fail(err, "trigger")
	}
	return &output[Redelivered]{Body: Redelivered{Redelivered: n}}, nil
}
