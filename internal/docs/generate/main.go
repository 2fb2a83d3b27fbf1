// Generate fills the generated sections of the README and the manual from the code:
// `go generate ./internal/docs` runs it. Its test says when a section is stale.
package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"logscan/internal/docs"
	"logscan/internal/rule"
	"logscan/internal/trigger"
)

// section is a part of a page that is made from code.
type section struct {
	file, name string // of the page, from the top of the clone; of the section
	content    func(root string) (string, error)
}

var sections = []section{
	{"README.md", "manual", manual},
	{"internal/docs/rules.md", "rule-fields", definition[rule.Rule]},
	{"internal/docs/events.md", "event-fields", eventFields},
	{"internal/docs/triggers.md", "trigger-fields", definition[trigger.Trigger]},
	{"internal/docs/packs.md", "packs", packTables},
	{"internal/docs/settings.md", "options", options},
	{"internal/docs/settings.md", "settings", settings},
	{"internal/docs/api.md", "operations", operations},
	{"internal/docs/developing.md", "targets", targets},
	{"internal/docs/developing.md", "packages", packages},
	{commandLine, "commands", commands},
}

// commandLine is the page whose section the program itself makes, which takes
// longer to build than a test should; package main tells when it is stale.
const commandLine = "internal/docs/command-line.md"

// commands describes the commands of the command line.
func commands(root string) (string, error) {
	cmd := exec.Command("go", "run", "./plugin", "reference")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	return string(out), err
}

func main() {
	log.SetFlags(0)
	root, err := findRoot()
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range sections {
		old, made, err := s.generate(root)
		if err == nil && made != old {
			err = os.WriteFile(filepath.Join(root, s.file), []byte(made), 0o644)
		}
		if err != nil {
			log.Fatalf("%s, section %s: %v", s.file, s.name, err)
		}
	}
}

// generate returns the section's page as it is and as it ought to be.
func (s section) generate(root string) (old, made string, err error) {
	b, err := os.ReadFile(filepath.Join(root, s.file))
	if err != nil {
		return "", "", err
	}
	content, err := s.content(root)
	if err != nil {
		return "", "", err
	}
	made, err = docs.SetSection(string(b), s.name, content)
	return string(b), made, err
}

// findRoot finds the top of the clone: `go generate` and `go test` each begin in the
// directory of a package.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.mod here or above")
		}
	}
	return "", err
}

// table writes Markdown's form of rows; the first is the head.
func table(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		for _, cell := range row {
			b.WriteString("| " + strings.ReplaceAll(strings.ReplaceAll(cell, "|", `\|`), "\n", " ") + " ")
		}
		b.WriteString("|\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	return b.String()
}

// manual lists the pages, for the README.
func manual(string) (string, error) {
	rows := [][]string{{"page", "what it tells"}}
	for _, t := range docs.Topics() {
		rows = append(rows, []string{fmt.Sprintf("[%s](internal/docs/%s.md)", t.Title, t.Name), t.About})
	}
	return table(rows), nil
}
