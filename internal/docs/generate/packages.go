package main

import (
	"fmt"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// packages makes the table of the packages, each with the first sentence of its
// documentation.
func packages(root string) (string, error) {
	rows := [][]string{{"package", "what it is for"}}
	for _, top := range []string{"plugin", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(dir string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			if d.Name() == "testdata" {
				return filepath.SkipDir
			}
			has, synopsis, err := documentation(dir)
			if err != nil || !has {
				return err
			}
			name, err := filepath.Rel(root, dir)
			if err != nil {
				return err
			}
			if synopsis == "" {
				return fmt.Errorf("package %s has no documentation", name)
			}
			rows = append(rows, []string{"`" + name + "`", withoutName(synopsis, filepath.Base(dir))})
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	return table(rows), nil
}

// withoutName is a synopsis without the name that it begins with, as Go wants it.
func withoutName(synopsis, name string) string {
	for _, prefix := range []string{"Package ", "Command "} {
		synopsis = strings.TrimPrefix(synopsis, prefix)
	}
	if first, rest, ok := strings.Cut(synopsis, " "); ok && strings.EqualFold(first, name) {
		synopsis = rest
	}
	return strings.TrimRight(synopsis, ".:")
}

// documentation returns the first sentence of the package in a directory, and whether
// there is a package.
func documentation(dir string) (has bool, synopsis string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, "", err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, e.Name()), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			return false, "", err
		}
		has = true
		if text := f.Doc.Text(); text != "" {
			return true, new(doc.Package).Synopsis(text), nil
		}
	}
	return has, "", nil
}
