package packs

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"

	"logscan/internal/fields/fieldsyaml"
	"logscan/internal/rule"
)

// file is a pack's file, but for what its rules say.
type file struct {
	Version     int
	Pack        string
	Description string
	Sources     []string
	Images      []string
	Rules       yaml.Node
}

// test is Test as files have it.
type test struct {
	Hits, Misses, Lines []string
	Expect              *struct{ Hits int }
}

// parse reads a pack's file with a name. The error has the place of each thing that is
// wrong.
func parse(name string, data []byte) (Pack, error) {
	var f file
	if err := yaml.Load(data, &f, yaml.WithKnownFields()); err != nil {
		return Pack{}, fmt.Errorf("%s: %w", name, err)
	}
	p := Pack{Name: f.Pack, Description: f.Description, Sources: f.Sources, Images: f.Images, YAML: data}
	switch {
	case f.Version != 1:
		return p, fmt.Errorf("%s: version: has to be 1", name)
	case f.Rules.Kind != yaml.MappingNode:
		return p, fmt.Errorf("%s: rules: have to be rules by their names", name)
	}
	if err := rule.CheckName(p.Name); err != nil {
		return p, fmt.Errorf("%s: pack: %w", name, err)
	}
	var wrong []error
	lines := map[string]int{} // by name
	for n := 0; n+1 < len(f.Rules.Content); n += 2 {
		key := f.Rules.Content[n]
		if line, twice := lines[key.Value]; twice {
			wrong = append(wrong, fmt.Errorf("%s:%d: rule %s: is there twice, also in line %d", name, key.Line, key.Value, line))
		}
		lines[key.Value] = key.Line
		r, err := parseRule(key.Value, f.Rules.Content[n+1])
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s:%d: rule %s: %w", name, key.Line, key.Value, err))
		}
		p.Rules = append(p.Rules, r)
	}
	return p, errors.Join(wrong...)
}

// parseRule reads a rule and its tests.
func parseRule(name string, node *yaml.Node) (Rule, error) {
	r := Rule{Rule: rule.New()}
	if node.Kind != yaml.MappingNode {
		return r, errors.New("there have to be fields, such as pattern: '…'")
	}
	said := &yaml.Node{Kind: yaml.MappingNode}
	for n := 0; n+1 < len(node.Content); n += 2 {
		if node.Content[n].Value != "tests" {
			said.Content = append(said.Content, node.Content[n], node.Content[n+1])
			continue
		}
		text, err := yaml.Dump(node.Content[n+1])
		if err != nil {
			return r, err
		}
		var tests []test
		if err := yaml.Load(text, &tests, yaml.WithKnownFields()); err != nil {
			return r, fmt.Errorf("tests: %w", err)
		}
		for _, t := range tests {
			out := Test{Hits: t.Hits, Misses: t.Misses, Lines: t.Lines}
			if (len(t.Lines) > 0) != (t.Expect != nil) {
				return r, errors.New("tests: lines and expect go together")
			}
			if t.Expect != nil {
				out.Expect.Hits = t.Expect.Hits
			}
			r.Tests = append(r.Tests, out)
		}
	}
	text, err := yaml.Dump(said)
	if err != nil {
		return r, err
	}
	of, err := fieldsyaml.Read[rule.Rule](strings.TrimSpace(name), text)
	if err != nil {
		return r, err
	}
	if err := rule.Fields.Apply(&r.Rule, of.Members); err != nil {
		return r, err
	}
	r.Name = name
	return r, rule.Fields.Validate(r.Rule)
}
