package trigger

import "time"

// Fate is what has become of a notice of an incident for one trigger.
type Fate struct {
	TriggerID  int64
	Trigger    string // its name; "" where it has gone
	State      FateState
	DeliveryID string    // FateTold: of the message that tells it
	Delivery   Delivery  // zero where it is no longer kept
	Until      time.Time // FateHeld
	Field      string    // FateUnwanted: as Policy.UnwantedBy, or "mode"
	Why        string    // FateHeld and FateUnknown; may be ""
}

// FateState is how it stands.
type FateState string

// The states of a Fate.
const (
	FateTold     FateState = "told"     // a delivery was made of it, whatever became of that
	FateHeld     FateState = "held"     // it waits for a time
	FateSilenced FateState = "silenced" // a silence holds it back
	FateUnwanted FateState = "unwanted" // the trigger isn't for it
	FateSpared   FateState = "spared"   // somebody acknowledged its incident before it was due
	FateUnknown  FateState = "unknown"  // it wasn't told, and the trigger as it is now doesn't say why
)
