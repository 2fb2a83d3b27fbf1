// Package incident folds hits that are the same trouble into one incident, and says
// when people have to know.
//
// It is pure: what becomes of an incident depends on the hits, by their own time,
// on what people say, and on the watermark, the time up to which everything that
// containers wrote is evaluated. So our own downtime resolves nothing and repeats
// nothing.
//
// What it promises:
//   - Hits of one rule, workload and shape are one incident from the first of them
//     until it is resolved; the next one is a new incident that names the one
//     before.
//   - An incident takes less than 32 KiB, however many its hits are.
package incident

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"logscan/internal/event"
)

// State is what has become of an incident.
type State string

// The states of incidents.
const (
	Open         State = "open"
	Acknowledged State = "acknowledged" // somebody knows: it isn't repeated
	Snoozed      State = "snoozed"      // somebody knows, for a while
	Resolved     State = "resolved"
)

// States are all states.
func States() []State { return []State{Open, Acknowledged, Snoozed, Resolved} }

// Validate says why there is no such state.
func (s State) Validate() error {
	if !slices.Contains(States(), s) {
		return fmt.Errorf("must be %s, not %q", event.OneOf(States()), string(s))
	}
	return nil
}

// Key is what hits that are the same trouble have in common.
type Key struct {
	RuleID   int64  // 0 for what logscan says about itself
	Workload string // "" for none
	By       string // values of what the rule groups by; "" for none
	Shape    string // of the line, see package shape
}

// OtherShapes is the shape of the incident that takes the hits of a rule which has
// MaxOpen open ones, and what is held back before there is a hit of its shape.
const OtherShapes = "other"

// AllShapes is the shape of the incident of a rule that doesn't tell its lines apart.
const AllShapes = "all"

// Bounds.
const (
	MaxOpen       = 2000 // open incidents of a rule
	maxContainers = 64   // that are known by name
	maxHours      = 7 * 24
	maxSample     = 2 << 10 // bytes of a line
	maxShapes     = 16      // that OtherShapes names
	maxNote       = 500     // bytes of what people say
	maxName       = 250     // bytes of a container's name and of an image's
)

// Settings are what a rule says about its incidents.
type Settings struct {
	ResolveAfter time.Duration // of quiet; 0 for never
	Repeat       time.Duration // until an open one is told again, then twice as long each time, up to a day; 0 for never
	TellResolved bool          // people wait for the end too
	EndsByRule   bool          `json:",omitempty"` // the rule says when it is over
	Triggers     string        `json:",omitempty"` // that alone are told, with commas between; "" for all
}

// Defaults are for what says nothing.
var Defaults = Settings{ResolveAfter: 15 * time.Minute, Repeat: time.Hour}

const (
	longestRepeat = 24 * time.Hour
	// SeenAgain is how long after its end an incident is remembered by the next.
	SeenAgain = 7 * 24 * time.Hour
)

// Hit is one hit of a rule, or one event about logscan itself.
type Hit struct {
	Key
	At        time.Time // the line's
	Rule      string
	Kind      string // the rule's; "" for what logscan says about itself
	Severity  event.Severity
	Container string // its name
	Image     string
	Labels    map[string]string // the container's
	Text      string
	Readable  string // the shape, for people; only what opens an incident, OtherShapes and AllShapes need it
	// Suppressed makes it no hit, but so many matches that the rule held back, the
	// first at a time and the last At.
	Suppressed      int64
	SuppressedSince time.Time
	OnlyOpen        bool  // it counts where an incident of its key is open alone
	Others          bool  // where no incident of its shape is open, it is OtherShapes'
	Shadow          bool  // its rule is in shadow
	About           int64 // the trigger that it is about; 0 for none
	Settings
}

// ToOthers has a hit be one of OtherShapes. Nothing but quiet ends that.
func (h *Hit) ToOthers() {
	h.Shape, h.By = OtherShapes, ""
	if h.EndsByRule && h.ResolveAfter == 0 {
		h.ResolveAfter = Defaults.ResolveAfter
	}
}

