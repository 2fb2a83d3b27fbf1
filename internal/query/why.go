package query

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"logscan/internal/echo"
	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/journal"
	"logscan/internal/redact"
	"logscan/internal/rule"
	"logscan/internal/silence"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// Bounds of what is looked at to say why.
const (
	// whyBefore is how much of a log before a line is replayed to see its record, and
	// whyAfter how much behind.
	whyBefore = time.Minute
	whyAfter  = 10 * time.Second
	// whyBack is from how far back matches are replayed that may hold a line back, or add
	// up with it.
	whyBack = 24 * time.Hour
	// whyEvents is among how many events that were stored behind a line its own is looked for.
	whyEvents = 1000
)

// WhyConfig is what there is besides the logs.
type WhyConfig struct {
	Store  *store.Store
	Bucket rule.Bucket
	Echo   func([]byte, int64) echo.Rules // as scan.Config has it; may be nil
	Redact *redact.Redactor               // what is told of lines
	Lag    func() map[string]int64        // bytes that no rule has seen yet, by container; may be nil
}

// WhyQuery says of which line it is asked what became of it: of Event, or else of Line, or
// else of the first one At or behind that.
type WhyQuery struct {
	Container string // name, id or the beginning of an id; "" for all, where Line is 0
	At        time.Time
	Line      int64 // the number of a line among those of the container that are kept, from 1 on; from -1 on, from the last one back
	Event     int64 // the id of an event: the line that it is about
}

// Why is what became of a line.
type Why struct {
	Container *journal.Container // nil where its log is no longer kept
	Line      *Line              // nil where it is no longer kept, or an event is about none
	Text      string             // of the line, as a hit has it
	Lines     int                // of the record that it is part of; 1 where it is one by itself
	Event     *event.Event       // that was asked about
	Rules     []WhyRule          // of the container, by id
	Elsewhere int                // rules that are for other containers only
	Replayed  time.Time          // lines from then on were evaluated again; zero for none
	Whole     bool               // the log has all that was written since
}

// WhyOutcome is what became of a line for a rule.
type WhyOutcome string

// The outcomes.
const (
	WhyHit       WhyOutcome = "hit"       // it made an event
	WhyJoined    WhyOutcome = "joined"    // it is one of several matches that made an event, or of a record that did
	WhyCooldown  WhyOutcome = "cooldown"  // the rule's cooldown held it back
	WhyBucket    WhyOutcome = "bucket"    // the bound of a container's hits did
	WhyCounted   WhyOutcome = "counted"   // it adds up with others, and they were no hit yet
	WhyIgnored   WhyOutcome = "ignored"   // a pattern to ignore matches it
	WhyUnmet     WhyOutcome = "unmet"     // it doesn't fulfil a condition
	WhyUnmatched WhyOutcome = "unmatched" // the pattern doesn't match it
	WhyStream    WhyOutcome = "stream"    // it would match, but the rule is for another stream
	WhyEcho      WhyOutcome = "echo"      // it repeats what logscan has sent
	WhyGivenUp   WhyOutcome = "given_up"  // it takes too much work to find out
	WhyOff       WhyOutcome = "off"       // it would match, but the rule is switched off
	WhyLater     WhyOutcome = "later"     // it matches, but the rule was made behind it
	WhyUnread    WhyOutcome = "unread"    // it matches, and is yet to be evaluated
	WhyForgotten WhyOutcome = "forgotten" // it matches, but events of its time are no longer kept
	WhyUnknown   WhyOutcome = "unknown"   // it matches, and nothing that is kept says why there is no event
)

// WhyRule is what became of a line for one rule.
type WhyRule struct {
	Rule    rule.Rule
	Outcome WhyOutcome
	Changed bool          // the rule was another one when the line was written, or may have been
	Parts   []string      // of the rule that the line fulfils, as rule.Part writes them; "" for a match
	Unmet   *rule.Verdict // the first condition that it doesn't fulfil
	By      string        // the values by which the rule keeps matches apart

	// Of what held it back. Replayed is that it is what the rules of today make of it, and
	// no event says so.
	Replayed     bool
	Behind       time.Time    // the hit of which the cooldown
	BehindEvent  *event.Event // that hit; nil where its event isn't kept
	Until        time.Time    // the cooldown
	Matches, Of  int64        // so many there were within the rule's time up to this one, of so many
	MatchesSince time.Time    // the first of them
	ToldWith     *event.Event // the event that tells that it was held back

	Event    *event.Event       // the hit
	Incident *incident.Incident // that it is part of
	Folded   bool               // the incident was there already: it was worth no notice
	Notices  []WhyNotice        // the one that it was worth, or the last one before it, and the next
	Each     []trigger.Fate     // of Event, for the triggers that are told of each event
}

