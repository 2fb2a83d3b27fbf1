package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/silence"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

const (
	incidentsPath = "/api/incidents"
	silencesPath  = "/api/silences"
)

// Incident is hits of a rule that are the same trouble.
type Incident struct {
	ID          int64            `json:"id" doc:"Ascending, never used twice"`
	State       string           `json:"state" doc:"open, acknowledged, snoozed or resolved"`
	Severity    string           `json:"severity" doc:"The worst of its hits"`
	RuleID      int64            `json:"rule_id,omitzero" doc:"Absent for what logscan says about itself"`
	Rule        string           `json:"rule"`
	Kind        string           `json:"kind,omitempty" doc:"The rule's"`
	ByValues    string           `json:"by_values,omitempty" doc:"Of a rule that adds matches up by values: these, such as user=alice"`
	Shadow      bool             `json:"shadow,omitzero" doc:"Nobody is told: the rule is in shadow, or was at the incident's end"`
	Workload    string           `json:"workload"`
	Shape       string           `json:"shape" doc:"Of the lines: what differs from hit to hit left out"`
	Fingerprint string           `json:"fingerprint" doc:"Of the shape"`
	First       time.Time        `json:"first" doc:"The first line's time"`
	Last        time.Time        `json:"last"`
	Hits        int64            `json:"hits"`
	Matches     int64            `json:"matches" doc:"Hits, and what the rule held back"`
	Container   string           `json:"container" doc:"Of the last hit"`
	Image       string           `json:"image,omitempty"`
	Containers  map[string]int64 `json:"containers" nullable:"false" doc:"Hits by container, of the first 64"`
	FirstText   string           `json:"first_text"`
	LastText    string           `json:"last_text"`
	Shapes      map[string]int64 `json:"shapes,omitempty" doc:"The most frequent shapes, of an incident that has several"`
	Hours       map[string]int64 `json:"hours" nullable:"false" doc:"Matches by hour, of a week"`
	Again       *Again           `json:"again,omitempty" doc:"What came before"`
	By          string           `json:"by,omitempty" doc:"Who acknowledged, snoozed or resolved it"`
	Note        string           `json:"note,omitempty"`
	Snooze      *Snooze          `json:"snooze,omitempty"`
	Ended       time.Time        `json:"ended,omitzero"`
	EndedWhy    string           `json:"ended_why,omitempty"`
}

// byValues are the values by which a rule adds up what an incident is about.
func (s *server) byValues(i incident.Incident) string {
	if i.Key.RuleID == 0 {
		return ""
	}
	return s.Redact.Text(i.Key.By)
}

// Again is what came before an incident.
type Again struct {
	ID    int64     `json:"id" doc:"Of the last incident like it"`
	Ended time.Time `json:"ended"`
	Nth   int       `json:"nth" doc:"This one is the n-th in seven days"`
}

// Snooze is until when an incident is snoozed: whatever comes first.
type Snooze struct {
	Until time.Time `json:"until,omitzero"`
	Hits  int64     `json:"hits,omitzero" minimum:"0" doc:"That many matches more"`
	Times float64   `json:"times,omitzero" minimum:"0" doc:"Its rate times that"`
	Image bool      `json:"image,omitzero" doc:"Another image"`
}

// IncidentDetails is all that is known of an incident.
type IncidentDetails struct {
	Incident
	Notices []Notice `json:"notices" nullable:"false" doc:"What there was to tell, the oldest first"`
	Events  []Event  `json:"events" nullable:"false" doc:"Its newest hits, the oldest first, at most 20"`
}

