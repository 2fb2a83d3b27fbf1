// Package entry reads and writes log entries in the form in which the Engine
// hands them to a logging plugin and takes them back:
//
//	+---------------------------+----------------------+
//	| body length, uint32,      | body: a LogEntry in  |
//	| big-endian (4 bytes)      | protobuf             |
//	+---------------------------+----------------------+
//
// A header and its body together are a frame. LogEntry is declared in
// github.com/docker/docker, api/types/plugins/logdriver/entry.proto.
//
// Everything here is a pure function of bytes: nothing blocks, nothing is
// allocated but the slices appended to, and bad input gives an error.
package entry

import (
	"bytes"
	"encoding/binary"
	"errors"
)

const (
	// HeaderLen is the size of a frame's header in bytes.
	HeaderLen = 4
	// MaxBody bounds a frame's body in bytes. The Engine cuts lines at 16 KiB:
	// a longer body means that the stream is not one of entries.
	MaxBody = 1 << 20
)

var (
	// ErrShort means that more bytes are needed for a whole frame.
	ErrShort = errors.New("entry: unfinished frame")
	// ErrFrame means that no frame begins here, so that no later frame
	// boundary can be found either.
	ErrFrame = errors.New("entry: frame length out of bounds")
	// ErrBody means that a frame's body is not a LogEntry.
	ErrBody = errors.New("entry: malformed log entry")
)

// Entry is one decoded LogEntry: a line, or a chunk of one longer than 16 KiB.
type Entry struct {
	Source   string // "stdout" or "stderr"
	TimeNano int64  // nanoseconds since 1970, UTC
	Line     []byte // without a newline
	Partial  bool   // a chunk
	HasMeta  bool   // the three fields below were present
	Last     bool   // the last chunk of its line
	ID       string // shared by the chunks of one line
	Ordinal  int32  // position of the chunk in its line, from 1
}

// Continues reports whether another chunk of the same line may follow.
func (e *Entry) Continues() bool { return e.Partial && !e.Last }

// BodyLen returns the body length that a header announces, or ErrFrame. The
// Engine always names a source, so a length of 0 is an error too; it is what
// pages lost in a power cut look like.
func BodyLen(header []byte) (int, error) {
	n := binary.BigEndian.Uint32(header)
	if n == 0 || n > MaxBody {
		return 0, ErrFrame
	}
	return int(n), nil
}

// Next cuts the first frame, header included, off b.
func Next(b []byte) (frame, rest []byte, err error) {
	if len(b) < HeaderLen {
		return nil, b, ErrShort
	}
	n, err := BodyLen(b)
	if err != nil {
		return nil, b, err
	}
	if len(b) < HeaderLen+n {
		return nil, b, ErrShort
	}
	return b[:HeaderLen+n], b[HeaderLen+n:], nil
}

// Skip passes over the whole frames that b begins with, at most max of them, and
// returns how many bytes and frames those are. The error is why no frame follows,
// that of Next; nil where b ends behind the last or max is reached.
func Skip(b []byte, max int64) (n int, frames int64, err error) {
	for rest := b; len(rest) > 0 && frames < max; frames++ {
		var frame []byte
		if frame, rest, err = Next(rest); err != nil {
			return n, frames, err
		}
		n += len(frame)
	}
	return n, frames, nil
}

// How the body of each of the Engine's frames begins: a source and a time.
var (
	stdoutStart = []byte("\x0a\x06stdout\x10")
	stderrStart = []byte("\x0a\x06stderr\x10")
)

// startLen is how many bytes of a frame show that it is one of the Engine's.
const startLen = HeaderLen + 9

// starts reports whether b, of at least startLen bytes, looks like a frame of
// the Engine's.
func starts(b []byte) bool {
	body := b[HeaderLen:]
	size, err := BodyLen(b)
	return err == nil && size >= startLen-HeaderLen && (bytes.HasPrefix(body, stdoutStart) || bytes.HasPrefix(body, stderrStart))
}

// Sync looks for the first frame of the Engine's in b, which begins somewhere in
// rubbish, and returns how many bytes lie before it; all of them where there is
// none. As far as b shows it, that frame decodes and another one follows. The
// line of one may hold what looks like another.
func Sync(b []byte) (n int, found bool) {
	for i := HeaderLen; i < len(b); i++ {
		j := bytes.Index(b[i:], stdoutStart[:5]) // both begin so
		if j < 0 {
			break
		}
		i += j
		at := b[i-HeaderLen:]
		if len(at) < startLen {
			break
		}
		if !starts(at) {
			continue
		}
		if frame, rest, err := Next(at); err == nil {
			var e Entry
			if Decode(frame[HeaderLen:], &e) != nil || len(rest) >= startLen && !starts(rest) {
				continue
			}
		}
		return i - HeaderLen, true
	}
	return len(b), false
}

