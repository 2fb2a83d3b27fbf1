package incident

import (
	"errors"
	"fmt"
	"time"
)

const longestSnooze = 366 * 24 * time.Hour

// ErrResolved refuses to change an incident that is over.
var ErrResolved = errors.New("the incident is resolved")

// Acknowledge says that somebody knows. It is worth a notice unless somebody said so
// before.
func (i *Incident) Acknowledge(at time.Time, by, note string) (Notice, error) {
	if i.State == Resolved {
		return Notice{}, ErrResolved
	}
	was := i.State
	i.State, i.Snooze, i.By, i.Note = Acknowledged, nil, cutTo(by, maxNote), cutTo(note, maxNote)
	if was == Acknowledged {
		return Notice{}, nil
	}
	n := Notice{Kind: NoticeAcknowledged, At: at, Reason: i.Note}
	if i.By != "" {
		n.Reason = "by " + i.By
		if i.Note != "" {
			n.Reason += ": " + i.Note
		}
	}
	return n, nil
}

// Reopen takes an acknowledgement or a snooze back.
func (i *Incident) Reopen(at time.Time) error {
	if i.State == Resolved {
		return ErrResolved
	}
	i.State, i.Snooze, i.By, i.Note = Open, nil, "", ""
	i.Told, i.Repeats = at, 0
	return nil
}

// SnoozeUntil says that somebody knows for a while; only what ends it is s's to say.
func (i *Incident) SnoozeUntil(s Snooze, at time.Time, by, note string) error {
	switch {
	case i.State == Resolved:
		return ErrResolved
	case s.Until.IsZero() && s.Hits <= 0 && s.Times <= 0 && !s.Image:
		return fmt.Errorf("a snooze needs an end: a time, a number of hits, a rate, or another image")
	case !s.Until.IsZero() && !s.Until.After(at):
		return fmt.Errorf("the end of the snooze is past")
	case s.Until.Sub(at) > longestSnooze:
		return fmt.Errorf("a snooze ends within a year")
	}
	s.From, s.Rate, s.Of, s.Since = i.Matches, i.within(at, 0, 10), i.Image, at
	i.State, i.Snooze, i.By, i.Note = Snoozed, &s, cutTo(by, maxNote), cutTo(note, maxNote)
	return nil
}

// Resolve ends an incident by hand.
func (i *Incident) Resolve(at time.Time, by, note string) (Notice, error) {
	if i.State == Resolved {
		return Notice{}, ErrResolved
	}
	n := i.end(at, "by hand", by)
	i.Note = cutTo(note, maxNote)
	return n, nil
}

// wakes says why a hit ends a snooze; "" where it doesn't.
func (i *Incident) wakes(h Hit) string {
	s := i.Snooze
	switch more := i.Matches - s.From; {
	case s.Hits > 0 && more >= s.Hits:
		return fmt.Sprintf("%d more since it was snoozed", more)
	case s.Times > 0 && float64(i.within(h.At, 0, 10)) >= s.Times*float64(max(s.Rate, 1)):
		return fmt.Sprintf("%d times in 10 minutes; it was snoozed at %d", i.within(h.At, 0, 10), s.Rate)
	case s.Image && cutTo(h.Image, maxName) != s.Of:
		return "with another image: " + h.Image
	case !s.Until.IsZero() && !h.At.Before(s.Until):
		return fmt.Sprintf("snoozed until %s; %d more since", s.Until.UTC().Format("2006-01-02 15:04 UTC"), more)
	}
	return ""
}
