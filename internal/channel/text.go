package channel

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Style is how a service writes text. A function that is nil leaves text as it
// is.
type Style struct {
	Limit  int                                // of Size; 0 for none
	Around int                                // lines before, and after, the one that is told; 0 for a few
	Size   func(string) int                   // nil: bytes
	Escape func(string) string                // makes text mean nothing but itself
	Bold   func(escaped string) string        //
	Block  func(lines string) string          // preformatted lines, not escaped yet
	Link   func(escaped, url string) string   // nil: "label: url"
	Join   func(paragraphs []string) string   // nil: an empty line between them
	Facts  func(pairs [][2]string) (s string) // short facts, not escaped yet; nil: "name: value" on a line each
}

// Name is what a title begins with.
func (n Notice) Name() string {
	if n.Calm() {
		return strings.ToUpper(n.Kind)
	}
	return strings.ToUpper(n.Severity)
}

// Place is where it happened: the workload and, where it is another word, the
// container.
func (n Notice) Place() string {
	where := n.Workload
	if n.Container != "" && n.Container != n.Workload && n.Containers < 2 {
		where = join(where, "/", n.Container)
	}
	if n.Host != "" {
		where = join(where, " on ", n.Host)
	}
	return where
}

func join(a, sep, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + sep + b
}

// Heading is the message's title: one printable line.
func (m Message) Heading() string {
	if title := Line(m.Title, maxTitle); title != "" {
		return title
	}
	n := m.Worst()
	title := "[" + n.Name() + "] " + join(n.Rule, ": ", n.Place())
	if len(m.Notices) > 1 {
		title = fmt.Sprintf("[%s] %d incidents, the worst: %s", n.Name(), len(m.Notices), join(n.Rule, ": ", n.Place()))
	} else if n.Count > 1 {
		title += fmt.Sprintf(" (×%d)", n.Count)
	}
	if m.Test {
		title = "Test: " + title
	}
	return Line(title, maxTitle)
}

const (
	maxTitle = 200 // bytes, as all here
	maxLabel = 75  // of a button
	maxLine  = 2000

	fewLines = 3 // see Style
)

// sizes are how much of a message is said, from all to the least: one that is
// longer than its channel takes is said in the first that fits.
var sizes = []struct {
	notices, lines, width, context int
}{
	{50, 60, maxLine, 200}, {50, 40, 1000, 20}, {20, 20, 500, 10}, {20, 10, 300, 4}, {10, 6, 200, 0}, {10, 3, 200, 0}, {5, 2, 150, 0}, {3, 1, 120, 0}, {1, 1, 80, 0}, {1, 1, 30, 0},
}

// Text is the message without its title, in a style. It begins with the message's
// mark, as it is: a receiver that logs what it is sent, or its beginning, doesn't
// ring.
func (m Message) Text(s Style) string {
	s = s.filled()
	if strings.TrimSpace(Clean(m.Body)) != "" {
		return m.cut(s, m.Body)
	}
	var out string
	for _, size := range sizes {
		out = m.text(s, size.notices, size.lines, size.width, min(size.context, s.Around))
		if s.Limit == 0 || s.Size(out) <= s.Limit {
			return out
		}
	}
	// Neither a mark nor a link is of use where it isn't whole.
	bare := m
	bare.Mark, bare.URL, bare.Notices = "", "", slices.Clone(m.Notices)
	bare.Notices[0].Actions = nil
	return m.cut(s, bare.text(Style{}.filled(), 1, 1, 80, 0))
}

// cut is text that isn't escaped, escaped, as long as may be.
func (m Message) cut(s Style, text string) string {
	if s.Limit > 0 && s.Size(s.Join(append(m.marked(), "…"))) > s.Limit {
		m.Mark = ""
	}
	if s.Limit > 0 {
		text = Cut(text, 8*s.Limit) // a character has 4 bytes at most, and some are not shown
	}
	text = Clean(text)
	out := s.Join(append(m.marked(), s.Escape(text)))
	for s.Limit > 0 && s.Size(out) > s.Limit && text != "" {
		text = Cut(text, len(text)*3/4)
		out = s.Join(append(m.marked(), s.Escape(text+"…")))
	}
	return out
}

// marked is the paragraph that a text begins with, if the message has a mark.
func (m Message) marked() []string {
	if m.Mark == "" {
		return nil
	}
	return []string{"[" + m.Mark + "]"}
}

