package rule

import (
	"maps"
	"time"

	"github.com/cespare/xxhash/v2"

	"logscan/internal/shape"
)

// StreakGap is how long after a rule's last hit in a container the next one no
// longer goes on its streak: hits each of which comes within this of the one
// before. A rule with a cooldown of as much never has a streak.
const StreakGap = 5 * time.Minute

// State is what the engine remembers of one container: when each rule last
// fired there and how often in a row, what was held back since, and how full the
// token bucket is. The zero State is a new container's. Its encoded form is in
// statecodec.go.
type State struct {
	rules map[int64]*memory
	tokens
	shadow tokens // for rules in shadow, which hold back nothing of the others

	set          *Set // of the last line; nil after UnmarshalBinary
	counts       map[int64]Counts
	ignored      map[Ignored]int64
	suppressed   []Suppressed
	suppressedAt map[suppressedKey]int // where in suppressed
}

// tokens are how full a bucket is.
type tokens struct {
	debt int64 // nanoseconds until the bucket is full again, as of at
	at   int64
}

// memory is about one rule.
type memory struct {
	fired  bool
	at     int64 // when it last fired
	streak int64 // hits in a row, the last of them then; 0 unless it has fired
	// shapes are what there was of lines of one shape each, by their sums. Under
	// allShapes stands what goes by no shape: of a rule whose cooldown is for all
	// lines, or of shapes beyond MaxShapes.
	shapes map[uint64]held
}

// held is about the lines of one shape.
type held struct {
	fired      bool
	at         int64 // when there last was a hit
	suppressed int64 // matches held back since
	since      int64 // when the first of these was
}

// MaxShapes is how many shapes a rule's cooldown tells apart in a container. Beyond,
// they share one.
const MaxShapes = 1000

const allShapes = 0

// shape is where what a rule remembers of a line's shape stands, at time t.
func (m *memory) shape(r *Rule, sum uint64, t int64) uint64 {
	if r.CooldownBy != ByShape || r.CooldownSeconds == 0 || sum == allShapes {
		return allShapes
	}
	if _, known := m.shapes[sum]; known {
		return sum
	}
	// Now and then, and always at the bound, shapes go whose cooldown is over.
	if n := len(m.shapes); n >= 16 && n&(n-1) == 0 || n >= MaxShapes {
		m.forget(func(h held) bool { return !h.fired || distance(h.at, t) >= uint64(r.Cooldown()) })
	}
	if len(m.shapes) >= MaxShapes {
		return allShapes
	}
	return sum
}

// forget has shapes go that are over. What was held back of them is told by the next
// hit, whatever its shape.
func (m *memory) forget(over func(held) bool) {
	rest, known := m.shapes[allShapes]
	maps.DeleteFunc(m.shapes, func(sum uint64, h held) bool {
		if sum == allShapes || !over(h) {
			return false
		}
		rest.add(h)
		return true
	})
	switch {
	case rest.suppressed > 0 || known && !over(rest):
		m.shapes[allShapes] = rest
	case known:
		delete(m.shapes, allShapes)
	}
}

// add adds what was held back elsewhere.
func (h *held) add(other held) {
	if other.suppressed > 0 && (h.suppressed == 0 || other.since < h.since) {
		h.since = other.since
	}
	h.suppressed += other.suppressed
}

// Counts are a rule's matches in a container by what became of them. They are
// for statistics and no part of the encoded State.
type Counts struct {
	Hits     int64
	Cooldown int64 // held back by the rule's cooldown, or since the rule knows the record already
	Bucket   int64 // held back by the container's token bucket
	Ignored  int64 // that one of the rule's patterns to ignore matches too: no matches
	Matches  int64 // that the rule adds up, of which a hit is made elsewhere
	// Forgotten is values by which a rule adds matches up that were forgotten, since
	// there were too many.
	Forgotten int64
	// Learning is matches of which it wasn't known yet whether they are more than
	// usual.
	Learning int64
	// Late is matches that came when time had gone on without them, of rules that add up
	// what several containers wrote.
	Late int64
	// GivenUp is lines for which it was not found out whether they match, or
	// what the groups of a hit are, because that takes too much work.
	GivenUp int64
	// Unconfirmed is matches that package regexp doesn't see: there should be
	// none.
	Unconfirmed int64
	// Nanos is how long it took to decide the rule, in some of the lines; of rule 0, how
	// long it took to decide all rules in these.
	Nanos int64
}

