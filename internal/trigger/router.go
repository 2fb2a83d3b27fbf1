package trigger

import (
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

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

// Set replaces the triggers. One whose regular expression doesn't compile
// matches nothing.
func (r *Router) Set(triggers []store.Trigger) {
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
				re, err := regexp.Compile(t.MessageRegex)
				if err != nil {
					continue
				}
				f.message, compiled[t.MessageRegex] = re, re
			}
		}
		filters = append(filters, f)
	}
	r.filters.Store(&filters)
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
