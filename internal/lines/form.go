package lines

import (
	"bytes"
	"strings"
)

// form is what a record is: it says which lines go on with it.
type form uint8

const (
	plain      form = iota // any line; what goes on with it is a trace behind it
	trace                  // of Java, Node, .NET and what writes exceptions as they do
	nodeSource             // the source line that Node shows before a trace
	python
	golang
	rust
	php
	sqlError // of PostgreSQL
	dotnetLog
	object   // JSON, or what is written alike
	anything // where a pattern says how records begin
	forms
)

// heads are how lines begin that begin a record. What an entry can't say by a prefix
// alone, another function does. Beside them, beginning knows the names of exceptions,
// errors of SQL, and brackets.
var heads = []struct {
	prefix string
	form   form
	alone  bool                   // the line may as well be all of its record
	also   func(text []byte) bool // nil: the prefix is enough
}{
	{"Exception in thread \"", trace, false, nil},
	{"Unhandled exception. ", trace, false, nil},
	{"Unhandled Exception: ", trace, false, nil},
	{"Caused by: ", trace, false, nil},
	{"Uncaught ", trace, true, func(text []byte) bool { return isException(text[len("Uncaught "):]) }},
	{" ", trace, false, isFrame},
	{"\t", trace, false, isFrame},
	{"/", nodeSource, true, isPlace},
	{"file://", nodeSource, true, isPlace},
	{"node:", nodeSource, true, isPlace},
	{"[eval]", nodeSource, true, isPlace},
	{tracebackLine, python, false, nil},
	{groupLine, python, false, nil},
	{"panic: ", golang, false, nil},
	{"fatal error: ", golang, false, nil},
	{"goroutine ", golang, false, isGoroutine},
	{"runtime: goroutine stack exceeds", golang, false, nil},
	{"SIGQUIT: quit", golang, false, nil},
	{"SIGABRT: abort", golang, false, nil},
	{"unexpected fault address", golang, false, nil},
	{"thread '", rust, false, func(text []byte) bool { return bytes.Contains(text, []byte(" panicked at ")) }},
	{"[stacktrace]", php, false, nil},
	{"Stack trace:", php, false, nil},
	{"PHP Stack trace:", php, false, nil},
	{"PHP Fatal error: ", php, false, isUncaught},
	{"[", php, false, func(text []byte) bool {
		n := bytes.IndexByte(text, ']') // behind a time
		return n > 0 && has(text[n:], "] PHP Fatal error: ") && isUncaught(text[n:])
	}},
	{"Fatal error: ", php, false, isUncaught},
	{"#0 ", php, false, func(text []byte) bool { return bytes.IndexByte(text, '(') > 0 }},
	{"info: ", dotnetLog, true, isCategory},
	{"fail: ", dotnetLog, true, isCategory},
	{"warn: ", dotnetLog, true, isCategory},
	{"crit: ", dotnetLog, true, isCategory},
	{"dbug: ", dotnetLog, true, isCategory},
	{"trce: ", dotnetLog, true, isCategory},
}

// asked are the numbers of heads by their first byte.
var asked = func() (by [256][]uint8) {
	for n, h := range heads {
		by[h.prefix[0]] = append(by[h.prefix[0]], uint8(n))
	}
	return by
}()

// goesOn says of each form which lines go on with a record of it.
var goesOn = [forms]func(g *grouping, text []byte) bool{
	trace:      (*grouping).traceGoesOn,
	nodeSource: (*grouping).nodeGoesOn,
	python:     (*grouping).pythonGoesOn,
	golang:     (*grouping).goGoesOn,
	rust:       (*grouping).rustGoesOn,
	php:        (*grouping).phpGoesOn,
	sqlError:   (*grouping).sqlGoesOn,
	dotnetLog:  func(_ *grouping, text []byte) bool { return has(text, "      ") },
	object:     (*grouping).objectGoesOn,
	anything:   func(*grouping, []byte) bool { return true },
}

// beginning returns the form of the record that a line begins, and whether the line may
// as well be all of it.
func beginning(text []byte) (f form, alone bool) {
	if len(text) == 0 {
		return plain, true
	}
	c := text[0]
	for _, n := range asked[c] {
		if h := &heads[n]; has(text, h.prefix) && (h.also == nil || h.also(text)) {
			return h.form, h.alone
		}
	}
	switch {
	case isLetter(c):
		if isException(text) {
			return trace, true
		}
		if c >= 'A' && c <= 'Z' && text[min(4, len(text)-1)] <= 'Z' && isSQLError(text) {
			return sqlError, true
		}
	case isDigit(c), c == '<':
		if isSQLError(text) {
			return sqlError, true
		}
	}
	switch text[len(text)-1] {
	case '{', '[', ',':
		if opensObject(text) {
			return object, c != '{' && c != '['
		}
	}
	return plain, true
}

