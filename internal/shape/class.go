package shape

// class is what is known of a byte; of a piece, it is all that its bytes are.
type class uint16

const (
	letter class = 1 << iota
	digit
	join
	slash
	backslash
	at
	delimiter
	space

	// What some are besides.
	hexLetter // A to F, a to f
	nonHex    // a letter, but no hexLetter
	upper     // A to Z
	lower     // any other letter
	dot
	colon
	special // joins but the minus, dot and colon; slash, backslash and at

	kind  = letter | digit | join | slash | backslash | at | delimiter | space
	ends  = delimiter | space // what ends a piece
	alnum = letter | digit    // what segments are made of
	hex   = digit | hexLetter // what hashes are made of
	split = slash | backslash | at
)

var classes = func() (t [256]class) {
	for i := range t {
		t[i] = classOf(byte(i))
	}
	return t
}()

func classOf(c byte) class {
	switch {
	case c >= 'A' && c <= 'F':
		return letter | hexLetter | upper
	case c >= 'a' && c <= 'f':
		return letter | hexLetter | lower
	case c >= 'A' && c <= 'Z':
		return letter | nonHex | upper
	case c >= 'a' && c <= 'z', c >= 0x80:
		return letter | nonHex | lower
	case c >= '0' && c <= '9':
		return digit
	case c <= ' ', c == 0x7f:
		return space
	}
	switch c {
	case '-':
		return join
	case '.':
		return join | dot
	case ':':
		return join | colon
	case '_', '#', '%', '+', '~', '$', '*', '^':
		return join | special
	case '/':
		return slash | special
	case '\\':
		return backslash | special
	case '@':
		return at | special
	}
	return delimiter
}

// is reports whether a byte is in one of the classes.
func is(c byte, of class) bool { return classes[c]&of != 0 }

// only reports whether all bytes of p are in one of the classes.
func only(p []byte, of class) bool {
	for _, c := range p {
		if !is(c, of) {
			return false
		}
	}
	return true
}

// follows reports whether text stands at line[i:].
func follows(line []byte, i int, text string) bool {
	return len(line)-i >= len(text) && string(line[i:i+len(text)]) == text
}

// skipSpace returns where the first byte is, from i on, that is no space.
func skipSpace(line []byte, i int) int {
	for i < len(line) && is(line[i], space) {
		i++
	}
	return i
}

// skipEscape returns where the terminal's escape sequence ends that begins at i.
func skipEscape(line []byte, i int) int {
	const (
		csiReach = 32
		oscReach = 256
	)
	start := i
	if i++; i == len(line) {
		return i
	}
	switch line[i] {
	case '[': // CSI: a colour, a move of the cursor
		end := min(len(line), start+1+csiReach)
		for i++; i < end; i++ {
			if c := line[i]; c >= 0x40 && c <= 0x7e {
				return i + 1
			}
		}
		return i
	case ']': // OSC: a title, a link
		end := min(len(line), start+1+oscReach)
		for i++; i < end; i++ {
			switch {
			case line[i] == 7:
				return i + 1
			case follows(line[:end], i, "\x1b\\"):
				return i + 2
			}
		}
		return i
	case '(', ')': // a character set
		return min(i+2, len(line))
	}
	return i + 1
}
