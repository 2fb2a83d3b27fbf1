package packs

import (
	"fmt"

	"logscan/internal/config"
	"logscan/internal/fields"
	"logscan/internal/rule"
)

// Common is the name of the pack that is for any program.
const Common = "common"

// Source is who manages a pack's rules, as fields.Managed.ManagedBy.
func (p *Pack) Source() string { return "pack:" + p.Name }

// Scope says for which containers a pack's rules are, and who is told. All of its rules
// have the same.
type Scope struct {
	Workload string              // "" for all
	Images   fields.List[string] // globs; none for all
	Triggers fields.List[string] // names; none for all that are for it
}

// ScopeOf returns the scope with which a pack was added, and how many of the rules are
// its; 0 where it isn't added.
func (p *Pack) ScopeOf(rules []rule.Rule) (s Scope, n int) {
	for _, r := range rules {
		if r.ManagedBy != p.Source() {
			continue
		}
		if n++; n == 1 {
			s = Scope{r.WorkloadID, r.Images, r.Triggers}
		}
	}
	return s, n
}

// Set returns what the pack declares, each time anew.
func (p *Pack) Set() *config.Set {
	set, err := config.Parse([]config.File{{Name: p.Name + ".yaml", Data: p.YAML}}, config.Unknown)
	if err != nil {
		panic(fmt.Sprintf("packs: %v", err)) // it was parsed before
	}
	return set
}

// Digest is that of what the pack declares, as package store keeps it.
func (p *Pack) Digest() string { return p.Set().Digest }

// In returns what the pack declares with a scope. The error is a *fields.Error.
func (p *Pack) In(s Scope) (*config.Set, error) {
	set := p.Set()
	for _, r := range set.Rules {
		r.Value.WorkloadID, r.Value.Images, r.Value.Triggers = s.Workload, s.Images, s.Triggers
		if err := rule.Fields.Validate(r.Value); err != nil {
			return nil, err
		}
	}
	return set, nil
}
