package api

import (
	"time"
)

// Placeholder is what reads show instead of a secret. Sent back, it leaves the
// secret as it is.
const Placeholder = "********"

// Rule finds lines.
type Rule struct {
	ID              int64     `json:"id"`
	Name            string    `json:"name"`
	Description     string    `json:"description"`
	Pattern         string    `json:"pattern"`
	Severity        string    `json:"severity"`
	Streams         string    `json:"streams"`
	CooldownSeconds int64     `json:"cooldown_seconds"`
	Enabled         bool      `json:"enabled"`
	WorkloadID      string    `json:"workload_id" doc:"The one workload it is for; empty for all"`
	OverridesID     int64     `json:"overrides_id" doc:"The global rule that this one replaces in its workload; 0 for none"`
	CreatedAt       time.Time `json:"created_at"`
	UpdatedAt       time.Time `json:"updated_at"`
}

// RuleFields are what can be said about a rule. Absent ones stay as they are,
// or get their default in a new rule; null is the default too.
type RuleFields struct {
	Name            Field[string] `json:"name,omitzero"`
	Description     Field[string] `json:"description,omitzero"`
	Pattern         Field[string] `json:"pattern,omitzero" doc:"A regular expression in RE2 syntax"`
	Severity        Field[string] `json:"severity,omitzero" doc:"info, warn or error; default warn"`
	Streams         Field[string] `json:"streams,omitzero" doc:"all, stdout or stderr; default all"`
	CooldownSeconds Field[int64]  `json:"cooldown_seconds,omitzero" doc:"How long after a hit further ones of the same container are counted only; default 300, 0 for none"`
	Enabled         Field[bool]   `json:"enabled,omitzero" doc:"Default true"`
	WorkloadID      Field[string] `json:"workload_id,omitzero" doc:"The one workload it is for; empty for all"`
	OverridesID     Field[int64]  `json:"overrides_id,omitzero" doc:"The global rule that this one replaces in its workload"`
	Echo
}

// RuleCreate is a new rule.
type RuleCreate struct {
	Name    string `json:"name"`
	Pattern string `json:"pattern" doc:"A regular expression in RE2 syntax"`
	RuleFields
}

// Echo are the fields that only the server sets. They are accepted, so that
// what was read can be sent back, and ignored.
type Echo struct {
	ID        int64     `json:"id,omitzero" readOnly:"true"`
	CreatedAt time.Time `json:"created_at,omitzero" readOnly:"true"`
	UpdatedAt time.Time `json:"updated_at,omitzero" readOnly:"true"`
}

// RuleTest asks what a rule makes of some lines: a stored one, or a pattern.
type RuleTest struct {
	RuleID  int64    `json:"rule_id,omitzero"`
	Pattern string   `json:"pattern,omitzero"`
	Lines   []string `json:"lines" maxItems:"1000" nullable:"false"`
}

// RuleTestResult is the answer, line by line.
type RuleTestResult struct {
	Pattern string     `json:"pattern"`
	Matched int        `json:"matched" doc:"How many lines match"`
	Lines   []LineTest `json:"lines" nullable:"false"`
}

// LineTest is one line's.
type LineTest struct {
	Matched  bool              `json:"matched"`
	Captures map[string]string `json:"captures,omitempty" doc:"Of the first match, by name or $n"`
	Spans    []Span            `json:"spans,omitempty" nullable:"false" doc:"Where the matches are, at most 32"`
}

// Span is a part of a line, in bytes of UTF-8.
type Span struct {
	Start int `json:"start"`
	End   int `json:"end"`
}

// Trigger sends events to a URL.
type Trigger struct {
	ID           int64     `json:"id"`
	Name         string    `json:"name"`
	Enabled      bool      `json:"enabled"`
	Severities   string    `json:"severities" doc:"Comma-separated; empty for all"`
	Sources      string    `json:"sources" doc:"Comma-separated; empty for all"`
	MessageRegex string    `json:"message_regex"`
	ActionURL    string    `json:"action_url" doc:"A password in it is shown as xxxxx; sent back like that it stays as it is"`
	ActionSecret string    `json:"action_secret" doc:"Always a placeholder, or empty if there is none"`
	CreatedAt    time.Time `json:"created_at"`
	UpdatedAt    time.Time `json:"updated_at"`
}

