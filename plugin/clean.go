package main

import (
	"fmt"
	"reflect"
	"strings"
	"text/template"
	"text/template/parse"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Text from outside may hold what plays with a terminal: C0 and C1 controls,
// which begin escape sequences, and controls of writing direction, which make
// text look like another one. Whatever is not printable is shown by its number
// instead.

// clean makes text safe to print within a line.
func clean(s string) string { return cleanBut(s, "") }

// cleanText makes text safe to print that may have lines and tabs of its own.
func cleanText(s string) string { return cleanBut(s, "\n\t") }

func cleanBut(s, allowed string) string {
	safe := func(r rune) bool {
		return unicode.IsPrint(r) && r != utf8.RuneError || strings.ContainsRune(allowed, r)
	}
	if strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case safe(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteByte(' ')
		case r == utf8.RuneError:
			b.WriteRune('\uFFFD')
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// escapeJSON writes what is not printable in encoded JSON, which is then within
// its strings, as JSON's own escapes.
func escapeJSON(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r >= 0x10000:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// cleanActions makes each action of a template hand what it prints to clean. The
// template's own text stays as it is, and so does a string that is an action of
// its own, such as {{"\n"}}: they come from whoever wrote the template.
func cleanActions(t *template.Template, clean func(string) string) {
	const name = "_clean"
	t.Funcs(template.FuncMap{name: func(v any) string { return clean(printed(v)) }})
	for _, t := range t.Templates() {
		walk(t.Root, func(n *parse.ActionNode) {
			cmds := n.Pipe.Cmds
			if len(n.Pipe.Decl) > 0 {
				return // sets a variable
			}
			if len(cmds) == 1 && len(cmds[0].Args) == 1 && cmds[0].Args[0].Type() == parse.NodeString {
				return
			}
			call := &parse.CommandNode{NodeType: parse.NodeCommand, Pos: n.Pos}
			call.Args = []parse.Node{parse.NewIdentifier(name).SetTree(t.Tree).SetPos(n.Pos)}
			n.Pipe.Cmds = append(cmds, call)
		})
	}
}

// walk visits the actions of a template.
func walk(list *parse.ListNode, visit func(*parse.ActionNode)) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			visit(n)
		case *parse.IfNode:
			walk(n.List, visit)
			walk(n.ElseList, visit)
		case *parse.RangeNode:
			walk(n.List, visit)
			walk(n.ElseList, visit)
		case *parse.WithNode:
			walk(n.List, visit)
			walk(n.ElseList, visit)
		}
	}
}

// printed is how a template prints a value.
func printed(v any) string {
	if v == nil {
		return "<no value>"
	}
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && !p.IsNil() {
		if _, ok := v.(fmt.Stringer); !ok {
			v = p.Elem().Interface()
		}
	}
	return fmt.Sprint(v)
}
