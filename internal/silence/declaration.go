package silence

import (
	"fmt"
	"time"

	"logscan/internal/fields"
)

// Declaration is a silence as files and labels declare it, with the names of the API.
type Declaration struct {
	Matchers fields.Texts `json:"matchers" nullable:"false"`
	Cron     string       `json:"cron"`
	For      int64        `json:"for_seconds"`
	Zone     string       `json:"time_zone"`
	Starts   string       `json:"starts_at"` // RFC 3339; "" for always
	Ends     string       `json:"ends_at"`   // RFC 3339; "" for never
	Comment  string       `json:"comment"`
}

// Declared are all fields of a Declaration. What they add up to is Silence's to check.
var Declared = fields.NewTable("silence", []fields.Field[Declaration]{
	{Name: "matchers", Flag: "matcher", Kind: fields.Several, Doc: "What it is about: FIELD=VALUE, FIELD!=VALUE (* stands for anything) or FIELD~REGEX, all of which hold; fields: rule, workload, container, severity, shape, incident, and label.NAME", Check: func(d Declaration) error { _, err := d.matchers(); return err }},
	{Name: "cron", Flag: "cron", Default: "", None: "all of the time", Doc: "When it begins again and again, in five fields"},
	{Name: "for_seconds", Flag: "for", Kind: fields.Duration, Default: int64(0), Doc: "How long it holds each time"},
	{Name: "time_zone", Flag: "time-zone", Default: "", None: "UTC", Doc: "Of cron"},
	{Name: "starts_at", Flag: "starts-at", Default: "", None: "at once", Doc: "When it begins, such as 2026-12-24T18:00:00Z", Check: func(d Declaration) error { _, err := instant(d.Starts); return err }},
	{Name: "ends_at", Flag: "ends-at", Default: "", None: "as long as it is declared", Doc: "When it ends", Check: func(d Declaration) error { _, err := instant(d.Ends); return err }},
	{Name: "comment", Flag: "comment", Default: "", Doc: "Why"},
}...)

// Table implements fields.Defined.
func (Declaration) Table() *fields.Table[Declaration] { return Declared }

// endless is the end of a silence that is declared without one.
var endless = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// Silence is the silence that is declared. What it finds is a *fields.Error.
func (d Declaration) Silence() (s Silence, err error) {
	if err := Declared.Validate(d); err != nil {
		return s, err
	}
	s = Silence{Cron: d.Cron, For: time.Duration(min(max(d.For, 0), int64(MaxFor/time.Second))) * time.Second, Zone: d.Zone, Comment: d.Comment}
	s.Matchers, _ = d.matchers()
	s.Starts, _ = instant(d.Starts)
	if s.Ends, _ = instant(d.Ends); s.Ends.IsZero() {
		s.Ends = endless
	}
	if err := s.valid(); err != nil {
		return s, &fields.Error{Field: "matchers", Reason: err.Error()}
	}
	if _, err := s.schedule(); err != nil {
		return s, &fields.Error{Field: "cron", Reason: err.Error()}
	}
	return s, nil
}

// Declaration is what declares a silence.
func (s Silence) Declaration() Declaration {
	d := Declared.New()
	d.Cron, d.For, d.Zone, d.Comment = s.Cron, int64(s.For/time.Second), s.Zone, s.Comment
	for _, m := range s.Matchers {
		d.Matchers = append(d.Matchers, m.String())
	}
	if !s.Starts.IsZero() {
		d.Starts = s.Starts.UTC().Format(time.RFC3339Nano)
	}
	if s.Ends.Before(endless) {
		d.Ends = s.Ends.UTC().Format(time.RFC3339Nano)
	}
	return d
}

func (d Declaration) matchers() (out []Matcher, err error) {
	for _, text := range d.Matchers {
		m, err := ParseMatcher(text)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

func instant(s string) (at time.Time, err error) {
	if s == "" {
		return at, nil
	}
	at, err = time.Parse(time.RFC3339, s)
	if err != nil {
		return at, fmt.Errorf("%.40q is no time such as 2026-12-24T18:00:00Z", s)
	}
	return at.UTC(), nil
}
