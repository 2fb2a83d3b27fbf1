package app

import (
	"context"
	"fmt"
	"time"

	"logscan/internal/event"
	"logscan/internal/store"
)

const (
	// noticesMax is how many events tell of rules and triggers that can't be
	// used; one more tells of the rest.
	noticesMax = 20
	// remindAfter is how long a notice is not repeated after a restart.
	remindAfter = 24 * time.Hour
)

// notices are what is wrong with settings, rules and triggers, as events. One
// with the same message is the same notice.
func (s *scanning) notices() []event.Event {
	var out []event.Event
	add := func(about, message string, metadata map[string]any) {
		metadata["about"] = about
		out = append(out, event.Event{Source: event.System, Severity: "error", Message: message, Metadata: metadata})
	}
	for _, p := range s.settings() {
		add("settings", "A setting is ignored: "+p+".", map[string]any{"reason": p})
	}
	if wrong := s.wrong.Load(); wrong != nil {
		add("config", "The files of "+configMount+" are not applied, and what was applied before goes on: "+*wrong+".", map[string]any{"reason": *wrong})
	}
	rest := 0
	if bad := s.leftOut.Load(); bad != nil {
		for i, b := range *bad {
			if i >= noticesMax {
				rest++
				continue
			}
			add("rule", fmt.Sprintf("Rule %s (%d) is not in use: %s.", b.Name, b.RuleID, b.Reason), map[string]any{"rule_id": b.RuleID, "rule_name": b.Name, "reason": b.Reason})
		}
	}
	if bad := s.unusable.Load(); bad != nil {
		for i, b := range *bad {
			if i >= noticesMax {
				rest++
				continue
			}
			// trigger_id would keep the event from that trigger; it gets none anyway.
			add("trigger", fmt.Sprintf("Trigger %s (%d) gets no events: %s.", b.Name, b.TriggerID, b.Reason), map[string]any{"trigger_id": b.TriggerID, "trigger_name": b.Name, "reason": b.Reason})
		}
	}
	if rest > 0 {
		add("rule", fmt.Sprintf("%d more rules or triggers can't be used; `docker logscan rule stats` and /healthz tell which.", rest), map[string]any{})
	}
	return out
}

// recall returns the messages of notices told lately, so that a restart doesn't
// repeat them.
func (s *scanning) recall(ctx context.Context) map[string]bool {
	told := map[string]bool{}
	events, err := s.store.Events(ctx, store.EventFilter{Source: event.System, Since: time.Now().Add(-remindAfter), Limit: 1000})
	if err != nil {
		s.log.Error("earlier notices not read", "err", err)
	}
	for _, e := range events {
		told[e.Message] = true
	}
	return told
}

// tell stores the notices that haven't been told yet; told is kept up to date.
// What no longer is wrong may be told again.
func (s *scanning) tell(ctx context.Context, told map[string]bool) error {
	var fresh []event.Event
	now := map[string]bool{}
	for _, n := range s.notices() {
		if now[n.Message] = true; !told[n.Message] {
			fresh = append(fresh, n)
		}
	}
	if len(fresh) > 0 {
		if _, err := s.store.Commit(ctx, store.Batch{Events: fresh}, s.router.Match); err != nil {
			return err
		}
	}
	clear(told)
	for m := range now {
		told[m] = true
	}
	return nil
}
