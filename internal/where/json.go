package where

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep JSON may go. What lies deeper is not read any more.
const maxDepth = 512

// objectStart returns where the JSON object of a line begins, or -1.
func objectStart(line []byte) int {
	for i := 0; i < len(line); i++ {
		at := bytes.IndexByte(line[i:], '{')
		if at < 0 {
			return -1
		}
		if i += at; i > 0 && !before[line[i-1]] {
			continue
		}
		key := space(line, i+1)
		if key == len(line) {
			return -1
		}
		if line[key] != '"' {
			continue
		}
		// The text in quotes that is no key holds no other begin: none is looked at twice.
		end, _ := quotedJSON(line, key+1)
		if end > 0 {
			if end = space(line, end); end < len(line) && line[end] == ':' {
				return i
			}
		}
	}
	return -1
}

// before is what may stand before an object.
var before = [256]bool{' ': true, '\t': true, '\n': true, '|': true, ':': true, '>': true, ']': true, ')': true}

// space returns where there is no blank any more.
func space(line []byte, i int) int {
	for i < len(line) && (line[i] == ' ' || line[i] == '\t' || line[i] == '\r' || line[i] == '\n') {
		i++
	}
	return i
}

// readObject reads an object that begins at i, and returns what is behind it; -1 where
// there is nothing more to read.
func (s *Scan) readObject(n *node, i, depth int) int {
	line := s.line
	if i = space(line, i+1); i < len(line) && line[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(line) || line[i] != '"' {
			return -1
		}
		end, escaped := quotedJSON(line, i+1)
		if end < 0 {
			return -1
		}
		key := line[i+1 : end-1]
		if escaped {
			s.key = unescape(s.key[:0], key)
			key = s.key
		}
		if i = space(line, end); i >= len(line) || line[i] != ':' {
			return -1
		}
		i = space(line, i+1)
		var over bool
		if i, over = s.readMember(n.child(key), i, depth, '}'); over {
			return i
		}
	}
}

// readArray is readObject for an array.
func (s *Scan) readArray(n *node, i, depth int) int {
	line := s.line
	if i = space(line, i+1); i < len(line) && line[i] == ']' {
		return i + 1
	}
	for index := 0; ; index++ {
		var next *node
		for _, b := range n.indexes {
			if b.index == index {
				next = b.node
			}
		}
		var over bool
		if i, over = s.readMember(next, i, depth, ']'); over {
			return i
		}
	}
}

// readMember reads a value, or passes it over where no path leads to it, and what is
// behind it. It returns where the next one begins; over is that there is none: then it is
// where the object or array, which end closes, has ended, or -1 where that is broken.
func (s *Scan) readMember(n *node, i, depth int, end byte) (at int, over bool) {
	line := s.line
	if n != nil {
		i = s.readValue(n, i, depth)
	} else {
		i = skip(line, i, depth)
	}
	if i < 0 {
		return -1, true
	}
	if i = space(line, i); i >= len(line) {
		return -1, true
	}
	switch line[i] {
	case ',':
		return space(line, i+1), false
	case end:
		return i + 1, true
	}
	return -1, true
}

// readValue reads a value to which paths lead.
func (s *Scan) readValue(n *node, i, depth int) int {
	line := s.line
	if i >= len(line) {
		return -1
	}
	end, escaped := -1, false
	raw := line[i:]
	switch c := line[i]; {
	case c == '"':
		if end, escaped = quotedJSON(line, i+1); end > 0 {
			raw = line[i+1 : end-1]
		}
	case c == '{' && len(n.keys) > 0 && depth < maxDepth-1:
		if end = s.readObject(n, i, depth+1); end > 0 {
			raw = line[i:end]
		}
	case c == '[' && len(n.indexes) > 0 && depth < maxDepth-1:
		if end = s.readArray(n, i, depth+1); end > 0 {
			raw = line[i:end]
		}
	default:
		if end = skip(line, i, depth); end > 0 {
			raw = line[i:end]
		}
		if c == 'n' {
			return end // as if it weren't there
		}
	}
	if end < 0 {
		return -1
	}
	if s.found(n, raw, escaped); s.left == 0 {
		return -1
	}
	return end
}

