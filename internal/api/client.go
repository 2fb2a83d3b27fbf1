package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	maxAnswer   = 64 << 20 // what the client reads of one answer
	dialTimeout = 10 * time.Second
)

// Client talks to an API. It is safe concurrently.
type Client struct {
	http  *http.Client
	base  string // scheme and host
	token string // "" on a unix socket

	// Warn is called with what an answer warns of. Set it before the first
	// request; nil ignores it.
	Warn func(string)
}

// Problem is a refusal by the API.
type Problem struct {
	Status int           `json:"status"`
	Title  string        `json:"title"`
	Detail string        `json:"detail"`
	Errors []ProblemItem `json:"errors"`
}

// ProblemItem is one thing that is wrong with a request.
type ProblemItem struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

// Error says what is wrong, in one line.
func (p *Problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	return fmt.Sprintf("%d %s", p.Status, p.Title)
}

// IsNotFound reports whether err says that there is no such thing.
func IsNotFound(err error) bool {
	var p *Problem
	return errors.As(err, &p) && p.Status == http.StatusNotFound
}

// Dial returns a client of the API at a unix socket. It does not connect yet.
func Dial(socket string) *Client {
	var d net.Dialer
	return &Client{base: "http://logscan", http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", socket)
		},
		MaxIdleConns: 2,
	}}}
}

// DialTCP returns a client of the API at an address that LOGSCAN_LISTEN made it
// listen on, with its token. base is http://HOST:PORT, or https:// where a
// proxy puts TLS before it. It does not connect yet.
func DialTCP(base, token string) *Client {
	return &Client{base: strings.TrimSuffix(base, "/"), token: token, http: &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSHandshakeTimeout: dialTimeout,
			MaxIdleConns:        2,
		},
		// The token is for this address alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// do sends one request and decodes the answer into out, unless that is nil.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	resp, err := c.send(ctx, method, path, query, nil, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("answer to %s %s: %w", method, path, err)
	}
	return nil
}

// send returns an answer of status 2xx; any other becomes a *Problem.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, header http.Header, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		if _, text, ok := strings.Cut(resp.Header.Get("Warning"), `"`); ok && c.Warn != nil {
			c.Warn(strings.TrimSuffix(text, `"`))
		}
		return resp, nil
	}
	defer resp.Body.Close()
	p := &Problem{}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if strings.Contains(resp.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(b, p); err != nil {
			p = &Problem{}
		}
	}
	p.Status = resp.StatusCode
	if p.Title == "" {
		p.Title = http.StatusText(resp.StatusCode)
	}
	return nil, p
}

func idPath(base string, id int64) string { return base + "/" + strconv.FormatInt(id, 10) }

// all fetches a collection.
func all[T any](ctx context.Context, c *Client, path string, query url.Values) ([]T, error) {
	var l List[T]
	err := c.do(ctx, http.MethodGet, path, query, nil, &l)
	return l.Items, err
}

// Rules lists the rules.
func (c *Client) Rules(ctx context.Context) ([]Rule, error) {
	return all[Rule](ctx, c, rulesPath, nil)
}

// Rule returns one rule.
func (c *Client) Rule(ctx context.Context, id int64) (r Rule, err error) {
	err = c.do(ctx, http.MethodGet, idPath(rulesPath, id), nil, nil, &r)
	return r, err
}

// CreateRule adds a rule.
func (c *Client) CreateRule(ctx context.Context, in RuleCreate) (r Rule, err error) {
	err = c.do(ctx, http.MethodPost, rulesPath, nil, in, &r)
	return r, err
}

// UpdateRule changes what is set in f.
func (c *Client) UpdateRule(ctx context.Context, id int64, f RuleFields) (r Rule, err error) {
	err = c.do(ctx, http.MethodPatch, idPath(rulesPath, id), nil, f, &r)
	return r, err
}

