package main

import (
	"regexp"
	"slices"
	"strings"

	"github.com/mattn/go-runewidth"
)

// proseWidth is how many columns a line of prose has at most: longer ones are
// hard to read, however wide the terminal is.
const proseWidth = 100

// Looks of text on a terminal.
const (
	bold = "1"
	code = "36"
)

// markdown lays out a page of the manual for a terminal: headings, paragraphs,
// lists, tables and code, which is all that the pages have.
type markdown struct {
	width int  // columns of the terminal
	color bool // without it, the marks stay
	b     strings.Builder
}

// renderMarkdown returns a page's text as lines of at most width columns, but for
// code and for tables that can't be as narrow as that.
func renderMarkdown(text string, width int, color bool) string {
	m := &markdown{width: width, color: color}
	for _, block := range blocks(text) {
		if m.b.Len() > 0 {
			m.b.WriteByte('\n')
		}
		m.block(block)
	}
	return m.b.String()
}

var (
	commentLine = regexp.MustCompile(`^<!--.*-->$`)
	listItem    = regexp.MustCompile(`^( *)([-*]|\d+\.) +`)
)

// blocks parts a page where there are blank lines outside code.
func blocks(text string) (all [][]string) {
	var block []string
	fenced := false
	for _, line := range strings.Split(text, "\n") {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fence {
			fenced = !fenced
		}
		switch {
		case !fenced && !fence && commentLine.MatchString(line):
		case fenced || line != "":
			block = append(block, line)
		case len(block) > 0:
			all = append(all, block)
			block = nil
		}
	}
	if len(block) > 0 {
		all = append(all, block)
	}
	return all
}

func (m *markdown) block(lines []string) {
	width := min(m.width, proseWidth)
	switch first := lines[0]; {
	case strings.HasPrefix(first, "#"):
		m.heading(first)
		if len(lines) > 1 {
			m.block(lines[1:])
		}
	case strings.HasPrefix(first, "```"):
		for _, line := range lines[1 : len(lines)-1] {
			m.code(line)
		}
	case strings.HasPrefix(first, "    "):
		for _, line := range lines {
			m.code(line[min(4, len(line)):])
		}
	case strings.HasPrefix(first, "|"):
		m.table(lines)
	case listItem.MatchString(first):
		for len(lines) > 0 {
			n := 1
			for n < len(lines) && !listItem.MatchString(lines[n]) {
				n++
			}
			mark := listItem.FindString(lines[0])
			lines[0] = lines[0][len(mark):]
			m.lines(m.wrap(lines[:n], width-len(mark)), mark, strings.Repeat(" ", len(mark)))
			lines = lines[n:]
		}
	default:
		m.lines(m.wrap(lines, width), "", "")
	}
}

func (m *markdown) heading(line string) {
	if m.color {
		line = strings.TrimLeft(line, "# ")
	}
	m.b.WriteString(m.style(line, bold) + "\n")
}

func (m *markdown) code(line string) {
	if line == "" {
		m.b.WriteByte('\n')
		return
	}
	if command, ok := strings.CutPrefix(line, "$ "); ok {
		line = "$ " + m.style(command, bold)
	}
	m.b.WriteString("    " + line + "\n")
}

func (m *markdown) lines(lines []string, first, next string) {
	for i, line := range lines {
		if i > 0 {
			first = next
		}
		m.b.WriteString(first + line + "\n")
	}
}

