package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"logscan/internal/journal"
	"logscan/internal/trigger"
)

const (
	containersPath = "/api/containers"
	statsPath      = "/api/stats"
	healthPath     = "/healthz"

	// lossNews is how long a loss counts as something that is wrong now.
	lossNews = time.Hour
)

func (s *server) status(api huma.API) {
	huma.Register(api, operation(http.MethodGet, containersPath, "list-containers", "List containers whose logs are kept", 200), s.listContainers)
	huma.Register(api, operation(http.MethodGet, containersPath+"/{id}", "get-container", "Show a container whose log is kept, with its latest runs and their last lines", 200, 404, 503), s.getContainer)
	huma.Register(api, operation(http.MethodGet, statsPath, "get-stats", "Show counters", 200), s.getStats)
	huma.Register(api, operation(http.MethodGet, healthPath, "get-health", "Show whether all is well", 200), s.getHealth)
}

func (s *server) listContainers(context.Context, *struct{}) (*output[List[Container]], error) {
	return &output[List[Container]]{Body: List[Container]{Items: s.containers(s.Journals.List())}}, nil
}

func (s *server) containers(journals []journal.Info) []Container {
	lag, echoes := map[string]int64{}, map[string]int64{}
	if s.Scanner != nil {
		lag, echoes = s.Scanner.Lag(), s.Scanner.Echoes()
	}
	out := make([]Container, len(journals))
	for i, j := range journals {
		out[i] = Container{
			ID: j.ID, Name: j.Name, Image: j.Image, Workload: j.Workload,
			Running: j.Attached > 0, Scan: j.Scan, Bytes: j.Bytes, Lag: lag[j.ID], Echoes: echoes[j.ID],
			Started: j.Started.UTC(), Latest: j.Latest.UTC(),
		}
	}
	return out
}

func (s *server) getContainer(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"64"`
}) (*output[ContainerDetails], error) {
	journals := s.Journals.List()
	at := slices.IndexFunc(journals, func(j journal.Info) bool { return j.ID == in.ID })
	if at < 0 {
		return nil, huma.Error404NotFound("there is no log of such a container")
	}
	out := &output[ContainerDetails]{Body: ContainerDetails{Container: s.containers(journals[at : at+1])[0], Runs: []ContainerRun{}, Labels: s.Rules.Labels(journals[at].Container)}}
	said, err := s.Store.LastWords(ctx, in.ID)
	if err != nil {
		return nil, s.fail(err, "container")
	}
	words := map[int64][]ContextLine{}
	for _, w := range said {
		words[w.Run] = contextOut(w.Lines)
	}
	runs, goesOn, err := s.Journals.Runs(in.ID)
	if err != nil {
		return nil, huma.Error503ServiceUnavailable("its log can't be opened at present; the plugin's own log says why")
	}
	for n, r := range slices.Backward(runs) {
		run := ContainerRun{Started: r.Started.UTC(), LastWords: words[r.N]}
		if n+1 < len(runs) || !goesOn {
			run.Ended = r.Ended.UTC()
		}
		out.Body.Runs = append(out.Body.Runs, run)
	}
	return out, nil
}

func (s *server) getStats(ctx context.Context, _ *struct{}) (*output[Stats], error) {
	rules, err := s.Store.RuleCount(ctx)
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
		Rules: rules, LeftOut: len(s.Rules.LeftOut()), Lines: sc.Lines, Hits: sc.Hits,
		Suppressed: sc.Suppressed, Cooldown: sc.Cooldown, Bucket: sc.Bucket,
		GivenUp: sc.GivenUp, Truncated: sc.Overflow, Echoes: sc.Echoes, Malformed: sc.Malformed, Skipped: sc.Skipped, Waiting: sc.Waiting,
	}
	for _, n := range lag {
		st.Scan.Lag += n
	}
	out := s.Worker.Stats()
	st.Deliveries = DeliveryStats{
		Pending: counts[trigger.Pending], Delivered: counts[trigger.Delivered], Dead: counts[trigger.Dead],
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
	if !may(ctx, ScopeRead) {
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
