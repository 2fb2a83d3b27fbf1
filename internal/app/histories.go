package app

import (
	"context"
	"errors"
	"time"

	"logscan/internal/query"
	"logscan/internal/store"
)

const (
	// historyLook is how often it is looked whether all logs are read up to where a rule
	// begins whose history is owed.
	historyLook = 200 * time.Millisecond
	// historyTime is how long a history may take.
	historyTime = 10 * time.Minute
)

// awaitHistories has it be noted where rules begin whose history is owed.
func (s *scanning) awaitHistories(owed []store.History) {
	ids := make([]int64, len(owed))
	for i, h := range owed {
		ids[i] = h.RuleID
	}
	s.scanner.Await(ids)
	if len(ids) > 0 {
		select {
		case s.owed <- struct{}{}:
		default:
		}
	}
}

// findHistories stores what is owed of rules: what each would have told of lines that were
// written before it. Each is stored whole, once: a kill has it be found anew.
func (s *scanning) findHistories(ctx context.Context) {
	for {
		select {
		case <-s.owed:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil {
			left, err := s.findOwed(ctx)
			if err != nil && ctx.Err() == nil {
				s.log.Error("the history of a rule is not found; trying again", "err", err)
			}
			if left == 0 && err == nil {
				break
			}
			wait := historyLook
			if err != nil {
				wait = 10 * time.Second
			}
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
	}
}

// findOwed finds the histories that can be found now, and returns how many are left of
// rules that are in use.
func (s *scanning) findOwed(ctx context.Context) (left int, err error) {
	owed, err := s.store.Histories(ctx)
	if err != nil {
		return 0, err
	}
	for _, h := range owed {
		if !s.snapshot.Load().Known(h.RuleID) {
			continue // it is switched off, or just being removed: a change tells
		}
		ends, known := s.scanner.Begins(h.RuleID)
		if !known {
			left++
			continue
		}
		r, err := s.store.Rule(ctx, h.RuleID)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return left, err
		}
		limited, cancel := context.WithTimeout(ctx, historyTime)
		events, whole, err := query.FindHistory(limited, s.backtest, r, h.Since, ends)
		cancel()
		if err != nil {
			return left, err
		}
		if !whole {
			s.log.Warn("a rule would have hit more than is taken as history", "rule", r.Name, "taken", len(events))
		}
		if err := s.store.PutHistory(ctx, h.RuleID, events); err != nil {
			return left, err
		}
	}
	return left, nil
}
