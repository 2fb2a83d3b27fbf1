package trigger

import (
	"context"
	"time"

	"logscan/internal/channel"
	"logscan/internal/event"
)

// State is what has become of a delivery.
type State string

const (
	Pending   State = "pending"   // to be sent, perhaps again
	Delivered State = "delivered" // the receiver has it
	Dead      State = "dead"      // given up; it can be redelivered
)

// Delivery is one event, or one message about incidents, on its way to one
// trigger's URL.
type Delivery struct {
	Seq        int64  // the order in which deliveries were made
	ID         string // "msg_…", the same in every attempt
	EventID    int64  // 0 for a message
	IncidentID int64  // that a message is about, the first; 0 for an event
	TriggerID  int64
	State      State
	Attempts   int
	TriedAt    time.Time // the last attempt's end; zero before the first
	NextAt     time.Time // of the next attempt; zero unless pending
	Since      time.Time // the time in which it must succeed runs from here
	LastStatus int       // of the last answer; 0 for none
	LastError  string    // why the last attempt failed, without URL or answer
	Ref        string    // of an outcome: see channel.Verdict
	CreatedAt  time.Time
}

// Job is a delivery with all that an attempt needs.
type Job struct {
	Trigger  Trigger // zero where it has gone or is disabled
	Delivery Delivery
	Event    event.Event         // zero where there is a message
	Context  []event.ContextLine // around the event, as far as there is any by now
	Message  *channel.Message    // nil where there is an event
}

// Change says what a worker has to look at.
type Change struct {
	Triggers []int64 // got something to send, or became others
	All      bool    // any trigger may have got something
	Dead     bool    // deliveries were given up because too many waited
}

// Outbox is the part of the store that delivery sees. By design there is no way
// in it to write an event but ReportDead, whose events are of source system and
// never go to the trigger they are about. All methods are safe concurrently.
type Outbox interface {
	// Changes gives what has changed since it was last received from; it is for
	// one receiver.
	Changes() <-chan Change
	// Resume returns the enabled triggers, at the start or when the clock was set
	// back to now: what waits for a time that was reckoned from a later one becomes
	// due.
	Resume(ctx context.Context, now time.Time) ([]int64, error)
	// Next returns a trigger's first pending delivery by the time of its next
	// attempt, due or not, that comes after another one, the zero Delivery for
	// the very first. The Job's Delivery is zero where there is none.
	Next(ctx context.Context, triggerID int64, after Delivery) (Job, error)
	// LastTold returns the message that a trigger's receiver got last about an incident
	// that isn't resolved: the first such incident, by id, after another one. It
	// leaves out those of which a message is pending. The Job's Delivery is zero where
	// there is none; its Trigger is in any case.
	LastTold(ctx context.Context, triggerID, after int64) (Job, error)
	// Record keeps the outcomes of attempts, together: State, TriedAt, NextAt,
	// LastStatus, LastError and Ref of each. One that has gone with its trigger, or
	// was made to start again meanwhile (its Since differs), stays as it is.
	Record(ctx context.Context, outcomes []Delivery) error
	// ReportDead puts one system event into the log for each trigger with dead
	// deliveries that no event is about yet, and returns how many these are.
	ReportDead(ctx context.Context, route func(event.Event) []int64) (int, error)
}
