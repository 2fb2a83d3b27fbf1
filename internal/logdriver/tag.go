package logdriver

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
	"unicode/utf8"

	"github.com/docker/docker/daemon/logger"
	"github.com/docker/docker/daemon/logger/templates"
)

// What a container's starter may have us keep about it, in bytes.
const (
	tagMax              = 4 << 10      // a tag, its template, and each text that a function in it takes or returns
	attrMax             = 4 << 10      // the value of a label or variable; what is beyond is cut off
	attrsMax            = 64 << 10     // all of them with their names; further ones are left out
	labelMax, labelsMax = 256, 4 << 10 // the same of the labels that triggers and silences see
	nameMax             = 1 << 10      // a name of a container or image
	shownMax            = 200          // of a wrong value in an error
)

var errTagSize = fmt.Errorf("the tag would be longer than %d bytes", tagMax)

// cut shortens s to at most n bytes, between characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// bound keeps what fits of labels and variables, in the order of their names: their
// values are cut to one size, and all together have at most another.
func bound(attrs map[string]string, each, all int) map[string]string {
	var out map[string]string
	size := 0
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		value := cut(attrs[name], each)
		if size+len(name)+len(value) > all {
			continue
		}
		size += len(name) + len(value)
		if out == nil {
			out = map[string]string{}
		}
		out[name] = value
	}
	return out
}

// expandTag is loggerutils.ParseLogTag for templates that anybody who may start
// a container can write. A template may consist of text, fields of the
// container, if, else and with, and the functions in tagFuncs and tagBuiltins.
// Without loops, variables and templates of its own each part of it is executed
// at most once, and no function takes or returns more than tagMax bytes. It sees
// all of the container but the environment.
func expandTag(info logger.Info) (string, error) {
	text := info.Config["tag"]
	if len(text) > tagMax {
		return "", errTagSize
	}
	t, err := templates.NewParse("log-tag", text)
	if err != nil {
		return "", bounded(err)
	}
	if t.Tree == nil || len(t.Templates()) > 1 {
		return "", errors.New("a tag can't define templates")
	}
	t.Funcs(tagFuncs)
	if err := checkTag(t.Root); err != nil {
		return "", bounded(err)
	}
	info.ContainerEnv = nil
	var out boundedBuilder
	if err := t.Execute(&out, &info); err != nil {
		if errors.Is(err, errTagSize) {
			return "", errTagSize
		}
		return "", bounded(err)
	}
	return out.String(), nil
}

// bounded shortens an error that may quote what the container's starter wrote.
func bounded(err error) error { return errors.New(cut(err.Error(), 5*shownMax)) }

// boundedBuilder takes a tag.
type boundedBuilder struct{ strings.Builder }

func (b *boundedBuilder) Write(p []byte) (int, error) {
	if b.Len()+len(p) > tagMax {
		return 0, errTagSize
	}
	return b.Builder.Write(p)
}

// tagFields are the fields that a tag may name: those of Docker's log tags, and
// those that logger.Info has besides. Of the last ones of them a tag may name a
// value, as in .ContainerLabels.team.
var (
	tagFields = []string{
		"ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName",
		"ContainerID", "ContainerName", "ContainerEntrypoint", "ContainerArgs", "ContainerImageID", "ContainerImageName",
		"ContainerCreated", "ContainerEnv", "LogPath",
		"ContainerLabels", "Config",
	}
	tagMaps = tagFields[len(tagFields)-2:]
)

