package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"logscan/internal/fields"
	"logscan/internal/rule"
	"logscan/internal/trigger"
)

// Fields are what can be said about a T, by their names in JSON (its table's).
// Absent ones stay as they are, or get their default in a new T; nil, in JSON null,
// is the default too.
type Fields[T fields.Defined[T]] map[string]any

// UnmarshalJSON keeps the values as they were sent.
func (f *Fields[T]) UnmarshalJSON(b []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return err
	}
	*f = make(Fields[T], len(members))
	for name, v := range members {
		(*f)[name] = v
	}
	return nil
}

// Schema describes an object of any of a T's fields. Those that only logscan sets
// are accepted, so that what was read can be sent back, and ignored.
func (Fields[T]) Schema(r huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: false, Properties: map[string]*huma.Schema{}}
	echo := huma.SchemaFromType(r, reflect.TypeFor[Echo]())
	maps.Copy(s.Properties, echo.Properties)
	for _, f := range fields.Of[T]().All {
		p := *r.Schema(f.Type(), true, "")
		p.Nullable = f.Default != nil
		p.Description = describe(f)
		s.Properties[f.Name] = &p
	}
	s.PrecomputeMessages()
	return s
}

// newSchema is Schema with what has to be said about a new T.
func (f Fields[T]) newSchema(r huma.Registry) *huma.Schema {
	s := f.Schema(r)
	for _, f := range fields.Of[T]().All {
		if f.Default == nil {
			s.Required = append(s.Required, f.Name)
		}
	}
	s.PrecomputeMessages()
	return s
}

// describe says what a field is about, and what it is where nothing is said.
func describe[T any](f fields.Field[T]) string {
	if is := reflect.ValueOf(f.Default); f.Default == nil || is.IsZero() || is.Kind() == reflect.Slice {
		return f.Description()
	}
	return fmt.Sprintf("%s; default %v", f.Description(), f.Default)
}

// describeRead gives a T that is read, which the API calls name, the descriptions of
// its fields.
func describeRead[T fields.Defined[T]](schemas huma.Registry, name string) {
	s := schemas.Map()[name]
	for _, f := range fields.Of[T]().All {
		s.Properties[f.Name].Description = describe(f)
	}
}

// create makes a T as f says, and checks it.
func (f Fields[T]) create() (T, error) {
	v := fields.Of[T]().New()
	if err := f.apply(&v); err != nil {
		return v, err
	}
	return v, fields.Of[T]().Validate(v)
}

// change returns from as f says, and checks what that changes.
func (f Fields[T]) change(from T) (T, error) {
	v := from
	if err := f.apply(&v); err != nil {
		return v, err
	}
	return v, fields.Of[T]().ValidateChange(from, v)
}

func (f Fields[T]) apply(v *T) error {
	members := make(map[string]json.RawMessage, len(f))
	for name, value := range f {
		b, err := json.Marshal(value)
		if err != nil {
			return err
		}
		members[name] = b
	}
	return fields.Of[T]().Apply(v, members)
}

// text is what f says about a field, if that is a text, and else "".
func (f Fields[T]) text(name string) (s string) {
	b, err := json.Marshal(f[name])
	if err != nil || json.Unmarshal(b, &s) != nil {
		return ""
	}
	return s
}

// with makes one JSON object of f and more.
func (f Fields[T]) with(more map[string]any) ([]byte, error) {
	all := maps.Clone(map[string]any(f))
	if all == nil {
		all = map[string]any{}
	}
	maps.Copy(all, more)
	return json.Marshal(all)
}

// RuleFields are what can be said about a rule.
type RuleFields = Fields[rule.Rule]

// RuleCreate is a new rule.
type RuleCreate struct {
	Name, Pattern string
	RuleFields
}

// MarshalJSON makes one object of all.
func (c RuleCreate) MarshalJSON() ([]byte, error) {
	return c.with(map[string]any{"name": c.Name, "pattern": c.Pattern})
}

// Schema implements huma.SchemaProvider.
func (c RuleCreate) Schema(r huma.Registry) *huma.Schema { return c.newSchema(r) }

// TriggerFields are what can be said about a trigger.
type TriggerFields = Fields[trigger.Trigger]

// TriggerCreate is a new trigger.
type TriggerCreate struct {
	Name, ActionURL string
	TriggerFields
}

// MarshalJSON makes one object of all.
func (c TriggerCreate) MarshalJSON() ([]byte, error) {
	return c.with(map[string]any{"name": c.Name, "action_url": c.ActionURL})
}

// Schema implements huma.SchemaProvider.
func (c TriggerCreate) Schema(r huma.Registry) *huma.Schema { return c.newSchema(r) }
