package main

import (
	"fmt"
	"strings"

	"logscan/internal/config"
	"logscan/internal/packs"
)

// packTables has for each pack what it is about, and a table of its rules.
func packTables(string) (string, error) {
	var b strings.Builder
	for _, p := range packs.All() {
		set, err := config.Parse([]config.File{{Name: p.Name, Data: p.YAML}}, config.Unknown)
		if err != nil {
			return "", err
		}
		var sources []string
		for _, s := range p.Sources {
			sources = append(sources, "<"+s+">")
		}
		rows := [][]string{{"rule", "severity", "what it means"}}
		for _, r := range set.Rules {
			rows = append(rows, []string{"`" + r.Key + "`", string(r.Value.Severity), r.Value.Description})
		}
		fmt.Fprintf(&b, "## %s\n\n%s Written from %s.\n\n%s\n", p.Name, p.Description, strings.Join(sources, ", "), table(rows))
	}
	return b.String(), nil
}
