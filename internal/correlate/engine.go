package correlate

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"logscan/internal/fields"
	"logscan/internal/rule"
	"logscan/internal/schedule"
)

const (
	// Slack is rule.Slack.
	Slack = rule.Slack
	// MaxKeys is how many keys of a rule are known. Beyond, the one seen longest ago
	// is forgotten.
	MaxKeys = 10_000

	slack = int64(Slack)

	// seenEvery is how often it is stored up to when time has passed.
	seenEvery = 15 * time.Second
)

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
	seeded     map[int64]string       // rules of kinds new and spike, as stored
	since      map[int64]storedSince  // rules of kinds run and spike, as stored
	buckets    map[int64]storedBucket // of rules that were not known yet
	unread     []Row                  // of rules that were not known yet
	due        dueHeap
	dirty      map[Key]bool // whose rows changed
	grown      map[Key]bool // that have more
	seen       int64        // the latest watermark
	// From stoodFrom to stoodTo nothing was evaluated, see Stood; the latest such time.
	stoodFrom, stoodTo int64
	written            int64           // what is stored of seen
	now                int64           // of the latest Advance; 0 before it
	forgotten          map[int64]int64 // keys for which there was no room, by rule, since TakeForgotten
	learning           map[int64]int64 // matches that can't be judged yet, by rule, since TakeLearning

	match *rule.Match // that is being added; nil for none

	early earlies

	out []Outcome
}

// ruleState is a rule, with what is known of its keys.
type ruleState struct {
	rule    *rule.Rule
	active  schedule.Hours
	meaning string // of rule
	keys    map[Key]*state
	// seeding is that it isn't known yet what was there before the rule, of kind new or
	// spike.
	seeding bool
	since   storedSince // of kinds run and spike
	debt    int64       // of its bucket, in nanoseconds, as of at
	at      int64

	early  map[string][]*early // matches that are, by scope, in the order of time
	stops  map[string]int64    // scopes in which nothing runs once these count, since when
	latest map[string]int64    // the time of the latest match that counts, by scope
}

// containerState is what is known of a container.
type containerState struct {
	Container
	Started int64 `json:"started"` // its latest start, in nanoseconds
	Running bool  `json:"running"`
	Run     *Run  `json:"run,omitempty"` // the latest; nil where no rule has asked for it
}

// state is what is known of a key. Which fields are used depends on the rule's kind.
type state struct {
	key       Key
	container string     // id of the last one
	was       *Container // that, where it was removed
	open      bool
	held      bool  // and its hit was held back
	seen      int64 // the time of the latest match
	cleared   int64 // the time of the latest line that ended what was open; 0 for none
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

	pending  []pending  // of kinds that take matches in order
	sequence *sequence  // of that kind
	change   *change    // of that kind; nil before the first value
	run      *runState  // of run: of a container that runs
	runs     *runsState // of run: of a workload

	unsure  bool  // of new: whether it is isn't known yet
	matches int64 // of an unsure one: behind the first
	kept    int64 // of new: what is stored of seen

	ratio *ratioState // of ratio; nil before the first line
	spike *spikeState // of spike, always

	at   int64 // when it is due, as it stands in Engine.due; 0 for not
	heap int   // its place there
}

// kind is what a rule's kind makes of the matches of a key.
type kind struct {
	// match adds a match. What is due by its time is before it.
	match func(e *Engine, rs *ruleState, s *state, m *rule.Match)
	// pass has time pass: no match comes any more that is of before a time.
	pass func(e *Engine, rs *ruleState, s *state, upTo int64)
	// due is the watermark by which time alone changes something, and slack is over; 0
	// for never.
	due func(s *state, rs *ruleState) int64
	// begin has a key that was cleared be as if there had been no match.
	begin func(e *Engine, rs *ruleState, s *state)
}

// kindOf knows all kinds but line, which has nothing to add up, and new, whose keys are
// shapes.
func kindOf(r *rule.Rule) kind {
	switch r.Kind {
	case rule.KindCount:
		return kind{(*Engine).matchCount, (*Engine).passCount, (*state).dueCount, (*Engine).beginCount}
	case rule.KindAbsent:
		return kind{(*Engine).matchAbsent, (*Engine).passAbsent, (*state).dueAbsent, (*Engine).beginAbsent}
	case rule.KindSequence:
		return kind{(*Engine).matchSequence, (*Engine).passSequence, (*state).dueSequence, (*Engine).beginSequence}
	case rule.KindChange:
		return kind{(*Engine).matchChange, (*Engine).passChange, (*state).dueChange, (*Engine).beginChange}
	case rule.KindRatio:
		return kind{(*Engine).matchRatio, (*Engine).passRatio, (*state).dueRatio, (*Engine).beginRatio}
	case rule.KindSpike:
		return kind{(*Engine).matchSpike, (*Engine).passSpike, (*state).dueSpike, (*Engine).beginSpike}
	}
	if r.Kind == rule.KindRun { // whose lines matchRun takes
		return kind{pass: (*Engine).passRun, due: (*state).dueRun, begin: (*Engine).beginRuns}
	}
	panic("correlate: no kind " + r.Kind)
}

