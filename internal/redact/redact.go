// Package redact finds what is secret in texts of logs, such as passwords, keys and the
// numbers of cards, so that it isn't told.
//
// What it promises:
//
//   - It is a pure function of the text. What is redacted already stays as it is.
//   - It takes time in proportion to the text, whatever that is: expressions are RE2, and what is read by hand is read once.
//   - A text in which nothing is secret costs a look at its bytes, and no memory.
//
// It goes by how secrets are written: it can't know one that looks like any word.
package redact

import (
	"bytes"
	"cmp"
	"regexp"
	"slices"
)

// Mark stands in the place of what is secret.
const Mark = "[redacted]"

// Span is a part of a text, in bytes.
type Span struct{ From, To int }

// Redactor finds secrets. A nil one finds none.
type Redactor struct {
	further *regexp.Regexp // nil: none
}

// New returns a redactor that also finds what a further expression matches, or, where it
// has groups, what these do; "" for none.
func New(further string) (*Redactor, error) {
	if further == "" {
		return &Redactor{}, nil
	}
	re, err := regexp.Compile(further)
	if err != nil {
		return nil, err
	}
	return &Redactor{re}, nil
}

// Spans are where secrets are in a text, in order. They don't touch one another.
func (r *Redactor) Spans(text []byte) []Span {
	if r == nil || len(text) == 0 {
		return nil
	}
	var small [1024]byte
	lower := lowered(small[:0], text)
	spans := assigned(text, lower, cards(text, nil))
	for n := range forms {
		if f := &forms[n]; f.mayBeIn(text, lower) {
			spans = f.find(text, spans)
		}
	}
	if r.further != nil {
		spans = groups(r.further, text, spans, nil)
	}
	if len(spans) == 0 {
		return nil
	}
	return joined(text, spans)
}

// lowered appends a text with its ASCII letters in lower case.
func lowered(b, text []byte) []byte {
	for _, c := range text {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

// joined are spans in order, as one where they touch.
func joined(text []byte, spans []Span) []Span {
	slices.SortFunc(spans, func(a, b Span) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(b.To, a.To)) })
	out := spans[:0]
	for _, s := range spans {
		switch last := len(out) - 1; {
		case s.From >= s.To || string(text[s.From:s.To]) == Mark:
		case last >= 0 && s.From <= out[last].To:
			out[last].To = max(out[last].To, s.To)
		default:
			out = append(out, s)
		}
	}
	return out
}

// Apply returns a text with the mark in the place of spans.
func Apply(text []byte, spans []Span) []byte {
	if len(spans) == 0 {
		return text
	}
	out := make([]byte, 0, len(text)+len(spans)*len(Mark))
	at := 0
	for _, s := range spans {
		out = append(append(out, text[at:s.From]...), Mark...)
		at = s.To
	}
	return append(out, text[at:]...)
}

// Text returns a text without its secrets.
func (r *Redactor) Text(s string) string {
	if r == nil || s == "" {
		return s
	}
	spans := r.Spans([]byte(s))
	if len(spans) == 0 {
		return s
	}
	return string(Apply([]byte(s), spans))
}

// Lines returns lines without the secrets in them, such as a key that is on several. It
// returns the same lines where there are none.
func (r *Redactor) Lines(lines [][]byte) [][]byte {
	if r == nil {
		return lines
	}
	all := bytes.Join(lines, []byte{'\n'})
	spans := r.Spans(all)
	if len(spans) == 0 {
		return lines
	}
	out := make([][]byte, len(lines))
	from := 0
	for n, l := range lines {
		to := from + len(l)
		out[n] = Apply(l, Within(spans, from, to))
		from = to + 1
	}
	return out
}

// Within are the spans in a part of a text, from where it begins.
func Within(spans []Span, from, to int) (out []Span) {
	for _, s := range spans {
		if a, b := max(s.From, from), min(s.To, to); a < b {
			out = append(out, Span{a - from, b - from})
		}
	}
	return out
}
