package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"logscan/internal/store"
)

const (
	containersPath = "/api/containers"
	statsPath      = "/api/stats"
	healthPath     = "/healthz"
)

func (s *server) status(api huma.API) {
	huma.Register(api, operation(http.MethodGet, deliveriesPath, "list-deliveries", "List deliveries, the newest first", 200, 422), s.listDeliveries)
	huma.Register(api, operation(http.MethodPost, deliveriesPath+"/{id}/redeliver", "redeliver", "Send a delivery again, under its old id", 200, 404), s.redeliver)
	huma.Register(api, operation(http.MethodGet, containersPath, "list-containers", "List containers whose logs are kept", 200), s.listContainers)
	huma.Register(api, operation(http.MethodGet, statsPath, "get-stats", "Show counters", 200), s.getStats)
	huma.Register(api, operation(http.MethodGet, healthPath, "get-health", "Show whether logscan answers", 200), s.getHealth)
}

type deliveriesInput struct {
	State string `query:"state" enum:"pending,delivered,dead"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

func (s *server) listDeliveries(ctx context.Context, in *deliveriesInput) (*output[List[Delivery]], error) {
	deliveries, err := s.Store.Deliveries(ctx, in.State, in.Limit)
	if err != nil {
		return nil, s.fail(err, "delivery")
	}
	out := &output[List[Delivery]]{Body: List[Delivery]{Items: make([]Delivery, len(deliveries))}}
	for i, d := range deliveries {
		out.Body.Items[i] = deliveryOut(d)
	}
	return out, nil
}

func deliveryOut(d store.Delivery) Delivery {
	return Delivery{
		ID: d.ID, EventID: d.EventID, TriggerID: d.TriggerID, State: d.State, Attempts: d.Attempts,
		NextAt: d.NextAt.UTC(), LastStatus: d.LastStatus, LastError: d.LastError, CreatedAt: d.CreatedAt.UTC(),
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

func (s *server) listContainers(context.Context, *struct{}) (*output[List[Container]], error) {
	journals, lag := s.Journals.List(), s.Scanner.Lag()
	out := &output[List[Container]]{Body: List[Container]{Items: make([]Container, len(journals))}}
	for i, j := range journals {
		out.Body.Items[i] = Container{
			ID: j.ID, Name: j.Name, Image: j.Image, Workload: j.Workload,
			Running: j.Attached > 0, Scan: j.Scan, Bytes: j.Bytes, Lag: lag[j.ID],
			Started: j.Started.UTC(), Latest: j.Latest.UTC(),
		}
	}
	return out, nil
}

func (s *server) getStats(ctx context.Context, _ *struct{}) (*output[Stats], error) {
	rules, err := s.Store.Rules(ctx)
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	counts, err := s.Store.DeliveryCounts(ctx)
	if err != nil {
		return nil, s.fail(err, "delivery")
	}
	st := Stats{Version: s.Version, Started: s.started.UTC()}
	in := s.Ingest.Stats()
	st.Ingest = IngestStats{Attachments: in.Attachments, Bytes: in.Bytes, Retries: in.Failures}
	st.Journal.Losses = s.Journals.Losses()
	for _, j := range s.Journals.List() {
		st.Journal.Containers++
		st.Journal.Bytes += j.Bytes
	}
	lag := s.Scanner.Lag() // before what waits: a line is in the one or the other until its hits are stored
	sc := s.Scanner.Stats()
	st.Scan = ScanStats{Rules: len(rules), Lines: sc.Lines, Hits: sc.Hits, Suppressed: sc.Suppressed, Truncated: sc.Overflow, Echoes: sc.Echoes, Waiting: sc.Waiting}
	for _, n := range lag {
		st.Scan.Lag += n
	}
	st.Deliveries = DeliveryStats{Pending: counts[store.Pending], Delivered: counts[store.Delivered], Dead: counts[store.Dead]}
	return &output[Stats]{Body: st}, nil
}

func (s *server) getHealth(context.Context, *struct{}) (*output[Health], error) {
	return &output[Health]{Body: Health{Status: "ok", Version: s.Version}}, nil
}
