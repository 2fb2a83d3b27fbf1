package main

import (
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	if all, err := choose("", true); err != nil || len(all) != len(parts) {
		t.Errorf("all parts: %d of %d, %v", len(all), len(parts), err)
	}
	if some, err := choose("matcher,logs", false); err != nil || len(some) != 2 || some[0].name != "matcher" || some[1].name != "logs" {
		t.Errorf("two parts: %v, %v", some, err)
	}
	for _, list := range []string{"nosuch", "logs,nosuch", "logs,"} {
		_, err := choose(list, false)
		if err == nil {
			t.Errorf("-run %s is accepted", list)
			continue
		}
		for _, name := range partNames() {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("-run %s: the error doesn't name the part %s: %v", list, name, err)
			}
		}
	}
}