// WhyNotice is a notice of an incident, and what became of it for each trigger.
type WhyNotice struct {
	store.Noticed
	Silence *silence.Silence // that held it back; nil where it is no longer kept, too
	Fates   []trigger.Fate
}

// Why says what became of a line, of any moment that is kept. An error of a query is a
// *fields.Error, wraps ErrNoContainer or is store.ErrNotFound for its event; ErrBusy asks
// to try again. What is read of logs is bounded by ctx too.
func (s *Searcher) Why(ctx context.Context, cfg WhyConfig, q WhyQuery) (Why, error) {
	leave, err := s.pool.enter(false)
	if err != nil {
		return Why{}, err
	}
	defer leave()
	w := why{Searcher: s, cfg: cfg, query: q}
	if err := w.find(ctx); err != nil {
		return Why{}, err
	}
	if err := w.load(ctx); err != nil {
		return Why{}, err
	}
	if w.out.Line == nil || !w.out.Container.Scan {
		return w.out, w.alone(ctx)
	}
	return w.out, w.rules(ctx)
}

// why is a query under way.
type why struct {
	*Searcher
	cfg   WhyConfig
	query WhyQuery
	out   Why

	all      []rule.Rule
	snapshot *rule.Snapshot
	triggers []trigger.Trigger
	silences []silence.Silence
	near     map[int64]*event.Event // hits of the line, by rule
	seen     *witness
	whole    bool // seen is of all that may have held the line back
}

// find finds the line.
func (w *why) find(ctx context.Context) error {
	q := &w.query
	r := Request{Order: Oldest, Limit: 1}
	nth, message := int64(1), ""
	switch {
	case q.Event != 0:
		e, err := w.cfg.Store.Event(ctx, q.Event)
		if err != nil {
			return err
		}
		if e.Source != event.Logscan {
			return refuse("event", "is what logscan says about itself, and no hit of a rule")
		}
		w.out.Event = &e
		id, at := metaText(&e, "container_id"), metaTime(&e, "line_time")
		if id == "" || at.IsZero() {
			return nil
		}
		r.Containers, r.Since, r.Until, r.Stream, r.Limit = []string{id}, at, at.Add(1), metaText(&e, "stream"), 100
		message = cmp.Or(metaText(&e, "line"), e.Message)
	case q.Line != 0:
		id, err := w.newest(q.Container)
		if err != nil {
			return err
		}
		r.Containers = []string{id}
		if nth = q.Line; nth < 0 {
			nth, r.Order = -nth, Newest
		}
		if nth > MaxLimit || nth < 0 {
			return refuse("line", "must be from -%d to %d, and not 0", MaxLimit, MaxLimit)
		}
		r.Limit = int(nth)
	case !q.At.IsZero():
		r.Since = q.At
		if q.Container != "" {
			r.Containers = []string{q.Container}
		}
	default:
		return refuse("at", "is required, or else line or event")
	}
	n, fits := int64(0), false
	sum, err := w.Searcher.within(ctx, r, Output{Hit: func(h *Hit) error {
		if n++; q.Event == 0 && n != nth || fits {
			return nil
		}
		shown := rule.Shown(h.Text, w.cfg.Redact)
		if q.Event != 0 && n > 1 && shown != message {
			return nil
		}
		c, l := *h.Container, h.Line
		l.Text = bytes.Clone(l.Text)
		w.out.Container, w.out.Line, w.out.Text, w.out.Lines, fits = &c, &l, shown, 1, q.Event != 0 && shown == message
		return nil
	}})
	switch {
	case q.Event != 0 && errors.Is(err, ErrNoContainer):
		return nil
	case err != nil:
		return err
	case w.out.Line != nil || q.Event != 0:
		return nil
	case sum.OutOfTime:
		return refuse("line", "is so far that it took too long to get there; give a time instead")
	case q.Line != 0:
		return refuse("line", "is %d; only %d are kept", q.Line, n)
	}
	return refuse("at", "is behind the last line that is kept")
}

