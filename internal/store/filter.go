package store

import (
	"slices"
	"strings"
	"time"

	"logscan/internal/event"
)

// EventFilter selects events; what is zero doesn't select.
type EventFilter struct {
	Severities []event.Severity
	Source     event.Source
	Workload   string
	Container  string // a name, or the beginning of an id
	Rule       string // a name
	RuleID     int64
	Incident   int64
	Since      time.Time
	Until      time.Time // exclusive
	After      int64     // ids greater than this
	Before     int64     // ids less than this
	Limit      int       // at most 10,000, which 0 means too
	Ascending  bool      // oldest first; else newest first
}

// sql is the query for what f selects.
func (f EventFilter) sql() (string, []any) {
	var where []string
	var args []any
	add := func(cond string, v ...any) {
		where = append(where, cond)
		args = append(args, v...)
	}
	if n := len(f.Severities); n > 0 {
		where = append(where, "severity IN (?"+strings.Repeat(", ?", n-1)+")")
		for _, v := range f.Severities {
			args = append(args, v)
		}
	}
	if f.Source != "" {
		add("source = ?", f.Source)
	}
	if f.Workload != "" {
		add("workload_id = ?", f.Workload)
	}
	if f.Container != "" {
		// A range, which the index knows; no text goes on beyond U+10FFFF.
		add("(container_name = ? OR container_id >= ? AND container_id < ?)", f.Container, f.Container, f.Container+"\U0010FFFF")
	}
	if f.Rule != "" {
		add("rule_name = ?", f.Rule)
	}
	if f.RuleID != 0 {
		add("rule_id = ?", f.RuleID)
	}
	if f.Incident != 0 {
		add("incident_id = ?", f.Incident)
	}
	if !f.Since.IsZero() {
		add("created_at >= ?", nanos(f.Since))
	}
	if !f.Until.IsZero() {
		add("created_at < ?", nanos(f.Until))
	}
	if f.After > 0 {
		add("id > ?", f.After)
	}
	if f.Before > 0 {
		add("id < ?", f.Before)
	}
	q := "SELECT " + eventColumns + " FROM event_log e"
	if len(where) > 0 {
		q += " WHERE " + strings.Join(where, " AND ")
	}
	if f.Ascending {
		q += " ORDER BY id"
	} else {
		q += " ORDER BY id DESC"
	}
	if f.Limit <= 0 || f.Limit > maxEvents {
		f.Limit = maxEvents
	}
	return q + " LIMIT ?", append(args, f.Limit)
}

// Matches reports whether f selects e, as Events does for what is stored; the
// bound of an answer doesn't count. It takes an event as Subscribe gives it.
func (f EventFilter) Matches(e event.Event) bool {
	is := func(key, want string) bool {
		v, ok := e.Metadata[key].(string)
		return want == "" || ok && v == want
	}
	inContainer := func() bool {
		id, ok := e.Metadata["container_id"].(string)
		return f.Container == "" || is("container_name", f.Container) || ok && strings.HasPrefix(id, f.Container)
	}
	created := nanos(e.CreatedAt)
	return (len(f.Severities) == 0 || slices.Contains(f.Severities, e.Severity)) &&
		(f.Source == "" || e.Source == f.Source) &&
		is("workload_id", f.Workload) && is("rule_name", f.Rule) && inContainer() &&
		(f.RuleID == 0 || number(e.Metadata["rule_id"]) == f.RuleID) &&
		(f.Incident == 0 || e.IncidentID == f.Incident) &&
		(f.Since.IsZero() || created >= nanos(f.Since)) &&
		(f.Until.IsZero() || created < nanos(f.Until)) &&
		e.ID > f.After && (f.Before == 0 || e.ID < f.Before)
}

// number is a whole number of an event's metadata, as it is before or after its
// form in JSON; 0 for anything else.
func number(v any) int64 {
	switch n := v.(type) {
	case int64:
		return n
	case int:
		return int64(n)
	case float64:
		return int64(n)
	}
	return 0
}
