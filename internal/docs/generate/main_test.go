package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"logscan/internal/docs"
)

// TestGeneratedSectionsAreFresh makes all generated sections anew and compares them
// with those that are committed.
func TestGeneratedSectionsAreFresh(t *testing.T) {
	root, err := findRoot()
	if err != nil {
		t.Fatal(err)
	}
	made := map[string][]string{}
	for _, s := range sections {
		made[s.file] = append(made[s.file], s.name)
		if s.file == commandLine {
			continue
		}
		old, fresh, err := s.generate(root)
		if err != nil {
			t.Errorf("%s, section %s: %v", s.file, s.name, err)
		} else if old != fresh {
			t.Errorf("%s, section %s is stale: run `go generate ./internal/docs`", s.file, s.name)
		}
	}
	files := []string{"README.md"}
	for _, topic := range docs.Topics() {
		files = append(files, "internal/docs/"+topic.Name+".md")
	}
	for _, file := range files {
		b, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range docs.Sections(string(b)) {
			if !slices.Contains(made[file], name) {
				t.Errorf("%s has a section %s that nothing generates", file, name)
			}
		}
	}
}
