package store

import (
	"errors"
	"strings"
	"testing"
	"time"

	"logscan/internal/fields"
	"logscan/internal/rule"
	"logscan/internal/silence"
	"logscan/internal/trigger"
)

// byFile is who manages what a test declares.
func byFile(key, at string) fields.Managed {
	return fields.Managed{ManagedBy: "file:f", Key: key, DeclaredAt: at}
}

func aTrigger(name string) trigger.Trigger {
	t := trigger.Fields.New()
	t.Name, t.ActionURL = name, "https://example.com/"
	return t
}

// apply makes edits of file:f for the state as it is.
func apply(t *testing.T, s *Store, edits ...Edit) error {
	t.Helper()
	return s.Apply(t.Context(), Apply{Revision: must[Objects](t)(s.Objects(t.Context())).Revision, Source: "file:f", Edits: edits})
}

// What a file declares is changed and removed there alone.
func TestManagedElsewhere(t *testing.T) {
	s := openTest(t)
	r, tr := aRule("declared"), aTrigger("phone")
	v := silence.Silence{Matchers: []silence.Matcher{{Field: "rule", Op: silence.Is, Value: "x"}}, Ends: time.Now().Add(time.Hour)}
	r.Managed, tr.Managed, v.Managed = byFile("declared", "f:3"), byFile("phone", "f:9"), byFile("quiet", "f:12")
	if err := apply(t, s, Edit{Trigger: &tr}, Edit{Rule: &r}, Edit{Silence: &v}); err != nil {
		t.Fatal(err)
	}
	own := aRule("own")
	own.WorkloadID, own.OverridesID = "w", r.ID
	own = must[rule.Rule](t)(s.CreateRule(t.Context(), own))
	if own.ManagedBy != fields.API {
		t.Errorf("%+v", own.Managed)
	}
	ctx := t.Context()
	for what, err := range map[string]error{
		"rule declared is managed by file:f, at f:3: change it there": errOf(s.UpdateRule(ctx, r)),
		"rule declared is managed by file:f, at f:3: change it ther":  s.DeleteRule(ctx, r.ID),
		"trigger phone is managed by file:f, at f:9: change it there": errOf(s.UpdateTrigger(ctx, tr)),
		"trigger phone is managed by file:f, at f:9: change it ther":  s.DeleteTrigger(ctx, tr.ID),
		"silence quiet is managed by file:f, at f:12: change it":      errOf(s.EndSilence(ctx, v.ID)),
	} {
		var managed *fields.ManagedError
		if !errors.As(err, &managed) || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want %s", err, what)
		}
	}
	if err := apply(t, s, Edit{Rule: &r, Remove: true}, Edit{Trigger: &tr, Remove: true}, Edit{Silence: &v, Remove: true}); err != nil {
		t.Fatal(err)
	}
	o := must[Objects](t)(s.Objects(ctx))
	if len(o.Rules)+len(o.Triggers) != 0 || len(o.Silences) != 1 || o.Silences[0].ManagedBy != fields.API || o.Silences[0].Ends.After(time.Now()) {
		t.Errorf("%+v", o)
	}
}

func errOf[T any](_ T, err error) error { return err }

