package importer

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"logscan/internal/event"
	"logscan/internal/importer/regex"
	"logscan/internal/rule"
)

// logcheck reads files and directories of rules of logcheck: extended regular
// expressions, one a line. Source of the format: logcheck(8) and its README; the program
// gives the lines to grep -E -f.
//
// What a list is for is said by the name of its directory. Expressions of cracking.d and
// violations.d find lines, less those that cracking.ignore.d and violations.ignore.d
// find. Those of ignore.d.paranoid, ignore.d.server and ignore.d.workstation say which
// lines are nothing new; all others are told. A rule can't have so many. But lines name
// their program, and so do the expressions: there is a rule for each program, which
// ignores what may be one of its lines, and one for all programs that no list knows.
func (d *draft) logcheck(paths []string, o Options) error {
	l := &logcheck{draft: d, strip: o.StripSyslogHead, listed: map[string][]expression{}}
	for _, path := range paths {
		all, err := list(path, func(p string) bool { return logcheckName.MatchString(filepath.Base(p)) })
		if err != nil {
			return err
		}
		for _, file := range all {
			if err := l.file(file); err != nil {
				return err
			}
		}
	}
	if d.read == 0 {
		return fmt.Errorf("there is no expression in %s", clean(strings.Join(paths, " ")))
	}
	l.found("cracking.d", "cracking.ignore.d", event.Critical)
	l.found("violations.d", "violations.ignore.d", event.Error)
	l.unknown()
	return nil
}

// logcheckName is what run-parts takes for a file's name: no backups.
var logcheckName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

type logcheck struct {
	*draft
	strip  bool
	pack   packer
	listed map[string][]expression // by the kind of list
}

// expression is a line of a file.
type expression struct {
	at, file string
	kind     string
	pattern  string    // RE2
	programs []program // whose lines it may match
}

// lists are the kinds, by the names of their directories.
var lists = []string{"cracking.d", "cracking.ignore.d", "violations.d", "violations.ignore.d", "ignore.d.paranoid", "ignore.d.server", "ignore.d.workstation"}

// file reads a file of expressions.
func (l *logcheck) file(path string) error {
	b, err := l.files.read(path, true)
	if err != nil {
		return err
	}
	kind := "ignore.d.server"
	full, err := filepath.Abs(path)
	if err != nil {
		full = path
	}
	parts := strings.Split(filepath.ToSlash(full), "/")
	for _, part := range slices.Backward(parts[:len(parts)-1]) {
		if slices.Contains(lists, part) {
			kind = part
			break
		}
	}
	for i, line := range bytes.Split(b, []byte("\n")) {
		text := string(line)
		if strings.TrimSpace(text) == "" || text[0] == '#' {
			continue
		}
		if l.read++; l.read > maxRead {
			return l.bounded()
		}
		at := fmt.Sprintf("%s:%d", path, i+1)
		node, notes, err := regex.ERE(text)
		if err == nil {
			if l.strip {
				optionalHead(node)
			}
			err = rule.CheckPattern(node.String())
		}
		if err != nil {
			l.lose(at, kind, "the expression "+err.Error())
			continue
		}
		e := expression{at: at, file: filepath.Base(path), kind: kind, pattern: node.String(), programs: anyProgram}
		if !l.strip {
			e.programs = programs(node)
		}
		for _, known := range l.listed[kind] {
			if known.pattern == e.pattern && strings.HasPrefix(kind, "ignore.d.") {
				e.pattern = "" // it is there already
				break
			}
		}
		for _, n := range notes {
			l.pending = append(l.pending, clean(at+": "+n))
		}
		l.over++
		if e.pattern != "" {
			l.listed[kind] = append(l.listed[kind], e)
		}
	}
	return nil
}

// found makes a rule of each expression that finds lines.
func (l *logcheck) found(kind, ignoring string, severity event.Severity) {
	for _, e := range l.listed[kind] {
		r := rule.New()
		r.Name = "logcheck-" + strings.TrimSuffix(kind, ".d") + "-" + e.file
		r.Pattern, r.Severity = e.pattern, severity
		var ignore []string
		for _, i := range l.listed[ignoring] {
			if e.meets(i) {
				ignore = append(ignore, i.pattern)
			}
		}
		if r.Ignore = l.factored(ignore); len(r.Ignore) > rule.MaxConditions {
			l.over--
			l.lose(e.at, kind, fmt.Sprintf("the %d expressions of %s are more than a rule can ignore", len(ignore), ignoring))
		} else if _, ok := l.rule(e.at, kind, r, nil); !ok {
			l.over--
		}
	}
}

// meets reports whether two expressions may match the same line.
func (e expression) meets(o expression) bool {
	for _, a := range e.programs {
		for _, b := range o.programs {
			if a.meets(b) {
				return true
			}
		}
	}
	return false
}

func (p program) meets(o program) bool {
	switch {
	case p.open && o.open:
		return strings.HasPrefix(p.name, o.name) || strings.HasPrefix(o.name, p.name)
	case p.open:
		return strings.HasPrefix(o.name, p.name)
	case o.open:
		return strings.HasPrefix(p.name, o.name)
	}
	return p.name == o.name
}

