package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"logscan/internal/config"
	"logscan/internal/rule"
	"logscan/internal/store"
)

// declared is a file of n rules with a test each; of one the cooldown is given.
func declared(n, cooldown int) config.File {
	var b strings.Builder
	b.WriteString("version: 1\nrules:\n")
	for k := range n {
		fmt.Fprintf(&b, "  service-%d:\n    description: The service %d is out of sorts\n    pattern: 'service-%d: (?i:error|failed) code=(?P<code>5\\d\\d)'\n    severity: error\n    ignore: ['health check %d']\n", k, k, k, k)
		if k == n/2 {
			fmt.Fprintf(&b, "    cooldown: %d\n", cooldown)
		}
		fmt.Fprintf(&b, "    tests:\n      - hits: ['service-%d: ERROR code=503']\n        misses: ['service-%d: ok code=200']\n", k, k)
	}
	return config.File{Name: "many.yaml", Data: []byte(b.String())}
}

// kept is a database with rules that a file declares, and what makes them live.
type kept struct {
	*store.Store
	patterns rule.Patterns
}

func (k *kept) apply(n, cooldown int) error {
	_, err := config.Apply(context.Background(), k.Store, []config.File{declared(n, cooldown)}, config.Unknown, config.Options{Source: "file:many", Prune: true})
	return err
}

// live compiles the rules that are stored.
func (k *kept) live() error {
	rules, err := k.Rules(context.Background())
	if err != nil {
		return err
	}
	if _, bad := rule.Compile(rules, rule.WithPatterns(&k.patterns)); len(bad) > 0 {
		return bad[0]
	}
	return nil
}

// files measures how long it takes until rules that files declare, or that the API
// changes, are live: in this process, with a database on disk.
func files(b *bench) (*section, error) {
	dir, err := os.MkdirTemp("", "bench-config")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	const many, most = 1000, store.MaxRules
	took := map[string][]float64{}
	measure := func(what string, do func() error) error {
		began := time.Now()
		err := do()
		took[what] = append(took[what], time.Since(began).Seconds())
		return err
	}
	for turn := range b.runs {
		turn := turn
		open := func(name string) (*kept, error) {
			db, err := store.Open(filepath.Join(dir, fmt.Sprint(name, turn)), nil)
			return &kept{Store: db}, err
		}
		k, err := open("many")
		if err != nil {
			return nil, err
		}
		steps := []struct {
			what string
			do   func() error
		}{
			{"all", func() error {
				if err := k.apply(many, 5); err != nil {
					return err
				}
				return k.live()
			}},
			{"one", func() error {
				if err := k.apply(many, 6); err != nil {
					return err
				}
				return k.live()
			}},
			{"none", func() error { return k.apply(many, 6) }},
		}
		for _, s := range steps {
			if err := measure(s.what, s.do); err != nil {
				return nil, fmt.Errorf("%s: %w", s.what, err)
			}
		}
		own := rule.New()
		own.Name, own.Pattern = "own", "own: refused"
		if own, err = k.CreateRule(context.Background(), own); err != nil {
			return nil, err
		}
		if err := k.live(); err != nil {
			return nil, err
		}
		err = measure("api", func() error {
			own.Pattern = "own: (refused|reset)"
			if _, err := k.UpdateRule(context.Background(), own); err != nil {
				return err
			}
			return k.live()
		})
		if err != nil {
			return nil, err
		}
		k.Close()

		if k, err = open("most"); err != nil {
			return nil, err
		}
		if err := k.apply(most, 5); err != nil {
			return nil, err
		}
		k.Close()
		if k, err = open("most"); err != nil {
			return nil, err
		}
		if err := measure("start", k.live); err != nil {
			return nil, err
		}
		k.Close()
	}
	s := &section{title: "Rules in files"}
	s.say("%d turns. Each rule has a pattern, a pattern to ignore, and a test of two lines.", b.runs)
	row := func(text, what string) []string {
		all := took[what]
		return []string{text, number(median(all)), number(slices.Min(all)), number(slices.Max(all))}
	}
	s.table([]string{"until it is live", "s", "least", "most"}, [][]string{
		row(fmt.Sprintf("%d new rules in a file: checked, tested, stored, compiled", many), "all"),
		row("one of them changed, in the file", "one"),
		row("nothing changed, in the file", "none"),
		row("one more, changed by the API", "api"),
		row(fmt.Sprintf("%d stored rules, at a start", most), "start"),
	})
	s.target(fmt.Sprintf("%d new rules", many), median(took["all"]), 1.5, " s")
	s.target(fmt.Sprintf("one changed beside %d", many), median(took["api"]), 0.05, " s")
	return s, nil
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}
