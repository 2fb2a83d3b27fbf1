package trigger

import (
	"errors"
	"fmt"
	"strings"

	"logscan/internal/channel"
	"logscan/internal/channel/all"
	"logscan/internal/event"
	"logscan/internal/fields"
	"logscan/internal/rule"
	"logscan/internal/schedule"
)

// Bounds of a trigger; each refusal names the one that it is about.
const (
	MaxURL      = 2048 // bytes
	MaxSecret   = 4096 // bytes
	MaxTemplate = 4096 // bytes
	MaxSchedule = 256  // bytes
)

// Fields are all that can be said about a trigger. Where its URL leads is
// CheckTarget's to check.
var Fields = fields.NewTable("trigger", []fields.Field[Trigger]{
	{Name: "name", Flag: "NAME", Doc: "What the trigger is called", Check: func(t Trigger) error { return rule.CheckName(t.Name) }},
	{Name: "enabled", Flag: "disabled", Kind: fields.Switch, Default: true, Doc: "Whether it is switched on", Usage: "Keep it switched off"},
	{Name: "mode", Flag: "mode", Default: ModeIncidents, Values: []string{ModeIncidents, ModeEvents}, Doc: "Tell what becomes of incidents, or each event by itself"},
	{Name: "severities", Flag: "severity", Kind: fields.Listed, Default: "", None: "all", Values: event.Names(event.Severities()), Doc: "Only events of these severities"},
	{Name: "min_severity", Flag: "min-severity", Default: "", None: "all", Values: event.Names(event.Severities()), Doc: "Only what is at least so severe"},
	{Name: "sources", Flag: "source", Kind: fields.Listed, Default: "", None: "all", Values: event.Names(event.Sources()), Doc: "Only events of these sources, where those of logscan are hits"},
	{Name: "rules", Flag: "rule", Kind: fields.Listed, Default: "", None: "all", Doc: "Only hits of rules with these names, where * is any text", Check: func(t Trigger) error { return rule.CheckGlobs(t.Rules) }},
	{Name: "workloads", Flag: "workload", Kind: fields.Listed, Default: "", None: "all", Doc: "Only hits in these workloads, where * is any text", Check: func(t Trigger) error { return rule.CheckGlobs(t.Workloads) }},
	{Name: "labels", Flag: "label", Kind: fields.Listed, Default: "", None: "all", Doc: "Only hits in containers with all of these labels, KEY or KEY=VALUE, where * is any text", Check: func(t Trigger) error { return rule.CheckLabels(t.Labels) }},
	{Name: "kinds", Flag: "kind", Kind: fields.Listed, Default: "", None: "all", Values: rule.Kinds, Doc: "Only hits of rules of these kinds"},
	{Name: "message_regex", Flag: "match", Default: "", None: "all", Doc: "Only events whose message matches this regular expression", Check: func(t Trigger) error {
		if t.MessageRegex == "" {
			return nil
		}
		return rule.CheckPattern(t.MessageRegex)
	}},
	{Name: "notices", Flag: "notice", Kind: fields.Listed, Default: "", None: "all; resolved only of rules that tell it, and acknowledged only to services that keep it",
		Values: []string{channel.Opened, channel.Escalated, channel.Repeated, channel.Acknowledged, channel.Resolved, channel.System, channel.Digest}, Doc: "Only these notices of incidents"},
	{Name: "unacknowledged_for_seconds", Flag: "unacknowledged-for", Kind: fields.Duration, Default: int64(0), Doc: "Only incidents that nobody has acknowledged for so long", Check: func(t Trigger) error { return rule.CheckSeconds(t.UnacknowledgedForSeconds) }},
	{Name: "group_by", Flag: "group-by", Default: "workload", Values: []string{"workload", "rule", "container", "incident", "none"}, Doc: "What messages are grouped by, or none for one group of all"},
	{Name: "group_wait_seconds", Flag: "group-wait", Kind: fields.Duration, Default: int64(0), Doc: "Wait so long for more of a group before it is told of", Check: func(t Trigger) error { return rule.CheckSeconds(t.GroupWaitSeconds) }},
	{Name: "group_interval_seconds", Flag: "group-interval", Kind: fields.Duration, Default: int64(300), Doc: "After a message about a group, wait so long before the next one (0 for none)", Check: func(t Trigger) error { return rule.CheckSeconds(t.GroupIntervalSeconds) }},
	{Name: "context_wait_seconds", Flag: "context-wait", Kind: fields.Duration, Default: int64(ContextWait), Doc: "Wait at most so long for the lines after a hit, to tell them with it (0 for none)", Check: func(t Trigger) error {
		if n := t.ContextWaitSeconds; n < 0 || n > MaxContextWait {
			return fmt.Errorf("must be from 0 (none) to %d", MaxContextWait)
		}
		return nil
	}},
	{Name: "at_most", Flag: "at-most", Default: "", None: "no bound", Doc: "At most so many messages a minute, an hour or a day: 40/h", Check: func(t Trigger) error { _, _, err := ParseAtMost(t.AtMost); return err }},
	{Name: "active", Flag: "active", Default: "", None: "always", Doc: "When messages are sent: days, hours and a time zone, such as Mon-Fri 08:00-18:00 Europe/Berlin", Check: func(t Trigger) error { return checkSchedule(t.Active, schedule.ParseHours) }},
	{Name: "digest", Flag: "digest", Default: "", None: "none", Doc: "When a summary is sent: five fields as of cron and a time zone, such as 0 8 * * Mon-Fri Europe/Berlin", Check: func(t Trigger) error { return checkSchedule(t.Digest, ParseDigest) }},
	{Name: "title", Flag: "title", Default: "", None: "logscan's own", Doc: "A Go template for messages' titles", Check: func(t Trigger) error { return checkTemplate(t.Title, t.Title) }},
	{Name: "body", Flag: "body", Default: "", None: "logscan's own", Doc: "A Go template for messages' texts", Check: func(t Trigger) error {
		return checkTemplate(t.Body, strings.NewReplacer("\n", " ", "\t", " ").Replace(t.Body))
	}},
	{Name: "action_url", Flag: "URL", Kind: fields.Secret, Doc: "Where messages go. A secret but for scheme and host: https://HOST/" + Placeholder + " is shown, and sent back like that it stays as it is", Check: checkAction},
	{Name: "action_secret", Flag: "secret", Kind: fields.Secret, Default: "", Doc: "Signs what is sent (Standard Webhooks), whsec_BASE64 or any text; or opens the service. Shown as " + Placeholder,
		Usage: "Sign what is sent with this secret", Check: checkAction},
}...)

// checkTemplate checks a template; onLine is it without what may be in it besides
// characters that can be printed.
func checkTemplate(text, onLine string) error {
	if err := rule.CheckText(onLine, MaxTemplate); err != nil {
		return err
	}
	_, err := channel.ParseTemplate(text)
	return err
}

// checkAction checks URL and secret, each of which may be wrong for the other.
func checkAction(t Trigger) error {
	refuse := func(field, format string, args ...any) error {
		return &fields.Error{Field: field, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case t.ActionURL == "":
		return refuse("action_url", "is required")
	case len(t.ActionURL) > MaxURL:
		return refuse("action_url", "is longer than %d bytes", MaxURL)
	case len(t.ActionSecret) > MaxSecret:
		return refuse("action_secret", "is longer than %d bytes", MaxSecret)
	}
	switch err := all.Validate(t.ActionURL, t.ActionSecret); {
	case errors.Is(err, channel.ErrSecret):
		return refuse("action_secret", "%v", err)
	case err != nil:
		return refuse("action_url", "%v", err)
	}
	return nil
}

func checkSchedule[T any](s string, parse func(string) (T, error)) error {
	if err := rule.CheckText(s, MaxSchedule); err != nil {
		return err
	}
	_, err := parse(s)
	return err
}