// AddRule is CreateRule, asks for the hint if it is told to, and has what the rule would
// have told since a time, unless that is zero, be taken into the event log as history.
func (c *Client) AddRule(ctx context.Context, in RuleCreate, hint bool, since time.Time) (r SavedRule, err error) {
	q := hintQuery(hint)
	if !since.IsZero() {
		if q == nil {
			q = url.Values{}
		}
		q.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	err = c.do(ctx, http.MethodPost, rulesPath, q, in, &r)
	return r, err
}

// EditRule is UpdateRule, and asks for the hint if it is told to.
func (c *Client) EditRule(ctx context.Context, id int64, f RuleFields, hint bool) (r SavedRule, err error) {
	err = c.do(ctx, http.MethodPatch, idPath(rulesPath, id), hintQuery(hint), f, &r)
	return r, err
}

func hintQuery(hint bool) url.Values {
	if !hint {
		return nil
	}
	return url.Values{"hint": {"true"}}
}

// DeleteRule removes a rule and what overrides it.
func (c *Client) DeleteRule(ctx context.Context, id int64) error {
	return c.do(ctx, http.MethodDelete, idPath(rulesPath, id), nil, nil, nil)
}

// TestRule tries a rule or a pattern on lines.
func (c *Client) TestRule(ctx context.Context, in RuleTest) (r RuleTestResult, err error) {
	err = c.do(ctx, http.MethodPost, rulesPath+"/test", nil, in, &r)
	return r, err
}

// Backtest tells what a rule would have told of the lines that are kept.
func (c *Client) Backtest(ctx context.Context, in BacktestRequest) (b Backtest, err error) {
	err = c.do(ctx, http.MethodPost, rulesPath+"/backtest", nil, in, &b)
	return b, cutOff("backtest", err)
}

// cutOff says of a query of logs that its answer doesn't come any more.
func cutOff(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("the %s was cut off, as when the plugin is restarted: ask again (%w)", what, err)
	}
	return err
}

// RuleStats tells of each rule what became of its matches.
func (c *Client) RuleStats(ctx context.Context) ([]RuleStats, error) {
	return all[RuleStats](ctx, c, rulesPath+"/stats", nil)
}

// Triggers lists the triggers.
func (c *Client) Triggers(ctx context.Context) ([]Trigger, error) {
	return all[Trigger](ctx, c, triggersPath, nil)
}

// Trigger returns one trigger.
func (c *Client) Trigger(ctx context.Context, id int64) (t Trigger, err error) {
	err = c.do(ctx, http.MethodGet, idPath(triggersPath, id), nil, nil, &t)
	return t, err
}

// CreateTrigger adds a trigger.
func (c *Client) CreateTrigger(ctx context.Context, in TriggerCreate) (t Trigger, err error) {
	err = c.do(ctx, http.MethodPost, triggersPath, nil, in, &t)
	return t, err
}

// UpdateTrigger changes what is set in f.
func (c *Client) UpdateTrigger(ctx context.Context, id int64, f TriggerFields) (t Trigger, err error) {
	err = c.do(ctx, http.MethodPatch, idPath(triggersPath, id), nil, f, &t)
	return t, err
}

// DeleteTrigger removes a trigger.
func (c *Client) DeleteTrigger(ctx context.Context, id int64) error {
	return c.do(ctx, http.MethodDelete, idPath(triggersPath, id), nil, nil, nil)
}

// TestTrigger sends a test to a trigger's URL and tells what it came to.
func (c *Client) TestTrigger(ctx context.Context, id int64) (r TriggerTestResult, err error) {
	err = c.do(ctx, http.MethodPost, idPath(triggersPath, id)+"/test", nil, nil, &r)
	return r, err
}

// DeliveryQuery says which deliveries are wanted.
type DeliveryQuery struct {
	State   string // "" for all
	Trigger int64  // 0 for all
	Limit   int    // 0 for a page
}

// Deliveries lists deliveries, the newest first, in as many pages as it takes.
func (c *Client) Deliveries(ctx context.Context, in DeliveryQuery) (out []Delivery, err error) {
	q := url.Values{}
	if in.State != "" {
		q.Set("state", in.State)
	}
	if in.Trigger != 0 {
		q.Set("trigger", strconv.FormatInt(in.Trigger, 10))
	}
	for {
		page := min(in.Limit-len(out), maxPage)
		if page > 0 {
			q.Set("limit", strconv.Itoa(page))
		}
		more, err := all[Delivery](ctx, c, deliveriesPath, q)
		out = append(out, more...)
		if err != nil || page <= 0 || len(more) < page || len(out) >= in.Limit {
			return out, err
		}
		q.Set("before", out[len(out)-1].ID)
	}
}