// skip returns what is behind the value that begins at i; -1 where that isn't JSON, is
// cut or goes too deep.
func skip(line []byte, i, depth int) int {
	var stack [maxDepth / 64]uint64 // whether a level is an object
	top := depth
	object := func() bool { return stack[top/64]>>(top%64)&1 != 0 }
	for {
		if i >= len(line) {
			return -1
		}
		// A value.
		switch c := line[i]; c {
		case '"':
			i, _ = quotedJSON(line, i+1)
		case '{', '[':
			if top++; top >= maxDepth {
				return -1
			}
			if i = space(line, i+1); i >= len(line) {
				return -1
			}
			if c == '{' {
				stack[top/64] |= 1 << (top % 64)
				if line[i] != '}' {
					if i = member(line, i); i < 0 {
						return -1
					}
					continue
				}
			} else {
				stack[top/64] &^= 1 << (top % 64)
				if line[i] != ']' {
					continue
				}
			}
			top--
			i++
		case 't':
			i = word(line, i, "true")
		case 'f':
			i = word(line, i, "false")
		case 'n':
			i = word(line, i, "null")
		default:
			i = number(line, i)
		}
		// What follows it.
		for {
			if i < 0 {
				return -1
			}
			if top == depth {
				return i
			}
			if i = space(line, i); i >= len(line) {
				return -1
			}
			if line[i] == ',' {
				if i = space(line, i+1); object() {
					if i = member(line, i); i < 0 {
						return -1
					}
				}
				break
			}
			if line[i] != '}' && line[i] != ']' || object() != (line[i] == '}') {
				return -1
			}
			top--
			i++
		}
	}
}

// member returns where the value of an object's member begins.
func member(line []byte, i int) int {
	if i >= len(line) || line[i] != '"' {
		return -1
	}
	if i, _ = quotedJSON(line, i+1); i < 0 {
		return -1
	}
	if i = space(line, i); i >= len(line) || line[i] != ':' {
		return -1
	}
	return space(line, i+1)
}

func word(line []byte, i int, is string) int {
	if len(line)-i < len(is) || string(line[i:i+len(is)]) != is {
		return -1
	}
	return i + len(is)
}

// number returns what is behind a number. One that the line's end cuts may have been
// another.
func number(line []byte, i int) int {
	if i < len(line) && line[i] == '-' {
		i++
	}
	n := digits(line[i:])
	switch {
	case n == 0:
		return -1
	case line[i] == '0':
		i++
	default:
		i += n
	}
	if i < len(line) && line[i] == '.' {
		if n = digits(line[i+1:]); n == 0 {
			return -1
		}
		i += 1 + n
	}
	if i < len(line) && (line[i] == 'e' || line[i] == 'E') {
		if i++; i < len(line) && (line[i] == '-' || line[i] == '+') {
			i++
		}
		if n = digits(line[i:]); n == 0 {
			return -1
		}
		i += n
	}
	if i == len(line) {
		return -1
	}
	return i
}

// quotedJSON returns what is behind the quote that ends a text, which begins at i, and
// whether the text has escape sequences; -1 where it doesn't end or is no JSON.
func quotedJSON(line []byte, i int) (end int, escaped bool) {
	for {
		// Eight bytes at a time: none is a quote, a backslash or a control character.
		for i+8 <= len(line) {
			w := binary.LittleEndian.Uint64(line[i:])
			m := below(w, 0x20) | zero(w^ones*'"') | zero(w^ones*'\\')
			if m != 0 {
				i += bits.TrailingZeros64(m) / 8
				break
			}
			i += 8
		}
		if i >= len(line) {
			return -1, false
		}
		switch c := line[i]; {
		case c == '"':
			return i + 1, escaped
		case c < 0x20:
			return -1, false
		case c != '\\':
			i++
			continue
		}
		escaped = true
		if i++; i >= len(line) {
			return -1, false
		}
		switch line[i] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			i++
		case 'u':
			if i+5 > len(line) || !isHex(line[i+1:i+5]) {
				return -1, false
			}
			i += 5
		default:
			return -1, false
		}
	}
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// zero marks bytes of w that are 0 by their highest bit: the lowest mark is right, and
// there is none only if none is 0.
func zero(w uint64) uint64 { return (w - ones) &^ w & highs }

// below is zero for bytes that are less than n, at most 128.
func below(w uint64, n uint64) uint64 { return (w - ones*n) &^ w & highs }

func isHex(text []byte) bool {
	for _, c := range text {
		if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}

func hexRune(text []byte) (r rune) {
	for _, c := range text {
		switch {
		case isDigit(c):
			c -= '0'
		default:
			c = c | 0x20 - 'a' + 10
		}
		r = r<<4 | rune(c)
	}
	return r
}

// unescape appends a text without the escape sequences of JSON. What else is behind a
// backslash, as logfmt may have it, stays.
func unescape(dst, text []byte) []byte {
	for len(text) > 0 {
		at := bytes.IndexByte(text, '\\')
		if at < 0 || at == len(text)-1 {
			break
		}
		dst = append(dst, text[:at]...)
		c := text[at+1]
		text = text[at+2:]
		switch c {
		case '"', '\\', '/':
			dst = append(dst, c)
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			if len(text) < 4 || !isHex(text[:4]) {
				dst = append(dst, '\\', 'u')
				continue
			}
			r := hexRune(text[:4])
			text = text[4:]
			if utf16.IsSurrogate(r) {
				second := rune(utf8.RuneError)
				if len(text) >= 6 && text[0] == '\\' && text[1] == 'u' && isHex(text[2:6]) {
					second = utf16.DecodeRune(r, hexRune(text[2:6]))
				}
				if r = second; r != utf8.RuneError {
					text = text[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, '\\', c)
		}
	}
	return append(dst, text...)
}
