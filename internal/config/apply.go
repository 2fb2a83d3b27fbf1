package config

import (
	"context"
	"errors"

	"logscan/internal/store"
)

// applyTries is how often a plan is made anew because something was changed meanwhile.
const applyTries = 3

// Apply parses files and applies what they declare, as Set.Apply does.
func Apply(ctx context.Context, st *store.Store, files []File, secrets Secrets, o Options) (*Plan, error) {
	set, err := Parse(files, secrets)
	if err != nil {
		return nil, err
	}
	return set.Apply(ctx, st, o)
}

// Apply plans, tries the rules that are new or others than before on their tests, and
// stores what differs: all of it or nothing. What can't be is told as *Problems, and that
// something was changed since the revision of Options as *store.ChangedError. What is
// stored isn't live yet.
func (s *Set) Apply(ctx context.Context, st *store.Store, o Options) (*Plan, error) {
	tested := map[string]bool{}
	for try := 1; ; try++ {
		have, err := st.Objects(ctx)
		if err != nil {
			return nil, err
		}
		plan, err := NewPlan(have, s, o)
		if err != nil {
			return nil, err
		}
		untested := map[string]bool{}
		for _, c := range plan.Changes {
			if c.Kind == store.KindRule && c.Action != Remove && !tested[c.Key] {
				untested[c.Key], tested[c.Key] = true, true
			}
		}
		if err := s.Test(ctx, untested); err != nil {
			return nil, err
		}
		if o.Allowed != nil {
			if err := o.Allowed(plan); err != nil {
				return nil, err
			}
		}
		if o.Revision != 0 {
			plan.Apply.Revision = o.Revision
		}
		if o.DryRun {
			return plan, nil
		}
		err = st.Apply(ctx, plan.Apply)
		var changed *store.ChangedError
		if errors.As(err, &changed) && o.Revision == 0 && try < applyTries {
			continue
		}
		return plan, err
	}
}
