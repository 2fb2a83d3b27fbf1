package config

import (
	"context"
	"errors"

	"logscan/internal/store"
)

// applyTries is how often a plan is made anew because something was changed meanwhile.
const applyTries = 3

// Apply parses files, tries their rules on their tests, plans, and stores what differs:
// all of it or nothing. What is wrong with the files is told as *Problems, and that
// something was changed since the revision of Options as *store.ChangedError. What is
// stored isn't live yet.
func Apply(ctx context.Context, st *store.Store, files []File, secrets Secrets, o Options) (*Plan, error) {
	set, err := Parse(files, secrets)
	if err != nil {
		return nil, err
	}
	if err := set.Test(); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		have, err := st.Objects(ctx)
		if err != nil {
			return nil, err
		}
		plan, err := NewPlan(have, set, o)
		if err != nil {
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