// Part is a part of a message, for services that take parts instead of one text.
type Part struct {
	Text string // clean, not escaped
	Code bool   // lines as they were written
}

// Parts is Text in parts. Limit and size are a Style's; size sees all parts at once,
// with one control character more for each.
func (m Message) Parts(limit int, size func(string) int) (parts []Part) {
	const next, code = "\x00", "\x01" // Clean leaves neither in a text
	text := m.Text(Style{
		Limit: limit, Size: size, Escape: Clean,
		Block: func(lines string) string { return code + lines },
		Join:  func(p []string) string { return strings.Join(p, next) },
	})
	for _, p := range strings.Split(text, next) {
		lines, isCode := strings.CutPrefix(p, code)
		parts = append(parts, Part{lines, isCode})
	}
	return parts
}

// Buttons takes out of the message what a service shows as buttons, of which it
// has so many: what can be done about its only notice, and logscan's page. Where
// there are several notices, each one's links stay beside it.
func (m Message) Buttons(most int) ([]Action, Message) {
	var buttons []Action
	if len(m.Notices) == 1 && len(m.Notices[0].Actions) < most {
		buttons = slices.Clone(m.Notices[0].Actions)
		m.Notices = slices.Clone(m.Notices)
		m.Notices[0].Actions = nil
	}
	if m.URL != "" {
		buttons = append(buttons, Action{openPage, m.URL})
		m.URL = ""
	}
	for i := range buttons {
		buttons[i].Label = Line(buttons[i].Label, maxLabel)
	}
	return slices.DeleteFunc(buttons, func(a Action) bool { return !a.web() || a.Label == "" }), m
}

func same(s string) string { return s }

func (s Style) filled() Style {
	if s.Size == nil {
		s.Size = func(s string) int { return len(s) }
	}
	if s.Around == 0 {
		s.Around = fewLines
	}
	if s.Escape == nil {
		s.Escape = same
	}
	if s.Bold == nil {
		s.Bold = same
	}
	if s.Block == nil {
		s.Block = s.Escape
	}
	if s.Link == nil {
		s.Link = func(label, url string) string { return label + ": " + s.Escape(url) }
	}
	if s.Join == nil {
		s.Join = func(p []string) string { return strings.Join(p, "\n\n") }
	}
	if s.Facts == nil {
		s.Facts = func(pairs [][2]string) string {
			lines := make([]string, len(pairs))
			for i, p := range pairs {
				lines[i] = s.Bold(s.Escape(p[0])+":") + " " + s.Escape(p[1])
			}
			return strings.Join(lines, "\n")
		}
	}
	return s
}

func (m Message) text(s Style, notices, lines, width, context int) string {
	out := m.marked()
	for i, n := range m.Notices {
		if i == notices {
			out = append(out, s.Escape(fmt.Sprintf("… %d incidents more", len(m.Notices)-i)))
			break
		}
		if len(m.Notices) > 1 {
			out = append(out, s.Bold(s.Escape(Line("["+n.Name()+"] "+join(n.Rule, ": ", n.Place()), maxTitle))))
		}
		out = append(out, n.text(s, lines, width, context)...)
	}
	if told := m.Held.text(); told != "" {
		out = append(out, s.Escape(told))
	}
	if page := (Action{openPage, m.URL}); page.web() {
		out = append(out, s.link(page))
	}
	return s.Join(out)
}

const openPage = "Open logscan"

func (s Style) link(a Action) string { return s.Link(s.Escape(Line(a.Label, maxTitle)), a.URL) }

// web reports whether an action's URL leads to a web page.
func (a Action) web() bool {
	return strings.HasPrefix(a.URL, "https://") || strings.HasPrefix(a.URL, "http://")
}

func (n Notice) text(s Style, lines, width, context int) []string {
	var facts [][2]string
	fact := func(name, value string) {
		if value != "" {
			facts = append(facts, [2]string{name, Line(value, maxTitle)})
		}
	}
	fact("Rule", n.Rule)
	fact("Workload", n.Workload)
	if n.Containers > 1 {
		fact("Containers", fmt.Sprintf("%d, the last: %s", n.Containers, n.Container))
	} else if n.Container != n.Workload {
		fact("Container", n.Container)
	}
	fact("Host", n.Host)
	var out []string
	if len(facts) > 0 {
		out = append(out, s.Facts(facts))
	}
	if n.Text != "" {
		out = append(out, s.Block(clip(n.Text, lines, width)))
	}
	if often := n.Often(); often != "" {
		out = append(out, s.Escape(often))
	}
	if len(n.Before) > 0 && context > 0 {
		out = append(out, s.Escape("Before:"), s.Block(clip(strings.Join(n.Before[max(0, len(n.Before)-context):], "\n"), context, width)))
	}
	if len(n.After) > 0 && context > 0 {
		out = append(out, s.Escape("After:"), s.Block(clip(strings.Join(n.After[:min(context, len(n.After))], "\n"), context, width)))
	}
	var links []string
	for _, a := range n.Actions {
		if a.web() {
			links = append(links, s.link(a))
		}
	}
	if links != nil {
		out = append(out, strings.Join(links, "  "))
	}
	return out
}

