// Package event defines what logscan has to tell: an Event, the sources it
// comes from and how severe it is. It imports nothing of ours, so that rules,
// triggers, the store, the API and the command line share one definition; how
// an event is stored or sent is theirs.
package event

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Event is something that somebody may have to know. Its ID is given when it is
// stored.
type Event struct {
	ID        int64
	Source    Source
	Severity  Severity
	Message   string
	Metadata  map[string]any // in JSON's types; a hit's keys are in the manual
	CreatedAt time.Time

	Time time.Time // the line's; zero where there is none. It is not kept.
	// Labels are the container's. They are not kept.
	Labels map[string]string
	Shape  string  // the line's, see package shape; "" where it isn't known. It is not kept.
	Around *Around // which lines are kept with it; nil for none. It is not kept once they are.
	By     string  // the values by which its rule keeps matches apart, with their secrets. It is not kept.
	// IncidentID is the incident that it was folded into; 0 for none.
	IncidentID int64
}

// Around says which lines of a container are kept with an event: those of what it is
// about, and so many before and after. Where To is 0, what it is about goes by time: the
// line of the stream that was written then, or, without a stream, none.
type Around struct {
	Container string `json:"container"`
	Stream    string `json:"stream"`
	From      int64  `json:"from"` // where that lies in the container's log
	To        int64  `json:"to"`
	At        int64  `json:"at"` // when it was written, in nanoseconds
	Before    int    `json:"before,omitempty"`
	After     int    `json:"after,omitempty"`
	// Siblings is within how many seconds lines of the containers beside are kept too;
	// 0 for none.
	Siblings int `json:"siblings,omitempty"`
}

// ContextLine is a line that is kept with an event, in the order in which they were
// written.
type ContextLine struct {
	Time   time.Time
	Stream string
	Text   string // valid UTF-8
	Cut    bool   // there is more of it
	Own    bool   // the event is about it

	// Container is the name of the one beside that has written it; "" where it is the
	// event's own.
	Container string
}

// Own returns the places of the first and the last line that an event is about, of those
// kept with it. Where there is none, all others are before it.
func Own(lines []ContextLine) (first, last int) {
	first, last = len(lines), len(lines)-1
	for n, l := range lines {
		if l.Own {
			first, last = min(first, n), n
		}
	}
	return first, last
}

// Triggers is the key in a hit's metadata for the names of the triggers that alone are
// told of it, with commas between.
const Triggers = "triggers"

// InARow is the key in a hit's metadata for the number of its rule's hits in its
// container in a row, where they are many.
const InARow = "in_a_row"

// Record is the key in a hit's metadata for the lines that belong together of which the
// message is one, or for a line that is longer than a message is; absent where the message
// is all there is.
const Record = "record"

// Shadow is the key in a hit's metadata that is true where its rule is in shadow.
const Shadow = "shadow"

// History is the key in a hit's metadata that is true where its lines were written before
// there was its rule: nobody was told, and it is part of no incident.
const History = "history"

// InShadow reports whether e is a hit of a rule in shadow, of which nobody is told.
func (e Event) InShadow() bool {
	shadow, _ := e.Metadata[Shadow].(bool)
	return shadow && e.Source != System
}

// Severity says how much an event matters.
type Severity string

const (
	Info     Severity = "info"
	Warn     Severity = "warn"
	Error    Severity = "error"
	Critical Severity = "critical"
)

// Source says who speaks in an event.
type Source string

const (
	Logscan Source = "logscan" // a hit of a rule
	System  Source = "system"  // logscan about itself
)

var (
	severities = []Severity{Info, Warn, Error, Critical}
	sources    = []Source{Logscan, System}
)

// Severities returns all severities, from the least to the most severe.
func Severities() []Severity { return slices.Clone(severities) }

// Sources returns all sources.
func Sources() []Source { return slices.Clone(sources) }

// Compare returns a negative number where s is less severe than other, a
// positive one where it is more so, and 0 where they are the same. What is no
// severity is less severe than all.
func (s Severity) Compare(other Severity) int {
	return slices.Index(severities, s) - slices.Index(severities, other)
}

// Validate returns an error for users unless s is one of the severities.
func (s Severity) Validate() error { return validate(s, severities) }

// Validate returns an error for users unless s is one of the sources.
func (s Source) Validate() error { return validate(s, sources) }

// Split reads a comma-separated list, without blanks and repetitions. What it
// holds isn't checked.
func Split[T ~string](list string) []T {
	var out []T
	for v := range strings.SplitSeq(list, ",") {
		if v := T(strings.TrimSpace(v)); v != "" && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// ParseSeverities is Split for severities; the error is for users.
func ParseSeverities(list string) ([]Severity, error) {
	out := Split[Severity](list)
	for _, s := range out {
		if err := s.Validate(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Join is the inverse of Split.
func Join[T ~string](values []T) string {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(string(v))
	}
	return b.String()
}

// Names returns values as text, for flags and messages.
func Names[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// OneOf lists values as a sentence does: "a, b or c".
func OneOf[T ~string](values []T) string {
	names := Names(values)
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

func validate[T ~string](v T, known []T) error {
	if !slices.Contains(known, v) {
		return fmt.Errorf("must be %s, not %q", OneOf(known), shown(string(v)))
	}
	return nil
}

// shown bounds what an error repeats of its input.
func shown(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}
