package api

import (
	"time"

	"logscan/internal/fields"
	"logscan/internal/labels"
	"logscan/internal/rule"
	"logscan/internal/trigger"
)

// Rule finds lines. Its definition is one with what the engine runs.
type Rule = rule.Rule

// Echo are the fields that only the server sets. They are accepted, so that
// what was read can be sent back, and ignored.
type Echo struct {
	ID        int64     `json:"id,omitzero" readOnly:"true" doc:"Given by logscan"`
	CreatedAt time.Time `json:"created_at,omitzero" readOnly:"true" doc:"Set by logscan"`
	UpdatedAt time.Time `json:"updated_at,omitzero" readOnly:"true" doc:"Set by logscan"`
	fields.Managed
}

// SavedRule is a rule that was made or changed, and what it would have matched.
type SavedRule struct {
	Rule
	Hint *Hint `json:"hint,omitempty" doc:"Where the request asks for it, and there was time to find it out"`
}

// Hint says which share of the lines a rule matches that the containers which it holds
// for have written in the hour before.
type Hint struct {
	Since   time.Time `json:"since"`
	Lines   int64     `json:"lines" doc:"That were tried: of those containers, and of the rule's streams"`
	Matched int64     `json:"matched"`
	GivenUp int64     `json:"given_up,omitzero" doc:"Of which it would take too much work to say"`
	Sample  bool      `json:"sample,omitzero" doc:"There are more: about the newest of each container were tried"`
}

// RuleTest asks what a rule makes of some lines: a stored one, or one of a pattern, all
// or where.
type RuleTest struct {
	RuleID  int64    `json:"rule_id,omitzero"`
	Pattern string   `json:"pattern,omitzero"`
	All     []string `json:"all,omitempty" nullable:"false" doc:"Without a rule_id: patterns that a line has to match too"`
	Ignore  []string `json:"ignore,omitempty" nullable:"false" doc:"Without a rule_id: lines that any of these matches are no match"`
	Where   []string `json:"where,omitempty" nullable:"false" doc:"Without a rule_id: conditions on fields that a line has to fulfil"`
	// Rule is a rule as it would be added, instead of all of those.
	Rule  RuleFields `json:"rule,omitempty" doc:"Instead of these: all that can be said about a rule, its kind too"`
	Lines []string   `json:"lines" maxItems:"1000" nullable:"false"`
	At    []float64  `json:"at,omitempty" maxItems:"1000" nullable:"false" doc:"When each line was written, in seconds behind the first; it matters for kinds other than line"`
	Until float64    `json:"until,omitzero" minimum:"0" maximum:"1e9" doc:"Up to when time passes behind the last line, in seconds behind the first"`

	Conditions bool `json:"conditions,omitzero" doc:"Answer for each line what it is to each condition"`
}

// RuleTestResult is the answer, line by line.
type RuleTestResult struct {
	Pattern string     `json:"pattern"`
	Matched int        `json:"matched" doc:"How many lines match"`
	Lines   []LineTest `json:"lines" nullable:"false"`
	// Outcomes are behind the last line.
	Outcomes []TestOutcome `json:"outcomes,omitempty" nullable:"false" doc:"Of a rule of another kind than line: what time makes of it behind the last line"`
}

// LineTest is one line's.
type LineTest struct {
	Matched  bool              `json:"matched"`
	Part     string            `json:"part,omitempty" doc:"Which of the rule's conditions it fulfils, such as clear 1 or of; absent for those that make a match"`
	PartOf   *int              `json:"part_of,omitempty" doc:"Of a line that goes on with a record: the number of the record's first line among those given, from 0. What is said of a rule about records is said of that one"`
	Again    bool              `json:"again,omitempty" doc:"It matches, and so does a line before it in its record: a rule hits a record once"`
	Failed   string            `json:"failed,omitempty" enum:"pattern,all,ignore,where" doc:"The condition that a line doesn't fulfil that isn't matched"`
	By       string            `json:"by,omitempty" doc:"Of all, ignore or where: the pattern or condition that it is about"`
	Field    string            `json:"field,omitempty" doc:"Of where: the field that it is about"`
	Value    *string           `json:"value,omitempty" doc:"Of where: the field's value, at most 500 bytes; absent where the line has no such field"`
	GivenUp  bool              `json:"given_up,omitempty" doc:"It would take too much work to say whether it matches, or what the captures are; or the lines before it took all there was for the test"`
	Captures map[string]string `json:"captures,omitempty" doc:"Of the first match, by name or $n"`
	Spans    []Span            `json:"spans,omitempty" nullable:"false" doc:"Where the matches are, at most 32"`
	Outcomes []TestOutcome     `json:"outcomes,omitempty" nullable:"false" doc:"Of a rule of another kind than line: what the lines up to this one make of it"`

	Conditions []ConditionTest `json:"conditions,omitempty" nullable:"false" doc:"Where the request asks for it: what the line is to each condition of the rule. Of a rule about records, what the record is, at its first line"`
}

