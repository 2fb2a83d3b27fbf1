package rule

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"logscan/internal/redact"
	"logscan/internal/rule/match"
	"logscan/internal/shape"
)

// Record is lines of one stream that belong together, in order, at least one.
type Record struct {
	Way      int // in which it was made, see Set.Ways
	Lines    []Line
	From, To int64 // where it lies in the container's log
}

// past is what became of the first match of a part of a rule, with the values of its key,
// in the record that is evaluated.
type past struct {
	of     *compiled
	key    string
	hit    Hit // as far as it was known; of a rule whose hits are lines or records
	why    verdict
	behind int64 // as a Became's
}

// Became is what became of what a rule whose hits are lines or records matched in a
// record. Further matches in it are held back.
type Became struct {
	Rule     *Rule
	By       string // as a Hit's
	Stream   string
	TimeNano int64 // of the first match
	Shape    shape.Shape
	Hit      bool
	Bucket   bool  // held back for want of a token; else by the cooldown
	Behind   int64 // when the hit was whose cooldown holds it back, in nanoseconds
}

// Became returns what became of the latest record that Evaluate was called with.
func (m *Matching) Became() (out []Became) {
	for i := range m.past {
		if p := &m.past[i]; p.hit.Rule != nil {
			h := &p.hit
			out = append(out, Became{h.Rule, h.By, h.Stream, h.TimeNano, h.Shape, p.why == admitted, p.why == emptied, p.behind})
		}
	}
	return out
}

func (m *Matching) pastOf(c *compiled, key string) *past {
	for i := range m.past {
		if p := &m.past[i]; p.of == c && p.key == key {
			return p
		}
	}
	return nil
}

// Begins reports, for each way in which records are made but the first, whether a line is
// the first of its record. Where it takes too much work to find that out, it is. The
// answer is valid until the next call.
func (m *Matching) Begins(l Line) []bool {
	ways := m.set.ways
	m.begins = slices.Grow(m.begins[:0], len(ways))[:len(ways)]
	if len(ways) < 2 {
		return m.begins
	}
	for n := range m.layers {
		m.beginsOf(l, n)
	}
	return m.begins
}

// beginsOf sets what Begins returns for the ways of a layer.
func (m *Matching) beginsOf(l Line, layer int) {
	ways := m.set.ways
	var mask [1]uint64 // of MaxStarts at most
	in, any := match.Mask(mask[:]), false
	for _, w := range ways[1:] {
		if w.layer == layer {
			in.Add(w.start)
			any = true
		}
	}
	if !any {
		return
	}
	at := &m.at[layer]
	if at.starts == nil {
		at.starts = at.layer.starts.Acquire()
	}
	found := at.starts.Match(l.text(), in)
	for n, w := range ways {
		if n > 0 && w.layer == layer {
			number := uint32(w.start)
			m.begins[n] = slices.Contains(found, number) || slices.Contains(at.starts.GivenUp(), number)
		}
	}
}

// Evaluate matches a record with every rule of the set that goes by its way: its lines
// one by one with the rules about lines, and all of it with those about records. It
// updates st and appends the hits. A rule hits a record once: further matches in it are
// held back. Behind each text, and before anything comes of it, look is told of it, where
// it isn't nil, with the number of the line, or -1 for the whole; it may call Except.
func (m *Matching) Evaluate(st *State, r Record, hits []Hit, look func(l Line, n int)) []Hit {
	m.past, m.whole = m.past[:0], nil
	w := &m.set.ways[r.Way]
	first, firstMatch := len(hits), len(m.matches)
	evaluate := func(l Line, n int, of part) {
		m.match(st, l, of)
		if look != nil {
			look(l, n)
		}
		if len(m.found) > 0 {
			hits = m.Admit(st, l, hits)
		}
	}
	alone := len(r.Lines) == 1
	for n, l := range r.Lines {
		evaluate(l, n, part{w, true, alone})
	}
	if !alone && w.whole.any {
		m.whole = r.Lines
		m.joined = m.joined[:0]
		for n, l := range r.Lines {
			if n > 0 {
				m.joined = append(m.joined, '\n')
			}
			m.joined = append(m.joined, l.text()...)
		}
		all := r.Lines[0]
		all.Text = m.joined
		evaluate(all, -1, part{w, false, true})
		m.whole = nil
	}
	if len(hits) == first && len(m.matches) == firstMatch {
		return hits
	}
	text := r.text(m.set.base.redactor)
	but := func(shown string) string {
		if shown == text {
			return ""
		}
		return text
	}
	for n := first; n < len(hits); n++ {
		hits[n].Record = but(hits[n].Text)
		hits[n].From, hits[n].To = r.From, r.To
	}
	for n := firstMatch; n < len(m.matches); n++ {
		if m.matches[n].Role == Of {
			continue // nothing but its number is of interest
		}
		m.matches[n].Record = but(m.matches[n].Text)
		m.matches[n].From, m.matches[n].To = r.From, r.To
		m.heft += len(m.matches[n].Record)
	}
	return hits
}

