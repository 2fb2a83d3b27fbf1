package trigger

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"logscan/internal/channel"
	"logscan/internal/channel/all"
	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/schedule"
)

// Policy is what an enabled trigger says about incidents, ready to use: which
// notices it wants, and when it tells them.
type Policy struct {
	ID     int64
	Name   string
	Single bool // a message has one notice

	acknowledges bool // the service keeps that an incident was acknowledged
	refers       bool // messages about an incident alone refer to the one before, or replace it

	filter
	kinds             []incident.Kind // none: what people usually want
	unacknowledgedFor time.Duration
	groupBy           string
	groupWait         time.Duration
	groupInterval     time.Duration
	atMost            Budget
	active            schedule.Hours
	digest            cron.Schedule // nil: none
	title, body       channel.Template
	actions           func(incident int64, now time.Time) []channel.Action
	asked             bool // its service tells what is pressed
	presses           func(incident int64, now time.Time) []channel.Press
}

// newPolicy makes ready what a trigger says; message is its message_regex, compiled.
// What is wrong with it is a reason for users.
func newPolicy(t Trigger, message *regexp.Regexp) (*Policy, error) {
	kind, config, err := all.Find(t.ActionURL)
	if err != nil {
		return nil, fmt.Errorf("action_url %w", err)
	}
	p := &Policy{
		ID: t.ID, Name: t.Name, Single: kind.Single, acknowledges: kind.Acknowledges, asked: kind.Asked, refers: kind.Single || kind.Refers != nil && kind.Refers(config.URL), filter: newFilter(t, message),
		unacknowledgedFor: seconds(t.UnacknowledgedForSeconds), groupBy: t.GroupBy, groupWait: seconds(t.GroupWaitSeconds), groupInterval: seconds(t.GroupIntervalSeconds),
	}
	for _, k := range t.Notices {
		p.kinds = append(p.kinds, incident.Kind(k))
	}
	if p.atMost.N, p.atMost.Per, err = ParseAtMost(t.AtMost); err != nil {
		return nil, fmt.Errorf("at_most %w", err)
	}
	if p.active, err = schedule.ParseHours(t.Active); err != nil {
		return nil, fmt.Errorf("active %w", err)
	}
	if p.digest, err = ParseDigest(t.Digest); err != nil {
		return nil, fmt.Errorf("digest %w", err)
	}
	if p.title, err = channel.ParseTemplate(t.Title); err != nil {
		return nil, fmt.Errorf("title %w", err)
	}
	if p.body, err = channel.ParseTemplate(t.Body); err != nil {
		return nil, fmt.Errorf("body %w", err)
	}
	return p, nil
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

// Budget is how many messages there may be in a time; the zero Budget is none.
type Budget struct {
	N   int
	Per time.Duration
}

// Interval is how long it matters when a group was told.
func (p *Policy) Interval() time.Duration { return p.groupInterval }

// AtMost is the trigger's budget.
func (p *Policy) AtMost() Budget { return p.atMost }

// Wants reports whether a trigger is for a notice of an incident.
func (p *Policy) Wants(i *incident.Incident, n incident.Notice) bool { return p.UnwantedBy(i, n) == "" }

// UnwantedBy is why a trigger isn't for a notice of an incident: the name of the first
// of its fields that leaves it out, or OwnFailure; "" where it is for it.
func (p *Policy) UnwantedBy(i *incident.Incident, n incident.Notice) string {
	switch {
	case i.About == p.ID:
		return OwnFailure
	case !p.wantsKind(i, n.Kind):
		return "notices"
	}
	return p.refuses(ofIncident(i))
}

// OwnFailure is why a trigger isn't told of an incident that is about itself.
const OwnFailure = "own_failure"

func (p *Policy) wantsKind(i *incident.Incident, k incident.Kind) bool {
	switch {
	case len(p.kinds) > 0:
		return slices.Contains(p.kinds, k)
	case k == incident.NoticeResolved:
		return p.Single || i.Settings.TellResolved
	case k == incident.NoticeAcknowledged:
		return p.acknowledges
	}
	return true
}

// Digest is the group of what waits for a budget, or for active hours: it is told
// together.
const Digest = "*"

// Group is what notices about an incident are told together with.
func (p *Policy) Group(i *incident.Incident) string {
	if p.Single {
		return "incident " + strconv.FormatInt(i.ID, 10)
	}
	switch p.groupBy {
	case "rule":
		return "rule " + i.Rule
	case "container":
		return "container " + i.Container
	case "incident":
		return "incident " + strconv.FormatInt(i.ID, 10)
	case "none":
		return "all"
	}
	return "workload " + i.Key.Workload
}

// eachByItself begins the groups in which each notice waits for a time of its own.
const eachByItself = "unacknowledged "

// EachByItself reports whether of a group only what is due is told.
func EachByItself(group string) bool { return strings.HasPrefix(group, eachByItself) }

// Together is the group in which others tell what is due of a group.
func Together(group string) string { return strings.TrimPrefix(group, eachByItself) }

// Calms reports whether a notice ends what a receiver keeps a state of, or has it wait
// for nobody any more. It is told though it is silenced, and at any hour, or the
// receiver would go on calling people.
func (p *Policy) Calms(n incident.Notice) bool {
	return p.Single && n.Kind == incident.NoticeResolved || p.acknowledges && n.Kind == incident.NoticeAcknowledged
}

// Group is what was told of a group before.
type Group struct {
	Told  time.Time // zero for never, or long ago
	Worst event.Severity
	Due   time.Time // when what is held for it is told; zero where nothing is
}

// Hold is until when a notice is held back, and why. The zero Hold tells it at once.
type Hold struct {
	Group string // of which it is then
	Until time.Time
	Why   string
}

// Decide says when a notice of an incident is told. g is its group, and digest that of
// what waits for the budget or the hours; full is when the budget has room again: the
// zero time is now.
func (p *Policy) Decide(i *incident.Incident, n incident.Notice, g, digest Group, full, now time.Time) Hold {
	group := p.Group(i)
	if wait := p.unacknowledgedFor; wait > 0 && n.Kind != incident.NoticeResolved {
		if at := i.First.Add(wait); at.After(now) {
			return Hold{eachByItself + group, at, Unacknowledged}
		}
	}
	if i.Severity != event.Critical && !p.active.At(now) && !p.Calms(n) {
		return Hold{Digest, p.active.Next(now), "outside of the trigger's hours"}
	}
	if !digest.Due.IsZero() && i.Severity != event.Critical { // what came before it waits
		return Hold{Digest, digest.Due, "after what waits"}
	}
	if full.After(now) {
		return Hold{Digest, full, "over the trigger's budget of messages"}
	}
	if p.Single {
		return Hold{}
	}
	switch {
	case !g.Due.IsZero() && i.Severity.Compare(g.Worst) <= 0:
		return Hold{group, g.Due, "grouped"}
	case !g.Told.IsZero() && !g.Told.After(now) && g.Told.Add(p.groupInterval).After(now) && i.Severity.Compare(g.Worst) <= 0:
		return Hold{group, g.Told.Add(p.groupInterval), "grouped"}
	case p.groupWait > 0 && g.Due.IsZero():
		return Hold{group, now.Add(p.groupWait), "grouped"}
	}
	return Hold{}
}

// Unacknowledged is why a notice waits for somebody to acknowledge its incident: if
// somebody does, it is not told.
const Unacknowledged = "unless it is acknowledged"
