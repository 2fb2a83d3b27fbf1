package rule

import (
	"logscan/internal/redact"
)

const (
	// redactMargin is how many bytes around what is shown are looked at for secrets that
	// reach into it.
	redactMargin = 4 << 10
	// redactEdge is how many bytes before the end of what is looked at are not shown: a
	// secret may begin there.
	redactEdge = 256
	// redactReach is how many bytes of a line or a record are looked at from its beginning.
	redactReach = MaxRecordText + redactMargin
)

// shown is the beginning of a text, as a Hit has it.
func (s *base) shown(text []byte) string {
	return Shown(text, s.redactor)
}

// Shown is the beginning of a text as a hit has it, without what a redactor finds secret.
func Shown(text []byte, r *redact.Redactor) string {
	return told(text, r.Spans(text[:min(len(text), MaxText+redactMargin)]))
}

// told is the beginning of a text without its secrets, whose places are known of as much
// of it as may be shown, and a margin.
func told(text []byte, secrets []redact.Span) string {
	if len(secrets) == 0 {
		return Clip(text)
	}
	keep := len(text)
	if most := MaxText + redactMargin; keep > most {
		keep = most - redactEdge
	}
	out := redact.Apply(text[:keep], redact.Within(secrets, 0, keep))
	if keep < len(text) {
		out = append(out, ellipsis...)
	}
	return Clip(out)
}

// shown is what a hit shows of the text that is matched.
func (m *Matching) shown(shown, text []byte) string {
	if m.set.base.redactor == nil || len(shown) == 0 || len(text) == 0 || &shown[0] != &text[0] {
		return m.set.base.shown(shown)
	}
	return told(text, m.secretsIn(text))
}

// secretsIn are where secrets are in the first bytes of the text that is matched.
func (m *Matching) secretsIn(text []byte) []redact.Span {
	if !m.redacted {
		m.redacted, m.secrets = true, m.set.base.redactor.Spans(text[:min(len(text), redactReach)])
	}
	return m.secrets
}

// part is what a hit shows of a part of the text that is matched. What makes it a secret
// may stand beside it.
func (m *Matching) part(text []byte, from, to int) string {
	redactor := m.set.base.redactor
	if redactor == nil {
		return Clip(text[from:to])
	}
	end := min(len(text), min(to, from+MaxText+redactMargin)+redactMargin)
	if end <= redactReach {
		return told(text[from:to], redact.Within(m.secretsIn(text), from, end))
	}
	begin := max(0, from-redactMargin)
	return told(text[from:to], redact.Within(redactor.Spans(text[begin:end]), from-begin, end-begin))
}

// beyond is how much of a record isn't looked at any more.
type beyond struct{ lines, bytes int }

// redacted are the lines of a record without their secrets. Where there are some, what is
// far behind them is left out.
func redacted(lines []Line, redactor *redact.Redactor) (out []Line, gone beyond) {
	if redactor == nil {
		return lines, gone
	}
	var texts [][]byte
	room := redactReach
	for n := range lines {
		text := lines[n].text()
		if room <= 0 {
			gone.lines++
			gone.bytes += len(text) + 1
			continue
		}
		if len(text) > room {
			gone.bytes += len(text) - room
			text = text[:room]
		}
		texts = append(texts, text)
		room -= len(text) + 1
	}
	told := redactor.Lines(texts)
	if &told[0] == &texts[0] {
		return lines, beyond{}
	}
	out = make([]Line, len(told))
	for n := range told {
		out[n] = lines[n]
		out[n].Text = told[n]
	}
	if last := &out[len(out)-1]; gone != (beyond{}) {
		cut := min(len(last.Text), redactEdge)
		last.Text = last.Text[:len(last.Text)-cut]
		gone.bytes += cut
	}
	return out, gone
}
