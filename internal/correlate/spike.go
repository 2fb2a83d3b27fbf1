package correlate

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"logscan/internal/incident"
	"logscan/internal/rule"
)

const (
	// usualDays is how far back it matters how many matches there were.
	usualDays = 7
	// learnWindows is how many windows have to be known where none is known of the same
	// time of another day.
	learnWindows = 12
	// MaxSpikeKeys is how many keys of a rule of kind spike are known: each has the
	// counts of the windows of a week, of four bytes each.
	MaxSpikeKeys = 1000
)

// spikeState is what is known of a key of a rule of kind spike. Windows are numbered from
// the epoch on. Each is told of in its turn: Next, once no match of the one before it can
// come any more.
type spikeState struct {
	Next    int64          `json:"n"`
	Hit     int64          `json:"h,omitempty"` // while it is open: the window that is the hit
	Windows []*spikeWindow `json:"w,omitempty"` // with matches: Next, and the one behind it

	past  past // in a row of its own
	usual usual
}

// spikeWindow counts the matches of a window that isn't over.
type spikeWindow struct {
	N       int64     `json:"n"`
	Count   int64     `json:"c"`
	Cleared int64     `json:"cl,omitempty"` // of those: before a line ended what was open
	First   int64     `json:"f"`            // the time of the first one behind that; 0 for none
	Last    int64     `json:"l"`            // and of the last
	Text    string    `json:"x,omitempty"`  // of that
	Tip     *spikeTip `json:"t,omitempty"`  // the match that made them too many
}

type spikeTip struct {
	Time   int64  `json:"t"`
	Count  int64  `json:"c"`
	Text   string `json:"x"`
	Stream string `json:"s"`
}

// Counted is the matches of a container that came before a rule of kind spike.
type Counted struct {
	Container *Container
	Since     int64           // from when on it is known what it wrote, in nanoseconds
	Windows   map[int64]int64 // how many there were in windows, by their number
}

func (t *spikeState) window(n int64) *spikeWindow {
	at, found := slices.BinarySearchFunc(t.Windows, n, func(w *spikeWindow, n int64) int { return cmp.Compare(w.N, n) })
	if !found {
		t.Windows = slices.Insert(t.Windows, at, &spikeWindow{N: n})
	}
	return t.Windows[at]
}

// known has a key be known from a time on, at the latest.
func (s *state) known(r *rule.Rule, since int64) {
	next := rule.Slot(since, r.Window())
	first := rule.Slot(since-1, r.Window()) + 1 // the first one that is known as a whole
	if s.spike == nil {
		s.spike = &spikeState{Next: next, past: past{first: first}}
		return
	}
	s.spike.past.begin(max(first, s.spike.Next-week(r)))
	s.spike.usual = usual{}
}

// week is how many windows of the past are kept.
func week(r *rule.Rule) int64 { return usualDays * perDay(r) }

func perDay(r *rule.Rule) int64 { return int64(24 * time.Hour / r.Window()) }

// follow has keys of rules of kind spike be known where a container runs: that it writes
// nothing that matches is known too.
func (e *Engine) follow(c *containerState, at int64) {
	if e.snapshot == nil {
		return
	}
	for _, r := range e.snapshot.ForContainer(c.scope()).Correlated() {
		rs := e.rules[r.ID]
		if r.Kind != rule.KindSpike {
			continue
		}
		key := Key{r.ID, scopeOf(r, &c.Container), ""}
		if rs.keys[key] == nil {
			e.spikeKey(rs, key, c.ID, max(at, rs.since.Since))
		}
	}
}

func (e *Engine) spikeKey(rs *ruleState, key Key, container string, since int64) *state {
	s := &state{key: key, container: container, seen: since}
	e.room(rs, since)
	rs.keys[key] = s
	s.known(rs.rule, since)
	e.dirty[key], e.dirty[pastKey(key)] = true, true
	return s
}