// unknown makes the rules for lines that no list knows.
func (l *logcheck) unknown() {
	var ignore []expression
	for _, kind := range lists {
		if strings.HasPrefix(kind, "ignore.d.") {
			ignore = append(ignore, l.listed[kind]...)
		}
	}
	if len(ignore) == 0 {
		return
	}
	l.about = append(l.about, "",
		"The lists of ignore.d.* are rules in shadow: what they find is recorded, and nobody is told.",
		"Look at it for a while, and then set state: on.")
	if l.strip {
		l.eachFileAlone(ignore)
		return
	}
	var names []string
	known := map[string]bool{}
	for _, e := range ignore {
		for _, p := range e.programs {
			if !p.open && p.name != "" && !known[p.name] {
				known[p.name] = true
				names = append(names, p.name)
			}
		}
	}
	slices.Sort(names)
	for _, kind := range []string{"cracking.d", "violations.d"} { // these are told already
		ignore = append(ignore, l.listed[kind]...)
	}
	used := make([]bool, len(ignore)) // by a rule that came over
	lost := make([]bool, len(ignore))
	one := func(r rule.Rule, takes func(expression) bool, more []string, what string) {
		var patterns []string
		from := ""
		for _, e := range ignore {
			if takes(e) {
				patterns = append(patterns, e.pattern)
				if from == "" || len(e.programs) == 1 && !e.programs[0].open {
					from = e.at
				}
			}
		}
		ok := l.others(from, r, append(patterns, more...), what)
		for i, e := range ignore {
			if takes(e) {
				used[i], lost[i] = used[i] || ok, lost[i] || !ok
			}
		}
	}
	var rest []string
	for _, name := range names {
		r := rule.New()
		begin := head + regex.Quote(name, false) + behindProgram
		r.Name, r.Pattern = "logcheck-"+name, "(?P<line>"+begin+".*)"
		rest = append(rest, begin)
		one(r, func(e expression) bool { return e.meets(expression{programs: []program{{name, false}}}) }, nil, "Lines of "+name+" that no list of logcheck knows.")
	}
	r := rule.New()
	r.Name, r.Pattern = "logcheck-other", "(?P<line>^.*)"
	one(r, func(e expression) bool {
		return slices.ContainsFunc(e.programs, func(p program) bool { return p.open })
	}, rest, "Lines of programs of which no list of logcheck knows any.")
	for i, e := range ignore {
		if lost[i] && strings.HasPrefix(e.kind, "ignore.d.") {
			l.over--
		}
	}
}

// others adds a rule for lines that none of some expressions matches; what its ignore
// has no room for are conditions on the line.
func (l *logcheck) others(at string, r rule.Rule, patterns []string, what string) bool {
	if at == "" {
		at = strings.Join(l.paths, " ")
	}
	all := l.factored(patterns)
	if len(all) > 2*rule.MaxConditions {
		l.lose(at, r.Name, fmt.Sprintf("the %d expressions that it would ignore are more than a rule can have", len(patterns)))
		return false
	}
	r.Ignore = all[:min(len(all), rule.MaxConditions)]
	for _, p := range all[len(r.Ignore):] {
		r.Where = append(r.Where, `$line !~ "`+strings.ReplaceAll(p, `"`, `\"`)+`"`)
	}
	if len(r.Where) == 0 { // nobody needs the line's name
		r.Pattern = strings.TrimSuffix(strings.TrimPrefix(r.Pattern, "(?P<line>"), ".*)")
	}
	r.State = rule.Shadow
	_, ok := l.rule(at, r.Name, r, []string{what})
	return ok
}

// eachFileAlone makes a rule of each file of what is nothing new: without heads, lines
// don't say which program wrote them.
func (l *logcheck) eachFileAlone(ignore []expression) {
	var names []string
	of := map[string][]expression{}
	for _, e := range ignore {
		if of[e.file] == nil {
			names = append(names, e.file)
		}
		of[e.file] = append(of[e.file], e)
	}
	for _, name := range names {
		r := rule.New()
		r.Name, r.Pattern = "logcheck-"+name, "(?P<line>^.*)"
		var patterns []string
		for _, e := range of[name] {
			patterns = append(patterns, e.pattern)
		}
		if !l.others(of[name][0].at, r, patterns, "Say here by names, images or labels for which containers it is: it finds every line that its list doesn't know.") {
			l.over -= len(patterns)
		}
	}
}

// factored are expressions joined, those with the same begin behind it.
func (l *logcheck) factored(patterns []string) (all []string) {
	with := map[string][]string{}
	var begins []string
	for _, p := range patterns {
		begin := ""
		if m := headOf.FindString(p); m != "" && !strings.Contains(topLevel(p), "|") {
			begin = m
		}
		if with[begin] == nil {
			begins = append(begins, begin)
		}
		with[begin] = append(with[begin], p[len(begin):])
	}
	var parts []string
	for _, b := range begins {
		parts = append(parts, l.pack.join(b, with[b])...)
	}
	return l.pack.join("", parts)
}

