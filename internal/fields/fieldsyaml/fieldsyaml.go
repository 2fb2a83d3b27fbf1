// Package fieldsyaml reads and writes what a table of fields describes as YAML, for
// people who keep it in files. Names are those of the JSON form, and so are values; but
// that times may be written 5m, lists as lists, and a rule as its name.
package fieldsyaml

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"logscan/internal/fields"
	"logscan/internal/nearest"
)

// File is what a file says about a T.
type File struct {
	Members map[string]json.RawMessage // as Table.Apply takes them; a rule may be a text

	name string
	at   map[string]Place
}

// Place is where in a file something stands; lines and columns count from 1.
type Place struct{ Line, Column int }

// PlaceOf is where a node begins.
func PlaceOf(n *yaml.Node) Place { return Place{n.Line, n.Column} }

// Problem is what is wrong at a place, which is zero where that isn't known.
type Problem struct {
	Place
	Text string
}

// At is where the file says something about a field, as NAME:LINE; "" where it doesn't.
func (f File) At(field string) string {
	if at, said := f.at[field]; said {
		return fmt.Sprintf("%s:%d", f.name, at.Line)
	}
	return ""
}

// Read reads what a file with a name says about a T: one document, a mapping of fields.
// The error has a line for each thing that is wrong, with its place. What values may be
// is left to the table.
func Read[T fields.Defined[T]](name string, data []byte) (File, error) {
	f := File{name: name}
	top, err := Load(data)
	if err != nil {
		return f, f.refuse([]Problem{*err})
	}
	var wrong []Problem
	f.Members, f.at, wrong = Members[T](top)
	return f, f.refuse(wrong)
}

// Load reads one document.
func Load(data []byte) (*yaml.Node, *Problem) {
	var doc yaml.Node
	if err := yaml.Load(data, &doc); err != nil {
		p := malformed(err)
		return nil, &p
	}
	return resolve(doc.Content[0]), nil // Load refuses a file without a document
}

// Entries yields the keys and values of a mapping, of those that it has from others (<<)
// too, which its own go before. What is no mapping, or can't be merged, is told.
func Entries(n *yaml.Node, say func(at *yaml.Node, text string)) (keys, values []*yaml.Node) {
	left := maxMerged
	return entries(n, say, &left)
}

// Bounds of what is merged into a mapping: of mappings, and of entries of each.
const (
	maxMerged  = 64
	maxEntries = 256
)

func entries(n *yaml.Node, say func(*yaml.Node, string), left *int) (keys, values []*yaml.Node) {
	if n = resolve(n); n.Kind != yaml.MappingNode {
		say(n, "has to be a mapping: names, each with a colon and a value behind it")
		return nil, nil
	}
	var merged []*yaml.Node
	own := map[string]bool{}
	for k := 0; k+1 < len(n.Content); k += 2 {
		key, value := n.Content[k], resolve(n.Content[k+1])
		switch {
		case key.Kind != yaml.ScalarNode:
			say(key, "a name has to be a text")
		case key.ShortTag() == "!!merge" && value.Kind == yaml.SequenceNode:
			merged = append(merged, value.Content...)
		case key.ShortTag() == "!!merge":
			merged = append(merged, value)
		default:
			own[key.Value] = true
			keys, values = append(keys, key), append(values, value)
		}
	}
	for _, m := range merged {
		if *left--; *left < -1 {
			break
		}
		if *left < 0 || len(resolve(m).Content) > 2*maxEntries {
			say(n, fmt.Sprintf("there may be at most %d mappings merged into it (<<), of at most %d entries each", maxMerged, maxEntries))
			break
		}
		more, of := entries(m, say, left)
		for k, key := range more {
			if !own[key.Value] {
				own[key.Value] = true
				keys, values = append(keys, key), append(values, of[k])
			}
		}
	}
	return keys, values
}

// Members reads a mapping of what is said about a T, and where. Names in aside are no
// fields and left out.
func Members[T fields.Defined[T]](n *yaml.Node, aside ...string) (members map[string]json.RawMessage, at map[string]Place, wrong []Problem) {
	members, at = map[string]json.RawMessage{}, map[string]Place{}
	say := func(n *yaml.Node, text string) { wrong = append(wrong, Problem{PlaceOf(n), text}) }
	known := fields.Of[T]().All
	if resolve(n).Kind != yaml.MappingNode {
		say(n, "there have to be fields, such as "+known[0].Name+": "+fields.Of[T]().What+"1")
		return members, at, wrong
	}
	keys, values := Entries(n, say)
	for k, key := range keys {
		f, is := find(key.Value, known)
		before, twice := at[f.Name]
		switch {
		case slices.Contains(aside, key.Value):
		case !is && ownField[T](key.Value): // what was read can be sent back
		case !is:
			say(key, printable(key.Value)+": unknown field"+suggest(key.Value, known))
		case twice:
			say(key, fmt.Sprintf("%s: is there twice, also in line %d", key.Value, before.Line))
		default:
			at[f.Name] = PlaceOf(key)
			raw, err := member(f, values[k])
			if err != nil {
				say(values[k], fmt.Sprintf("%s: %v", key.Value, err))
			}
			members[f.Name] = raw
		}
	}
	return members, at, wrong
}

