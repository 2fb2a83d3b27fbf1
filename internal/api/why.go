package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"logscan/internal/event"
	"logscan/internal/fields"
	"logscan/internal/query"
	"logscan/internal/rule"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

const whyPath = "/api/why"

// whyTime is how long logs may be read for an answer: less than a connection has for one.
const whyTime = 25 * time.Second

const tooMuchForWhy = "it took too long to read what there is from that time on"

// Why is what became of a line, up to whom it was told or where it stopped.
type Why struct {
	Line      *WhyLine  `json:"line,omitempty" doc:"Absent where it is no longer kept, or the event is about none"`
	Event     *Event    `json:"event,omitempty" doc:"That was asked about"`
	Unscanned bool      `json:"unscanned,omitzero" doc:"Rules don't read the container's log: its log option scan is false"`
	Rules     []WhyRule `json:"rules" nullable:"false" doc:"Of the container, by id; without all, not those whose pattern doesn't match"`
	Unmatched int       `json:"unmatched" doc:"Rules that were left out so"`
	Elsewhere int       `json:"elsewhere" doc:"Rules that are for other containers only"`
	Replayed  time.Time `json:"replayed_since,omitzero" doc:"Lines from then on were evaluated again for the answer, by the rules of today"`
	Whole     bool      `json:"whole" doc:"The log has all that was written since"`
}

// WhyLine is a line that was asked about.
type WhyLine struct {
	ContainerID string    `json:"container_id"`
	Container   string    `json:"container" doc:"The container's name"`
	Workload    string    `json:"workload"`
	Time        time.Time `json:"time"`
	Stream      string    `json:"stream"`
	Text        string    `json:"text" doc:"As a hit's message: valid UTF-8, at most 500 bytes, without secrets"`
	Lines       int       `json:"lines" doc:"Of the record that it is part of; 1 where it is one by itself"`
	From        int64     `json:"from" doc:"Where it begins in the container's log"`
	To          int64     `json:"to" doc:"And where it ends"`
}

// WhyRule is what became of a line for a rule.
type WhyRule struct {
	RuleID   int64         `json:"rule_id"`
	Rule     string        `json:"rule" doc:"The rule's name"`
	Kind     string        `json:"kind"`
	State    string        `json:"state" doc:"The rule's: on, off or shadow"`
	Updated  time.Time     `json:"rule_updated_at,omitzero" doc:"Since when the rule is what it is now"`
	Sums     string        `json:"sums,omitempty" doc:"Of a rule that adds lines up: what they add up to"`
	Outcome  string        `json:"outcome" enum:"hit,joined,cooldown,bucket,counted,ignored,unmet,unmatched,stream,echo,given_up,off,later,unread,forgotten,unknown" doc:"hit: it made an event; joined: it is one of the matches, or of the lines of a record, that made one; cooldown: that held it back; bucket: the bound of a container's hits did; counted: it adds up with others that are no hit yet, or wait; ignored, unmet, unmatched: by a pattern to ignore, by a condition, by the pattern; stream: the rule is for the other one; echo: it repeats what logscan has sent; given_up: it takes too much work to check; off: it would match, but the rule is switched off; later: the rule was made behind it; unread: no rule has seen it yet; forgotten: events of its time are no longer kept; unknown: it matches, and nothing that is kept says why there is no event"`
	Changed  bool          `json:"changed,omitzero" doc:"The rule has changed since the line was written: what is said of conditions is said of the rule as it is now"`
	Parts    []string      `json:"parts,omitempty" doc:"What the line is to the rule, such as step 1; an empty text is a match"`
	Unmet    *WhyCondition `json:"unmet,omitempty" doc:"The first condition that it doesn't fulfil"`
	By       string        `json:"by,omitempty" doc:"The values by which the rule keeps matches apart"`
	Replayed bool          `json:"replayed,omitzero" doc:"What held it back is what the rules of today make of the lines that are kept; no event says so"`

	Behind        time.Time `json:"cooldown_since,omitzero" doc:"The hit of which the cooldown"`
	BehindEventID int64     `json:"cooldown_event_id,omitzero"`
	Until         time.Time `json:"cooldown_until,omitzero"`
	Matches       int64     `json:"matches,omitzero" doc:"So many there were within the rule's time up to this line"`
	AtLeast       int64     `json:"at_least,omitzero" doc:"Of so many"`
	MatchesSince  time.Time `json:"matches_since,omitzero"`
	ToldWithID    int64     `json:"told_with_event_id,omitzero" doc:"The event that tells that matches were held back, this one among them"`

	Event    *Event      `json:"event,omitempty" doc:"The hit"`
	Incident *Incident   `json:"incident,omitempty" doc:"That it is part of, or counts in"`
	Folded   bool        `json:"folded,omitzero" doc:"The incident was there already: the line was worth no notice"`
	Notices  []WhyNotice `json:"notices,omitempty" doc:"The one that it was worth; or else the last one before it, and the next"`
	Each     []Fate      `json:"each,omitempty" doc:"What became of the event for the triggers that are told of each"`
}

