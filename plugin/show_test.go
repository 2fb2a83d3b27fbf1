package main

import (
	"testing"

	"logscan/internal/api"
)

func TestHeldText(t *testing.T) {
	for want, held := range map[string]map[string]int64{
		"0":                                nil,
		"3 (3 grouped)":                    {"grouped": 3},
		"5 (2 grouped, 3 over the budget)": {"over the budget": 3, "grouped": 2},
	} {
		if got := heldText(api.RuleStats{Held: held}); got != want {
			t.Errorf("%v gives %s, want %s", held, got, want)
		}
	}
}
