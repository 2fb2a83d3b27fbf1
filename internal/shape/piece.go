package shape

import "bytes"

// mixed takes the piece line[i:j], which has a digit, a slash, a backslash or an @,
// and returns where the scan goes on. The first rule that fits holds.
func (s *scanner) mixed(line []byte, i, j, end int, of class) int {
	p := line[i:j]
	switch {
	case of&(letter|split) == 0 && s.expect != aCode: // a number, a time, an address
	case of&slash != 0 && hasScheme(p):
		j = urlEnd(line, j, end)
	case of&slash != 0 && isPath(p):
		if j < end && line[j] == '?' {
			j = urlEnd(line, j, end)
		}
	case of&backslash != 0 && isWindowsPath(p):
	case p[0] == '\\': // an escape: \n
		if len(p) > 2 {
			return i + 2
		}
		return j
	case of&at != 0 && isAddress(p):
	case of&(digit|slash) == 0:
		s.word(line, i, j, false)
		return j
	case of&digit == 0:
		s.parts(line, i, j, end)
		return j
	case of&hexLetter != 0 && hasHash(p): // a generated name
	case of&(nonHex|special) == 0 && (len(p) >= 16 || of&colon != 0 && bytes.Count(p, []byte(":")) >= 2): // UUID, IPv6, MAC
	case of&upper != 0 && of&lower != 0 && isBlob(p):
		for j < end && line[j] == '=' {
			j++
		}
	case of&slash != 0:
		s.parts(line, i, j, end)
		return j
	case of&dot != 0 && of&lower != 0 && isHost(p):
	default:
		s.segments(line, i, j)
		return j
	}
	s.parameter(line, i, j)
	return j
}

// parts takes the parts between slashes one by one.
func (s *scanner) parts(line []byte, i, j, end int) {
	http := follows(line[:j], i, "HTTP/") && j-i > len("HTTP/")
	for k := i; k < j; k++ {
		a := k
		var of class
		for ; k < j && line[k] != '/'; k++ {
			of |= classes[line[k]]
		}
		switch {
		case of&alnum == 0:
		case of&(digit|split) != 0:
			s.mixed(line, a, k, min(k, end), of)
		case of&dot != 0 && domain(line[a:k]):
			s.parameter(line, a, k)
		default:
			s.word(line, a, k, of&join == 0)
		}
	}
	if http && s.expect != aName { // HTTP/1.1 404
		s.expect = aCode
	}
}

// segment is a run of letters and digits in a piece.
type segment struct {
	end    int   // where it ends
	digit  int   // where its first digit is, or end
	change int   // how often it goes on from letters to digits or back
	of     class // all that its bytes are
}

// segmentAt returns the segment that begins at line[i] and ends at line[j] at the latest.
func segmentAt(line []byte, i, j int) segment {
	g := segment{digit: j, of: classes[line[i]]}
	last := g.of & alnum
	if last == digit {
		g.digit = i
	}
	for i++; i < j; i++ {
		c := classes[line[i]]
		if c&alnum == 0 {
			break
		}
		if c&alnum != last {
			g.change++
			if last = c & alnum; last == digit && g.digit == j {
				g.digit = i
			}
		}
		g.of |= c
	}
	g.end = i
	return g
}

// segments takes the piece line[i:j] apart, which has a digit. Behind a parameter,
// letters are absorbed: they vary with it, as in node-7f-eu and 10min.
func (s *scanner) segments(line []byte, i, j int) {
	absorb := false
	for i < j {
		if !is(line[i], alnum) {
			switch line[i] {
			case ':', '@', '$', '\\':
				absorb = false
			}
			i++
			continue
		}
		g := segmentAt(line, i, j)
		size := g.end - i
		switch {
		case g.of&letter == 0 && s.expect == aCode && size <= 3:
			s.code(line, i, g.end)
			absorb = true
		case g.of&letter == 0:
			s.parameter(line, i, g.end)
			absorb = true
		case g.of&digit == 0 && absorb && (g.of&upper == 0 || size <= 3):
			s.display.parameter(line, i, g.end, true)
		case g.of&digit == 0:
			s.word(line, i, g.end, true)
			absorb = false
		case g.digit-i <= 2, g.change > 1, absorb, g.of&nonHex == 0 && size >= 6:
			s.parameter(line, i, g.end)
			absorb = true
		default: // worker12
			s.add(line, i, g.digit, true)
			s.parameter(line, g.digit, g.end)
			absorb = true
		}
		i = g.end
	}
}