// follows reports whether the first line of a record of a form may be the rest of one
// that began with a plain line: programs write what went wrong, and behind that the
// trace.
func follows(f form, text []byte) bool {
	switch f {
	case python:
		return true
	case trace:
		return !hasAny(text, "Exception in thread ", "Unhandled ")
	case golang:
		return has(text, "goroutine ")
	case php:
		return hasAny(text, "[stacktrace]", "Stack trace:", "#0 ")
	}
	return false
}

// has reports whether a line has a prefix.
func has(text []byte, prefix string) bool {
	return len(text) >= len(prefix) && string(text[:len(prefix)]) == prefix
}

// hasAny reports whether a line has one of several prefixes.
func hasAny(text []byte, prefixes ...string) bool {
	for _, p := range prefixes {
		if has(text, p) {
			return true
		}
	}
	return false
}

func isSpace(c byte) bool  { return c == ' ' || c == '\t' }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

func isBlank(text []byte) bool {
	for _, c := range text {
		if !isSpace(c) {
			return false
		}
	}
	return true
}

// isIndented reports whether a line begins with a space and isn't blank.
func isIndented(text []byte) bool { return len(text) > 0 && isSpace(text[0]) && !isBlank(text) }

// name returns how long the name is that a line begins with, such as that of a class with
// its package, and whether it is all of the line, or a colon or a bracket is behind it.
func name(text []byte) (n int, ends bool) {
	for n < len(text) && isName[text[n]] {
		n++
	}
	rest := text[n:]
	return n, len(rest) == 0 || rest[0] == ':' && (len(rest) == 1 || rest[1] == ' ') || has(rest, " [")
}

// isName are the bytes of names.
var isName = func() (is [256]bool) {
	for c := range is {
		is[c] = isLetter(byte(c)) || isDigit(byte(c)) || c == '.' || c == '_' || c == '$'
	}
	return is
}()

// isException reports whether a line begins with the name of a class of exceptions.
func isException(text []byte) bool {
	n, ends := name(text)
	if !ends || n < len("Error") {
		return false
	}
	called := text[:n]
	return bytes.HasSuffix(called, []byte("Exception")) || bytes.HasSuffix(called, []byte("Error")) || bytes.HasSuffix(called, []byte("Throwable"))
}

// isFrame reports whether a line is one of a trace, whatever is before it.
func isFrame(text []byte) bool {
	rest := bytes.TrimLeft(text, " \t")
	switch {
	case len(rest) == len(text):
		return false
	case has(rest, "at "):
		return bytes.IndexByte(rest, '(') > 0 || bytes.IndexByte(rest, ':') > 0
	case has(rest, "... "):
		return bytes.HasSuffix(rest, []byte(" more")) || bytes.HasSuffix(rest, []byte("common frames omitted"))
	case has(rest, "from "):
		return text[0] == '\t' && bytes.IndexByte(rest, ':') > 0
	}
	return hasAny(rest, "Suppressed: ", "--- End of ")
}

// Phases of a trace.
const (
	traceLines = iota
	traceBlank // behind an empty line
)

func (g *grouping) traceGoesOn(text []byte) bool {
	switch {
	case isBlank(text):
		was := g.phase
		g.phase = traceBlank
		return was != traceBlank
	case has(text, "Node.js v"):
		g.whole = true
		return true
	case g.phase == traceBlank:
		g.phase = traceLines
		return isFrame(text)
	}
	return isSpace(text[0]) || hasAny(text, "Caused by: ", "... ", "--- End of ", "Emitted 'error' event ", "}", "]")
}

// isPlace reports whether a line is the place of a throw, such as /app/x.js:3.
func isPlace(text []byte) bool {
	n := len(text)
	for n > 0 && isDigit(text[n-1]) {
		n--
	}
	return n > 1 && n < len(text) && text[n-1] == ':' && bytes.IndexByte(text, ' ') < 0
}

func (g *grouping) nodeGoesOn(text []byte) bool {
	switch {
	case g.lines == 1, isBlank(text), isSpace(text[0]):
		return true
	case has(text, "Node.js v"):
		g.whole = true
		return true
	}
	g.form, g.phase = trace, traceLines
	return isException(text) || hasAny(text, "Uncaught ", "Thrown ")
}

const (
	tracebackLine = "Traceback (most recent call last):"
	groupLine     = "  + Exception Group " + tracebackLine
)

// Phases of a trace of Python.
const (
	pythonFrames  = iota
	pythonError   // behind the line that names the exception
	pythonBlank   // behind an empty line behind that
	pythonRelated // behind a line that says what the next trace has to do with it
)

