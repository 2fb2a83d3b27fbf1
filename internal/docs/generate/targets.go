package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// targetLine is a target of the Makefile with what `make help` says of it, groupLine
// the head of a group of them.
var (
	targetLine = regexp.MustCompile(`^([a-z0-9-]+):.*## (.*)$`)
	groupLine  = regexp.MustCompile(`^##@ (.*)$`)
)

// variables are those of the Makefile that stand in texts, as they are by default.
var variables = strings.NewReplacer("$(BUILD)", "build", "$(ENGINE_CACHE)", "~/.cache/logscan/engine29")

// targets makes the tables of make's targets, one for each group.
func targets(root string) (string, error) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		return "", err
	}
	var out strings.Builder
	var rows [][]string // nil before the first group
	finish := func() {
		if rows != nil {
			out.WriteString(table(rows) + "\n")
		}
		rows = [][]string{{"target", "what it does"}}
	}
	for line := range strings.Lines(string(makefile)) {
		line = strings.TrimSpace(line)
		if m := groupLine.FindStringSubmatch(line); m != nil {
			finish()
			out.WriteString(m[1] + ":\n\n")
		} else if m := targetLine.FindStringSubmatch(line); m != nil && rows != nil {
			text := variables.Replace(m[2])
			rows = append(rows, []string{"`make " + m[1] + "`", text})
		}
	}
	finish()
	return out.String(), nil
}
