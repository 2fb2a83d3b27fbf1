package correlate

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"
	"strings"
	"time"

	"logscan/internal/rule"
)

const (
	// Slack is how much entries may be out of order: those of stdout and stderr, and
	// of several containers.
	Slack = 2 * time.Second
	// MaxKeys is how many keys of a rule are known. Beyond, the one seen longest ago
	// is forgotten.
	MaxKeys = 10_000

	slack = int64(Slack)

	// seenEvery is how often it is stored up to when time has passed.
	seenEvery = 15 * time.Second
)

// Container is what is known of a container.
type Container struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Workload string            `json:"workload"`
	Image    string            `json:"image"`
	Labels   map[string]string `json:"labels,omitempty"`
}

// Hit is a hit of a rule.
type Hit struct {
	TimeNano  int64
	Text      string // what there is to say, in a sentence
	Line      string // the last line that matched; "" for none
	Stream    string // of that line
	LineTime  int64  // of that line, in nanoseconds
	Matches   int64  // that are the hit; 0 of a rule that waits for one
	Since     int64  // when the first of them was
	FirstLine string // of them; "" where it isn't known any more
}

// More is matches that are no hits, but count where one was.
type More struct {
	Matches     int64
	First, Last int64
	Text        string // the last line
	Held        bool   // the rule's bucket holds back the hit that they are, or are behind
	OnlyOpen    bool   // they count where the incident is open alone
}

// End is the end of what a hit began.
type End struct {
	TimeNano int64
	Why      string
}

// Outcome is one thing that matches, or time, gave: exactly one of Hit, More and End.
type Outcome struct {
	Rule      *rule.Rule
	Container *Container // the last one that a line came from
	By        string     // the key; "" for none
	Shape     string     // of the lines; "" where the rule doesn't tell shapes apart
	Hit       *Hit
	More      *More
	End       *End
}

// Workload is the workload that an outcome is of; "" where its rule adds up those of
// several.
func (o *Outcome) Workload() string {
	if o.Rule.Per == rule.PerRule {
		return ""
	}
	return o.Container.Workload
}

// Key is where a row stands. Rule 0 has what is known of containers and of the engine.
type Key struct {
	Rule      int64
	Scope, By string
}

// Row is what is known under a key; nil for nothing any more.
type Row struct {
	Key
	Data []byte
}

// Engine adds up matches. One goroutine at a time uses it.
type Engine struct {
	bucket     rule.Bucket
	snapshot   *rule.Snapshot
	rules      map[int64]*ruleState
	containers map[string]*containerState
	seeded     map[int64]string       // rules of kind new, as stored
	buckets    map[int64]storedBucket // of rules that were not known yet
	unread     []Row                  // of rules that were not known yet
	due        dueHeap
	dirty      map[Key]bool    // whose rows changed
	grown      map[Key]bool    // that have more
	seen       int64           // the latest watermark
	written    int64           // what is stored of seen
	now        int64           // of the latest Advance; 0 before it
	forgotten  map[int64]int64 // keys for which there was no room, by rule, since TakeForgotten

	out []Outcome
}

// ruleState is a rule, with what is known of its keys.
type ruleState struct {
	rule    *rule.Rule
	meaning string // of rule
	keys    map[Key]*state
	// seeding is that it isn't known yet what was there before the rule, of kind new.
	seeding bool
	debt    int64 // of its bucket, in nanoseconds, as of at
	at      int64
}

// containerState is what is known of a container.
type containerState struct {
	Container
	Started int64 `json:"started"` // its latest start, in nanoseconds
	Running bool  `json:"running"`
}

// state is what is known of a key. Which fields are used depends on the rule's kind.
type state struct {
	key       Key
	container string     // id of the last one
	was       *Container // that, where it was removed
	open      bool
	held      bool  // and its hit was held back
	seen      int64 // the time of the latest match
	line      string
	stream    string

	times  []int64  // of count: the latest matches, in order
	values []string // of count with distinct: theirs
	first  string   // of count: the line of times[0]; "" where it isn't known
	more   *More    // since the last call of Take; of an open one

	armed    bool  // of absent
	last     int64 // of absent: from when a match is waited for
	from, to int64 // of absent: the first and the last match that may be out of order; 0 for none
	wait     int64 // of absent: so much longer

	unsure  bool  // of new: whether it is isn't known yet
	matches int64 // of an unsure one: behind the first
	kept    int64 // of new: what is stored of seen

	at   int64 // when it is due, as it stands in Engine.due; 0 for not
	heap int   // its place there
}