func (e *Engine) matchSpike(rs *ruleState, s *state, m *rule.Match) {
	r := rs.rule
	if s.spike == nil {
		s.known(r, m.TimeNano)
		e.dirty[pastKey(s.key)] = true
	}
	e.passSpike(rs, s, m.TimeNano-slack)
	t, n := s.spike, rule.Slot(m.TimeNano, r.Window())
	if m.TimeNano >= s.seen {
		s.seen, s.line, s.stream = m.TimeNano, m.Text, m.Stream
	}
	if n < t.Next { // it came late
		t.past.add(n, 1, week(r))
		t.usual = usual{}
		e.dirty[pastKey(s.key)] = true
		return
	}
	w := t.window(n)
	w.Count++
	if w.First == 0 || m.TimeNano < w.First {
		w.First = m.TimeNano
	}
	if m.TimeNano >= w.Last {
		w.Last, w.Text = m.TimeNano, m.Text
	}
	u := t.usualAt(r, n)
	if !u.known() || rs.seeding {
		e.learning[r.ID]++
	} else if w.Tip == nil && w.Count-w.Cleared > u.most(r) {
		w.Tip = &spikeTip{m.TimeNano, w.Count - w.Cleared, m.Text, m.Stream}
	}
	switch {
	case n > t.Next: // that is told once the window before it is over
	case s.open:
		e.more(s, m)
	default:
		e.tip(rs, s, w)
	}
}

// tip gives the hit that a window's matches are, if they are one.
func (e *Engine) tip(rs *ruleState, s *state, w *spikeWindow) {
	if w.Tip == nil {
		return
	}
	r, u, tip := rs.rule, s.spike.usualAt(rs.rule, w.N), w.Tip
	s.open, s.spike.Hit = true, w.N
	e.hit(rs, s, Hit{
		TimeNano: tip.Time, Line: tip.Text, Stream: tip.Stream, LineTime: tip.Time, Matches: tip.Count, Since: w.First,
		Text: fmt.Sprintf("%s matches in %s, usually %s: %s", rule.Thousands(tip.Count), incident.Span(r.Window()), u, tip.Text),
	})
	if more := w.Count - w.Cleared - tip.Count; more > 0 {
		e.grow(s, more, tip.Time, w.Last, w.Text)
	}
}

func (s *state) dueSpike(rs *ruleState) int64 {
	t := s.spike
	if t == nil || !s.open && (len(t.Windows) == 0 || t.Windows[len(t.Windows)-1].Tip == nil) {
		return 0
	}
	return (t.Next+1)*int64(rs.rule.Window()) + slack
}

// passSpike has the windows be over that end by a time.
func (e *Engine) passSpike(rs *ruleState, s *state, upTo int64) {
	t, r := s.spike, rs.rule
	if t == nil {
		return
	}
	for to := rule.Slot(upTo, r.Window()); t.Next < to; {
		e.close(rs, s)
		t.Next++
		if len(t.Windows) == 0 && !s.open {
			t.Next = to
		}
		if len(t.Windows) == 0 || t.Windows[0].N != t.Next {
			continue
		}
		if w := t.Windows[0]; s.open {
			e.grow(s, w.Count-w.Cleared, w.First, w.Last, w.Text)
		} else {
			e.tip(rs, s, w)
		}
	}
}

// close has the window be over that is next.
func (e *Engine) close(rs *ruleState, s *state) {
	t, r := s.spike, rs.rule
	w := &spikeWindow{N: t.Next}
	if len(t.Windows) > 0 && t.Windows[0].N == t.Next {
		w, t.Windows = t.Windows[0], t.Windows[1:]
		t.past.add(w.N, w.Count, week(r))
		e.dirty[pastKey(s.key)] = true
	}
	if !s.open || w.N < t.Hit || t.past.at(w.N) == unknown {
		return
	}
	if u := t.usualAt(r, w.N); w.Count-w.Cleared <= u.most(r) {
		e.end(rs, s, (w.N+1)*int64(r.Window()), fmt.Sprintf("%s matches in %s, which is not over %s", rule.Thousands(w.Count-w.Cleared), incident.Span(r.Window()), rule.Thousands(u.most(r))))
	}
}

// beginSpike has the matches up to the line that ended what was open not count towards
// another hit.
func (e *Engine) beginSpike(_ *ruleState, s *state) {
	if s.spike == nil {
		return
	}
	for _, w := range s.spike.Windows {
		w.Cleared, w.First, w.Tip = w.Count, 0, nil
	}
}

