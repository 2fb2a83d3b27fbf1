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

	name  string
	lines map[string]int
}

// At is where the file says something about a field, as NAME:LINE; "" where it doesn't.
func (f File) At(field string) string {
	if line, said := f.lines[field]; said {
		return fmt.Sprintf("%s:%d", f.name, line)
	}
	return ""
}

// problem is what is wrong at a line; 0 where that isn't known.
type problem struct {
	line int
	text string
}

// Read reads what a file with a name says about a T: one document, a mapping of fields.
// The error has a line for each thing that is wrong, with its place. What values may be
// is left to the table.
func Read[T fields.Defined[T]](name string, data []byte) (File, error) {
	f := File{Members: map[string]json.RawMessage{}, name: name, lines: map[string]int{}}
	var doc yaml.Node
	if err := yaml.Load(data, &doc); err != nil {
		return f, f.refuse([]problem{malformed(err)})
	}
	top := doc.Content[0] // Load refuses a file without a document
	if top.Kind != yaml.MappingNode {
		return f, f.refuse([]problem{{top.Line, "there have to be fields, such as name: " + fields.Of[T]().What + "1"}})
	}
	var wrong []problem
	say := func(n *yaml.Node, format string, args ...any) {
		wrong = append(wrong, problem{n.Line, fmt.Sprintf(format, args...)})
	}
	known := fields.Of[T]().All
	for k := 0; k+1 < len(top.Content); k += 2 {
		key, value := top.Content[k], resolve(top.Content[k+1])
		at := slices.IndexFunc(known, func(f fields.Field[T]) bool { return f.Name == key.Value })
		_, twice := f.lines[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode:
			say(key, "a field's name has to be a text")
		case at < 0 && ownField[T](key.Value): // what was read can be sent back
		case at < 0:
			say(key, "%s: unknown field%s", printable(key.Value), suggest(key.Value, known))
		case twice:
			say(key, "%s: is there twice, also in line %d", key.Value, f.lines[key.Value])
		default:
			f.lines[key.Value] = key.Line
			raw, err := member(known[at], value)
			if err != nil {
				say(value, "%s: %v", key.Value, err)
			}
			f.Members[key.Value] = raw
		}
	}
	return f, f.refuse(wrong)
}

// refuse makes an error of problems; nil where there are none.
func (f File) refuse(wrong []problem) error {
	slices.SortStableFunc(wrong, func(a, b problem) int { return cmp.Compare(a.line, b.line) })
	var errs []error
	for _, p := range wrong {
		at := f.name
		if p.line > 0 {
			at = fmt.Sprintf("%s:%d", f.name, p.line)
		}
		errs = append(errs, fmt.Errorf("%s: %s", at, p.text))
	}
	return errors.Join(errs...)
}

// malformed is why text is no YAML.
func malformed(err error) problem {
	var one *yaml.LoadError
	var all *yaml.LoadErrors
	if errors.As(err, &all) && len(all.Errors) > 0 {
		one = all.Errors[0]
	} else if !errors.As(err, &one) {
		return problem{0, err.Error()}
	}
	text := strings.TrimPrefix(one.Message, "yaml: ")
	if one.ContextMsg != "" {
		text += fmt.Sprintf(" (%s, which begins in line %d)", one.ContextMsg, one.ContextMark.Line)
	}
	return problem{one.Mark.Line, text}
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
	t := reflect.TypeFor[T]()
	for k := range t.NumField() {
		if t.Field(k).Tag.Get("readOnly") != "" && t.Field(k).Tag.Get("json") == name {
			return true
		}
	}
	return false
}

func suggest[T any](name string, known []fields.Field[T]) string {
	names := make([]string, len(known))
	for k, f := range known {
		names[k] = f.Name
	}
	hint := ""
	if meant, near := nearest.Name(name, names); near {
		hint = "; did you mean " + meant + "?"
	}
	return hint + " (known: " + strings.Join(names, ", ") + ")"
}

// printable is a text as it may be shown.
func printable(s string) string { return strings.Trim(strconv.Quote(s), `"`) }

// member is a field's value in JSON.
func member[T any](f fields.Field[T], n *yaml.Node) (json.RawMessage, error) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return json.RawMessage("null"), nil
	}
	switch t := f.Type(); {
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

func texts(n *yaml.Node) ([]string, error) {
	all := []string{}
	for k, item := range n.Content {
		s, err := text(item)
		if err != nil {
			return nil, fmt.Errorf("number %d of the list %w", k+1, err)
		}
		all = append(all, s)
	}
	return all, nil
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
	top, err := Mapping(v)
	if err != nil {
		return nil, err
	}
	out, err := yaml.Dump(top, yaml.WithLineWidth(-1))
	return append([]byte("# "+about+"\n"), out...), err
}

// Mapping is what is said about v, but for what has its default, in the order of the
// table.
func Mapping[T fields.Defined[T]](v T) (*yaml.Node, error) {
	top := &yaml.Node{Kind: yaml.MappingNode}
	table := fields.Of[T]()
	usual := table.New()
	for _, f := range table.All {
		value := f.Value(v)
		if f.Of != "" || f.Default != nil && reflect.DeepEqual(asJSON(value), asJSON(f.Value(usual))) {
			continue
		}
		node, err := node(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		if n, ok := value.(int64); ok && f.Kind == fields.Duration && n >= 60 {
			node.LineComment = "# " + (time.Duration(n) * time.Second).String()
		}
		top.Content = append(top.Content, scalar(f.Name), node)
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
		return scalar(v), nil
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

func scalar(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if ambiguous.MatchString(s) {
		n.Style = yaml.SingleQuotedStyle
	}
	return n
}
