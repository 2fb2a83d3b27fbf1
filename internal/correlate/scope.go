package correlate

import (
	"maps"
	"slices"
	"strings"

	"logscan/internal/rule"
)

// Started has a container run since a time in nanoseconds. To say so again changes
// nothing.
func (e *Engine) Started(c Container, at int64) {
	cs := e.containers[c.ID]
	if cs != nil && cs.Running && cs.Started == at {
		return
	}
	if cs == nil {
		cs = &containerState{}
		e.containers[c.ID] = cs
	}
	cs.Container, cs.Started, cs.Running = c, at, true
	e.dirty[containerKey(c.ID)] = true
	e.arm(cs, at, true)
	e.follow(cs, at)
}

// Stopped has a container run no more.
func (e *Engine) Stopped(id string, at int64) {
	cs := e.containers[id]
	if cs == nil {
		return
	}
	if cs.Running { // else it ran before it was known
		cs.Running = false
		e.dirty[containerKey(id)] = true
	}
	for _, rs := range e.sorted() {
		r := rs.rule
		if !r.Waits() {
			continue
		}
		scope := scopeOf(r, &cs.Container)
		switch {
		case e.runs(scope):
		case len(rs.early[scope]) > 0: // which are before it
			rs.stops[scope] = at
		default:
			e.rest(rs, scope, at)
		}
	}
}

// rest has a rule not wait any more in a scope of which no container runs.
func (e *Engine) rest(rs *ruleState, scope string, at int64) {
	for _, s := range rs.in(scope) {
		if rs.rule.Kind == rule.KindSequence {
			e.stopSequence(rs, s, at, false)
		} else {
			e.pause(rs, s, at)
		}
	}
}

// in returns what is known of the keys in a scope, in order.
func (rs *ruleState) in(scope string) []*state {
	return rs.which(func(k Key) bool { return k.Scope == scope })
}

// all returns what is known of all keys, in order.
func (rs *ruleState) all() []*state { return rs.which(func(Key) bool { return true }) }

func (rs *ruleState) which(is func(Key) bool) (out []*state) {
	for k, s := range rs.keys {
		if is(k) {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *state) int { return compareKeys(a.key, b.key) })
	return out
}

// Gone has a container be forgotten, which was removed with its log.
func (e *Engine) Gone(id string, at int64) {
	cs := e.containers[id]
	if cs == nil {
		return
	}
	e.Stopped(id, at)
	if e.early.of[id] > 0 {
		e.early.leaving[id] = at
		return
	}
	delete(e.early.leaving, id)
	for _, rs := range e.sorted() {
		if s := rs.keys[runKey(rs, id)]; s != nil && s.run != nil {
			e.forget(rs, s, at, "")
		}
		scope := scopeOf(rs.rule, &cs.Container)
		if strings.HasPrefix(scope, containerScope) {
			for _, s := range rs.in(scope) {
				if s.sequence != nil {
					e.stopSequence(rs, s, at, true)
					s.open = false // it can't be completed any more
				}
				e.forget(rs, s, at, "its container was removed")
			}
			continue
		}
		for k, s := range rs.keys { // of the workload, which may go on
			if s.container == id {
				was := cs.Container
				s.was = &was
				e.dirty[k] = true
			}
		}
	}
	delete(e.containers, id)
	e.dirty[containerKey(id)] = true
}

// scopeOf is whose matches a rule adds up with those of a container.
func scopeOf(r *rule.Rule, c *Container) string {
	switch {
	case r.Per == rule.PerRule:
		return "rule"
	case r.Per == rule.PerWorkload, r.Kind == rule.KindNew, r.Kind == rule.KindRun: // a new container of it has nothing new
		return workloadScope + c.Workload
	}
	return containerScope + c.ID
}

const (
	containerScope = "container "
	workloadScope  = "workload "
)

func containerKey(id string) Key { return Key{Scope: containerScope + id} }

// runs reports whether any container of a scope runs.
func (e *Engine) runs(scope string) bool {
	what, name, _ := strings.Cut(scope, " ")
	if what+" " == containerScope {
		c := e.containers[name]
		return c != nil && c.Running
	}
	for _, c := range e.containers {
		if c.Running && (what == "rule" || c.Workload == name) {
			return true
		}
	}
	return false
}

// know notes which container an id is.
func (e *Engine) know(c *Container) {
	if e.containers[c.ID] == nil {
		e.containers[c.ID] = &containerState{Container: *c}
		e.dirty[containerKey(c.ID)] = true
	}
}

// Containers returns the ids of the containers that are known.
func (e *Engine) Containers() []string { return slices.Sorted(maps.Keys(e.containers)) }
