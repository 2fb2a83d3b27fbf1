package labels

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"logscan/internal/fields"
	"logscan/internal/silence"
)

// Silence is a silence that labels declare: of the workload's incidents alone.
type Silence struct {
	Name    string
	Key     string          // what its labels begin with
	Silence silence.Silence // validated
}

// silenceFields are the names of the fields of a silence.
var silenceFields = func() (names []string) {
	for _, f := range silence.Declared.All {
		names = append(names, f.Name)
	}
	return names
}()

// silences makes the silences of what was said. One of which something is wrong is left
// out.
func (r *reader) silences() {
	for n, name := range slices.Sorted(maps.Keys(r.things[keySilence])) {
		key := Prefix + keySilence + "." + name
		if n >= MaxSilences {
			r.problem(key, "is left out: a workload's labels may have %d silences", MaxSilences)
			continue
		}
		if d, ok := r.silence(name, key, r.things[keySilence][name]); ok {
			r.out.Silences = append(r.out.Silences, d)
		}
	}
}

func (r *reader) silence(name, key string, t thing) (Silence, bool) {
	out, members, ok := Silence{Name: name, Key: key}, map[string]json.RawMessage{}, true
	refuse := func(key, format string, args ...any) {
		ok = false
		r.problem(key, format, args...)
	}
	if strings.Contains(r.workload, "*") {
		refuse(key, "a workload with * in its name can't be silenced by a label: it would stand for others too")
	}
	for _, field := range slices.Sorted(maps.Keys(t)) {
		said := t[field]
		at := slices.Index(silenceFields, field)
		if at < 0 {
			refuse(said.key, "a silence has no such field%s", suggest(field, silenceFields, ""))
			continue
		}
		raw, err := member(silence.Declared.All[at], said)
		if err != nil {
			refuse(said.key, "%v", err)
		}
		members[field] = raw
	}
	if !ok {
		return out, false
	}
	d := silence.Declared.New()
	err := silence.Declared.Apply(&d, members)
	if err == nil {
		d.Matchers = append(d.Matchers, "workload=name")
		out.Silence, err = d.Silence()
	}
	if err == nil && d.Cron == "" && d.Ends == "" {
		err = &fields.Error{Field: "cron", Reason: "is required where there is no ends_at: a silence is for some time"}
	}
	var wrong *fields.Error
	switch {
	case errors.As(err, &wrong):
		refuse(key+"."+wrong.Field, "%s", wrong.Reason)
		return out, false
	case err != nil:
		refuse(key, "%v", err)
		return out, false
	}
	last := len(out.Silence.Matchers) - 1
	out.Silence.Matchers[last].Value = r.workload
	return out, true
}
