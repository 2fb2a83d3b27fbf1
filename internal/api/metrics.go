package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"logscan/internal/journal"
)

const (
	metricsPath = "/metrics"
	// containerSeries is how many containers have series of their own; what is
	// beyond is summed up under otherContainers, which no container can be
	// called.
	containerSeries = 100
	otherContainers = "_other"
	// scrapeTime bounds what a scrape asks of the database.
	scrapeTime = 5 * time.Second
)

func (s *server) metrics(api huma.API) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collector{s}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	h := promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4})
	op := operation(http.MethodGet, metricsPath, "get-metrics", "Show counters for Prometheus", 200, 503)
	op.Responses = map[string]*huma.Response{"200": {
		Description: "Prometheus' text format", Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: "string"}}},
	}}
	huma.Register(api, op, func(context.Context, *struct{}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			h.ServeHTTP(w, r)
		}}, nil
	})
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("logscan_"+name, help, labels, nil)
}

var (
	descBuild        = desc("build_info", "The version that runs; always 1.", "version")
	descRestarts     = desc("worker_restarts_total", "Worker processes that ended and were replaced, since the Engine started the plugin.")
	descAttachments  = desc("attachments", "Containers attached now.")
	descBytes        = desc("ingested_bytes_total", "Bytes taken in from containers.")
	descRetries      = desc("ingest_retries_total", "Writes to logs that had to be repeated.")
	descContainers   = desc("containers", "Containers whose logs are kept.")
	descJournal      = desc("journal_bytes", "Bytes of logs on disk.")
	descLosses       = desc("losses_total", "How often something could not be kept, by reason.", "reason")
	descLostBytes    = desc("lost_bytes_total", "Bytes that could not be kept, by reason.", "reason")
	descLines        = desc("lines_total", "Lines checked.")
	descHits         = desc("hits_total", "Matches that became events.")
	descSuppressed   = desc("suppressed_total", "Matches held back, by reason.", "reason")
	descGivenUp      = desc("given_up_total", "Lines that a rule gave up because checking them takes too much work, times rules.")
	descUnconfirmed  = desc("unconfirmed_matches_total", "Matches that a second look denies: a defect of logscan.")
	descTruncated    = desc("truncated_lines_total", "Lines too long to be checked beyond their beginning.")
	descMalformed    = desc("malformed_entries_total", "Entries that could not be read.")
	descSkipped      = desc("skipped_bytes_total", "Bytes of log that were gone before any rule saw them.")
	descWaiting      = desc("events_waiting", "Events not stored yet.")
	descLag          = desc("lag_bytes", "Bytes of log that no rule has seen yet.")
	descContainerLag = desc("container_lag_bytes", "Bytes of a container's log that no rule has seen yet. At most 100 containers have a series, running ones first; the others are summed up under "+otherContainers+".", "container_id", "container_name")
	descLeftOut      = desc("rules_left_out", "Rules that are enabled and can't be used.")
	descOutcomes     = desc("delivery_attempts_total", "Attempts to deliver that came to an end, by outcome: delivered, retried (to be repeated), dead (given up).", "outcome")
	descDeliveries   = desc("deliveries", "Deliveries there are now, by state.", "state")
	descDegraded     = desc("degraded", "How many things are wrong, by reason.", "reason")
)

// collector reads the counters when they are asked for.
type collector struct{ s *server }

func (collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descBuild, descRestarts, descAttachments, descBytes, descRetries, descContainers, descJournal, descLosses, descLostBytes,
		descLines, descHits, descSuppressed, descGivenUp, descUnconfirmed, descTruncated, descMalformed, descSkipped, descWaiting, descLag, descContainerLag,
		descLeftOut, descOutcomes, descDeliveries, descDegraded,
	} {
		out <- d
	}
}

func (c collector) Collect(out chan<- prometheus.Metric) {
	s := c.s
	counter := func(d *prometheus.Desc, n int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, n int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	gauge(descBuild, 1, s.Version)
	counter(descRestarts, int64(s.Process.Restarts))
	in := s.Ingest.Stats()
	gauge(descAttachments, int64(in.Attachments))
	counter(descBytes, in.Bytes)
	counter(descRetries, in.Failures)
	journals := s.Journals.List()
	var bytes int64
	for _, j := range journals {
		bytes += j.Bytes
	}
	gauge(descContainers, int64(len(journals)))
	gauge(descJournal, bytes)
	losses := s.Journals.Losses()
	for _, reason := range []string{"torn", "corrupt", "unscanned", "budget", "full", "dropped"} { // from the start, so that rates see the first
		counter(descLosses, losses[reason].Times, reason)
		counter(descLostBytes, losses[reason].Bytes, reason)
	}
	wrong := map[string]int64{"database": 0, "settings": 0, "rules": 0, "triggers": 0, "losses": 0}
	for _, r := range s.reasons() {
		wrong[r.Reason]++
	}
	for reason, n := range wrong {
		gauge(descDegraded, n, reason)
	}
	if s.Store == nil {
		return // the rest comes with the database
	}

	sc := s.Scanner.Stats()
	counter(descLines, sc.Lines)
	counter(descHits, sc.Hits)
	counter(descSuppressed, sc.Cooldown, "cooldown")
	counter(descSuppressed, sc.Bucket, "bucket")
	counter(descGivenUp, sc.GivenUp)
	counter(descUnconfirmed, sc.Unconfirmed)
	counter(descTruncated, sc.Overflow)
	counter(descMalformed, sc.Malformed)
	counter(descSkipped, sc.Skipped)
	gauge(descWaiting, int64(sc.Waiting))
	gauge(descLeftOut, int64(len(s.Rules.LeftOut())))
	lag := s.Scanner.Lag()
	var total, rest int64
	own, more := seriesFor(journals, lag)
	for _, n := range lag {
		total += n
	}
	for _, j := range own {
		gauge(descContainerLag, lag[j.ID], short(j.ID), strings.ToValidUTF8(j.Name, "\uFFFD"))
	}
	for _, j := range more {
		rest += lag[j.ID]
	}
	if len(more) > 0 {
		gauge(descContainerLag, rest, "", otherContainers)
	}
	gauge(descLag, total)

	w := s.Worker.Stats()
	counter(descOutcomes, w.Delivered, "delivered")
	counter(descOutcomes, w.Failed, "retried")
	counter(descOutcomes, w.Dead, "dead")
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	counts, err := s.Store.DeliveryCounts(ctx)
	if err != nil {
		s.Logger.Error("metrics", "err", err)
		return
	}
	for state, n := range counts {
		gauge(descDeliveries, n, string(state))
	}
}

// seriesFor divides the containers that have something to show: those with
// series of their own, which keep them as long as they run and no older one
// does, and the rest.
func seriesFor(journals []journal.Info, lag map[string]int64) (own, rest []journal.Info) {
	own = slices.DeleteFunc(slices.Clone(journals), func(j journal.Info) bool {
		return !j.Scan || j.Attached == 0 && lag[j.ID] == 0
	})
	slices.SortFunc(own, func(a, b journal.Info) int {
		return cmp.Or(cmp.Compare(min(b.Attached, 1), min(a.Attached, 1)), a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID))
	})
	n := min(len(own), containerSeries)
	return own[:n], own[n:]
}

// short is an id as docker shows it; the whole of one that isn't docker's.
func short(id string) string {
	if len(id) == 64 {
		return id[:12]
	}
	return id
}
