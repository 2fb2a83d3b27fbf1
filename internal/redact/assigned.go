package redact

import (
	"bytes"
	"strings"
)

// called are words with which the names of values end that are secret, in lower case; of
// keys, what stands before.
var (
	called = []string{"password", "passwd", "passphrase", "secret", "token", "pwd", "key"}
	keysOf = []string{"secret", "access", "api", "private"}
)

// fewBytes is how many blanks, and backslashes, there may be between a name, its sign and
// the value.
const fewBytes = 8

// assigned adds the values that are assigned to names of secrets, as in password=… or
// "password":"…"; lower is the text in lower case.
func assigned(text, lower []byte, spans []Span) []Span {
	for _, word := range called {
		for at := 0; ; {
			n := bytes.Index(lower[at:], []byte(word))
			if n < 0 {
				break
			}
			from := at + n
			at = from + len(word)
			if !isName(lower[:from], word) {
				continue
			}
			if s, ok := valueAt(text, at); ok {
				spans, at = append(spans, s), s.To
			}
		}
	}
	return spans
}

// isName reports whether a word is the name of a secret, by what is before it.
func isName(before []byte, word string) bool {
	switch word {
	case "pwd": // no part of another word
		return len(before) == 0 || !isWord(before[len(before)-1]) || before[len(before)-1] == '_'
	case "key":
		before = bytes.TrimRight(before[max(0, len(before)-len("private")-1):], "_-")
		for _, kind := range keysOf {
			if bytes.HasSuffix(before, []byte(kind)) {
				return true
			}
		}
		return false
	}
	return true
}

// valueAt finds the value of a name that ends at a place.
func valueAt(text []byte, at int) (s Span, ok bool) {
	skip := func(of string) (n int) {
		for ; n < fewBytes && at < len(text) && strings.IndexByte(of, text[at]) >= 0; n++ {
			at++
		}
		return n
	}
	const blank, quotes = " \t\n\r", `"'`
	begins := at
	skip(`\`)
	named := skip(quotes) == 1 // a name in quotes
	if at > begins && !named {
		return s, false
	}
	spaced := skip(blank) > 0
	sign := at
	skip(":=>")
	colon := false
	switch string(text[sign:at]) {
	case "=", "=>", ":=":
	case ":":
		colon = true
	default:
		return s, false
	}
	apart := skip(blank) > 0
	begins = at
	escapes := skip(`\`)
	if at < len(text) && strings.IndexByte(quotes, text[at]) >= 0 {
		s = quotedAt(text, at, escapes > 0)
	} else {
		at = begins
		if colon && !named || apart && !spaced && !colon { // it is prose, or there is none
			return s, false
		}
		s = Span{at, at + bare(text[at:])}
	}
	from, to := valueOf(text[s.From:s.To])
	return Span{s.From + from, s.From + to}, from < to
}

// quotedAt is the value that begins with a quote at a place; in a text that is quoted
// itself, another quote ends it in any case.
func quotedAt(text []byte, at int, within bool) Span {
	quote := text[at]
	at++
	for to := at; to < len(text); to++ {
		switch {
		case text[to] == quote:
			return Span{at, to}
		case text[to] == '\\' && !within:
			to++
		}
	}
	return Span{at, len(text)}
}

// bare is the length of a value without quotes.
func bare(text []byte) int {
	n := bytes.IndexAny(text, " \t\r\n\v\f\"',;&")
	if n < 0 {
		n = len(text)
	}
	if n > 0 && (text[0] == '=' || text[0] == '~' || text[0] == '\\') {
		return 0
	}
	return n
}
