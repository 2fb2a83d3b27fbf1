package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of what is read; each refusal names the one that it is about.
const (
	maxFile  = 4 << 20  // bytes of a file
	maxTotal = 64 << 20 // bytes of all
	maxFiles = 5000
	maxRead  = 20_000 // rules, or expressions, of all files
)

// files reads files within the bounds.
type files struct {
	count int
	bytes int
}

// read returns the text of a file: regular, and UTF-8 unless bytes may be any.
func (f *files) read(path string, anyBytes bool) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", path)
	}
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, err
	}
	f.count++
	f.bytes += len(b)
	switch {
	case len(b) > maxFile:
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxFile)
	case f.bytes > maxTotal:
		return nil, fmt.Errorf("the files are longer than %d bytes together: import them in parts", maxTotal)
	case f.count > maxFiles:
		return nil, fmt.Errorf("there are more than %d files: import them in parts", maxFiles)
	case bytes.IndexByte(b, 0) >= 0:
		return nil, fmt.Errorf("%s is no text: it has a NUL byte", path)
	case !anyBytes && !utf8.Valid(b):
		return nil, fmt.Errorf("%s is no text in UTF-8", path)
	}
	return bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), nil
}

// list is the files below a path, by name, that a filter takes; a file that is named
// is taken as it is.
func list(path string, takes func(path string) bool) (all []string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	err = filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasPrefix(e.Name(), ".") && p != path {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if e.IsDir() || !takes(p) {
			return nil
		}
		if len(all) >= maxFiles {
			return fmt.Errorf("%s has more than %d files: import them in parts", path, maxFiles)
		}
		all = append(all, p)
		return nil
	})
	slices.Sort(all)
	return all, err
}

// isYAML is a file that may be YAML or JSON.
func isYAML(path string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(path)))
}

// eachFile calls do for the text of each file of YAML.
func (d *draft) eachFile(paths []string, do func(path string, text []byte) error) error {
	found := false
	for _, path := range paths {
		all, err := list(path, isYAML)
		if err != nil {
			return err
		}
		for _, file := range all {
			b, err := d.files.read(file, false)
			if err != nil {
				return err
			}
			if err := do(file, b); err != nil {
				return err
			}
			found = true
		}
	}
	if !found {
		return errors.New("there is no file .yaml, .yml or .json")
	}
	return d.bounded()
}

// bounded refuses more than can be handled.
func (d *draft) bounded() error {
	if d.read > maxRead {
		return fmt.Errorf("there are more than %d rules: import them in parts", maxRead)
	}
	return nil
}