// Notice is something that there was to tell about an incident.
type Notice struct {
	Kind       string    `json:"kind" doc:"opened, escalated, repeated, acknowledged, resolved or system"`
	Reason     string    `json:"reason,omitempty"`
	Severity   string    `json:"severity"`
	Matches    int64     `json:"matches" doc:"By then"`
	At         time.Time `json:"at" doc:"By the lines' time"`
	CreatedAt  time.Time `json:"created_at" doc:"When it was stored, and it was decided who is told"`
	SilencedBy int64     `json:"silenced_by,omitzero" doc:"The silence that held it back"`
	Shadow     bool      `json:"shadow,omitzero" doc:"The rule was in shadow: nobody was told"`
	Triggers   []Fate    `json:"triggers,omitempty" nullable:"false" doc:"What became of it for each trigger that is switched on; of the newest 20 notices"`
}

// Fate is what became of a notice for a trigger.
type Fate struct {
	TriggerID  int64     `json:"trigger_id"`
	Trigger    string    `json:"trigger" doc:"The trigger's name; empty where it has gone"`
	State      string    `json:"state" doc:"told: a delivery was made of it; held: it waits; silenced: a silence holds it back; unwanted: a field of the trigger leaves it out; spared: somebody acknowledged the incident before it was due; unknown: it wasn't told, and nothing says why"`
	DeliveryID string    `json:"delivery_id,omitempty" doc:"That tells it"`
	Delivery   *Delivery `json:"delivery,omitempty" doc:"As long as it is kept"`
	Until      time.Time `json:"until,omitzero" doc:"It is held"`
	Field      string    `json:"field,omitempty" doc:"Of the trigger, that leaves it out; own_failure where the incident is about the trigger itself, shadow where its rule was in shadow, triggers where its rule names others"`
	Why        string    `json:"why,omitempty"`
}

func (s *server) incidentOut(i incident.Incident) Incident {
	out := Incident{
		ID: i.ID, State: string(i.State), Severity: string(i.Severity), RuleID: i.Key.RuleID, Rule: i.Rule, Shadow: i.Shadow, Kind: i.Kind, ByValues: s.byValues(i), Workload: i.Key.Workload,
		Shape: i.Readable, Fingerprint: i.Key.Shape, First: i.First.UTC(), Last: i.Last.UTC(), Hits: i.Hits, Matches: i.Matches,
		Container: i.Container, Image: i.Image, Containers: i.Containers, FirstText: i.FirstText, LastText: i.LastText, Shapes: i.Shapes,
		Hours: map[string]int64{}, By: i.By, Note: i.Note, Ended: i.Ended.UTC(), EndedWhy: i.EndedWhy,
	}
	for hour, n := range i.Hours {
		out.Hours[time.Unix(hour*3600, 0).UTC().Format(time.RFC3339)] = n
	}
	if i.Ended.IsZero() {
		out.Ended = time.Time{}
	}
	if b := i.Before; b != nil {
		out.Again = &Again{b.ID, b.Ended.UTC(), b.Nth}
	}
	if s := i.Snooze; s != nil {
		out.Snooze = &Snooze{Until: s.Until, Hits: s.Hits, Times: s.Times, Image: s.Image}
	}
	return out
}

