package main

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/template"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
	"github.com/spf13/cobra"

	"logscan/internal/event"
)

// cellMax is how many columns of a terminal a cell that holds free text may
// take, unless --no-trunc.
const cellMax = 48

// column is a column of a table of T.
type column[T any] struct {
	head  string
	cell  func(T) string
	width int                  // at least so wide, where rows are printed as they come
	cut   bool                 // shorten it unless --no-trunc
	paint func(T) (sgr string) // colour on a terminal; may be nil
}

// listing is how a command that lists things was asked to do so.
type listing struct {
	format  string
	quiet   bool
	noTrunc bool
}

func (l *listing) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&l.format, "format", "", `Output: "table", "json", "table TEMPLATE" or a Go TEMPLATE`)
	cmd.Flags().BoolVarP(&l.quiet, "quiet", "q", false, "Only print ids")
	cmd.Flags().BoolVar(&l.noTrunc, "no-trunc", false, "Don't shorten anything")
}

// printer writes rows of T as a listing asks.
type printer[T any] struct {
	out     io.Writer
	tty     bool
	color   bool
	columns []column[T]
	id      func(T) string
	l       listing

	tmpl   *template.Template
	table  bool
	widths []int
}

// newPrinter checks the format.
func newPrinter[T any](c *cli, l listing, columns []column[T], id func(T) string) (*printer[T], error) {
	p := &printer[T]{out: c.out, tty: c.tty, color: c.color, columns: columns, id: id, l: l}
	format := strings.TrimSpace(l.format)
	switch {
	case l.quiet:
		return p, nil
	case format == "" || format == "table":
		p.table = true
		return p, nil
	case format == "json":
		format = "{{json .}}"
	}
	if rest, ok := strings.CutPrefix(format, "table "); ok {
		p.table, format = true, rest
	}
	format = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(format)
	t, err := template.New("").Funcs(templateFuncs(p.tty)).Parse(format)
	if err != nil {
		return nil, &usageError{err: advise(`for example --format '{{.ID}} {{.Name}}'`, "--format: %s", strings.TrimPrefix(err.Error(), "template: "))}
	}
	switch {
	case p.table:
		cleanActions(t, clean)
	case p.tty:
		cleanActions(t, cleanText)
	}
	// A wrong name shows also where there is nothing to list.
	var zero T
	if err := t.Execute(io.Discard, zero); err != nil && strings.Contains(err.Error(), "can't evaluate field") {
		return nil, templateProblem[T](err)
	}
	p.tmpl = t
	return p, nil
}

// templateFuncs are those of docker's --format that make sense here.
func templateFuncs(tty bool) template.FuncMap {
	return template.FuncMap{
		"json": func(v any) (string, error) {
			var b strings.Builder
			enc := json.NewEncoder(&b)
			enc.SetEscapeHTML(false)
			err := enc.Encode(v)
			s := strings.TrimSuffix(b.String(), "\n")
			if tty {
				s = escapeJSON(s)
			}
			return s, err
		},
		"join":  strings.Join,
		"lower": strings.ToLower,
		"split": strings.Split,
		"title": func(s string) string {
			r, n := utf8.DecodeRuneInString(s)
			return string(unicode.ToTitle(r)) + s[n:]
		},
		"upper": strings.ToUpper,
		"truncate": func(s string, n int) string {
			if r := []rune(s); n >= 0 && len(r) > n {
				return string(r[:n])
			}
			return s
		},
	}
}

// print writes all items.
func (p *printer[T]) print(items []T) error {
	if p.tmpl != nil && p.table {
		return p.templateTable(items)
	}
	if p.table {
		rows := [][]string{p.head()}
		for _, it := range items {
			rows = append(rows, p.row(it))
		}
		p.measure(rows)
		if err := p.line(rows[0], nil); err != nil {
			return err
		}
		for i, it := range items {
			if err := p.line(rows[i+1], &it); err != nil {
				return err
			}
		}
		return nil
	}
	for _, it := range items {
		if err := p.one(it); err != nil {
			return err
		}
	}
	return nil
}

