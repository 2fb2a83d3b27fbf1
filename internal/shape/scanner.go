package shape

import (
	"bytes"
	"encoding/binary"
)

const (
	headReach  = 256  // bytes of what precedes the first word
	textReach  = 2048 // bytes of text, from the first word on
	formLimit  = 256  // bytes of normal form
	quoteReach = 128  // bytes of what is quoted without a space
	agentReach = 512  // bytes of a quoted user agent

	// A dump ends after this many pieces in a row that added no word.
	dumpRun     = 8
	dumpRunHead = 16 // before the first word

	parameterMark = 0x01
	wordlessMark  = 0x02
)

// expectation is what a word announces for the next piece.
type expectation uint8

const (
	nothing expectation = iota
	aCode               // a number that is kept
	aUser               // "for" or "invalid" has been read: "user" may follow, or a name and "from"
	aName               // a parameter, whatever it looks like
)

// scanner makes the normal form of one line.
type scanner struct {
	form  [formLimit]byte // the normal form
	n     int             // its length
	limit int             // the length that it may have now
	words int             // how many words were added to it
	taken int             // how many of these were taken back
	full  bool            // the text at hand adds no more to it

	parameters bool // the last token was a parameter
	expect     expectation
	run        int // pieces in a row that added no word

	// Where in the form the last word begins, and the one before it where both are
	// followed by a parameter each; 0 is none.
	last, previous int

	display *display // what makes the readable form, where that is asked for
}

// scan makes the normal form of a line.
func (s *scanner) scan(line []byte) {
	s.n = copy(s.form[:], prefix+" ")
	s.limit = formLimit
	begin := s.n
	s.text(line, min(len(line), headReach+textReach), true)
	s.display.close(line)
	if s.n == begin {
		s.form[s.n] = wordlessMark
		s.n++
	}
}

// text scans line[:end]. A whole line, unlike a field's value, may be JSON or logfmt.
func (s *scanner) text(line []byte, end int, whole bool) {
	s.full = false
	s.display.begin(0, " | ")
	begun := false // end counts from the first word
	for i := 0; i < end; {
		c := line[i]
		of := classes[c]
		if of&ends != 0 {
			switch c {
			case 0x1b:
				i = skipEscape(line, i)
				continue
			case '"', '\'', '`':
				i = s.quote(line, i)
				continue
			case '{':
				if whole && s.words == 0 {
					if s.json(line, i) {
						return
					}
					whole = false
				}
			}
			i++
			continue
		}
		j := i + 1
		for ; j < end; j++ {
			next := classes[line[j]]
			if next&ends != 0 {
				break
			}
			of |= next
		}
		if j == end && end < len(line) {
			return // the piece is cut
		}
		if of&alnum == 0 {
			if c == '/' && i > 0 && line[i-1] == '=' { // uri=/
				s.parameter(line, i, j)
			}
			i = j
			continue
		}
		if s.words == 0 && !begun {
			if whole && of&letter != 0 && j < end && line[j] == '=' {
				if s.logfmt(line, i) {
					return
				}
				whole = false
			}
			if begun = of&digit == 0; begun {
				end = min(i+textReach, len(line))
			}
		}
		i = s.piece(line, i, j, end, of)
		if s.full || s.n >= s.limit {
			return
		}
	}
}

// piece takes line[i:j], and returns where the scan goes on.
func (s *scanner) piece(line []byte, i, j, end int, of class) int {
	p, words := line[i:j], s.words
	switch {
	case of&(digit|split) != 0:
		if s.named(line, j) {
			break
		}
		i = s.mixed(line, i, j, end, of)
		if s.count(words); s.run >= dumpRunHead || s.run >= dumpRun && s.words > 0 {
			s.full = true
		}
		return i
	case of&dot != 0 && domain(p):
	case j+1 < end && line[j] == ' ' && line[j+1] == '/' && method(p):
		s.add(line, i, j, true)
		return s.request(line, j+1, end)
	case of&(nonHex|join) == 0 && len(p) >= 8: // ffffffff
	case s.words == 0 && s.parameters && accessUser(line, i, j):
	default:
		s.word(line, i, j, of&join == 0)
		s.count(words)
		return j
	}
	s.parameter(line, i, j)
	return j
}

// count counts pieces in a row that added no word to those there were.
func (s *scanner) count(words int) {
	s.run++
	if s.words != words {
		s.run = 0
	}
}

// parameter takes line[a:b], which varies.
func (s *scanner) parameter(line []byte, a, b int) {
	s.display.parameter(line, a, b, s.parameters)
	again := s.parameters
	s.parameters = true
	s.expect = nothing
	if again || s.words == 0 || s.n >= s.limit {
		return
	}
	s.form[s.n] = parameterMark
	s.n++
	if s.previous > 0 && bytes.Equal(s.form[s.previous:s.last], s.form[s.last:s.n]) { // blk_1 blk_2
		s.n, s.last, s.previous = s.last, s.previous, 0
		s.taken++
		s.display.back()
	}
}