// Event returns all that is known of an event.
func (c *Client) Event(ctx context.Context, id int64) (d EventDetails, err error) {
	err = c.do(ctx, http.MethodGet, idPath(eventsPath, id), nil, nil, &d)
	return d, err
}

// EventDeliveries lists the deliveries that carry an event, the newest first.
func (c *Client) EventDeliveries(ctx context.Context, eventID int64) ([]Delivery, error) {
	return all[Delivery](ctx, c, deliveriesPath, url.Values{"event": {strconv.FormatInt(eventID, 10)}, "limit": {strconv.Itoa(maxPage)}})
}

// WhyQuery says of which line it is asked what became of it.
type WhyQuery struct {
	Container string
	At        time.Time // zero for none
	Line      int64     // 0 for none
	Event     int64     // 0 for none
	All       bool      // also the rules whose pattern doesn't match
}

// Why returns what became of a line.
func (c *Client) Why(ctx context.Context, in WhyQuery) (w Why, err error) {
	q := url.Values{}
	if in.Container != "" {
		q.Set("container", in.Container)
	}
	if !in.At.IsZero() {
		q.Set("at", in.At.UTC().Format(time.RFC3339Nano))
	}
	for name, n := range map[string]int64{"line": in.Line, "event": in.Event} {
		if n != 0 {
			q.Set(name, strconv.FormatInt(n, 10))
		}
	}
	if in.All {
		q.Set("all", "true")
	}
	err = c.do(ctx, http.MethodGet, whyPath, q, nil, &w)
	return w, cutOff("search for why", err)
}

