package importer

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"logscan/internal/importer/regex"
)

// What stands for addresses in expressions of fail2ban, in RE2: server/failregex.py has
// a look-behind for IPv6, which says nothing new where it stands.
const (
	ip4 = `(?:\d{1,3}\.){3}\d{1,3}`
	ip6 = `(?:[0-9a-fA-F]{1,4}::?|::){1,7}(?:[0-9a-fA-F]{1,4}|:)`
	dns = `[\w\-.^_]*\w`

	mapped = `(?:::f{4,6}:)?`
	addr   = `\[?(?:` + mapped + ip4 + `|` + ip6 + `)\]?`
)

// addresses are tags, and the expressions for them.
var addresses = map[string]string{
	"HOST": `(?P<host>` + addr + `|` + dns + `)`,
	"ADDR": `(?P<host>` + addr + `)`, "F-ADDR/": `(?P<host>` + addr + `)`,
	"IP4": mapped + `(?P<ip4>` + ip4 + `)`, "F-IP4/": mapped + `(?P<ip4>` + ip4 + `)`,
	"IP6": `(?P<ip6>` + ip6 + `)`, "F-IP6/": `(?P<ip6>` + ip6 + `)`,
	"DNS": `(?P<dns>` + dns + `)`, "F-DNS/": `(?P<dns>` + dns + `)`,
	"CIDR": `(?P<cidr>\d+)`, "F-CIDR/": `(?P<cidr>\d+)`,
	"SUBNET":    `\[?(?P<host>(?:` + mapped + ip4 + `|` + ip6 + `)(?:/\d+)?)\]?`,
	"F-SUBNET/": `\[?(?P<host>(?:` + mapped + ip4 + `|` + ip6 + `)(?:/\d+)?)\]?`,
	"F-ID/":     `(?P<fid>\S+)`,
	"F-PORT/":   `(?P<port>\w+)`,
}

var (
	anyTag   = regexp.MustCompile(`</?[\w\-]+/?>`)
	ownTag   = regexp.MustCompile(`^<(/?)F-([A-Z0-9_\-]+)>$`)
	localize = regexp.MustCompile(`(^|[^\\])\((?:\?:)?(\(\?[a-z]+)\)`)
	badName  = regexp.MustCompile(`[^a-z0-9_]`)
)

// withoutTags is an expression of fail2ban as one of Python's, with groups for tags.
func withoutTags(text string) string {
	open := map[string]bool{}
	text = anyTag.ReplaceAllStringFunc(text, func(t string) string {
		if e, ok := addresses[t[1:len(t)-1]]; ok {
			return e
		}
		m := ownTag.FindStringSubmatch(t)
		if m == nil {
			return t
		}
		if m[1] != "" {
			if open[m[2]] {
				return ")"
			}
			return t
		}
		open[m[2]] = true
		name := strings.ToLower(m[2])
		if name == "id" {
			name = "fid"
		}
		return "(?P<" + badName.ReplaceAllString(name, "_") + ">"
	})
	return localize.ReplaceAllString(text, "$1$2:")
}

// way is a rule that a part of an expression becomes.
type way struct {
	pattern string
	all     []string
	ignore  []string
	by      []string
	notes   []string
}

var errNoAddress = errors.New("it has no address: fail2ban takes it from another line of the same process")

// failing is what an expression of a filter, behind a prefix, becomes.
func (def *definition) failing(text string) ([]way, error) {
	prefix := def.prefix
	node, err := readFailRegex(text)
	if err != nil {
		return nil, err
	}
	var pre *regex.Node
	if prefix != "" {
		if pre, err = readFailRegex(prefix); err != nil {
			return nil, fmt.Errorf("its prefregex: %w", err)
		}
		pre.Resolve()
	}
	parts, err := split(node)
	if err != nil {
		return nil, err
	}
	var all []way
	for _, p := range parts {
		w := way{}
		p.node.Resolve()
		whole, err := def.composed(p.node, pre, &w)
		if err != nil {
			return nil, err
		}
		for _, i := range p.ignore {
			i.Resolve()
			other, err := def.composed(i, pre, &way{})
			if err != nil {
				return nil, err
			}
			keepNames(other, nil)
			w.ignore = append(w.ignore, other.String())
		}
		names := keepNames(whole, []string{"fid", "host", "ip4", "ip6", "dns", "user", "port"})
		for _, n := range []string{"fid", "host", "ip4", "ip6", "dns"} {
			if slices.Contains(names, n) {
				w.by = append(w.by, "$"+n)
				if n == "fid" {
					break
				}
			}
		}
		if len(w.by) == 0 {
			return nil, errNoAddress
		}
		if err := whole.Check(); err != nil {
			return nil, fmt.Errorf("the expression %w", err)
		}
		w.pattern = whole.String()
		all = append(all, w)
	}
	return all, nil
}

