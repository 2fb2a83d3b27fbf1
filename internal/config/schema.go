package config

import (
	"encoding/json"
	"reflect"
	"strings"

	"logscan/internal/event"
	"logscan/internal/fields"
	"logscan/internal/rule"
	"logscan/internal/silence"
	"logscan/internal/trigger"
)

// object is a JSON Schema, or a part of one.
type object = map[string]any

// Schema is the JSON Schema (draft 2020-12) of the files, for editors: made from the
// tables from which all else is made.
func Schema() ([]byte, error) {
	counts := object{"type": "integer", "minimum": 0}
	lines := object{"type": "array", "items": object{"type": "string"}, "maxItems": maxTestLines}
	test := object{
		"type": "object", "additionalProperties": false,
		"properties": object{
			"lines":  with(lines, "Lines, each with +TIME before it where it was written so long behind the first"),
			"hits":   with(lines, "Lines each of which, alone, is a hit"),
			"misses": with(lines, "Lines none of which, alone, is a hit"),
			"expect": object{
				"type": "object", "additionalProperties": false, "description": "What is expected of lines",
				"properties": object{"hits": counts, "incidents": counts, "severity": object{"enum": event.Names(event.Severities())}},
			},
		},
	}
	rules := properties[rule.Rule]()
	rules["tests"] = object{"type": "array", "items": test, "maxItems": maxTests, "description": "What the rule should make of lines; nothing is applied where it doesn't"}
	rules["overrides_id"] = object{"type": []string{"string", "integer"}, "description": "The global rule that this one replaces in its workload, by its key, name or id"}
	triggers := properties[trigger.Trigger]()
	silences := properties[silence.Declaration]()
	mapped := object{"type": "object", "additionalProperties": object{"type": []string{"string", "number", "boolean", "null"}}}
	silences["matchers"] = object{"anyOf": []any{silences["matchers"], mapped}, "description": silences["matchers"].(object)["description"]}
	for short, name := range other {
		for _, p := range []object{triggers, silences} {
			if f, ok := p[name]; ok {
				p[short] = f
			}
		}
	}
	out := object{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "logscan", "description": "Rules, triggers and silences of logscan",
		"type": "object", "required": []string{"version"}, "additionalProperties": false,
		"patternProperties": object{"^x-": object{}},
		"properties": object{
			"version":     object{"const": Version},
			"rules":       section(rules, "Which lines matter, by name"),
			"triggers":    section(triggers, "Who is told, by name"),
			"silences":    section(silences, "What nobody is told for a while, by name"),
			"pack":        object{"type": "string", "description": "The name of a pack"},
			"description": object{"type": "string", "description": "What a pack watches for"},
			"sources":     object{"type": "array", "items": object{"type": "string"}, "description": "Where a pack's rules come from"},
			"images":      object{"type": "array", "items": object{"type": "string"}, "description": "The images that a pack is for, where * is any text"},
		},
	}
	b, err := json.MarshalIndent(out, "", "  ")
	return append(b, '\n'), err
}

func with(o object, description string) object {
	out := object{"description": description}
	for k, v := range o {
		out[k] = v
	}
	return out
}

func section(of object, description string) object {
	of["renamed_from"] = object{"type": "string", "description": "The key that it had before: it goes on as the same one"}
	return object{
		"type": []string{"object", "null"}, "description": description,
		"additionalProperties": object{"type": "object", "additionalProperties": false, "properties": of},
	}
}

// properties are those of what can be said about a T.
func properties[T fields.Defined[T]]() object {
	out := object{"<<": object{}}
	for _, f := range fields.Of[T]().All {
		p := object{"description": f.Description()}
		text := object{"type": "string"}
		if f.Values != nil {
			text["enum"] = f.Values
		}
		switch t := f.Type(); {
		case f.Kind == fields.Duration:
			p["type"] = []string{"integer", "string", "null"}
		case t.Kind() == reflect.Slice && f.Kind == fields.Listed:
			mapped := object{"type": "object", "additionalProperties": object{"type": []string{"string", "number", "boolean", "null"}}}
			p["anyOf"] = []any{object{"type": []string{"string", "number", "null"}}, object{"type": "array", "items": text}, mapped}
		case t.Kind() == reflect.Slice:
			p["type"], p["items"] = []string{"array", "null"}, text
		case t.Kind() == reflect.Bool:
			p["type"] = []string{"boolean", "null"}
		case t.Kind() == reflect.Int64:
			p["type"] = []string{"integer", "null"}
		case f.Values != nil:
			p["enum"] = f.Values
		default: // a text may look like a number
			p["type"] = []string{"string", "number", "boolean", "null"}
		}
		out[f.Name] = p
		if short, ok := strings.CutSuffix(f.Name, "_seconds"); ok && f.Kind == fields.Duration {
			out[short] = p
		}
	}
	return out
}