// ConditionTest is what a line is to one condition of a rule, whatever it is to others.
type ConditionTest struct {
	Part    string  `json:"part,omitempty" doc:"Of which of the rule's conditions it is, such as clear 1 or of; absent for those that make a match"`
	Kind    string  `json:"kind" enum:"pattern,all,ignore,where"`
	By      string  `json:"by" doc:"The pattern or condition, with what it quotes of others put in"`
	Met     bool    `json:"met" doc:"The line fulfils it; one of ignore, by not matching"`
	GivenUp bool    `json:"given_up,omitempty" doc:"It would take too much work to say"`
	Spans   []Span  `json:"spans,omitempty" nullable:"false" doc:"Where the pattern matches, at most 32; of a rule about records, in its lines joined by newlines"`
	Field   string  `json:"field,omitempty" doc:"Of where: the field that it is about"`
	Value   *string `json:"value,omitempty" doc:"Of where: the field's value, at most 500 bytes; absent where the line has no such field"`
}

// Span is a part of a line, in bytes of UTF-8.
type Span struct {
	Start int `json:"start"`
	End   int `json:"end"`
}

// Trigger says who is told. Its secrets are not in what is read.
type Trigger = trigger.Trigger

// Event is an entry of the event log: a hit, or something about logscan itself.
type Event struct {
	ID        int64          `json:"id" doc:"Ascending, never used twice"`
	Source    string         `json:"source" doc:"logscan for hits, system for what logscan says about itself"`
	Severity  string         `json:"severity" doc:"Of the rule; of what logscan says, how bad it is"`
	Message   string         `json:"message" doc:"The line, as valid UTF-8, at most 500 bytes"`
	Metadata  map[string]any `json:"metadata" doc:"What is known of the hit, or of what has happened"`
	CreatedAt time.Time      `json:"created_at" doc:"When it was stored"`
	Incident  int64          `json:"incident_id,omitzero" doc:"The incident that it is part of"`
}

// EventDetails is all that is known of an event.
type EventDetails struct {
	Event
	Context []ContextLine `json:"context" nullable:"false" doc:"The lines around what it is about, in the order in which they were written"`
	// Siblings are of the containers beside.
	Siblings []SiblingLine `json:"siblings,omitempty" doc:"Lines of the other containers of its compose project, or stack, about its time, in the order of time"`
	Whole    bool          `json:"context_whole" doc:"No more of them are waited for"`
}

// ContextLine is a line around an event, or one that it is about.
type ContextLine struct {
	Time   time.Time `json:"time"`
	Stream string    `json:"stream"`
	Text   string    `json:"text" doc:"As valid UTF-8, at most 4 KiB"`
	Cut    bool      `json:"cut,omitzero" doc:"There is more of it"`
	Own    bool      `json:"own,omitzero" doc:"The event is about it"`
}

// SiblingLine is a line of a container beside that of an event.
type SiblingLine struct {
	Container string `json:"container" doc:"Its name"`
	ContextLine
}

// Delivery is one event, or one message about incidents, on its way to one trigger's
// URL.
type Delivery struct {
	ID         string    `json:"id" doc:"The same in every attempt"`
	EventID    int64     `json:"event_id,omitzero" doc:"Absent for a message about incidents"`
	IncidentID int64     `json:"incident_id,omitzero" doc:"The first incident of a message"`
	TriggerID  int64     `json:"trigger_id"`
	State      string    `json:"state" doc:"pending, delivered or dead"`
	Attempts   int       `json:"attempts"`
	TriedAt    time.Time `json:"tried_at,omitzero" doc:"When the last attempt ended"`
	NextAt     time.Time `json:"next_at,omitzero"`
	LastStatus int       `json:"last_status,omitzero"`
	LastError  string    `json:"last_error,omitzero"`
	CreatedAt  time.Time `json:"created_at"`
}

// Redelivered says how many deliveries are sent again.
type Redelivered struct {
	Redelivered int64 `json:"redelivered" doc:"The newest ones, where more would wait than may; ask again for the others later"`
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
	Echoes   int64     `json:"echoes" doc:"Lines, since the plugin's start, that were hidden from rules which they match because they repeat what logscan has sent about them"`
	Started  time.Time `json:"started,omitzero"`
	Latest   time.Time `json:"latest,omitzero" doc:"When it was last written to"`
}

// ContainerDetails is a container whose log is kept, with its latest runs.
type ContainerDetails struct {
	Container
	Runs   []ContainerRun   `json:"runs" nullable:"false" doc:"The latest, newest first"`
	Labels *ContainerLabels `json:"labels,omitempty" doc:"What its labels and log options say to logscan; absent where they say nothing"`
}

// ContainerLabels are what a container's labels and log options say to logscan.
type ContainerLabels struct {
	Rules    []string         `json:"rules" nullable:"false" doc:"Names of the rules that they declare"`
	Silences []string         `json:"silences" nullable:"false" doc:"Names of the silences that they declare"`
	Packs    []string         `json:"packs" nullable:"false" doc:"Packs that they name"`
	Counts   bool             `json:"counts" doc:"They are in effect: the container is scanned, and the newest of its workload"`
	Newest   string           `json:"newest,omitempty" doc:"The container whose labels are in effect instead"`
	Problems []labels.Problem `json:"problems" nullable:"false" doc:"What isn't in effect, and why"`
}