// summary is what a record as a whole is known by: its first line that says something,
// or, where that is a mere bracket, all of it on a line.
func (m *Matching) summary() []byte {
	for _, l := range m.whole {
		text := bytes.TrimSpace(l.text())
		switch {
		case len(text) == 0:
			continue
		case text[0] != '{' && text[0] != '[' || bytes.IndexByte([]byte("{[,"), text[len(text)-1]) < 0:
			return l.text()
		}
		break
	}
	var out []byte
	for _, l := range m.whole {
		if text := bytes.TrimSpace(l.text()); len(out) < shape.Reach && len(text) > 0 {
			if len(out) > 0 {
				out = append(out, ' ')
			}
			out = append(out, text...)
		}
	}
	return out
}

// text is the record as a hit has it. Of one that is too long, it is the beginning, and
// says how much is left out.
func (r Record) text(redactor *redact.Redactor) string {
	lines := r.Lines
	for len(lines) > 1 && len(bytes.TrimSpace(lines[len(lines)-1].text())) == 0 {
		lines = lines[:len(lines)-1]
	}
	lines, gone := redacted(lines, redactor)
	const room = MaxRecordText - len("\n… 500 lines and 1048576 bytes more are left out")
	var b strings.Builder
	for n, l := range lines {
		text := l.text()
		if n > 0 {
			b.WriteByte('\n')
		}
		if valid := strings.ToValidUTF8(string(text[:min(len(text), MaxRecordText)]), "\uFFFD"); len(text) <= MaxRecordText && b.Len()+len(valid) <= room {
			b.WriteString(valid)
			continue
		}
		rest := gone.bytes
		for _, l := range lines[n:] {
			rest += len(l.text()) + 1
		}
		rest--
		if n == len(lines)-1 && gone == (beyond{}) && rest <= MaxRecordText-b.Len() { // what would be said is longer
			if valid := strings.ToValidUTF8(string(text), "\uFFFD"); len(valid) <= MaxRecordText-b.Len() {
				b.WriteString(valid)
				return b.String()
			}
		}
		keep := min(len(text), max(room-b.Len(), 0))
		for keep > 0 && keep < len(text) && !utf8.RuneStart(text[keep]) {
			keep--
		}
		kept := strings.ToValidUTF8(string(text[:keep]), "")
		b.WriteString(kept)
		switch more := len(lines) - 1 - n + gone.lines; {
		case more == 0:
			fmt.Fprintf(&b, "\n… %d bytes more are left out", rest-keep)
		case keep == 0:
			fmt.Fprintf(&b, "… %d lines and %d bytes more are left out", more+1, rest)
		default:
			fmt.Fprintf(&b, "\n… %d lines and %d bytes more are left out", more, rest-keep)
		}
		return b.String()
	}
	switch {
	case gone.lines > 0:
		fmt.Fprintf(&b, "\n… %d lines and %d bytes more are left out", gone.lines, gone.bytes)
	case gone.bytes > 0:
		fmt.Fprintf(&b, "\n… %d bytes more are left out", gone.bytes)
	}
	return b.String()
}