func (m *markdown) style(text, sgr string) string {
	if !m.color || sgr == "" {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

// minCell is how narrow a table's column may become.
const minCell = 10

// table lays out a table; cells that are too wide for the terminal are wrapped.
func (m *markdown) table(lines []string) {
	var rows [][]string
	var widths []int
	for i, line := range lines {
		if i == 1 {
			continue // of dashes
		}
		cells := splitCells(line)
		rows = append(rows, cells)
		for j, cell := range cells {
			if j == len(widths) {
				widths = append(widths, 0)
			}
			for _, line := range m.wrap([]string{cell}, 1<<20) {
				widths[j] = max(widths[j], columns(line))
			}
		}
	}
	sum := 3 * (len(widths) - 1)
	for _, w := range widths {
		sum += w
	}
	for ; sum > m.width && slices.Max(widths) > minCell; sum-- {
		widest := 0
		for j, w := range widths {
			if w >= widths[widest] {
				widest = j
			}
		}
		widths[widest]--
	}
	laid := make([][][]string, len(rows)) // row, cell, line
	for i, row := range rows {
		for j, cell := range row {
			lines := m.wrap([]string{cell}, widths[j])
			laid[i] = append(laid[i], lines)
			for _, line := range lines { // a word may be wider
				widths[j] = max(widths[j], columns(line))
			}
		}
	}
	for i, cells := range laid {
		if i == 0 && strings.Join(rows[0], "") == "" {
			continue // it has no heads
		}
		height := 1
		for _, lines := range cells {
			height = max(height, len(lines))
		}
		for n := range height {
			var b strings.Builder
			for j, lines := range cells {
				text := ""
				if n < len(lines) {
					text = lines[n]
				}
				pad := strings.Repeat(" ", widths[j]-columns(text)+3)
				if i == 0 {
					text = m.style(text, bold)
				}
				b.WriteString(text + pad)
			}
			m.b.WriteString(strings.TrimRight(b.String(), " ") + "\n")
		}
	}
}

// splitCells parts a table's row.
func splitCells(line string) (cells []string) {
	line = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "|"), "|")
	var cell strings.Builder
	for i := 0; i < len(line); i++ {
		switch {
		case strings.HasPrefix(line[i:], `\|`):
			cell.WriteByte('|')
			i++
		case line[i] == '|':
			cells = append(cells, strings.TrimSpace(cell.String()))
			cell.Reset()
		default:
			cell.WriteByte(line[i])
		}
	}
	return append(cells, strings.TrimSpace(cell.String()))
}

var sgr = regexp.MustCompile("\x1b\\[[0-9;]*m")

// columns is how many columns of a terminal a text takes, its looks aside.
func columns(s string) int { return runewidth.StringWidth(sgr.ReplaceAllString(s, "")) }

// inline are the marks within a paragraph: code, bold text, a link, and a
// character that would be a mark without the backslash.
var inline = regexp.MustCompile("`([^`]+)`" + `|\*\*(.+?)\*\*|\[([^\]]+)\]\(([^)\s]+)\)|\\([[:punct:]])`)

// wrap lays out a paragraph in lines of at most width columns, words that are
// wider aside.
func (m *markdown) wrap(lines []string, width int) []string {
	var words []string
	word := ""
	add := func(text, look string) {
		for i, part := range strings.Split(text, " ") {
			if i > 0 && word != "" {
				words = append(words, word)
				word = ""
			}
			if part != "" {
				word += m.style(part, look)
			}
		}
	}
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	text := strings.Join(lines, " ")
	for text != "" {
		at := inline.FindStringSubmatchIndex(text)
		if at == nil {
			break
		}
		add(text[:at[0]], "")
		group := func(n int) string { return text[at[2*n]:at[2*n+1]] }
		switch {
		case at[2] >= 0 && m.color:
			add(group(1), code)
		case at[2] >= 0:
			add("`"+group(1)+"`", "")
		case at[4] >= 0:
			add(strings.ReplaceAll(group(2), "`", ""), bold)
		case at[6] >= 0:
			add(strings.ReplaceAll(group(3), "`", ""), "")
			add(linkTarget(group(4)), "")
		default:
			add(group(5), "")
		}
		text = text[at[1]:]
	}
	add(text+" ", "")

	var out []string
	line := ""
	for _, w := range words {
		switch {
		case line == "":
			line = w
		case columns(line)+1+columns(w) > width:
			out = append(out, line)
			line = w
		default:
			line += " " + w
		}
	}
	return append(out, line)
}

// linkTarget is what is to be said of where a link goes.
func linkTarget(to string) string {
	if strings.Contains(to, "://") {
		return " (" + to + ")"
	}
	page, _, _ := strings.Cut(to, "#")
	if topic, ok := strings.CutSuffix(page, ".md"); ok && !strings.Contains(topic, "/") {
		return " (help " + topic + ")"
	}
	return ""
}
