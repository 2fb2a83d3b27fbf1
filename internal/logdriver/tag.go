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
	tagMax      = 4 << 10  // a tag, and its template
	attrMax     = 4 << 10  // the value of a label or variable; what is beyond is cut off
	attrsMax    = 64 << 10 // all of them with their names; further ones are left out
	nameMax     = 1 << 10  // a name of a container or image
	shownMax    = 200      // of a wrong value in an error
	tagValueMax = 64 << 10 // what a function in a template may return
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

// boundAttrs keeps what fits of the labels and variables that log-opts name, in
// the order of their names.
func boundAttrs(attrs map[string]string) map[string]string {
	var out map[string]string
	size := 0
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		value := cut(attrs[name], attrMax)
		if size += len(name) + len(value); size > attrsMax {
			break
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = value
	}
	return out
}

// expandTag is loggerutils.ParseLogTag for templates that anybody who may start
// a container can write: one that would loop or fill the memory is refused. It
// sees all of the container but the environment.
func expandTag(info logger.Info) (string, error) {
	text := info.Config["tag"]
	if len(text) > tagMax {
		return "", errTagSize
	}
	t, err := templates.NewParse("log-tag", text)
	if err != nil {
		return "", err
	}
	if len(t.Templates()) > 1 {
		return "", errors.New("a tag can't define templates")
	}
	if t.Tree != nil {
		if err := checkTag(t.Root, false); err != nil {
			return "", err
		}
	}
	t.Funcs(boundedFuncs)
	info.ContainerEnv = nil
	var out boundedBuilder
	if err := t.Execute(&out, &info); err != nil {
		if errors.Is(err, errTagSize) {
			err = errTagSize
		}
		return "", errors.New(cut(err.Error(), 5*shownMax))
	}
	return out.String(), nil
}

// rangeable are the fields of a container that hold several values.
var rangeable = []string{".Config", ".ContainerArgs", ".ContainerLabels"}

// boundedBuilder takes a tag.
type boundedBuilder struct{ strings.Builder }

func (b *boundedBuilder) Write(p []byte) (int, error) {
	if b.Len()+len(p) > tagMax {
		return 0, errTagSize
	}
	return b.Builder.Write(p)
}

// checkTag refuses what makes a template's work larger than its text: loops but
// one over a field of the container, and templates that call each other.
func checkTag(n parse.Node, inRange bool) error {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, m := range n.Nodes {
			if err := checkTag(m, inRange); err != nil {
				return err
			}
		}
	case *parse.TemplateNode:
		return errors.New("a tag can't call templates")
	case *parse.RangeNode:
		cmds := n.Pipe.Cmds
		if inRange || len(cmds) != 1 || len(cmds[0].Args) != 1 || !slices.Contains(rangeable, cmds[0].Args[0].String()) {
			return fmt.Errorf("a tag can range over %s only, and not within another range", strings.Join(rangeable, ", "))
		}
		return errors.Join(checkTag(n.List, true), checkTag(n.ElseList, inRange))
	case *parse.IfNode:
		return errors.Join(checkTag(n.List, inRange), checkTag(n.ElseList, inRange))
	case *parse.WithNode:
		return errors.Join(checkTag(n.List, inRange), checkTag(n.ElseList, inRange))
	}
	return nil
}

// boundedFuncs replace what could make much of little: Docker's functions for
// templates (daemon/logger/templates) and those of text/template.
var boundedFuncs = template.FuncMap{
	"print":    func(args ...any) (string, error) { return bounded(fmt.Sprint(args...)) },
	"println":  func(args ...any) (string, error) { return bounded(fmt.Sprintln(args...)) },
	"html":     func(args ...any) (string, error) { return bounded(template.HTMLEscaper(args...)) },
	"js":       func(args ...any) (string, error) { return bounded(template.JSEscaper(args...)) },
	"urlquery": func(args ...any) (string, error) { return bounded(template.URLQueryEscaper(args...)) },
	"printf": func(format string, args ...any) (string, error) {
		if wideVerb.MatchString(format) {
			return "", errTagSize
		}
		return bounded(fmt.Sprintf(format, args...))
	},
	"pad": func(s string, before, after int) (string, error) {
		if s == "" {
			return s, nil
		}
		if before < 0 || after < 0 || before > tagValueMax || after > tagValueMax {
			return "", errTagSize
		}
		return bounded(strings.Repeat(" ", before) + s + strings.Repeat(" ", after))
	},
	"join": func(parts []string, sep string) (string, error) {
		if size := len(parts) * len(sep); size > tagValueMax {
			return "", errTagSize
		}
		return bounded(strings.Join(parts, sep))
	},
	"truncate": func(s string, n int) (string, error) {
		if n < 0 {
			return "", errors.New("truncate needs a length of 0 or more")
		}
		return s[:min(n, len(s))], nil
	},
}

// wideVerb is a verb of fmt that asks for much space.
var wideVerb = regexp.MustCompile(`%[^%a-zA-Z]*([0-9]{4}|\*)`)

func bounded(s string) (string, error) {
	if len(s) > tagValueMax {
		return "", errTagSize
	}
	return s, nil
}
