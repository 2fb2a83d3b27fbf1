// Package importer writes logscan's YAML from the rules of other programs: LoggiFly,
// Dozzle, logcheck, fail2ban.
//
// Whatever it reads is either in what it writes, or in its report with a reason, and in
// a comment where it would stand. Every rule and trigger is one that logscan accepts.
// Secrets don't come over: ${env:NAME} stands for each, and a comment says what it is.
//
// It reads files and nothing else; what it reads may be hostile, and its cost is bounded.
package importer

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"logscan/internal/rule"
	"logscan/internal/trigger"
)

// Sources are the programs whose rules can be read.
var Sources = []string{"loggifly", "dozzle", "logcheck", "fail2ban"}

// Options say how to read.
type Options struct {
	// StripSyslogHead has expressions of logcheck match lines without time, host and
	// program too.
	StripSyslogHead bool
}

// Left is something that did not come over.
type Left struct {
	At   string // FILE:LINE, or FILE
	What string
	Why  string
	Part bool // a rule came over without it
}

func (l Left) String() string { return fmt.Sprintf("%s: %s: %s", l.At, l.What, l.Why) }

// Result is what was made.
type Result struct {
	Document []byte // YAML
	Read     int    // rules of the other program, or expressions
	Over     int    // of these, those that are in Document
	Rules    int
	Triggers int
	Left     []Left
	Secrets  []string // names of variables
}

// Import reads the files and directories of a source. What is wrong with a file as a
// whole is an error.
func Import(source string, paths []string, o Options) (*Result, error) {
	d := newDraft(source, paths)
	var err error
	switch source {
	case "loggifly":
		err = d.eachFile(paths, d.loggifly)
	case "dozzle":
		err = d.eachFile(paths, d.dozzle)
	case "logcheck":
		err = d.logcheck(paths, o)
	case "fail2ban":
		err = d.fail2ban(paths)
	default:
		return nil, fmt.Errorf("%q can't be imported: it is one of %s", source, strings.Join(Sources, ", "))
	}
	if err != nil {
		return nil, err
	}
	return d.result()
}

// draft is a document that is being made.
type draft struct {
	source   string
	paths    []string
	read     int
	over     int
	about    []string // comments before all
	rules    []*entry[rule.Rule]
	triggers []*entry[trigger.Trigger]
	pending  []string // comments that stand before the next rule
	left     []Left
	names    map[string]bool // of rules and triggers
	next     map[string]int  // numbers of names that were taken
	secrets  []secret
	files    *files
}

// entry is a rule or a trigger, with the comments before it.
type entry[T any] struct {
	name  string
	notes []string
	value T
}

func newDraft(source string, paths []string) *draft {
	return &draft{source: source, paths: paths, names: map[string]bool{}, next: map[string]int{}, files: &files{}}
}

// lose notes what doesn't come over, and has a comment say so before the next rule.
func (d *draft) lose(at, what, why string) {
	l := Left{At: clean(at), What: clean(what), Why: clean(why)}
	d.left = append(d.left, l)
	d.pending = append(d.pending, "Not over: "+l.String())
}

// part notes what of a rule doesn't come over; the comment is one of its own.
func (d *draft) part(notes *[]string, at, what, why string) {
	l := Left{At: clean(at), What: clean(what), Why: clean(why), Part: true}
	if note := fmt.Sprintf("Without %s (line %s): %s", l.What, lineOf(l.At), l.Why); !slices.Contains(*notes, note) {
		*notes = append(*notes, note)
		if !slices.Contains(d.left, l) {
			d.left = append(d.left, l)
		}
	}
}

// lineOf is the line of FILE:LINE.
func lineOf(at string) string { return at[strings.LastIndexByte(at, ':')+1:] }

// rule adds a rule, under a name that is free, if logscan accepts it; else it is lost.
func (d *draft) rule(at, what string, r rule.Rule, notes []string) (name string, ok bool) {
	r.Name = d.free(r.Name)
	r.Enabled = r.State != rule.Off
	if err := rule.Fields.Validate(r); err != nil {
		d.lose(at, what, err.Error())
		return "", false
	}
	d.names[r.Name] = true
	e := &entry[rule.Rule]{name: r.Name, value: r}
	e.notes = append(e.notes, d.pending...)
	e.notes = append(e.notes, "From "+clean(at)+".")
	e.notes = append(e.notes, notes...)
	d.pending = nil
	d.rules = append(d.rules, e)
	return r.Name, true
}

const (
	maxNameText  = 60 // bytes of a name that is made of a text
	maxNameWords = 6
)

// free is a name like a text that neither a rule nor a trigger has yet: its first words,
// of which those with a letter alone, such as \d, are none.
func (d *draft) free(text string) string {
	var b strings.Builder
	words := strings.FieldsFunc(strings.ToLower(text), func(c rune) bool {
		return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("._-", c)
	})
	n := 0
	known := map[string]bool{}
	for _, w := range words {
		w = strings.Trim(w, "._-")
		says := len([]rune(w)) > 1 && strings.ContainsFunc(w, unicode.IsLetter) || len(w) > 2 && strings.Trim(w, "0123456789") == ""
		if w == "" || !says && len(words) > 1 || known[w] || b.Len()+len(w) > maxNameText || n == maxNameWords {
			continue
		}
		known[w] = true
		if n++; n > 1 {
			b.WriteByte('-')
		}
		b.WriteString(w)
	}
	base := strings.Trim(b.String(), "-.")
	if base == "" {
		base = d.source
	}
	name := base
	for d.names[name] {
		if d.next[base] == 0 {
			d.next[base] = 1
		}
		d.next[base]++
		name = fmt.Sprintf("%s-%d", base, d.next[base])
	}
	return name
}

// clean is a text as it may stand in a comment, on one line and not too long.
func clean(s string) string {
	const most = 400 // characters
	var b strings.Builder
	n := 0
	for _, c := range s {
		if n++; n > most {
			b.WriteString("…")
			break
		}
		if c == '\n' || c == '\t' || c == '\r' {
			c = ' '
		}
		if !unicode.IsPrint(c) {
			c = unicode.ReplacementChar
		}
		b.WriteRune(c)
	}
	return strings.TrimSpace(b.String())
}
