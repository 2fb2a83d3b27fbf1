package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"logscan/internal/store"
)

const (
	containersPath = "/api/containers"
	statsPath      = "/api/stats"
	healthPath     = "/healthz"
	tokenPath      = "/api/token"

	// lossNews is how long a loss counts as something that is wrong now.
	lossNews = time.Hour
)

func (s *server) status(api huma.API) {
	huma.Register(api, operation(http.MethodGet, deliveriesPath, "list-deliveries", "List deliveries, the newest first", 200, 422), s.listDeliveries)
	huma.Register(api, operation(http.MethodPost, deliveriesPath+"/{id}/redeliver", "redeliver", "Send a delivery again, under its old id", 200, 404), s.redeliver)
	huma.Register(api, operation(http.MethodGet, containersPath, "list-containers", "List containers whose logs are kept", 200), s.listContainers)
	huma.Register(api, operation(http.MethodGet, statsPath, "get-stats", "Show counters", 200), s.getStats)
	huma.Register(api, operation(http.MethodGet, healthPath, "get-health", "Show whether all is well", 200), s.getHealth)
	huma.Register(api, operation(http.MethodGet, tokenPath, "get-token", "Show the token of the TCP listener; over the unix socket only", 200, 404, 409), s.getToken)
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
	journals, lag := s.Journals.List(), map[string]int64{}
	if s.Scanner != nil {
		lag = s.Scanner.Lag()
	}
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
	st := Stats{Version: s.Version, Started: s.Started.UTC(), Problems: s.reasons()}
	last := s.Process.Last()
	st.Worker = WorkerStats{Restarts: s.Process.Restarts, InARow: s.Process.InARow, LastExit: last.Why, LastAt: last.At.UTC()}
	in := s.Ingest.Stats()
	st.Ingest = IngestStats{Attachments: in.Attachments, Bytes: in.Bytes, Retries: in.Failures}
	for _, j := range s.Journals.List() {
		st.Journal.Containers++
		st.Journal.Bytes += j.Bytes
	}
	st.Journal.ByReason = map[string]Loss{}
	for reason, l := range s.Journals.Losses() {
		st.Journal.Losses += l.Times
		st.Journal.ByReason[reason] = Loss{Times: l.Times, Bytes: l.Bytes, Entries: l.Frames}
	}
	lag := s.Scanner.Lag() // before what waits: a line is in the one or the other until its hits are stored
	sc := s.Scanner.Stats()
	st.Scan = ScanStats{
		Rules: len(rules), LeftOut: len(s.Rules.LeftOut()), Lines: sc.Lines, Hits: sc.Hits,
		Suppressed: sc.Suppressed, Cooldown: sc.Cooldown, Bucket: sc.Bucket,
		Truncated: sc.Overflow, Echoes: sc.Echoes, Malformed: sc.Malformed, Skipped: sc.Skipped, Waiting: sc.Waiting,
	}
	for _, n := range lag {
		st.Scan.Lag += n
	}
	out := s.Worker.Stats()
	st.Deliveries = DeliveryStats{
		Pending: counts[store.Pending], Delivered: counts[store.Delivered], Dead: counts[store.Dead],
		Outcomes: DeliveryOutcomes{Delivered: out.Delivered, Retried: out.Failed, Dead: out.Dead},
	}
	return &output[Stats]{Body: st}, nil
}

// getHealth answers 200 also where something is wrong: whoever restarts what
// doesn't answer 200 would help nobody, since lines are carried all the same.
func (s *server) getHealth(ctx context.Context, _ *struct{}) (*output[Health], error) {
	h := Health{Status: "ok", Version: s.Version, Reasons: s.reasons()}
	if len(h.Reasons) > 0 {
		h.Status = "degraded"
	}
	if anonymous(ctx) {
		h.Version = ""
		for i := range h.Reasons {
			h.Reasons[i].Detail = ""
		}
	}
	return &output[Health]{Body: h}, nil
}

// reasons are what is wrong now.
func (s *server) reasons() []Reason {
	out := append([]Reason{}, s.Degraded()...)
	losses := s.Journals.Losses()
	for _, reason := range slices.Sorted(maps.Keys(losses)) {
		// What the disk budget removes is removed because somebody said so.
		if l := losses[reason]; reason != "budget" && time.Since(l.Latest) < lossNews {
			out = append(out, Reason{"losses", fmt.Sprintf("%s: %d since the start, %d bytes, the latest at %s; events tell of which containers",
				reason, l.Times, l.Bytes, l.Latest.UTC().Format(time.RFC3339))})
		}
	}
	return out
}

func (s *server) getToken(ctx context.Context, _ *struct{}) (*output[Token], error) {
	if overTCP(ctx) || s.Token == nil {
		return nil, huma.Error404NotFound("the token is told over the unix socket only")
	}
	t, ok := s.Token()
	if !ok {
		return nil, huma.Error409Conflict("the API doesn't listen on TCP: the setting LOGSCAN_LISTEN (HOST:PORT) is not set")
	}
	return &output[Token]{Body: t}, nil
}