// begin prepares for rows that come one by one, the first of which are known.
func (p *printer[T]) begin(first []T) error {
	if !p.table {
		return p.print(first)
	}
	if p.tmpl != nil {
		return p.templateTable(first)
	}
	p.widths = make([]int, len(p.columns))
	for i, c := range p.columns {
		p.widths[i] = c.width
	}
	return p.print(first)
}

// one writes one item.
func (p *printer[T]) one(it T) error {
	switch {
	case p.l.quiet:
		id := p.id(it)
		if p.tty {
			id = clean(id)
		}
		_, err := fmt.Fprintln(p.out, id)
		return err
	case p.tmpl != nil:
		var b strings.Builder
		if err := p.tmpl.Execute(&b, it); err != nil {
			return templateProblem[T](err)
		}
		if p.table {
			row := strings.Split(b.String(), "\t")
			p.measure([][]string{row})
			return p.line(row, nil)
		}
		_, err := fmt.Fprintln(p.out, b.String())
		return err
	}
	row := p.row(it)
	p.measure([][]string{row})
	return p.line(row, &it)
}

// templateProblem names the fields there are.
func templateProblem[T any](err error) error {
	var fields []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		if !f.Anonymous {
			fields = append(fields, "."+f.Name)
		}
	}
	msg := err.Error()
	if i := strings.Index(msg, "<"); i >= 0 {
		msg = msg[i:]
	}
	return &usageError{err: advise("one of "+strings.Join(fields, " "), "--format: %s", msg)}
}

// templateTable aligns what a template gives, cell by tab.
func (p *printer[T]) templateTable(items []T) error {
	var rows [][]string
	var b strings.Builder
	heads := map[string]string{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		heads[f.Name] = headOf(f.Name)
	}
	// A template that looks inside a field has no heads.
	if p.tmpl.Execute(&b, heads) == nil {
		rows = append(rows, strings.Split(b.String(), "\t"))
	}
	for _, it := range items {
		b.Reset()
		if err := p.tmpl.Execute(&b, it); err != nil {
			return templateProblem[T](err)
		}
		rows = append(rows, strings.Split(b.String(), "\t"))
	}
	p.measure(rows)
	for _, r := range rows {
		if err := p.line(r, nil); err != nil {
			return err
		}
	}
	return nil
}

// headOf turns ActionURL into ACTION URL.
func headOf(field string) string {
	var b strings.Builder
	lower := false
	for _, r := range field {
		if unicode.IsUpper(r) && lower {
			b.WriteByte(' ')
		}
		lower = unicode.IsLower(r)
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}

func (p *printer[T]) head() []string {
	row := make([]string, len(p.columns))
	for i, c := range p.columns {
		row[i] = c.head
	}
	return row
}

func (p *printer[T]) row(it T) []string {
	row := make([]string, len(p.columns))
	for i, c := range p.columns {
		row[i] = clean(c.cell(it))
		if c.cut && !p.l.noTrunc {
			row[i] = runewidth.Truncate(row[i], cellMax, "…")
		}
	}
	return row
}

func (p *printer[T]) measure(rows [][]string) {
	for _, r := range rows {
		for i, cell := range r {
			if i == len(p.widths) {
				p.widths = append(p.widths, 0)
			}
			p.widths[i] = max(p.widths[i], runewidth.StringWidth(cell))
		}
	}
}

func (p *printer[T]) line(row []string, it *T) error {
	var b strings.Builder
	for i, cell := range row {
		sgr := ""
		if p.color && it != nil && p.columns[i].paint != nil {
			sgr = p.columns[i].paint(*it)
		}
		if sgr != "" {
			b.WriteString("\x1b[" + sgr + "m")
		}
		b.WriteString(cell)
		if sgr != "" {
			b.WriteString("\x1b[0m")
		}
		if i < len(row)-1 {
			b.WriteString(strings.Repeat(" ", p.widths[i]-runewidth.StringWidth(cell)+3))
		}
	}
	_, err := fmt.Fprintln(p.out, strings.TrimRight(b.String(), " "))
	return err
}

// severityColor is how a severity looks on a terminal.
func severityColor(severity string) string {
	switch event.Severity(severity) {
	case event.Critical:
		return "1;31"
	case event.Error:
		return "31"
	case event.Warn:
		return "33"
	}
	return ""
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
