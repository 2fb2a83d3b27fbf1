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
