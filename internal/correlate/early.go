package correlate

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"sort"
	"strconv"

	"logscan/internal/rule"
)

// A match that a rule adds up with those of other containers is early while one of these is
// behind it: what that one wrote before is still to be evaluated. It waits until then, so
// that what comes is what would have come if all had been read in the order of time,
// however fast each is read.

const (
	// maxEarly and maxEarlySize, in bytes, are how much waits. Beyond, where most waits the
	// first go on before their time.
	maxEarly     = 10_000
	maxEarlySize = 16 << 20

	// behindBy is how much later something is evaluated of which nothing waits for it.
	behindBy = slack / 2
)

// Behind is a container of which not all is evaluated that it wrote.
type Behind struct {
	ID    string
	Rules *rule.Container // which rules are for it; nil where that isn't known yet
	UpTo  int64           // all that it wrote before is, in nanoseconds
}

// Lags reports whether something waits for it at a time.
func (b *Behind) Lags(now int64) bool { return b.UpTo < now-behindBy }

// early is a match that is early.
type early struct {
	n         int64 // in the order in which they came
	rule      *ruleState
	container string
	match     rule.Match
}

func (m *early) size() int {
	v := &m.match
	return 200 + len(v.Text) + len(v.Record) + len(v.Shape) + len(v.By) + len(v.Short) + len(v.Distinct)
}

// earlies are all matches that are early.
type earlies struct {
	behind     map[Key][]Behind // those for which something waits, by rule and scope
	everywhere []Behind         // those that may be of any scope
	all        map[int64]*early // by number
	next       int64            // the number of the next one
	stored     int64            // those from here on aren't
	size       int              // of all
	of         map[string]int   // by container
	leaving    map[string]int64 // containers to be forgotten once they have none, and when they went
	unread     map[int64][]byte // rows, by number, until there are rules
	late       map[int64]int64  // matches that came too late, by rule, since TakeLate
}

func newEarlies() earlies {
	return earlies{all: map[int64]*early{}, of: map[string]int{}, leaving: map[string]int64{}, late: map[int64]int64{}, unread: map[int64][]byte{}}
}

// together reports whether a rule adds up what several containers wrote, in the order of
// time. To kind new it is all the same which line of a shape is the first.
func together(r *rule.Rule) bool {
	switch r.Kind {
	case rule.KindLine, rule.KindNew, rule.KindRun:
		return false
	}
	return r.Per == rule.PerWorkload || r.Per == rule.PerRule
}

// Heeds reports whether it matters which containers are behind.
func (e *Engine) Heeds() bool {
	return len(e.early.all)+len(e.early.leaving)+len(e.early.unread) > 0 || e.snapshot != nil && slices.ContainsFunc(e.snapshot.Correlated(), together)
}

// Behind says which containers are behind a time, now, in nanoseconds. It is told before
// the matches that came up to then.
func (e *Engine) Behind(now int64, all []Behind) {
	b := &e.early
	b.behind, b.everywhere = nil, nil
	if e.snapshot == nil {
		return
	}
	for _, v := range all {
		if !v.Lags(now) {
			continue
		}
		if v.Rules == nil {
			b.everywhere = append(b.everywhere, v)
			continue
		}
		c := Container{ID: v.ID, Workload: v.Rules.Workload}
		for _, r := range e.snapshot.ForContainer(*v.Rules).Correlated() {
			if !together(r) {
				continue
			}
			if b.behind == nil {
				b.behind = map[Key][]Behind{}
			}
			k := Key{Rule: r.ID, Scope: scopeOf(r, &c)}
			b.behind[k] = append(b.behind[k], v)
		}
	}
}

// waitsFor reports whether a match of a container has to wait for others, where it is of a
// time.
func (b *earlies) waitsFor(scope Key, container string, at int64) bool {
	isBehind := func(v Behind) bool { return v.ID != container && v.UpTo < at }
	return slices.ContainsFunc(b.everywhere, isBehind) || slices.ContainsFunc(b.behind[scope], isBehind)
}

