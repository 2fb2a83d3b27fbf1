package importer

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// yamlFile is a file of YAML that is looked at node by node: aliases are followed, and
// never copied.
type yamlFile struct {
	name  string
	looks int // at nodes, so far
}

const (
	maxLooks = 500_000 // at nodes of a file, those behind aliases again each time
	maxNest  = 100     // aliases and merges in one another
)

var errLooks = errors.New("its aliases stand for too much")

// pair is a key and its value.
type pair struct {
	key   string
	value *yaml.Node
	line  int
}

// parse reads one document.
func (f *yamlFile) parse(b []byte) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Load(b, &doc); err != nil {
		text := strings.TrimPrefix(err.Error(), "yaml: ")
		return nil, fmt.Errorf("%s: %s", f.name, clean(text))
	}
	if len(doc.Content) == 0 {
		return nil, fmt.Errorf("%s: there is nothing in it", f.name)
	}
	return doc.Content[0], nil
}

// at is where a node stands.
func (f *yamlFile) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d", f.name, n.Line) }

func (f *yamlFile) line(line int) string { return fmt.Sprintf("%s:%d", f.name, line) }

// look is what an alias stands for; it panics with errLooks beyond the bound, which
// guard makes an error of.
func (f *yamlFile) look(n *yaml.Node) *yaml.Node {
	if f.looks++; f.looks > maxLooks {
		panic(errLooks)
	}
	for range maxNest {
		if n == nil || n.Kind != yaml.AliasNode {
			return n
		}
		n = n.Alias
	}
	panic(errLooks)
}

// guard has do run, within the bound.
func (f *yamlFile) guard(do func()) (err error) {
	defer func() {
		switch r := recover(); r {
		case nil:
		case errLooks:
			err = fmt.Errorf("%s: %w: its anchors and aliases are refused", f.name, errLooks)
		default:
			panic(r)
		}
	}()
	do()
	return nil
}

// pairs are those of a mapping, with what it merges; nil of anything else.
func (f *yamlFile) pairs(n *yaml.Node) []pair { return f.merged(n, 0) }

func (f *yamlFile) merged(n *yaml.Node, depth int) (all []pair) {
	if depth > maxNest {
		panic(errLooks)
	}
	n = f.look(n)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	known := map[string]bool{}
	var merged []pair
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := f.look(n.Content[i])
		if key.Value == "<<" && key.Kind == yaml.ScalarNode && key.Style == 0 {
			value := f.look(n.Content[i+1])
			from := []*yaml.Node{value}
			if value.Kind == yaml.SequenceNode {
				from = value.Content
			}
			for _, m := range from {
				merged = append(merged, f.merged(m, depth+1)...)
			}
			continue
		}
		if key.Kind == yaml.ScalarNode && !known[key.Value] {
			known[key.Value] = true
			all = append(all, pair{key.Value, f.look(n.Content[i+1]), key.Line})
		}
	}
	for _, p := range merged {
		if f.looks++; f.looks > maxLooks {
			panic(errLooks)
		}
		if !known[p.key] {
			known[p.key] = true
			all = append(all, p)
		}
	}
	return all
}

// get is the value of a key; nil where there is none.
func (f *yamlFile) get(n *yaml.Node, key string) *yaml.Node {
	for _, p := range f.pairs(n) {
		if p.key == key {
			return p.value
		}
	}
	return nil
}

// items are those of a list; of a scalar, itself.
func (f *yamlFile) items(n *yaml.Node) (all []*yaml.Node) {
	n = f.look(n)
	switch {
	case n == nil, n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		return nil
	case n.Kind == yaml.SequenceNode:
		for _, item := range n.Content {
			all = append(all, f.look(item))
		}
		return all
	case n.Kind == yaml.ScalarNode:
		return []*yaml.Node{n}
	}
	return nil
}

// text is a scalar as it is written; "" of anything else.
func (f *yamlFile) text(n *yaml.Node) string {
	n = f.look(n)
	if n == nil || n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		return ""
	}
	return n.Value
}

// texts are the scalars of a list.
func (f *yamlFile) texts(n *yaml.Node) (all []string) {
	for _, item := range f.items(n) {
		if s := f.text(item); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// truth is whether a scalar is true.
func (f *yamlFile) truth(n *yaml.Node) bool {
	switch strings.ToLower(f.text(n)) {
	case "true", "yes", "on", "1":
		return true
	}
	return false
}

// isMap and isList report what a node is.
func (f *yamlFile) isMap(n *yaml.Node) bool {
	n = f.look(n)
	return n != nil && n.Kind == yaml.MappingNode
}

func (f *yamlFile) isList(n *yaml.Node) bool {
	n = f.look(n)
	return n != nil && n.Kind == yaml.SequenceNode
}