// Add adds n to c.
func (c *Counts) Add(n Counts) {
	c.Hits += n.Hits
	c.Cooldown += n.Cooldown
	c.Bucket += n.Bucket
	c.Ignored += n.Ignored
	c.Matches += n.Matches
	c.Forgotten += n.Forgotten
	c.Learning += n.Learning
	c.Late += n.Late
	c.GivenUp += n.GivenUp
	c.Unconfirmed += n.Unconfirmed
	c.Nanos += n.Nanos
}

// Ignored is a pattern of a rule's to ignore.
type Ignored struct {
	Rule    int64
	Pattern string
}

// TakeIgnored returns how many lines were no matches for each pattern to ignore since it
// was last called; nil if there are none.
func (st *State) TakeIgnored() map[Ignored]int64 {
	out := st.ignored
	st.ignored = nil
	return out
}

// ignore counts a line that is no match by a pattern to ignore.
func (st *State) ignore(by Unmet) {
	if st.ignored == nil {
		st.ignored = map[Ignored]int64{}
	}
	st.ignored[Ignored{by.Rule.ID, by.Pattern}]++
}

// Suppressed is matches of one shape that were held back. They are no part of the
// encoded State.
type Suppressed struct {
	Rule        *Rule
	Shape       shape.Shape // the zero Shape where there were too many to be told apart
	By          string      // as a Hit's; "" there too
	Bucket      bool        // for want of a token: there need not be a hit of that shape
	Matches     int64
	First, Last int64  // the lines' times, in nanoseconds
	Text        string // the first line, as a Hit's
}

type suppressedKey struct {
	rule   int64
	sum    uint64
	by     string
	bucket bool
}

// maxSuppressed is how many shapes there may be until TakeSuppressed. Beyond, they are
// told apart by rule only.
const maxSuppressed = 1000

// TakeSuppressed returns what was held back since it was last called, in the order in
// which it began.
func (st *State) TakeSuppressed() []Suppressed {
	out := st.suppressed
	st.suppressed, st.suppressedAt = nil, nil
	return out
}

// SuppressedFrom is the time of the first line that TakeSuppressed would tell of, in
// nanoseconds; 0 where it would tell of none.
func (st *State) SuppressedFrom() int64 {
	first := int64(0)
	for _, s := range st.suppressed {
		if first == 0 || s.First < first {
			first = s.First
		}
	}
	return first
}

// suppress notes a match that is held back; bucket says that it is for want of a
// token.
func (st *State) suppress(h *Hit, nano int64, text []byte, bucket bool) {
	r := h.Rule
	k, of, by := suppressedKey{r.ID, h.Shape.Sum, h.By, bucket}, h.Shape, h.By
	at, known := st.suppressedAt[k]
	if !known && len(st.suppressed) >= maxSuppressed {
		k, of, by = suppressedKey{rule: r.ID, bucket: true}, shape.Shape{}, ""
		at, known = st.suppressedAt[k]
	}
	if !known {
		at = len(st.suppressed)
		st.suppressed = append(st.suppressed, Suppressed{Rule: r, Shape: of, By: by, Bucket: k.bucket, First: nano, Text: st.set.base.shown(text)})
		if st.suppressedAt == nil {
			st.suppressedAt = map[suppressedKey]int{}
		}
		st.suppressedAt[k] = at
	}
	s := &st.suppressed[at]
	s.Rule = r
	s.Matches++
	s.First, s.Last = min(s.First, nano), max(s.Last, nano)
}

// TakeCounts returns the counts by rule since it was last called; nil if there
// are none.
func (st *State) TakeCounts() map[int64]Counts {
	c := st.counts
	st.counts = nil
	return c
}

func (st *State) count(rule int64, n Counts) {
	if st.counts == nil {
		st.counts = map[int64]Counts{}
	}
	n.Add(st.counts[rule])
	st.counts[rule] = n
}

// Retain forgets the rules that no longer exist when a new snapshot comes. What
// a disabled rule has counted is kept until it is enabled again.
func (st *State) Retain(s *Set) {
	if st.set == s {
		return
	}
	st.set = s
	maps.DeleteFunc(st.rules, func(id int64, _ *memory) bool { return !s.known(id) })
}

// SetStreak is for what kept a rule's streak outside of State: n hits in a row,
// the last one at a time.
func (st *State) SetStreak(rule, n, at int64) {
	m := st.memory(rule)
	m.fired, m.at, m.streak = true, at, max(n, 1)
}

