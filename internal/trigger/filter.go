package trigger

import (
	"regexp"
	"slices"
	"strings"

	"logscan/internal/event"
	"logscan/internal/glob"
	"logscan/internal/incident"
	"logscan/internal/rule"
)

// filter is what a trigger is for, ready to match; empty parts match all.
type filter struct {
	name             string // of the trigger
	severities       []event.Severity
	minSeverity      event.Severity
	sources          []event.Source
	rules, workloads []string // globs
	labels           []string // KEY or KEY=VALUE, globs
	kinds            []string // of rules
	pattern          string   // message's
	message          *regexp.Regexp
}

func newFilter(t Trigger, message *regexp.Regexp) filter {
	return filter{
		name: t.Name, severities: t.Severities, minSeverity: t.MinSeverity, sources: t.Sources, rules: t.Rules, workloads: t.Workloads, labels: t.Labels, kinds: t.Kinds,
		pattern: t.MessageRegex, message: message,
	}
}

// subject is what a filter looks at, of an event or of an incident.
type subject struct {
	source     event.Source
	severity   event.Severity
	rule, kind string
	workload   string
	labels     map[string]string
	triggers   []string // that alone are told
	message    string
	shadow     bool // its rule is in shadow
}

// ofLogscan is the name under which rules' filters know what logscan says about itself.
const ofLogscan = "logscan"

func ofEvent(e event.Event) subject {
	text := func(key string) string {
		v, _ := e.Metadata[key].(string)
		return v
	}
	s := subject{e.Source, e.Severity, text("rule_name"), text("kind"), text("workload_id"), e.Labels, names(text(event.Triggers)), e.Message, e.InShadow()}
	switch {
	case e.Source == event.System:
		s.rule, s.kind = ofLogscan, ""
	case s.kind == "":
		s.kind = rule.KindLine
	}
	return s
}

func ofIncident(i *incident.Incident) subject {
	s := subject{event.Logscan, i.Severity, i.Rule, i.Kind, i.Key.Workload, i.Labels, names(i.Settings.Triggers), i.LastText, i.Shadow}
	switch {
	case i.Key.RuleID == 0:
		s.source = event.System
	case s.kind == "":
		s.kind = rule.KindLine
	}
	return s
}

// InShadow is why no trigger is told of what a rule in shadow finds.
const InShadow = "shadow"

// NotNamed is why a trigger isn't told of what a rule finds that names others.
const NotNamed = "triggers"

// names are those in a list with commas.
func names(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// refuses returns the name of the field that doesn't let s pass, or InShadow; "" where
// all do.
func (f *filter) refuses(s subject) string {
	switch {
	case s.shadow:
		return InShadow
	case len(s.triggers) > 0 && !slices.Contains(s.triggers, f.name):
		return NotNamed
	case len(f.severities) > 0 && !slices.Contains(f.severities, s.severity):
		return "severities"
	case f.minSeverity != "" && s.severity.Compare(f.minSeverity) < 0:
		return "min_severity"
	case len(f.sources) > 0 && !slices.Contains(f.sources, s.source):
		return "sources"
	case !glob.Any(f.rules, s.rule):
		return "rules"
	case !glob.Any(f.workloads, s.workload):
		return "workloads"
	case !glob.Labels(f.labels, s.labels):
		return "labels"
	case len(f.kinds) > 0 && !slices.Contains(f.kinds, s.kind):
		return "kinds"
	case f.message != nil && !f.message.MatchString(s.message):
		return "message_regex"
	}
	return ""
}
