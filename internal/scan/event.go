package scan

import (
	"maps"
	"time"

	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/journal"
	"logscan/internal/rule"
)

// streakFrom is up to how long a streak of hits goes unsaid. Events beyond say
// how long it is, and so their messages carry a mark wherever they are sent
// (package trigger).
const streakFrom = 32

// hitEvent is what a hit becomes. Its texts are without secrets already.
func (s *Scanner) hitEvent(h *rule.Hit, c *journal.Container) event.Event {
	m := map[string]any{
		"workload_id":    c.Workload,
		"container_id":   c.ID,
		"container_name": c.Name,
		"image":          c.Image,
		"rule_id":        h.Rule.ID,
		"rule_name":      h.Rule.Name,
		"stream":         h.Stream,
		"line_time":      timestamp(h.TimeNano),
	}
	if len(h.Captures) > 0 {
		m["captures"] = h.Captures
	}
	if h.By != "" {
		m["by"] = s.cfg.Redact.Text(h.By)
	}
	if h.Record != "" {
		m[event.Record] = h.Record
	}
	if h.Suppressed > 0 {
		m["suppressed"] = h.Suppressed
		m["suppressed_since"] = timestamp(h.SuppressedSince)
	}
	if h.Rule.State == rule.Shadow {
		m[event.Shadow] = true
	}
	if len(h.Rule.Triggers) > 0 {
		m[event.Triggers] = h.Rule.Triggers.String()
	}
	if h.Streak > streakFrom {
		m[event.InARow] = h.Streak
	}
	return event.Event{
		Source: event.Logscan, Severity: h.Rule.Severity, Message: h.Text, Metadata: m,
		Around: around(h.Rule, c.ID, h.Stream, h.From, h.To, h.TimeNano),
		Time:   instant(h.TimeNano), Shape: h.Rule.IncidentShape(h.Shape), By: h.By, Labels: c.Labels,
	}
}

// around is which lines are kept with a hit; nil for none.
func around(r *rule.Rule, container, stream string, from, to, at int64) *event.Around {
	if container == "" || r.Before+r.After+r.SiblingsSeconds == 0 {
		return nil
	}
	return &event.Around{Container: container, Stream: stream, From: from, To: to, At: at, Before: int(r.Before), After: int(r.After), Siblings: int(r.SiblingsSeconds)}
}

// scopeOf is what decides which rules hold for a container.
func scopeOf(c *journal.Container) rule.Container {
	return rule.Container{Workload: c.Workload, Name: c.Name, Image: c.Image, Labels: c.Labels}
}

// suppressed is what was held back, as incidents see it.
func suppressed(all []rule.Suppressed, c *journal.Container) []incident.Hit {
	out := make([]incident.Hit, len(all))
	for n, s := range all {
		out[n] = incident.Hit{
			Key: incident.Key{RuleID: s.Rule.ID, Workload: c.Workload, By: s.By, Shape: s.Rule.IncidentShape(s.Shape)},
			At:  instant(s.Last), Rule: s.Rule.Name, Kind: rule.KindLine, Severity: s.Rule.Severity, Container: c.Name, Image: c.Image, Labels: c.Labels, Text: s.Text,
			Suppressed: s.Matches, SuppressedSince: instant(s.First), Others: s.Bucket && s.Rule.CooldownBy != rule.ByRule,
			Shadow: s.Rule.State == rule.Shadow,
		}
	}
	return out
}

func timestamp(nano int64) string { return instant(nano).Format(time.RFC3339Nano) }

// maxReason bounds what an event says of an error, in bytes.
const maxReason = 500

// refusal is what tells of a hit that the store refuses, in its place. It has
// nothing of what the container wrote.
func refusal(hit event.Event, err error) event.Event {
	m := maps.Clone(hit.Metadata)
	delete(m, "captures")
	delete(m, event.Record)
	delete(m, event.Shadow)
	reason := err.Error()
	m["about"], m["reason"] = "refused_hit", reason[:min(len(reason), maxReason)]
	return event.Event{
		Source: event.System, Severity: "error",
		Message:  "A hit could not be stored and is lost; metadata has its rule, container and time, and the reason.",
		Metadata: m,
	}
}