// WhyNotice is a notice, with the silence that held it back.
type WhyNotice struct {
	Notice
	Silence string `json:"silence,omitempty" doc:"What the silence that held it back is about"`
}

// WhyCondition is a condition that a line doesn't fulfil.
type WhyCondition struct {
	Field     string `json:"field" doc:"pattern, all, ignore or where"`
	Condition string `json:"condition" doc:"As the rule has it"`
	Part      string `json:"part,omitempty" doc:"Of the rule, such as step 1"`
	About     string `json:"about,omitempty" doc:"Of where: the field of the line"`
	Value     string `json:"value,omitempty" doc:"Of where: its value in the line"`
	Missing   bool   `json:"missing,omitzero" doc:"Of where: the line has no such field"`
}

// RuleWhy is what became of the lines of a time for a rule.
type RuleWhy struct {
	Since      time.Time   `json:"since"`
	Until      time.Time   `json:"until"`
	State      string      `json:"state" doc:"The rule's: on, off or shadow"`
	Updated    time.Time   `json:"rule_updated_at" doc:"Since when the rule is what it is now"`
	Kind       string      `json:"kind"`
	Error      string      `json:"error,omitempty" doc:"Why the rule can't be used"`
	Events     int64       `json:"events" doc:"Of the rule that were stored in that time, 1,000 at most"`
	Last       *Event      `json:"last,omitempty" doc:"The last one that is kept"`
	Containers int         `json:"containers" doc:"That the rule is for, and that wrote in that time"`
	Others     int         `json:"others" doc:"That it isn't for"`
	Unscanned  int         `json:"unscanned" doc:"That it would be for, but rules don't read their logs: their log option scan is false"`
	Overridden int         `json:"overridden" doc:"That it would be for, but another rule takes its place in their workload"`
	Whole      bool        `json:"whole" doc:"The logs have all that these wrote in that time"`
	Lines      int64       `json:"lines" doc:"That were evaluated, by the rule as it is now and as if it were switched on"`
	Matches    int64       `json:"matches" doc:"That fulfil its conditions"`
	Before     int64       `json:"matches_before" doc:"Of them, those written before it was what it is now"`
	Hits       int64       `json:"hits"`
	Cooldown   int64       `json:"suppressed_cooldown"`
	Bucket     int64       `json:"suppressed_bucket"`
	GivenUp    int64       `json:"given_up"`
	Parts      []RulePart  `json:"parts" nullable:"false" doc:"Lines by what they are to the rule"`
	Unmet      []RuleUnmet `json:"unmet" nullable:"false" doc:"What lines don't fulfil that match its pattern, the most frequent first"`
	Stream     int64       `json:"stream" doc:"Lines that its pattern matches, of the stream that it isn't for"`
	Hidden     int64       `json:"echo" doc:"Lines that repeat what logscan has sent"`
	Rarest     []string    `json:"rarest" nullable:"false" doc:"Texts of which each match has one"`
	Near       int64       `json:"near" doc:"Lines that have one, in any case, and that its pattern doesn't match"`
	NearLine   string      `json:"near_line,omitempty" doc:"The last of them"`
	AtLeast    int64       `json:"at_least,omitzero" doc:"Of kind count: so many matches are a hit"`
	Within     int64       `json:"within_seconds,omitzero" doc:"Within so long"`
	Most       int64       `json:"most,omitzero" doc:"The most that there were"`
	MostAt     time.Time   `json:"most_at,omitzero" doc:"When the last of them was"`
	MostBy     string      `json:"most_by,omitempty" doc:"Of these values"`
}

// RulePart is how many lines are a part of a rule.
type RulePart struct {
	Part  string `json:"part" doc:"Such as step 1; empty for a match"`
	Lines int64  `json:"lines"`
}