// WhyRule returns why a rule made no hit; since is zero for the last 24 hours.
func (c *Client) WhyRule(ctx context.Context, id int64, since time.Time) (w RuleWhy, err error) {
	q := url.Values{}
	if !since.IsZero() {
		q.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	err = c.do(ctx, http.MethodGet, idPath(rulesPath, id)+"/why", q, nil, &w)
	return w, cutOff("search for why", err)
}

// UncoveredQuery says of which lines it is asked what no rule is about.
type UncoveredQuery struct {
	Since    time.Time // zero for the last 24 hours
	Workload string    // "" for all
	Limit    int       // shapes; 0 for a page
}

// Uncovered returns what looks like an error in the logs, and no rule matches.
func (c *Client) Uncovered(ctx context.Context, in UncoveredQuery) (out UncoveredErrors, err error) {
	q := url.Values{}
	if !in.Since.IsZero() {
		q.Set("since", in.Since.UTC().Format(time.RFC3339Nano))
	}
	if in.Workload != "" {
		q.Set("workload", in.Workload)
	}
	if in.Limit > 0 {
		q.Set("limit", strconv.Itoa(in.Limit))
	}
	err = c.do(ctx, http.MethodGet, uncoveredPath, q, nil, &out)
	return out, cutOff("search for what is uncovered", err)
}

// Redeliver sends a delivery again, whatever became of it.
func (c *Client) Redeliver(ctx context.Context, id string) (d Delivery, err error) {
	err = c.do(ctx, http.MethodPost, deliveriesPath+"/"+url.PathEscape(id)+"/redeliver", nil, nil, &d)
	return d, err
}

// RedeliverAll sends a trigger's deliveries in a state again, the newest ones where
// more would wait than may, and returns how many.
func (c *Client) RedeliverAll(ctx context.Context, triggerID int64, state string) (int64, error) {
	var r Redelivered
	err := c.do(ctx, http.MethodPost, idPath(triggersPath, triggerID)+"/redeliver", url.Values{"state": {state}}, nil, &r)
	return r.Redelivered, err
}

// IncidentQuery selects incidents; what is zero doesn't select.
type IncidentQuery struct {
	State, Severity, Rule, Workload string
	Before                          int64
	Limit                           int
}

// Incidents lists incidents, the newest first.
func (c *Client) Incidents(ctx context.Context, q IncidentQuery) ([]Incident, error) {
	v := url.Values{}
	for name, value := range map[string]string{"state": q.State, "severity": q.Severity, "rule": q.Rule, "workload": q.Workload} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Before > 0 {
		v.Set("before", strconv.FormatInt(q.Before, 10))
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return all[Incident](ctx, c, incidentsPath, v)
}

// Incident returns all that is known of an incident.
func (c *Client) Incident(ctx context.Context, id int64) (d IncidentDetails, err error) {
	err = c.do(ctx, http.MethodGet, idPath(incidentsPath, id), nil, nil, &d)
	return d, err
}

// IncidentChange is what is said about an incident.
type IncidentChange = incidentChange

// ChangeIncident does to an incident what a verb says: acknowledge, snooze, reopen or
// resolve.
func (c *Client) ChangeIncident(ctx context.Context, id int64, verb string, change IncidentChange) (i Incident, err error) {
	err = c.do(ctx, http.MethodPost, idPath(incidentsPath, id)+"/"+verb, nil, change, &i)
	return i, err
}

// Silences lists silences, those that have ended too.
func (c *Client) Silences(ctx context.Context) ([]Silence, error) {
	return all[Silence](ctx, c, silencesPath, nil)
}

// CreateSilence adds a silence.
func (c *Client) CreateSilence(ctx context.Context, s SilenceCreate) (out Silence, err error) {
	err = c.do(ctx, http.MethodPost, silencesPath, nil, s, &out)
	return out, err
}

// PreviewSilence tells what a silence would have held back.
func (c *Client) PreviewSilence(ctx context.Context, s SilenceCreate) (out SilencePreview, err error) {
	err = c.do(ctx, http.MethodPost, silencesPath+"/preview", nil, s, &out)
	return out, err
}

// EndSilence ends a silence now.
func (c *Client) EndSilence(ctx context.Context, id int64) error {
	return c.do(ctx, http.MethodDelete, idPath(silencesPath, id), nil, nil, nil)
}

// Containers lists the containers whose logs are kept.
func (c *Client) Containers(ctx context.Context) ([]Container, error) {
	return all[Container](ctx, c, containersPath, nil)
}

// Container returns a container whose log is kept, with its latest runs.
func (c *Client) Container(ctx context.Context, id string) (out ContainerDetails, err error) {
	err = c.do(ctx, http.MethodGet, containersPath+"/"+url.PathEscape(id), nil, nil, &out)
	return out, err
}

// Workloads lists the workloads that containers or rules belong to.
func (c *Client) Workloads(ctx context.Context) ([]Workload, error) {
	return all[Workload](ctx, c, workloadsPath, nil)
}

// EffectiveRules returns the rules that hold for a workload, known or not.
func (c *Client) EffectiveRules(ctx context.Context, workload string) (e EffectiveRules, err error) {
	id := strings.ReplaceAll(url.PathEscape(workload), ".", "%2E") // ".." would lead elsewhere
	err = c.do(ctx, http.MethodGet, workloadsPath+"/"+id+effectiveRules, nil, nil, &e)
	return e, err
}

// Tokens lists the tokens that were made.
func (c *Client) Tokens(ctx context.Context) ([]AccessToken, error) {
	return all[AccessToken](ctx, c, tokensPath, nil)
}

// CreateToken makes a token.
func (c *Client) CreateToken(ctx context.Context, in TokenCreate) (t NewToken, err error) {
	err = c.do(ctx, http.MethodPost, tokensPath, nil, in, &t)
	return t, err
}

// DeleteToken removes a token.
func (c *Client) DeleteToken(ctx context.Context, id int64) error {
	return c.do(ctx, http.MethodDelete, idPath(tokensPath, id), nil, nil, nil)
}

// Token returns the admin's token of the TCP listener; the unix socket alone tells it.
func (c *Client) Token(ctx context.Context) (t Token, err error) {
	err = c.do(ctx, http.MethodGet, tokenPath, nil, nil, &t)
	return t, err
}

// Stats returns the counters.
func (c *Client) Stats(ctx context.Context) (st Stats, err error) {
	err = c.do(ctx, http.MethodGet, statsPath, nil, nil, &st)
	return st, err
}

// Health asks whether the plugin answers.
func (c *Client) Health(ctx context.Context) (h Health, err error) {
	err = c.do(ctx, http.MethodGet, healthPath, nil, nil, &h)
	return h, err
}

// EventQuery selects events; zero values select all.
type EventQuery struct {
	Severities []string
	Source     string
	Workload   string
	Container  string // name or the beginning of an id
	Rule       string // name
	RuleID     int64
	Since      time.Time
	Until      time.Time
	After      int64 // only newer than this id: the oldest of those
	Before     int64 // only older than this id: the newest of those
	Limit      int   // default 100
}

func (q EventQuery) values() url.Values {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	set("severity", strings.Join(q.Severities, ","))
	set("source", q.Source)
	set("workload", q.Workload)
	set("container", q.Container)
	set("rule", q.Rule)
	if !q.Since.IsZero() {
		v.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	if !q.Until.IsZero() {
		v.Set("until", q.Until.UTC().Format(time.RFC3339Nano))
	}
	for name, n := range map[string]int64{"after": q.After, "before": q.Before, "rule_id": q.RuleID, "limit": int64(q.Limit)} {
		if n != 0 {
			v.Set(name, strconv.FormatInt(n, 10))
		}
	}
	return v
}

// Events returns a page of events, oldest first: without After, the newest that
// match.
func (c *Client) Events(ctx context.Context, q EventQuery) (p EventPage, err error) {
	err = c.do(ctx, http.MethodGet, eventsPath, q.values(), nil, &p)
	return p, err
}

// ApplyConfig applies what files declare, or says what would change.
func (c *Client) ApplyConfig(ctx context.Context, in ConfigApply) (out ConfigPlan, err error) {
	err = c.do(ctx, http.MethodPost, configPath, nil, in, &out)
	return out, err
}

// Packs lists the packs that there are.
func (c *Client) Packs(ctx context.Context) (out []Pack, err error) {
	err = c.do(ctx, http.MethodGet, packsPath, nil, nil, &out)
	return out, err
}

// Pack returns a pack with its YAML.
func (c *Client) Pack(ctx context.Context, name string) (p Pack, err error) {
	err = c.do(ctx, http.MethodGet, packsPath+"/"+url.PathEscape(name), nil, nil, &p)
	return p, err
}

// AddPack adds a pack's rules, or brings them up to date, or says what that would change.
func (c *Client) AddPack(ctx context.Context, name string, in PackAdd) (out ConfigPlan, err error) {
	err = c.do(ctx, http.MethodPost, packsPath+"/"+url.PathEscape(name), nil, in, &out)
	return out, err
}

// RemovePack removes a pack's rules.
func (c *Client) RemovePack(ctx context.Context, name string) (out ConfigPlan, err error) {
	err = c.do(ctx, http.MethodDelete, packsPath+"/"+url.PathEscape(name), nil, nil, &out)
	return out, err
}

// SuggestPacks returns the packs that are for what runs, and what they would have told
// since a time; zero: within 7 days.
func (c *Client) SuggestPacks(ctx context.Context, since time.Time) (out PackSuggestions, err error) {
	q := url.Values{}
	if !since.IsZero() {
		q.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	err = c.do(ctx, http.MethodGet, suggestionsPath, q, nil, &out)
	return out, err
}

// ExportConfig returns rules, triggers and silences as a file.
func (c *Client) ExportConfig(ctx context.Context) ([]byte, error) {
	resp, err := c.send(ctx, http.MethodGet, configPath, nil, nil, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
}

// Coverage tells which rules and triggers are there in vain; since may be zero.
func (c *Client) Coverage(ctx context.Context, since time.Time) (out Coverage, err error) {
	q := url.Values{}
	if !since.IsZero() {
		q.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	err = c.do(ctx, http.MethodGet, rulesPath+"/coverage", q, nil, &out)
	return out, err
}
