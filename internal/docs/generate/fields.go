package main

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"logscan/internal/api"
	"logscan/internal/fields"
)

// definition makes the table of what can be said about a T.
func definition[T fields.Defined[T]](string) (string, error) {
	of := fields.Of[T]()
	rows := [][]string{{"field", "on the command line", "default", "meaning"}}
	for _, f := range of.All {
		option, fallback := "`--"+f.Flag+"`", ""
		switch {
		case f.IsArgument():
			option = "`" + f.Flag + "`"
		case f.Kind == fields.Switch:
			option += fmt.Sprintf(", `%s enable`, `%s disable`", of.What, of.What)
		}
		if f.Kind == fields.Secret {
			option += fmt.Sprintf(", `--%s-file`", strings.ToLower(f.Flag))
		}
		if d := fmt.Sprint(f.Default); f.Default != nil && d != "" && d != "0" {
			fallback = "`" + d + "`"
		}
		rows = append(rows, []string{"`" + f.Name + "`", option, fallback, f.Description()})
	}
	rows = append(rows, []string{"`id`, `created_at`, `updated_at`, `managed_by`, `key`, `declared_at`", "", "", "set by logscan"})
	return table(rows), nil
}

// eventFields makes the table of what an event has in JSON, from the struct that the
// API's bodies are. What a field means is in its tag doc.
func eventFields(string) (string, error) {
	rows := [][]string{{"field", "type", "meaning"}}
	for f := range jsonFields(reflect.TypeFor[api.Event]()) {
		if f.doc == "" {
			return "", fmt.Errorf("an event's %s has no tag doc", f.name)
		}
		rows = append(rows, []string{"`" + f.name + "`", f.kind, f.doc})
	}
	return table(rows), nil
}

// field is one of a struct's in JSON.
type field struct{ name, kind, doc string }

// jsonFields yields a struct's fields in their order, those of embedded ones too.
func jsonFields(t reflect.Type) func(func(field) bool) {
	return func(yield func(field) bool) {
		for _, f := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Anonymous || !f.IsExported() || name == "" || name == "-" {
				continue
			}
			if !yield(field{name, kind(f.Type), f.Tag.Get("doc")}) {
				return
			}
		}
	}
}

// kind is what a value is in JSON.
func kind(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "time"
	case t.Kind() == reflect.Bool:
		return "boolean"
	case t.Kind() == reflect.Map || t.Kind() == reflect.Struct:
		return "object"
	case t.Kind() == reflect.Slice:
		return "list"
	case t.Kind() == reflect.String:
		return "text"
	}
	return "number"
}
