package store

import (
	"cmp"
	"context"
	"slices"

	"logscan/internal/incident"
	"logscan/internal/trigger"
)

const (
	toldOf = "SELECT notice_id, trigger_id, CASE delivery_id WHEN '' THEN 'spared' WHEN 'shadow' THEN 'unwanted' ELSE 'told' END, delivery_id, '', 0 FROM told WHERE notice_id IN (SELECT value FROM json_each(?))"
	heldOf = "SELECT notice_id, trigger_id, 'held', '', why, due_at FROM held WHERE notice_id IN (SELECT value FROM json_each(?))"

	theseDeliveries = "SELECT " + deliveryColumns + " FROM deliveries d WHERE id IN (SELECT value FROM json_each(?))"
)

// Fates returns what has become of an incident's notices, of each for each trigger by
// its id: for those that are switched on, and for those that are known to have been
// told, or to wait. A filter is held against the trigger only where that is the same
// one as when there was something to tell.
func (s *Store) Fates(ctx context.Context, i incident.Incident, notices []Noticed) ([][]trigger.Fate, error) {
	ids := make([]int64, len(notices))
	for k, n := range notices {
		ids[k] = n.ID
	}
	known := map[int64]map[int64]trigger.Fate{} // by notice and trigger
	sent := []string{}
	for _, q := range []string{heldOf, toldOf} { // in this order: what is held may be told between the two
		rows, err := s.r.QueryContext(ctx, q, asJSON(ids))
		_, err = collect(rows, err, func(r row) (struct{}, error) {
			var notice, due int64
			var f trigger.Fate
			err := r.Scan(&notice, &f.TriggerID, &f.State, &f.DeliveryID, &f.Why, &due)
			f.Until = instant(due)
			if f.State == trigger.FateUnwanted {
				f.Field, f.DeliveryID = trigger.InShadow, ""
			}
			if known[notice] == nil {
				known[notice] = map[int64]trigger.Fate{}
			}
			known[notice][f.TriggerID] = f
			sent = append(sent, f.DeliveryID)
			return struct{}{}, err
		})
		if err != nil {
			return nil, wrap("read what was told", err)
		}
	}
	deliveries := map[string]trigger.Delivery{}
	rows, err := s.r.QueryContext(ctx, theseDeliveries, asJSON(sent))
	_, err = collect(rows, err, func(r row) (struct{}, error) {
		d, err := scanDelivery(r)
		deliveries[d.ID] = d
		return struct{}{}, err
	})
	if err != nil {
		return nil, wrap("read deliveries", err)
	}
	triggers, err := s.Triggers(ctx)
	if err != nil {
		return nil, err
	}
	policies := map[int64]*trigger.Policy{}
	if s.incidents != nil {
		for _, p := range s.incidents.Policies() {
			policies[p.ID] = p
		}
	}
	out := make([][]trigger.Fate, len(notices))
	for k, n := range notices {
		names := map[int64]string{}
		for _, t := range triggers {
			names[t.ID] = t.Name
			if _, ok := known[n.ID][t.ID]; !ok && t.Enabled {
				f := untold(i, n, t, policies[t.ID])
				f.TriggerID, f.Trigger = t.ID, t.Name
				out[k] = append(out[k], f)
			}
		}
		for id, f := range known[n.ID] {
			f.Trigger, f.Delivery = names[id], deliveries[f.DeliveryID]
			out[k] = append(out[k], f)
		}
		slices.SortFunc(out[k], func(a, b trigger.Fate) int { return cmp.Compare(a.TriggerID, b.TriggerID) })
	}
	return out, nil
}

// untold is what has become of a notice for a trigger that is switched on, where it was
// neither told nor held; p is nil where that is not told of incidents.
func untold(i incident.Incident, n Noticed, t trigger.Trigger, p *trigger.Policy) trigger.Fate {
	switch {
	case n.Shadow:
		return trigger.Fate{State: trigger.FateUnwanted, Field: trigger.InShadow}
	case t.CreatedAt.After(n.CreatedAt):
		return trigger.Fate{State: trigger.FateUnknown, Why: "the trigger was made later"}
	case t.UpdatedAt.After(n.CreatedAt):
		return trigger.Fate{State: trigger.FateUnknown, Why: "the trigger has changed since"}
	case t.Mode == trigger.ModeEvents:
		return trigger.Fate{State: trigger.FateUnwanted, Field: "mode"}
	case p == nil:
		return trigger.Fate{State: trigger.FateUnknown, Why: "the trigger can't be used"}
	}
	i.Severity, i.Shadow = n.Severity, false
	if n.Kind == incident.NoticeOpened || n.Kind == incident.NoticeSystem {
		i.LastText = i.FirstText
	}
	switch field := p.UnwantedBy(&i, n.Notice); {
	case field != "":
		return trigger.Fate{State: trigger.FateUnwanted, Field: field}
	case n.SilencedBy != 0:
		return trigger.Fate{State: trigger.FateSilenced}
	}
	return trigger.Fate{State: trigger.FateUnknown}
}
