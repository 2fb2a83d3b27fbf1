package rule

import (
	"errors"
	"fmt"
	"strings"

	"logscan/internal/fields"
	"logscan/internal/incident"
)

// runHasTo says in words what a rule of KindRun asks of runs.
func (r *Rule) runHasTo() (out []string) {
	for _, text := range r.Must {
		out = append(out, "a line matches "+Worded(text))
	}
	for _, text := range r.MustNot {
		out = append(out, "no line matches "+Worded(text))
	}
	if r.MinLines > 0 {
		out = append(out, fmt.Sprintf("at least %d lines", r.MinLines))
	}
	if r.MaxDurationSeconds > 0 {
		out = append(out, "at most "+incident.Span(r.MaxDuration()))
	}
	if r.Restarts > 0 {
		out = append(out, fmt.Sprintf("fewer than %d starts within %s", r.Restarts, incident.Span(r.Within())))
	}
	return out
}

// Worded writes conditions of one text for people, in a line: a pattern as /backup done/.
func Worded(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if c, err := parseConditions(text); err == nil && c.Pattern != "" {
		lines[0] = "/" + c.Pattern + "/"
	}
	return strings.Join(lines, ", ")
}

// checkRun says that a rule of KindRun asks nothing of runs, or more than a run can say.
func checkRun(r Rule) error {
	for _, f := range []struct {
		name  string
		given bool
	}{{"pattern", r.Pattern != ""}, {"all", len(r.All) > 0}, {"ignore", len(r.Ignore) > 0}, {"where", len(r.Where) > 0}} {
		if f.given {
			return &fields.Error{Field: f.name, Reason: "is not for rules of kind run: say by must and must_not which lines are meant"}
		}
	}
	if len(r.Must)+len(r.MustNot) == 0 && r.MinLines == 0 && r.MaxDurationSeconds == 0 && r.Restarts == 0 {
		return &fields.Error{Field: "must", Reason: "is required where a rule of kind run has none of must_not, min_lines, max_duration_seconds and restarts"}
	}
	return nil
}

func checkMust(r Rule) error {
	if err := ofKinds(r, len(r.Must) > 0, false, KindRun); err != nil {
		return err
	}
	return checkParts(r, "must")
}

func checkMustNot(r Rule) error {
	if err := ofKinds(r, len(r.MustNot) > 0, false, KindRun); err != nil {
		return err
	}
	return checkParts(r, "must_not")
}

func checkMinLines(r Rule) error {
	if r.MinLines < 0 || r.MinLines > MaxMinLines {
		return fmt.Errorf("must be from 1 to %d", MaxMinLines)
	}
	return ofKinds(r, r.MinLines != 0, false, KindRun)
}

func checkMaxDuration(r Rule) error {
	if err := CheckSeconds(r.MaxDurationSeconds); err != nil {
		return err
	}
	return ofKinds(r, r.MaxDurationSeconds != 0, false, KindRun)
}

func checkRestarts(r Rule) error {
	if r.Restarts < 0 || r.Restarts > MaxRestarts || r.Restarts == 1 {
		return fmt.Errorf("must be from 2 to %d", MaxRestarts)
	}
	if r.Restarts != 0 && r.WithinSeconds == 0 && r.Kind == KindRun {
		return errors.New("goes with within_seconds: so many starts within so long")
	}
	return ofKinds(r, r.Restarts != 0, false, KindRun)
}