// RuleUnmet is how many lines don't fulfil a condition.
type RuleUnmet struct {
	Field     string `json:"field" doc:"all, ignore or where"`
	Condition string `json:"condition" doc:"As the rule has it"`
	Lines     int64  `json:"lines"`
	Sample    string `json:"sample" doc:"The last of them"`
}

func (s *server) whys(api huma.API) {
	huma.Register(api, operation(http.MethodGet, whyPath, "why", "What became of a line, for each rule, up to whom it was told or where it stopped", 200, 404, 422), s.whyLine)
	huma.Register(api, operation(http.MethodGet, rulesPath+"/{id}/why", "why-rule", "Why a rule made no hit", 200, 404, 422), s.whyOfRule)
}

type whyInput struct {
	Container string    `query:"container" maxLength:"256" doc:"Name, id or the beginning of an id; may be left out with a time, and with an event"`
	At        time.Time `query:"at" doc:"The first line that was written then or later"`
	Line      int64     `query:"line" doc:"Or the n-th of those of the container that are kept; -1 is the last"`
	Event     int64     `query:"event" minimum:"0" doc:"Or the line that this event is about"`
	All       bool      `query:"all" doc:"Also the rules whose pattern doesn't match"`
}

func (s *server) whyLine(ctx context.Context, in *whyInput) (*output[Why], error) {
	if s.Why == nil {
		return nil, huma.Error503ServiceUnavailable("the logs can't be read yet")
	}
	limited, cancel := s.whyContext(ctx, "at")
	defer cancel()
	w, err := s.Why(limited, query.WhyQuery{Container: in.Container, At: in.At, Line: in.Line, Event: in.Event})
	if err != nil {
		return nil, s.failWhy(ctx, limited, err, "event")
	}
	return &output[Why]{Body: s.whyOut(&w, in.All)}, nil
}

// whyContext bounds what is read for an answer.
func (s *server) whyContext(ctx context.Context, field string) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, min(s.queryTime, whyTime), huma.Error422UnprocessableEntity(field+": "+tooMuchForWhy, &huma.ErrorDetail{Location: "query." + field, Message: tooMuchForWhy}))
}

// failWhy turns an error into an answer.
func (s *server) failWhy(ctx, limited context.Context, err error, what string) error {
	var wrong *fields.Error
	switch {
	case ctx.Err() == nil && limited.Err() != nil:
		err = context.Cause(limited)
	case errors.As(err, &wrong):
		return huma.Error422UnprocessableEntity(wrong.Error(), &huma.ErrorDetail{Location: "query." + wrong.Field, Message: wrong.Reason})
	case errors.Is(err, query.ErrNoContainer):
		return huma.Error404NotFound(err.Error())
	}
	return s.fail(err, what)
}

func (s *server) whyOut(w *query.Why, all bool) Why {
	out := Why{Rules: []WhyRule{}, Elsewhere: w.Elsewhere, Replayed: w.Replayed, Whole: w.Whole}
	if c, l := w.Container, w.Line; l != nil {
		out.Unscanned = !c.Scan
		out.Line = &WhyLine{
			ContainerID: c.ID, Container: c.Name, Workload: c.Workload, Time: time.Unix(0, l.TimeNano).UTC(), Stream: l.Stream, Text: w.Text, Lines: w.Lines, From: l.From, To: l.To,
		}
	}
	out.Event = eventOrNil(w.Event)
	for i := range w.Rules {
		if v := &w.Rules[i]; v.Outcome == query.WhyUnmatched && !all {
			out.Unmatched++
		} else {
			out.Rules = append(out.Rules, s.whyRuleOut(v))
		}
	}
	return out
}

func eventOrNil(e *event.Event) *Event {
	if e == nil {
		return nil
	}
	out := eventOut(*e)
	return &out
}

