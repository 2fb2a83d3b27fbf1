package rule

import (
	"strings"
	"testing"
)

// TestKindsAreChecked has what doesn't go together be refused, with a reason that says
// what to do.
func TestKindsAreChecked(t *testing.T) {
	count := func(set func(*Rule)) Rule {
		r := valid()
		r.Pattern, r.Kind, r.AtLeast, r.WithinSeconds = `(?P<user>x)(y)`, KindCount, 5, 60
		set(&r)
		return r
	}
	for want, r := range map[string]Rule{
		"":                                  count(func(r *Rule) { r.By, r.Distinct = []string{"$user"}, "$2" }),
		"at_least: is required":             count(func(r *Rule) { r.AtLeast = 0 }),
		"within_seconds: is required":       count(func(r *Rule) { r.WithinSeconds = 0 }),
		"at_least: must be from 1 to 10000": count(func(r *Rule) { r.AtLeast = 10_001 }),
		"at_least: can be 1000":             count(func(r *Rule) { r.By, r.AtLeast = []string{"$user"}, 1001 }),
		"by: the pattern has no group $1":   count(func(r *Rule) { r.By = []string{"$1"} }),
		"has $user, $2":                     count(func(r *Rule) { r.By = []string{"$host"} }),
		"by: has 5 values":                  count(func(r *Rule) { r.By = []string{"$user", "$user", "$user", "$user", "$user"} }),
		"for_seconds: is for rules of kind": count(func(r *Rule) { r.ForSeconds = 60 }),
		"for_seconds: must be at least 5s":  count(func(r *Rule) { r.Kind, r.AtLeast, r.WithinSeconds, r.ForSeconds = KindAbsent, 0, 0, 4 }),
		"active: has no hours that go on for": count(func(r *Rule) {
			r.Kind, r.AtLeast, r.WithinSeconds, r.ForSeconds, r.Active = KindAbsent, 0, 0, 8*3600, "Mon-Fri 09:00-16:00"
		}),
		"active: is for rules of kind absent only": count(func(r *Rule) { r.Active = "Mon-Fri" }),
		"arm: can't be start where by": count(func(r *Rule) {
			r.Kind, r.AtLeast, r.WithinSeconds, r.ForSeconds, r.Arm, r.By = KindAbsent, 0, 0, 40, ArmStart, []string{"$user"}
		}),
		"by: \"a b\" is neither a group":      count(func(r *Rule) { r.By = []string{"a b"} }),
		"by: is for rules of kind":            count(func(r *Rule) { r.Kind, r.AtLeast, r.WithinSeconds, r.By = KindNew, 0, 0, []string{"$user"} }),
		"forget_seconds: must be at least 1h": count(func(r *Rule) { r.Kind, r.AtLeast, r.WithinSeconds, r.ForgetSeconds = KindNew, 0, 0, 60 }),
		"at_most: must be from 1 to 1000":     count(func(r *Rule) { r.Kind, r.AtLeast, r.WithinSeconds, r.AtMost = KindNew, 0, 0, 0 }),
	} {
		err := Fields.Validate(r)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}
