// Package fields makes, of one table with a line for each field of a struct, all
// that is done with what people say about a thing such as a rule: its defaults,
// the members of a JSON object that change it, its validation and its stored form.
// The API's bodies and their description, the command line's options and the
// manual's tables are made from the same lines.
package fields

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"logscan/internal/event"
)

// Field is what can be said about one thing of a T.
type Field[T any] struct {
	Name    string   // in JSON
	Flag    string   // on the command line; of an argument, its name in capitals
	Kind    Kind     // how the command line reads it
	Default any      // what null means, and absence in a new T; nil: it has to be given
	None    string   // what an empty one means, in a word
	Values  []string // all that it, or each of a List, can be; nil: there is no list
	Doc     string
	Usage   string // what the command line says of its option; "" for Description
	Of      string // the field that says the same and more: this one is for those who don't know it, and isn't stored

	Check func(T) error // the reason that refuses it, or an Error of another field

	index    int             // of the struct's field
	fallback json.RawMessage // Default
}

// Kind is how a field is given on the command line.
type Kind int

// The kinds of fields.
const (
	Text     Kind = iota
	Duration      // in whole seconds
	Switch        // by commands of its own
	Bool          // an option that is given or not
	Workload      // Text that is a workload
	Override      // a rule, by name or id
	Listed        // a List, several times or with commas
	Several       // Texts, an option that may be given several times
	Secret        // Text that a file or standard input may hold
	Count         // a whole number
)

// Error refuses a thing because of one of its fields, by its name in JSON.
type Error struct {
	Field  string
	Reason string
}

func (e *Error) Error() string { return e.Field + ": " + e.Reason }

// Table has all that can be said about a T, in the order of the struct.
type Table[T any] struct {
	What string // a T is
	All  []Field[T]

	settle func(v *T, said func(name string) bool) error // nil: the fields don't depend on each other
}

// Settled has settle make the fields of v agree wherever v is changed or stored, by
// those that are said, and returns t. What it finds is an *Error.
func (t *Table[T]) Settled(settle func(v *T, said func(name string) bool) error) *Table[T] {
	t.settle = settle
	return t
}

// Defined is a T that a table describes.
type Defined[T any] interface {
	// Table is the same for each T.
	Table() *Table[T]
}

// Of is the table of T.
func Of[T Defined[T]]() *Table[T] {
	var none T
	return none.Table()
}

// NewTable makes a table, of which each line is about the field of T with its name
// in JSON. Fields that are tagged readOnly are logscan's own and in no line. It
// panics where there is a line too many or too few, or a default is of another type.
func NewTable[T any](what string, lines ...Field[T]) *Table[T] {
	t := reflect.TypeFor[T]()
	n := 0
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("readOnly") != "" {
			continue
		}
		name := t.Field(i).Tag.Get("json")
		at := slices.IndexFunc(lines, func(f Field[T]) bool { return f.Name == name })
		if at != n {
			panic("fields: the table of a " + what + " and its struct differ at " + name)
		}
		lines[at].index = i
		n++
	}
	if n != len(lines) {
		panic("fields: the table of a " + what + " has a field that is not in its struct")
	}
	var v T
	for i, f := range lines {
		b, err := json.Marshal(f.Default)
		if err == nil && f.Default != nil {
			err = f.set(&v, b)
		}
		if err != nil {
			panic(fmt.Sprintf("fields: the default of a %s's %s: %v", what, f.Name, err))
		}
		lines[i].fallback = b
	}
	return &Table[T]{What: what, All: lines}
}

// Type is the type of the field in T.
func (f Field[T]) Type() reflect.Type { return reflect.TypeFor[T]().Field(f.index).Type }

// Description is Doc with what the field can be, and what an empty one means.
func (f Field[T]) Description() string {
	s := f.Doc
	if f.Values != nil {
		s += ": " + event.OneOf(f.Values)
	}
	if f.None != "" {
		s += " (default " + f.None + ")"
	}
	return s
}

// IsArgument reports whether the command line takes the field by its place.
func (f Field[T]) IsArgument() bool { return f.Flag == strings.ToUpper(f.Flag) }

// Value is the field in v.
func (f Field[T]) Value(v T) any { return f.of(&v).Interface() }

func (f Field[T]) of(v *T) reflect.Value { return reflect.ValueOf(v).Elem().Field(f.index) }