// Often says how often and since when, and why it is told.
func (n Notice) Often() string {
	var parts []string
	switch n.Kind {
	case Resolved:
		parts = append(parts, "Resolved")
	case Acknowledged:
		parts = append(parts, "Acknowledged")
	case Repeated:
		parts = append(parts, "Still open")
	case Escalated:
		parts = append(parts, "Escalated")
	}
	if n.Reason != "" {
		parts = append(parts, Line(n.Reason, maxTitle))
	}
	switch {
	case n.Count > 1:
		parts = append(parts, fmt.Sprintf("%d times since %s, the last at %s", n.Count, clock(n.First), clock(n.Last)))
	case !n.First.IsZero():
		parts = append(parts, clock(n.First))
	}
	return strings.Join(parts, "; ")
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func (h Held) text() string {
	if h.Notices == 0 && h.Hits == 0 {
		return ""
	}
	what := fmt.Sprintf("%d more were held back", h.Notices)
	if h.Notices == 1 {
		what = "1 more was held back"
	}
	if !h.Since.IsZero() {
		what += " since " + clock(h.Since)
	}
	if h.Why != "" {
		what += " (" + Line(h.Why, maxTitle) + ")"
	}
	return what + "."
}

// clip is a text of at most so many lines of so many bytes, that says what it
// lacks.
func clip(text string, lines, width int) string {
	all := strings.Split(strings.TrimRight(Clean(text), "\n"), "\n")
	more := len(all) - lines
	if more > 0 {
		all = all[:lines]
	}
	for i, l := range all {
		if len(l) > width {
			all[i] = Cut(l, width) + fmt.Sprintf("… %d bytes more", len(l)-len(Cut(l, width)))
		}
	}
	out := strings.Join(all, "\n")
	switch {
	case more == 1:
		out += "\n… 1 line more"
	case more > 1:
		out += fmt.Sprintf("\n… %d lines more", more)
	}
	return out
}

// escapes are the control sequences of terminals.
var escapes = regexp.MustCompile(`\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)|[()][0-9A-Za-z]|[@-_])`)

// Clean is a text that shows as it stands: valid UTF-8, without terminals' control
// sequences, without control characters but line breaks and tabs, and without
// characters that change the direction of others.
func Clean(text string) string {
	if plain(text) {
		return text
	}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = escapes.ReplaceAllString(strings.ToValidUTF8(text, "\uFFFD"), "")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r' || r == '\u2028' || r == '\u2029' || r == '\u0085':
			return '\n'
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\ufeff', r == '\u200b', r >= 0xE0000 && r < 0xE0080, r >= 0xfff9 && r <= 0xfffb:
			return -1
		}
		return r
	}, text)
}

// plain reports whether a text is of printable ASCII, line breaks and tabs.
func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < ' ' || c > '~') && c != '\n' && c != '\t' {
			return false
		}
	}
	return true
}

// Line is a text on one line, of so many bytes at most.
func Line(text string, most int) string {
	text = strings.Join(strings.Fields(Clean(Cut(text, 4*most))), " ")
	if len(text) > most {
		text = Cut(Cut(text, most-len("…"))+"…", most)
	}
	return text
}

// Fit is a text on one line, escaped, of so many characters at most, by UTF16.
func Fit(text string, most int, escape func(string) string) string {
	text = Line(text, len(text))
	out := escape(text)
	for UTF16(out) > most {
		text = Cut(text, min(len(text)*9/10, 4*most))
		out = escape(text + "…")
	}
	return out
}

// Cut is the beginning of a text, of so many bytes at most, and of whole
// characters.
func Cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	most = max(most, 0)
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// UTF16 is the length of a text as JavaScript counts it.
func UTF16(s string) (n int) {
	for _, r := range s {
		if n++; r > 0xFFFF {
			n++
		}
	}
	return n
}
