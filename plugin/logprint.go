package main

import (
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"logscan/internal/api"
)

const (
	matchColor = "1;31"
	breakColor = "36"
)

// nameColors tell containers apart.
var nameColors = []string{"36", "33", "32", "35", "34", "96", "93", "92", "95", "94"}

// logPrinter prints lines of several containers' logs.
type logPrinter struct {
	*cli
	colors map[string]string // by container
	width  int               // of names so far
}

func newLogPrinter(c *cli) logPrinter { return logPrinter{cli: c, colors: map[string]string{}} }

// prefix is what stands before what is of a container.
func (p *logPrinter) prefix(name, id, mark string) string {
	name = clean(name)
	p.width = max(p.width, runewidth.StringWidth(name))
	if p.colors[id] == "" {
		p.colors[id] = nameColors[len(p.colors)%len(nameColors)]
	}
	return p.paint(p.colors[id], runewidth.FillRight(name, p.width)+" "+mark) + " "
}

// text makes a container's text safe for a terminal.
func (p *logPrinter) text(s string) string {
	if p.tty {
		return cleanBut(s, "\t")
	}
	return s
}

func (p *logPrinter) paint(sgr, s string) string {
	if !p.color || s == "" {
		return s
	}
	return "\x1b[" + sgr + "m" + s + "\x1b[0m"
}

// time is what stands before a line where times are shown.
func (p *logPrinter) time(l api.SearchLine) string {
	return l.Time.Local().Format(time.RFC3339Nano) + " "
}

// matched is a line's text, with its matches marked.
func (p *logPrinter) matched(l api.SearchLine, spans [][]int) string {
	var b strings.Builder
	at := 0
	for _, s := range spans {
		if len(s) == 2 && at <= s[0] && s[0] < s[1] && s[1] <= len(l.Text) {
			b.WriteString(p.text(l.Text[at:s[0]]) + p.paint(matchColor, p.text(l.Text[s[0]:s[1]])))
			at = s[1]
		}
	}
	b.WriteString(p.text(l.Text[at:]))
	if l.Cut {
		b.WriteString("…")
	}
	return b.String()
}
