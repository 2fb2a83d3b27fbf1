package channel

import (
	"errors"
	"fmt"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
)

// MaxRendered is how long what a template makes may be, in bytes.
const MaxRendered = 4 << 10

// Template makes a title or a body of a message. The zero Template makes none.
type Template struct{ parsed *template.Template }

// functions are what templates can call.
var functions = template.FuncMap{
	"upper": strings.ToUpper, "lower": strings.ToLower,
	"cut":     func(n int, s string) string { return Cut(s, n) },
	"line":    func(n int, s string) string { return Line(s, max(n, 8)) },
	"time":    func(layout string, t time.Time) string { return t.UTC().Format(layout) },
	"default": func(a, b string) string { return map[bool]string{true: b, false: a}[a == ""] },
}

// ParseTemplate parses a Go template over a Message, and tries it on samples. What it
// allows takes a bounded time: no range but over a field, no definitions, no calls but
// of its own functions. The error is a reason for users.
func ParseTemplate(text string) (Template, error) {
	if text == "" {
		return Template{}, nil
	}
	t, err := template.New("template").Option("missingkey=error").Funcs(functions).Parse(text)
	if err != nil {
		return Template{}, errors.New(strings.TrimPrefix(err.Error(), "template: "))
	}
	if len(t.Templates()) > 1 {
		return Template{}, errors.New("must not define templates")
	}
	if t.Tree == nil {
		return Template{}, nil
	}
	if err := allowed(t.Root, 0); err != nil {
		return Template{}, err
	}
	out := Template{t}
	for _, m := range samples() {
		if _, err := out.Render(m); err != nil {
			return Template{}, err
		}
	}
	return out, nil
}

// Render makes the text of a message.
func (t Template) Render(m Message) (string, error) {
	if t.parsed == nil {
		return "", nil
	}
	w := limited{left: MaxRendered}
	if err := t.parsed.Execute(&w, m); err != nil && !errors.Is(err, errLong) {
		return "", errors.New(strings.TrimPrefix(err.Error(), "template: "))
	}
	return strings.ToValidUTF8(w.String(), ""), nil
}

var errLong = errors.New("the text is too long")

// limited keeps so many bytes, and then ends who writes.
type limited struct {
	strings.Builder
	left int
}

func (l *limited) Write(b []byte) (int, error) {
	n := min(len(b), l.left)
	l.Builder.Write(b[:n])
	if l.left -= n; n < len(b) {
		return n, errLong
	}
	return n, nil
}

// maxRanges is how many ranges may stand in one another: the notices, and the lines or
// the actions of each.
const maxRanges = 2

// allowed refuses what could take long.
func allowed(n parse.Node, ranges int) error {
	switch n := n.(type) {
	case nil:
		return nil
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, child := range n.Nodes {
			if err := allowed(child, ranges); err != nil {
				return err
			}
		}
	case *parse.TextNode, *parse.CommentNode, *parse.BreakNode, *parse.ContinueNode:
	case *parse.ActionNode:
		return allowedPipe(n.Pipe)
	case *parse.IfNode:
		return allowedBranch(&n.BranchNode, ranges)
	case *parse.WithNode:
		return allowedBranch(&n.BranchNode, ranges)
	case *parse.RangeNode:
		if ranges == maxRanges {
			return fmt.Errorf("has more than %d ranges in one another", maxRanges)
		}
		if cmds := n.Pipe.Cmds; len(cmds) != 1 || len(cmds[0].Args) != 1 {
			return errors.New("may range over a field only, such as .Notices")
		} else if k := cmds[0].Args[0].Type(); k != parse.NodeField && k != parse.NodeVariable {
			return errors.New("may range over a field only, such as .Notices")
		}
		return allowedBranch(&n.BranchNode, ranges+1)
	default:
		return fmt.Errorf("must not have %s", n)
	}
	return nil
}

func allowedBranch(n *parse.BranchNode, ranges int) error {
	if err := allowedPipe(n.Pipe); err != nil {
		return err
	}
	if err := allowed(n.List, ranges); err != nil {
		return err
	}
	return allowed(n.ElseList, ranges)
}

// allowedPipe refuses the functions of the template language that write what is not
// bounded or call what they are given.
func allowedPipe(p *parse.PipeNode) error {
	if p == nil {
		return nil
	}
	for _, cmd := range p.Cmds {
		for _, arg := range cmd.Args {
			switch arg := arg.(type) {
			case *parse.PipeNode:
				if err := allowedPipe(arg); err != nil {
					return err
				}
			case *parse.ChainNode:
				return fmt.Errorf("must not have %s", arg)
			case *parse.IdentifierNode:
				if _, ours := functions[arg.Ident]; !ours && !plainFunctions[arg.Ident] {
					return fmt.Errorf("must not call %s", arg.Ident)
				}
			}
		}
	}
	return nil
}

// plainFunctions are those of the template language that templates can call.
var plainFunctions = map[string]bool{
	"and": true, "or": true, "not": true, "eq": true, "ne": true, "lt": true, "le": true, "gt": true, "ge": true, "len": true, "index": true,
}

// samples are messages that a template has to be able to render.
func samples() []Message {
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	notice := Notice{
		Kind: Opened, Incident: 42, Key: "sample-42", Severity: "error", Rule: "oom", Workload: "shop/web", Container: "shop-web-1", Image: "web:1", Host: "host-1",
		Text: "Out of memory: killed process 17", Shape: "Out of memory: killed process <num>", Count: 37, First: at, Last: at.Add(time.Minute), Containers: 2,
		Reason: "again, after 3 h", Before: []string{"before"}, After: []string{"after"}, Actions: []Action{{"Acknowledge", "https://logs.example.com/act/x"}},
	}
	return []Message{
		{ID: "msg_sample", At: at, Trigger: "sample", Notices: []Notice{notice, notice}, Held: Held{Notices: 3, Hits: 17, Since: at, Why: "grouped"}},
		{ID: "msg_sample", At: at, Trigger: "sample", Test: true, Notices: []Notice{{Kind: Resolved, Severity: "info"}}},
	}
}

// Sample is a message about an incident that there never was.
func Sample(id, trigger string, now time.Time) Message {
	m := samples()[0]
	m.ID, m.Trigger, m.At, m.Test, m.Held = id, trigger, now.UTC(), true, Held{}
	m.Notices = m.Notices[:1]
	n := &m.Notices[0]
	n.Key, n.Incident, n.Host, n.Before, n.After, n.Actions, n.Reason = "test", 0, "", nil, nil, nil, "this is a test"
	n.First, n.Last, n.Severity = now.UTC(), now.UTC(), "info"
	return m
}
