package main

import (
	"fmt"

	"logscan/internal/rule"
	"logscan/internal/rule/match/matchtest"
)

// rules returns n rules, the ones that the matcher is measured with. Lines of
// loggen match none of them, as most lines of a service match no rule.
func rules(n int) []rule.Rule { return rulesOf(matchtest.Rules(n)) }

func rulesOf(from []matchtest.Rule) []rule.Rule {
	out := make([]rule.Rule, len(from))
	for i, r := range from {
		out[i] = rule.Rule{Name: fmt.Sprintf("rule %d", i+1), Pattern: r.Pattern, Severity: "warn", Streams: "all", Enabled: true}
	}
	return out
}
