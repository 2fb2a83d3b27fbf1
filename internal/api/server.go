package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"logscan/internal/action"
	"logscan/internal/fields"
	"logscan/internal/ingest"
	"logscan/internal/journal"
	"logscan/internal/query"
	"logscan/internal/redact"
	"logscan/internal/rule"
	"logscan/internal/scan"
	"logscan/internal/store"
	"logscan/internal/suggestion"
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
	Attachments() []ingest.FIFOStatus
	Stats() ingest.Stats
}

// Journals is what the API shows of the logs. Safe concurrently; reads
// directories.
type Journals interface {
	List() []journal.Info
	Runs(id string) (runs []journal.Run, goesOn bool, err error) // the latest, oldest first
	Losses() map[string]journal.LossCount
}

// Scanner is what the API shows of the scanning. Safe concurrently; does not
// block.
type Scanner interface {
	Stats() scan.Stats
	Lag() map[string]int64            // bytes no rule has seen yet, by container
	Echoes() map[string]int64         // lines hidden from rules, by container
	RuleStats() map[int64]rule.Counts // by rule
	Ignored() map[rule.Ignored]int64  // lines
}

// Rules are the live ones. Safe concurrently; does not block.
type Rules interface {
	Effective(workload string) []rule.Rule
	LeftOut() []rule.CompileError // enabled, but not in use
	// Labels is what a container's labels and log options say; nil where they say nothing.
	Labels(c journal.Container) *ContainerLabels
}

// Worker delivers. Safe concurrently; Test takes as long as the receiver, within
// the bound of an attempt.
type Worker interface {
	Test(context.Context, trigger.Trigger) (trigger.TestResult, error)
	Stats() trigger.Stats
}

// Config is what an API needs. Where the database isn't open yet, Store,
// Scanner, Rules, Worker and Reload are nil: what needs them is answered with
// 503. Token, Tokens, Degraded, Started and Logger may be left out.
type Config struct {
	Store       *store.Store
	Scanner     Scanner
	Rules       Rules
	Worker      Worker
	Ingest      Ingest
	Journals    Journals
	Reload      func(context.Context) error // makes the stored rules and triggers live before it returns
	CheckTarget func(url string) error      // says whether a trigger may send there
	Token       func() (Token, bool)        // the admin's, of the TCP listener; false if there is none
	Tokens      *Tokens                     // those that the TCP listener's Gate knows
	Degraded    func() []Reason             // what is wrong; losses are seen here
	ActionKey   []byte                      // signs the links of messages; nil: there are none
	Redact      *redact.Redactor            // what is shown of lines; nil: they are shown as they are
	Process     supervisor.Status           // what became of the worker processes before this one
	Version     string
	Started     time.Time
	Logger      *slog.Logger

	// Search looks for lines, as Searcher of package query does.
	Search func(context.Context, query.Request, query.Output) (query.Summary, error)
	// Tail shows lines as they are written, as Tailer of package query does.
	Tail func(context.Context, query.TailRequest, query.TailOutput) error
	// Share says which lines of late a rule matches, within about half a second. Nil:
	// that isn't known.
	Share func(context.Context, rule.Rule) (Hint, error)
	// Uncovered says what looks like an error in the logs, and no rule of those given
	// matches. Nil: they can't be read.
	Uncovered func(context.Context, []rule.Rule, query.UncoveredQuery) (query.Uncovered, error)
	// Backtest says what a rule would have told. Nil: likewise.
	Backtest func(context.Context, query.BacktestQuery) (query.Backtest, error)
	// Suggest says which packs are for what runs, as Find of package suggestion does. Nil:
	// likewise.
	Suggest func(context.Context, suggestion.Query) (suggestion.List, error)
	// Why says what became of a line, and WhyRule why a rule made no hit, as Searcher of
	// package query does. Nil: likewise.
	Why     func(context.Context, query.WhyQuery) (query.Why, error)
	WhyRule func(context.Context, query.WhyRuleQuery) (query.RuleWhy, error)
}

// server holds the handlers.
type server struct {
	Config
	// change is held from reading a rule or trigger until what was made of it
	// is stored, so that two PATCHes don't undo each other. Making it live needs
	// no lock: the last to reload sees all that is stored.
	change   sync.Mutex
	testing  chan struct{} // holds a token for each test of a rule under way
	applying chan struct{} // holds one while files are applied
	testTime time.Duration // how long one may take
	// queryTime is how long logs may be read for an answer.
	queryTime time.Duration
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
	if cfg.Tokens == nil {
		cfg.Tokens = &Tokens{}
	}
	s := &server{Config: cfg, testing: make(chan struct{}, testsAtOnce), applying: make(chan struct{}, 1), testTime: testTime, queryTime: queryTime}
	mux := http.NewServeMux()
	hc := huma.DefaultConfig("logscan", cfg.Version)
	hc.Info.Description = "Rules over container logs, the events they make, and the triggers that send them on."
	hc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", Description: "Over TCP, for all but " + healthPath + ", with the scope that is named. The unix socket needs none."},
	}
	hc.Security = []map[string][]string{{"token": {}}, {}}
	hc.DocsPath = ""     // its page loads scripts from elsewhere
	hc.CreateHooks = nil // no $schema members and Link headers
	hc.NoFormatFallback = false
	hc.RejectUnknownQueryParameters = true
	hc.Transformers = []huma.Transformer{explain(hc.Components.Schemas)}
	api := humago.New(mux, hc)
	api.UseMiddleware(authorize(api))
	if cfg.Store == nil {
		api.UseMiddleware(s.waiting(api))
	}
	s.rules(api)
	s.coverage(api)
	s.triggers(api)
	s.events(api)
	s.searches(api)
	s.tails(api)
	s.incidents(api)
	s.silences(api)
	s.config(api)
	s.packs(api)
	s.workloads(api)
	s.accessTokens(api)
	s.deliveries(api)
	s.uncovered(api)
	s.backtest(api)
	s.whys(api)
	s.status(api)
	s.metrics(api)
	mux.HandleFunc(action.Path, s.act)
	describeErrors(api.OpenAPI())
	describeRead[rule.Rule](hc.Components.Schemas, "Rule")
	describeRead[rule.Rule](hc.Components.Schemas, "SavedRule")
	describeRead[trigger.Trigger](hc.Components.Schemas, "Trigger")
	return problems(mux)
}