// TriggerFields are what can be said about a trigger, as in RuleFields.
type TriggerFields struct {
	Name         Field[string] `json:"name,omitzero"`
	Enabled      Field[bool]   `json:"enabled,omitzero" doc:"Default true"`
	Severities   Field[string] `json:"severities,omitzero" doc:"Comma-separated info, warn, error; empty for all"`
	Sources      Field[string] `json:"sources,omitzero" doc:"Comma-separated logscan, system; empty for all"`
	MessageRegex Field[string] `json:"message_regex,omitzero" doc:"What the event's message must match"`
	ActionURL    Field[string] `json:"action_url,omitzero" doc:"http or https"`
	ActionSecret Field[string] `json:"action_secret,omitzero" doc:"Signs what is sent (Standard Webhooks); whsec_<base64> or any text; empty for none"`
	Echo
}

// TriggerCreate is a new trigger.
type TriggerCreate struct {
	Name      string `json:"name"`
	ActionURL string `json:"action_url" doc:"http or https"`
	TriggerFields
}

// Event is an entry of the event log: a hit, or something about logscan itself.
type Event struct {
	ID        int64          `json:"id"`
	Source    string         `json:"source" doc:"logscan for hits, system for what logscan says about itself"`
	Severity  string         `json:"severity"`
	Message   string         `json:"message"`
	Metadata  map[string]any `json:"metadata"`
	CreatedAt time.Time      `json:"created_at"`
}

// Delivery is one event on its way to one trigger's URL.
type Delivery struct {
	ID         string    `json:"id" doc:"The same in every attempt"`
	EventID    int64     `json:"event_id"`
	TriggerID  int64     `json:"trigger_id"`
	State      string    `json:"state" doc:"pending, delivered or dead"`
	Attempts   int       `json:"attempts"`
	NextAt     time.Time `json:"next_at,omitzero"`
	LastStatus int       `json:"last_status,omitzero"`
	LastError  string    `json:"last_error,omitzero"`
	CreatedAt  time.Time `json:"created_at"`
}

// Container is one whose log is kept.
type Container struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Image    string    `json:"image"`
	Workload string    `json:"workload"`
	Running  bool      `json:"running" doc:"Something is attached to write to its log"`
	Scan     bool      `json:"scan"`
	Bytes    int64     `json:"bytes" doc:"On disk"`
	Lag      int64     `json:"lag" doc:"Bytes of log that no rule has seen yet"`
	Started  time.Time `json:"started,omitzero"`
	Latest   time.Time `json:"latest,omitzero" doc:"When it was last written to"`
}

// List is how collections are answered.
type List[T any] struct {
	Items []T `json:"items" nullable:"false"`
}

// EventPage is part of the event log, oldest first.
type EventPage struct {
	Items []Event `json:"items" nullable:"false"`
	// More is set where events beyond this page match: ask again before the
	// first item's id, or after the last one's.
	More bool `json:"more" doc:"There are more events in the direction asked for"`
}

// RuleStats tell what became of a rule's matches since the plugin's start.
type RuleStats struct {
	RuleID     int64  `json:"rule_id"`
	Name       string `json:"name"`
	WorkloadID string `json:"workload_id"`
	Enabled    bool   `json:"enabled"`
	Hits       int64  `json:"hits" doc:"Matches that became events"`
	Cooldown   int64  `json:"suppressed_cooldown" doc:"Matches that its cooldown held back"`
	Bucket     int64  `json:"suppressed_bucket" doc:"Matches that the bound of a container's hits held back"`
	Error      string `json:"error,omitempty" doc:"Why it is not in use although it is enabled"`
}

// TriggerTestResult is what a test of a trigger came to. What the receiver
// answered is told by its status alone.
type TriggerTestResult struct {
	OK        bool   `json:"ok" doc:"The receiver took it"`
	Status    int    `json:"status,omitzero" doc:"The HTTP status of its answer; absent if there was none"`
	LatencyMS int64  `json:"latency_ms"`
	Error     string `json:"error,omitempty" doc:"Why it was not taken"`
}

// Workload is what containers that do the same are called together.
type Workload struct {
	ID         string `json:"id"`
	Containers int    `json:"containers" doc:"Whose logs are kept"`
	Running    int    `json:"running"`
	Rules      int    `json:"rules" doc:"Of its own, switched on or off"`
	Overrides  int    `json:"overrides" doc:"Of global rules, switched on or off"`
}

// EffectiveRules are those that lines of a workload's containers are checked
// with: the global ones that it doesn't override, its overrides and its own.
type EffectiveRules struct {
	WorkloadID string    `json:"workload_id"`
	Items      []Rule    `json:"items" nullable:"false"`
	LeftOut    []LeftOut `json:"left_out" nullable:"false" doc:"Rules that would hold here too, but can't be used"`
}