// set gives the field a value in JSON.
func (f Field[T]) set(v *T, raw json.RawMessage) error {
	said := reflect.New(f.Type()) // a slice is not to be overwritten where it is another T's too
	if err := json.Unmarshal(raw, said.Interface()); err != nil {
		return err
	}
	f.of(v).Set(said.Elem())
	return nil
}

// texts are the values of a List, or the one of a text; of an empty one that has a
// meaning, there are none.
func (f Field[T]) texts(v T) (out []string) {
	is := f.of(&v)
	if is.Kind() != reflect.Slice && is.Kind() != reflect.String {
		return nil
	}
	if is.Kind() == reflect.Slice {
		for i := range is.Len() {
			out = append(out, is.Index(i).String())
		}
		return out
	}
	if is.String() == "" && f.Default == "" {
		return nil
	}
	return []string{is.String()}
}

// validate checks the field in v.
func (f Field[T]) validate(v T) error {
	var err error
	for _, s := range f.texts(v) {
		if f.Values != nil && !slices.Contains(f.Values, s) {
			err = fmt.Errorf("must be %s, not %.64q", event.OneOf(f.Values), s)
		}
	}
	if err == nil && f.Check != nil {
		err = f.Check(v)
	}
	var other *Error
	if err == nil || errors.As(err, &other) {
		return err
	}
	return &Error{f.Name, err.Error()}
}

// New returns a T with every default.
func (t *Table[T]) New() T {
	var v T
	for _, f := range t.All {
		_ = f.set(&v, f.fallback) // NewTable has tried it
	}
	return v
}

// Apply changes v as the members of a JSON object say; null is the default. What
// isn't there stays, and what isn't a field is ignored. It doesn't validate; what
// it finds is an *Error.
func (t *Table[T]) Apply(v *T, members map[string]json.RawMessage) error {
	for _, f := range t.All {
		raw, ok := members[f.Name]
		if !ok {
			continue
		}
		if string(raw) == "null" {
			if f.Default == nil {
				return &Error{f.Name, "can't be null"}
			}
			raw = f.fallback
		}
		if err := f.set(v, raw); err != nil {
			return &Error{f.Name, "has a value of another type, or one that is too large"}
		}
	}
	return t.settled(v, func(name string) bool { _, ok := members[name]; return ok })
}

// Settle makes the fields of v agree, of which nothing is said.
func (t *Table[T]) Settle(v *T) error { return t.settled(v, func(string) bool { return false }) }

func (t *Table[T]) settled(v *T, said func(name string) bool) error {
	if t.settle == nil {
		return nil
	}
	return t.settle(v, said)
}

// Validate checks all that can be said about v alone; what it finds is an *Error.
func (t *Table[T]) Validate(v T) error {
	for _, f := range t.All {
		if err := f.validate(v); err != nil {
			return err
		}
	}
	return nil
}

// ValidateChange is Validate for what differs between two states of a T: what was
// accepted once stays so, whatever the bounds of today.
func (t *Table[T]) ValidateChange(from, to T) error {
	for _, f := range t.All {
		if reflect.DeepEqual(f.Value(from), f.Value(to)) {
			continue
		}
		if err := f.validate(to); err != nil {
			return err
		}
	}
	return nil
}

// The stored form of all that is said about a T is a JSON object: its fields and
//
//	"version": 1
//
// A field that isn't there has its default, so that a new one needs no other
// version; the meaning of one that is there never changes within a version.
const definitionVersion = 1

// MarshalDefinition encodes what is said about v, secrets too.
func (t *Table[T]) MarshalDefinition(v T) ([]byte, error) {
	out := map[string]any{"version": definitionVersion}
	if err := t.Settle(&v); err != nil {
		return nil, err
	}
	for _, f := range t.All {
		if f.Of == "" {
			out[f.Name] = f.Value(v)
		}
	}
	return json.Marshal(out)
}

// UnmarshalDefinition makes v say what was encoded; what is logscan's own in it
// stays.
func (t *Table[T]) UnmarshalDefinition(b []byte, v *T) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return fmt.Errorf("definition of a %s: %w", t.What, err)
	}
	var version int
	if err := json.Unmarshal(members["version"], &version); err != nil || version < 1 || version > definitionVersion {
		return fmt.Errorf("definition of a %s: version %s is not known", t.What, members["version"])
	}
	said := t.New()
	if err := t.Apply(&said, members); err != nil {
		return fmt.Errorf("definition of a %s: %w", t.What, err)
	}
	for _, f := range t.All {
		f.of(v).Set(f.of(&said))
	}
	return nil
}