// find is the field with a name; that of a duration may stand without its unit.
func find[T any](name string, known []fields.Field[T]) (fields.Field[T], bool) {
	for _, f := range known {
		if f.Name == name || f.Kind == fields.Duration && f.Name == name+"_seconds" {
			return f, true
		}
	}
	return fields.Field[T]{}, false
}

// refuse makes an error of problems; nil where there are none.
func (f File) refuse(wrong []Problem) error {
	slices.SortStableFunc(wrong, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	var errs []error
	for _, p := range wrong {
		at := f.name
		if p.Line > 0 {
			at = fmt.Sprintf("%s:%d", f.name, p.Line)
		}
		errs = append(errs, fmt.Errorf("%s: %s", at, p.Text))
	}
	return errors.Join(errs...)
}

// malformed is why text is no YAML.
func malformed(err error) Problem {
	var one *yaml.LoadError
	var all *yaml.LoadErrors
	if errors.As(err, &all) && len(all.Errors) > 0 {
		one = all.Errors[0]
	} else if !errors.As(err, &one) {
		return Problem{Text: err.Error()}
	}
	text := strings.TrimPrefix(one.Message, "yaml: ")
	if one.ContextMsg != "" {
		text += fmt.Sprintf(" (%s, which begins in line %d)", one.ContextMsg, one.ContextMark.Line)
	}
	return Problem{Place{one.Mark.Line, one.Mark.Column}, text}
}

// resolve is what an alias stands for.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// ownField reports whether a T has a field with this name that only logscan sets.
func ownField[T any](name string) bool {
	return slices.ContainsFunc(reflect.VisibleFields(reflect.TypeFor[T]()), func(f reflect.StructField) bool {
		in, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		return f.Tag.Get("readOnly") != "" && in == name
	})
}

func suggest[T any](name string, known []fields.Field[T]) string {
	names := make([]string, len(known))
	for k, f := range known {
		names[k] = f.Name
	}
	if meant, near := nearest.Name(name, names); near {
		return "; did you mean " + meant + "?"
	}
	return " (known: " + strings.Join(names, ", ") + ")"
}

// printable is a text as it may be shown.
func printable(s string) string { return strings.Trim(strconv.Quote(s), `"`) }

// member is a field's value in JSON.
func member[T any](f fields.Field[T], n *yaml.Node) (json.RawMessage, error) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return json.RawMessage("null"), nil
	}
	switch t := f.Type(); {
	case t.Kind() == reflect.Slice && isText(t) && n.Kind == yaml.MappingNode:
		all, err := pairs(n)
		return encode(strings.Join(all, ","), err)
	case t.Kind() == reflect.Slice && isText(t):
		if n.Kind != yaml.SequenceNode {
			s, err := text(n)
			return encode(s, err)
		}
		all, err := texts(n)
		for _, s := range all {
			if strings.Contains(s, ",") {
				return nil, fmt.Errorf("%q has a comma, which ends a value", s)
			}
		}
		return encode(strings.Join(all, ","), err)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String:
		if n.Kind != yaml.SequenceNode {
			return nil, errors.New("has to be a list, each text in a line of its own behind a -")
		}
		return encode(texts(n))
	case t.Kind() == reflect.String:
		s, err := text(n)
		return encode(s, err)
	case t.Kind() == reflect.Bool:
		var b bool
		if n.Kind != yaml.ScalarNode || n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 || n.Decode(&b) != nil {
			return nil, errors.New("has to be true or false")
		}
		return encode(b, nil)
	case f.Kind == fields.Duration:
		s, err := text(n)
		if err != nil {
			return nil, err
		}
		seconds, err := seconds(s)
		return encode(seconds, err)
	case t.Kind() == reflect.Int64:
		s, err := text(n)
		if err != nil {
			return nil, err
		}
		if number, err := strconv.ParseInt(s, 10, 64); err == nil {
			return encode(number, nil)
		}
		if f.Kind == fields.Override {
			return encode(s, nil)
		}
		return nil, errors.New("has to be a whole number")
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, errors.New("can't be read")
	}
	return encode(v, nil)
}