// seedSpike tells of the matches that came before a rule.
func (e *Engine) seedSpike(rs *ruleState, all []Counted) {
	r := rs.rule
	for _, v := range all {
		e.know(v.Container)
		key := Key{r.ID, scopeOf(r, v.Container), ""}
		s := rs.keys[key]
		if s == nil {
			s = e.spikeKey(rs, key, v.Container.ID, rs.since.Since)
		}
		s.known(r, v.Since)
		for _, n := range slices.Sorted(maps.Keys(v.Windows)) {
			if n < s.spike.Next {
				s.spike.past.add(n, v.Windows[n], week(r))
			} else {
				s.spike.window(n).Count += v.Windows[n]
			}
		}
		e.dirty[key], e.dirty[pastKey(key)] = true, true
	}
	for _, s := range rs.all() {
		for _, w := range s.spike.Windows {
			u := s.spike.usualAt(r, w.N)
			if !u.known() || w.First == 0 || w.Count-w.Cleared <= u.most(r) {
				continue
			}
			w.Tip = &spikeTip{w.Last, w.Count - w.Cleared, w.Text, s.stream}
			if w.N == s.spike.Next {
				e.tip(rs, s, w)
			}
			e.dirty[s.key] = true
		}
		e.plan(rs, s)
	}
}

// stood has windows of which nothing was evaluated for half or more be unknown.
func (t *spikeState) stood(r *rule.Rule, from, upTo int64) (changed bool) {
	length := int64(r.Window())
	for n := max(rule.Slot(from, r.Window()), rule.Slot(upTo, r.Window())-week(r)); n*length < upTo; n++ {
		if min(upTo, (n+1)*length)-max(from, n*length) >= length/2 && n >= t.past.first {
			t.past.forget(n, week(r))
			changed = true
		}
	}
	t.usual = usual{}
	return changed
}

// setBack has nothing that is known be later than now.
func (t *spikeState) setBack(r *rule.Rule, now int64) {
	n := rule.Slot(now, r.Window())
	t.Next, t.usual = min(t.Next, n), usual{}
	t.Windows = slices.DeleteFunc(t.Windows, func(w *spikeWindow) bool { return w.N > n })
	t.past.cut(n + 1)
}

// usual is how many matches a window has usually.
type usual struct {
	n       int64 // the window
	of      int64 // twice the median
	days    int   // of so many days, or
	windows int   // of so many windows; neither where it isn't known
}

func (u usual) known() bool { return u.days+u.windows > 0 }

// most is how many matches are no hit.
func (u usual) most(r *rule.Rule) int64 { return max(r.Least(), r.Hundredths()*u.of/200) }

func (u usual) String() string {
	half := ""
	if u.of%2 != 0 {
		half = ".5"
	}
	of := fmt.Sprintf("%d windows", u.windows)
	switch {
	case u.days == 1:
		of = "1 day at this time"
	case u.days > 0:
		of = fmt.Sprintf("%d days at this time", u.days)
	}
	return fmt.Sprintf("%s%s (median of %s)", rule.Thousands(u.of/2), half, of)
}

// usualAt is what is usual in a window: as much as at the same time on the days before;
// where none of them is known, as much as in the windows before. The one right before it
// doesn't count: its last matches may come later than the first of this one.
func (t *spikeState) usualAt(r *rule.Rule, n int64) usual {
	if t.usual.known() && t.usual.n == n {
		return t.usual
	}
	u := usual{n: n}
	var counts []int32
	for day := int64(1); day <= usualDays; day++ {
		if c := t.past.at(n - day*perDay(r)); c != unknown {
			counts = append(counts, c)
		}
	}
	if u.days = len(counts); u.days == 0 {
		for k := max(t.past.first, n-week(r)); k < n-1; k++ {
			if c := t.past.at(k); c != unknown {
				counts = append(counts, c)
			}
		}
		if len(counts) < learnWindows {
			return u
		}
		u.windows = len(counts)
	}
	slices.Sort(counts)
	middle := len(counts) / 2
	u.of = int64(counts[middle]) + int64(counts[(len(counts)-1)/2])
	t.usual = u
	return u
}

// Learning says of how many windows a rule of kind spike knows how many matches they had,
// where it isn't known yet at a time, in nanoseconds, what is usual; "" where it is.
func (e *Engine) Learning(r *rule.Rule, now int64) string {
	rs := e.rules[r.ID]
	if rs == nil || r.Kind != rule.KindSpike {
		return ""
	}
	next := rule.Slot(now, r.Window())
	for _, s := range rs.all() {
		if s.spike == nil || s.spike.usualAt(r, next).known() {
			continue
		}
		known := 0
		for n := s.spike.past.first; n < next-1; n++ {
			if s.spike.past.at(n) != unknown {
				known++
			}
		}
		return fmt.Sprintf("what is usual isn't known yet: %d of %d windows are", known, learnWindows)
	}
	return ""
}

// past is how many matches windows had. Those before first are unknown, those behind
// counts had none.
type past struct {
	first  int64
	counts []int32
}

