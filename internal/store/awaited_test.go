package store

import (
	"slices"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/trigger"
)

// due returns the messages of a trigger's deliveries that are due at a time.
func due(t *testing.T, s *Store, id int64, now time.Time) (out []string) {
	t.Helper()
	var after trigger.Delivery
	for {
		job := must[trigger.Job](t)(s.Next(t.Context(), id, after))
		if job.Delivery.ID == "" || job.Delivery.NextAt.After(now) {
			return out
		}
		after, out = job.Delivery, append(out, job.Event.Message)
	}
}

// A delivery waits for the lines after its event, and those behind it wait with it: as
// long as its trigger says, or until they are there.
func TestDeliveriesAwaitContext(t *testing.T) {
	s, now := openTest(t), time.Unix(1_800_000_000, 0)
	s.UseClock(func() time.Time { return now })
	a, b, none := addTrigger(t, s, "a"), addTrigger(t, s, "b"), addTrigger(t, s, "none")
	for id, wait := range map[int64]int64{a: 2, b: 5, none: 0} {
		tr := must[trigger.Trigger](t)(s.Trigger(t.Context(), id))
		tr.ContextWaitSeconds = wait
		must[trigger.Trigger](t)(s.UpdateTrigger(t.Context(), tr))
	}
	plain := func(message string) event.Event { return hit(message, nil) }
	owed := func(message string) event.Event {
		e := hit(message, nil)
		e.Around = &event.Around{Container: "c", To: 1, After: 3}
		return e
	}
	all := to(a, b, none)
	events := emit(t, s, all, plain("one"), owed("two"), plain("three"), owed("four"), plain("five"))
	see := func(id int64, at time.Duration, want ...string) {
		t.Helper()
		if got := due(t, s, id, now.Add(at)); !slices.Equal(got, want) {
			t.Errorf("trigger %d, %s later: %v, not %v", id, at, got, want)
		}
	}
	see(a, 0, "one")
	see(a, 2*time.Second-1, "one")
	see(a, 2*time.Second, "one", "two", "three", "four", "five")
	see(b, 2*time.Second, "one")
	see(none, 0, "one", "two", "three", "four", "five")

	// The later one is there first: it doesn't overtake.
	put := func(id int64, whole bool) {
		t.Helper()
		lines := []event.ContextLine{{Text: "before"}, {Text: "own", Own: true}, {Text: "after"}}
		if err := s.PutContexts(t.Context(), []Context{{EventID: id, Lines: lines, Whole: whole}}); err != nil {
			t.Fatal(err)
		}
	}
	put(events[3].ID, true)
	see(a, 0, "one")
	put(events[1].ID, false)
	see(a, 0, "one")
	for len(s.Changes()) > 0 {
		<-s.Changes()
	}
	put(events[1].ID, true)
	see(a, 0, "one", "two", "three", "four", "five")
	see(b, 0, "one", "two", "three", "four", "five")
	if c := <-s.Changes(); len(c.Triggers) != 2 {
		t.Errorf("signalled: %+v", c)
	}
	job := must[trigger.Job](t)(s.Next(t.Context(), a, must[trigger.Job](t)(s.Next(t.Context(), a, trigger.Delivery{})).Delivery))
	if job.Event.Message != "two" || len(job.Context) != 3 || job.Context[2].Text != "after" {
		t.Errorf("%+v", job)
	}

	// Of what was tried nothing waits any more, nor of what came later.
	now = now.Add(time.Second)
	more := emit(t, s, to(a), owed("six"), plain("seven"))
	see(a, 0, "one", "two", "three", "four", "five")
	see(a, 2*time.Second, "one", "two", "three", "four", "five", "six", "seven")
	now = now.Add(2 * time.Second)
	for _, d := range must[[]trigger.Delivery](t)(s.Deliveries(t.Context(), DeliveryFilter{TriggerID: a})) {
		if d.EventID == more[0].ID {
			record(t, s, d, trigger.Pending, now.Add(time.Minute))
		}
	}
	emit(t, s, to(a), plain("eight"))
	see(a, 0, "one", "two", "three", "four", "five", "seven", "eight")
	see(a, time.Minute, "one", "two", "three", "four", "five", "seven", "eight", "six")
}

// A clock that was ahead makes nobody wait until it is as late as that.
func TestAwaitedWhenTheClockWasAhead(t *testing.T) {
	s, now := openTest(t), time.Unix(1_800_000_000, 0)
	s.UseClock(func() time.Time { return now })
	a := addTrigger(t, s, "a")
	tr := must[trigger.Trigger](t)(s.Trigger(t.Context(), a))
	tr.ContextWaitSeconds = 2
	must[trigger.Trigger](t)(s.UpdateTrigger(t.Context(), tr))
	owed := func(message string) event.Event {
		e := hit(message, nil)
		e.Around = &event.Around{Container: "c", To: 1, After: 3}
		return e
	}
	now = now.Add(time.Hour)
	emit(t, s, to(a), owed("ahead"))
	now = now.Add(-time.Hour)
	emit(t, s, to(a), owed("one"), hit("two", nil)) // before it is known that the clock was set back
	if got := due(t, s, a, now.Add(2*time.Second)); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("due are %v", got)
	}
	if _, err := s.Resume(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if got := due(t, s, a, now.Add(2*time.Second)); len(got) != 3 {
		t.Errorf("due are %v", got)
	}
	// As it was in a version that had them wait for one another however long.
	if _, err := s.w.Exec("UPDATE deliveries SET next_at = ?, awaits = -1", nanos(now.Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Resume(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if got := due(t, s, a, now); len(got) != 3 {
		t.Errorf("due are %v", got)
	}
}

// A message has the lines next to the one that it shows.
func TestNearLines(t *testing.T) {
	line := func(text string, own bool) event.ContextLine { return event.ContextLine{Text: text, Own: own} }
	lines := []event.ContextLine{line("1", false), line("22", false), line("own", true), line("x", false), line("own", true), line("3", false), line("4", false)}
	for most, want := range map[int]string{0: "own x own ", 8: "own x own 3 ", 9: "22 own x own ", 11: "1 22 own x own 3 ", 100: "1 22 own x own 3 4 "} {
		got := ""
		for _, l := range near(lines, most) {
			got += l.Text + " "
		}
		if got != want {
			t.Errorf("%d: %s", most, got)
		}
	}
	if got := near(nil, 10); len(got) != 0 {
		t.Error(got)
	}
}

// Lines that come while the clock is ahead have nothing wait until it is as late as that.
func TestAwaitedArriveWhileTheClockIsAhead(t *testing.T) {
	s, now := openTest(t), time.Unix(1_800_000_000, 0)
	s.UseClock(func() time.Time { return now })
	a := addTrigger(t, s, "a")
	tr := must[trigger.Trigger](t)(s.Trigger(t.Context(), a))
	tr.ContextWaitSeconds = 2
	must[trigger.Trigger](t)(s.UpdateTrigger(t.Context(), tr))
	e := hit("one", nil)
	e.Around = &event.Around{Container: "c", To: 1, After: 3}
	id := emit(t, s, to(a), e)[0].ID
	now = now.Add(time.Hour)
	if err := s.PutContexts(t.Context(), []Context{{EventID: id, Lines: []event.ContextLine{{Text: "own", Own: true}}, Own: true, Whole: true}}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(-time.Hour)
	if got := due(t, s, a, now.Add(2*time.Second)); !slices.Equal(got, []string{"one"}) {
		t.Errorf("due are %v", got)
	}
}
