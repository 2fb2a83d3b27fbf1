package store

import (
	"errors"
	"fmt"
	"testing"

	"logscan/internal/event"
	"logscan/internal/trigger"
)

// A cursor follows the stored one; a commit that is repeated although it was
// stored changes nothing, and one that would leave something out fails.
func TestCommitFollows(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	batch := func(revision int64, events ...event.Event) Batch {
		return Batch{
			Cursors: []Cursor{
				{ContainerID: "a", Position: fmt.Append(nil, "p", revision), State: fmt.Append(nil, "s", revision), Revision: revision},
				{ContainerID: "b", Revision: revision},
			},
			Events: events,
		}
	}
	other := batch(2, hit("of a second scanner", nil))
	other.Cursors[0].State = nil
	for i, tt := range []struct {
		name   string
		batch  Batch
		want   int // events in all, after it
		fails  bool
		silent bool // stored already
	}{
		{name: "the first", batch: batch(1, hit("one", nil)), want: 1},
		{name: "the first again", batch: batch(1, hit("one", nil)), want: 1, silent: true},
		{name: "the second", batch: batch(2, hit("two", nil)), want: 2},
		{name: "the second again", batch: batch(2, hit("two", nil)), want: 2, silent: true},
		{name: "the first once more", batch: batch(1, hit("one", nil)), want: 2, fails: true},
		{name: "another second one", batch: other, want: 2, fails: true},
		{name: "the fourth", batch: batch(4, hit("four", nil)), want: 2, fails: true},
		{name: "the third, without events", batch: batch(3), want: 2},
		{name: "the third again, without events", batch: batch(3), want: 2, silent: true},
		{name: "the fourth after it", batch: batch(4, hit("four", nil)), want: 3},
		{name: "one that follows any", batch: batch(0, hit("zero", nil)), want: 4},
		{name: "a first one after that", batch: batch(1, hit("one", nil)), want: 5},
	} {
		before, _, err := s.Cursor(ctx, "a")
		if err != nil {
			t.Fatal(err)
		}
		stored, err := s.Commit(ctx, tt.batch, nil)
		if (err != nil) != tt.fails || !tt.fails && !tt.silent && len(stored) != len(tt.batch.Events) || tt.silent && len(stored) != 0 {
			t.Errorf("%d, %s: %d stored, %v", i, tt.name, len(stored), err)
		}
		if n := len(must[[]event.Event](t)(s.Events(ctx, EventFilter{}))); n != tt.want {
			t.Errorf("%d, %s: %d events in all, want %d", i, tt.name, n, tt.want)
		}
		want := tt.batch.Cursors[0]
		if tt.fails {
			want = before
		}
		if c, _, err := s.Cursor(ctx, "a"); err != nil || c.Revision != want.Revision || string(c.State) != string(want.State) {
			t.Errorf("%d, %s: cursor %+v, %v; want %+v", i, tt.name, c, err, want)
		}
	}
}

// A subscriber that was not given an event, because the commit that stored it
// failed to say so, is sent to look for itself before it is given a later one.
func TestUntoldEventsInterrupt(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	b := Batch{Cursors: []Cursor{{ContainerID: "a", Revision: 1}}, Events: []event.Event{hit("one", nil)}}
	must[[]event.Event](t)(s.Commit(ctx, b, nil))
	again, cancel := s.Subscribe(10)
	defer cancel()
	must[[]event.Event](t)(s.Commit(ctx, b, nil)) // stored already
	if e, open := <-again; open {
		t.Errorf("after a commit that was repeated: %+v", e)
	}
	later, cancel := s.Subscribe(10)
	defer cancel()
	s.unsure = true // a commit failed
	emit(t, s, nil, hit("two", nil))
	if e, open := <-later; open {
		t.Errorf("after one that failed: %+v", e)
	}
	next, cancel := s.Subscribe(10)
	defer cancel()
	emit(t, s, nil, hit("three", nil))
	if e, open := <-next; !open || e.Message != "three" {
		t.Errorf("then: %+v, %v", e, open)
	}
}

// An event that the database refuses fails the commit of all, or gives way to
// another one; where that is refused as well it is left out.
func TestRefusedEvents(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	a := addTrigger(t, s, "a")
	if _, err := s.w.Exec(`CREATE TRIGGER poison BEFORE INSERT ON event_log WHEN new.message LIKE '%poison%' BEGIN SELECT RAISE(ABORT, 'no'); END`); err != nil {
		t.Fatal(err)
	}
	unusable := hit("not to be encoded", map[string]any{"f": func() {}})
	b := Batch{
		Cursors: []Cursor{{ContainerID: "c", Revision: 1}},
		Events:  []event.Event{hit("one", nil), hit("poison", nil), unusable, hit("poison twice", nil), hit("two", nil)},
	}
	_, err := s.Commit(ctx, b, to(a))
	if !errors.Is(err, ErrRefused) {
		t.Errorf("refused: %v", err)
	}
	if _, ok, err := s.Cursor(ctx, "c"); ok || err != nil || len(must[[]event.Event](t)(s.Events(ctx, EventFilter{}))) != 0 {
		t.Error("a part of what failed is stored")
	}
	var asked []string
	b.Instead = func(e event.Event, err error) event.Event {
		if !errors.Is(err, ErrRefused) {
			t.Errorf("instead of %q: %v", e.Message, err)
		}
		asked = append(asked, e.Message)
		if e.Message == "poison twice" {
			return e
		}
		return hit("instead of "+e.Message[:3], nil)
	}
	stored := must[[]event.Event](t)(s.Commit(ctx, b, to(a)))
	var got []string
	for _, e := range must[[]event.Event](t)(s.Events(ctx, EventFilter{Ascending: true})) {
		got = append(got, e.Message)
	}
	want := "[one instead of poi instead of not two]"
	if fmt.Sprint(got) != want || len(stored) != len(got) || len(asked) != 3 {
		t.Errorf("stored %q, want %s; asked for %q", got, want, asked)
	}
	if d := must[[]trigger.Delivery](t)(s.Deliveries(ctx, DeliveryFilter{State: trigger.Pending})); len(d) != len(got) {
		t.Errorf("%d deliveries", len(d))
	}
}
