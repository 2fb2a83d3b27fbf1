package channel

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"time"

	"logscan/internal/event"
)

// Message is what people are told at once. Its form in JSON is what templates see
// and what waits in the outbox.
type Message struct {
	ID      string    `json:"id"`             // "msg_…", the same in every attempt
	At      time.Time `json:"at"`             // when there was something to say
	Trigger string    `json:"trigger"`        // its name
	Test    bool      `json:"test,omitempty"` // sent by hand to try the way
	Mark    string    `json:"-"`              // see package echo; "" for none
	Ref     string    `json:"-"`              // of the message before it about its only incident; see Verdict
	// Again is when the message is sent again though the receiver has got it: it may
	// have forgotten what it knows. Who only hears of it isn't told. Zero: it isn't.
	Again   time.Time `json:"-"`
	Notices []Notice  `json:"notices"` // at least one, the most severe first
	Held    Held      `json:"held,omitzero"`
	URL     string    `json:"url,omitempty"`   // of logscan's page; "" where it isn't known
	Title   string    `json:"title,omitempty"` // from the trigger's template
	Body    string    `json:"body,omitempty"`  // from the trigger's template
}

// The kinds of notices.
const (
	Hit          = "hit"          // one hit of a rule, told by itself
	Opened       = "opened"       // an incident begins
	Escalated    = "escalated"    // it got worse: more often, or more severe
	Repeated     = "repeated"     // it is still there, and nobody said that they know
	Acknowledged = "acknowledged" // somebody said that they know
	Resolved     = "resolved"     // it is over
	System       = "system"       // logscan has something to say about itself
	Digest       = "digest"       // a summary of what was held back
)

// Notice is one thing to say about one incident.
type Notice struct {
	Kind     string `json:"kind"`
	Incident int64  `json:"incident"` // its id; 0 where there is none
	// Key is the same in all notices of an incident: threads and alerts are known
	// by it.
	Key      string `json:"key"`
	Severity string `json:"severity"` // info, warn, error or critical
	// Was is the severity that the message before it about the incident had, of those
	// to the same receiver; "" where it is the same, or there was none, or a message
	// has several incidents.
	Was       string    `json:"was,omitempty"`
	Rule      string    `json:"rule"`
	Workload  string    `json:"workload"`
	Container string    `json:"container"` // its name
	Image     string    `json:"image,omitempty"`
	Host      string    `json:"host,omitempty"` // in a fleet
	Text      string    `json:"text"`           // the line, as the container wrote it
	Shape     string    `json:"shape,omitempty"`
	Count     int64     `json:"count"` // hits since the incident began
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	// Containers is how many containers it was seen in.
	Containers int `json:"containers,omitempty"`
	// Event is the hit that it shows: its id; 0 for none.
	Event   int64    `json:"event,omitempty"`
	Reason  string   `json:"reason,omitempty"` // of an escalation or an end, who acknowledged it, or what came before: "again, after 3 h"
	Before  []string `json:"before,omitempty"` // lines around the one that is shown
	After   []string `json:"after,omitempty"`
	Actions []Action `json:"actions,omitempty"`
	Presses []Press  `json:"presses,omitempty"` // for services that are asked, where there are no actions
}

// AddContext adds the lines around the one that a notice shows.
func AddContext(n *Notice, lines []event.ContextLine) {
	first, last := event.Own(lines)
	for i, l := range lines {
		text := l.Text
		if l.Cut {
			text += "…"
		}
		switch {
		case i < first:
			n.Before = append(n.Before, text)
		case i > last:
			n.After = append(n.After, text)
		}
	}
}

// Action is something that can be done about an incident from the message.
type Action struct {
	Label string `json:"label"` // "Acknowledge"
	URL   string `json:"url"`   // opens a page that asks first: only a POST from there does it
}

// Press is a button of which the service tells that it was pressed.
type Press struct {
	Label string `json:"label"`
	Data  string `json:"data"` // an action's token
}

// Held is what was not told since the message before.
type Held struct {
	Notices int       `json:"notices"`
	Hits    int64     `json:"hits"`
	Since   time.Time `json:"since,omitzero"`
	Why     string    `json:"why,omitempty"` // "grouped", "over the budget of 40/h", "silenced by …"
}

// Worst is the most severe of the message's notices that isn't Calm: the one that
// title and priority are of. Where all are, it is the first.
func (m Message) Worst() Notice {
	for _, n := range m.Notices {
		if !n.Calm() {
			return n
		}
	}
	return m.Notices[0]
}

// Calm reports whether a notice asks nothing of anybody: it is over, or somebody has
// it in hand.
func (n Notice) Calm() bool { return n.Kind == Resolved || n.Kind == Acknowledged }

// Key is the worst notice's, or the message's id where it has none, as a service
// takes it that knows its alerts by keys: so many characters of A–Z, a–z, 0–9 and
// .:_-, or a hash.
func (m Message) Key(most int) string {
	key := m.Worst().Key
	if key == "" {
		key = m.ID
	}
	if len(key) > most || !keyForm.MatchString(key) {
		sum := sha256.Sum256([]byte(key))
		return hex.EncodeToString(sum[:])
	}
	return key
}

var keyForm = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9.:_-]*$`)
