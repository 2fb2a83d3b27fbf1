package scan

import (
	"errors"
	"time"

	"logscan/internal/correlate"
	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/journal"
	"logscan/internal/redact"
	"logscan/internal/rule"
	"logscan/internal/store"
)

// input is what package correlate is told, in order: exactly one of the fields behind
// the container.
type input struct {
	container *correlate.Container
	match     *rule.Match
	run       *run
	seed      *seed
	started   int64 // when it was, in nanoseconds
	stopped   int64
	gone      int64
}

// firstMatch is the time of the first line among inputs, in nanoseconds; 0 for none.
func firstMatch(inputs []input) int64 {
	first := int64(0)
	for _, in := range inputs {
		if in.match != nil && (first == 0 || in.match.TimeNano < first) {
			first = in.match.TimeNano
		}
	}
	return first
}

// sums has rules whose hits depend on more than a line add their matches up. The one
// who commits uses it.
type sums struct {
	scanner  *Scanner
	engine   *correlate.Engine // nil until load
	snapshot *rule.Snapshot    // that engine has the rules of
	revision int64             // of what is stored
	seeding  map[int64]int64   // rules that are seeded, and up to which time, in nanoseconds
	behind   map[string]lag    // of containers that are
}

// clocks are watermarks, in nanoseconds.
type clocks struct {
	now, all int64
	of       map[string]int64 // of each container; nil where time isn't to pass
	behind   []correlate.Behind
	stood    time.Duration // see Scanner.Stood
}

// waitAtMost is for how long what other containers wrote waits for one that is behind. Then
// time goes on without it, until it has caught up.
const waitAtMost = 5 * time.Minute

// lag is of a container that is behind.
type lag struct {
	since int64 // in nanoseconds
	left  bool  // nothing waits for it any more
}

// submitWithin is by when what a turn gave is with the committer, where all lines there are
// were read.
const submitWithin = 3 * time.Second

// load has s know what is stored.
func (s *sums) load(rows []correlate.Row, revision int64) {
	s.engine, s.revision = correlate.New(s.scanner.cfg.Bucket), revision
	s.unreadable(s.engine.Load(rows))
	if last := s.engine.Seen(); last > 0 {
		if stood := time.Duration(s.scanner.now().UnixNano() - last); stood > 0 {
			s.scanner.Stood(stood)
		}
	}
	for _, id := range s.engine.Containers() {
		if j, err := s.scanner.cfg.Journals.Acquire(id); err == nil {
			j.Release()
		} else if errors.Is(err, journal.ErrNotFound) {
			s.scanner.commits.gone(id)
		}
	}
}

func (s *sums) unreadable(keys []correlate.Key) {
	if len(keys) > 0 {
		s.scanner.log.Error("what rules have added up is not readable; they begin anew", "keys", len(keys), "first", keys[0])
	}
}

// waiting reports whether time alone may give something.
func (s *sums) waiting() bool { return s.engine != nil && s.engine.Waits() }

// heeds reports whether it matters to rules which containers are behind. Of those that
// the engine doesn't know yet, it may.
func (s *sums) heeds() bool {
	return s.engine == nil || s.scanner.snapshot.Load() != s.snapshot || s.engine.Heeds()
}

// clocks are the watermarks of what is with the committer; pass says that time is to pass.
// Where they matter to nothing, nobody is asked: there may be a follower of each log that is
// kept.
func (s *sums) clocks(pass bool) clocks {
	if !pass && !s.heeds() {
		s.behind = nil
		return clocks{}
	}
	c := clocks{now: s.scanner.now().UnixNano()}
	c.all = c.now
	if pass {
		c.of = map[string]int64{}
	}
	was := s.behind
	s.behind = map[string]lag{}
	s.scanner.evaluated(func(f *follower, upTo, waitsFrom int64) {
		b := correlate.Behind{ID: f.id, Rules: f.where.Load(), UpTo: upTo}
		if f.stuck.Load() {
			b.UpTo = min(upTo, f.upTo.Load())
		}
		if waitsFrom != 0 {
			upTo = min(upTo, waitsFrom)
			if waitsFrom < c.now-int64(submitWithin) || b.Lags(c.now) {
				b.UpTo = min(b.UpTo, waitsFrom)
			}
		}
		if pass {
			c.of[f.id] = upTo
			if f.unknown.Load() {
				c.of[f.id] = 0
			}
		}
		if b.Lags(c.now) {
			l, known := was[f.id]
			if !known || l.since > c.now {
				l = lag{since: c.now}
			}
			if !l.left && c.now-l.since > int64(waitAtMost) {
				l.left = true
				s.scanner.log.Warn("reading a log takes long; rules that add up several containers go on without it", "container", f.id, "after", waitAtMost)
			}
			if s.behind[f.id] = l; l.left {
				return
			}
			c.behind = append(c.behind, b)
			upTo = min(upTo, b.UpTo)
		}
		c.all = min(c.all, upTo)
	})
	return c
}

