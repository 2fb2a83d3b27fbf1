package trigger

import (
	"testing"

	"logscan/internal/event"
	"logscan/internal/fields"
	"logscan/internal/rule"
)

// A trigger that no rule's events reach says which of its fields is to blame.
func TestUnreached(t *testing.T) {
	disk, slow := rule.New(), rule.New()
	disk.Name, disk.Severity, disk.WorkloadID = "disk", event.Error, "shop/db"
	slow.Name, slow.Kind, slow.Triggers = "slow", rule.KindCount, fields.List[string]{"pager"}
	off := slow
	off.Name, off.State, off.Severity = "off", rule.Off, event.Critical
	rules := []rule.Rule{disk, slow, off}
	for want, change := range map[string]func(*Trigger){
		"":             func(*Trigger) {},
		Off:            func(t *Trigger) { t.Enabled = false },
		"min_severity": func(t *Trigger) { t.MinSeverity, t.Sources = event.Critical, fields.List[event.Source]{event.Logscan} },
		"rules":        func(t *Trigger) { t.Rules = fields.List[string]{"dsk"} },
		"workloads":    func(t *Trigger) { t.Rules, t.Workloads = fields.List[string]{"disk"}, fields.List[string]{"blog/*"} },
		"kinds":        func(t *Trigger) { t.Kinds = fields.List[string]{rule.KindSpike} },
		NotNamed:       func(t *Trigger) { t.Rules, t.Kinds = fields.List[string]{"slow"}, fields.List[string]{rule.KindCount} },
	} {
		tr := Fields.New()
		tr.Name = "ops"
		change(&tr)
		is := rules
		if want == NotNamed {
			is = []rule.Rule{slow, off}
		}
		if got := tr.Unreached(is); got != want {
			t.Errorf("%+v: %q, want %q", tr.Rules, got, want)
		}
	}
	for _, change := range []func(*Trigger){
		func(t *Trigger) { t.Rules = fields.List[string]{"disk"} },
		func(t *Trigger) { t.Name, t.Kinds = "pager", fields.List[string]{rule.KindCount} },
		func(t *Trigger) { t.Labels, t.Rules = fields.List[string]{"a=b"}, fields.List[string]{"disk"} },
	} {
		tr := Fields.New()
		tr.Name = "ops"
		change(&tr)
		if got := tr.Unreached(rules); got != "" {
			t.Errorf("%+v: %q", tr, got)
		}
	}
}
