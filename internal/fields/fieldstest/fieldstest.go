// Package fieldstest checks tables of fields, for the tests of those who have one.
package fieldstest

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"

	"logscan/internal/fields"
)

// Table checks that each field is documented, can be set and set back, keeps what
// it was where nothing is said, and comes back from its stored form. own sets what
// is logscan's own in a T, and values has values in JSON, by fields' names, where
// the last of Values, another truth, 7 and "another" aren't accepted. together names
// those that are accepted only with others.
func Table[T any](t *testing.T, table *fields.Table[T], own func(*T), values map[string]string, together ...string) {
	t.Helper()
	for _, f := range table.All {
		if f.Name == "" || f.Flag == "" || f.Doc == "" {
			t.Errorf("%q is not documented", f.Name)
		}
		if f.Values == nil && f.Check == nil && f.Type().Kind() != reflect.Bool {
			t.Errorf("%s is not validated", f.Name)
		}
		raw := json.RawMessage(values[f.Name])
		if len(raw) == 0 {
			raw = other(f)
		}
		v := table.New()
		own(&v)
		before := v
		if err := table.Apply(&v, map[string]json.RawMessage{f.Name: raw, "unknown": raw}); err != nil {
			t.Fatal(err)
		}
		if got, _ := json.Marshal(f.Value(v)); reflect.DeepEqual(v, before) || string(got) != string(raw) {
			t.Errorf("%s is not set: %s", f.Name, got)
		}
		if err := table.ValidateChange(before, v); (err != nil) != slices.Contains(together, f.Name) {
			t.Errorf("%s: %v", f.Name, err)
		}
		b, err := table.MarshalDefinition(v)
		if err != nil {
			t.Fatal(err)
		}
		var back T
		own(&back)
		if err := table.UnmarshalDefinition(b, &back); err != nil || !reflect.DeepEqual(back, v) {
			t.Errorf("%s: stored as %s, it comes back as %+v, %v", f.Name, b, back, err)
		}
		err = table.Apply(&v, map[string]json.RawMessage{f.Name: json.RawMessage("null")})
		var fe *fields.Error
		if f.Default == nil {
			if !errors.As(err, &fe) || fe.Field != f.Name {
				t.Errorf("%s has no default, and null gives %v", f.Name, err)
			}
		} else if err != nil || !reflect.DeepEqual(v, before) {
			t.Errorf("%s: null gives %+v, %v", f.Name, v, err)
		}
		for _, wrong := range []string{`{}`, `[1]`, `1e300`} {
			if err := table.Apply(&v, map[string]json.RawMessage{f.Name: json.RawMessage(wrong)}); !errors.As(err, &fe) || fe.Field != f.Name {
				t.Errorf("%s takes %s: %v", f.Name, wrong, err)
			}
		}
	}
}

// other is a value of a field in JSON that is neither its default nor zero.
func other[T any](f fields.Field[T]) json.RawMessage {
	var v any = "another"
	switch {
	case f.Values != nil:
		v = f.Values[len(f.Values)-1]
	case f.Type().Kind() == reflect.Bool:
		v = f.Default != true
	case f.Type().Kind() == reflect.Int64:
		v = 7
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