// checkTag refuses every node of a template but those that are known to do no
// more than their length.
func checkTag(n parse.Node) error {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, m := range n.Nodes {
			if err := checkTag(m); err != nil {
				return err
			}
		}
		return nil
	case *parse.ActionNode:
		return checkTag(n.Pipe)
	case *parse.IfNode:
		return checkBranch(&n.BranchNode)
	case *parse.WithNode:
		return checkBranch(&n.BranchNode)
	case *parse.PipeNode:
		if len(n.Decl) > 0 {
			return fmt.Errorf("a tag can't have variables such as %s", n.Decl[0])
		}
		for _, cmd := range n.Cmds {
			for _, arg := range cmd.Args {
				if err := checkTag(arg); err != nil {
					return err
				}
			}
		}
		return nil
	case *parse.FieldNode:
		if !slices.Contains(tagFields, n.Ident[0]) || len(n.Ident) > 1 && (len(n.Ident) > 2 || !slices.Contains(tagMaps, n.Ident[0])) {
			return fmt.Errorf("a tag can't use %s in its template; it may use .%s", n, strings.Join(tagFields, ", ."))
		}
		return nil
	case *parse.IdentifierNode:
		if tagFuncs[n.Ident] == nil && !slices.Contains(tagBuiltins, n.Ident) {
			return fmt.Errorf("a tag can't use the function %s in its template; it may use %s", n.Ident,
				strings.Join(slices.Sorted(slices.Values(slices.Concat(slices.Collect(maps.Keys(tagFuncs)), tagBuiltins))), ", "))
		}
		return nil
	case *parse.TextNode, *parse.DotNode, *parse.StringNode, *parse.NumberNode, *parse.BoolNode, *parse.CommentNode:
		return nil
	}
	return fmt.Errorf("a tag can't have %s in its template, only text, fields of the container, if, else, with and functions", n)
}

func checkBranch(n *parse.BranchNode) error {
	return errors.Join(checkTag(n.Pipe), checkTag(n.List), checkTag(n.ElseList))
}

// tagBuiltins are those of text/template's functions that copy nothing.
var tagBuiltins = []string{"and", "eq", "ge", "gt", "index", "le", "len", "lt", "ne", "not", "or", "slice"}

// tagFuncs replace Docker's functions for templates
// (daemon/logger/templates), and those of text/template that make texts. They
// take texts alone, so that none prints a whole container.
var tagFuncs = template.FuncMap{
	"lower": func(s string) (string, error) { return made(strings.ToLower, s) },
	"upper": func(s string) (string, error) { return made(strings.ToUpper, s) },
	//lint:ignore SA1019 Docker's title is this one
	"title": func(s string) (string, error) { return made(strings.Title, s) },
	"print": func(args ...string) (string, error) { return joined(args, "") },
	"println": func(args ...string) (string, error) {
		s, err := joined(args, " ")
		return s + "\n", err
	},
	"join": joined,
	"split": func(s, sep string) ([]string, error) {
		if len(s) > tagMax {
			return nil, errTagSize
		}
		return strings.Split(s, sep), nil
	},
	"truncate": func(s string, n int) (string, error) {
		if n < 0 {
			return "", errors.New("truncate needs a length of 0 or more")
		}
		return s[:min(n, len(s))], nil
	},
	"pad": func(s string, before, after int) (string, error) {
		if before < 0 || after < 0 || before > tagMax || after > tagMax {
			return "", errTagSize
		}
		if s == "" {
			return s, nil
		}
		return made(func(s string) string { return strings.Repeat(" ", before) + s + strings.Repeat(" ", after) }, s)
	},
	"printf": func(format string, args ...string) (string, error) {
		if _, err := joined(args, ""); err != nil || wideVerb.MatchString(format) {
			return "", errTagSize
		}
		values := make([]any, len(args))
		for i, arg := range args {
			values[i] = arg
		}
		return made(func(format string) string { return fmt.Sprintf(format, values...) }, format)
	},
}

// joined joins texts with a separator, if the whole isn't too long.
func joined(parts []string, sep string) (string, error) {
	size := len(parts) * len(sep)
	for _, s := range parts {
		size += len(s)
	}
	if size > tagMax {
		return "", errTagSize
	}
	return strings.Join(parts, sep), nil
}

// made makes one text of another, if neither is too long.
func made(f func(string) string, s string) (string, error) {
	if len(s) > tagMax {
		return "", errTagSize
	}
	if s = f(s); len(s) > tagMax {
		return "", errTagSize
	}
	return s, nil
}

// wideVerb is a verb of fmt that asks for much space.
var wideVerb = regexp.MustCompile(`%[^%a-zA-Z]*([0-9]{4}|\*)`)