// newest returns the id of the container that has, or had last, a name.
func (w *why) newest(name string) (string, error) {
	if name == "" {
		return "", refuse("line", "goes with a container")
	}
	r := Request{Containers: []string{name}}
	if err := r.settle(); err != nil {
		return "", err
	}
	chosen, err := r.choose(w.journals.Containers())
	if err != nil {
		return "", err
	}
	last := slices.MaxFunc(chosen, func(a, b journal.Container) int { return a.Started.Compare(b.Started) })
	return last.ID, nil
}

// load reads what there is of rules and triggers.
func (w *why) load(ctx context.Context) (err error) {
	if w.all, err = w.cfg.Store.Rules(ctx); err == nil {
		w.triggers, err = w.cfg.Store.Triggers(ctx)
	}
	if err == nil {
		w.silences, err = w.cfg.Store.Silences(ctx)
	}
	w.snapshot, _ = rule.Compile(w.all, rule.WithBucket(w.cfg.Bucket), rule.WithRedactor(w.cfg.Redact))
	return err
}

// alone says what became of the event that was asked about, where there is no line.
func (w *why) alone(ctx context.Context) error {
	e := w.out.Event
	if e == nil {
		return nil
	}
	r, known := w.ruleOf(metaNumber(e, "rule_id"))
	if !known {
		r = rule.Rule{ID: metaNumber(e, "rule_id"), Name: metaText(e, "rule_name"), Kind: cmp.Or(metaText(e, "kind"), rule.KindLine)}
	}
	v := WhyRule{Rule: r, Changed: !known || r.UpdatedAt.After(e.CreatedAt)}
	err := w.hit(ctx, &v, WhyHit, e)
	w.out.Rules = []WhyRule{v}
	return err
}

func (w *why) ruleOf(id int64) (rule.Rule, bool) {
	i := slices.IndexFunc(w.all, func(r rule.Rule) bool { return r.ID == id })
	if i < 0 {
		return rule.Rule{}, false
	}
	return w.all[i], true
}

// rules says what became of the line for each rule.
func (w *why) rules(ctx context.Context) error {
	scope := scopeOf(w.out.Container)
	set := w.snapshot.ForContainer(scope)
	if err := w.replay(ctx, whyBefore, func(i journal.Info) bool { return i.ID == w.out.Container.ID }); err != nil {
		return err
	}
	w.out.Lines = max(1, w.seen.lines)
	if err := w.storedHits(ctx); err != nil {
		return err
	}
	off := slices.Clone(w.all)
	for i := range off {
		if off[i].State == rule.Off {
			off[i].State, off[i].Enabled = rule.On, true
		}
	}
	switchedOn, _ := rule.Compile(off)
	all := switchedOn.ForContainer(scope)
	meant := map[int64]bool{}
	for _, r := range set.Rules() {
		meant[r.ID] = true
		v, err := w.rule(ctx, set, r)
		if err != nil {
			return err
		}
		w.out.Rules = append(w.out.Rules, v)
	}
	for _, r := range all.Rules() {
		if meant[r.ID] {
			continue
		}
		if r, _ = w.ruleOf(r.ID); r.State == rule.Off {
			meant[r.ID] = true
			w.out.Rules = append(w.out.Rules, w.switchedOff(all, r))
		}
	}
	for i := range w.all {
		if !meant[w.all[i].ID] && w.near[w.all[i].ID] != nil { // it was meant then
			v := WhyRule{Rule: w.all[i], Changed: true}
			if err := w.hit(ctx, &v, WhyHit, w.near[v.Rule.ID]); err != nil {
				return err
			}
			w.out.Rules = append(w.out.Rules, v)
		} else if !meant[w.all[i].ID] {
			w.out.Elsewhere++
		}
	}
	slices.SortFunc(w.out.Rules, func(a, b WhyRule) int { return cmp.Compare(a.Rule.ID, b.Rule.ID) })
	return nil
}