// headOf is the begin of an expression about lines of syslog: time and host.
var headOf = regexp.MustCompile(`^\^\(\?:(?:\\w|\[\[:alpha:\]\])\{3\} [^|]*\|[^|)]*\) \[\._\[:alnum:\]\\-\]\+ `)

// topLevel is an expression without what stands in groups and brackets.
func topLevel(p string) string {
	var b strings.Builder
	depth, class := 0, false
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '\\':
			i++
		case class:
			if strings.HasPrefix(p[i:], "[:") {
				i += strings.Index(p[i:], ":]") + 1
			} else {
				class = c != ']'
			}
		case c == '[':
			class = true
		case c == '(':
			depth++
		case c == ')':
			depth--
		case depth == 0:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Lines of syslog begin with a time, as syslog has it or ISO 8601, and a host.
const (
	head          = `^(?:\w{3} [ :0-9]{11}|[0-9T:.+\-]{32}) [._[:alnum:]\-]+ `
	behindProgram = `(?:[^[:alnum:]_\-]|$)`
)

// heads are those of expressions that match nothing else than head does.
var heads = []string{head, `^(?:[[:alpha:]]{3} [ :0-9]{11}|[0-9T:.+\-]{32}) [._[:alnum:]\-]+ `, `^\w{3} [ :0-9]{11} [._[:alnum:]\-]+ `}

// program is the first part of the name of a program, as it stands behind the head; open
// reports that more may follow.
type program struct {
	name string
	open bool
}

// anyProgram is what is known of an expression that says nothing of it.
var anyProgram = []program{{"", true}}

// isProgram reports whether a character may stand in such a part.
func isProgram(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

// programs are those whose lines an expression matches.
func programs(n *regex.Node) []program {
	if n.Op != regex.Concat || n.Subs[0].Op != regex.Begin {
		return anyProgram
	}
	at := headEnd(n.Subs)
	if at == 0 {
		return anyProgram
	}
	all := firstParts(n.Subs[at:], "")
	if len(all) > maxPrograms {
		return anyProgram
	}
	return all
}

// headEnd is the number of nodes of the head of a line of syslog; 0 where an expression
// has none, or another one.
func headEnd(subs []*regex.Node) int {
	for i := 1; i < len(subs) && i < 8; i++ {
		var b strings.Builder
		for _, s := range subs[:i+1] {
			b.WriteString(s.String())
		}
		if slices.Contains(heads, strings.ReplaceAll(b.String(), "[:digit:]", "0-9")) {
			return i + 1
		}
	}
	return 0
}

const maxPrograms = 16

// firstParts are the names with which what nodes match may begin, behind a text.
func firstParts(nodes []*regex.Node, before string) (all []program) {
	open := []program{{before, true}}
	if len(nodes) == 0 {
		return open
	}
	n, rest := nodes[0], nodes[1:]
	ways := [][]*regex.Node{}
	switch n.Op {
	case regex.Rune:
		if !isProgram([]rune(n.Text)[0]) {
			return []program{{before, before == ""}}
		}
		return firstParts(rest, before+n.Text)
	case regex.End:
		return []program{{before, before == ""}}
	case regex.Empty:
		return firstParts(rest, before)
	case regex.Group:
		if n.Flags != "?:" {
			return open
		}
		return firstParts(append([]*regex.Node{n.Subs[0]}, rest...), before)
	case regex.Concat:
		return firstParts(append(slices.Clone(n.Subs), rest...), before)
	case regex.Repeat:
		if n.Min != 0 || n.Max != 1 {
			return open
		}
		ways = append(ways, append([]*regex.Node{n.Subs[0]}, rest...), rest)
	case regex.Alt:
		for _, s := range n.Subs {
			ways = append(ways, append([]*regex.Node{s}, rest...))
		}
	case regex.Class:
		if n.Not || strings.ContainsAny(n.Text, `\-[`) || len(n.Text) > 4 {
			return open
		}
		for _, c := range n.Text {
			ways = append(ways, append([]*regex.Node{{Op: regex.Rune, Text: string(c)}}, rest...))
		}
	default:
		return open
	}
	for _, w := range ways {
		for _, p := range firstParts(w, before) {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
		if len(all) > maxPrograms {
			return open
		}
	}
	return all
}

// optionalHead has an expression match lines without time, host and program too.
func optionalHead(n *regex.Node) {
	if n.Op != regex.Concat || n.Subs[0].Op != regex.Begin {
		return
	}
	at := headEnd(n.Subs)
	if at == 0 {
		return
	}
	for end := at; end < len(n.Subs); end++ { // up to the colon behind the program
		if n.Subs[end].Op != regex.Rune || n.Subs[end].Text != ":" {
			continue
		}
		end++
		if end < len(n.Subs) && n.Subs[end].Op == regex.Rune && n.Subs[end].Text == " " {
			end++
		}
		inner := regex.Concatenate(n.Subs[1:end:end]...)
		optional := &regex.Node{Op: regex.Repeat, Min: 0, Max: 1, Subs: []*regex.Node{inner}}
		n.Subs = append([]*regex.Node{n.Subs[0], optional}, n.Subs[end:]...)
		return
	}
}
