package query

import (
	"regexp"
	"strings"

	"logscan/internal/redact"
	"logscan/internal/shape"
)

// maxPattern bounds the pattern that is made of a line, in bytes of the line.
const maxPattern = 120

var placeholder = regexp.MustCompile(`<[a-z]+>|` + regexp.QuoteMeta(redact.Mark))

// patternOf returns a pattern for lines of the same shape, which the line matches: the
// text that people read of it, with anything where it varies. It is "" where there is
// nothing to say.
func patternOf(line string) string {
	text := shape.Readable([]byte(line), maxPattern)
	var b strings.Builder
	at := 0
	for _, p := range placeholder.FindAllStringIndex(text, -1) {
		b.WriteString(regexp.QuoteMeta(text[at:p[0]]))
		b.WriteString(`\S+`)
		at = p[1]
	}
	b.WriteString(regexp.QuoteMeta(text[at:]))
	expr := strings.TrimSuffix(strings.TrimSuffix(b.String(), `\S+`), " ")
	if matches(expr, line) && wordIn(expr) {
		return expr
	}
	// What is read is put together, as of JSON: its longest part that is in the line.
	longest := ""
	for _, part := range strings.FieldsFunc(placeholder.ReplaceAllString(text, "\x00"), func(r rune) bool { return r == 0 || r == '|' }) {
		if part = strings.TrimSpace(part); len(part) > len(longest) && strings.Contains(line, part) {
			longest = part
		}
	}
	if expr = regexp.QuoteMeta(longest); wordIn(expr) {
		return expr
	}
	return ""
}

func matches(expr, line string) bool {
	re, err := regexp.Compile(expr)
	return err == nil && re.MatchString(line)
}

// wordIn reports whether a pattern says something: three letters in a row.
var letters = regexp.MustCompile(`\pL{3}`)

func wordIn(expr string) bool { return letters.MatchString(strings.ReplaceAll(expr, `\S+`, "")) }