// Edits are made for a state, all of them or none.
func TestApplyIsWhole(t *testing.T) {
	s := openTest(t)
	ctx := t.Context()
	a, b := aRule("a"), aRule("b")
	a.Managed, b.Managed = byFile("a", "f:1"), byFile("b", "f:2")
	b.WorkloadID = "w"
	revision := must[Objects](t)(s.Objects(ctx)).Revision
	if err := apply(t, s, Edit{Rule: &a}, Edit{Rule: &b, Base: &a, Tests: []byte(`[{"hits":["x"]}]`)}); err != nil {
		t.Fatal(err)
	}
	o := must[Objects](t)(s.Objects(ctx))
	if len(o.Rules) != 2 || o.Rules[1].OverridesID != o.Rules[0].ID || string(o.Tests[b.ID]) != `[{"hits":["x"]}]` {
		t.Errorf("%+v", o)
	}
	c := aRule("c")
	c.Managed = byFile("c", "f:1")
	err := s.Apply(ctx, Apply{Revision: revision, Source: "file:g", Edits: []Edit{{Rule: &c}}})
	var changed *ChangedError
	if !errors.As(err, &changed) || !strings.Contains(err.Error(), "rule a was added by file:f, rule b was added by file:f") {
		t.Error(err)
	}
	twice := aRule("twice")
	twice.WorkloadID, twice.OverridesID, twice.Managed = "w", a.ID, byFile("twice", "f:3")
	if err := apply(t, s, Edit{Rule: &c}, Edit{Rule: &twice}); err == nil || !strings.Contains(err.Error(), "already") {
		t.Error(err)
	}
	if got := must[Objects](t)(s.Objects(ctx)); len(got.Rules) != 2 || got.Revision != o.Revision {
		t.Errorf("half of it is stored: %+v", got)
	}
	if n := must[int](t)(count(s, "config_changes")); n != 2 {
		t.Errorf("%d changes are kept", n)
	}
}

// A rule never names a trigger that doesn't exist.
func TestNamedTriggers(t *testing.T) {
	s := openTest(t)
	ctx := t.Context()
	tr := must[trigger.Trigger](t)(s.CreateTrigger(ctx, aTrigger("phone")))
	r := aRule("r")
	r.Triggers = fields.List[string]{"phome"}
	if _, err := s.CreateRule(ctx, r); err == nil || !strings.Contains(err.Error(), `triggers: there is no trigger "phome"; did you mean phone?`) {
		t.Error(err)
	}
	r.Triggers = fields.List[string]{"phone"}
	r = must[rule.Rule](t)(s.CreateRule(ctx, r))
	renamed := tr
	renamed.Name = "pager"
	var named *NamedError
	if _, err := s.UpdateTrigger(ctx, renamed); !errors.As(err, &named) || named.Trigger != "phone" || named.Rules[0] != "r" {
		t.Error(err)
	}
	if err := s.DeleteTrigger(ctx, tr.ID); !errors.As(err, &named) {
		t.Error(err)
	}
	r.Triggers = nil
	if _, err := s.UpdateRule(ctx, r); err != nil {
		t.Error(err)
	}
	if err := s.DeleteTrigger(ctx, tr.ID); err != nil {
		t.Error(err)
	}
}

// What a trigger's references stand for is in no plain column, and comes back with the
// key alone.
func TestSealedSecrets(t *testing.T) {
	s := openTest(t)
	ctx := t.Context()
	tr := aTrigger("phone")
	tr.ActionURL, tr.ActionSecret, tr.Managed = "ntfy://ntfy.sh/topic-s3cr3t", "plain", byFile("phone", "f:1")
	tr.Refs = map[string]string{"action_url": "ntfy://ntfy.sh/${file:topic}"}
	if err := apply(t, s, Edit{Trigger: &tr}); err == nil {
		t.Error("it is stored without a key")
	}
	s.UseKey([]byte(strings.Repeat("k", 32)))
	if err := apply(t, s, Edit{Trigger: &tr}); err != nil {
		t.Fatal(err)
	}
	var all string
	if err := s.r.QueryRow("SELECT group_concat(id || definition || hex(sealed)) FROM triggers").Scan(&all); err != nil || strings.Contains(all, "s3cr3t") || !strings.Contains(all, "${file:topic}") {
		t.Errorf("%v, %s", err, all)
	}
	got := must[[]trigger.Trigger](t)(s.Triggers(ctx))[0]
	if got.ActionURL != tr.ActionURL || got.ActionSecret != "plain" || got.Refs["action_url"] != "ntfy://ntfy.sh/${file:topic}" || len(got.Refs) != 1 {
		t.Errorf("%q, %q, %v", got.ActionURL, got.ActionSecret, got.Refs)
	}
	s.UseKey([]byte(strings.Repeat("x", 32)))
	if got := must[[]trigger.Trigger](t)(s.Triggers(ctx))[0]; got.ActionURL != "ntfy://ntfy.sh/${file:topic}" {
		t.Errorf("with another key: %q", got.ActionURL)
	}
}
