package trigger

import (
	"regexp"

	"logscan/internal/event"
	"logscan/internal/rule"
)

// Off is why no event reaches a trigger that is switched off.
const Off = "off"

// Unreached is why no event of the rules that are on, nor of logscan itself, can reach a
// trigger: Off, NotNamed, or the name of the field that leaves out what the others let
// pass; "" where one can. What depends on containers is taken for fulfilled, but for the
// workload of rules that have one.
func (t Trigger) Unreached(rules []rule.Rule) string {
	if !t.Enabled {
		return Off
	}
	var message *regexp.Regexp // what lines say isn't known
	f := newFilter(t, message)
	system := subject{source: event.System, severity: event.Critical, rule: ofLogscan}
	why := f.refuses(system)
	if why == "" {
		return ""
	}
	f.labels = nil
	most := -1
	for _, r := range rules {
		if r.State != rule.On {
			continue
		}
		of := f
		if r.WorkloadID == "" {
			of.workloads = nil
		}
		by := of.refuses(subject{source: event.Logscan, severity: r.Severity, rule: r.Name, kind: r.Kind, workload: r.WorkloadID, triggers: r.Triggers})
		if by == "" {
			return ""
		}
		if n := passed(by); n > most {
			most, why = n, by
		}
	}
	return why
}

// order is that in which fields leave out.
var order = []string{NotNamed, "severities", "min_severity", "sources", "rules", "workloads", "labels", "kinds", "message_regex"}

// passed is how many fields come before one.
func passed(by string) int {
	for k, name := range order {
		if name == by {
			return k
		}
	}
	return len(order)
}
