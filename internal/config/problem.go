package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Place is where in a file something stands; lines and columns count from 1, and are 0
// where that isn't known.
type Place struct {
	File         string
	Line, Column int
}

func (p Place) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Declared is the place as it is kept with what is declared there: FILE:LINE.
func (p Place) Declared() string { return Place{p.File, p.Line, 0}.String() }

// Problem is one thing that is wrong.
type Problem struct {
	Place
	Text   string
	Source string // the line there; "" where it may hold a secret, or there is none
}

func (p Problem) String() string {
	s := p.Place.String() + ": " + p.Text
	if p.Source != "" {
		s += "\n    " + p.Source
	}
	return s
}

// Problems are all things that are wrong with files. It is an error where there are any.
type Problems struct{ List []Problem }

// maxProblems is how many are told.
const maxProblems = 50

func (p *Problems) Error() string {
	var out []string
	for k, one := range p.List {
		if k == maxProblems {
			out = append(out, fmt.Sprintf("and %d more", len(p.List)-k))
			break
		}
		out = append(out, one.String())
	}
	return strings.Join(out, "\n")
}

func (p *Problems) add(at Place, format string, args ...any) {
	p.List = append(p.List, Problem{Place: at, Text: fmt.Sprintf(format, args...)})
}

// err is nil where nothing is wrong.
func (p *Problems) err() error {
	if len(p.List) == 0 {
		return nil
	}
	slices.SortStableFunc(p.List, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return p
}

// maxSource is how much of a line is shown, in bytes.
const maxSource = 120

// show adds to problems the lines that they are about, as far as none may hold a secret.
func (p *Problems) show(files []File, secret map[string][][2]int) {
	for k := range p.List {
		one := &p.List[k]
		for _, f := range files {
			if f.Name != one.File || one.Line == 0 || within(secret[f.Name], one.Line) {
				continue
			}
			lines := strings.SplitN(string(f.Data), "\n", one.Line+1)
			if one.Line > len(lines) {
				continue
			}
			line := strings.TrimSpace(lines[one.Line-1])
			if strings.Contains(line, "://") {
				continue
			}
			if len(line) > maxSource {
				line = strings.ToValidUTF8(line[:maxSource], "") + "…"
			}
			one.Source = printable(line)
		}
	}
}

// within reports whether a line is in one of ranges.
func within(ranges [][2]int, line int) bool {
	return slices.ContainsFunc(ranges, func(r [2]int) bool { return line >= r[0] && line <= r[1] })
}

// printable is a text without what controls a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '\ufffd'
		}
		return r
	}, s)
}