// New returns an engine that knows nothing. The bucket bounds the hits of a rule.
func New(bucket rule.Bucket) *Engine {
	return &Engine{bucket: bucket, rules: map[int64]*ruleState{}, containers: map[string]*containerState{}, buckets: map[int64]storedBucket{}, dirty: map[Key]bool{}, grown: map[Key]bool{}, seeded: map[int64]string{}, forgotten: map[int64]int64{}}
}

// Load has e know what rows say. It is called before SetRules. Rows that can't be read
// are left out and returned.
func (e *Engine) Load(rows []Row) (bad []Key) {
	for _, r := range rows {
		if r.Rule != 0 {
			e.unread = append(e.unread, r)
			continue
		}
		if !e.loadOwn(r) {
			bad = append(bad, r.Key)
		}
	}
	return bad
}

// SetRules has the rules of a snapshot be in effect, as of a time in nanoseconds. What
// is known of rules that mean another thing now is forgotten.
func (e *Engine) SetRules(snapshot *rule.Snapshot, now int64) (bad []Key) {
	e.snapshot = snapshot
	known := map[int64]bool{}
	for _, r := range snapshot.Correlated() {
		known[r.ID] = true
		rs := e.rules[r.ID]
		if rs == nil {
			rs = &ruleState{keys: map[Key]*state{}, debt: e.buckets[r.ID].Debt, at: e.buckets[r.ID].At, seeding: r.Kind == rule.KindNew && e.seeded[r.ID] != inShort(meaning(r))}
			e.rules[r.ID] = rs
		} else if rs.meaning != meaning(r) {
			e.forgetRule(rs, now, "the rule was changed")
			rs.seeding = r.Kind == rule.KindNew
			e.dirty[seededKey(r.ID)] = true
		}
		changed := rs.rule != nil
		rs.rule, rs.meaning = r, meaning(r)
		if changed { // its times may be others
			for _, s := range rs.keys {
				e.plan(rs, s)
			}
		}
	}
	for _, row := range e.unread {
		rs := e.rules[row.Rule]
		if rs == nil {
			e.drop(row, now, "the rule was removed or switched off")
			continue
		}
		s, ok, readable := decode(row.Data, rs.meaning)
		if !ok {
			if !readable {
				bad = append(bad, row.Key)
			}
			e.drop(row, now, "the rule was changed")
			continue
		}
		s.key = row.Key
		rs.keys[s.key] = s
		if s.unsure && !rs.seeding {
			s.unsure = false
		}
		e.plan(rs, s)
	}
	for id := range e.buckets {
		if !known[id] {
			e.dirty[bucketKey(id)] = true
		}
	}
	for id := range e.seeded {
		if !known[id] {
			e.dirty[seededKey(id)] = true
		}
	}
	e.unread, e.buckets, e.seeded = nil, nil, nil
	for id, rs := range e.rules {
		if !known[id] {
			e.forgetRule(rs, now, "the rule was removed or switched off")
			delete(e.rules, id)
			e.dirty[bucketKey(id)], e.dirty[seededKey(id)] = true, true
		}
	}
	e.leave(now)
	for _, id := range slices.Sorted(maps.Keys(e.containers)) {
		if c := e.containers[id]; c.Running {
			e.arm(c, now, false)
		}
	}
	return bad
}

// drop has a row go that isn't of a rule that is in effect, and ends what is open of it.
func (e *Engine) drop(row Row, now int64, why string) {
	e.dirty[row.Key] = true
	container, open := wasOpen(row.Data)
	if !open {
		return
	}
	r := &rule.Rule{ID: row.Rule, Kind: rule.KindCount, Per: rule.PerWorkload}
	if row.Scope == "rule" {
		r.Per = rule.PerRule
	}
	s := &state{key: row.Key, container: container}
	e.out = append(e.out, Outcome{Rule: r, Container: e.container(s), By: row.By, End: &End{now, why}})
}

// meaning is what a rule's state depends on.
func meaning(r *rule.Rule) string {
	parts := []string{r.Kind, r.Streams, r.Per, r.By.String(), r.Distinct, r.Arm, r.Pattern}
	parts = append(parts, r.All...)
	parts = append(parts, "\x00")
	parts = append(parts, r.Ignore...)
	parts = append(parts, "\x00")
	parts = append(parts, r.Where...)
	return strings.Join(parts, "\x00")
}

