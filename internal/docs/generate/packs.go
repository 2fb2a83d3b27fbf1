package main

import (
	"fmt"
	"strings"

	"logscan/internal/packs"
)

// packTables lists the packs, and the rules of each.
func packTables(string) (string, error) {
	var b strings.Builder
	for _, p := range packs.All() {
		fmt.Fprintf(&b, "### %s\n\n%s\n\n", p.Name, p.Description)
		if len(p.Images) > 0 {
			fmt.Fprintf(&b, "Images: `%s`. ", strings.Join(p.Images, "`, `"))
		}
		fmt.Fprintf(&b, "Written from: %s\n\n", strings.Join(links(p.Sources), ", "))
		rows := [][]string{{"rule", "severity", "what it means"}}
		for _, r := range p.Set().Rules {
			rows = append(rows, []string{"`" + r.Key + "`", string(r.Value.Severity), r.Value.Description})
		}
		b.WriteString(table(rows) + "\n")
	}
	return b.String(), nil
}

// links are addresses as Markdown has them.
func links(all []string) []string {
	out := make([]string, len(all))
	for k, address := range all {
		out[k] = "<" + address + ">"
	}
	return out
}
