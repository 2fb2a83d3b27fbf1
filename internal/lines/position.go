package lines

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"slices"
)

// Position is a place in a journal between lines; see the package's
// documentation.
type Position struct {
	Next    int64        // everything before is in lines that were given, but for
	Streams []Unfinished // at most one of each stream
	Clock   int64        // the entries' time there, where a line is unfinished
}

// Unfinished is about a stream that is inside a line.
type Unfinished struct {
	Stream   string
	Start    int64  // where the line begins, and
	Grown    int64  // the entries' time when it last grew, unless
	Skipping bool   // its rest is passed over
	ID       string // of the line passed over
}

// Start is where reading has to begin.
func (p Position) Start() int64 {
	start := p.Next
	for _, u := range p.Streams {
		if !u.Skipping {
			start = min(start, u.Start)
		}
	}
	return start
}

// The encoded form; numbers are varints, those marked ± zigzag:
//
//	+-------------+------+--------+-------+---------------------+
//	| version (1) | next | clock± | count | count × unfinished  |
//	+-------------+------+--------+-------+---------------------+
//
//	unfinished line:     | stream | 0 | next − start | grown± |
//	line passed over:    | stream | 1 | id length | id         |
//
// The version is 2. Version 1 was a JSON object, and is still read.
const (
	positionVersion = 2
	// maxID bounds a line's id; the Engine's are 64 bytes.
	maxID = 128

	kindUnfinished = 0
	kindSkipping   = 1
)

// ErrPosition means that bytes are no position.
var ErrPosition = errors.New("lines: not a position")

// AppendBinary appends p's encoded form to b. It never fails.
func (p Position) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, positionVersion)
	b = binary.AppendUvarint(b, uint64(p.Next))
	b = binary.AppendVarint(b, p.Clock)
	b = binary.AppendUvarint(b, uint64(len(p.Streams)))
	for _, u := range p.Streams {
		b = append(b, byte(streamIndex(u.Stream)))
		if u.Skipping {
			b = append(b, kindSkipping)
			b = binary.AppendUvarint(b, uint64(len(u.ID)))
			b = append(b, u.ID...)
		} else {
			b = append(b, kindUnfinished)
			b = binary.AppendUvarint(b, uint64(p.Next-u.Start))
			b = binary.AppendVarint(b, u.Grown)
		}
	}
	return b, nil
}

// MarshalBinary is AppendBinary to nothing.
func (p Position) MarshalBinary() ([]byte, error) { return p.AppendBinary(nil) }

// UnmarshalBinary makes p what was encoded, in this version or in version 1.
// Nothing at all is a journal's beginning; after an error p is as before.
func (p *Position) UnmarshalBinary(b []byte) error {
	if len(b) == 0 {
		*p = Position{}
		return nil
	}
	out, ok := Position{}, false
	switch b[0] {
	case positionVersion:
		out, ok = decode(b[1:])
	case '{':
		out, ok = decodeJSON(b)
	}
	if !ok || !out.valid() {
		return ErrPosition
	}
	*p = out
	return nil
}

func decode(b []byte) (p Position, ok bool) {
	next, n := binary.Uvarint(b)
	if n <= 0 || next > math.MaxInt64 {
		return p, false
	}
	p.Next, b = int64(next), b[n:]
	if p.Clock, n = binary.Varint(b); n <= 0 {
		return p, false
	}
	b = b[n:]
	count, n := binary.Uvarint(b)
	if n <= 0 || count > uint64(len(streams)) {
		return p, false
	}
	b = b[n:]
	for range count {
		if len(b) < 2 || int(b[0]) >= len(streams) {
			return p, false
		}
		u := Unfinished{Stream: streams[b[0]], Skipping: b[1] == kindSkipping}
		if b[1] != kindSkipping && b[1] != kindUnfinished {
			return p, false
		}
		b = b[2:]
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return p, false
		}
		b = b[n:]
		if u.Skipping {
			if v > maxID || v > uint64(len(b)) {
				return p, false
			}
			u.ID, b = string(b[:v]), b[v:]
		} else {
			if v > next {
				return p, false
			}
			u.Start = p.Next - int64(v)
			if u.Grown, n = binary.Varint(b); n <= 0 {
				return p, false
			}
			b = b[n:]
		}
		p.Streams = append(p.Streams, u)
	}
	return p, len(b) == 0
}

// decodeJSON reads version 1, which had no times.
func decodeJSON(b []byte) (p Position, ok bool) {
	var v struct {
		Next    int64
		Streams []struct {
			Source   string
			Start    int64
			Skipping bool
			ID       string
		}
	}
	if json.Unmarshal(b, &v) != nil || len(v.Streams) > len(streams) {
		return p, false
	}
	p.Next, p.Clock = v.Next, math.MaxInt64 // later than any: nothing ends early
	for _, s := range v.Streams {
		u := Unfinished{Stream: s.Source, Start: s.Start, Grown: math.MaxInt64}
		if s.Skipping {
			u = Unfinished{Stream: s.Source, Skipping: true, ID: s.ID}
		}
		p.Streams = append(p.Streams, u)
	}
	return p, true
}

func (p Position) valid() bool {
	var seen [len(streams)]bool
	for _, u := range p.Streams {
		i := slices.Index(streams[:], u.Stream)
		if i < 0 || seen[i] || u.Start < 0 || u.Start > p.Next || len(u.ID) > maxID {
			return false
		}
		seen[i] = true
	}
	return p.Next >= 0
}
