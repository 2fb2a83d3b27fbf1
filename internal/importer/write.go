package importer

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"logscan/internal/config"
	"logscan/internal/fields"
	"logscan/internal/fields/fieldsyaml"
	"logscan/internal/trigger"
)

// result writes the document, and counts.
func (d *draft) result() (*Result, error) {
	d.secrets = slices.DeleteFunc(d.secrets, func(s secret) bool { // of triggers that are lost
		return !slices.ContainsFunc(d.triggers, func(t *entry[trigger.Trigger]) bool {
			return strings.Contains(t.value.ActionURL+t.value.ActionSecret, "${env:"+s.name+"}")
		})
	})
	r := &Result{Read: d.read, Over: d.over, Rules: len(d.rules), Triggers: len(d.triggers), Left: d.left}
	top := &yaml.Node{Kind: yaml.MappingNode}
	version := fieldsyaml.Scalar("version")
	version.HeadComment = comment(d.head())
	top.Content = append(top.Content, version, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: "1"})
	if err := section(top, "rules", d.rules); err != nil {
		return nil, err
	}
	if err := section(top, "triggers", d.triggers); err != nil {
		return nil, err
	}
	for _, s := range d.secrets {
		r.Secrets = append(r.Secrets, s.name)
	}
	out, err := yaml.Dump(top, yaml.WithLineWidth(-1))
	if err != nil {
		return nil, err
	}
	if len(d.pending) > 0 {
		out = append(out, "\n"+comment(d.pending)+"\n"...)
	}
	r.Document = out
	secrets := func(ref string) (string, error) { return d.example(ref), nil }
	if _, err := config.Parse([]config.File{{Name: "the import", Data: out}}, secrets); err != nil {
		return nil, fmt.Errorf("what was made is no file of logscan's: %w", err)
	}
	return r, nil
}

// head is what stands before all.
func (d *draft) head() []string {
	lines := []string{fmt.Sprintf("Made by docker logscan import %s %s", d.source, clean(strings.Join(d.paths, " ")))}
	lines = append(lines, d.about...)
	if len(d.secrets) > 0 {
		lines = append(lines, "", "Secrets did not come over. Where this file is applied, set")
		for _, s := range d.secrets {
			lines = append(lines, fmt.Sprintf("  %s to %s", s.name, s.what))
		}
	}
	return append(lines, "")
}

// section adds what has names to the document, under a key.
func section[T fields.Defined[T]](top *yaml.Node, key string, all []*entry[T]) error {
	if len(all) == 0 {
		return nil
	}
	under := &yaml.Node{Kind: yaml.MappingNode}
	for _, e := range all {
		said, err := fieldsyaml.Node(e.value, "name") // the key is it
		if err != nil {
			return err
		}
		name := fieldsyaml.Scalar(e.name)
		name.HeadComment = comment(e.notes)
		under.Content = append(under.Content, name, said)
	}
	top.Content = append(top.Content, fieldsyaml.Scalar(key), under)
	return nil
}

func comment(lines []string) string {
	var b strings.Builder
	for i, line := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(strings.TrimRight("# "+line, " "))
	}
	return b.String()
}