// hold has a match wait if it is early, or others are that may be before it, and reports
// whether it does.
func (e *Engine) hold(rs *ruleState, c *Container, m *rule.Match) bool {
	if !together(rs.rule) {
		return false
	}
	b, scope := &e.early, scopeOf(rs.rule, c)
	const anyTime = math.MaxInt64 // others that come in this step may be before it
	if len(rs.early[scope]) == 0 && !b.waitsFor(Key{Rule: rs.rule.ID, Scope: scope}, c.ID, anyTime) {
		return false
	}
	e.know(c)
	e.dirty[earlyKey(b.next)] = true
	e.put(scope, &early{b.next, rs, c.ID, *m})
	b.next++
	return true
}

// put puts a match in its place.
func (e *Engine) put(scope string, v *early) {
	b, all := &e.early, v.rule.early[scope]
	at := sort.Search(len(all), func(i int) bool { return all[i].match.TimeNano > v.match.TimeNano })
	v.rule.early[scope] = slices.Insert(all, at, v)
	b.all[v.n] = v
	b.size += v.size()
	b.of[v.container]++
}

// inTime has the matches count that aren't early any more.
func (e *Engine) inTime() {
	b := &e.early
	if len(b.all)+len(b.leaving) == 0 {
		return
	}
	for _, rs := range e.sorted() {
		for _, scope := range slices.Sorted(maps.Keys(rs.early)) {
			e.goOn(rs, scope, func(v *early) bool {
				return !b.waitsFor(Key{Rule: rs.rule.ID, Scope: scope}, v.container, v.match.TimeNano)
			})
		}
	}
	for len(b.all) > maxEarly || b.size > maxEarlySize {
		rs, scope := e.mostEarly()
		n := len(rs.early[scope])/10 + 1
		e.goOn(rs, scope, func(*early) bool { n--; return n >= 0 })
	}
	e.letGo()
}

// mostEarly is where most matches wait.
func (e *Engine) mostEarly() (of *ruleState, scope string) {
	most := 0
	for _, rs := range e.sorted() {
		for _, s := range slices.Sorted(maps.Keys(rs.early)) {
			if n := len(rs.early[s]); n > most {
				of, scope, most = rs, s, n
			}
		}
	}
	return of, scope
}

// goOn has the first matches of a scope count, as long as which says so.
func (e *Engine) goOn(rs *ruleState, scope string, which func(*early) bool) {
	all := rs.early[scope]
	n := 0
	for ; n < len(all) && which(all[n]); n++ {
		e.add(rs, &e.containers[all[n].container].Container, &all[n].match)
		e.remove(all[n])
	}
	if rs.early[scope] = slices.Delete(all, 0, n); len(rs.early[scope]) == 0 {
		delete(rs.early, scope)
		e.resume(rs, scope)
	}
}

// remove has a match not wait any more.
func (e *Engine) remove(v *early) {
	b := &e.early
	delete(b.all, v.n)
	b.size -= v.size()
	if b.of[v.container]--; b.of[v.container] == 0 {
		delete(b.of, v.container)
	}
	if v.n < b.stored {
		e.dirty[earlyKey(v.n)] = true
	} else {
		delete(e.dirty, earlyKey(v.n))
	}
}

// resume does what starts and stops do to a scope, which waited for its matches.
func (e *Engine) resume(rs *ruleState, scope string) {
	if at, stops := rs.stops[scope]; stops {
		delete(rs.stops, scope)
		if !e.runs(scope) {
			e.rest(rs, scope, at)
		}
	}
	if rs.rule.Kind != rule.KindAbsent {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(e.containers)) {
		c := e.containers[id]
		if c.Running && scopeOf(rs.rule, &c.Container) == scope && slices.Contains(e.snapshot.ForContainer(c.scope()).Correlated(), rs.rule) {
			e.armRule(rs, c, c.Started, true)
		}
	}
}

// letGo forgets the containers that went and have no matches any more.
func (e *Engine) letGo() {
	for _, id := range slices.Sorted(maps.Keys(e.early.leaving)) {
		if e.early.of[id] == 0 {
			e.Gone(id, e.early.leaving[id])
		}
	}
}