func (w *why) time() time.Time { return time.Unix(0, w.out.Line.TimeNano).UTC() }

// storedHits finds the events that the line made.
func (w *why) storedHits(ctx context.Context) error {
	w.near = map[int64]*event.Event{}
	events, err := w.cfg.Store.Events(ctx, store.EventFilter{
		Source: event.Logscan, Container: w.out.Container.ID, Since: w.time().Add(-time.Second), Ascending: true, Limit: whyEvents,
	})
	for i := range events {
		e := &events[i]
		if id := metaNumber(e, "rule_id"); w.near[id] == nil && w.isOfLine(e, w.time()) {
			w.near[id] = e
		}
	}
	if e := w.out.Event; e != nil {
		w.near[metaNumber(e, "rule_id")] = e
	}
	return err
}

// isOfLine reports whether an event is about the container's line of a time.
func (w *why) isOfLine(e *event.Event, at time.Time) bool {
	return metaText(e, "container_id") == w.out.Container.ID && metaTime(e, "line_time").Equal(at) && cmp.Or(metaText(e, "stream"), w.out.Line.Stream) == w.out.Line.Stream
}

// switchedOff is what a rule that is off would say; set has it switched on.
func (w *why) switchedOff(set *rule.Set, r rule.Rule) WhyRule {
	v := WhyRule{Rule: r, Changed: r.UpdatedAt.After(w.time())}
	w.unmatched(set, &v)
	if v.Outcome == "" {
		v.Outcome = WhyOff
	}
	return v
}

// unmatched says which condition of a rule the line doesn't fulfil; the outcome stays ""
// where it fulfils all of those of a part, and the parts are set.
func (w *why) unmatched(set *rule.Set, v *WhyRule) {
	text := w.out.Line.Text
	if whole := w.seen.whole[v.Rule.RecordStart]; v.Rule.Record && whole != nil {
		text = whole
	}
	verdicts, _ := set.Verdicts(v.Rule.ID, text, 0)
	nearest := -1
	for len(verdicts) > 0 { // of a part
		n := slices.IndexFunc(verdicts, func(o rule.Verdict) bool {
			return o.Part.Role != verdicts[0].Part.Role || o.Part.N != verdicts[0].Part.N
		})
		if n < 0 {
			n = len(verdicts)
		}
		part := verdicts[:n]
		verdicts = verdicts[n:]
		unmet := slices.IndexFunc(part, func(o rule.Verdict) bool { return !o.Met })
		if unmet < 0 {
			v.Parts = append(v.Parts, part[0].Part.String())
			continue
		}
		if unmet > nearest {
			nearest, v.Unmet = unmet, &part[unmet]
		}
	}
	streams := v.Rule.Streams != rule.Streams[0] && v.Rule.Streams != w.out.Line.Stream
	switch {
	case len(v.Parts) > 0 && streams:
		v.Outcome, v.Unmet = WhyStream, nil
	case len(v.Parts) > 0:
		v.Unmet = nil
	case v.Unmet == nil: // it has no conditions, as one that only counts starts
		v.Outcome = WhyUnmatched
	case v.Unmet.GivenUp:
		v.Outcome = WhyGivenUp
	case v.Unmet.Field == "ignore":
		v.Outcome = WhyIgnored
	case nearest > 0 || v.Unmet.Field == "where":
		v.Outcome = WhyUnmet
	default:
		v.Outcome = WhyUnmatched
	}
}

// rule says what became of the line for a rule that is in effect.
func (w *why) rule(ctx context.Context, set *rule.Set, r rule.Rule) (v WhyRule, err error) {
	v = WhyRule{Rule: r, Changed: r.UpdatedAt.After(w.time())}
	f := w.seen.found[r.ID]
	if f == nil {
		w.unmatched(set, &v)
		switch e := w.near[r.ID]; {
		case e != nil: // the rule was another one
			v.Unmet, v.Parts = nil, nil
			return v, w.hit(ctx, &v, WhyHit, e)
		case v.Outcome == "" && w.seen.hidden:
			v.Outcome = WhyEcho
		case v.Outcome == "": // its log is gone meanwhile
			v.Outcome = WhyUnknown
		}
		return v, nil
	}
	v.Parts, v.By = f.parts, w.cfg.Redact.Text(f.by())
	at := time.Unix(0, cmp.Or(f.at(), w.out.Line.TimeNano)).UTC()
	if e := w.near[r.ID]; e != nil {
		return v, w.hit(ctx, &v, WhyHit, e)
	}
	later, err := w.eventsFrom(ctx, &r, at)
	if err != nil {
		return v, err
	}
	for i := range later {
		if e := &later[i]; w.isOfLine(e, at) || f.match != nil && w.hasMatch(e, f) {
			return v, w.hit(ctx, &v, WhyJoined, e)
		}
	}
	return v, w.held(ctx, &v, later, at)
}