// availableAlone are the operations that are possible without the database.
var availableAlone = map[string]bool{"get-health": true, "get-metrics": true, "get-token": true, "list-containers": true, "search": true, "tail": true}

// waiting refuses what needs the database while it isn't open.
func (s *server) waiting(api huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		if availableAlone[ctx.Operation().OperationID] {
			next(ctx)
			return
		}
		ctx.SetHeader("Retry-After", "5")
		// The connection's client is the one to say so if this fails.
		_ = huma.WriteErr(api, ctx, http.StatusServiceUnavailable, "the database is not open yet; lines are kept meanwhile and checked once it is ("+healthPath+" tells what keeps it)")
	}
}

// operation fills in what all operations share. errs are the refusals that are
// its own; those of what stands before it, of its body and of the store are
// added.
func operation(method, path, id, summary string, status int, errs ...int) huma.Operation {
	errs = append(errs, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests)
	if !availableAlone[id] {
		errs = append(errs, statusClientGone, http.StatusServiceUnavailable)
	}
	op := huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary,
		DefaultStatus: status, MaxBodyBytes: maxBody, Errors: errs,
	}
	if scope := scopeOf(method, id); scope != "" {
		op.Security = []map[string][]string{{"token": {string(scope)}}, {}}
	}
	return op
}

// withBody is an operation that takes a body.
func withBody(op huma.Operation) huma.Operation {
	op.Errors = append(op.Errors, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity)
	return op
}

// statusClientGone is what nginx calls it; nobody is left to read it.
const statusClientGone = 499

// describeErrors gives the status that HTTP doesn't name a description.
func describeErrors(doc *huma.OpenAPI) {
	for _, path := range doc.Paths {
		for _, op := range []*huma.Operation{path.Get, path.Post, path.Patch, path.Delete} {
			if op == nil {
				continue
			}
			if r := op.Responses[strconv.Itoa(statusClientGone)]; r != nil {
				r.Description = "Client Closed Request"
			}
		}
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
	Warning  string `header:"Warning" doc:"What is not as it should be although the thing is made"`
	Body     T
}

// newlyMade is the answer about what is stored, live or not: were it a refusal, a
// client would try again and make a second one.
func newlyMade[T any](location string, body T, notLive error) *created[T] {
	out := &created[T]{Location: location, Body: body}
	if notLive != nil {
		out.Warning = `199 logscan "` + notLive.Error() + `"`
	}
	return out
}

// reload makes a change live.
func (s *server) reload(ctx context.Context) error {
	// The change is stored: that the client has left must not keep it from
	// being live.
	if err := s.Reload(context.WithoutCancel(ctx)); err != nil {
		s.Logger.Error("change stored but not live", "err", err)
		return huma.Error500InternalServerError("the change is stored but not live yet; it is tried again (see the plugin's log)")
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
	case errors.Is(err, query.ErrBusy):
		return huma.ErrorWithHeaders(huma.Error503ServiceUnavailable(err.Error()), http.Header{"Retry-After": {"5"}})
	case errors.Is(err, context.Canceled):
		return huma.NewError(statusClientGone, "the client has gone")
	}
	var fe *fields.Error
	if errors.As(err, &fe) {
		return invalid(fe.Field, fe.Reason)
	}
	var full *store.FullError
	if errors.As(err, &full) {
		return huma.Error409Conflict(full.Error())
	}
	var managed *fields.ManagedError
	if errors.As(err, &managed) {
		return huma.Error409Conflict(managed.Error())
	}
	var named *store.NamedError
	if errors.As(err, &named) {
		return huma.Error409Conflict(named.Error())
	}
	s.Logger.Error("api", "what", what, "err", err)
	return huma.Error500InternalServerError("something went wrong inside logscan; its log says more")
}

// invalid refuses one field of a body.
func invalid(field, reason string) error {
	return huma.Error422UnprocessableEntity(field+": "+reason, &huma.ErrorDetail{Location: "body." + field, Message: reason})
}

// isAction reports whether a request is for the page behind a message's link, which
// is a permission itself.
func isAction(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, action.Path) }

// problems gives the router's own refusals (no such path, no such method) the
// shape of all others.
func problems(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = slashes(r)
		h, pattern := mux.Handler(r)
		if pattern != "" {
			// The description is no operation, which authorize would see.
			if !strings.Contains(pattern, " /api/") && r.URL.Path != healthPath && r.URL.Path != metricsPath && !isAction(r) && !may(r.Context(), ScopeRead) {
				refuse(w, http.StatusForbidden, outOfScope(r.Context(), ScopeRead))
				return
			}
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
