package trigger

import (
	"slices"
	"strconv"
	"time"

	"logscan/internal/channel"
	"logscan/internal/event"
	"logscan/internal/incident"
)

// Told is a notice that is to be told, with the incident as it is now.
type Told struct {
	Incident  *incident.Incident
	Notice    incident.Notice
	Why       string    // it was held back; "" where it wasn't
	HeldSince time.Time // zero where it wasn't
	// Record is that of the hit which the notice shows; "" where its line is all.
	Record string
	// Event is that hit's id; 0 where it isn't known.
	Event int64
	// Was is the severity that the message before it about the incident had; "" where
	// there was none.
	Was string
}

// MaxNotices is how many notices a message has, the worst ones; of further ones it
// has how often their incidents were seen.
const MaxNotices = 50

// Message is what a trigger tells of notices, at least one. It has no id yet.
func (p *Policy) Message(installation string, told []Told, now time.Time) channel.Message {
	latest := Latest(told)
	m := channel.Message{At: now.UTC(), Trigger: p.Name}
	rest := latest[min(len(latest), MaxNotices):]
	for _, t := range latest[:len(latest)-len(rest)] {
		n := t.channel(installation)
		if p.actions != nil && t.Incident.State == incident.Open {
			n.Actions = p.actions(t.Incident.ID, now)
		}
		if p.presses != nil && p.asked && t.Incident.State == incident.Open {
			n.Presses = p.presses(t.Incident.ID, now)
		}
		m.Notices = append(m.Notices, n)
	}
	if len(rest) > 0 {
		m.Held = channel.Held{Notices: len(rest), Why: "too many for one message"}
		for _, t := range rest {
			m.Held.Hits += t.Incident.Matches
			if m.Held.Since.IsZero() || t.HeldSince.Before(m.Held.Since) {
				m.Held.Since = t.HeldSince
			}
		}
	}
	// Where a template fails on what it wasn't tried with, the usual text is sent.
	if title, err := p.title.Render(m); err == nil {
		m.Title = title
	}
	if body, err := p.body.Render(m); err == nil {
		m.Body = body
	}
	return m
}

// Thread is the incident that a message is about alone, where its service shows what
// becomes of it in one place; 0 for none.
func (p *Policy) Thread(m channel.Message) int64 {
	if !p.refers || len(m.Notices) != 1 || m.Held.Notices > 0 {
		return 0
	}
	return m.Notices[0].Incident
}

// Latest is the latest notice of each incident, the worst first.
func Latest(told []Told) []Told {
	last := map[int64]Told{}
	var order []int64
	for _, t := range told {
		before, known := last[t.Incident.ID]
		if !known {
			order = append(order, t.Incident.ID)
		} else if before.Notice.Kind == incident.NoticeOpened && t.Notice.Kind != incident.NoticeResolved && t.Notice.Kind != incident.NoticeAcknowledged {
			continue // that it began is the news; how often is said anyway
		}
		last[t.Incident.ID] = t
	}
	out := make([]Told, len(order))
	for i, id := range order {
		out[i] = last[id]
	}
	slices.SortStableFunc(out, func(a, b Told) int { return b.Incident.Severity.Compare(a.Incident.Severity) })
	return out
}

// channel is a notice as channels see it.
func (t Told) channel(installation string) channel.Notice {
	i := t.Incident
	n := channel.Notice{
		Kind: string(t.Notice.Kind), Incident: i.ID, Key: installation + "-" + strconv.FormatInt(i.ID, 10), Severity: string(i.Severity),
		Rule: i.Rule, Workload: i.Key.Workload, Container: i.Container, Image: i.Image, Shape: i.Readable,
		Count: i.Matches, First: i.First.UTC(), Last: i.Last.UTC(), Containers: len(i.Containers), Reason: t.Notice.Reason, Text: i.LastText,
	}
	if t.Was != n.Severity {
		n.Was = t.Was
	}
	if t.Notice.Kind == incident.NoticeOpened || t.Notice.Kind == incident.NoticeSystem {
		n.Text = i.FirstText
	}
	if t.Record != "" {
		n.Text = t.Record
	}
	n.Event = t.Event
	return n
}

// AboutDead reports whether notices report deliveries that were given up.
func AboutDead(told []Told) bool {
	return slices.ContainsFunc(told, func(t Told) bool { return t.Incident.About != 0 })
}

// Still leaves out what need not be told any more: somebody has acknowledged it
// meanwhile, or has taken that back.
func (p *Policy) Still(told []Told) []Told {
	return slices.DeleteFunc(told, func(t Told) bool {
		return t.Why == Unacknowledged && t.Incident.State != incident.Open ||
			t.Notice.Kind == incident.NoticeAcknowledged && t.Incident.State != incident.Acknowledged
	})
}

// Wait is until when what was held waits on, because the trigger's hours are over;
// zero for no longer.
func (p *Policy) Wait(told []Told, now time.Time) time.Time {
	if p.active.At(now) || slices.ContainsFunc(told, func(t Told) bool { return t.Incident.Severity == event.Critical }) {
		return time.Time{}
	}
	return p.active.Next(now)
}
