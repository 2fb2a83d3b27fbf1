package event

import (
	"slices"
	"strings"
	"testing"
)

func TestSeveritiesAreOrdered(t *testing.T) {
	all := Severities()
	if !slices.IsSortedFunc(all, Severity.Compare) || Info.Compare(Critical) >= 0 || Warn.Compare(Warn) != 0 || Severity("loud").Compare(Info) >= 0 {
		t.Errorf("order %v", all)
	}
	all[0] = "changed"
	if Severities()[0] != Info {
		t.Error("the list can be changed from outside")
	}
}

func TestParse(t *testing.T) {
	for list, want := range map[string]string{
		"": "", " , ": "", "warn": "warn", " critical ,info,critical": "critical,info",
	} {
		got, err := ParseSeverities(list)
		if err != nil || Join(got) != want {
			t.Errorf("%q: %v, %v", list, got, err)
		}
	}
	if got := Split[Source]("system, logscan,system,x"); Join(got) != "system,logscan,x" {
		t.Errorf("sources %v", got)
	}
	for _, list := range []string{"warning", "Warn", "warn,loud", "logscan"} {
		if _, err := ParseSeverities(list); err == nil || !strings.Contains(err.Error(), "info, warn, error or critical") {
			t.Errorf("%q: %v", list, err)
		}
	}
	if err := Severity(strings.Repeat("x", 5000)).Validate(); err == nil || len(err.Error()) > 200 {
		t.Errorf("%v", err)
	}
	if Critical.Validate() != nil || System.Validate() != nil || Source("error").Validate() == nil {
		t.Error("validation")
	}
}
