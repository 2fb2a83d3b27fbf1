package labels

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"logscan/internal/fields"
	"logscan/internal/rule"
	"logscan/internal/silence"
)

// elsewhere are fields of a rule that labels don't say, and why.
var elsewhere = map[string]string{
	"name":         "the name of the rule is in the label's: " + Prefix + keyRule + ".NAME." + "FIELD",
	"workload_id":  "a rule in a label is for the container's own workload",
	"overrides_id": "a label can't take a rule away that others made",
}

// ruleFields are the names of the fields of a rule that labels may say.
var ruleFields = func() (names []string) {
	for _, f := range rule.Fields.All {
		if elsewhere[f.Name] == "" {
			names = append(names, f.Name)
		}
	}
	return names
}()

// rules makes the rules of what was said. One of which something is wrong is left out.
func (r *reader) rules() {
	for n, name := range slices.Sorted(maps.Keys(r.things[keyRule])) {
		key := Prefix + keyRule + "." + name
		if n >= MaxRules {
			r.problem(key, "is left out: a workload's labels may have %d rules", MaxRules)
			continue
		}
		if d, ok := r.rule(name, key, r.things[keyRule][name]); ok {
			r.out.Rules = append(r.out.Rules, d)
		}
	}
}

func (r *reader) rule(name, key string, t thing) (Rule, bool) {
	d := Rule{Name: name, Key: key, Members: map[string]json.RawMessage{
		"name": asJSON(name), "workload_id": asJSON(r.workload),
	}}
	ok := true
	refuse := func(key, format string, args ...any) {
		ok = false
		r.problem(key, format, args...)
	}
	for _, field := range slices.Sorted(maps.Keys(t)) {
		said := t[field]
		at := slices.IndexFunc(rule.Fields.All, func(f fields.Field[rule.Rule]) bool { return f.Name == field })
		switch {
		case elsewhere[field] != "":
			refuse(said.key, "%s", elsewhere[field])
			continue
		case at < 0 && strings.Contains(field, "."):
			refuse(said.key, "is not %s%s.NAME.FIELD, nor has it a number behind that: a name has no dots", Prefix, keyRule)
			continue
		case at < 0:
			refuse(said.key, "a rule has no such field%s", suggest(field, ruleFields, ""))
			continue
		}
		raw, err := member(rule.Fields.All[at], said)
		if err == nil && field == triggersField {
			err = r.triggers(raw)
		}
		if err != nil {
			refuse(said.key, "%v", err)
			continue
		}
		d.Members[field] = raw
	}
	if !ok {
		return d, false
	}
	d.Rule = rule.New()
	err := rule.Fields.Apply(&d.Rule, d.Members)
	if err == nil {
		err = rule.Fields.Validate(d.Rule)
	}
	var wrong *fields.Error
	switch {
	case errors.As(err, &wrong):
		at := key + "." + wrong.Field
		if elsewhere[wrong.Field] != "" {
			at = key
		}
		refuse(at, "%s", wrong.Reason)
	case err != nil:
		refuse(key, "%v", err)
	}
	return d, ok
}

// triggersField is the field of a rule that names triggers.
const triggersField = "triggers"

// triggers says that a rule names triggers that there aren't.
func (r *reader) triggers(raw json.RawMessage) error {
	var names fields.List[string]
	if err := json.Unmarshal(raw, &names); err != nil {
		return errors.New("must be names of triggers, with commas between them")
	}
	for _, name := range names {
		switch {
		case strings.Contains(name, "://"):
			return errors.New("must be names of triggers: a label holds no URL, which may be a secret; add the trigger by docker logscan trigger add, and name it here")
		case !slices.Contains(r.known.Triggers, name):
			return errors.New("there is no trigger " + quoted(name) + suggest(name, r.known.Triggers, "there are no triggers yet; add one by docker logscan trigger add"))
		}
	}
	return nil
}

// member is the value of a field in JSON.
func member[T any](f fields.Field[T], s *said) (json.RawMessage, error) {
	kind := f.Type().Kind()
	all, numbered, err := s.values()
	if err != nil {
		return nil, err
	}
	isTexts := kind == reflect.Slice && f.Kind != fields.Listed
	if numbered && kind != reflect.Slice {
		return nil, errors.New("is one value: leave the number out")
	}
	switch {
	case isTexts:
		if len(all) == 1 && all[0] == "" {
			all = nil
		}
		return asJSON(append([]string{}, all...)), nil
	case kind == reflect.Slice:
		for _, text := range all {
			if numbered && strings.Contains(text, ",") {
				return nil, errors.New("has a comma in a value, which ends it: write all of them into one label, or each into one")
			}
		}
		return asJSON(strings.Join(all, ",")), nil
	}
	value := all[0]
	switch {
	case kind == reflect.String:
		return asJSON(value), nil
	case kind == reflect.Bool:
		if value != "true" && value != "false" {
			return nil, errors.New("must be true or false, not " + quoted(value))
		}
		return asJSON(value == "true"), nil
	case f.Kind == fields.Duration:
		n, err := seconds(value)
		return asJSON(n), err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
	if err != nil {
		return nil, errors.New("must be a whole number, not " + quoted(value))
	}
	return asJSON(n), nil
}

// seconds reads 90, 90s, 1h30m or 2d.
func seconds(value string) (int64, error) {
	if n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64); err == nil {
		return n, nil
	}
	d, err := silence.Duration(strings.TrimSpace(value))
	if err != nil || d%1e9 != 0 {
		return 0, errors.New(quoted(value) + " is no time in whole seconds, such as 90, 90s, 5m, 1h or 0")
	}
	return int64(d / 1e9), nil
}

func asJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil { // texts, numbers and truths always can be
		panic("labels: " + err.Error())
	}
	return b
}
