// Package packs has what people who know a program watch for in its log: for each
// program, a pack of rules, and for each rule lines that it has to hit and lines that it
// must not. Packs are files NAME.yaml of this directory, in the form of logscan's own
// files, with a head:
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

	"logscan/internal/glob"
	"logscan/internal/nearest"
	"logscan/internal/rule"
)

//go:embed *.yaml
var files embed.FS

// Pack is what to watch for in the log of a program.
type Pack struct {
	Name        string
	Description string
	Sources     []string // addresses of what the rules are written from
	Images      []string // globs of images that the program comes in, as docker ps shows them; none for any
	Rules       []Rule   // in the order of the file
	YAML        []byte   // the file
}

// Rule is a rule of a pack, with what it is tried on.
type Rule struct {
	rule.Rule
	Tests []Test
}

// Test is lines that a rule is tried on.
type Test struct {
	Hits   []string // each matches by itself
	Misses []string // none matches
	Lines  []string // in order, each behind a time such as "+90s "
	Expect Expect   // of Lines
}

// Expect is what lines add up to.
type Expect struct {
	Hits int
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
		p, err := parse(f.Name(), data)
		if err != nil {
			return nil, err
		}
		if want := strings.TrimSuffix(f.Name(), path.Ext(f.Name())); p.Name != want {
			return nil, fmt.Errorf("%s: pack: has to be %s, as the file is called", f.Name(), want)
		}
		all = append(all, p)
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
