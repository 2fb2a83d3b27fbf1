package rule

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
)

// State is what the engine remembers of one container: when each rule last
// fired there, what was held back since, and how full the token bucket is. The
// zero State is a new container's.
type State struct {
	rules map[int64]*memory
	debt  int64 // nanoseconds until the bucket is full again, as of at
	at    int64

	set    *Set // of the last line; nil after UnmarshalBinary
	counts map[int64]Counts
}

// memory is about one rule.
type memory struct {
	fired      bool
	at         int64 // when it last fired
	suppressed int64 // matches held back since
	since      int64 // when the first of these was
}

// Counts are a rule's matches in a container by what became of them. They are
// for statistics and no part of the encoded State.
type Counts struct {
	Hits     int64
	Cooldown int64 // held back by the rule's cooldown
	Bucket   int64 // held back by the container's token bucket
}

// TakeCounts returns the counts by rule since it was last called; nil if there
// are none.
func (st *State) TakeCounts() map[int64]Counts {
	c := st.counts
	st.counts = nil
	return c
}

// Enter forgets the rules that no longer exist when a new snapshot comes. What
// a disabled rule has counted is kept until it is enabled again.
func (st *State) Enter(s *Set) {
	if st.set == s {
		return
	}
	st.set = s
	maps.DeleteFunc(st.rules, func(id int64, _ *memory) bool { return !s.snapshot.known[id] })
}

// admit decides whether a match at time t is a hit.
func (st *State) admit(s *Set, r *Rule, t int64) (suppressed, since int64, ok bool) {
	m := st.rules[r.ID]
	counts := st.counts[r.ID]
	if st.counts == nil {
		st.counts = map[int64]Counts{}
	}
	switch {
	// Within the cooldown on either side: a clock that stepped back further
	// has made the last hit meaningless.
	case r.Cooldown > 0 && m != nil && m.fired && distance(m.at, t) < uint64(r.Cooldown):
		counts.Cooldown++
	case !st.take(s.snapshot.bucket, t):
		counts.Bucket++
	default:
		counts.Hits++
		ok = true
	}
	st.counts[r.ID] = counts

	if ok {
		if m != nil {
			suppressed, since = m.suppressed, m.since
		}
		if r.Cooldown == 0 {
			delete(st.rules, r.ID) // nothing to remember
			return suppressed, since, true
		}
	}
	if m == nil {
		m = &memory{}
		if st.rules == nil {
			st.rules = map[int64]*memory{}
		}
		st.rules[r.ID] = m
	}
	if ok {
		*m = memory{fired: true, at: t}
		return suppressed, since, true
	}
	if m.suppressed == 0 {
		m.since = t
	}
	m.suppressed++
	return 0, 0, false
}

// take takes a token at time t, if there is one.
func (st *State) take(b bucket, t int64) bool {
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

// The encoded form, integers as varints:
//
//	version (1 byte) | debt | at (zigzag) | count | count × entry
//	entry: id − previous id | flags (1: fired, 2: suppressed)
//	       | at (zigzag), if fired | suppressed, since (zigzag), if suppressed
const (
	stateVersion = 1
	// maxMemories bounds the entries that are read; far more than there can
	// be rules.
	maxMemories = 100_000

	flagFired      = 1
	flagSuppressed = 2
)

var errState = errors.New("rule: not an engine state")

// MarshalBinary encodes st; equal states give equal bytes. It never fails.
func (st *State) MarshalBinary() ([]byte, error) {
	ids := slices.Sorted(maps.Keys(st.rules))
	b := append(make([]byte, 0, 32+24*len(ids)), stateVersion)
	b = binary.AppendUvarint(b, uint64(st.debt))
	b = binary.AppendVarint(b, st.at)
	b = binary.AppendUvarint(b, uint64(len(ids)))
	last := int64(0)
	for _, id := range ids {
		m := st.rules[id]
		b = binary.AppendUvarint(b, uint64(id-last))
		last = id
		flags := byte(0)
		if m.fired {
			flags |= flagFired
		}
		if m.suppressed > 0 {
			flags |= flagSuppressed
		}
		b = append(b, flags)
		if m.fired {
			b = binary.AppendVarint(b, m.at)
		}
		if m.suppressed > 0 {
			b = binary.AppendUvarint(b, uint64(m.suppressed))
			b = binary.AppendVarint(b, m.since)
		}
	}
	return b, nil
}

// UnmarshalBinary makes st what was encoded. Nothing at all is a new
// container's State; after an error st is as before.
func (st *State) UnmarshalBinary(b []byte) error {
	if len(b) == 0 {
		*st = State{}
		return nil
	}
	r := stateReader{b: b[1:], ok: b[0] == stateVersion}
	out := State{debt: r.count(), at: r.signed()}
	n := r.count()
	if n > maxMemories || n > int64(len(b)) {
		return errState
	}
	if n > 0 {
		out.rules = make(map[int64]*memory, n)
	}
	for id := int64(0); n > 0 && r.ok; n-- {
		step := r.count()
		if step == 0 || step > math.MaxInt64-id {
			return errState
		}
		id += step
		m := &memory{}
		flags := r.byte()
		if m.fired = flags&flagFired != 0; m.fired {
			m.at = r.signed()
		}
		if flags&flagSuppressed != 0 {
			if m.suppressed, m.since = r.count(), r.signed(); m.suppressed == 0 {
				return errState
			}
		}
		if flags == 0 || flags&^(flagFired|flagSuppressed) != 0 {
			return errState
		}
		out.rules[id] = m
	}
	if !r.ok || len(r.b) > 0 {
		return errState
	}
	*st = out
	return nil
}

// stateReader cuts values off b until one isn't there.
type stateReader struct {
	b  []byte
	ok bool
}

func (r *stateReader) byte() byte {
	if len(r.b) == 0 {
		r.ok = false
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *stateReader) count() int64 {
	v, n := binary.Uvarint(r.b)
	r.cut(n)
	if v > math.MaxInt64 {
		r.ok = false
	}
	if !r.ok {
		return 0
	}
	return int64(v)
}

func (r *stateReader) signed() int64 {
	v, n := binary.Varint(r.b)
	r.cut(n)
	if !r.ok {
		return 0
	}
	return v
}

func (r *stateReader) cut(n int) {
	if n <= 0 {
		r.ok = false
		return
	}
	r.b = r.b[n:]
}
