package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Bounds of files that are read.
const (
	MaxFile  = 4 << 20 // bytes of a file
	MaxFiles = 1000
	MaxTotal = 16 << 20 // bytes of all
)

// Load reads a file, or all *.yaml and *.yml in a directory and those below, but for what
// begins with a dot. Names are as they are given, and paths below the directory.
func Load(path string) ([]File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		one, err := Read(filepath.Base(path), f)
		return []File{one}, err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil { // WalkDir follows none
		return nil, err
	}
	var files []File
	total := 0
	err = filepath.WalkDir(path, func(at string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(path, at)
		if err != nil {
			return err
		}
		hidden := name != "." && strings.HasPrefix(e.Name(), ".")
		switch ext := filepath.Ext(name); {
		case hidden && e.IsDir():
			return fs.SkipDir
		case hidden, e.IsDir(), ext != ".yaml" && ext != ".yml":
			return nil
		}
		info, err := os.Stat(at) // of what a link leads to
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		f, err := os.Open(at)
		if err != nil {
			return err
		}
		defer f.Close()
		one, err := Read(filepath.ToSlash(name), f)
		if err != nil {
			return err
		}
		if total += len(one.Data); total > MaxTotal || len(files) == MaxFiles {
			return fmt.Errorf("%s: there are more than %d files, or %d MiB", path, MaxFiles, MaxTotal>>20)
		}
		files = append(files, one)
		return nil
	})
	if err == nil && len(files) == 0 {
		err = errors.New(path + ": there is no file called *.yaml or *.yml")
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return files, err
}

// Read reads one file.
func Read(name string, r io.Reader) (File, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	switch {
	case err != nil:
		return File{}, fmt.Errorf("%s: %w", name, err)
	case len(data) > MaxFile:
		return File{}, fmt.Errorf("%s is longer than %d MiB", name, MaxFile>>20)
	}
	return File{name, data}, nil
}
