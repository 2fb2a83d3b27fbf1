package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// settings makes the table of the plugin's settings from config.json, which declares
// them to the Engine. That the code reads these and no others, with these defaults, is
// tested in package app.
func settings(root string) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, "config.json"))
	if err != nil {
		return "", err
	}
	var config struct {
		Env []struct{ Name, Description string }
	}
	if err := json.Unmarshal(b, &config); err != nil {
		return "", err
	}
	rows := [][]string{{"setting", "default", "meaning"}}
	for _, s := range config.Env {
		meaning, fallback, ok := splitDefault(s.Description)
		if !ok {
			return "", fmt.Errorf("config.json doesn't say the default of %s", s.Name)
		}
		rows = append(rows, []string{"`" + s.Name + "`", fallback, meaning})
	}
	return table(rows), nil
}

var defaultOf = regexp.MustCompile(` Default: (\w+)(?:, ([^.]*))?\.$`)

// splitDefault parts a description from the default that it ends with.
func splitDefault(description string) (meaning, fallback string, ok bool) {
	m := defaultOf.FindStringSubmatch(description)
	if m == nil {
		return "", "", false
	}
	fallback = m[1]
	if fallback != "none" && fallback != "generated" {
		fallback = "`" + fallback + "`"
	}
	if m[2] != "" {
		fallback += ": " + m[2]
	}
	return strings.TrimSuffix(description, m[0]), fallback, true
}