func (e *Engine) forgetRule(rs *ruleState, now int64, why string) {
	for _, k := range slices.SortedFunc(maps.Keys(rs.keys), compareKeys) {
		e.forget(rs, rs.keys[k], now, why)
	}
}

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.By, b.By))
}

// forget forgets a key, and ends what is open of it.
func (e *Engine) forget(rs *ruleState, s *state, now int64, why string) {
	if s.open {
		e.end(rs, s, now, why)
	}
	e.unplan(s)
	delete(rs.keys, s.key)
	e.dirty[s.key] = true
}

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
		if r.Kind != rule.KindAbsent || r.WhenStopped == rule.StoppedHit {
			continue
		}
		scope := scopeOf(r, &cs.Container)
		if e.runs(scope) {
			continue
		}
		for _, s := range rs.in(scope) {
			e.pause(rs, s, at)
		}
	}
}

// in returns what is known of the keys in a scope, in order.
func (rs *ruleState) in(scope string) (all []*state) {
	for k, s := range rs.keys {
		if k.Scope == scope {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *state) int { return compareKeys(a.key, b.key) })
	return all
}

// Gone has a container be forgotten, which was removed with its log.
func (e *Engine) Gone(id string, at int64) {
	cs := e.containers[id]
	if cs == nil {
		return
	}
	e.Stopped(id, at)
	for _, rs := range e.sorted() {
		scope := scopeOf(rs.rule, &cs.Container)
		if strings.HasPrefix(scope, containerScope) {
			for _, s := range rs.in(scope) {
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

func (e *Engine) sorted() []*ruleState {
	out := slices.Collect(maps.Values(e.rules))
	slices.SortFunc(out, func(a, b *ruleState) int { return cmp.Compare(a.rule.ID, b.rule.ID) })
	return out
}

// scopeOf is whose matches a rule adds up with those of a container.
func scopeOf(r *rule.Rule, c *Container) string {
	switch {
	case r.Per == rule.PerRule:
		return "rule"
	case r.Per == rule.PerWorkload, r.Kind == rule.KindNew: // a new container of it has nothing new
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

// Match adds a match of a line that a container wrote. Of rules that aren't in effect
// any more, or mean another thing now, nothing comes.
func (e *Engine) Match(c *Container, m *rule.Match) {
	rs := e.rules[m.Rule.ID]
	if rs == nil || m.Rule != rs.rule && meaning(m.Rule) != rs.meaning {
		return
	}
	if rs.rule.Kind == rule.KindNew {
		e.see(rs, c, m)
		return
	}
	key := Key{rs.rule.ID, scopeOf(rs.rule, c), m.By}
	s := rs.keys[key]
	if s == nil {
		s = &state{key: key}
		e.room(rs, m.TimeNano)
		rs.keys[key] = s
	}
	e.know(c)
	s.container, s.was = c.ID, nil
	// Time first: what is due by then is before the match.
	switch rs.rule.Kind {
	case rule.KindCount:
		e.passCount(rs, s, m.TimeNano, m.TimeNano-slack)
		e.count(rs, s, m)
	case rule.KindAbsent:
		e.passAbsent(rs, s, m.TimeNano-slack)
		e.present(rs, s, m.TimeNano)
	}
	if m.TimeNano >= s.seen {
		s.seen = m.TimeNano
		if rs.rule.Kind == rule.KindAbsent {
			s.line, s.stream = m.Text, m.Stream
		}
	}
	e.plan(rs, s)
	e.dirty[key] = true
}

// know notes which container an id is.
func (e *Engine) know(c *Container) {
	if e.containers[c.ID] == nil {
		e.containers[c.ID] = &containerState{Container: *c}
		e.dirty[containerKey(c.ID)] = true
	}
}

// room makes room for one key more of a rule.
func (e *Engine) room(rs *ruleState, now int64) {
	if len(rs.keys) < MaxKeys {
		return
	}
	all := slices.SortedFunc(maps.Values(rs.keys), func(a, b *state) int {
		return cmp.Or(cmp.Compare(a.seen, b.seen), compareKeys(a.key, b.key))
	})
	for _, s := range all[:MaxKeys/100] { // some at once: to find the first takes as long
		e.forget(rs, s, now, "there are too many values to know them all")
		e.forgotten[rs.rule.ID]++
	}
}

// Advance has time pass up to watermarks, in nanoseconds: all, up to which everything
// is evaluated, and of, that of a container. No watermark is behind now.
func (e *Engine) Advance(now, all int64, of func(container string) int64) {
	if now < e.now || e.now == 0 {
		e.setBack(now)
	}
	e.now = now
	var later []*state
	for len(e.due) > 0 && e.due[0].at <= now {
		s := e.due[0]
		rs := e.rules[s.key.Rule]
		upTo := all
		if id, ok := strings.CutPrefix(s.key.Scope, containerScope); ok {
			upTo = of(id)
		}
		e.unplan(s)
		if s.due(rs.rule) > upTo {
			later = append(later, s)
			continue
		}
		switch rs.rule.Kind {
		case rule.KindCount:
			e.passCount(rs, s, upTo-slack, upTo-slack)
		case rule.KindAbsent:
			e.passAbsent(rs, s, upTo-slack)
		case rule.KindNew:
			e.forget(rs, s, upTo, "")
			continue
		}
		e.dirty[s.key] = true
		if s.idle() {
			e.forget(rs, s, upTo, "")
			continue
		}
		e.plan(rs, s)
	}
	for _, s := range later {
		e.plan(e.rules[s.key.Rule], s)
	}
	if all > e.seen {
		e.seen = all
	}
}

// setBack has nothing that is known be later than now: the clock was set back, and until
// it has caught up nothing would be counted, or missed.
func (e *Engine) setBack(now int64) {
	for _, rs := range e.sorted() {
		rs.at = min(rs.at, now)
		for _, k := range slices.SortedFunc(maps.Keys(rs.keys), compareKeys) {
			s := rs.keys[k]
			if s.seen <= now+slack && s.last <= now+slack {
				continue
			}
			e.settle(rs, s, s.to)
			s.seen, s.kept, s.last = min(s.seen, now), min(s.kept, now), min(s.last, now)
			s.ahead(now)
			if s.open && rs.rule.Kind == rule.KindCount && len(s.times) == 0 {
				e.end(rs, s, now, "the clock was set back")
			}
			e.plan(rs, s)
			e.dirty[k] = true
		}
	}
}

// Containers returns the ids of the containers that are known.
func (e *Engine) Containers() []string { return slices.Sorted(maps.Keys(e.containers)) }

// TakeForgotten returns how many keys were forgotten for want of room since it was last
// called, by rule.
func (e *Engine) TakeForgotten() map[int64]int64 {
	out := e.forgotten
	if len(out) > 0 {
		e.forgotten = map[int64]int64{}
	}
	return out
}

// Waits reports whether time alone may give something.
func (e *Engine) Waits() bool { return len(e.due) > 0 }

// Stood says that for so long, up to a time in nanoseconds, nothing was evaluated and
// containers may not have been able to write: for so much longer what was to come is
// waited for.
func (e *Engine) Stood(d time.Duration, upTo int64) {
	e.seen = max(e.seen, upTo)
	for _, rs := range e.sorted() {
		if rs.rule.Kind != rule.KindAbsent {
			continue
		}
		for _, k := range slices.SortedFunc(maps.Keys(rs.keys), compareKeys) {
			s := rs.keys[k]
			e.settle(rs, s, s.to)
			if s.armed && !s.open {
				s.wait += int64(d)
				e.dirty[s.key] = true
				e.plan(rs, s)
			}
		}
	}
}

// Seen is the latest watermark that is known to have been stored, in nanoseconds; 0 for
// none.
func (e *Engine) Seen() int64 { return e.written }

// due is the watermark by which time alone changes something; 0 for never.
func (s *state) due(r *rule.Rule) int64 {
	switch r.Kind {
	case rule.KindCount:
		return s.dueCount(r)
	case rule.KindAbsent:
		return s.dueAbsent(r)
	case rule.KindNew:
		return s.seen + int64(r.Forget())
	}
	return 0
}

// idle reports whether a key is as if it had never been seen.
func (s *state) idle() bool { return !s.open && len(s.times) == 0 && s.last == 0 && s.from == 0 }

// of says of which key something is.
func (s *state) of() string {
	if s.key.By == "" {
		return ""
	}
	return " (" + s.key.By + ")"
}

// hit gives a hit, unless the rule's bucket is empty: then it is held back. It reports
// which.
func (e *Engine) hit(rs *ruleState, s *state, h Hit) {
	o := e.outcome(rs, s)
	bucket := e.bucket
	if rs.rule.Kind == rule.KindNew {
		bucket = rule.Bucket{Burst: int(rs.rule.AtMost), Refill: time.Hour / time.Duration(rs.rule.AtMost)}
	}
	if s.held = !rs.take(bucket, h.TimeNano); !s.held {
		o.Hit = &h
	} else {
		o.More = &More{Matches: max(h.Matches, 1), First: h.TimeNano, Last: h.TimeNano, Text: h.Text, Held: true}
		if h.Since != 0 {
			o.More.First = h.Since
		}
	}
	e.dirty[bucketKey(rs.rule.ID)] = true
	e.out = append(e.out, o)
}

func (e *Engine) end(rs *ruleState, s *state, at int64, why string) {
	e.tellMore(rs, s)
	o := e.outcome(rs, s)
	o.End = &End{at, why}
	e.out = append(e.out, o)
	s.open = false
}

// tellMore gives what came while a key was open.
func (e *Engine) tellMore(rs *ruleState, s *state) {
	if s.more != nil {
		o := e.outcome(rs, s)
		o.More, s.more = s.more, nil
		e.out = append(e.out, o)
	}
}

func (e *Engine) outcome(rs *ruleState, s *state) Outcome {
	o := Outcome{Rule: rs.rule, Container: e.container(s), By: s.key.By}
	if rs.rule.Kind == rule.KindNew {
		o.By, o.Shape = "", s.key.By
	}
	return o
}

// more notes a match that is no hit.
func (e *Engine) more(s *state, m *rule.Match) {
	if s.more == nil {
		s.more = &More{First: m.TimeNano}
	}
	s.more.Matches++
	s.more.First, s.more.Last, s.more.Text, s.more.Held = min(s.more.First, m.TimeNano), max(s.more.Last, m.TimeNano), m.Text, s.held
	e.grown[s.key] = true
}

func (e *Engine) container(s *state) *Container {
	if c := e.containers[s.container]; c != nil {
		return &c.Container
	}
	if s.was != nil {
		return s.was
	}
	c := Container{ID: s.container}
	if name, ok := strings.CutPrefix(s.key.Scope, workloadScope); ok {
		c.Workload = name
	}
	return &c
}

// take takes a token of the rule's bucket.
func (rs *ruleState) take(b rule.Bucket, at int64) bool {
	if b.Refill <= 0 {
		return true
	}
	refill := int64(b.Refill)
	capacity := int64(max(b.Burst, 1)) * refill
	if at > rs.at {
		rs.debt = max(0, rs.debt-min(at-rs.at, rs.debt))
		rs.at = at
	}
	if rs.debt > capacity-refill {
		return false
	}
	rs.debt += refill
	return true
}

// Take returns what came since it was last called, and the rows that changed by it.
func (e *Engine) Take() ([]Outcome, []Row) {
	for _, k := range slices.SortedFunc(maps.Keys(e.grown), compareKeys) {
		if rs := e.rules[k.Rule]; rs != nil && rs.keys[k] != nil {
			e.tellMore(rs, rs.keys[k])
		}
	}
	clear(e.grown)
	keys := slices.SortedFunc(maps.Keys(e.dirty), compareKeys)
	rows := make([]Row, 0, len(keys)+1)
	for _, k := range keys {
		rows = append(rows, Row{k, e.encode(k)})
	}
	clear(e.dirty)
	if e.seen > e.written && (len(rows) > 0 || e.Waits() && e.seen-e.written >= int64(seenEvery)) {
		e.written = e.seen
		rows = append(rows, Row{seenKey, asJSON(storedSeen{e.seen})})
	}
	out := e.out
	e.out = nil
	return out, rows
}

// plan notes when a key is due.
func (e *Engine) plan(rs *ruleState, s *state) {
	at := s.due(rs.rule)
	switch {
	case at == s.at:
	case at == 0:
		e.unplan(s)
	case s.at == 0:
		s.at = at
		heap.Push(&e.due, s)
	default:
		s.at = at
		heap.Fix(&e.due, s.heap)
	}
}

func (e *Engine) unplan(s *state) {
	if s.at != 0 {
		heap.Remove(&e.due, s.heap)
		s.at = 0
	}
}

// dueHeap has the key that is due first at its top.
type dueHeap []*state

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].at, h[j].at), compareKeys(h[i].key, h[j].key)) < 0
}
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heap, h[j].heap = i, j
}
func (h *dueHeap) Push(v any) {
	s := v.(*state)
	s.heap = len(*h)
	*h = append(*h, s)
}
func (h *dueHeap) Pop() any {
	old := *h
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return s
}
