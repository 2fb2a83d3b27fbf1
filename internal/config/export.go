package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"logscan/internal/fields/fieldsyaml"
	"logscan/internal/rule"
	"logscan/internal/silence"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// SchemaFile is what an export calls the file that `docker logscan schema` writes.
const SchemaFile = "logscan.schema.json"

// Export writes what the API and files declare as a file; what labels, packs and the
// fleet declare is left out, and so are silences that have ended. No secret is in it:
// references are written as they are, and ${stored} for the rest.
func Export(have store.Objects, now time.Time) ([]byte, error) {
	top := &yaml.Node{Kind: yaml.MappingNode}
	section := func(name string) *yaml.Node {
		n := &yaml.Node{Kind: yaml.MappingNode}
		top.Content = append(top.Content, fieldsyaml.Scalar(name), n)
		return n
	}
	top.Content = append(top.Content, fieldsyaml.Scalar("version"), &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(Version)})
	rules, triggers, silences := section("rules"), section("triggers"), section("silences")

	called, taken := map[int64]string{}, map[string]bool{}
	for _, r := range have.Rules {
		if exported(r.ManagedBy) {
			called[r.ID] = unique(taken, cmp.Or(r.Managed.Key, r.Name))
		}
	}
	for _, r := range have.Rules {
		key, ok := called[r.ID]
		if !ok {
			continue
		}
		base := r.OverridesID
		r.OverridesID = 0
		n, err := fieldsyaml.Node(r, aside(key, r.Name)...)
		if err != nil {
			return nil, fmt.Errorf("rule %d: %w", r.ID, err)
		}
		if base != 0 {
			ref := called[base]
			if ref == "" {
				ref = fmt.Sprint(base)
			}
			n.Content = append(n.Content, fieldsyaml.Scalar("overrides_id"), fieldsyaml.Scalar(ref))
		}
		if err := addTests(n, have.Tests[r.ID]); err != nil {
			return nil, fmt.Errorf("tests of rule %d: %w", r.ID, err)
		}
		put(rules, key, n)
	}
	taken = map[string]bool{}
	for _, t := range have.Triggers {
		if !exported(t.ManagedBy) {
			continue
		}
		key := unique(taken, cmp.Or(t.Managed.Key, t.Name))
		n, err := triggerNode(t, key)
		if err != nil {
			return nil, fmt.Errorf("trigger %d: %w", t.ID, err)
		}
		put(triggers, key, n)
	}
	taken = map[string]bool{}
	for _, v := range have.Silences {
		if !exported(v.ManagedBy) || !v.Elsewhere() && !v.Ends.After(now) {
			continue
		}
		n, err := fieldsyaml.Node[silence.Declaration](v.Declaration())
		if err != nil {
			return nil, fmt.Errorf("silence %d: %w", v.ID, err)
		}
		put(silences, unique(taken, cmp.Or(v.Key, fmt.Sprintf("silence-%d", v.ID))), n)
	}
	out, err := yaml.Dump(top, yaml.WithLineWidth(-1))
	return append([]byte("# yaml-language-server: $schema="+SchemaFile+"\n"), out...), err
}

// exported reports whether what a source declares is in an export.
func exported(by string) bool {
	kind, _, _ := strings.Cut(by, ":")
	return kind != "label" && kind != "pack" && kind != "fleet"
}

// aside are the fields that a key says already.
func aside(key, name string) []string {
	if key == name {
		return []string{"name"}
	}
	return nil
}

// unique is a key that isn't taken yet; names aren't unique where the API manages them.
func unique(taken map[string]bool, key string) string {
	if rule.CheckName(key) != nil {
		key = "unnamed"
	}
	is := key
	for n := 2; taken[is]; n++ {
		is = fmt.Sprintf("%s-%d", key, n)
	}
	taken[is] = true
	return is
}

func put(section *yaml.Node, key string, n *yaml.Node) {
	section.Content = append(section.Content, fieldsyaml.Scalar(key), n)
}

// triggerNode is a trigger without its secrets.
func triggerNode(t trigger.Trigger, key string) (*yaml.Node, error) {
	shown := t.Shown().ActionURL
	t.ActionURL = cmp.Or(t.Refs["action_url"], Stored)
	if t.ActionSecret != "" {
		t.ActionSecret = cmp.Or(t.Refs["action_secret"], Stored)
	}
	n, err := fieldsyaml.Node(t, aside(key, t.Name)...)
	if err != nil {
		return nil, err
	}
	for k := 0; k+1 < len(n.Content); k += 2 {
		if n.Content[k].Value == "action_url" && n.Content[k+1].Value == Stored {
			n.Content[k+1].LineComment = "# " + printable(shown) + ": as it is stored here; elsewhere give it, by ${file:PATH} or ${env:NAME} where it is secret"
		}
	}
	return n, nil
}

// addTests adds a rule's tests as they were declared.
func addTests(n *yaml.Node, tests json.RawMessage) error {
	if len(tests) == 0 {
		return nil
	}
	var all []Test
	if err := json.Unmarshal(tests, &all); err != nil {
		return err
	}
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, t := range all {
		item := &yaml.Node{Kind: yaml.MappingNode}
		for _, l := range []struct {
			name  string
			texts []string
		}{{"lines", t.Lines}, {"hits", t.Hits}, {"misses", t.Misses}} {
			if len(l.texts) == 0 {
				continue
			}
			texts := &yaml.Node{Kind: yaml.SequenceNode}
			for _, s := range l.texts {
				texts.Content = append(texts.Content, fieldsyaml.Scalar(s))
			}
			put(item, l.name, texts)
		}
		if t.Expect != (Expect{}) {
			expect := &yaml.Node{Kind: yaml.MappingNode}
			for _, c := range []struct {
				name string
				n    *int64
			}{{"hits", t.Expect.Hits}, {"incidents", t.Expect.Incidents}} {
				if c.n != nil {
					put(expect, c.name, &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(*c.n)})
				}
			}
			if t.Expect.Severity != "" {
				put(expect, "severity", fieldsyaml.Scalar(string(t.Expect.Severity)))
			}
			put(item, "expect", expect)
		}
		list.Content = append(list.Content, item)
	}
	put(n, "tests", list)
	return nil
}