func (st *State) memory(rule int64) *memory {
	m := st.rules[rule]
	if m == nil {
		m = &memory{}
		if st.rules == nil {
			st.rules = map[int64]*memory{}
		}
		st.rules[rule] = m
	}
	return m
}

// verdict is what becomes of a match.
type verdict int

const (
	admitted verdict = iota // it is a hit
	cooling                 // the rule's cooldown holds it back
	emptied                 // the container's bucket does
)

// admit decides whether a match of a text is a hit, and if so, fills in what it tells of
// the rule's past. Behind is when the hit was whose cooldown holds it back.
func (st *State) admit(s *Set, text []byte, h *Hit) (why verdict, behind int64) {
	r, t := h.Rule, h.TimeNano
	m := st.memory(r.ID)
	at := m.shape(r, h.sum(), t)
	past := m.shapes[at]
	switch {
	// Within the cooldown on either side: a clock that stepped back further
	// has made the last hit meaningless.
	case r.CooldownSeconds > 0 && past.fired && distance(past.at, t) < uint64(r.Cooldown()):
		st.hold(h, t, text, cooling)
		return cooling, past.at
	case !st.bucketOf(r).take(s.base.bucket, t):
		st.hold(h, t, text, emptied)
		return emptied, 0
	}
	st.count(r.ID, Counts{Hits: 1})
	if m.shapes == nil {
		m.shapes = map[uint64]held{}
	}
	if rest := m.shapes[allShapes]; at != allShapes && rest.suppressed > 0 && len(m.shapes) < MaxShapes {
		// From when the cooldown was for all lines, or there were too many shapes.
		past.add(rest)
		delete(m.shapes, allShapes)
	}
	h.Suppressed, h.SuppressedSince = past.suppressed, past.since
	if past.suppressed == 0 {
		h.SuppressedSince = 0
	}
	h.Streak = 1
	if m.fired && (t < m.at || distance(m.at, t) < uint64(StreakGap)) {
		h.Streak = m.streak + 1
	}
	m.fired, m.at, m.streak = true, t, h.Streak
	m.shapes[at] = held{fired: true, at: t}
	return admitted, 0
}

// hold counts a match of a text at a time that is held back, as one of what h is about.
func (st *State) hold(h *Hit, t int64, text []byte, why verdict) {
	counts := Counts{Cooldown: 1}
	if why == emptied {
		counts = Counts{Bucket: 1}
	}
	st.count(h.Rule.ID, counts)
	st.suppress(h, t, text, why == emptied)
	m := st.memory(h.Rule.ID)
	at := m.shape(h.Rule, h.sum(), t)
	past := m.shapes[at]
	if past.suppressed == 0 {
		past.since = t
	}
	past.suppressed++
	if m.shapes == nil {
		m.shapes = map[uint64]held{}
	}
	m.shapes[at] = past
}

// sum is what a cooldown is for: the line's shape, and the values of the rule's key.
func (h *Hit) sum() uint64 {
	if h.By == "" {
		return h.Shape.Sum
	}
	var d xxhash.Digest
	d.ResetWithSeed(h.Shape.Sum)
	_, _ = d.WriteString(h.By)
	return max(d.Sum64(), allShapes+1)
}

// bucketOf is the bucket that bounds the hits of a rule.
func (st *State) bucketOf(r *Rule) *tokens {
	if r.State == Shadow {
		return &st.shadow
	}
	return &st.tokens
}

// take takes a token at time t, if there is one.
func (st *tokens) take(b bucket, t int64) bool {
	if b.refill == 0 {
		st.debt = 0
		return true
	}
	switch gap := distance(st.at, t); {
	case st.debt == 0:
		st.at = t
	case t > st.at:
		st.debt -= int64(min(gap, uint64(st.debt)))
		st.at = t
	case gap > uint64(b.capacity):
		// No jitter between streams, but a clock that was set back: without
		// this there would be no refill until it has caught up.
		st.at = t
	}
	if st.debt = min(st.debt, b.capacity); st.debt > b.capacity-b.refill {
		return false
	}
	st.debt += b.refill
	return true
}

// distance is |a-b|, which may not fit an int64.
func distance(a, b int64) uint64 {
	if a > b {
		a, b = b, a
	}
	return uint64(b) - uint64(a)
}
