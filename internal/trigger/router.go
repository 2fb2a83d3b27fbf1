package trigger

import (
	"regexp"
	"sync/atomic"
	"time"

	"logscan/internal/channel"
	"logscan/internal/event"
	"logscan/internal/rule"
)

// Router tells which triggers an event concerns, and has what triggers say about
// incidents. It is safe concurrently.
type Router struct {
	// Actions returns what people can do about an incident from a message that is
	// made now; nil: nothing. It is set before any other use.
	Actions func(incident int64, now time.Time) []channel.Action
	// Presses is the same of what a service is asked about; nil: none is asked.
	Presses func(incident int64, now time.Time) []channel.Press

	filters  atomic.Pointer[[]ofEvents] // of those that are told of each event
	policies atomic.Pointer[[]*Policy]  // of those that are told of incidents
}

// ofEvents is an enabled trigger that is told of each event.
type ofEvents struct {
	id int64
	filter
}

// NewRouter returns a router that matches nothing yet.
func NewRouter() *Router {
	r := &Router{}
	r.filters.Store(&[]ofEvents{})
	r.policies.Store(&[]*Policy{})
	return r
}

// Unusable says why an enabled trigger gets no events.
type Unusable struct {
	TriggerID int64
	Name      string
	Reason    string
}

// Policies returns what the enabled triggers that are told of incidents say.
func (r *Router) Policies() []*Policy { return *r.policies.Load() }

// Set replaces the triggers. One that can't be used, for its regular expression say,
// gets nothing, and is returned.
func (r *Router) Set(triggers []Trigger) (bad []Unusable) {
	compiled := map[string]*regexp.Regexp{}
	for _, f := range *r.filters.Load() {
		compiled[f.pattern] = f.message
	}
	for _, p := range *r.policies.Load() {
		compiled[p.pattern] = p.message
	}
	filters := make([]ofEvents, 0, len(triggers))
	policies := make([]*Policy, 0, len(triggers))
	for _, t := range triggers {
		if !t.Enabled {
			continue
		}
		message := compiled[t.MessageRegex]
		if t.MessageRegex != "" {
			if message == nil {
				err := rule.CheckPattern(t.MessageRegex)
				var re *regexp.Regexp
				if err == nil {
					re, err = regexp.Compile(t.MessageRegex)
				}
				if err != nil {
					bad = append(bad, Unusable{t.ID, t.Name, "message_regex " + err.Error()})
					continue
				}
				message, compiled[t.MessageRegex] = re, re
			}
		}
		if t.Mode == ModeEvents {
			filters = append(filters, ofEvents{t.ID, newFilter(t, message)})
			continue
		}
		p, err := newPolicy(t, message) // its pattern is compiled
		if err != nil {
			bad = append(bad, Unusable{t.ID, t.Name, err.Error()})
			continue
		}
		p.actions, p.presses = r.Actions, r.Presses
		policies = append(policies, p)
	}
	r.filters.Store(&filters)
	r.policies.Store(&policies)
	return bad
}

// Match returns the ids of the triggers that all filters of let e pass.
func (r *Router) Match(e event.Event) []int64 {
	var ids []int64
	s := ofEvent(e)
	for _, f := range *r.filters.Load() {
		if f.refuses(s) == "" {
			ids = append(ids, f.id)
		}
	}
	return ids
}

// EventUnwantedBy is why a trigger that is told of each event isn't for this one: the
// name of the first of its fields that leaves it out; "" where it is for it.
func (t Trigger) EventUnwantedBy(e event.Event) string {
	var message *regexp.Regexp
	if t.MessageRegex != "" {
		var err error
		if message, err = regexp.Compile(t.MessageRegex); err != nil {
			return "message_regex"
		}
	}
	f := newFilter(t, message)
	return f.refuses(ofEvent(e))
}