// ignoring is an expression of ignoreregex.
func (def *definition) ignoring(text string) (string, error) {
	prefix := def.prefix
	node, err := readFailRegex(text)
	if err != nil {
		return "", err
	}
	var pre *regex.Node
	if prefix != "" {
		if pre, err = readFailRegex(prefix); err != nil {
			return "", err
		}
	}
	whole, err := def.composed(node, pre, &way{})
	if err != nil {
		return "", err
	}
	keepNames(whole, nil)
	return whole.String(), whole.Check()
}

func readFailRegex(text string) (*regex.Node, error) {
	if strings.Contains(text, "<SKIPLINES>") {
		return nil, errors.New("it is about several lines at once; a rule of kind sequence may say it, see kinds.md")
	}
	n, err := regex.Python(withoutTags(text))
	if err != nil {
		return nil, fmt.Errorf("the expression %w", err)
	}
	return n, nil
}

// composed is an expression in place of the content of the prefix, with the time that
// fail2ban takes out of a line before.
func (def *definition) composed(node, pre *regex.Node, w *way) (*regex.Node, error) {
	node = node.Clone()
	if pre != nil {
		names := namesOf(node)
		pre = pre.Clone()
		pre.Each(func(n *regex.Node) bool {
			if slices.Contains(names, n.Name) && n.Name != "content" {
				n.Name, n.Flags = "", "?:"
			}
			return true
		})
		var content *regex.Node
		pre.Each(func(n *regex.Node) bool {
			if n.Op == regex.Group && n.Name == "content" {
				content = n
			}
			return content == nil
		})
		if content == nil {
			return nil, errors.New("its prefregex has no <F-CONTENT>")
		}
		if inner := content.Subs[0].String(); inner != ".+" && inner != ".*" {
			first := pre.Clone()
			keepNames(first, nil)
			if err := first.Check(); err != nil {
				return nil, fmt.Errorf("its prefregex %w", err)
			}
			w.all = append(w.all, def.timed(first).String())
		}
		inner, err := inside(node)
		if err != nil {
			return nil, err
		}
		*content = *inner
		node = pre
		w.notes = append(w.notes, "fail2ban cuts off as much of a line's head as fits, and then looks; here the whole has to fit, so that lines without a head are found too.")
	}
	atEnd(node)
	return def.timed(node), nil
}

// atEnd has the last character of an expression be the end of the line too, where it may
// be a line break: fail2ban gives lines with theirs.
func atEnd(n *regex.Node) {
	switch n.Op {
	case regex.Concat:
		for _, s := range slices.Backward(n.Subs) {
			empty := s.Op == regex.End || s.Nullable()
			atEnd(s)
			if !empty {
				return
			}
		}
	case regex.Group, regex.Alt:
		for _, s := range n.Subs {
			atEnd(s)
		}
	case regex.Class:
		if n.Not && n.Text != `\s` || !n.Not && strings.Contains(n.Text, `\s`) {
			c := *n
			*n = *regex.Alternate(&c, &regex.Node{Op: regex.End})
		}
	case regex.Repeat:
		if c := n.Subs[0]; n.Min == 1 && c.Op == regex.Class {
			before := c.Clone()
			if atEnd(c); c.Op == regex.Alt {
				r := *n
				r.Subs = []*regex.Node{before}
				*n = *regex.Alternate(&r, &regex.Node{Op: regex.End})
			}
		}
	}
}