// Incident is one trouble. Its form in JSON is how it is kept.
type Incident struct {
	ID       int64          `json:"-"`
	Key      Key            `json:"-"`
	State    State          `json:"-"`
	Rule     string         `json:"rule"`
	Kind     string         `json:"kind,omitempty"` // the rule's
	Severity event.Severity `json:"severity"`       // the worst of its hits
	Readable string         `json:"readable"`       // the shape, for people
	About    int64          `json:"about,omitempty"`
	Shadow   bool           `json:"shadow,omitempty"` // its rule is in shadow, or was at its end: nobody is told
	First    time.Time      `json:"first"`            // of the hits, by the lines' time
	Last     time.Time      `json:"last"`
	Hits     int64          `json:"hits"`
	Matches  int64          `json:"matches"` // with those that the rule's cooldown held back
	// Containers are hits by container, of the first ones.
	Containers map[string]int64  `json:"containers"`
	Beyond     int64             `json:"beyond,omitempty"` // hits in further ones
	Container  string            `json:"container"`        // the last one
	Image      string            `json:"image"`
	Labels     map[string]string `json:"labels,omitempty"` // the last container's
	FirstText  string            `json:"first_text"`
	LastText   string            `json:"last_text"`
	Hours      map[int64]int64   `json:"hours"`            // matches by Unix hour
	Minutes    map[int64]int64   `json:"minutes"`          // matches by Unix minute, of 70 minutes
	Shapes     map[string]int64  `json:"shapes,omitempty"` // of OtherShapes and AllShapes: the most frequent
	Settings   Settings          `json:"settings"`

	Escalated     time.Time `json:"escalated,omitzero"`
	EscalatedRate int64     `json:"escalated_rate,omitempty"` // matches in ten minutes then
	Told          time.Time `json:"told,omitzero"`            // when it was last said that it is there
	Repeats       int       `json:"repeats,omitempty"`
	Before        *Before   `json:"before,omitempty"`
	By            string    `json:"by,omitempty"` // who acknowledged, snoozed or resolved it
	Note          string    `json:"note,omitempty"`
	Snooze        *Snooze   `json:"snooze,omitempty"`
	Ended         time.Time `json:"ended,omitzero"`
	EndedWhy      string    `json:"ended_why,omitempty"`
}

// Before is what came before an incident.
type Before struct {
	ID    int64     `json:"id"` // of the last one like it
	Ended time.Time `json:"ended"`
	Nth   int       `json:"nth"` // this one is the n-th in seven days
}

// Snooze is until when somebody doesn't want to hear of an incident: whatever comes
// first.
type Snooze struct {
	Until time.Time `json:"until,omitzero"`
	Hits  int64     `json:"hits,omitempty"`  // that many more
	Times float64   `json:"times,omitempty"` // its rate times that
	Image bool      `json:"image,omitempty"` // another image
	// What it was when it was snoozed.
	From  int64     `json:"from"` // matches
	Rate  int64     `json:"rate"` // matches in ten minutes
	Of    string    `json:"of,omitempty"`
	Since time.Time `json:"since"`
}

// Kind is what a notice says.
type Kind string

// The kinds of notices.
const (
	NoticeOpened       Kind = "opened"
	NoticeEscalated    Kind = "escalated"
	NoticeRepeated     Kind = "repeated"
	NoticeAcknowledged Kind = "acknowledged"
	NoticeResolved     Kind = "resolved"
	NoticeSystem       Kind = "system"
)

// Kinds are all kinds of notices.
func Kinds() []Kind {
	return []Kind{NoticeOpened, NoticeEscalated, NoticeRepeated, NoticeAcknowledged, NoticeResolved, NoticeSystem}
}

// Notice is something that people have to know about an incident.
type Notice struct {
	Kind   Kind
	At     time.Time
	Reason string // in a few words; "" where the kind says it
}

// New opens an incident by its first hit; before is the last one like it, nil where
// that is long ago.
func New(h Hit, before *Before) (Incident, Notice) {
	first := h.At
	if h.Suppressed > 0 && h.SuppressedSince.Before(first) {
		first = h.SuppressedSince
	}
	i := Incident{
		Key: h.Key, State: Open, Rule: h.Rule, Kind: h.Kind, Severity: h.Severity, Readable: h.Readable, First: first, About: h.About, Shadow: h.Shadow,
		FirstText: cut(h.Text), Containers: map[string]int64{}, Hours: map[int64]int64{}, Minutes: map[int64]int64{}, Before: before,
		Told: h.At,
	}
	i.add(h)
	n := Notice{Kind: NoticeOpened, At: h.At}
	if h.RuleID == 0 {
		n.Kind = NoticeSystem
	}
	if before != nil {
		n.Reason = fmt.Sprintf("again, after %s", Span(h.At.Sub(before.Ended)))
		if before.Nth > 1 {
			n.Reason += fmt.Sprintf("; %s time this week", ordinal(before.Nth))
		}
	}
	return i, n
}

// Fold adds a hit to an incident that isn't resolved, and returns the notice that
// it is worth, if any.
func (i *Incident) Fold(h Hit) (Notice, bool) {
	worse := h.Severity.Compare(i.Severity) > 0
	i.add(h)
	reason := ""
	switch {
	case worse:
		reason = fmt.Sprintf("now %s", h.Severity)
		i.Severity = h.Severity
	case i.State == Snoozed:
		reason = i.wakes(h)
	case i.State == Open && h.RuleID != 0:
		reason = i.rises(h.At)
	}
	if reason == "" {
		return Notice{}, false
	}
	i.escalate(h.At)
	return Notice{Kind: NoticeEscalated, At: h.At, Reason: reason}, true
}

