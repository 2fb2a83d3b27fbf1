package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/docker/go-units"

	"logscan/internal/api"
)

// groupMost is how many lines are held back that may belong together.
const groupMost = 2000

// searchPrinter shows what a search finds: lines as grep and docker compose do, or as a
// format says.
type searchPrinter struct {
	logPrinter
	flags *searchFlags
	rows  *printer[api.SearchHit] // nil without a format
	begun bool

	group   []groupLine // lines of one container, by their offset, that aren't printed yet
	of      api.SearchHit
	grouped bool // one was printed

	progress bool // a line that tells of it is shown
	last     api.SearchProgress
	lastAt   time.Time
	startAt  time.Time
}

// groupLine is a line of a log, with matches where it is a hit.
type groupLine struct {
	api.SearchLine
	hit   bool
	spans [][]int
}

func newSearchPrinter(c *cli, s *searchFlags) (*searchPrinter, error) {
	p := &searchPrinter{logPrinter: newLogPrinter(c), flags: s, startAt: time.Now()}
	if s.format == "" {
		return p, nil
	}
	var err error
	p.rows, err = newPrinter(c, listing{format: s.format}, searchColumns, searchName)
	return p, err
}

// record shows one record of the answer.
func (p *searchPrinter) record(r api.SearchRecord) error {
	switch {
	case r.Progress != nil:
		p.tell(*r.Progress)
		return nil
	case r.Container != nil:
		return p.found(*r.Container)
	case r.Hit == nil:
		return nil // of a newer plugin
	}
	p.wipe()
	if p.rows != nil {
		if err := p.head(); err != nil {
			return err
		}
		return p.rows.one(*r.Hit)
	}
	return p.hit(*r.Hit)
}

// head prints a table's head, once.
func (p *searchPrinter) head() error {
	if p.begun || !p.rows.table {
		return nil
	}
	p.begun = true
	return p.rows.begin(nil)
}

// found shows a container that has hits.
func (p *searchPrinter) found(c api.SearchContainer) error {
	p.wipe()
	name := nameOr(c.Container, c.ContainerID)
	if p.flags.list {
		if p.tty {
			name = clean(name)
		}
		_, err := fmt.Fprintln(p.out, name)
		return err
	}
	_, err := fmt.Fprintf(p.out, "%s%d\n", p.prefix(name, c.ContainerID, "|"), c.Hits)
	return err
}

// hit shows a hit, or adds it to those around it.
func (p *searchPrinter) hit(h api.SearchHit) error {
	if p.flags.Before+p.flags.After == 0 && !p.flags.Records {
		return p.line(h, groupLine{h.SearchLine, true, h.Spans})
	}
	var lines []groupLine
	for _, l := range h.Before {
		lines = append(lines, groupLine{SearchLine: l})
	}
	for _, l := range h.Record {
		lines = append(lines, groupLine{SearchLine: l, hit: true})
	}
	if k := slices.IndexFunc(lines, func(l groupLine) bool { return l.hit && l.Offset == h.Offset }); k >= 0 {
		lines[k].spans = h.Spans
	} else {
		lines = append(lines, groupLine{h.SearchLine, true, h.Spans})
	}
	for _, l := range h.After {
		lines = append(lines, groupLine{SearchLine: l})
	}
	if len(p.group) > 0 && (p.of.ContainerID != h.ContainerID || len(p.group) > groupMost || !overlap(p.group, lines)) {
		if err := p.flush(); err != nil {
			return err
		}
	}
	p.of = h
	for _, l := range lines {
		k, found := slices.BinarySearchFunc(p.group, l.Offset, func(g groupLine, off int64) int { return cmp.Compare(g.Offset, off) })
		switch {
		case !found:
			p.group = slices.Insert(p.group, k, l)
		case l.hit:
			p.group[k] = l
		}
	}
	return nil
}

// overlap reports whether two runs of lines have one in common.
func overlap(group, lines []groupLine) bool {
	return slices.ContainsFunc(lines, func(l groupLine) bool {
		_, found := slices.BinarySearchFunc(group, l.Offset, func(g groupLine, off int64) int { return cmp.Compare(g.Offset, off) })
		return found
	})
}

// flush prints the lines that were held back.
func (p *searchPrinter) flush() error {
	if len(p.group) == 0 {
		return nil
	}
	if p.grouped {
		if _, err := fmt.Fprintln(p.out, p.paint(breakColor, "--")); err != nil {
			return err
		}
	}
	p.grouped = true
	for _, l := range p.group {
		if err := p.line(p.of, l); err != nil {
			return err
		}
	}
	p.group = p.group[:0]
	return nil
}

// line prints a line of a log.
func (p *searchPrinter) line(of api.SearchHit, l groupLine) error {
	mark := "-"
	if l.hit {
		mark = "|"
	}
	var b strings.Builder
	b.WriteString(p.prefix(searchName(of), of.ContainerID, mark))
	if p.flags.times {
		b.WriteString(p.time(l.SearchLine))
	}
	b.WriteString(p.matched(l.SearchLine, l.spans))
	_, err := fmt.Fprintln(p.out, b.String())
	return err
}

// tell shows how far the search is, where somebody watches.
func (p *searchPrinter) tell(now api.SearchProgress) {
	if !p.errTTY {
		return
	}
	at := time.Now()
	since := p.lastAt
	if since.IsZero() {
		since = p.startAt
	}
	text := fmt.Sprintf("%d hits", now.Hits)
	if speed := float64(now.Bytes-p.last.Bytes) / at.Sub(since).Seconds(); speed > 0 && now.Total > 0 {
		left := time.Duration(float64(now.Total-now.Bytes) / speed * float64(time.Second))
		text = fmt.Sprintf("%d %%, %s/s, %s, %s left", 100*now.Bytes/now.Total, units.HumanSize(speed), text, left.Round(time.Second))
	}
	fmt.Fprintf(p.err, "\r\x1b[K%s", text)
	p.progress, p.last, p.lastAt = true, now, at
}

// wipe takes the line away that tells how far the search is.
func (p *searchPrinter) wipe() {
	if p.progress {
		fmt.Fprint(p.err, "\r\x1b[K")
		p.progress = false
	}
}

// end prints what was held back: an answer is over.
func (p *searchPrinter) end() error {
	p.wipe()
	p.last, p.lastAt, p.startAt = api.SearchProgress{}, time.Time{}, time.Now()
	if p.rows != nil {
		return p.head()
	}
	return p.flush()
}