// New returns an engine that knows nothing. The bucket bounds the hits of a rule.
func New(bucket rule.Bucket) *Engine {
	return &Engine{bucket: bucket, rules: map[int64]*ruleState{}, containers: map[string]*containerState{}, buckets: map[int64]storedBucket{}, dirty: map[Key]bool{}, grown: map[Key]bool{}, seeded: map[int64]string{}, forgotten: map[int64]int64{}, learning: map[int64]int64{}, since: map[int64]storedSince{}, early: newEarlies()}
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
	before := e.snapshot
	e.snapshot = snapshot
	if before != nil && snapshot.SumsAs(before) {
		return nil
	}
	known := map[int64]bool{}
	for _, r := range snapshot.Correlated() {
		known[r.ID] = true
		if rs := e.rules[r.ID]; rs != nil && rs.rule == r {
			continue
		}
		rs, means := e.rules[r.ID], meaning(r)
		if rs == nil {
			rs = &ruleState{keys: map[Key]*state{}, early: map[string][]*early{}, stops: map[string]int64{}, latest: map[string]int64{}, debt: e.buckets[r.ID].Debt, at: e.buckets[r.ID].At, seeding: seeds(r) && e.seeded[r.ID] != inShort(means)}
			e.rules[r.ID] = rs
			e.begin(rs, r, means, e.since[r.ID])
		} else if rs.meaning != means {
			e.forgetRule(rs, now, "the rule was changed")
			rs.seeding = seeds(r)
			e.dirty[seededKey(r.ID)] = true
			e.begin(rs, r, means, storedSince{})
		}
		changed := rs.rule != nil
		rs.rule, rs.meaning = r, means
		rs.active, _ = schedule.ParseHours(r.Active) // it was read when it was made
		if r.Kind == rule.KindRun {
			e.noteSince(rs)
		}
		if changed { // its times may be others
			for _, s := range rs.keys {
				e.plan(rs, s)
			}
		}
	}
	pasts := map[Key]past{}
	for _, row := range e.unread {
		rs := e.rules[row.Rule]
		if rs == nil {
			e.drop(row, now, "the rule was removed or switched off")
			continue
		}
		if isPast(rs.rule, row.Key) {
			p, ok, readable := decodePast(row.Data, rs.meaning)
			if !readable {
				bad = append(bad, row.Key)
			}
			if ok {
				pasts[row.Key] = p
			} else {
				e.dirty[row.Key] = true
			}
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
	e.remember(pasts)
	bad = append(bad, e.loadEarly()...)
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
	for id := range e.since {
		if !known[id] {
			e.dirty[sinceKey(id)] = true
		}
	}
	e.unread, e.buckets, e.seeded, e.since = nil, nil, nil, nil
	for id, rs := range e.rules {
		if !known[id] {
			e.forgetRule(rs, now, "the rule was removed or switched off")
			delete(e.rules, id)
			e.dirty[bucketKey(id)], e.dirty[seededKey(id)], e.dirty[sinceKey(id)] = true, true, true
		}
	}
	e.leave(now)
	for _, id := range slices.Sorted(maps.Keys(e.containers)) {
		if c := e.containers[id]; c.Running {
			e.arm(c, now, false)
			e.follow(c, now)
		}
		e.joinRuns(e.containers[id])
	}
	return bad
}

// begin has a rule be in effect whose state means something, of which it may be stored
// from when on its matches count.
func (e *Engine) begin(rs *ruleState, r *rule.Rule, means string, since storedSince) {
	switch {
	case r.Kind == rule.KindRun:
		return // see noteSince
	case r.Kind != rule.KindSpike || r.UpdatedAt.IsZero():
		rs.since = storedSince{}
	case since.Meaning == inShort(means):
		rs.since = since
		return
	default:
		rs.since = storedSince{inShort(means), r.UpdatedAt.UnixNano()}
	}
	e.dirty[sinceKey(r.ID)] = true
}

// seeds reports whether it matters what was there before a rule.
func seeds(r *rule.Rule) bool { return r.Kind == rule.KindNew || r.Kind == rule.KindSpike }

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
	for _, more := range []fields.Texts{r.Ignore, r.Where} {
		parts = append(append(parts, "\x00"), more...)
	}
	if more := append(append(slices.Clone(r.Steps), "\x00"), r.Until...); len(more) > 1 {
		parts = append(append(parts, "\x00"), more...)
	}
	if r.Field != "" {
		parts = append(parts, "\x00", r.Field)
	}
	if r.Kind == rule.KindRun {
		parts = append(parts, strconv.FormatInt(r.MinLines, 10), strings.Join(r.Must, "\x00"), "\x00", strings.Join(r.MustNot, "\x00"))
	}
	if r.Kind == rule.KindRatio || r.Kind == rule.KindSpike {
		parts = append(parts, "\x00", r.Of, r.Window().String())
	}
	if r.Record || r.RecordStart != "" {
		parts = append(parts, "\x00", strconv.FormatBool(r.Record), r.RecordStart)
	}
	return strings.Join(parts, "\x00")
}

func (e *Engine) forgetRule(rs *ruleState, now int64, why string) {
	for _, s := range rs.all() {
		e.forget(rs, s, now, why)
	}
	for scope := range rs.early {
		e.dropEarly(rs, scope)
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
	if s.spike != nil {
		e.dirty[pastKey(s.key)] = true
	}
}

func (e *Engine) sorted() []*ruleState {
	out := slices.Collect(maps.Values(e.rules))
	slices.SortFunc(out, func(a, b *ruleState) int { return cmp.Compare(a.rule.ID, b.rule.ID) })
	return out
}

// Match adds a match of a line that a container wrote, in its time. Of rules that aren't
// in effect any more, or mean another thing now, nothing comes.
func (e *Engine) Match(c *Container, m *rule.Match) {
	rs := e.rules[m.Rule.ID]
	if rs == nil || m.Rule != rs.rule && meaning(m.Rule) != rs.meaning {
		return
	}
	if !e.hold(rs, c, m) {
		e.add(rs, c, m)
	}
}

// add adds a match whose time has come.
func (e *Engine) add(rs *ruleState, c *Container, m *rule.Match) {
	e.noteLate(rs, scopeOf(rs.rule, c), m.TimeNano)
	e.match = m
	defer func() { e.match = nil }()
	switch {
	case m.Role == rule.Clear:
		e.clear(rs, c, m)
		return
	case rs.rule.Kind == rule.KindNew:
		e.see(rs, c, m)
		return
	case rs.rule.Kind == rule.KindRun:
		e.matchRun(rs, c, m)
		return
	case m.TimeNano < rs.since.Since: // it is among those that came before the rule
		return
	}
	e.know(c)
	scope := scopeOf(rs.rule, c)
	var about []*state
	if m.All {
		about = rs.in(scope)
	} else {
		about = append(about, e.key(rs, rs.keyOf(scope, m), m.TimeNano))
	}
	for _, s := range about {
		s.container, s.was = c.ID, nil
		if s.cleared == 0 || m.TimeNano > s.cleared {
			kindOf(rs.rule).match(e, rs, s, m)
		}
		e.plan(rs, s)
		e.dirty[s.key] = true
	}
}

// keyOf is the key that a match is of. How long a value is that a line quotes is known by
// what it has to be.
func (rs *ruleState) keyOf(scope string, m *rule.Match) Key {
	k := Key{rs.rule.ID, scope, m.By}
	if other := (Key{rs.rule.ID, scope, m.Short}); m.Short != "" && rs.keys[k] == nil && rs.keys[other] != nil {
		return other
	}
	return k
}

// key is what is known of a key, from now on.
func (e *Engine) key(rs *ruleState, k Key, at int64) *state {
	s := rs.keys[k]
	if s == nil {
		s = &state{key: k}
		e.room(rs, at)
		rs.keys[k] = s
	}
	return s
}

// room makes room for one key more of a rule.
func (e *Engine) room(rs *ruleState, now int64) {
	most := MaxKeys
	if rs.rule.Kind == rule.KindSpike {
		most = MaxSpikeKeys
	}
	if len(rs.keys) < most {
		return
	}
	all := slices.SortedFunc(maps.Values(rs.keys), func(a, b *state) int {
		return cmp.Or(cmp.Compare(a.seen, b.seen), compareKeys(a.key, b.key))
	})
	for _, s := range all[:most/100] { // some at once: to find the first takes as long
		e.forget(rs, s, now, "there are too many values to know them all")
		e.forgotten[rs.rule.ID]++
	}
}

// TakeForgotten returns how many keys were forgotten for want of room since it was last
// called, by rule.
func (e *Engine) TakeForgotten() map[int64]int64 {
	out := e.forgotten
	if len(out) > 0 {
		e.forgotten = map[int64]int64{}
	}
	return out
}

// TakeLearning returns how many matches of rules of kind spike came since it was last
// called of which it wasn't known yet whether they are more than usual, by rule.
func (e *Engine) TakeLearning() map[int64]int64 {
	out := e.learning
	if len(out) > 0 {
		e.learning = map[int64]int64{}
	}
	return out
}

// Take returns what came since it was last called, and the rows that changed by it.
func (e *Engine) Take() ([]Outcome, []Row) {
	e.inTime()
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
	e.early.stored = e.early.next
	if e.seen > e.written && (len(rows) > 0 || e.Waits() && e.seen-e.written >= int64(seenEvery)) {
		e.written = e.seen
		rows = append(rows, Row{seenKey, asJSON(storedSeen{e.seen, e.stoodFrom, e.stoodTo})})
	}
	out := e.out
	e.out = nil
	return out, rows
}