// eventsFrom returns the first events of a rule that were stored behind a time: of the
// container, or, where the rule adds up several containers, of all.
func (w *why) eventsFrom(ctx context.Context, r *rule.Rule, at time.Time) ([]event.Event, error) {
	f := store.EventFilter{Source: event.Logscan, RuleID: r.ID, Since: at.Add(-time.Second), Ascending: true, Limit: whyEvents}
	if alone(r) {
		f.Container = w.out.Container.ID
	}
	return w.cfg.Store.Events(ctx, f)
}

// alone reports whether a rule goes by what one container writes.
func alone(r *rule.Rule) bool {
	return r.Kind == rule.KindLine || r.Kind == "" || r.Per == rule.PerContainer
}

// hasMatch reports whether a match of the line is one of those that made an event.
func (w *why) hasMatch(e *event.Event, f *found) bool {
	since, until := metaTime(e, "since"), metaTime(e, "until")
	if at := metaTime(e, "line_time"); at.After(until) {
		until = at
	}
	at := time.Unix(0, f.match.TimeNano)
	return !since.IsZero() && !at.Before(since) && !at.After(until) &&
		metaText(e, "by") == w.cfg.Redact.Text(f.match.By) && cmp.Or(metaText(e, "workload_id"), w.out.Container.Workload) == w.out.Container.Workload
}