const unknown = -1

func (p *past) at(n int64) int32 {
	switch {
	case n < p.first:
		return unknown
	case n-p.first >= int64(len(p.counts)):
		return 0
	}
	return p.counts[n-p.first]
}

// begin has the windows from first on be known.
func (p *past) begin(first int64) {
	if first >= p.first {
		return
	}
	if len(p.counts) > 0 {
		p.counts = append(make([]int32, p.first-first), p.counts...)
	}
	p.first = first
}

// slot makes room for a window's count, and forgets those that are more than so many
// before it. It is nil where that isn't known.
func (p *past) slot(n, most int64) *int32 {
	if least := n - most; least > p.first {
		p.counts = slices.Clone(p.counts[min(int64(len(p.counts)), least-p.first):])
		p.first = least
	}
	if n < p.first {
		return nil
	}
	for n-p.first >= int64(len(p.counts)) {
		p.counts = append(p.counts, 0)
	}
	return &p.counts[n-p.first]
}

func (p *past) add(n, matches, most int64) {
	if c := p.slot(n, most); c != nil && *c != unknown {
		*c = int32(min(int64(*c)+matches, maxCount))
	}
}

// maxCount bounds a window's matches.
const maxCount = 1<<31 - 1

func (p *past) forget(n, most int64) {
	if c := p.slot(n, most); c != nil {
		*c = unknown
	}
}

// cut has nothing be known of the windows from n on: they are still to come.
func (p *past) cut(n int64) {
	if n <= p.first {
		p.first, p.counts = n, nil
		return
	}
	p.counts = p.counts[:min(int64(len(p.counts)), n-p.first)]
}

// pastKey is where the past of a key of a rule of kind spike stands, which has no values.
func pastKey(k Key) Key { return Key{k.Rule, k.Scope, pastBy} }

const pastBy = "past"

// storedPast is a past. Of counts that are not 0 there are varints; 0 and -1, for unknown,
// have behind them of how many windows in a row that is so.
type storedPast struct {
	Version int    `json:"v"`
	Meaning string `json:"m"`
	First   int64  `json:"f"`
	Counts  []byte `json:"w,omitempty"`
}

func (p *past) encode(meaning string) []byte {
	v := storedPast{Version: storedVersion, Meaning: inShort(meaning), First: p.first}
	for at := 0; at < len(p.counts); {
		c, same := p.counts[at], 1
		v.Counts = binary.AppendVarint(v.Counts, int64(c))
		if c <= 0 {
			for at+same < len(p.counts) && p.counts[at+same] == c {
				same++
			}
			v.Counts = binary.AppendVarint(v.Counts, int64(same))
		}
		at += same
	}
	return asJSON(v)
}

// maxWindows bounds what is read: a week of windows, as short as can be, and one.
const maxWindows = int64(usualDays*24*time.Hour/rule.MinSpikeWindow) + 1

func decodePast(b []byte, meaning string) (p past, ok, readable bool) {
	var v storedPast
	if json.Unmarshal(b, &v) != nil {
		return p, false, false
	}
	if v.Version != storedVersion || v.Meaning != inShort(meaning) {
		return p, false, true
	}
	p.first = v.First
	for r := varints(v.Counts); len(r) > 0; {
		c, same := r.next(), int64(1)
		if c <= 0 {
			same = r.next()
		}
		if r == nil || c < unknown || c > maxCount || same < 1 || same > maxWindows-int64(len(p.counts)) {
			return past{}, false, false
		}
		p.counts = append(p.counts, slices.Repeat([]int32{int32(c)}, int(same))...)
	}
	return p, true, true
}

// isPast reports whether a row is a past.
func isPast(r *rule.Rule, k Key) bool { return r.Kind == rule.KindSpike && k.By == pastBy }

// remember has keys know their pasts, of which rows were read. One without knows nothing.
func (e *Engine) remember(pasts map[Key]past) {
	for k, p := range pasts {
		if s := e.rules[k.Rule].keys[Key{k.Rule, k.Scope, ""}]; s != nil && s.spike != nil {
			s.spike.past = p
		} else {
			e.dirty[k] = true
		}
	}
}

// sound reports whether what was read is as if it had been written.
func (t *spikeState) sound() bool {
	last := t.Next - 1
	for _, w := range t.Windows {
		if w == nil || w.N <= last || w.N > t.Next+1 {
			return false
		}
		last = w.N
	}
	return true
}
