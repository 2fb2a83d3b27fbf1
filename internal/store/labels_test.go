package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/fields"
	"logscan/internal/rule"
	"logscan/internal/silence"
)

// labelled is what the labels of a container declare: a rule for each name, with a pattern.
func labelled(workload, container string, patterns ...string) Labels {
	l := Labels{Workload: workload, Container: container, Digest: fmt.Sprint(container, patterns)}
	for k := 0; k < len(patterns); k += 2 {
		r := aRule(patterns[k])
		r.Pattern, r.WorkloadID = patterns[k+1], workload
		l.Rules = append(l.Rules, LabelRule{r, "logscan.rule." + patterns[k]})
	}
	return l
}

// A rule that labels declare keeps its id as long as it is declared, and is its workload's.
func TestApplyLabels(t *testing.T) {
	s := openTest(t)
	ctx := t.Context()
	own := must[rule.Rule](t)(s.CreateRule(ctx, aRule("oom")))
	apply := func(l Labels) []rule.Rule {
		t.Helper()
		return must[LabelsApplied](t)(s.ApplyLabels(ctx, l, nil, nil)).Rules
	}
	first := apply(labelled("web", "web-1", "oom", "a", "disk", "b"))
	if len(first) != 2 || first[0].ManagedBy != "label:web-1" || first[0].Managed.Key != "web:oom" || first[0].DeclaredAt != "logscan.rule.oom" || first[0].ID == own.ID {
		t.Fatalf("%+v", first)
	}
	other := apply(labelled("db", "web-1", "oom", "c"))
	again := apply(labelled("web", "web-2", "oom", "a", "disk", "changed"))
	if again[0].ID != first[0].ID || again[0].ManagedBy != "label:web-2" || !again[0].UpdatedAt.Equal(first[0].UpdatedAt) {
		t.Errorf("the rule that is the same is %+v, was %+v", again[0], first[0])
	}
	if again[1].ID != first[1].ID || again[1].Pattern != "changed" || !again[1].UpdatedAt.After(first[1].UpdatedAt) {
		t.Errorf("the rule that was changed is %+v, was %+v", again[1], first[1])
	}
	if got := apply(labelled("web", "web-3", "disk", "changed")); len(got) != 1 || got[0].ID != first[1].ID {
		t.Errorf("%+v", got)
	}
	if d := must[map[string]string](t)(s.LabelDigests(ctx)); len(d) != 2 || d["web"] != "web-3[disk changed]" || d["db"] != "web-1[oom c]" {
		t.Errorf("digests are %v", d)
	}
	var managed *fields.ManagedError
	if err := s.DeleteRule(ctx, first[1].ID); !errors.As(err, &managed) || !strings.Contains(err.Error(), "rule disk is managed by label:web-3, at logscan.rule.disk: change it there") {
		t.Error(err)
	}
	if got := apply(Labels{Workload: "web", Container: "web-4"}); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	all := must[[]rule.Rule](t)(s.Rules(ctx))
	if d := must[map[string]string](t)(s.LabelDigests(ctx)); len(d) != 1 || len(all) != 2 || all[0].ID != own.ID || all[1].ID != other[0].ID {
		t.Errorf("digests are %v, rules %+v", d, all)
	}
	if o := must[Objects](t)(s.Objects(ctx)); o.Revision != 1 {
		t.Errorf("labels count as %d changes", o.Revision-1)
	}
}

// What can't be stored is left out, and told in the same transaction.
func TestApplyLabelsInPart(t *testing.T) {
	s := openTest(t)
	ctx := t.Context()
	l := labelled("web", "web-1", "a", "a", "b", "b")
	l.Rules[0].Triggers = []string{"phone"}
	tell := func(refused map[string]error) []event.Event {
		if len(refused) != 1 || refused["logscan.rule.a"] == nil || !strings.Contains(refused["logscan.rule.a"].Error(), `no trigger "phone"`) {
			t.Errorf("refused: %v", refused)
		}
		return []event.Event{{Source: event.System, Severity: event.Warn, Message: "told"}}
	}
	got, err := s.ApplyLabels(ctx, l, tell, func(event.Event) []int64 { return nil })
	if err != nil || len(got.Rules) != 1 || got.Rules[0].Name != "b" || len(got.Refused) != 1 {
		t.Fatal(got, err)
	}
	if events := must[[]event.Event](t)(s.Events(ctx, EventFilter{})); len(events) != 1 || events[0].Message != "told" {
		t.Errorf("%+v", events)
	}
	// A rule that is right at first and wrong then isn't in effect as it was.
	l = labelled("web", "web-1", "b", "b")
	l.Rules[0].Triggers = []string{"phone"}
	if got, err = s.ApplyLabels(ctx, l, nil, nil); err != nil || len(got.Rules) != 0 {
		t.Error(got, err)
	}
}

// Labels take no room from the rules that people make.
func TestLabelsAreCountedApart(t *testing.T) {
	s := openTest(t)
	ctx := t.Context()
	definition := string(must[[]byte](t)(rule.Fields.MarshalDefinition(aRule("kept"))))
	for n := range MaxRules {
		if _, err := s.w.Exec("INSERT INTO rules (definition, workload_id, created_at, updated_at, managed_by, key) VALUES (?, '', 0, 0, 'label:x', ?)", definition, n); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.CreateRule(ctx, aRule("own")); err != nil {
		t.Error(err)
	}
	got, err := s.ApplyLabels(ctx, labelled("web", "web-1", "oom", "a"), nil, nil)
	var full *FullError
	if err != nil || len(got.Rules) != 0 || !errors.As(got.Refused["logscan.rule.oom"], &full) {
		t.Error(got, err)
	}
}

// Silences that labels declare end when they aren't declared any more.
func TestLabelSilences(t *testing.T) {
	s := openTest(t)
	ctx := t.Context()
	quiet := func(workload, comment string) Labels {
		v := silence.Silence{Matchers: []silence.Matcher{{Field: "workload", Op: silence.Is, Value: workload}}, Comment: comment, Ends: time.Now().Add(time.Hour).Round(0).UTC()}
		return Labels{Workload: workload, Container: "c", Digest: comment, Silences: []LabelSilence{{v, "backup", "logscan.silence.backup"}}}
	}
	web := quiet("wéb", "x")
	for n, c := range []struct {
		l       Labels
		changed bool
	}{{web, true}, {web, false}, {quiet("wéb", "y"), true}, {quiet("wéb2", "x"), true}, {Labels{Workload: "wéb", Container: "c"}, true}, {Labels{Workload: "wéb", Container: "c"}, false}} {
		if got, err := s.ApplyLabels(ctx, c.l, nil, nil); err != nil || got.Silenced != c.changed {
			t.Errorf("step %d: other silences: %t, %v", n, got.Silenced, err)
		}
	}
	all := must[[]silence.Silence](t)(s.Silences(ctx))
	if len(all) != 2 || all[0].Comment != "y" || all[0].Active(time.Now().Add(time.Second)) || all[0].ManagedBy != fields.API {
		t.Errorf("%+v", all)
	}
	if v := all[1]; v.ManagedBy != "label:c" || v.Key != "wéb2:backup" || !v.Active(time.Now()) {
		t.Errorf("%+v", v)
	}
}
