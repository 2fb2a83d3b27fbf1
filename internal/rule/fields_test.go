package rule

import (
	"errors"
	"strings"
	"testing"
	"time"

	"logscan/internal/fields"
	"logscan/internal/fields/fieldstest"
)

func TestFields(t *testing.T) {
	fieldstest.Table(t, Fields, func(r *Rule) { r.ID, r.CreatedAt = 5, time.Unix(7, 0) }, map[string]string{"pattern": `"x+"`, "all": `["x+","y, \"z"]`, "ignore": `["x"]`, "where": `["status = 500","a in (\"x, y\")"]`, "clear": `["x"]`, "steps": `["x","y"]`, "until": `["x"]`, "active": `"Mon-Fri"`, "must": `["x"]`, "must_not": `["x"]`},
		"at_least", "within_seconds", "distinct", "for_seconds", "arm", "when_stopped", "active", "forget_seconds", "at_most", "per", "steps", "hit", "slower_than_seconds", "until", "on_stop", "field", "must", "must_not", "min_lines", "max_duration_seconds", "restarts", "of", "over", "window_seconds", "factor")
}

// What was accepted once can stay, whatever else of the rule changes.
func TestValidateChange(t *testing.T) {
	old := valid()
	old.Description, old.WorkloadID = "two\nlines \x1b[2J", strings.Repeat("w", MaxWorkload+1)
	if Fields.Validate(old) == nil {
		t.Fatal("it would be accepted today")
	}
	now := old
	now.State, now.Enabled = Off, false
	if err := Fields.ValidateChange(old, now); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"a\nb", "\x1b]0;x\x07", "\u202egnp", "\u009b1m", "a\xff"} {
		now.Description = bad
		var fe *fields.Error
		if err := Fields.ValidateChange(old, now); !errors.As(err, &fe) || fe.Field != "description" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
