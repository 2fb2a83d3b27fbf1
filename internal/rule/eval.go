package rule

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"logscan/internal/rule/match"
)

const (
	// MaxText bounds a hit's text, and each of its captures, in bytes.
	MaxText = 500
	// maxCaptures is how many of a pattern's groups a hit tells.
	maxCaptures = 32

	ellipsis = "…"
)

// Line is a whole line as the container wrote it, without its newline.
type Line struct {
	Stream   string // "stdout" or "stderr"
	TimeNano int64
	Text     []byte // not kept
}

// text is what the rules see: without what a terminal's line ends with.
func (l *Line) text() []byte { return bytes.TrimRight(l.Text, "\r") }

// Hit is a match that is to be told.
type Hit struct {
	Rule            *Rule
	TimeNano        int64
	Stream          string
	Text            string            // of the line: valid UTF-8, MaxText bytes at most
	Captures        map[string]string // by name or $n; nil if there are none
	Suppressed      int64             // matches held back since the rule's last hit
	SuppressedSince int64             // when the first of them was, in nanoseconds; 0 for none
}

// Matching is a Set at work, for many lines. One goroutine uses it at a time.
type Matching struct {
	set     *Set
	scratch *match.Scratch
	found   []*compiled
}

// Begin returns a Matching. It is to be ended.
func (s *Set) Begin() Matching {
	return Matching{set: s, scratch: s.snapshot.matcher.Acquire()}
}

// End ends it.
func (m *Matching) End() { m.scratch.Release() }

// Match reports whether a line matches any rule of the set, and keeps which, for
// Admit.
func (m *Matching) Match(l Line) bool {
	m.found = m.found[:0]
	for _, pattern := range m.scratch.Match(l.text(), m.set.in[streamIndex(l.Stream)]) {
		m.found = m.set.with(pattern, l.Stream, m.found)
	}
	return len(m.found) > 0
}

// Admit updates st by the rules that the line matched which Match was last
// called with, and appends the hits, by rule id.
func (m *Matching) Admit(st *State, l Line, hits []Hit) []Hit {
	st.Enter(m.set)
	slices.SortFunc(m.found, byID)
	for _, c := range m.found {
		suppressed, since, ok := st.admit(m.set, c.rule, l.TimeNano)
		if !ok {
			continue
		}
		text := l.text()
		hits = append(hits, Hit{
			Rule: c.rule, TimeNano: l.TimeNano, Stream: l.Stream,
			Text: clip(text), Captures: c.captures(text),
			Suppressed: suppressed, SuppressedSince: since,
		})
	}
	return hits
}

// Eval matches a line with every rule of the set, updates st and appends the
// hits, by rule id.
func (s *Set) Eval(st *State, l Line, hits []Hit) []Hit {
	m := s.Begin()
	defer m.End()
	if m.Match(l) {
		return m.Admit(st, l, hits)
	}
	st.Enter(s)
	return hits
}

// captures returns what the groups matched; groups that took no part have no
// entry.
func (c *compiled) captures(text []byte) map[string]string {
	if len(c.names) < 2 {
		return nil
	}
	var out map[string]string
	m := c.regexp().FindSubmatchIndex(text)
	for i := 1; i < len(c.names); i++ {
		if from, to := m[2*i], m[2*i+1]; from >= 0 {
			if out == nil {
				out = map[string]string{}
			}
			out[c.names[i]] = clip(text[from:to])
		}
	}
	return out
}

// clip makes valid UTF-8 of MaxText bytes at most, with an ellipsis where
// something was cut off. A run of invalid bytes becomes one U+FFFD.
func clip(b []byte) string {
	if len(b) <= MaxText && utf8.Valid(b) {
		return string(b)
	}
	out := make([]byte, 0, MaxText)
	room := 0 // length of out up to which an ellipsis still fits behind
	bad := false
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		b = b[n:]
		if r == utf8.RuneError && n == 1 {
			if bad {
				continue
			}
			bad = true
		} else {
			bad = false
		}
		if len(out)+utf8.RuneLen(r) > MaxText {
			return string(out[:room]) + ellipsis
		}
		out = utf8.AppendRune(out, r)
		if len(out)+len(ellipsis) <= MaxText {
			room = len(out)
		}
	}
	return string(out)
}
