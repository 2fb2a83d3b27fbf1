// Package action is what people can do about an incident from a message: links, and
// buttons, that need no other token.
//
// What it promises:
//   - A link is good for one incident, one verb and a day, and nobody can make one
//     without the key.
//   - Opening a link changes nothing: programs that look at links before people do
//     must not acknowledge for them. The page that it opens asks first.
//
// That a link is used once only is the store's to see to.
package action

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"logscan/internal/incident"
)

// Good is how long a link is.
const Good = 24 * time.Hour

// Path is where the links lead.
const Path = "/act/"

// Verb is what a link does.
type Verb string

// The verbs. What each is called and does is in the order of Verbs: their places are
// part of the links.
const (
	Acknowledge Verb = "acknowledge"
	Snooze      Verb = "snooze" // for an hour
	Resolve     Verb = "resolve"
)

// Verbs are all there are.
var Verbs = []Verb{Acknowledge, Snooze, Resolve}

// Label is what a button says.
func (v Verb) Label() string {
	switch v {
	case Snooze:
		return "Snooze 1 h"
	case Resolve:
		return "Resolve"
	}
	return "Acknowledge"
}

// Do does it to an incident; by says who does.
func (v Verb) Do(i *incident.Incident, now time.Time, by string) (incident.Notice, error) {
	switch v {
	case Snooze:
		return incident.Notice{}, i.SnoozeUntil(incident.Snooze{Until: now.Add(time.Hour)}, now, by, "")
	case Resolve:
		return i.Resolve(now, by, "")
	}
	return i.Acknowledge(now, by, "")
}

// Action is what one link does.
type Action struct {
	Incident int64
	Verb     Verb
	Until    time.Time // when the link ends, in whole seconds
}

const macLen = 16

// Token encodes and signs an action.
func Token(key []byte, a Action) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(a.Incident))
	b = binary.BigEndian.AppendUint64(b, uint64(a.Until.Unix()))
	b = append(b, byte(slices.Index(Verbs, a.Verb)))
	return base64.RawURLEncoding.EncodeToString(append(b, mac(key, b)...))
}

func mac(key, said []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("action"))
	h.Write(said)
	return h.Sum(nil)[:macLen]
}

// Reasons why a link is refused; both are for users.
var (
	ErrForged  = errors.New("this link is not one of logscan's, or it is not whole")
	ErrExpired = errors.New("this link has expired: it was good for a day")
)

// Verify returns what a token says, if it is signed and hasn't expired.
func Verify(key []byte, token string, now time.Time) (Action, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != 17+macLen || !hmac.Equal(mac(key, b[:17]), b[17:]) || int(b[16]) >= len(Verbs) {
		return Action{}, ErrForged
	}
	a := Action{
		Incident: int64(binary.BigEndian.Uint64(b)), Until: time.Unix(int64(binary.BigEndian.Uint64(b[8:])), 0).UTC(), Verb: Verbs[b[16]],
	}
	if !now.Before(a.Until) {
		return a, ErrExpired
	}
	return a, nil
}