// Protobuf field numbers and wire types of LogEntry.
const (
	fieldSource  = 1<<3 | wireBytes
	fieldTime    = 2<<3 | wireVarint
	fieldLine    = 3<<3 | wireBytes
	fieldPartial = 4<<3 | wireVarint
	fieldMeta    = 5<<3 | wireBytes

	metaLast    = 1<<3 | wireVarint
	metaID      = 2<<3 | wireBytes
	metaOrdinal = 3<<3 | wireVarint

	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// field cuts one protobuf field off b. data is set for length-delimited
// fields, value for varints; fixed-size fields are skipped over.
func field(b []byte) (tag uint64, value uint64, data, rest []byte, err error) {
	tag, n := uvarint(b)
	if n <= 0 || tag>>3 == 0 {
		return 0, 0, nil, nil, ErrBody
	}
	b = b[n:]
	switch tag & 7 {
	case wireVarint:
		value, n = uvarint(b)
		if n <= 0 {
			return 0, 0, nil, nil, ErrBody
		}
		return tag, value, nil, b[n:], nil
	case wireBytes:
		size, n := uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return 0, 0, nil, nil, ErrBody
		}
		return tag, 0, b[n : n+int(size)], b[n+int(size):], nil
	case wireFixed64:
		n = 8
	case wireFixed32:
		n = 4
	default: // groups are not part of proto3
		return 0, 0, nil, nil, ErrBody
	}
	if len(b) < n {
		return 0, 0, nil, nil, ErrBody
	}
	return tag, 0, nil, b[n:], nil
}

func uvarint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}

// Nearly all bodies are alike: "stdout" or "stderr", a time of nine bytes, as
// all from 1972 to 2262 are, and a line of less than 16 KiB.
//
//	0  0x0a 6 "stdout"    8  0x10 time    18  0x1a length line
const (
	plainTime = 8
	plainLine = plainTime + 10

	continued = 0x8080808080808080 // eight bytes of a number, with more to follow
)

var (
	plainOut = binary.LittleEndian.Uint64([]byte("\x0a\x06stdout"))
	plainErr = binary.LittleEndian.Uint64([]byte("\x0a\x06stderr"))
)

// plain returns the stream and the line of such a body, several times faster
// than going by fields; false for all other bodies, good and bad.
func plain(b []byte) (source string, line []byte, ok bool) {
	if !plainFields(b) {
		return "", nil, false
	}
	switch plainSource(b) {
	case plainOut:
		source = "stdout"
	case plainErr:
		source = "stderr"
	default:
		return "", nil, false
	}
	line = b[plainLine+2:]
	size := int(b[plainLine+1])
	if size >= 0x80 && len(line) > 0 && line[0] < 0x80 {
		size = size&0x7f | int(line[0])<<7
		line = line[1:]
	}
	return source, line, size == len(line)
}

// Plain returns the stream and the line of a frame's body in the form that nearly all have,
// which is a whole line; not ok for all others, good and bad. It aliases body.
func Plain(body []byte) (source string, line []byte, ok bool) { return plain(body) }

// plainFields reports whether a body's time and line stand where a plain one's do.
func plainFields(b []byte) bool {
	return len(b) >= plainLine+2 && b[plainTime] == fieldTime && b[plainLine] == fieldLine && plainTimed(b)
}

// plainSource is what a plain body begins with.
func plainSource(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// plainTimed reports whether the time's number has nine bytes.
func plainTimed(b []byte) bool {
	return binary.LittleEndian.Uint64(b[plainTime+1:])&continued == continued && b[plainTime+9] < 0x80
}

// plainNano decodes it: seven bits of each byte, the lowest first.
func plainNano(b []byte) int64 {
	x := binary.LittleEndian.Uint64(b[plainTime+1:])
	x = x&0x007f007f007f007f | x&0x7f007f007f007f00>>1
	x = x&0x00003fff00003fff | x&0x3fff00003fff0000>>2
	x = x&0x000000000fffffff | x&0x0fffffff00000000>>4
	return int64(x | uint64(b[plainTime+9])<<56)
}

// Decode reads a frame's body into e. e.Line aliases body. Unknown fields are
// ignored, as protobuf asks.
func Decode(body []byte, e *Entry) error {
	if source, line, ok := plain(body); ok {
		*e = Entry{Source: source, TimeNano: plainNano(body), Line: line}
		return nil
	}
	*e = Entry{}
	for len(body) > 0 {
		tag, value, data, rest, err := field(body)
		if err != nil {
			return err
		}
		switch tag {
		case fieldSource:
			e.Source = source(data)
		case fieldTime:
			e.TimeNano = int64(value)
		case fieldLine:
			e.Line = data
		case fieldPartial:
			e.Partial = value != 0
		case fieldMeta:
			e.HasMeta = true
			if err := decodeMeta(data, e); err != nil {
				return err
			}
		}
		body = rest
	}
	return nil
}

func decodeMeta(b []byte, e *Entry) error {
	for len(b) > 0 {
		tag, value, data, rest, err := field(b)
		if err != nil {
			return err
		}
		switch tag {
		case metaLast:
			e.Last = value != 0
		case metaID:
			e.ID = string(data)
		case metaOrdinal:
			e.Ordinal = int32(value)
		}
		b = rest
	}
	return nil
}

// source returns the stream's name without an allocation for the usual two.
func source(b []byte) string {
	switch string(b) {
	case "stdout":
		return "stdout"
	case "stderr":
		return "stderr"
	}
	return string(b)
}

// Time returns a body's time_nano, stopping as soon as it is found: the Engine
// writes it right after the source.
func Time(body []byte) (int64, error) {
	if len(body) >= plainLine && body[0] == fieldSource && body[1] == plainTime-2 && body[plainTime] == fieldTime && plainTimed(body) {
		return plainNano(body), nil
	}
	for len(body) > 0 {
		tag, value, _, rest, err := field(body)
		if err != nil {
			return 0, err
		}
		if tag == fieldTime {
			return int64(value), nil
		}
		body = rest
	}
	return 0, nil
}