// step adds inputs up, has time pass, and puts what comes of it into a batch.
func (s *sums) step(inputs []input, c clocks, b *store.Batch) {
	now := s.scanner.now().UnixNano()
	if snapshot := s.scanner.snapshot.Load(); snapshot != s.snapshot && snapshot != nil {
		s.snapshot = snapshot
		s.unreadable(s.engine.SetRules(snapshot, now))
	}
	if c.stood != 0 { // before what came behind it
		s.engine.Stood(c.stood, now)
	}
	s.engine.Behind(c.now, c.behind)
	for _, in := range inputs {
		switch {
		case in.match != nil:
			s.engine.Match(in.container, in.match)
		case in.seed != nil:
			s.engine.Seed(in.seed.rule, in.seed.before)
		case in.run != nil:
			in.run.tell(s.engine, in.container)
		case in.started != 0:
			s.engine.Started(*in.container, in.started)
		case in.stopped != 0:
			s.engine.Stopped(in.container.ID, in.stopped)
		default:
			s.engine.Gone(in.container.ID, in.gone)
		}
	}
	s.seed()
	if c.of != nil {
		s.engine.Advance(c.now, c.all, func(id string) int64 { return c.of[id] })
	}
	for id, n := range s.engine.TakeForgotten() {
		s.scanner.count("", map[int64]rule.Counts{id: {Forgotten: n}})
	}
	for id, n := range s.engine.TakeLate() {
		s.scanner.count("", map[int64]rule.Counts{id: {Late: n}})
	}
	for id, n := range s.engine.TakeLearning() {
		s.scanner.count("", map[int64]rule.Counts{id: {Learning: n}})
	}
	outcomes, rows := s.engine.Take()
	if len(outcomes)+len(rows) == 0 {
		return
	}
	for i := range outcomes {
		o := &outcomes[i]
		b.Outcomes = append(b.Outcomes, s.told(o)...)
	}
	s.revision++
	b.Correlated = &store.Correlated{Revision: s.revision, Rows: rows}
}

// told is what the store is told of an outcome.
func (s *sums) told(o *correlate.Outcome) []store.Outcome {
	redactor := s.scanner.cfg.Redact
	key := incident.Key{RuleID: o.Rule.ID, Workload: o.Workload(), By: o.By, Shape: outcomeShape(o)}
	more := func(m correlate.More) store.Outcome {
		return store.Outcome{More: &incident.Hit{
			Key: key, At: instant(m.Last), Rule: o.Rule.Name, Kind: o.Rule.Kind, Severity: o.Rule.Severity,
			Container: o.Container.Name, Image: o.Container.Image, Labels: o.Container.Labels, Text: redactor.Text(m.Text),
			Suppressed: m.Matches, SuppressedSince: instant(m.First), Others: m.Held, OnlyOpen: m.OnlyOpen, Shadow: o.Rule.State == rule.Shadow,
		}}
	}
	switch {
	case o.End != nil:
		return []store.Outcome{{End: &store.End{Key: key, Ending: incident.Ending{At: instant(o.End.TimeNano), Why: o.End.Why}, Shapes: o.Shapes, Keys: o.Keys, Except: o.Except}}}
	case o.More != nil:
		if o.More.Held {
			s.scanner.count(o.Container.ID, map[int64]rule.Counts{o.Rule.ID: {Bucket: 1}})
		}
		return []store.Outcome{more(*o.More)}
	}
	s.scanner.count(o.Container.ID, map[int64]rule.Counts{o.Rule.ID: {Hits: 1}})
	e := outcomeEvent(o, redactor)
	out := []store.Outcome{{Event: &e}}
	if h := o.Hit; h.Matches > 1 {
		out = append(out, more(correlate.More{Matches: h.Matches - 1, First: h.Since, Last: h.TimeNano, Text: h.Text}))
	}
	return out
}

// outcomeShape is the shape of the incident of an outcome.
func outcomeShape(o *correlate.Outcome) string {
	if o.Shape == "" {
		return incident.AllShapes
	}
	return o.Shape
}

// outcomeEvent is what a hit of a rule that adds matches up becomes. Lines are without
// secrets already, but not what is said of values.
func outcomeEvent(o *correlate.Outcome, redactor *redact.Redactor) event.Event {
	h, c := o.Hit, o.Container
	m := map[string]any{
		"workload_id":    o.Workload(),
		"container_id":   c.ID,
		"container_name": c.Name,
		"image":          c.Image,
		"rule_id":        o.Rule.ID,
		"rule_name":      o.Rule.Name,
		"kind":           o.Rule.Kind,
	}
	set := func(name, value string) {
		if value != "" {
			m[name] = value
		}
	}
	if o.Rule.State == rule.Shadow {
		m[event.Shadow] = true
	}
	set(event.Triggers, o.Rule.Triggers.String())
	set("by", redactor.Text(o.By))
	set("line", h.Line)
	set(event.Record, h.Record)
	set("first_line", h.FirstLine)
	set("stream", h.Stream)
	if h.LineTime != 0 {
		m["line_time"] = timestamp(h.LineTime)
	}
	if h.Matches != 0 {
		m["matches"] = h.Matches
	}
	if h.Since != 0 {
		m["since"] = timestamp(h.Since)
	}
	if h.Until != 0 {
		m["until"] = timestamp(h.Until)
	}
	stream, at := h.Stream, h.LineTime
	if at == 0 || o.Rule.Kind == rule.KindAbsent || o.Rule.Kind == rule.KindRun { // it is about that time, not about its last line
		stream, at = "", h.TimeNano
	}
	return event.Event{
		Source: event.Logscan, Severity: o.Rule.Severity, Message: redactor.Text(h.Text), Metadata: m,
		Around: around(o.Rule, c.ID, stream, h.From, h.To, at),
		Time:   instant(h.TimeNano), Shape: outcomeShape(o), By: o.By, Labels: c.Labels,
	}
}

func instant(nano int64) time.Time { return time.Unix(0, nano).UTC() }