func (i *Incident) escalate(at time.Time) {
	i.State, i.Snooze = Open, nil
	i.Escalated, i.EscalatedRate = at, i.within(at, 0, 10)
	i.Told, i.Repeats = at, 0
}

// Ending is the end of what opened an incident.
type Ending struct {
	At  time.Time
	Why string
}

// End ends an incident whose trouble is over. It is false where it is resolved.
func (i *Incident) End(e Ending) (Notice, bool) {
	if i.State == Resolved {
		return Notice{}, false
	}
	return i.end(e.At, e.Why, ""), true
}

// Due is when time alone may change something, by the watermark; zero where it
// can't.
func (i *Incident) Due() time.Time {
	if i.State == Resolved {
		return time.Time{}
	}
	var due time.Time
	earlier := func(at time.Time) {
		if !at.IsZero() && (due.IsZero() || at.Before(due)) {
			due = at
		}
	}
	earlier(i.quiet())
	earlier(i.repeats())
	if i.State == Snoozed {
		earlier(i.Snooze.Until)
	}
	return due
}

// quiet is when it will have been quiet for long enough; zero for never.
func (i *Incident) quiet() time.Time {
	after := i.quietFor()
	if after <= 0 {
		return time.Time{}
	}
	return i.Last.Add(after)
}

// quietFor is for how long it must be quiet. Nobody waits for what was acknowledged
// and hasn't come again for long.
func (i *Incident) quietFor() time.Duration {
	if i.Settings.ResolveAfter <= 0 && i.State == Acknowledged {
		return SeenAgain
	}
	return i.Settings.ResolveAfter
}

// SetBack has nothing of an incident be later than now: the clock was set back since,
// and for a time that has yet to come nothing would be quiet, or told again.
func (i *Incident) SetBack(now time.Time) (changed bool) {
	back := func(at *time.Time) {
		if at.After(now) {
			*at, changed = now, true
		}
	}
	back(&i.First)
	back(&i.Last)
	back(&i.Told)
	back(&i.Escalated)
	if s := i.Snooze; s != nil && s.Since.After(now) {
		if !s.Until.IsZero() {
			s.Until = s.Until.Add(now.Sub(s.Since))
		}
		back(&s.Since)
	}
	for _, counts := range []struct {
		of   map[int64]int64
		unit int64 // in seconds
	}{{i.Hours, 3600}, {i.Minutes, 60}} {
		maps.DeleteFunc(counts.of, func(at, _ int64) bool { return at > now.Unix()/counts.unit })
	}
	return changed
}

// repeats is when an open incident is told again; zero for never.
func (i *Incident) repeats() time.Time {
	if i.State != Open || i.Settings.Repeat <= 0 || i.Key.RuleID == 0 {
		return time.Time{}
	}
	wait := i.Settings.Repeat
	for n := 0; n < i.Repeats && wait < longestRepeat; n++ {
		wait = min(2*wait, longestRepeat)
	}
	return i.Told.Add(wait)
}

// Pass does what is due by a watermark, one thing at a time: call it again while
// Due isn't after the watermark.
func (i *Incident) Pass(watermark time.Time) (Notice, bool) {
	if i.State == Resolved {
		return Notice{}, false
	}
	if quiet := i.quiet(); !quiet.IsZero() && !quiet.After(watermark) {
		return i.end(quiet, fmt.Sprintf("quiet for %s", Span(i.quietFor())), ""), true
	}
	if i.State == Snoozed && !i.Snooze.Until.IsZero() && !i.Snooze.Until.After(watermark) {
		at, more := i.Snooze.Until, i.Matches-i.Snooze.From
		i.State, i.Snooze, i.Told, i.Repeats = Open, nil, at, 0
		if more > 0 {
			return Notice{NoticeRepeated, at, fmt.Sprintf("%d more while it was snoozed", more)}, true
		}
		return Notice{}, false
	}
	if at := i.repeats(); !at.IsZero() && !at.After(watermark) {
		for !at.After(watermark) { // of those that our own downtime kept back, the last is told
			i.Told = at
			i.Repeats++
			at = i.repeats()
		}
		return Notice{NoticeRepeated, i.Told, fmt.Sprintf("open for %s", Span(i.Told.Sub(i.First)))}, true
	}
	return Notice{}, false
}

func (i *Incident) end(at time.Time, why, by string) Notice {
	i.State, i.Snooze, i.Ended, i.EndedWhy = Resolved, nil, at, why
	if by != "" {
		i.By = cutTo(by, maxNote)
	}
	return Notice{Kind: NoticeResolved, At: at, Reason: why}
}

func cut(text string) string { return cutTo(text, maxSample) }

// cutTo is the beginning of a text, of whole characters.
func cutTo(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && text[most]&0xC0 == 0x80 {
		most--
	}
	return text[:most]
}
