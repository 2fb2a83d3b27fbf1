package shape

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Readable returns what people read of a line's shape, in at most max bytes: the text
// itself, with a placeholder for each parameter, and without what precedes the first
// word. Of JSON and logfmt it is what counts, with a bar between message and error. It
// is empty where the line has no word.
//
// It is UTF-8, whatever the line is, and has no control characters, nor those that
// break lines or turn the direction of writing.
func Readable(line []byte, max int) string {
	d := new(display)
	s := scanner{display: d}
	s.scan(line)
	return printable(d.text, max)
}

// printable returns as much of a text as has room, for people to read.
func printable(text []byte, max int) string {
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		text = text[n:]
		if unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control) {
			continue
		}
		if b.Len()+utf8.RuneLen(r) > max {
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// display makes the readable form, while a scanner goes over the line. A nil one makes
// none.
type display struct {
	text      []byte
	end       int    // up to where the line, or the value at hand, is in text
	separator string // what precedes the next token

	last, previous int // where in text the scanner's last word begins, and the one before it
}

// begin says that what is shown next is from another text, or another place in it.
func (d *display) begin(end int, separator string) {
	if d == nil {
		return
	}
	d.end, d.separator = end, ""
	if len(d.text) > 0 {
		d.separator = separator
	}
}

// word shows line[a:b] as it is.
func (d *display) word(line []byte, a, b int) {
	if d != nil {
		d.show(line, a, b, line[a:b])
	}
}

// mark remembers where in the text the scanner's next word begins.
func (d *display) mark() {
	if d != nil {
		d.last, d.previous = len(d.text), d.last
	}
}

// back takes the last word back, and what is behind it.
func (d *display) back() {
	if d != nil {
		d.text = d.text[:d.last]
		d.last = d.previous
	}
}

// parameter shows a placeholder for line[a:b], but not before the first word, and one
// for several in a row.
func (d *display) parameter(line []byte, a, b int, again bool) {
	switch {
	case d == nil:
	case again || len(d.text) == 0:
		d.end = b
	default:
		d.show(line, a, b, []byte(placeholder(line[a:b])))
	}
}

// show shows line[a:b], and what is before it, as the text that stands for it.
func (d *display) show(line []byte, a, b int, text []byte) {
	d.gap(line[d.end:a])
	d.text = append(d.text, text...)
	d.end = b
}

// gap shows what is between two tokens. Before the first one, what opens it.
func (d *display) gap(gap []byte) {
	if len(d.text) == 0 {
		gap = gap[len(bytes.TrimRight(gap, `[("'`)):]
	}
	d.text = append(d.text, d.separator...)
	d.separator = ""
	for i := 0; i < len(gap); i++ {
		switch c := gap[i]; {
		case c == 0x1b:
			i = skipEscape(gap, i) - 1
		case !is(c, space):
			d.text = append(d.text, c)
		case len(d.text) > 0 && d.text[len(d.text)-1] != ' ':
			d.text = append(d.text, ' ')
		}
	}
}

// close shows what closes behind the last token of a text.
func (d *display) close(line []byte) {
	if d == nil || len(d.text) == 0 || d.separator != "" {
		return
	}
	for _, c := range line[d.end:] {
		if bytes.IndexByte([]byte(`)]}"'>`), c) < 0 {
			return
		}
		d.text = append(d.text, c)
	}
}

// placeholder returns what stands for a parameter: what it looks like.
func placeholder(p []byte) string {
	if n := len(p); n > 1 && p[0] == p[n-1] {
		switch p[0] {
		case '"', '\'', '`':
			quote := string(p[0])
			if in := looks(p[1 : n-1]); in != "<*>" {
				return in
			}
			return quote + "<*>" + quote
		}
	}
	return looks(p)
}

func looks(p []byte) string {
	var dots, colons, dashes, slashes, ats, digits, hexes, letters int
	for _, c := range p {
		switch {
		case c == '.':
			dots++
		case c == ':':
			colons++
		case c == '-':
			dashes++
		case c == '/' || c == '\\':
			slashes++
		case c == '@':
			ats++
		case is(c, digit):
			digits++
		case is(c, hexLetter):
			hexes++
		default:
			letters++
		}
	}
	switch {
	case len(p) == 17 && colons == 5 && letters == 0: // MAC
		return "<hex>"
	case dots == 3 && digits >= 4 && hexes+letters == 0 && slashes <= 1,
		colons >= 2 && hexes > 0 && letters == 0:
		return "<ip>"
	case len(p) == 36 && dashes == 4 && letters == 0:
		return "<uuid>"
	case bytes.Contains(p, []byte("://")):
		return "<url>"
	case slashes > 0 && ats == 0 && (bytes.IndexByte([]byte(`/\.~`), p[0]) >= 0 || colons == 1):
		return "<path>"
	case ats > 0 && dots > 0:
		return "<email>"
	case digits >= 4 && letters <= 1 && (colons == 2 || dashes == 2):
		return "<time>"
	case digits > 0 && hexes+letters == 0:
		return "<num>"
	case digits > 0 && hexes > 0 && letters == 0 && len(p) >= 6:
		return "<hex>"
	case digits > 0 && is(p[0], digit) && letters <= 3 && len(p) < 16 && dashes == 0:
		return "<num>"
	case dots > 0 && letters > 0 && slashes == 0 && bytes.Equal(p, bytes.ToLower(p)):
		return "<host>"
	}
	return "<*>"
}
