package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"logscan/internal/event"
	"logscan/internal/store"
)

const (
	// givenUpEvery is how often an event tells that a rule gives up lines.
	givenUpEvery = time.Hour
	// givenUpNames is how many rules such an event names.
	givenUpNames = 20
)

// givenUp is what was told of a rule that gave up lines.
type givenUp struct {
	lines int64
	at    time.Time
}

// tellGivenUp stores an event about the rules that have given up lines because
// those were made to be dear, unless one was told of them within the last hour;
// told is kept up to date.
func (s *scanning) tellGivenUp(ctx context.Context, now time.Time, told map[int64]givenUp) error {
	type loser struct {
		id        int64
		name      string
		lines     int64
		total     int64
		container string
	}
	var losers []loser
	containers := s.scanner.GaveUp()
	for id, c := range s.scanner.RuleStats() {
		if t := told[id]; c.GivenUp > t.lines && (t.at.IsZero() || now.Sub(t.at) >= givenUpEvery) {
			losers = append(losers, loser{id: id, lines: c.GivenUp - t.lines, total: c.GivenUp, container: containers[id]})
		}
	}
	if len(losers) == 0 {
		return nil
	}
	slices.SortFunc(losers, func(a, b loser) int {
		return cmp.Or(cmp.Compare(b.lines, a.lines), cmp.Compare(a.id, b.id))
	})
	names := map[int64]string{}
	rules, err := s.store.Rules(ctx)
	if err != nil {
		return err
	}
	for _, r := range rules {
		names[r.ID] = r.Name
	}
	var said []string
	var named []map[string]any
	for i := range losers[:min(len(losers), givenUpNames)] {
		l := &losers[i]
		if l.name = names[l.id]; l.name == "" {
			l.name = fmt.Sprint("rule ", l.id)
		}
		said = append(said, fmt.Sprintf("%s %d×", l.name, l.lines))
		named = append(named, map[string]any{"rule_id": l.id, "rule_name": l.name, "lines": l.lines})
	}
	if rest := len(losers) - len(said); rest > 0 {
		said = append(said, fmt.Sprintf("%d more rules", rest))
	}
	m := map[string]any{"about": "given_up", "rules": named}
	where := "a container"
	if c, ok := s.journals.Container(losers[0].container); ok {
		m["container_id"], m["container_name"], m["image"], m["workload_id"] = c.ID, c.Name, c.Image, c.Workload
		where = c.Name
	}
	notice := event.Event{
		Source: event.System, Severity: event.Warn, Metadata: m,
		Message: fmt.Sprintf("Rules gave up lines, last of %s: checking them takes too much work (%s). `docker logscan rule stats` counts them.", where, strings.Join(said, ", ")),
	}
	if _, err := s.store.Commit(ctx, store.Batch{Events: []event.Event{notice}}, s.router.Match); err != nil {
		return err
	}
	for _, l := range losers {
		told[l.id] = givenUp{l.total, now}
	}
	return nil
}