// dropEarly forgets the matches that wait in a scope.
func (e *Engine) dropEarly(rs *ruleState, scope string) {
	for _, v := range rs.early[scope] {
		e.remove(v)
	}
	delete(rs.early, scope)
	delete(rs.stops, scope)
}

// TakeLate returns how many matches came, since it was last called, when time had gone on
// without them, by rule.
func (e *Engine) TakeLate() map[int64]int64 {
	out := e.early.late
	if len(out) > 0 {
		e.early.late = map[int64]int64{}
	}
	return out
}

// noteLate counts a match that comes too late to be added up in the order of time.
func (e *Engine) noteLate(rs *ruleState, scope string, at int64) {
	if !together(rs.rule) {
		return
	}
	if len(rs.latest) >= MaxKeys {
		clear(rs.latest)
	}
	latest := rs.latest[scope]
	if rs.latest[scope] = max(latest, at); at >= latest-slack {
		return
	}
	e.early.late[rs.rule.ID]++
}

const earlyScope = "early "

func earlyKey(n int64) Key { return Key{Scope: earlyScope + strconv.FormatInt(n, 10)} }

// storedEarly is an early.
type storedEarly struct {
	Version   int       `json:"v"`
	Rule      int64     `json:"rule"`
	Meaning   string    `json:"m"`
	Container string    `json:"c"`
	At        int64     `json:"t"`
	Role      rule.Role `json:"r,omitempty"`
	N         int       `json:"n,omitempty"`
	Lines     int64     `json:"ls,omitempty"`
	All       bool      `json:"a,omitempty"`
	LineNo    uint32    `json:"l,omitempty"`
	Stream    string    `json:"s,omitempty"`
	Text      string    `json:"x,omitempty"`
	Record    string    `json:"rec,omitempty"`
	Shape     string    `json:"sh,omitempty"`
	By        string    `json:"by,omitempty"`
	Short     string    `json:"short,omitempty"`
	Distinct  string    `json:"d,omitempty"`
	From      int64     `json:"from,omitempty"`
	To        int64     `json:"to,omitempty"`
	Until     int64     `json:"u,omitempty"`
}

// encode is the row of a match that waits; nil where there is none.
func (v *early) encode() []byte {
	if v == nil {
		return nil
	}
	m := &v.match
	return asJSON(storedEarly{
		storedVersion, v.rule.rule.ID, inShort(v.rule.meaning), v.container, m.TimeNano, m.Role, m.N, m.Lines, m.All, m.LineNo,
		m.Stream, m.Text, m.Record, m.Shape, m.By, m.Short, m.Distinct, m.From, m.To, m.Until,
	})
}

// loadEarly has the matches wait again that did when they were stored. Those of rules that
// mean another thing now are forgotten.
func (e *Engine) loadEarly() (bad []Key) {
	b := &e.early
	for _, n := range slices.Sorted(maps.Keys(b.unread)) {
		var v storedEarly
		err := json.Unmarshal(b.unread[n], &v)
		rs, c := e.rules[v.Rule], e.containers[v.Container]
		if err != nil {
			bad = append(bad, earlyKey(n))
		}
		if rs == nil || c == nil || v.Version != storedVersion || v.Meaning != inShort(rs.meaning) || !together(rs.rule) {
			e.dirty[earlyKey(n)] = true
		} else {
			e.put(scopeOf(rs.rule, &c.Container), &early{n, rs, v.Container, rule.Match{
				Rule: rs.rule, Role: v.Role, N: v.N, Lines: v.Lines, All: v.All, LineNo: v.LineNo, TimeNano: v.At,
				Stream: v.Stream, Text: v.Text, Record: v.Record, Shape: v.Shape, By: v.By, Short: v.Short, Distinct: v.Distinct,
				From: v.From, To: v.To, Until: v.Until,
			}})
		}
		b.next = n + 1
	}
	b.unread, b.stored = nil, b.next
	return bad
}
