package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"logscan/internal/ingest"
	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/scan"
	"logscan/internal/store"
	"logscan/internal/supervisor"
	"logscan/internal/trigger"
)

// Bounds of what comes in and goes out.
const (
	maxBody     = 64 << 10 // of a request, but for rule tests
	maxTestBody = 2 << 20
	maxPage     = 1000
)

// Ingest is what the API shows of the FIFOs. Safe concurrently; does not block.
type Ingest interface {
	Attachments() []ingest.Attachment
	Stats() ingest.Stats
}

// Journals is what the API shows of the logs. Safe concurrently; reads
// directories.
type Journals interface {
	List() []journal.Info
	Losses() map[string]journal.LossCount
}

// Scanner is what the API shows of the scanning. Safe concurrently; does not
// block.
type Scanner interface {
	Stats() scan.Stats
	Lag() map[string]int64            // bytes no rule has seen yet, by container
	RuleStats() map[int64]rule.Counts // by rule
}

// Rules are the live ones. Safe concurrently; does not block.
type Rules interface {
	Effective(workload string) []rule.Rule
	LeftOut() []rule.CompileError // enabled, but not in use
}

// Worker delivers. Safe concurrently; Test takes as long as the receiver, within
// the bound of an attempt.
type Worker interface {
	Test(context.Context, store.Trigger) (trigger.TestResult, error)
	Stats() trigger.Stats
}

// Config is what an API needs. Where the database isn't open yet, Store,
// Scanner, Rules, Worker and Reload are nil: what needs them is answered with
// 503. Token, Degraded, Started and Logger may be left out.
type Config struct {
	Store       *store.Store
	Scanner     Scanner
	Rules       Rules
	Worker      Worker
	Ingest      Ingest
	Journals    Journals
	Reload      func(context.Context) error // makes the stored rules and triggers live before it returns
	CheckTarget func(url string) error      // says whether a trigger may send there
	Token       func() (Token, bool)        // of the TCP listener; false if there is none
	Degraded    func() []Reason             // what is wrong; losses are seen here
	Process     supervisor.Status           // what became of the worker processes before this one
	Version     string
	Started     time.Time
	Logger      *slog.Logger
}

// server holds the handlers.
type server struct {
	Config
	// change is held from reading a rule or trigger until what was made of it
	// is stored, so that two PATCHes don't undo each other. Making it live needs
	// no lock: the last to reload sees all that is stored.
	change sync.Mutex
}

// New returns the handler of the whole API.
func New(cfg Config) http.Handler {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Started.IsZero() {
		cfg.Started = time.Now()
	}
	if cfg.Degraded == nil {
		cfg.Degraded = func() []Reason { return nil }
	}
	s := &server{Config: cfg}
	mux := http.NewServeMux()
	hc := huma.DefaultConfig("logscan", cfg.Version)
	hc.Info.Description = "Rules over container logs, the events they make, and the triggers that send them on."
	hc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", Description: "Over TCP, for all but " + healthPath + ". The unix socket needs none."},
	}
	hc.Security = []map[string][]string{{"token": {}}, {}}
	hc.DocsPath = ""     // its page loads scripts from elsewhere
	hc.CreateHooks = nil // no $schema members and Link headers
	hc.NoFormatFallback = false
	hc.RejectUnknownQueryParameters = true
	hc.Transformers = []huma.Transformer{explain(hc.Components.Schemas)}
	api := humago.New(mux, hc)
	if cfg.Store == nil {
		api.UseMiddleware(s.waiting(api))
	}
	s.rules(api)
	s.triggers(api)
	s.events(api)
	s.workloads(api)
	s.status(api)
	s.metrics(api)
	return problems(mux)
}

// alone are the operations that are possible without the database.
var alone = map[string]bool{"get-health": true, "get-metrics": true, "get-token": true, "list-containers": true}

// waiting refuses what needs the database while it isn't open.
func (s *server) waiting(api huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		if alone[ctx.Operation().OperationID] {
			next(ctx)
			return
		}
		ctx.SetHeader("Retry-After", "5")
		// The connection's client is the one to say so if this fails.
		_ = huma.WriteErr(api, ctx, http.StatusServiceUnavailable, "the database is not open yet; lines are kept meanwhile and checked once it is ("+healthPath+" tells what keeps it)")
	}
}

// operation fills in what all operations share.
func operation(method, path, id, summary string, status int, errs ...int) huma.Operation {
	if !alone[id] {
		errs = append(errs, http.StatusServiceUnavailable)
	}
	return huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary,
		DefaultStatus: status, MaxBodyBytes: maxBody, Errors: errs,
	}
}

// ByID is the input of operations on one rule or trigger.
type ByID struct {
	ID int64 `path:"id" minimum:"1"`
}

// output is a plain answer.
type output[T any] struct {
	Body T
}

// created is the answer to a POST.
type created[T any] struct {
	Location string `header:"Location"`
	Body     T
}

// reload makes a change live.
func (s *server) reload(ctx context.Context) error {
	// The change is stored: that the client has left must not keep it from
	// being live.
	if err := s.Reload(context.WithoutCancel(ctx)); err != nil {
		s.Logger.Error("change stored but not live", "err", err)
		return huma.Error500InternalServerError("the change is stored but not live yet; it will be at the next change or restart (see the plugin's log)")
	}
	return nil
}

// fail turns an error of the store into an answer; what it doesn't know is
// logged and hidden.
func (s *server) fail(err error, what string) error {
	var se huma.StatusError
	switch {
	case errors.As(err, &se):
		return err
	case errors.Is(err, store.ErrNotFound):
		return huma.Error404NotFound("no such " + what)
	case errors.Is(err, context.Canceled):
		return huma.NewError(499, "the client has gone")
	}
	if e := fieldProblem(err); e != nil {
		return e
	}
	s.Logger.Error("api", "what", what, "err", err)
	return huma.Error500InternalServerError("something went wrong inside logscan; its log says more")
}

// invalid refuses one field of a body.
func invalid(field, reason string) error {
	return huma.Error422UnprocessableEntity(field+": "+reason, &huma.ErrorDetail{Location: "body." + field, Message: reason})
}

// problems gives the router's own refusals (no such path, no such method) the
// shape of all others.
func problems(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = slashes(r)
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		rec := &refusal{header: http.Header{}}
		h.ServeHTTP(rec, r)
		if allow := rec.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
		}
		if loc := rec.header.Get("Location"); loc != "" {
			w.Header().Set("Location", loc)
			w.WriteHeader(rec.status)
			return
		}
		detail := "no such path; /openapi.json lists them"
		if rec.status == http.StatusMethodNotAllowed {
			detail = r.Method + " is not possible here; allowed: " + rec.header.Get("Allow")
		}
		refuse(w, rec.status, detail)
	})
}

// refuse answers with a problem document where no operation is concerned.
func refuse(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(huma.NewError(status, detail))
}

// refusal keeps the status of an answer and drops its text.
type refusal struct {
	header http.Header
	status int
}

func (r *refusal) Header() http.Header         { return r.header }
func (r *refusal) Write(b []byte) (int, error) { return len(b), nil }
func (r *refusal) WriteHeader(status int)      { r.status = status }