// hasScheme reports whether a URL begins in p: scheme://.
func hasScheme(p []byte) bool {
	k := bytes.IndexByte(p, ':')
	return k > 0 && follows(p, k, "://")
}

// urlEnd returns where the URL ends whose first piece ends at j.
func urlEnd(line []byte, j, end int) int {
	for j < end && !is(line[j], space) {
		switch line[j] {
		case '"', '\'', '`', '<', '>', '|', ')', '}':
			return j
		}
		j++
	}
	return j
}

// isPath reports whether p is like /x, ./x, ../x or ~/x.
func isPath(p []byte) bool {
	k := 0
	for k < len(p) && k < 2 && (p[k] == '.' || p[k] == '~') {
		k++
	}
	return len(p) > k+1 && p[k] == '/' && p[k+1] != '/'
}

// isWindowsPath reports whether p is like C:\x or \\server\x.
func isWindowsPath(p []byte) bool {
	return len(p) > 3 && p[1] == ':' && p[2] == '\\' || p[0] == '\\' && bytes.Count(p, []byte(`\`)) > 2
}

// isAddress reports whether p is like a@b, but not like Class@1f2e.
func isAddress(p []byte) bool {
	k := bytes.IndexByte(p, '@')
	if k == 0 || k+1 == len(p) {
		return false
	}
	p = p[k+1:]
	if is(p[0], digit) {
		return false
	}
	digits := false
	for _, c := range p {
		digits = digits || is(c, digit)
	}
	for len(p) > 0 && is(p[0], hex) {
		p = p[1:]
	}
	return !digits || len(p) > 0 && is(p[0], letter)
}

// hasHash reports whether p has a run of 12 hexadecimal digits or more, both letters
// and digits, with no letter or digit beside it.
func hasHash(p []byte) bool {
	if len(p) < 12 {
		return false
	}
	size := 0
	var of class
	for _, c := range p {
		if is(c, alnum) {
			of |= classes[c]
			size++
			continue
		}
		if isHash(size, of) {
			return true
		}
		size, of = 0, 0
	}
	return isHash(size, of)
}

func isHash(size int, of class) bool {
	return size >= 12 && of&hexLetter != 0 && of&digit != 0 && of&nonHex == 0
}

// isBlob reports whether p changes between capitals, small letters, digits and
// others as often as base64 does.
func isBlob(p []byte) bool {
	if len(p) < 32 || bytes.Count(p, []byte(".")) > 2 || bytes.Count(p, []byte(":")) > 1 {
		return false
	}
	changes := 0
	for k := 1; k < len(p); k++ {
		a, b := p[k-1], p[k]
		if classes[a]&kind != classes[b]&kind || is(a, letter) && (a^b)&0x20 != 0 {
			changes++
		}
	}
	return changes*4 >= len(p)
}

// isHost reports whether p, which has a digit, is like web-1.example.internal, or
// that and a port.
func isHost(p []byte) bool {
	for {
		q := bytes.TrimRight(p, ".:")
		if k := bytes.LastIndexByte(q, ':'); k >= 0 && only(q[k+1:], digit) {
			q = q[:k]
		}
		if len(q) == len(p) {
			break
		}
		p = q
	}
	k := bytes.LastIndexByte(p, '.')
	if k < 1 {
		return false
	}
	label := p[k+1:]
	if len(label) < 2 || len(label) > 12 || !lowerCase(label) {
		return false
	}
	if bytes.IndexByte(p[:k], '.') < 0 && topLevel(label) != always {
		return false
	}
	for _, c := range p {
		if !is(c, alnum) && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// domain reports whether p, which has letters and joins alone, is a name in the DNS.
// A class has capitals, and a path or a call has other joins.
func domain(p []byte) bool {
	for len(p) > 0 && !is(p[len(p)-1], letter) {
		p = p[:len(p)-1]
	}
	k := bytes.LastIndexByte(p, '.')
	if k < 1 || topLevel(p[k+1:]) == never {
		return false
	}
	for _, c := range p[:k] {
		if !(c >= 'a' && c <= 'z') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// lowerCase reports whether p is of the letters a to z alone.
func lowerCase(p []byte) bool {
	for _, c := range p {
		if c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}
