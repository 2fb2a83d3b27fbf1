package rule

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
)

// The encoded form of a State; numbers are varints, those marked ± zigzag:
//
//	+-------------+------+-----+------+-----+-------+----------------+
//	| version (1) | debt | at± | debt | at± | count | count × entry  |
//	+-------------+------+-----+------+-----+-------+----------------+
//	                           of rules in
//	                           shadow
//
//	entry:  | id − previous id | flags (1) | at± | streak | count | count × shape |
//	                                         if    if
//	                                         flagFired
//	                                               flagStreak: 2 or more, else 1
//
//	shape:  | sum (8) | flags (1) | at± | suppressed | since± |
//	                                if    if flagSuppressed
//	                                flagFired
//
// Shapes are in the order of their sums, which are big-endian. The version is 4.
// Versions before, which are still read, knew no rules in shadow. Versions 1 and 2 knew
// no shapes: an entry had the suppressed and since of all lines. Version 1 knew no
// streaks.
const (
	stateVersion       = 4
	stateVersionShapes = 3
	stateVersionRules  = 2
	stateVersionPlain  = 1
	// maxMemories bounds the entries that are read; far more than there can
	// be rules.
	maxMemories = 100_000

	flagFired      = 1
	flagSuppressed = 2
	flagStreak     = 4
)

var errState = errors.New("rule: not an engine state")

// MarshalBinary encodes st; equal states give equal bytes. It never fails.
func (st *State) MarshalBinary() ([]byte, error) {
	ids := slices.Sorted(maps.Keys(st.rules))
	b := append(make([]byte, 0, 32+24*len(ids)), stateVersion)
	b = binary.AppendUvarint(b, uint64(st.debt))
	b = binary.AppendVarint(b, st.at)
	b = binary.AppendUvarint(b, uint64(st.shadow.debt))
	b = binary.AppendVarint(b, st.shadow.at)
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
		if m.streak > 1 {
			flags |= flagStreak
		}
		b = append(b, flags)
		if m.fired {
			b = binary.AppendVarint(b, m.at)
		}
		if m.streak > 1 {
			b = binary.AppendUvarint(b, uint64(m.streak))
		}
		b = binary.AppendUvarint(b, uint64(len(m.shapes)))
		for _, sum := range slices.Sorted(maps.Keys(m.shapes)) {
			b = m.shapes[sum].append(binary.BigEndian.AppendUint64(b, sum))
		}
	}
	return b, nil
}

func (h held) append(b []byte) []byte {
	flags := byte(0)
	if h.fired {
		flags |= flagFired
	}
	if h.suppressed > 0 {
		flags |= flagSuppressed
	}
	b = append(b, flags)
	if h.fired {
		b = binary.AppendVarint(b, h.at)
	}
	if h.suppressed > 0 {
		b = binary.AppendUvarint(b, uint64(h.suppressed))
		b = binary.AppendVarint(b, h.since)
	}
	return b
}

// UnmarshalBinary makes st what was encoded, in this version or an earlier one.
// Nothing at all is a new container's State; after an error st is as before.
func (st *State) UnmarshalBinary(b []byte) error {
	if len(b) == 0 {
		*st = State{}
		return nil
	}
	version := b[0]
	if version < stateVersionPlain || version > stateVersion {
		return errState
	}
	r := stateReader{b: b[1:], ok: true}
	out := State{tokens: r.tokens()}
	if version >= stateVersion {
		out.shadow = r.tokens()
	}
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
		if !m.read(&r, version) {
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

// read reads an entry behind its id. It is false where it can't be one.
func (m *memory) read(r *stateReader, version byte) bool {
	flags := r.byte()
	known := byte(flagFired | flagStreak)
	switch version {
	case stateVersionPlain:
		known = flagFired | flagSuppressed
	case stateVersionRules:
		known |= flagSuppressed
	}
	if flags == 0 && version < stateVersionShapes || flags&^known != 0 || flags&(flagFired|flagStreak) == flagStreak {
		return false
	}
	if m.fired = flags&flagFired != 0; m.fired {
		m.at, m.streak = r.signed(), 1
	}
	if flags&flagStreak != 0 {
		if m.streak = r.count(); m.streak < 2 {
			return false
		}
	}
	if version < stateVersionShapes {
		h := held{fired: m.fired, at: m.at}
		if flags&flagSuppressed != 0 {
			if h.suppressed, h.since = r.count(), r.signed(); h.suppressed == 0 {
				return false
			}
		}
		m.shapes = map[uint64]held{allShapes: h}
		return true
	}
	n := r.count()
	if n > MaxShapes+1 || n == 0 && flags == 0 {
		return false
	}
	if n > 0 {
		m.shapes = make(map[uint64]held, n)
	}
	last := uint64(0)
	for i := range n {
		sum := r.sum()
		if i > 0 && sum <= last {
			return false
		}
		last = sum
		var h held
		flags := r.byte()
		if !r.ok || flags == 0 || flags&^(flagFired|flagSuppressed) != 0 {
			return false
		}
		if h.fired = flags&flagFired != 0; h.fired {
			h.at = r.signed()
		}
		if flags&flagSuppressed != 0 {
			if h.suppressed, h.since = r.count(), r.signed(); h.suppressed == 0 {
				return false
			}
		}
		m.shapes[sum] = h
	}
	return true
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

func (r *stateReader) sum() uint64 {
	if len(r.b) < 8 {
		r.ok = false
		return 0
	}
	v := binary.BigEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
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

func (r *stateReader) tokens() tokens { return tokens{debt: r.count(), at: r.signed()} }

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
