package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"logscan/internal/fields"
	"logscan/internal/fields/fieldsyaml"
	"logscan/internal/nearest"
	"logscan/internal/rule"
	"logscan/internal/silence"
	"logscan/internal/trigger"
)

// Version is that of the files' format.
const Version = 1

// File is a file's name, for people, and its content.
type File struct {
	Name string
	Data []byte
}

// Declared is what is said about a T under a key.
type Declared[T any] struct {
	Key         string
	Value       T
	RenamedFrom string // the key that it had before; "" for none
	Place              // of the key

	said map[string]fieldsyaml.Place // by field
}

// At is where something is said about a field; else the place of the key.
func (d *Declared[T]) At(field string) Place {
	if at, ok := d.said[field]; ok {
		return Place{d.File, at.Line, at.Column}
	}
	return d.Place
}

// Rule is a rule that is declared.
type Rule struct {
	Declared[rule.Rule]
	Overrides string // the key, name or id of the rule that it overrides; "" for none
	Tests     []Test
}

// Pack is the head of a pack.
type Pack struct {
	Name        string   `yaml:"pack"`
	Description string   `yaml:"description"`
	Sources     []string `yaml:"sources"`
	Images      []string `yaml:"images"` // globs
}

// Set is what files declare.
type Set struct {
	Rules    []*Rule
	Triggers []*Declared[trigger.Trigger]
	Silences []*Declared[silence.Silence]
	Pack     Pack
	Digest   string // of the files, and of what references stand for
}

// parser reads files.
type parser struct {
	set      *Set
	wrong    Problems
	secrets  Secrets
	seen     map[string]Place // keys, by kind
	secret   map[string][][2]int
	resolved []string
	values   int // about how many there are in the files
	lines    int // in tests, as often as aliases repeat them
}

// Bounds of all files together.
const (
	maxValues = 500_000
	maxLines  = 100_000 // in tests
)

// Parse reads and checks files, whose names differ. What is wrong is told as *Problems,
// all of it; then there is no set.
func Parse(files []File, secrets Secrets) (*Set, error) {
	p := &parser{set: &Set{}, secrets: secrets, seen: map[string]Place{}, secret: map[string][][2]int{}}
	sum := sha256.New()
	for _, f := range files {
		fmt.Fprintf(sum, "%q %d\n", f.Name, len(f.Data))
		sum.Write(f.Data)
		p.file(f)
	}
	if len(p.wrong.List) > 0 {
		p.wrong.show(files, p.secret)
		return nil, p.wrong.err()
	}
	fmt.Fprintf(sum, "%q", p.resolved)
	p.set.Digest = hex.EncodeToString(sum.Sum(nil))
	return p.set, nil
}

// file reads one file.
func (p *parser) file(f File) {
	at := Place{File: f.Name}
	switch {
	case bytes.HasPrefix(f.Data, []byte("\xff\xfe")), bytes.HasPrefix(f.Data, []byte("\xfe\xff")):
		p.wrong.add(at, "is UTF-16: save it as UTF-8")
		return
	case !utf8.Valid(f.Data):
		for k, line := range bytes.Split(f.Data, []byte("\n")) {
			if !utf8.Valid(line) {
				p.wrong.add(Place{f.Name, k + 1, 0}, "is not UTF-8: save it as UTF-8")
				return
			}
		}
	case len(bytes.TrimSpace(f.Data)) == 0:
		p.wrong.add(at, "is empty; it begins with version: %d", Version)
		return
	}
	for _, c := range f.Data {
		switch c {
		case ',', '\n', ':', '[', '{':
			p.values++
		}
	}
	if p.values > maxValues {
		p.wrong.add(at, "has too much in it: all files together may have about %d values", maxValues)
		return
	}
	top, bad := fieldsyaml.Load(f.Data)
	if bad != nil {
		text := bad.Text
		if tabbed(f.Data, bad.Line) {
			text += "; there is a tab: indent by blanks"
		}
		p.wrong.add(Place{f.Name, bad.Line, bad.Column}, "%s", text)
		return
	}
	keys, values := fieldsyaml.Entries(top, p.say(f.Name))
	known := []string{"version", "rules", "triggers", "silences", "pack", "description", "sources", "images"}
	versioned, seen := false, map[string]int{}
	for k, key := range keys {
		value, at := values[k], place(f.Name, key)
		if before := seen[key.Value]; before > 0 {
			p.wrong.add(at, "%s: is there twice, also in line %d", printable(key.Value), before)
			continue
		}
		seen[key.Value] = key.Line
		switch name := key.Value; {
		case name == "version":
			versioned = true
			if n, err := strconv.Atoi(value.Value); value.Kind != yaml.ScalarNode || err != nil || n != Version {
				p.wrong.add(place(f.Name, value), "version: has to be %d, not %s", Version, printable(value.Value))
			}
		case name == "rules":
			p.entries(f.Name, "rule", value, p.rule)
		case name == "triggers":
			p.secret[f.Name] = append(p.secret[f.Name], [2]int{key.Line, lastLine(value)})
			p.entries(f.Name, "trigger", value, p.trigger)
		case name == "silences":
			p.entries(f.Name, "silence", value, p.silence)
		case name == "pack", name == "description", name == "sources", name == "images":
			p.pack(f.Name, name, value)
		case strings.HasPrefix(name, "x-"):
		default:
			hint := ""
			if meant, near := nearest.Name(name, known); near {
				hint = "; did you mean " + meant + "?"
			}
			p.wrong.add(at, "%.64s: unknown%s (known: %s, and what begins with x-)", printable(name), hint, strings.Join(known[:4], ", "))
		}
	}
	if !versioned && len(keys) > 0 {
		p.wrong.add(at, "version is missing: the file begins with version: %d", Version)
	}
}