func (s *server) incidents(api huma.API) {
	huma.Register(api, operation(http.MethodGet, incidentsPath, "list-incidents", "List incidents, the newest first", 200, 422), s.listIncidents)
	huma.Register(api, operation(http.MethodGet, incidentsPath+"/{id}", "get-incident", "Show an incident, with its notices and newest hits", 200, 404), s.getIncident)
	for _, verb := range []struct {
		name, summary string
		do            func(*incident.Incident, incidentChange, time.Time) (incident.Notice, error)
	}{
		{"acknowledge", "Say that you know: an incident isn't told again unless it gets worse", func(i *incident.Incident, c incidentChange, now time.Time) (incident.Notice, error) {
			return i.Acknowledge(now, c.By, c.Note)
		}},
		{"snooze", "Say that you know, for a while", func(i *incident.Incident, c incidentChange, now time.Time) (incident.Notice, error) {
			return incident.Notice{}, i.SnoozeUntil(incident.Snooze{Until: c.Until, Hits: c.Hits, Times: c.Times, Image: c.Image}, now, c.By, c.Note)
		}},
		{"reopen", "Take an acknowledgement or a snooze back", func(i *incident.Incident, _ incidentChange, now time.Time) (incident.Notice, error) {
			return incident.Notice{}, i.Reopen(now)
		}},
		{"resolve", "End an incident", func(i *incident.Incident, c incidentChange, now time.Time) (incident.Notice, error) {
			return i.Resolve(now, c.By, c.Note)
		}},
	} {
		huma.Register(api, withBody(operation(http.MethodPost, incidentsPath+"/{id}/"+verb.name, verb.name+"-incident", verb.summary, 200, 404, 409)),
			func(ctx context.Context, in *struct {
				ByID
				Body incidentChange `required:"false"`
			}) (*output[Incident], error) {
				return s.changeIncident(ctx, in.ID, func(i *incident.Incident) (incident.Notice, error) { return verb.do(i, in.Body, time.Now()) })
			})
	}
}

// incidentChange is what is said about an incident with a verb.
type incidentChange struct {
	By   string `json:"by,omitempty" maxLength:"128" doc:"Who says so"`
	Note string `json:"note,omitempty" maxLength:"500"`
	Snooze
}

