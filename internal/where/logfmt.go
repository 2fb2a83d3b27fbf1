package where

import "bytes"

// Characters by what they are in a line of pairs.
const (
	ofKey     = 1 << iota // of a key
	separates             // ends a token, and what is behind may be a pair
	opens                 // may stand before a pair too
)

var pairChars = func() (of [256]uint8) {
	for c := range of {
		switch c := byte(c); {
		case isLetter(c), isDigit(c), c >= 0x80, bytes.IndexByte([]byte("_.@/:-"), c) >= 0:
			of[c] = ofKey
		case c == ' ', c == '\t', c == '\n':
			of[c] = separates
		case bytes.IndexByte([]byte("([{,;|"), c) >= 0:
			of[c] = opens
		}
	}
	return of
}()

// readPairs reads the pairs of a line that has no object.
func (s *Scan) readPairs() {
	line := s.line
	if bytes.IndexByte(line, '=') < 0 {
		return
	}
	for i := 0; i < len(line); {
		c := line[i]
		if pairChars[c]&(separates|opens) != 0 {
			i++
			continue
		}
		if c == '"' {
			// What is quoted is no pair; a quote that nothing ends is but a character.
			if end, _ := quoted(line, i+1); end > 0 {
				i = end
				continue
			}
		}
		end := i
		for end < len(line) && pairChars[line[end]] == ofKey {
			end++
		}
		if end == i || end == len(line) || line[end] != '=' || end+1 < len(line) && line[end+1] == '=' {
			i = tokenBehind(line, max(end, i+1))
			continue
		}
		key, at := line[i:end], end+1
		if at < len(line) && line[at] == '"' {
			end, escaped := quoted(line, at+1)
			if end < 0 {
				return
			}
			i = end
			if n := s.set.root.child(key); n != nil {
				s.found(n, line[at+1:end-1], escaped)
			}
		} else {
			i = tokenBehind(line, at)
			if n := s.set.root.child(key); n != nil {
				s.found(n, bare(line[at:i]), false)
			}
		}
		if s.left == 0 {
			return
		}
	}
}

// tokenBehind returns where a token ends.
func tokenBehind(line []byte, i int) int {
	for i < len(line) && pairChars[line[i]] != separates {
		i++
	}
	return i
}

// quoted returns what is behind the quote that ends a text, which begins at i, and
// whether there are backslashes in it; -1 where nothing ends it.
func quoted(line []byte, i int) (end int, escaped bool) {
	for i < len(line) {
		switch line[i] {
		case '"':
			return i + 1, escaped
		case '\\':
			escaped = true
			i++
		}
		i++
	}
	return -1, false
}

// bare is a value without what belongs to the text around it: a comma or semicolon, and
// brackets that close what was opened before it.
func bare(value []byte) []byte {
	n := len(value)
	if n == 0 || bytes.IndexByte([]byte(",;)]}"), value[n-1]) < 0 {
		return value
	}
	round, square, curly := bytes.IndexByte(value, '(') < 0, bytes.IndexByte(value, '[') < 0, bytes.IndexByte(value, '{') < 0
	for ; n > 0; n-- {
		switch c := value[n-1]; {
		case c == ',', c == ';', c == ')' && round, c == ']' && square, c == '}' && curly:
		default:
			return value[:n]
		}
	}
	return nil
}