// hit says what became of a line that made an event.
func (w *why) hit(ctx context.Context, v *WhyRule, outcome WhyOutcome, e *event.Event) error {
	v.Outcome, v.Event = outcome, e
	v.By = cmp.Or(v.By, metaText(e, "by"))
	var err error
	if v.Each, err = w.each(ctx, e); err != nil || e.IncidentID == 0 {
		return err
	}
	i, err := w.cfg.Store.Incident(ctx, e.IncidentID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return w.follow(ctx, v, i, time.Time{}, e)
}

// each is what became of an event for the triggers that are told of each event.
func (w *why) each(ctx context.Context, e *event.Event) (out []trigger.Fate, err error) {
	deliveries, err := w.cfg.Store.Deliveries(ctx, store.DeliveryFilter{EventID: e.ID})
	if err != nil {
		return nil, err
	}
	labelled := *e
	if c := w.out.Container; c != nil {
		labelled.Labels = c.Labels
	}
	for _, t := range w.triggers {
		f := trigger.Fate{TriggerID: t.ID, Trigger: t.Name}
		i := slices.IndexFunc(deliveries, func(d trigger.Delivery) bool { return d.TriggerID == t.ID })
		switch {
		case i >= 0:
			f.State, f.DeliveryID, f.Delivery = trigger.FateTold, deliveries[i].ID, deliveries[i]
		case t.Mode != trigger.ModeEvents:
			continue
		case t.CreatedAt.After(e.CreatedAt):
			f.State, f.Why = trigger.FateUnknown, "the trigger was made later"
		case t.UpdatedAt.After(e.CreatedAt):
			f.State, f.Why = trigger.FateUnknown, "the trigger has changed since"
		case !t.Enabled:
			f.State, f.Field = trigger.FateUnwanted, "enabled"
		default:
			f.State = trigger.FateUnknown
			if f.Field = t.EventUnwantedBy(labelled); f.Field != "" {
				f.State = trigger.FateUnwanted
			}
		}
		out = append(out, f)
	}
	return out, nil
}

// follow says what became of an incident of which the line is one: at is when it was, or e
// its event.
func (w *why) follow(ctx context.Context, v *WhyRule, i incident.Incident, at time.Time, e *event.Event) error {
	v.Incident, v.Folded = &i, true
	notices, err := w.cfg.Store.Notices(ctx, i.ID)
	if err != nil || len(notices) == 0 {
		return err
	}
	own := -1
	if e != nil {
		times := []time.Time{metaTime(e, "line_time"), metaTime(e, "until")}
		at = slices.MaxFunc(times, time.Time.Compare)
		own = slices.IndexFunc(notices, func(n store.Noticed) bool {
			return (n.Kind == incident.NoticeOpened || n.Kind == incident.NoticeEscalated) && slices.ContainsFunc(times, n.At.Equal)
		})
		if own < 0 {
			first, err := w.cfg.Store.Events(ctx, store.EventFilter{Incident: i.ID, Ascending: true, Limit: 1})
			if err != nil {
				return err
			}
			if len(first) > 0 && first[0].ID == e.ID && notices[0].Kind == incident.NoticeOpened && !notices[0].CreatedAt.After(e.CreatedAt.Add(time.Second)) {
				own = 0
			}
		}
		if at.IsZero() {
			at = e.CreatedAt
		}
	}
	v.Folded = own < 0
	if own >= 0 {
		notices = notices[own : own+1]
	} else {
		next := slices.IndexFunc(notices, func(n store.Noticed) bool { return n.At.After(at) })
		if next < 0 {
			next = len(notices)
		}
		notices = notices[max(0, next-1):min(len(notices), next+1)]
	}
	fates, err := w.cfg.Store.Fates(ctx, i, notices)
	if err != nil {
		return err
	}
	for k, n := range notices {
		out := WhyNotice{Noticed: n}
		if s := slices.IndexFunc(w.silences, func(s silence.Silence) bool { return s.ID == n.SilencedBy }); s >= 0 {
			out.Silence = &w.silences[s]
		}
		for _, f := range fates[k] {
			each := slices.ContainsFunc(w.triggers, func(t trigger.Trigger) bool { return t.ID == f.TriggerID && t.Mode == trigger.ModeEvents })
			if !each || f.State == trigger.FateTold || f.State == trigger.FateHeld { // else Each has it
				out.Fates = append(out.Fates, f)
			}
		}
		for _, t := range w.triggers {
			if !t.Enabled && t.Mode != trigger.ModeEvents && !slices.ContainsFunc(fates[k], func(f trigger.Fate) bool { return f.TriggerID == t.ID }) {
				out.Fates = append(out.Fates, trigger.Fate{TriggerID: t.ID, Trigger: t.Name, State: trigger.FateUnwanted, Field: "enabled"})
			}
		}
		slices.SortFunc(out.Fates, func(a, b trigger.Fate) int { return cmp.Compare(a.TriggerID, b.TriggerID) })
		v.Notices = append(v.Notices, out)
	}
	return nil
}

// held says what held back a match that made no event; later are the rule's first events
// behind it.
func (w *why) held(ctx context.Context, v *WhyRule, later []event.Event, at time.Time) error {
	r := &v.Rule
	for i := range later {
		e := &later[i]
		if since := metaTime(e, "suppressed_since"); metaText(e, "container_id") == w.out.Container.ID && !since.IsZero() && !since.After(at) && metaTime(e, "line_time").After(at) {
			v.ToldWith = e
			break
		}
	}
	i, err := w.incidentOf(ctx, v, at)
	if err != nil {
		return err
	}
	if i != nil {
		if err := w.follow(ctx, v, *i, at, nil); err != nil {
			return err
		}
		if v.BehindEvent, err = w.behind(ctx, r, i.ID, at); err != nil {
			return err
		}
	}
	switch unread, err := w.unread(); {
	case err != nil:
		return err
	case r.CreatedAt.After(w.time()):
		v.Outcome = WhyLater
		return nil
	case unread:
		v.Outcome = WhyUnread
		return nil
	case v.BehindEvent != nil:
		v.Outcome, v.Behind = WhyCooldown, metaTime(v.BehindEvent, "line_time")
		v.Until = v.Behind.Add(r.Cooldown())
		return nil
	}
	if err := w.replayAll(ctx); err != nil {
		return err
	}
	return w.replayed(ctx, v, at)
}

// unread reports whether rules have yet to see the line.
func (w *why) unread() (bool, error) {
	if w.cfg.Lag == nil {
		return false, nil
	}
	lag := w.cfg.Lag()[w.out.Container.ID]
	j, err := w.journals.Acquire(w.out.Container.ID)
	if errors.Is(err, journal.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer j.Release()
	_, end := j.Bounds()
	return lag > 0 && w.out.Line.To > end-lag, nil
}

// incidentOf is the incident in which a match counts that made no event; nil for none.
func (w *why) incidentOf(ctx context.Context, v *WhyRule, at time.Time) (*incident.Incident, error) {
	f := w.seen.found[v.Rule.ID]
	all, err := w.cfg.Store.Incidents(ctx, store.IncidentFilter{RuleID: v.Rule.ID, At: at, Limit: 1000})
	if err != nil {
		return nil, err
	}
	var out *incident.Incident
	for k := range all {
		i := &all[k]
		switch own := i.Key.Shape == f.shape(); {
		case i.Key.Workload != "" && i.Key.Workload != w.out.Container.Workload, i.Key.By != f.by() && i.Key.Shape != incident.OtherShapes:
		case own, out == nil && (i.Key.Shape == incident.AllShapes || i.Key.Shape == incident.OtherShapes):
			if out = i; own {
				return out, nil
			}
		}
	}
	return out, nil
}

// behind is the event of an incident within whose cooldown a match of the container is;
// nil for none.
func (w *why) behind(ctx context.Context, r *rule.Rule, id int64, at time.Time) (*event.Event, error) {
	if r.Kind != rule.KindLine || r.CooldownSeconds == 0 {
		return nil, nil
	}
	events, err := w.cfg.Store.Events(ctx, store.EventFilter{Incident: id, Container: w.out.Container.ID, Limit: whyEvents})
	for i := range events {
		e := &events[i]
		if hit := metaTime(e, "line_time"); !hit.IsZero() && !hit.After(at) && at.Sub(hit) < r.Cooldown() {
			return e, nil
		}
	}
	return nil, err
}

// replayed says what the rules of today make of a match that made no event.
func (w *why) replayed(ctx context.Context, v *WhyRule, at time.Time) error {
	v.Replayed = true
	r, f := &v.Rule, w.seen.found[v.Rule.ID]
	switch {
	case f == nil:
		v.Outcome = WhyUnknown
	case f.match != nil, f.became == nil && r.Kind != rule.KindLine:
		v.Outcome = WhyCounted
		if r.Kind == rule.KindCount && f.match != nil && f.match.Role == rule.Main {
			v.Of = r.AtLeast
			v.Matches, v.MatchesSince = w.seen.within(r, f.match)
			if v.Matches >= v.Of {
				v.Outcome = WhyUnknown
			}
		}
	case f.became != nil && !f.became.Hit && f.became.Bucket:
		v.Outcome = WhyBucket
		return nil
	case f.became != nil && !f.became.Hit:
		v.Outcome, v.Behind = WhyCooldown, time.Unix(0, f.became.Behind).UTC()
		v.Until = v.Behind.Add(r.Cooldown())
		return nil
	default:
		v.Outcome = WhyUnknown
	}
	if v.Outcome != WhyUnknown {
		return nil
	}
	first, err := w.cfg.Store.Events(ctx, store.EventFilter{Ascending: true, Limit: 1})
	if err == nil && len(first) > 0 && first[0].ID > 1 && first[0].CreatedAt.After(at.Add(time.Minute)) {
		v.Outcome = WhyForgotten
	}
	return err
}

// metaText, metaTime and metaNumber read an event's metadata; what isn't there is zero.
func metaText(e *event.Event, key string) string {
	v, _ := e.Metadata[key].(string)
	return v
}

func metaTime(e *event.Event, key string) time.Time {
	at, err := time.Parse(time.RFC3339Nano, metaText(e, key))
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

func metaNumber(e *event.Event, key string) int64 {
	switch n := e.Metadata[key].(type) {
	case float64: // as it comes from the database
		return int64(n)
	case int64:
		return n
	}
	return 0
}

// scopeOf is what decides which rules hold for a container.
func scopeOf(c *journal.Container) rule.Container {
	return rule.Container{Workload: c.Workload, Name: c.Name, Image: c.Image, Labels: c.Labels}
}
