package trigger

import (
	"encoding/json"
	"log/slog"
	"net/url"
	"time"

	"logscan/internal/event"
	"logscan/internal/fields"
)

// Trigger says who is told of what, and when. Its filters are ANDed; an empty one
// matches all. Fields has a line about each of its fields that is not logscan's own.
type Trigger struct {
	ID                       int64                       `json:"id" readOnly:"true"`
	Name                     string                      `json:"name"`
	Enabled                  bool                        `json:"enabled"`
	Mode                     string                      `json:"mode"`
	Severities               fields.List[event.Severity] `json:"severities"`
	MinSeverity              event.Severity              `json:"min_severity"`
	Sources                  fields.List[event.Source]   `json:"sources"`
	Rules                    fields.List[string]         `json:"rules"`         // globs of names
	Workloads                fields.List[string]         `json:"workloads"`     // globs
	Labels                   fields.List[string]         `json:"labels"`        // KEY or KEY=VALUE, globs, of which a container has all
	Kinds                    fields.List[string]         `json:"kinds"`         // of rules
	MessageRegex             string                      `json:"message_regex"` // RE2
	Notices                  fields.List[string]         `json:"notices"`
	UnacknowledgedForSeconds int64                       `json:"unacknowledged_for_seconds"`
	GroupBy                  string                      `json:"group_by"`
	GroupWaitSeconds         int64                       `json:"group_wait_seconds"`
	GroupIntervalSeconds     int64                       `json:"group_interval_seconds"`
	ContextWaitSeconds       int64                       `json:"context_wait_seconds"`
	AtMost                   string                      `json:"at_most"` // see ParseAtMost
	Active                   string                      `json:"active"`  // see schedule.ParseHours
	Digest                   string                      `json:"digest"`  // see ParseDigest
	Title                    string                      `json:"title"`   // Go templates
	Body                     string                      `json:"body"`
	ActionURL                string                      `json:"action_url"`    // may hold a password or token
	ActionSecret             string                      `json:"action_secret"` // signs what is sent, or opens the service; "" for none
	fields.Managed           `readOnly:"true"`
	// Refs are texts of action_url and action_secret, by these names, that refer to
	// secrets elsewhere; the fields have what the texts stand for.
	Refs      map[string]string `json:"-" readOnly:"true"`
	CreatedAt time.Time         `json:"created_at" readOnly:"true"`
	UpdatedAt time.Time         `json:"updated_at" readOnly:"true"`
}

// ContextWait is for how many seconds deliveries wait for the lines after a hit, unless
// their trigger says otherwise; MaxContextWait is the most.
const (
	ContextWait    = 2
	MaxContextWait = 10
)

// Modes of a trigger.
const (
	ModeIncidents = "incidents" // tells what becomes of incidents
	ModeEvents    = "events"    // tells each event by itself
)

// Table implements fields.Defined.
func (Trigger) Table() *fields.Table[Trigger] { return Fields }

// Placeholder is what is shown instead of a secret. Sent back, it leaves the secret
// as it is.
const Placeholder = "********"

// Shown is the trigger as it may be shown: its secrets are not in it. What is shown
// of a URL is scheme and host, of a mailto: URL the server: user, path and query are
// what many services know a sender by.
func (t Trigger) Shown() Trigger {
	if u, err := url.Parse(t.ActionURL); err != nil || shownHost(u) == "" {
		t.ActionURL = Placeholder
	} else {
		t.ActionURL = u.Scheme + "://" + shownHost(u) + "/" + Placeholder
	}
	if t.ActionSecret != "" {
		t.ActionSecret = Placeholder
	}
	return t
}

// shownHost is the host, and its port, that is shown of a URL; "" where it has none.
func shownHost(u *url.URL) string {
	if u.Host != "" || u.Scheme != "mailto" {
		return u.Host
	}
	server, err := url.Parse("mailto://" + u.Query().Get("server"))
	if err != nil { // the server may be anything as long as the URL isn't valid
		return ""
	}
	return server.Host
}

// MarshalJSON encodes the trigger as it may be shown. The stored form, which has its
// secrets, is Fields'.
func (t Trigger) MarshalJSON() ([]byte, error) {
	type shown Trigger
	return json.Marshal(shown(t.Shown()))
}

// LogValue keeps URL and secret out of logs.
func (t Trigger) LogValue() slog.Value {
	return slog.GroupValue(slog.Int64("id", t.ID), slog.String("name", t.Name))
}

// String keeps URL and secret out of formatted text.
func (t Trigger) String() string { return "trigger " + t.Name }

// GoString does the same for %#v.
func (t Trigger) GoString() string { return t.String() }
