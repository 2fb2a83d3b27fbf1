package where

import "bytes"

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isUpper(text []byte) bool { return len(text) > 0 && 'A' <= text[0] && text[0] <= 'Z' }

// capitals reports whether a word is of nothing but capital letters.
func capitals(word []byte) bool {
	for _, c := range word {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return len(word) > 0
}

func hasDigit(text []byte) bool {
	for _, c := range text {
		if isDigit(c) {
			return true
		}
	}
	return false
}

// punctuation reports whether a text has neither letters nor digits.
func punctuation(text []byte) bool {
	for _, c := range text {
		if isLetter(c) || isDigit(c) || c >= 0x80 {
			return false
		}
	}
	return true
}

// isName reports whether a text may be the name of a program, host or logger.
func isName(text []byte) bool {
	for _, c := range text {
		if !isLetter(c) && !isDigit(c) && bytes.IndexByte([]byte("._-/@$:#"), c) < 0 {
			return false
		}
	}
	return len(text) > 0
}

// isDated reports whether a token is a date or a time, or a number as long as one.
func isDated(token []byte) bool {
	n, parted := 0, false
	for _, c := range token {
		switch {
		case isDigit(c):
			n++
		case c == ':' || c == '-' || c == '/' || c == '.':
			parted = true
		}
	}
	return len(token) > 0 && isDigit(token[0]) && (n >= 6 || n >= 4 && parted)
}

// isTagged reports whether a text begins with "[123]:".
func isTagged(text []byte) bool {
	n := digits(text[1:])
	return n > 0 && len(text) > n+2 && text[n+1] == ']' && text[n+2] == ':'
}

// calendar reports whether a token is the name of a month or a day of the week, AM or PM.
func calendar(token []byte) bool {
	token = bytes.TrimRight(token, ",.")
	if len(token) == 2 {
		return string(token) == "AM" || string(token) == "PM"
	}
	return len(token) == 3 && bytes.Contains([]byte("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec Mon Tue Wed Thu Fri Sat Sun"), token) && isUpper(token)
}

// tokenEnd is where the first token of a text ends.
func tokenEnd(text []byte) int {
	for i, c := range text {
		if ends(c) {
			return i
		}
	}
	return len(text)
}

func skipColors(text []byte) []byte {
	for len(text) > 0 && text[0] == escape {
		text = text[escapeLength(text):]
	}
	return text
}
