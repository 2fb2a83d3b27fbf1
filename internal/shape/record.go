package shape

import "bytes"

const (
	messageLimit = 160 // bytes of normal form up to the end of a record's message
	errorReach   = 512 // bytes of a record's error
	typeReach    = 64  // bytes of its error's type
	literalReach = 24  // bytes of a level, a status and the like
)

// field is what a record's field says.
type field int

const (
	other      field = iota
	message          // what is scanned
	template         // a message before its values are put in, which ranks before any other
	substitute       // a message where there is no other
	failure          // an error's text
	failType         // an error's type
	level
	status // a status, a method, a code
	fields
)

// span is line[a:b]. One that ends at 0 is none.
type span struct{ a, b int }

func (v span) of(line []byte) []byte { return line[v.a:v.b] }

// record is what counts of a line in JSON or logfmt.
type record struct {
	values   [fields]span
	statuses [4]span
	keys     [32]span // of a JSON object itself, not of those in it

	nstatuses, nkeys int
}

// add takes a field's value. Of several, the first counts, but the last template.
func (r *record) add(f field, v span) {
	switch {
	case f == status:
		if r.nstatuses < len(r.statuses) {
			r.statuses[r.nstatuses] = v
			r.nstatuses++
		}
	case f == template || r.values[f].b == 0:
		r.values[f] = v
	}
}

// message returns the text that is scanned.
func (r *record) message() span {
	for _, f := range []field{template, message} {
		if v := r.values[f]; v.b > 0 {
			return v
		}
	}
	return r.values[substitute]
}

// record makes the normal form of what counts in the line. What preceded the record
// had no word, and is forgotten.
func (s *scanner) record(line []byte, r *record) {
	s.parameters, s.run = false, 0
	s.literal(line, r.values[level])
	text := r.message()
	if text.b == 0 && r.values[failure].b == 0 {
		for _, k := range r.keys[:r.nkeys] {
			s.display.begin(k.a, " ")
			s.add(line, k.a, k.b, false)
		}
		for _, v := range r.statuses[:r.nstatuses] {
			s.literal(line, v)
		}
	} else {
		for _, v := range r.statuses[:r.nstatuses] {
			if short(v.of(line)) {
				s.literal(line, v)
			}
		}
		s.limit = messageLimit
		s.value(line, text, textReach)
		s.limit = formLimit
		s.value(line, r.values[failType], typeReach)
		s.value(line, r.values[failure], errorReach)
	}
	s.display.begin(len(line), "")
}

// short reports whether a status is a number of three digits at most.
func short(p []byte) bool {
	return len(p) > 0 && len(p) <= 3 && is(p[0], digit) && bytes.IndexByte(p, '.') < 0
}

// literal takes a value as it is, but for its case.
func (s *scanner) literal(line []byte, v span) {
	v.b = min(v.b, v.a+literalReach)
	if v.b <= v.a || s.n+1+v.b-v.a > s.limit {
		return
	}
	s.display.begin(v.a, " ")
	s.display.word(line, v.a, v.b)
	s.form[s.n] = ' '
	s.n++
	for _, c := range v.of(line) {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		s.form[s.n] = c
		s.n++
	}
	s.words++
	s.parameters = false
}

// value scans a string, of which reach bytes are looked at. What one announces at its
// end, "exited with code", may be at the beginning of the next.
func (s *scanner) value(line []byte, v span, reach int) {
	s.parameters = false
	v.b = min(v.b, v.a+reach)
	if v.b <= v.a {
		return
	}
	p := v.of(line)
	if bytes.IndexByte(p, '\\') >= 0 {
		s.escaped(p)
		return
	}
	s.text(p, len(p), false)
	s.display.close(p)
}

// escaped scans a string with escape sequences.
func (s *scanner) escaped(p []byte) {
	var buf [textReach]byte
	p = buf[:unescape(&buf, p)]
	s.text(p, len(p), false)
	s.display.close(p)
}

// unescape writes the string p without its escape sequences, up to a line break with
// a space behind it: there a stack trace begins. It returns the length.
func unescape(buf *[textReach]byte, p []byte) int {
	n := 0
	for k := 0; k < len(p); k++ {
		c := p[k]
		if c == '\\' && k+1 < len(p) {
			k++
			switch c = p[k]; c {
			case 'n', 'r':
				c = '\n'
			case 't':
				c = '\t'
			case 'u':
				c = ' '
				if k+4 < len(p) {
					c = unescapeUnicode(p[k+1 : k+5])
					k += 4
				}
			}
		}
		if n > 0 && buf[n-1] == '\n' && (c == ' ' || c == '\t') {
			break
		}
		buf[n] = c
		n++
	}
	return n
}

// unescapeUnicode returns a byte for four hexadecimal digits: what encoders escape in
// ASCII, or any letter for what is beyond a byte.
func unescapeUnicode(digits []byte) byte {
	switch string(digits) {
	case "003c", "003C":
		return '<'
	case "003e", "003E":
		return '>'
	case "0026":
		return '&'
	case "0027":
		return '\''
	case "0022":
		return '"'
	case "001b", "001B":
		return 0x1b
	}
	if digits[0] != '0' || digits[1] != '0' {
		return 0xff
	}
	return ' '
}

// known returns what the field of a key says that is a record's own.
func known(key []byte) field {
	var buf [20]byte
	switch string(lowerKey(&buf, key)) {
	case "msg", "message", "@message", "@m", "short_message":
		return message
	case "@mt", "messagetemplate":
		return template
	case "event", "log", "body", "text":
		return substitute
	case "error", "err", "exception", "cause":
		return failure
	case "level", "lvl", "severity", "levelname", "log.level", "@l", "loglevel", "level_name":
		return level
	case "status", "status_code", "statuscode", "method", "type", "code", "action":
		return status
	}
	return anywhere(lowerKey(&buf, key))
}

// knownOfError returns what the field of a key says that is an error's.
func knownOfError(key []byte) field {
	var buf [20]byte
	switch string(lowerKey(&buf, key)) {
	case "msg", "message", "@message", "@m", "@mt", "short_message", "messagetemplate":
		return failure
	case "name", "class", "kind", "type", "code":
		return failType
	}
	return anywhere(lowerKey(&buf, key))
}

// anywhere returns what the field of a key says, whatever it is in.
func anywhere(key []byte) field {
	switch string(key) {
	case "error.message", "err.message", "exception.message", "exception_message", "error_message", "@x", "exc":
		return failure
	case "error.type", "err.type", "exception.type", "exception_class", "error_class", "error_type", "errortype", "error.kind":
		return failType
	}
	return other
}

// lowerKey returns a key in lower case. One that is too long to be known is empty.
func lowerKey(buf *[20]byte, key []byte) []byte {
	if len(key) > len(buf) {
		return nil
	}
	for i, c := range key {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		buf[i] = c
	}
	return buf[:len(key)]
}