func (g *grouping) pythonGoesOn(text []byte) bool {
	detail := hasAny(text, "LINE ", "[SQL: ", "[parameters: ", "(Background on this error", "DETAIL: ", "HINT: ")
	switch g.phase {
	case pythonFrames:
		if isIndented(text) {
			return !has(text, groupLine)
		}
		g.phase = pythonError
		n, ends := name(text)
		return n > 0 && ends
	case pythonError:
		if isBlank(text) {
			g.phase = pythonBlank
			return true
		}
		return detail || isSpace(text[0])
	case pythonBlank:
		if detail {
			g.phase = pythonError
			return true
		}
		g.phase = pythonRelated
		return hasAny(text, "During handling of the above exception", "The above exception was the direct cause")
	}
	if hasAny(text, tracebackLine, groupLine) {
		g.phase = pythonFrames
		return true
	}
	return isBlank(text)
}

func isGoroutine(text []byte) bool {
	return len(text) > 10 && isDigit(text[10]) && bytes.HasSuffix(text, []byte("]:"))
}

func (g *grouping) goGoesOn(text []byte) bool {
	if isBlank(text) || text[0] == '\t' || hasAny(text, "goroutine ", "created by ", "exit status ", "[signal ", "[originating from ", "panic: ", "fatal error: ", "runtime: ", "runtime stack:", "stack: ", "...", "PC=") {
		return true
	}
	if !isLetter(text[0]) {
		return false
	}
	blank := bytes.IndexByte(text, ' ')
	if text[len(text)-1] == ')' { // a function
		n := bytes.IndexByte(text, '(')
		return n > 0 && (blank < 0 || blank > n)
	}
	return blank > 0 && blank <= 6 && has(bytes.TrimLeft(text[blank:], " "), "0x") // a register
}

// Phases of a panic of Rust.
const (
	rustTrace   = iota
	rustMessage // its message is on the next line
)

func (g *grouping) rustGoesOn(text []byte) bool {
	if g.phase == rustMessage {
		g.phase = rustTrace
		return true
	}
	return isIndented(text) || hasAny(text, "note: ", "stack backtrace:", "fatal runtime error: ")
}

// isUncaught reports whether a fatal error of PHP is an exception.
func isUncaught(text []byte) bool {
	return bytes.Contains(text[:min(len(text), 64)], []byte(" Uncaught "))
}

// Phases of an error of PHP.
const (
	phpTrace = iota
	phpBlank // behind an empty line
)

func (g *grouping) phpGoesOn(text []byte) bool {
	if isBlank(text) {
		was := g.phase
		g.phase = phpBlank
		return was == phpTrace
	}
	if g.phase == phpBlank {
		g.phase = phpTrace
		return has(text, "Next ")
	}
	if len(text) > 1 && text[0] == '#' && isDigit(text[1]) {
		return true
	}
	return isSpace(text[0]) || hasAny(text, "Stack trace:", "PHP Stack trace:", "PHP   ", "[stacktrace]", "\"}", "thrown in ")
}

// sqlWord returns the word in capitals before a colon and two spaces, by which PostgreSQL
// tells the parts of what it says; none where that isn't near the beginning.
func sqlWord(text []byte) []byte {
	head := text[:min(len(text), 96)]
	for n := 0; ; n++ {
		next := bytes.IndexByte(head[n:], ':')
		if next < 0 {
			return nil
		}
		if n += next; !has(head[n+1:], "  ") {
			continue
		}
		from := n
		for from > 0 && head[from-1] >= 'A' && head[from-1] <= 'Z' {
			from--
		}
		return head[from:n]
	}
}

func isSQLError(text []byte) bool {
	switch string(sqlWord(text)) {
	case "ERROR", "FATAL", "PANIC", "WARNING":
		return true
	}
	return false
}

func (g *grouping) sqlGoesOn(text []byte) bool {
	if isIndented(text) || has(text, "LINE ") {
		return true
	}
	switch string(sqlWord(text)) {
	case "DETAIL", "HINT", "CONTEXT", "STATEMENT", "QUERY", "LOCATION", "BACKTRACE":
		return true
	}
	return false
}

// isCategory reports whether a line may be the first of those as which .NET logs a
// message: "info: Shop.Cart[7]".
func isCategory(text []byte) bool { return text[len(text)-1] == ']' }

// opensObject reports whether a line opens brackets which it doesn't close, of JSON or
// what is written alike: it ends with one, as also what stands before an object does, or
// it is within an object.
func opensObject(text []byte) bool {
	switch last := text[len(text)-1]; {
	case last == '{', last == '[' && (len(text) == 1 || isSpace(text[len(text)-2])), last == ',' && text[0] == '{':
		return brackets(0, text) > 0
	}
	return false
}

// brackets is how many brackets are open behind a line.
func brackets(open int32, text []byte) int32 {
	quoted := false
	for n := 0; n < len(text); n++ {
		switch c := text[n]; {
		case quoted && c == '\\':
			n++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			open++
		case c == '}' || c == ']':
			open--
		}
	}
	return open
}

func (g *grouping) objectGoesOn(text []byte) bool {
	if len(text) > 0 && !isSpace(text[0]) && strings.IndexByte(`}]{["`, text[0]) < 0 {
		return false
	}
	g.open = brackets(g.open, text)
	g.whole = g.open <= 0
	return true
}
