// Package packs has what people who know a program watch for in its log: for each
// program, a pack of rules, and for each rule lines that it has to hit and lines that it
// must not. Packs are files NAME.yaml of this directory, as package config has them,
// with a head:
//
//	version: 1
//	pack: redis
//	description: what it watches for
//	sources: [where the program's messages stand]
//	images: ['redis:*', '*/redis:*']
//	rules:
//	  redis-oom:
//	    description: what it means, and what to do
//	    pattern: '…' # any fields of a rule
//	    tests:
//	      - hits: ['a line', …]    # each by itself matches
//	        misses: ['a line', …]  # none does
//	      - lines: ['+0s a line', '+1s another', …]
//	        expect: {hits: 1}      # that these add up to
//
// Nothing of a pack is in effect unless somebody adds it.
package packs

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"logscan/internal/config"
	"logscan/internal/glob"
	"logscan/internal/nearest"
)

//go:embed *.yaml
var files embed.FS

// Pack is what to watch for in the log of a program.
type Pack struct {
	Name        string
	Description string
	Sources     []string // addresses of what the rules are written from
	Images      []string // globs of images that the program comes in, as docker ps shows them; none for any
	Rules       int      // how many there are
	YAML        []byte   // the file, as package config parses it
}

var load = sync.OnceValues(func() (all []Pack, err error) {
	names, err := files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	for _, f := range names {
		data, err := files.ReadFile(f.Name())
		if err != nil {
			return nil, err
		}
		set, err := config.Parse([]config.File{{Name: f.Name(), Data: data}}, config.Unknown)
		if err != nil {
			return nil, err
		}
		head := set.Pack
		if want := strings.TrimSuffix(f.Name(), path.Ext(f.Name())); head.Name != want {
			return nil, fmt.Errorf("%s: pack: has to be %s, as the file is called", f.Name(), want)
		}
		all = append(all, Pack{head.Name, head.Description, head.Sources, head.Images, len(set.Rules), data})
	}
	return all, nil
})

// All returns the packs there are, by name. They are part of the program, and tests have
// read them: one that can't be read is a panic.
func All() []Pack {
	all, err := load()
	if err != nil {
		panic(fmt.Sprintf("packs: %v", err))
	}
	return slices.Clone(all)
}

// Names returns the names of all packs, in order.
func Names() (names []string) {
	for _, p := range All() {
		names = append(names, p.Name)
	}
	return names
}

// Get returns the pack with a name. The error says which one may be meant.
func Get(name string) (Pack, error) {
	all := All()
	if n := slices.IndexFunc(all, func(p Pack) bool { return p.Name == name }); n >= 0 {
		return all[n], nil
	}
	known, hint := Names(), ""
	if meant, near := nearest.Name(name, known); near {
		hint = "; did you mean " + meant + "?"
	}
	return Pack{}, fmt.Errorf("there is no pack %q%s (known: %s)", name, hint, strings.Join(known, ", "))
}

// For returns the packs that are for an image, as docker ps shows it, which are none for
// most images. A pack that is for any image isn't among them.
func For(image string) (out []Pack) {
	for _, p := range All() {
		if len(p.Images) > 0 && glob.Any(p.Images, image) {
			out = append(out, p)
		}
	}
	return out
}
