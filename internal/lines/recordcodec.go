package lines

import (
	"encoding/binary"
	"errors"
	"math"
)

// The encoded form of Records is, for each stream, and numbers are varints, those marked
// ± zigzag:
//
//	+-----------+-------+----------+-----------+-----------+-------+--------------+
//	| flags (1) | last± | form (1) | phase (1) | brackets± | count | count × line |
//	+-----------+-------+----------+-----------+-----------+-------+--------------+
//	            if flagSeen
//	                    if flagOpen
//
//	line:  | time − last± | from | to − from | length | text |
const (
	flagAlone = 1 << iota
	flagBehind
	flagPlain
	flagHeaders
	flagOpen
	flagSeen

	recordFlags = 1<<iota - 1
)

// ErrRecords means that bytes are no records.
var ErrRecords = errors.New("lines: no records")

// AppendBinary appends r's encoded form to b. It never fails.
func (r *Records) AppendBinary(b []byte) ([]byte, error) {
	for i := range r.streams {
		b = r.streams[i].append(b)
	}
	return b, nil
}

func (s *unended) append(b []byte) []byte {
	flags := byte(0)
	for _, f := range []struct {
		is   bool
		flag byte
	}{{s.alone, flagAlone}, {s.behind, flagBehind}, {s.plain, flagPlain}, {s.headers, flagHeaders}, {len(s.kept) > 0, flagOpen}, {s.last != 0, flagSeen}} {
		if f.is {
			flags |= f.flag
		}
	}
	b = append(b, flags)
	if s.last != 0 {
		b = binary.AppendVarint(b, s.last)
	}
	if len(s.kept) == 0 {
		return b
	}
	b = append(b, byte(s.form), s.phase)
	b = binary.AppendVarint(b, int64(s.open))
	b = binary.AppendUvarint(b, uint64(len(s.kept)))
	from := 0
	for n := range s.kept {
		l := &s.kept[n]
		b = binary.AppendVarint(b, l.TimeNano-s.last)
		b = binary.AppendUvarint(b, uint64(l.From))
		b = binary.AppendUvarint(b, uint64(l.To-l.From))
		b = binary.AppendUvarint(b, uint64(s.ends[n]-from))
		b = append(b, s.text[from:s.ends[n]]...)
		from = s.ends[n]
	}
	return b
}

// UnmarshalBinary makes r what was encoded. Nothing at all is the zero Records; after an
// error r is as before.
func (r *Records) UnmarshalBinary(b []byte) error {
	var out Records
	if len(b) > 0 {
		d := recordReader{b, true}
		for i := range out.streams {
			out.streams[i].read(&d, streams[i])
		}
		if !d.ok || len(d.b) > 0 {
			return ErrRecords
		}
	}
	*r = out
	return nil
}

func (s *unended) read(r *recordReader, stream string) {
	flags := r.byte()
	is := func(flag byte) bool { return flags&flag != 0 }
	s.alone, s.behind, s.plain, s.headers = is(flagAlone), is(flagBehind), is(flagPlain), is(flagHeaders)
	if is(flagSeen) {
		s.last = r.signed()
	}
	if flags > recordFlags || is(flagSeen) != (s.last != 0) {
		r.ok = false
	}
	if !is(flagOpen) || !r.ok {
		return
	}
	s.form, s.phase = form(r.byte()), r.byte()
	open, count := r.signed(), r.count()
	if s.form >= forms || open < math.MinInt32 || open > math.MaxInt32 || count < 1 || count >= MaxRecordLines {
		r.ok = false
	}
	s.open = int32(open)
	for range count {
		if !r.ok {
			return
		}
		l := Line{Stream: stream, TimeNano: s.last + r.signed(), From: r.count()}
		l.To = l.From + r.count()
		text := r.bytes(r.count())
		s.size += len(text) + 1
		if l.To < l.From || s.size > MaxRecord+1 {
			r.ok = false
		}
		s.text = append(s.text, text...)
		s.kept, s.ends = append(s.kept, l), append(s.ends, len(s.text))
	}
	s.size--
	s.lines, s.first = len(s.kept), s.kept[0].TimeNano
}

// recordReader cuts values off b until one isn't there.
type recordReader struct {
	b  []byte
	ok bool
}

func (r *recordReader) bytes(n int64) []byte {
	if !r.ok || n > int64(len(r.b)) {
		r.ok = false
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *recordReader) byte() byte {
	if b := r.bytes(1); r.ok {
		return b[0]
	}
	return 0
}

func (r *recordReader) count() int64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > math.MaxInt64 {
		r.ok = false
		return 0
	}
	r.b = r.b[n:]
	return int64(v)
}

func (r *recordReader) signed() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.ok = false
		return 0
	}
	r.b = r.b[n:]
	return v
}