func (s *server) whyRuleOut(v *query.WhyRule) WhyRule {
	r := &v.Rule
	out := WhyRule{
		RuleID: r.ID, Rule: r.Name, Kind: r.Kind, State: r.State, Updated: r.UpdatedAt, Outcome: string(v.Outcome), Changed: v.Changed, Parts: v.Parts, By: v.By, Replayed: v.Replayed,
		Behind: v.Behind, Until: v.Until, Matches: v.Matches, AtLeast: v.Of, MatchesSince: v.MatchesSince, Event: eventOrNil(v.Event), Folded: v.Folded, Each: fatesOut(v.Each),
	}
	if r.Kind != rule.KindLine && !r.CreatedAt.IsZero() { // else it has gone
		out.Sums = r.Sums()
	}
	if u := v.Unmet; u != nil {
		out.Unmet = &WhyCondition{Field: u.Field, Condition: u.Pattern, Part: u.Part.String(), About: u.About, Value: s.Redact.Text(u.Value), Missing: u.Missing}
	}
	if v.BehindEvent != nil {
		out.BehindEventID = v.BehindEvent.ID
	}
	if v.ToldWith != nil {
		out.ToldWithID = v.ToldWith.ID
	}
	if v.Incident != nil {
		i := s.incidentOut(*v.Incident)
		out.Incident = &i
	}
	for _, n := range v.Notices {
		of := WhyNotice{Notice: noticeOut(n.Noticed)}
		of.Triggers = fatesOut(n.Fates)
		if n.Silence != nil {
			for k, m := range n.Silence.Matchers {
				if k > 0 {
					of.Silence += " "
				}
				of.Silence += m.String()
			}
		}
		out.Notices = append(out.Notices, of)
	}
	return out
}

func noticeOut(n store.Noticed) Notice {
	return Notice{
		Kind: string(n.Kind), Reason: n.Reason, Severity: string(n.Severity), Matches: n.Matches,
		At: n.At.UTC(), CreatedAt: n.CreatedAt.UTC(), SilencedBy: n.SilencedBy, Shadow: n.Shadow,
	}
}

func fatesOut(all []trigger.Fate) (out []Fate) {
	for _, f := range all {
		out = append(out, fateOut(f))
	}
	return out
}

type whyRuleInput struct {
	ByID
	Since time.Time `query:"since" doc:"Lines from then on; without it, of the last 24 hours"`
}

func (s *server) whyOfRule(ctx context.Context, in *whyRuleInput) (*output[RuleWhy], error) {
	if s.WhyRule == nil {
		return nil, huma.Error503ServiceUnavailable("the logs can't be read yet")
	}
	r, err := s.Store.Rule(ctx, in.ID)
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	q := query.WhyRuleQuery{Rule: r, Since: in.Since, Until: time.Now()}
	if q.Since.IsZero() {
		q.Since = q.Until.Add(-24 * time.Hour)
	}
	if !q.Since.Before(q.Until) {
		return nil, huma.Error422UnprocessableEntity("since: has to be before now", &huma.ErrorDetail{Location: "query.since", Message: "has to be before now"})
	}
	limited, cancel := s.whyContext(ctx, "since")
	defer cancel()
	w, err := s.WhyRule(limited, q)
	var bad rule.CompileError
	if errors.As(err, &bad) {
		return &output[RuleWhy]{Body: RuleWhy{
			Since: q.Since.UTC(), Until: q.Until.UTC(), State: r.State, Updated: r.UpdatedAt, Kind: r.Kind, Error: bad.Reason, Parts: []RulePart{}, Unmet: []RuleUnmet{}, Rarest: []string{},
		}}, nil
	}
	if err != nil {
		return nil, s.failWhy(ctx, limited, err, "rule")
	}
	out := RuleWhy{
		Since: w.Since, Until: w.Until, State: r.State, Updated: r.UpdatedAt, Kind: r.Kind, Events: w.Events, Last: eventOrNil(w.Last),
		Containers: w.Containers, Others: w.Others, Unscanned: w.Unscanned, Overridden: w.Overridden, Whole: w.Whole, Lines: w.Lines, Matches: w.Matches, Before: w.Before,
		Hits: w.Counts.Hits, Cooldown: w.Counts.Cooldown, Bucket: w.Counts.Bucket, GivenUp: w.Counts.GivenUp,
		Parts: make([]RulePart, len(w.Parts)), Unmet: make([]RuleUnmet, len(w.Unmet)), Stream: w.Stream, Hidden: w.Hidden,
		Rarest: append([]string{}, w.Rarest[:min(len(w.Rarest), maxRarest)]...), Near: w.Near, NearLine: w.NearLine,
		Most: w.Most, MostAt: w.MostAt, MostBy: w.MostBy,
	}
	if r.Kind == rule.KindCount {
		out.AtLeast, out.Within = r.AtLeast, r.WithinSeconds
	}
	for i, p := range w.Parts {
		out.Parts[i] = RulePart(p)
	}
	for i, u := range w.Unmet {
		out.Unmet[i] = RuleUnmet(u)
	}
	return &output[RuleWhy]{Body: out}, nil
}

// maxRarest is how many texts are named of which a match has one.
const maxRarest = 20