// say adds what is wrong with a node.
func (p *parser) say(file string) func(*yaml.Node, string) {
	return func(n *yaml.Node, text string) { p.wrong.add(place(file, n), "%s", text) }
}

func place(file string, n *yaml.Node) Place { return Place{file, n.Line, n.Column} }

// lastLine is the last line in which a node, or one in it, begins or goes on.
func lastLine(n *yaml.Node) int {
	last := n.Line + strings.Count(n.Value, "\n")
	for _, c := range n.Content {
		last = max(last, lastLine(c))
	}
	return last
}

// tabbed reports whether a line, or the one before, is indented by a tab.
func tabbed(data []byte, line int) bool {
	for k, l := range bytes.Split(data, []byte("\n")) {
		if k+1 >= line-1 && k+1 <= line && bytes.Contains(l[:len(l)-len(bytes.TrimLeft(l, " \t"))], []byte("\t")) {
			return true
		}
	}
	return false
}

// entries reads what is declared of a kind, by key.
func (p *parser) entries(file, kind string, n *yaml.Node, read func(file, key string, at Place, value *yaml.Node)) {
	if n.ShortTag() == "!!null" {
		return
	}
	keys, values := fieldsyaml.Entries(n, p.say(file))
	for k, key := range keys {
		at := place(file, key)
		if err := rule.CheckName(key.Value); err != nil {
			p.wrong.add(at, "%s %.64q: the key %v", kind, key.Value, err)
			continue
		}
		if before, twice := p.seen[kind+" "+key.Value]; twice {
			p.wrong.add(at, "%s %s: is there twice, also at %s", kind, key.Value, before.Declared())
			continue
		}
		p.seen[kind+" "+key.Value] = at
		read(file, key.Value, at, values[k])
	}
}

// declare reads what is said about a T but for its key, as members for its table.
func declare[T fields.Defined[T]](p *parser, file, kind, key string, at Place, n *yaml.Node, aside ...string) (d Declared[T], members map[string]json.RawMessage, extra map[string]*yaml.Node, ok bool) {
	n = renamed(n)
	members, said, wrong := fieldsyaml.Members[T](n, append(aside, "renamed_from")...)
	for _, w := range wrong {
		p.wrong.add(Place{file, w.Line, w.Column}, "%s %s: %s", kind, key, w.Text)
	}
	if n.Kind != yaml.MappingNode {
		return d, nil, nil, false
	}
	d = Declared[T]{Key: key, Place: at, said: said}
	extra = map[string]*yaml.Node{}
	keys, values := fieldsyaml.Entries(n, func(*yaml.Node, string) {}) // Members has told
	for k, name := range keys {
		switch {
		case name.Value == "renamed_from":
			if d.RenamedFrom = values[k].Value; values[k].Kind != yaml.ScalarNode || rule.CheckName(d.RenamedFrom) != nil {
				p.wrong.add(place(file, values[k]), "%s %s: renamed_from: has to be a key", kind, key)
			}
		case slices.Contains(aside, name.Value):
			extra[name.Value] = values[k]
		}
	}
	return d, members, extra, len(wrong) == 0
}

// other are the names that fields have in files besides those of the API.
var other = map[string]string{"url": "action_url", "secret": "action_secret", "match": "matchers"}

// renamed is a mapping with the API's names, and with matchers as a list.
func renamed(n *yaml.Node) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return n
	}
	out := *n
	out.Content = slices.Clone(n.Content)
	for k := 0; k+1 < len(out.Content); k += 2 {
		key := out.Content[k]
		if to, ok := other[key.Value]; ok {
			as := *key
			as.Value = to
			key, out.Content[k] = &as, &as
		}
		if value := out.Content[k+1]; key.Value == "matchers" {
			out.Content[k+1] = matchers(value)
		}
	}
	return &out
}

// matchers is a list of FIELD=VALUE of a mapping.
func matchers(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return n
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Line: n.Line, Column: n.Column}
	keys, values := fieldsyaml.Entries(n, func(*yaml.Node, string) {})
	for k, key := range keys {
		item := *values[k]
		if item.Kind == yaml.ScalarNode {
			item.Value, item.Tag = key.Value+"="+item.Value, "!!str"
		}
		list.Content = append(list.Content, &item)
	}
	return list
}