// inside is an expression about a text as one about a part of a line up to its end.
func inside(n *regex.Node) (*regex.Node, error) {
	branches := []*regex.Node{n}
	if n.Op == regex.Alt {
		branches = n.Subs
	}
	var all []*regex.Node
	for _, b := range branches {
		subs := []*regex.Node{b}
		if b.Op == regex.Concat {
			subs = slices.Clone(b.Subs)
		}
		anything := &regex.Node{Op: regex.Repeat, Max: -1, Subs: []*regex.Node{{Op: regex.Any}}}
		if len(subs) > 0 && subs[0].Op == regex.Begin {
			subs = subs[1:]
		} else {
			subs = append([]*regex.Node{anything}, subs...)
		}
		if len(subs) > 0 && subs[len(subs)-1].Op == regex.End {
			subs = subs[:len(subs)-1]
		} else {
			subs = append(subs, anything)
		}
		for _, s := range subs {
			anchored := false
			s.Each(func(n *regex.Node) bool { anchored = anchored || n.Op == regex.Begin; return true })
			if anchored {
				return nil, errors.New("the expression has a ^ that isn't at its begin, behind a prefix")
			}
		}
		all = append(all, regex.Concatenate(subs...))
	}
	return &regex.Node{Op: regex.Group, Flags: "?:", Subs: []*regex.Node{regex.Alternate(all...)}}, nil
}

// timed has a time, or none, stand where a line begins, and between brackets that are
// empty: fail2ban takes it out of the line.
func (def *definition) timed(n *regex.Node) *regex.Node {
	optional := func() *regex.Node {
		t, err := regex.Python(def.times)
		if err != nil {
			panic(err) // dates has read it
		}
		return &regex.Node{Op: regex.Repeat, Min: 0, Max: 1, Subs: []*regex.Node{{Op: regex.Group, Flags: "?:", Subs: []*regex.Node{t}}}}
	}
	var walk func(n *regex.Node) *regex.Node
	walk = func(n *regex.Node) *regex.Node {
		for i, s := range n.Subs {
			n.Subs[i] = walk(s)
		}
		switch n.Op {
		case regex.Begin:
			return regex.Concatenate(n, optional())
		case regex.Concat:
			var subs []*regex.Node
			for i, s := range n.Subs {
				subs = append(subs, s)
				if s.Op == regex.Rune && s.Text == "[" && i+1 < len(n.Subs) && n.Subs[i+1].Op == regex.Rune && n.Subs[i+1].Text == "]" {
					subs = append(subs, optional())
				}
			}
			n.Subs = subs
		}
		return n
	}
	return walk(n)
}

// namesOf are the names of an expression's groups.
func namesOf(n *regex.Node) (all []string) {
	n.Each(func(n *regex.Node) bool {
		if n.Op == regex.Group && n.Name != "" {
			all = append(all, n.Name)
		}
		return true
	})
	return all
}

// keepNames has no groups capture but those with some names, and returns those that
// there are.
func keepNames(n *regex.Node, keep []string) (kept []string) {
	n.Each(func(n *regex.Node) bool {
		switch {
		case n.Op != regex.Group || n.Flags != "":
		case slices.Contains(keep, n.Name):
			kept = append(kept, n.Name)
		default:
			n.Name, n.Flags = "", "?:"
		}
		return true
	})
	return kept
}

// part is an expression without conditions, and what it isn't for.
type part struct {
	node   *regex.Node
	ignore []*regex.Node
}

// split makes of an expression with conditions on groups, and with parts that say that
// there is no failure, some without.
func split(n *regex.Node) ([]part, error) { return splitIn(n, 4) }

// splitIn is split for no more than so many conditions in one another.
func splitIn(n *regex.Node, most int) ([]part, error) {
	if most == 0 {
		return nil, errors.New("it has too many conditions on groups")
	}
	for _, name := range namesOf(n) {
		if name == "nofail" || name == "mlfgained" {
			with, without, err := n.Without(name)
			switch {
			case err != nil || without == nil:
				return nil, errors.New("what it finds is no failure by itself: it tells of the address to other lines")
			case with == nil:
				return splitIn(without, most-1)
			}
			parts, err := splitIn(without, most-1)
			if err != nil {
				return nil, err
			}
			ignored, err := splitIn(with, most-1)
			if err != nil {
				return nil, err
			}
			for i := range parts {
				for _, w := range ignored {
					parts[i].ignore = append(parts[i].ignore, w.node)
				}
			}
			return parts, nil
		}
	}
	conditional := ""
	n.Each(func(n *regex.Node) bool {
		if n.Op == regex.Exists && conditional == "" {
			conditional = n.Name
		}
		return true
	})
	if conditional == "" {
		return []part{{node: n}}, nil
	}
	with, without, err := n.Without(conditional)
	if err != nil {
		return nil, err
	}
	var all []part
	for _, v := range []*regex.Node{with, without} {
		if v == nil {
			continue
		}
		parts, err := splitIn(v, most-1)
		if err != nil {
			return nil, err
		}
		all = append(all, parts...)
	}
	return all, nil
}