// word takes line[a:b], which has no digit; pure ones have letters alone. It is a
// parameter after all where it belongs to a number, is a date, or is a name.
func (s *scanner) word(line []byte, a, b int, pure bool) {
	p := line[a:b]
	if s.parameters && len(p) <= 8 && belongs(p) || len(p) <= 4 && dayOrMonth(p) && dateFollows(line, b) || s.named(line, b) {
		s.parameter(line, a, b)
		return
	}
	before := s.expect
	s.add(line, a, b, pure)
	switch {
	case b+1 < len(line) && line[b] == '=' && !is(line[b+1], space) && nameKey(p): // an empty value announces nothing
		s.expect = aName
	case fold(p, "for"), fold(p, "invalid"):
		s.expect = aUser
	case before == aUser && fold(p, "user"):
		s.expect = aName
	}
}

// named reports whether the piece that ends at line[j] is expected to be a name.
func (s *scanner) named(line []byte, j int) bool {
	return s.expect == aName || s.expect == aUser && follows(line, j, " from ")
}

// add appends the letters of line[a:b] to the normal form.
func (s *scanner) add(line []byte, a, b int, pure bool) {
	p := line[a:b]
	n := s.n
	if n+1+len(p) > s.limit {
		s.full = true
		return
	}
	s.display.mark()
	s.display.word(line, a, b)
	s.form[n] = ' '
	n++
	if pure {
		n += copy(s.form[n:], p)
	} else {
		for _, c := range p {
			s.form[n] = c
			n += int(classes[c] & letter)
		}
	}
	s.previous = 0
	if s.parameters {
		s.previous = s.last
	}
	s.last = s.n
	s.expect = nothing
	if n-s.n > 4 && announcesCode(s.form[n-4:n]) {
		s.expect = aCode
	}
	s.n = n
	s.words++
	s.parameters = false
}

// announcesCode reports whether a word that ends in these four letters does so.
func announcesCode(tail []byte) bool {
	switch binary.BigEndian.Uint32(tail) | 0x20202020 { // in lower case
	case 'c'<<24 | 'o'<<16 | 'd'<<8 | 'e',
		'a'<<24 | 't'<<16 | 'u'<<8 | 's', // status
		'r'<<24 | 'r'<<16 | 'n'<<8 | 'o', // errno
		'g'<<24 | 'n'<<16 | 'a'<<8 | 'l', // signal
		'e'<<24 | 'x'<<16 | 'i'<<8 | 't':
		return true
	}
	return false
}

// code takes line[a:b], a short number that is kept.
func (s *scanner) code(line []byte, a, b int) {
	s.display.word(line, a, b)
	if s.n+1+b-a <= s.limit {
		s.form[s.n] = ' '
		s.n += 1 + copy(s.form[s.n+1:], line[a:b])
	}
	s.words++
	s.parameters = false
	s.expect = nothing
}

// quote takes the quote at i, and what is quoted where that is a parameter: it has
// no space, or is a user agent. A name in single quotes is none: KeyError: 'email'.
func (s *scanner) quote(line []byte, i int) int {
	if !opens(line, i) {
		return i + 1
	}
	name := true
	end := min(len(line), i+1+quoteReach)
	k := i + 1
	for ; k < end && !is(line[k], space); k++ {
		if line[k] == line[i] {
			if line[i] == '\'' && name && k > i+1 {
				return i + 1
			}
			s.parameter(line, i, k+1)
			return k + 1
		}
		name = name && (is(line[k], letter) || line[k] == '_')
	}
	if k < end && line[i] == '"' && product(line[i+1:k]) {
		if n := bytes.IndexByte(line[k:min(len(line), i+agentReach)], '"'); n >= 0 {
			s.parameter(line, i, k+n+1)
			return k + n + 1
		}
	}
	return i + 1
}

// opens reports whether the quote at i may open, which it can't behind a letter.
func opens(line []byte, i int) bool {
	if i > 0 && line[i-1] == '\\' {
		i--
	}
	if i == 0 {
		return true
	}
	switch line[i-1] {
	case ' ', '\t', '(', '[', '{', '=', ':', ',', '<', '|', '/', '@', '>', '#':
		return true
	}
	return false
}

// request takes the path that begins at i and the protocol behind it, of what an
// access log quotes. The status may follow.
func (s *scanner) request(line []byte, i, end int) int {
	j := i
	for j < end && !is(line[j], space) && line[j] != '"' && line[j] != '\'' {
		j++
	}
	if j+6 < end && follows(line, j, " HTTP/") {
		for j++; j < end && !is(line[j], ends); j++ {
		}
	}
	s.parameter(line, i, j)
	s.expect = aCode
	return j
}
