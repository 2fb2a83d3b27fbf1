package labels

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"logscan/internal/silence"
)

// Silence is a silence that labels declare: of the workload's incidents alone.
type Silence struct {
	Name string
	Key  string // what its labels begin with
	// Silence is validated, but for when it starts: it does when it is declared. Where it
	// ends the zero time, it does so when it isn't declared any more.
	Silence silence.Silence
}

// silenceFields are what labels may say of a silence, as the API calls it.
var silenceFields = []string{"comment", "cron", "ends_at", "for_seconds", "matchers", "time_zone"}

// silences makes the silences of what was said. One of which something is wrong is left
// out.
func (r *reader) silences() {
	for n, name := range slices.Sorted(maps.Keys(r.things[keySilence])) {
		key := Prefix + keySilence + "." + name
		if n >= MaxSilences {
			r.problem(key, "is left out: a workload's labels may have %d silences", MaxSilences)
			continue
		}
		d := Silence{Name: name, Key: key}
		if r.silence(&d, r.things[keySilence][name]) {
			r.out.Silences = append(r.out.Silences, d)
		}
	}
}

func (r *reader) silence(d *Silence, t thing) bool {
	v, ok := &d.Silence, true
	v.Matchers = []silence.Matcher{{Field: "workload", Op: silence.Is, Value: r.workload}}
	refuse := func(key, format string, args ...any) {
		ok = false
		r.problem(key, format, args...)
	}
	if strings.Contains(r.workload, "*") {
		refuse(d.Key, "a workload with * in its name can't be silenced by a label: it would stand for others too")
	}
	for _, field := range slices.Sorted(maps.Keys(t)) {
		said := t[field]
		all, numbered, err := said.values()
		if err == nil && numbered && field != "matchers" {
			err = errors.New("is one value: leave the number out")
		}
		if err == nil {
			err = setSilence(v, field, all)
		}
		if err != nil {
			refuse(said.key, "%v", err)
		}
	}
	if !ok {
		return false
	}
	if v.Cron == "" && v.Ends.IsZero() {
		refuse(d.Key, "needs %s.cron, or %s.ends_at, such as 2026-01-02T15:04:00Z", d.Key, d.Key)
		return false
	}
	whole, now := *v, time.Now()
	whole.Starts = now
	if whole.Ends.IsZero() || whole.Ends.Before(now) { // one that is over is right all the same
		whole.Ends = now.Add(time.Hour)
	}
	if err := whole.Validate(now); err != nil {
		refuse(d.Key, "%v", err)
	}
	return ok
}

// setSilence sets a field, of which there are texts.
func setSilence(v *silence.Silence, field string, all []string) error {
	value := all[0]
	switch field {
	case "comment":
		v.Comment = value
	case "cron":
		v.Cron = value
	case "time_zone":
		v.Zone = value
	case "ends_at":
		at, err := time.Parse(time.RFC3339, value)
		if err != nil {
			return errors.New("must be a time such as 2026-01-02T15:04:00Z, not " + quoted(value))
		}
		v.Ends = at.UTC()
	case "for_seconds":
		n, err := seconds(value)
		if err != nil {
			return err
		}
		if n <= 0 || n > int64(silence.MaxFor/time.Second) {
			return errors.New("must be above 0 and at most a week")
		}
		v.For = time.Duration(n) * time.Second
	case "matchers":
		for _, text := range all {
			m, err := silence.ParseMatcher(text)
			if err != nil {
				return err
			}
			v.Matchers = append(v.Matchers, m)
		}
	default:
		return errors.New("a silence has no such field" + suggest(field, silenceFields, ""))
	}
	return nil
}