// reject tells what is wrong with a field of what is declared.
func reject[T any](p *parser, kind string, d *Declared[T], err error) {
	var fe *fields.Error
	if errors.As(err, &fe) {
		p.wrong.add(d.At(fe.Field), "%s %s: %v", kind, d.Key, err)
		return
	}
	p.wrong.add(d.Place, "%s %s: %v", kind, d.Key, err)
}

// named has what is declared be called as its key, where nothing is said.
func named(members map[string]json.RawMessage, key string) {
	if _, said := members["name"]; !said {
		b, err := json.Marshal(key)
		if err != nil {
			panic(err) // a text
		}
		members["name"] = b
	}
}

// maxTests is how many tests a rule may have.
const maxTests = 100

func (p *parser) rule(file, key string, at Place, n *yaml.Node) {
	d, members, extra, ok := declare[rule.Rule](p, file, "rule", key, at, n, "tests")
	if members == nil {
		return
	}
	r := &Rule{Declared: d}
	if tests := extra["tests"]; tests != nil {
		r.Tests = p.tests(file, key, tests)
	}
	if !ok {
		return
	}
	named(members, key)
	if raw, said := members["overrides_id"]; said && string(raw) != "null" && string(raw) != "0" && json.Unmarshal(raw, &r.Overrides) != nil {
		r.Overrides = string(raw) // a number
	}
	delete(members, "overrides_id")
	r.Value = rule.New()
	err := rule.Fields.Apply(&r.Value, members)
	if err == nil {
		err = rule.Fields.Validate(r.Value)
	}
	if err == nil && r.Overrides != "" && r.Value.WorkloadID == "" {
		err = &fields.Error{Field: "overrides_id", Reason: "goes with a workload_id: a rule is overridden in a workload"}
	}
	if err != nil {
		reject(p, "rule", &r.Declared, err)
		return
	}
	p.set.Rules = append(p.set.Rules, r)
}

// secretFields are those of a trigger that may refer to secrets.
var secretFields = []string{"action_url", "action_secret"}

func (p *parser) trigger(file, key string, at Place, n *yaml.Node) {
	d, members, _, ok := declare[trigger.Trigger](p, file, "trigger", key, at, n)
	if !ok {
		return
	}
	named(members, key)
	d.Value = trigger.Fields.New()
	refs := map[string]string{}
	for _, name := range secretFields {
		var text string
		if json.Unmarshal(members[name], &text) != nil || text == "" {
			continue
		}
		if text != Stored && len(References(text)) == 0 {
			continue
		}
		value, err := "", errUnknown
		if text != Stored {
			value, err = resolved(text, p.secrets)
		}
		if errors.Is(err, errUnknown) { // it is accepted
			refs[name] = text
			if name == "action_url" {
				members[name] = json.RawMessage(`"https://stored.invalid/"`)
			}
			continue
		}
		if err != nil {
			p.wrong.add(d.At(name), "trigger %s: %s: %v", key, name, err)
			return
		}
		refs[name] = text
		p.resolved = append(p.resolved, value)
		b, err := json.Marshal(value)
		if err != nil {
			panic(err) // a text
		}
		members[name] = b
	}
	err := trigger.Fields.Apply(&d.Value, members)
	if err == nil {
		err = trigger.Fields.Validate(d.Value)
	}
	if err != nil {
		reject(p, "trigger", &d, err)
		return
	}
	if len(refs) > 0 {
		d.Value.Refs = refs
	}
	p.set.Triggers = append(p.set.Triggers, &d)
}

func (p *parser) silence(file, key string, at Place, n *yaml.Node) {
	said, members, _, ok := declare[silence.Declaration](p, file, "silence", key, at, n)
	if !ok {
		return
	}
	v := silence.Declared.New()
	err := silence.Declared.Apply(&v, members)
	d := &Declared[silence.Silence]{Key: key, Place: at, RenamedFrom: said.RenamedFrom, said: said.said}
	if err == nil {
		d.Value, err = v.Silence()
	}
	if err != nil {
		reject(p, "silence", d, err)
		return
	}
	p.set.Silences = append(p.set.Silences, d)
}

// pack reads a line of a pack's head.
func (p *parser) pack(file, name string, n *yaml.Node) {
	var err error
	switch name {
	case "pack":
		p.set.Pack.Name = n.Value
		err = rule.CheckName(n.Value)
	case "description":
		p.set.Pack.Description = n.Value
		err = rule.CheckText(n.Value, rule.MaxDescription)
	case "sources":
		err = n.Decode(&p.set.Pack.Sources)
	case "images":
		err = n.Decode(&p.set.Pack.Images)
	}
	if err != nil {
		p.wrong.add(place(file, n), "%s: %v", name, err)
	}
}

// TestCount is how many tests rules have.
func (s *Set) TestCount() (n int) {
	for _, r := range s.Rules {
		n += len(r.Tests)
	}
	return n
}

// Elsewhere are the triggers that rules name and the set doesn't declare.
func (s *Set) Elsewhere() (names []string) {
	here := map[string]bool{}
	for _, t := range s.Triggers {
		here[t.Value.Name] = true
	}
	for _, r := range s.Rules {
		for _, name := range r.Value.Triggers {
			if !here[name] {
				here[name] = true
				names = append(names, name)
			}
		}
	}
	return names
}