// ContainerRun is a container's run from a start to an end.
type ContainerRun struct {
	Started   time.Time     `json:"started"`
	Ended     time.Time     `json:"ended,omitzero" doc:"Absent while it goes on"`
	LastWords []ContextLine `json:"last_words,omitempty" doc:"Its last lines, at most 50, as they are kept where it ended within 10 s, or one of them looks like an error"`
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

// RuleStats tell what became of a rule's matches since the plugin's start, and what is
// open of it now.
type RuleStats struct {
	RuleID     int64  `json:"rule_id"`
	Name       string `json:"name"`
	WorkloadID string `json:"workload_id"`
	State      string `json:"state" doc:"on, off or shadow"`
	Enabled    bool   `json:"enabled" doc:"The state is another one than off"`
	Matches    int64  `json:"matches" doc:"Lines that match"`
	Hits       int64  `json:"hits" doc:"Of kind line, matches that became events; of other kinds, what they added up to"`
	Cooldown   int64  `json:"suppressed_cooldown" doc:"Matches that its cooldown held back, or that are further ones in a record"`
	Bucket     int64  `json:"suppressed_bucket" doc:"Matches that the bound of a container's hits held back"`
	Ignored    int64  `json:"ignored" doc:"Lines that match its pattern, and one of those to ignore too"`
	GivenUp    int64  `json:"given_up" doc:"Lines that would have taken too much work to check, or of which a hit has no captures for that reason"`
	Learning   int64  `json:"learning" doc:"Of matches, those of which it wasn't known yet whether they are more than usual"`
	Late       int64  `json:"late" doc:"Of matches, those that came too late to be added up with those of other containers in the order of time"`
	Forgotten  int64  `json:"forgotten" doc:"Values by which it adds matches up that were forgotten, since there were too many"`
	Open       int64  `json:"open_incidents" doc:"Incidents that are not resolved"`
	Error      string `json:"error,omitempty" doc:"Why it is not in use although it is enabled"`

	Held map[string]int64 `json:"held" nullable:"false" doc:"Notices that triggers hold back now, by why; one that several hold counts for each"`

	IgnoredBy map[string]int64 `json:"ignored_by,omitempty" doc:"Of ignored, the lines by the pattern; those of patterns that it has now"`
	Keys      int64            `json:"keys" doc:"How many values, or containers, it adds matches up for now; of kind line, none"`
	CPUShare  *float64         `json:"cpu_share,omitempty" doc:"Of the time in which lines are matched, how much is about this rule alone, from 0 to 1, of one line in 256; the rest is about all rules together. Absent while too few lines were measured"`
}

// TriggerTestResult is what a test of a trigger came to.
type TriggerTestResult struct {
	OK        bool   `json:"ok" doc:"The receiver took it"`
	Status    int    `json:"status,omitzero" doc:"The status of its answer; absent if there was none, or no number"`
	LatencyMS int64  `json:"latency_ms"`
	Error     string `json:"error,omitempty" doc:"Why it was not taken"`
	Said      string `json:"said,omitempty" doc:"The beginning of the answer, without the trigger's URL and secret"`
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

// AccessToken is a token that was made, without itself.
type AccessToken struct {
	ID        int64     `json:"id"`
	Name      string    `json:"name"`
	Scope     Scope     `json:"scope" enum:"metrics,read,write,admin"`
	CreatedAt time.Time `json:"created_at"`
}

// TokenCreate is a token to be made.
type TokenCreate struct {
	Name  string `json:"name"`
	Scope Scope  `json:"scope" enum:"metrics,read,write,admin" doc:"metrics: /metrics alone; read: all but secrets and tokens; write: also rules, deliveries, and triggers but for making and removing them, their URLs and secrets; admin: everything. Each includes those before it"`
}

// NewToken is a token that was just made.
type NewToken struct {
	AccessToken
	Token string `json:"token" doc:"Shown this once; only a hash of it is kept"`
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
	GivenUp    int64 `json:"given_up" doc:"Lines that a rule gave up, times rules; rule stats tell which"`
	Truncated  int64 `json:"truncated" doc:"Lines too long to be checked beyond their beginning"`
	Malformed  int64 `json:"malformed" doc:"Entries that could not be read"`
	Skipped    int64 `json:"skipped" doc:"Bytes of log that were gone before any rule saw them"`
	Waiting    int   `json:"waiting" doc:"Events not stored yet"`
	Lag        int64 `json:"lag" doc:"Bytes of log that no rule has seen yet"`
	Echoes     int64 `json:"echoes" doc:"Lines that were hidden from rules which they match because they repeat what logscan has sent about them"`
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
	Reason string `json:"reason" doc:"database, settings, config, rules, triggers or losses"`
	Detail string `json:"detail,omitempty"`
}
