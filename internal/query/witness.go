package query

import (
	"bytes"
	"context"
	"slices"
	"time"

	"logscan/internal/correlate"
	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/scan"
	"logscan/internal/store"
)

// maxWitnessed is how many matches a replay notes of rules that add them up.
const maxWitnessed = 200_000

// found is what a line is to a rule that it matches.
type found struct {
	parts  []string
	became *rule.Became // of a rule whose hits are lines or records
	match  *rule.Match  // of another one
}

// at is the time of the match, in nanoseconds; 0 where it isn't known.
func (f *found) at() int64 {
	switch {
	case f.match != nil:
		return f.match.TimeNano
	case f.became != nil:
		return f.became.TimeNano
	}
	return 0
}

func (f *found) by() string {
	switch {
	case f.match != nil:
		return f.match.By
	case f.became != nil:
		return f.became.By
	}
	return ""
}

// shape is the shape of the match, as an incident's key has it.
func (f *found) shape() string {
	switch {
	case f.match != nil:
		return f.match.Shape
	case f.became != nil:
		return f.became.Shape.String()
	}
	return ""
}

// witness sees, in a replay, what rules make of a line; it implements scan.Witness.
type witness struct {
	id   string // of the line's container
	line *Line
	ways []string // in which its records are made

	on     bool              // the record that is evaluated has the line
	at     int               // as that number; -2 for none
	lines  int               // of the longest record that has it
	hidden bool              // it repeats what logscan has sent
	whole  map[string][]byte // the text of the record, where it has several lines, by the way in which it is made
	found  map[int64]*found  // by rule

	matches []witnessed
}

// witnessed is a match of a rule that adds them up.
type witnessed struct {
	rule, nano          int64
	scope, by, distinct string
}

func newWitness(id string, line *Line, ways []string) *witness {
	return &witness{id: id, line: line, ways: ways, whole: map[string][]byte{}, found: map[int64]*found{}}
}

func (w *witness) Begin(c *journal.Container, r *rule.Record) {
	w.on = c.ID == w.id && r.From <= w.line.From && w.line.To <= r.To
	if !w.on {
		return
	}
	w.at = slices.IndexFunc(r.Lines, func(l rule.Line) bool {
		return l.TimeNano == w.line.TimeNano && l.Stream == w.line.Stream && bytes.Equal(bytes.TrimRight(l.Text, "\r"), w.line.Text)
	})
	if w.at < 0 {
		w.at = -2
	}
	w.lines = max(w.lines, len(r.Lines))
	if len(r.Lines) > 1 && r.Way < len(w.ways) {
		var texts [][]byte
		for _, l := range r.Lines {
			texts = append(texts, bytes.TrimRight(l.Text, "\r"))
		}
		w.whole[w.ways[r.Way]] = bytes.Join(texts, []byte("\n"))
	}
}

func (w *witness) Text(_ rule.Line, n int, m *rule.Matching, hidden bool) {
	if !w.on || n != w.at && n != -1 {
		return
	}
	w.hidden = w.hidden || hidden
	parts := m.Parts()
	for k, r := range m.Rules() {
		f := w.found[r.ID]
		if f == nil {
			f = &found{}
			w.found[r.ID] = f
		}
		f.parts = append(f.parts, parts[k].String())
	}
}

func (w *witness) End(m *rule.Matching) {
	if !w.on {
		return
	}
	for _, b := range m.Became() {
		if f := w.found[b.Rule.ID]; f != nil && (f.became == nil || b.TimeNano == w.line.TimeNano) {
			f.became = &b
		}
	}
}

func (w *witness) Match(c *correlate.Container, m *rule.Match) {
	if m.Role == rule.Of {
		return
	}
	if f := w.found[m.Rule.ID]; f != nil && c.ID == w.id && m.From <= w.line.From && w.line.To <= m.To && (f.match == nil || m.TimeNano == w.line.TimeNano) {
		own := *m
		f.match = &own
	}
	if m.Role == rule.Main && len(w.matches) < maxWitnessed {
		w.matches = append(w.matches, witnessOf(c, m))
	}
}

func witnessOf(c *correlate.Container, m *rule.Match) witnessed {
	return witnessed{rule: m.Rule.ID, nano: m.TimeNano, scope: scopeText(m.Rule, c), by: m.By, distinct: m.Distinct}
}