type incidentsInput struct {
	State    string `query:"state" maxLength:"64" doc:"Any of these, comma-separated: open, acknowledged, snoozed, resolved; all is all, and without it those that are not resolved"`
	Severity string `query:"severity" enum:"info,warn,error,critical" doc:"At least that"`
	Rule     string `query:"rule" maxLength:"256" doc:"Name of the rule"`
	Workload string `query:"workload" maxLength:"256"`
	Before   int64  `query:"before" minimum:"1" doc:"Only incidents with a lesser id"`
	Limit    int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

func (s *server) listIncidents(ctx context.Context, in *incidentsInput) (*output[List[Incident]], error) {
	f := store.IncidentFilter{Severity: event.Severity(in.Severity), Rule: in.Rule, Workload: in.Workload, Before: in.Before, Limit: in.Limit}
	switch in.State {
	case "all":
	case "":
		f.States = []incident.State{incident.Open, incident.Acknowledged, incident.Snoozed}
	default:
		f.States = event.Split[incident.State](in.State)
		for _, st := range f.States {
			if err := st.Validate(); err != nil {
				return nil, huma.Error422UnprocessableEntity("state: "+err.Error(), &huma.ErrorDetail{Location: "query.state", Message: err.Error()})
			}
		}
	}
	incidents, err := s.Store.Incidents(ctx, f)
	if err != nil {
		return nil, s.fail(err, "incident")
	}
	out := &output[List[Incident]]{Body: List[Incident]{Items: make([]Incident, len(incidents))}}
	for k, i := range incidents {
		out.Body.Items[k] = s.incidentOut(i)
	}
	return out, nil
}

func (s *server) getIncident(ctx context.Context, in *ByID) (*output[IncidentDetails], error) {
	i, err := s.Store.Incident(ctx, in.ID)
	if err != nil {
		return nil, s.fail(err, "incident")
	}
	notices, err := s.Store.Notices(ctx, in.ID)
	if err != nil {
		return nil, s.fail(err, "incident")
	}
	newest := notices[max(0, len(notices)-maxDetailNotices):]
	fates, err := s.Store.Fates(ctx, i, newest)
	if err != nil {
		return nil, s.fail(err, "incident")
	}
	events, err := s.Store.Events(ctx, store.EventFilter{Incident: in.ID, Limit: maxDetailEvents})
	if err != nil {
		return nil, s.fail(err, "incident")
	}
	out := &output[IncidentDetails]{Body: IncidentDetails{Incident: s.incidentOut(i), Notices: make([]Notice, len(notices)), Events: make([]Event, len(events))}}
	for k, n := range notices {
		out.Body.Notices[k] = noticeOut(n)
	}
	for k, of := range fates {
		out.Body.Notices[len(notices)-len(newest)+k].Triggers = fatesOut(of)
	}
	for k, e := range events {
		out.Body.Events[len(events)-1-k] = eventOut(e)
	}
	return out, nil
}

// How many hits an incident is shown with, and of how many notices what became of them.
const (
	maxDetailEvents  = 20
	maxDetailNotices = 20
)

func fateOut(f trigger.Fate) Fate {
	out := Fate{
		TriggerID: f.TriggerID, Trigger: f.Trigger, State: string(f.State), DeliveryID: f.DeliveryID,
		Until: f.Until.UTC(), Field: f.Field, Why: f.Why,
	}
	if f.Delivery.ID != "" {
		d := deliveryOut(f.Delivery)
		out.Delivery = &d
	}
	return out
}

func (s *server) changeIncident(ctx context.Context, id int64, change func(*incident.Incident) (incident.Notice, error)) (*output[Incident], error) {
	i, err := s.Store.ChangeIncident(ctx, id, func(i *incident.Incident) (incident.Notice, error) {
		n, err := change(i)
		switch {
		case err != nil && i.State == incident.Resolved:
			return n, huma.Error409Conflict(err.Error())
		case err != nil:
			return n, huma.Error422UnprocessableEntity(err.Error())
		}
		return n, nil
	})
	if err != nil {
		return nil, s.fail(err, "incident")
	}
	return &output[Incident]{Body: s.incidentOut(i)}, nil
}

// Silence holds notices back for a while.
type Silence struct {
	ID        int64     `json:"id"`
	Matchers  []string  `json:"matchers" nullable:"false" doc:"FIELD=VALUE, FIELD!=VALUE (* stands for anything) or FIELD~REGEX, all of which hold; fields: rule, workload, container, severity, shape, incident"`
	Starts    time.Time `json:"starts_at"`
	Ends      time.Time `json:"ends_at"`
	Cron      string    `json:"cron,omitempty" doc:"When it begins again and again in that time, in five fields"`
	For       int64     `json:"for_seconds,omitzero" doc:"How long it holds each time"`
	Zone      string    `json:"time_zone,omitempty" doc:"Of cron; UTC if absent"`
	Comment   string    `json:"comment"`
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
	Active    bool      `json:"active" doc:"It holds back now"`
	Notices   int64     `json:"notices" doc:"How many it has held back"`
	Incidents int64     `json:"incidents" doc:"Of how many incidents"`
}

// SilenceCreate is a new silence.
type SilenceCreate struct {
	Matchers  []string  `json:"matchers" minItems:"1" maxItems:"16" nullable:"false"`
	Starts    time.Time `json:"starts_at,omitzero" doc:"Now, if absent"`
	Ends      time.Time `json:"ends_at"`
	Cron      string    `json:"cron,omitempty" maxLength:"100"`
	For       int64     `json:"for_seconds,omitzero" minimum:"1"`
	Zone      string    `json:"time_zone,omitempty" maxLength:"64"`
	Comment   string    `json:"comment,omitempty" maxLength:"500"`
	CreatedBy string    `json:"created_by,omitempty" maxLength:"128"`
}

// SilencePreview is what a silence would have held back.
type SilencePreview struct {
	Since     time.Time `json:"since"`
	Notices   int64     `json:"notices"`
	Incidents int64     `json:"incidents"`
	Rules     []string  `json:"rules" nullable:"false" doc:"The most frequent first, at most 5"`
}

// previewOf is how far back a preview looks.
const previewOf = 7 * 24 * time.Hour

func (s *server) silences(api huma.API) {
	huma.Register(api, operation(http.MethodGet, silencesPath, "list-silences", "List silences, those that have ended too", 200), s.listSilences)
	huma.Register(api, withBody(operation(http.MethodPost, silencesPath, "create-silence", "Hold notices back for a while", 201, 409)), s.createSilence)
	huma.Register(api, withBody(operation(http.MethodPost, silencesPath+"/preview", "preview-silence", "Show what a silence would have held back in seven days", 200)), s.previewSilence)
	huma.Register(api, operation(http.MethodDelete, silencesPath+"/{id}", "end-silence", "End a silence now", 204, 404), s.endSilence)
}

func (s *server) silenceOut(ctx context.Context, v silence.Silence) (Silence, error) {
	held, err := s.Store.SilencedBy(ctx, v.ID)
	out := Silence{
		ID: v.ID, Matchers: make([]string, len(v.Matchers)), Starts: v.Starts.UTC(), Ends: v.Ends.UTC(), Cron: v.Cron, For: int64(v.For / time.Second), Zone: v.Zone,
		Comment: v.Comment, CreatedBy: v.CreatedBy, CreatedAt: v.CreatedAt.UTC(), Active: v.Active(time.Now()), Notices: held.Notices, Incidents: held.Incidents,
	}
	for k, m := range v.Matchers {
		out.Matchers[k] = m.String()
	}
	return out, err
}

func (s *server) listSilences(ctx context.Context, _ *struct{}) (*output[List[Silence]], error) {
	all, err := s.Store.Silences(ctx)
	if err != nil {
		return nil, s.fail(err, "silence")
	}
	out := &output[List[Silence]]{Body: List[Silence]{Items: make([]Silence, len(all))}}
	for k, v := range all {
		if out.Body.Items[k], err = s.silenceOut(ctx, v); err != nil {
			return nil, s.fail(err, "silence")
		}
	}
	return out, nil
}

// silence checks what a new one says.
func (c SilenceCreate) silence(now time.Time) (silence.Silence, error) {
	v := silence.Silence{
		Starts: c.Starts, Ends: c.Ends, Cron: c.Cron, For: time.Duration(min(c.For, int64(silence.MaxFor/time.Second))) * time.Second, Zone: c.Zone,
		Comment: c.Comment, CreatedBy: c.CreatedBy,
	}
	if v.Starts.IsZero() {
		v.Starts = now.UTC()
	}
	for _, text := range c.Matchers {
		m, err := silence.ParseMatcher(text)
		if err != nil {
			return v, invalid("matchers", err.Error())
		}
		v.Matchers = append(v.Matchers, m)
	}
	if err := v.Validate(now); err != nil {
		return v, huma.Error422UnprocessableEntity(err.Error())
	}
	return v, nil
}

func (s *server) createSilence(ctx context.Context, in *struct{ Body SilenceCreate }) (*output[Silence], error) {
	v, err := in.Body.silence(time.Now())
	if err != nil {
		return nil, err
	}
	if v, err = s.Store.CreateSilence(ctx, v); err != nil {
		return nil, s.fail(err, "silence")
	}
	if err := s.reload(ctx); err != nil {
		return nil, err
	}
	out, err := s.silenceOut(ctx, v)
	return &output[Silence]{Body: out}, err
}

func (s *server) previewSilence(ctx context.Context, in *struct{ Body SilenceCreate }) (*output[SilencePreview], error) {
	now := time.Now()
	v, err := in.Body.silence(now)
	if err != nil {
		return nil, err
	}
	since := now.Add(-previewOf)
	held, err := s.Store.PreviewSilence(ctx, v, since)
	if err != nil {
		return nil, s.fail(err, "silence")
	}
	return &output[SilencePreview]{Body: SilencePreview{since.UTC(), held.Notices, held.Incidents, append([]string{}, held.Rules...)}}, nil
}

func (s *server) endSilence(ctx context.Context, in *ByID) (*struct{}, error) {
	if _, err := s.Store.EndSilence(ctx, in.ID); err != nil {
		return nil, s.fail(err, "silence")
	}
	return nil, s.reload(ctx)
}
