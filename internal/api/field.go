package api

import (
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// Field is a member of a request body that may be absent, null or a value.
type Field[T any] struct {
	Set   bool // present, be it null
	Null  bool
	Value T
}

// Set makes a Field with a value.
func Set[T any](v T) Field[T] { return Field[T]{Set: true, Value: v} }

// IsZero reports an absent field, for the omitzero tag.
func (f Field[T]) IsZero() bool { return !f.Set }

// MarshalJSON implements json.Marshaler.
func (f Field[T]) MarshalJSON() ([]byte, error) {
	if f.Null {
		return []byte("null"), nil
	}
	return json.Marshal(f.Value)
}

// UnmarshalJSON implements json.Unmarshaler. It is called for null too.
func (f *Field[T]) UnmarshalJSON(b []byte) error {
	*f = Field[T]{Set: true}
	if string(b) == "null" {
		f.Null = true
		return nil
	}
	return json.Unmarshal(b, &f.Value)
}

// Schema describes the field as its value's type.
func (Field[T]) Schema(r huma.Registry) *huma.Schema {
	s := r.Schema(reflect.TypeFor[T](), true, "")
	s.Nullable = true
	return s
}

// into sets *dst where the field is present; null gives the fallback.
func (f Field[T]) into(dst *T, fallback T) {
	switch {
	case f.Null:
		*dst = fallback
	case f.Set:
		*dst = f.Value
	}
}