// LeftOut is an enabled rule that is not in use.
type LeftOut struct {
	RuleID int64  `json:"rule_id"`
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Token is what opens the API over TCP.
type Token struct {
	Token  string `json:"token"`
	Listen string `json:"listen" doc:"The address set by LOGSCAN_LISTEN"`
}

// Stats are what logscan counts, since the plugin's start unless said otherwise.
type Stats struct {
	Version string       `json:"version"`
	Started time.Time    `json:"started"`
	Worker  WorkerStats  `json:"worker"`
	Ingest  IngestStats  `json:"ingest"`
	Journal JournalStats `json:"journal"`
	Scan    ScanStats    `json:"scan"`

	Deliveries DeliveryStats `json:"deliveries"`
	Problems   []Reason      `json:"problems" nullable:"false" doc:"What is wrong now, as in /healthz"`
}

// DeliveryStats are how many deliveries there are now, by state, and what
// attempts came to since the start.
type DeliveryStats struct {
	Pending   int64            `json:"pending"`
	Delivered int64            `json:"delivered"`
	Dead      int64            `json:"dead"`
	Outcomes  DeliveryOutcomes `json:"outcomes"`
}

// DeliveryOutcomes are counted since the plugin's start.
type DeliveryOutcomes struct {
	Delivered int64 `json:"delivered"`
	Retried   int64 `json:"retried" doc:"Attempts that failed and are repeated"`
	Dead      int64 `json:"dead" doc:"Deliveries given up"`
}

// WorkerStats are about the processes before the one that answers: the plugin
// starts another whenever one ends.
type WorkerStats struct {
	Restarts int       `json:"restarts" doc:"Since the Engine started the plugin"`
	InARow   int       `json:"in_a_row" doc:"Of those, the latest ones that ended within seconds of their start"`
	LastExit string    `json:"last_exit,omitempty" doc:"How the latest one ended: its exit status or signal"`
	LastAt   time.Time `json:"last_at,omitzero" doc:"When"`
}

// IngestStats are about the way from containers to their logs.
type IngestStats struct {
	Attachments int   `json:"attachments" doc:"Containers attached now"`
	Bytes       int64 `json:"bytes" doc:"Taken in"`
	Retries     int64 `json:"retries" doc:"Writes that had to be repeated, say for want of disk space"`
}

// JournalStats are about the logs kept.
type JournalStats struct {
	Containers int             `json:"containers"`
	Bytes      int64           `json:"bytes" doc:"On disk"`
	Losses     int64           `json:"losses" doc:"How often something could not be kept; each is an event"`
	ByReason   map[string]Loss `json:"losses_by_reason" doc:"torn, corrupt: what containers' streams held; unscanned: removed by retention before a rule had seen it; budget: removed to keep within the disk budget; full: removed to make room on a full disk; dropped: newest lines, where the log could not be written for seconds"`
}

// Loss sums up what could not be kept for one reason.
type Loss struct {
	Times   int64 `json:"times"`
	Bytes   int64 `json:"bytes"`
	Entries int64 `json:"entries" doc:"Lines, or chunks of long ones, where their number is known"`
}

// ScanStats are about rules.
type ScanStats struct {
	Rules      int   `json:"rules"`
	LeftOut    int   `json:"left_out" doc:"Rules that are enabled and can't be used; rule stats say why"`
	Lines      int64 `json:"lines" doc:"Checked"`
	Hits       int64 `json:"hits"`
	Suppressed int64 `json:"suppressed" doc:"Matches that a cooldown or the bound of a container's hits held back; the next event of the rule tells how many"`
	Cooldown   int64 `json:"suppressed_cooldown"`
	Bucket     int64 `json:"suppressed_bucket"`
	Truncated  int64 `json:"truncated" doc:"Lines too long to be checked beyond their beginning"`
	Malformed  int64 `json:"malformed" doc:"Entries that could not be read"`
	Skipped    int64 `json:"skipped" doc:"Bytes of log that were gone before any rule saw them"`
	Waiting    int   `json:"waiting" doc:"Events not stored yet"`
	Lag        int64 `json:"lag" doc:"Bytes of log that no rule has seen yet"`
	Echoes     int64 `json:"echoes" doc:"Lines that match a rule and are no hits because they repeat what logscan has sent"`
}

// Health tells whether all is well. A plugin that is degraded still carries,
// keeps and serves lines.
type Health struct {
	Status  string   `json:"status" doc:"ok or degraded" enum:"ok,degraded"`
	Version string   `json:"version"`
	Reasons []Reason `json:"reasons" nullable:"false" doc:"What is wrong; without details where no token was given"`
}

// Reason is one thing that is wrong.
type Reason struct {
	Reason string `json:"reason" doc:"database, settings, rules, triggers or losses"`
	Detail string `json:"detail,omitempty"`
}