// scopeText is whose matches of a rule add up.
func scopeText(r *rule.Rule, c *correlate.Container) string {
	switch r.Per {
	case rule.PerRule:
		return ""
	case rule.PerContainer:
		return c.ID
	}
	return c.Workload
}

// within counts the matches of a rule of kind count in its time up to one of the line,
// and says when the first of them was.
func (w *witness) within(r *rule.Rule, m *rule.Match) (n int64, since time.Time) {
	i := slices.IndexFunc(w.matches, func(o witnessed) bool { return o.rule == r.ID && o.nano == m.TimeNano && o.by == m.By })
	if i < 0 {
		return 1, time.Unix(0, m.TimeNano).UTC()
	}
	own, first := w.matches[i], m.TimeNano
	distinct := map[string]bool{}
	for _, o := range w.matches {
		if o.rule != r.ID || o.by != own.by || o.scope != own.scope || o.nano > own.nano || own.nano-o.nano > int64(r.Within()) {
			continue
		}
		n++
		first = min(first, o.nano)
		distinct[o.distinct] = true
	}
	if r.Distinct != "" {
		n = int64(len(distinct))
	}
	return n, time.Unix(0, first).UTC()
}

// replay has the live steps run over the logs of some containers from a time before the
// line on, and sees what they make of it.
func (w *why) replay(ctx context.Context, back time.Duration, wants func(journal.Info) bool) error {
	set := w.snapshot.ForContainer(scopeOf(w.out.Container))
	w.seen = newWitness(w.out.Container.ID, w.out.Line, set.Ways())
	since := w.time().Add(-back)
	all, _, err := w.witnessed(ctx, w.cfg, scan.ReplayConfig{Rules: w.snapshot, Since: since, Until: w.time().Add(whyAfter), Wants: wants, Witness: w.seen})
	if err != nil {
		return err
	}
	w.out.Replayed, w.out.Whole = since, true
	for _, c := range all {
		if c.ID == w.out.Container.ID || back > whyBefore {
			w.out.Whole = w.out.Whole && c.Whole && c.Unread == 0
		}
	}
	return nil
}

// replayAll replays what may have held matches of the line back, or adds up with them.
func (w *why) replayAll(ctx context.Context) error {
	if w.whole {
		return nil
	}
	w.whole = true
	back, widest := whyBefore, 0
	for _, r := range w.snapshot.ForContainer(scopeOf(w.out.Container)).Rules() {
		if w.seen.found[r.ID] == nil || w.near[r.ID] != nil {
			continue
		}
		back = max(back, reach(&r))
		switch {
		case alone(&r):
		case r.Per == rule.PerRule:
			widest = 2
		default:
			widest = max(widest, 1)
		}
	}
	// The bucket of a container is full again in the time that all of its tokens take.
	back = max(back, time.Duration(w.cfg.Bucket.Burst)*w.cfg.Bucket.Refill)
	return w.replay(ctx, min(back+whyBefore, whyBack), func(i journal.Info) bool {
		return i.ID == w.out.Container.ID || widest == 1 && i.Workload == w.out.Container.Workload || widest == 2
	})
}

// reach is how far back a match of a rule may matter to another one.
func reach(r *rule.Rule) time.Duration {
	switch r.Kind {
	case rule.KindLine:
		return r.Cooldown()
	case rule.KindCount, rule.KindSequence:
		return r.Within()
	case rule.KindRatio:
		return r.Window()
	case rule.KindAbsent:
		return r.For() + r.Grace()
	}
	return whyBack
}

// witnessed is a replay of which only the witness is asked.
func (s *Searcher) witnessed(ctx context.Context, cfg WhyConfig, r scan.ReplayConfig) ([]scan.Replayed, map[int64]rule.Counts, error) {
	r.Config = scan.Config{Journals: s.journals, Store: unstored{}, Echo: cfg.Echo, Bucket: cfg.Bucket, Redact: cfg.Redact}
	r.Turn = s.pool.turn
	r.Clock, r.Due = func(time.Time) {}, func() time.Time { return time.Time{} }
	return scan.Replay(ctx, r)
}

// unstored is a store for replays of which only the witness is asked: it keeps nothing.
type unstored struct{ scan.Store }

// Commit implements scan.Store.
func (unstored) Commit(context.Context, store.Batch, func(event.Event) []int64) ([]event.Event, error) {
	return nil, nil
}
