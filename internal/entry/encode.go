package entry

import (
	"encoding/binary"
	"slices"
)

// Append appends e as a frame, its fields in the order in which the Engine
// writes them.
func Append(dst []byte, e *Entry) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	if e.Source != "" {
		dst = appendBytes(dst, fieldSource, e.Source)
	}
	if e.TimeNano != 0 {
		dst = appendVarint(dst, fieldTime, uint64(e.TimeNano))
	}
	if len(e.Line) > 0 {
		dst = appendBytes(dst, fieldLine, e.Line)
	}
	if e.Partial {
		dst = append(dst, fieldPartial, 1)
	}
	if e.HasMeta {
		var m []byte
		if e.Last {
			m = append(m, metaLast, 1)
		}
		if e.ID != "" {
			m = appendBytes(m, metaID, e.ID)
		}
		if e.Ordinal != 0 {
			m = appendVarint(m, metaOrdinal, uint64(int64(e.Ordinal)))
		}
		dst = appendBytes(dst, fieldMeta, m)
	}
	return putHeader(dst, start)
}

// AppendServed appends the frame that answers a ReadLogs call for this one.
// The Engine strips the newline from what it is given and puts none back, so
// every line, and of a chunked line the last chunk only, gets one; it ignores
// partial metadata there, so that is left out. The rest of the body is copied
// as it is.
func AppendServed(dst, frame []byte) ([]byte, error) {
	start := len(dst)
	body := frame[HeaderLen:]
	if _, line, ok := plain(body); ok {
		dst = slices.Grow(dst, len(frame)+2)
		dst = append(dst, frame[:HeaderLen+plainLine+1]...)
		dst = binary.AppendUvarint(dst, uint64(len(line)+1))
		dst = append(append(dst, line...), '\n')
		return putHeader(dst, start), nil
	}
	var line []byte
	var partial, last bool
	dst = append(dst, 0, 0, 0, 0)
	for len(body) > 0 {
		tag, value, data, rest, err := field(body)
		if err != nil {
			return dst[:start], err
		}
		switch tag {
		case fieldLine:
			line = data
		case fieldPartial:
			partial = value != 0
		case fieldMeta:
			var e Entry
			if err := decodeMeta(data, &e); err != nil {
				return dst[:start], err
			}
			last = e.Last
		default:
			dst = append(dst, body[:len(body)-len(rest)]...)
		}
		body = rest
	}
	size := len(line)
	if !partial || last {
		size++
	}
	if size > 0 {
		dst = append(dst, fieldLine)
		dst = binary.AppendUvarint(dst, uint64(size))
		dst = append(dst, line...)
		if size > len(line) {
			dst = append(dst, '\n')
		}
	}
	if partial {
		dst = append(dst, fieldPartial, 1)
	}
	return putHeader(dst, start), nil
}

// AppendAllServed does so for the frames that b begins with, at most max of
// them, and returns how many those were and what follows them. One that is no
// entry is left out.
func AppendAllServed(dst, b []byte, max int64) (_, rest []byte, n int64) {
	for ; n < max; n++ {
		frame, rest, err := Next(b)
		if err != nil {
			break
		}
		if b = rest; !short(frame[HeaderLen:]) {
			dst, _ = AppendServed(dst, frame)
			continue
		}
		// All is there but two lengths and the newline.
		start := len(dst)
		dst = append(append(dst, frame...), '\n')
		out := dst[start : start+HeaderLen+plainLine+2]
		binary.BigEndian.PutUint32(out, uint32(len(frame)-HeaderLen+1))
		out[HeaderLen+plainLine+1] = frame[HeaderLen+plainLine+1] + 1
	}
	return dst, b, n
}

// short reports whether a body is plain and its line is so short that its length
// takes one byte, with a newline too.
func short(b []byte) bool {
	if !plainFields(b) || int(b[plainLine+1]) != len(b)-plainLine-2 || b[plainLine+1] > 0x7e {
		return false
	}
	source := plainSource(b)
	return source == plainOut || source == plainErr
}

func appendVarint(dst []byte, tag byte, v uint64) []byte {
	return binary.AppendUvarint(append(dst, tag), v)
}

func appendBytes[T string | []byte](dst []byte, tag byte, v T) []byte {
	return append(binary.AppendUvarint(append(dst, tag), uint64(len(v))), v...)
}

func putHeader(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-HeaderLen))
	return dst
}
