package trigger

import (
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"logscan/internal/rule"
	"logscan/internal/store"
)

// Router tells which triggers an event concerns. It is safe concurrently.
type Router struct {
	filters atomic.Pointer[[]filter]
}

// filter is an enabled trigger's, ready to match; empty parts match all.
type filter struct {
	id         int64
	severities []string
	sources    []string
	pattern    string
	message    *regexp.Regexp
}

// NewRouter returns a router that matches nothing yet.
func NewRouter() *Router {
	r := &Router{}
	r.filters.Store(&[]filter{})
	return r
}

// Unusable says why an enabled trigger gets no events.
type Unusable struct {
	TriggerID int64
	Name      string
	Reason    string
}

// Set replaces the triggers. One whose regular expression can't be used matches
// nothing, and is returned.
func (r *Router) Set(triggers []store.Trigger) (bad []Unusable) {
	compiled := map[string]*regexp.Regexp{}
	for _, f := range *r.filters.Load() {
		compiled[f.pattern] = f.message
	}
	filters := make([]filter, 0, len(triggers))
	for _, t := range triggers {
		if !t.Enabled {
			continue
		}
		f := filter{id: t.ID, severities: list(t.Severities), sources: list(t.Sources), pattern: t.MessageRegex}
		if t.MessageRegex != "" {
			f.message = compiled[t.MessageRegex]
			if f.message == nil {
				err := rule.CheckPattern(t.MessageRegex)
				var re *regexp.Regexp
				if err == nil {
					re, err = regexp.Compile(t.MessageRegex)
				}
				if err != nil {
					bad = append(bad, Unusable{t.ID, t.Name, "message_regex " + err.Error()})
					continue
				}
				f.message, compiled[t.MessageRegex] = re, re
			}
		}
		filters = append(filters, f)
	}
	r.filters.Store(&filters)
	return bad
}

// Match returns the ids of the triggers that all filters of let e pass.
func (r *Router) Match(e store.Event) []int64 {
	var ids []int64
	for _, f := range *r.filters.Load() {
		if (len(f.severities) == 0 || slices.Contains(f.severities, e.Severity)) &&
			(len(f.sources) == 0 || slices.Contains(f.sources, e.Source)) &&
			(f.message == nil || f.message.MatchString(e.Message)) {
			ids = append(ids, f.id)
		}
	}
	return ids
}

// list splits a comma-separated list.
func list(csv string) []string {
	var out []string
	for v := range strings.SplitSeq(csv, ",") {
		if v = strings.TrimSpace(v); v != "" {
			out = append(out, v)
		}
	}
	return out
}
