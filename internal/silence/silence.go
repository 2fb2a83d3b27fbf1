// Package silence is about what people don't want to be told for a while: what is
// silenced is evaluated, recorded and folded all the same.
package silence

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"logscan/internal/fields"
	"logscan/internal/glob"
	"logscan/internal/incident"
)

// Bounds of a silence.
const (
	MaxMatchers = 16
	maxValue    = 500 // bytes
	MaxComment  = 500 // bytes
	MaxFor      = 366 * 24 * time.Hour
)

// Silence holds notices back. Its matchers are ANDed.
type Silence struct {
	ID        int64     `json:"id"`
	Matchers  []Matcher `json:"matchers"`
	Starts    time.Time `json:"starts_at"`
	Ends      time.Time `json:"ends_at"`
	Comment   string    `json:"comment"`
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
	// Cron says when it begins again and again between Starts and Ends, For for
	// how long; "" for all of the time.
	Cron string        `json:"cron,omitempty"`
	For  time.Duration `json:"for,omitempty"`
	Zone string        `json:"time_zone,omitempty"` // of Cron; "" for UTC

	fields.Managed `json:"-"`
}

// Matcher compares something of an incident with a value.
type Matcher struct {
	Field string `json:"field"`
	Op    Op     `json:"op"`
	Value string `json:"value"`
}

// Op is how it is compared.
type Op string

// The operators.
const (
	Is      Op = "="  // the same, or a glob with * that fits
	IsNot   Op = "!=" //
	Matches Op = "~"  // a regular expression (RE2) that matches the whole value
)

// Fields are what can be compared, besides labels.
var Fields = []string{"rule", "workload", "container", "severity", "shape", "incident"}

// label is what the field of a container's label begins with: "label.com.example.team".
const label = "label."

// ParseMatcher reads FIELD OP VALUE.
func ParseMatcher(s string) (Matcher, error) {
	at := strings.IndexAny(s, "=!~")
	if at < 0 {
		return Matcher{}, fmt.Errorf("%q is not FIELD=VALUE, FIELD!=VALUE or FIELD~REGEX", s)
	}
	m := Matcher{Field: strings.TrimSpace(s[:at])}
	for _, op := range []Op{IsNot, Is, Matches} {
		if rest, ok := strings.CutPrefix(s[at:], string(op)); ok {
			m.Op, m.Value = op, strings.TrimSpace(rest)
			return m, m.Validate()
		}
	}
	return Matcher{}, fmt.Errorf("%q is not FIELD=VALUE, FIELD!=VALUE or FIELD~REGEX", s)
}

// Validate says why a matcher can't be used.
func (m Matcher) Validate() error {
	switch {
	case len(m.Field) > maxValue:
		return fmt.Errorf("a field is longer than %d bytes", maxValue)
	case !slices.Contains(Fields, m.Field) && (!strings.HasPrefix(m.Field, label) || m.Field == label):
		return fmt.Errorf("there is no field %q; there are %s, and label.NAME", m.Field, strings.Join(Fields, ", "))
	case !slices.Contains([]Op{Is, IsNot, Matches}, m.Op):
		return fmt.Errorf("there is no operator %q; there are =, != and ~", m.Op)
	case len(m.Value) > maxValue:
		return fmt.Errorf("the value of %s is longer than %d bytes", m.Field, maxValue)
	}
	if m.Op == Matches {
		if _, err := regexp.Compile(m.Value); err != nil {
			return fmt.Errorf("the value of %s is not a regular expression: %w", m.Field, err)
		}
	}
	return nil
}

func (m Matcher) String() string { return m.Field + string(m.Op) + m.Value }

// Validate says why a new silence can't be used.
func (s Silence) Validate(now time.Time) error {
	switch {
	case s.Ends.IsZero():
		return errors.New("a silence needs an end")
	case !s.Ends.After(now):
		return errors.New("the end of the silence is past")
	case s.Ends.Sub(s.Starts) > MaxFor:
		return errors.New("a silence ends within a year")
	}
	if err := s.valid(); err != nil {
		return err
	}
	_, err := s.schedule()
	return err
}

// valid checks what doesn't depend on the time, but for the schedule.
func (s Silence) valid() error {
	switch {
	case len(s.Matchers) == 0:
		return errors.New("a silence needs at least one matcher, such as workload=shop/backup")
	case len(s.Matchers) > MaxMatchers:
		return fmt.Errorf("a silence has at most %d matchers", MaxMatchers)
	case !s.Ends.After(s.Starts):
		return errors.New("a silence must end after it starts")
	case len(s.Comment) > MaxComment:
		return fmt.Errorf("a comment has at most %d bytes", MaxComment)
	}
	for _, m := range s.Matchers {
		if err := m.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// Set is silences, ready to use. It is immutable.
type Set struct{ silences []compiled }

type compiled struct {
	Silence
	matches  []func(*incident.Incident) bool
	schedule func(time.Time) bool
}

// Compile makes a set of silences; those that can't be used are left out.
func Compile(silences []Silence) *Set {
	set := &Set{}
	for _, s := range silences {
		c := compiled{Silence: s}
		schedule, err := s.schedule()
		if err != nil {
			continue
		}
		c.schedule = schedule
		for _, m := range s.Matchers {
			match, err := m.compile()
			if err != nil {
				match = func(*incident.Incident) bool { return false }
			}
			c.matches = append(c.matches, match)
		}
		set.silences = append(set.silences, c)
	}
	return set
}

// Active reports whether a silence holds something back at a time.
func (s Silence) Active(at time.Time) bool {
	schedule, err := s.schedule()
	return err == nil && (&compiled{Silence: s, schedule: schedule}).activeAt(at)
}

// By returns the silence that is active for an incident at a time; 0 for none.
func (s *Set) By(i *incident.Incident, at time.Time) int64 {
	for _, c := range s.silences {
		if c.activeAt(at) && !slices.ContainsFunc(c.matches, func(match func(*incident.Incident) bool) bool { return !match(i) }) {
			return c.ID
		}
	}
	return 0
}

func (c *compiled) activeAt(at time.Time) bool {
	return !at.Before(c.Starts) && at.Before(c.Ends) && c.schedule(at)
}

func (m Matcher) compile() (func(*incident.Incident) bool, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	test := func(v string) bool { return glob.Match(m.Value, v) }
	if m.Op == Matches {
		re, err := regexp.Compile(`^(?:` + m.Value + `)$`)
		if err != nil {
			return nil, err
		}
		test = re.MatchString
	}
	return func(i *incident.Incident) bool {
		return slices.ContainsFunc(values(i, m.Field), test) != (m.Op == IsNot)
	}, nil
}

// values are what a field of an incident is; any of them may match.
func values(i *incident.Incident, field string) []string {
	if name, ok := strings.CutPrefix(field, label); ok {
		if value, has := i.Labels[name]; has {
			return []string{value}
		}
		return nil
	}
	switch field {
	case "rule":
		return []string{i.Rule}
	case "workload":
		return []string{i.Key.Workload}
	case "container":
		return []string{i.Container}
	case "severity":
		return []string{string(i.Severity)}
	case "shape":
		return []string{i.Key.Shape, i.Readable}
	case "incident":
		return []string{fmt.Sprint(i.ID)}
	}
	return nil
}