// isText reports whether a type is a text in JSON, whatever it is in Go.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func encode(v any, err error) (json.RawMessage, error) {
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// text is a scalar as it is written: what other programs take for a number, a truth or a
// date is none where a text is meant.
func text(n *yaml.Node) (string, error) {
	n = resolve(n)
	switch {
	case n.Kind != yaml.ScalarNode:
		return "", errors.New("has to be a text: put it into quotes, behind the name")
	case !slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}, n.ShortTag()):
		return "", fmt.Errorf("has to be a text, not %s", printable(n.ShortTag()))
	}
	return n.Value, nil
}

// maxTexts is how many texts a field's list may have; what may be in it is less.
const maxTexts = 1000

func texts(n *yaml.Node) ([]string, error) {
	all := []string{}
	if len(n.Content) > maxTexts {
		return nil, fmt.Errorf("is a list of more than %d", maxTexts)
	}
	for k, item := range n.Content {
		s, err := text(item)
		if err != nil {
			return nil, fmt.Errorf("number %d of the list %w", k+1, err)
		}
		all = append(all, s)
	}
	return all, nil
}

// pairs are the entries of a mapping as KEY=VALUE, or KEY where there is no value.
func pairs(n *yaml.Node) (all []string, err error) {
	if len(n.Content) > 2*maxTexts {
		return nil, fmt.Errorf("has more than %d entries", maxTexts)
	}
	keys, values := Entries(n, func(_ *yaml.Node, text string) { err = errors.New(text) })
	for k, key := range keys {
		s := key.Value
		if v := values[k]; v.ShortTag() != "!!null" {
			value, err := text(v)
			if err != nil {
				return nil, fmt.Errorf("%s %w", printable(s), err)
			}
			s += "=" + value
		}
		if strings.Contains(s, ",") {
			return nil, fmt.Errorf("%q has a comma, which ends a value", s)
		}
		all = append(all, s)
	}
	return all, err
}

// seconds reads 90, 90s or 1h30m.
func seconds(s string) (int64, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d%time.Second != 0 {
		return 0, fmt.Errorf("%q is no duration in whole seconds, such as 90s, 5m, 1h or 0", s)
	}
	return int64(d / time.Second), nil
}

// Write writes what is said about v, but for what has its default. What it writes Read
// gives back. about is a comment of one line before it.
func Write[T fields.Defined[T]](about string, v T) ([]byte, error) {
	top, err := Node(v)
	if err != nil {
		return nil, err
	}
	out, err := yaml.Dump(top, yaml.WithLineWidth(-1))
	return append([]byte("# "+about+"\n"), out...), err
}

// Node is a mapping of what is said about v, but for what has its default, and for the
// fields that are aside.
func Node[T fields.Defined[T]](v T, aside ...string) (*yaml.Node, error) {
	top := &yaml.Node{Kind: yaml.MappingNode}
	table := fields.Of[T]()
	usual := table.New()
	for _, f := range table.All {
		value := f.Value(v)
		if f.Of != "" || slices.Contains(aside, f.Name) || f.Default != nil && reflect.DeepEqual(asJSON(value), asJSON(f.Value(usual))) {
			continue
		}
		node, err := node(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		if n, ok := value.(int64); ok && f.Kind == fields.Duration && n >= 60 {
			node.LineComment = "# " + (time.Duration(n) * time.Second).String()
		}
		top.Content = append(top.Content, Scalar(f.Name), node)
	}
	return top, nil
}

// asJSON is a value as JSON has it.
func asJSON(v any) (out any) {
	b, err := json.Marshal(v)
	if err != nil || json.Unmarshal(b, &out) != nil {
		return v
	}
	return out
}

// node is a value as YAML has it.
func node(v any) (*yaml.Node, error) {
	switch v := asJSON(v).(type) {
	case string:
		return Scalar(v), nil
	case []any:
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range v {
			n, err := node(item)
			if err != nil {
				return nil, err
			}
			list.Content = append(list.Content, n)
		}
		return list, nil
	}
	n := &yaml.Node{}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	err = yaml.Load(b, n) // JSON is YAML
	if err == nil {
		n = n.Content[0]
	}
	return n, err
}

// ambiguous is what some programs don't take for a text, though this one does.
var ambiguous = regexp.MustCompile(`^(?i:y|n|yes|no|on|off|true|false|=|[-+]?[0-9][0-9_:.]*)$`)

// Scalar is a text that each reader takes for one.
func Scalar(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if ambiguous.MatchString(s) {
		n.Style = yaml.SingleQuotedStyle
	}
	return n
}
