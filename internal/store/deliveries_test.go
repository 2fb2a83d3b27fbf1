package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/trigger"
)

func record(t *testing.T, s *Store, d trigger.Delivery, state trigger.State, next time.Time) {
	t.Helper()
	d.State, d.NextAt, d.TriedAt = state, next, time.Now()
	if state != trigger.Delivered {
		d.LastStatus, d.LastError = 500, "the receiver answered 500"
	}
	if err := s.Record(t.Context(), []trigger.Delivery{d}); err != nil {
		t.Fatal(err)
	}
}

// walk returns the messages of a trigger's pending deliveries as Next gives them.
func walk(t *testing.T, s *Store, id int64) (out []string) {
	t.Helper()
	var after trigger.Delivery
	for {
		job := must[trigger.Job](t)(s.Next(t.Context(), id, after))
		if job.Delivery.ID == "" {
			return out
		}
		if job.Delivery.EventID != job.Event.ID || job.Delivery.TriggerID != id || job.Trigger.ID != id || job.Delivery.State != trigger.Pending {
			t.Errorf("%+v", job)
		}
		after, out = job.Delivery, append(out, job.Event.Message)
	}
}

func resume(t *testing.T, s *Store, now time.Time) []int64 {
	t.Helper()
	return must[[]int64](t)(s.Resume(t.Context(), now))
}

func TestOutbox(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	a, b := addTrigger(t, s, "a"), addTrigger(t, s, "b")
	events := emit(t, s, to(a, b), hit("one", map[string]any{"k": "v"}), hit("two", nil), hit("three", nil))
	select {
	case c := <-s.Changes():
		if slices.Sort(c.Triggers); !slices.Equal(c.Triggers, []int64{a, b}) || c.Dead {
			t.Errorf("changes %+v", c)
		}
	default:
		t.Error("not signalled")
	}
	emit(t, s, to(), hit("for nobody", nil))
	select {
	case c := <-s.Changes():
		t.Errorf("an event for nobody wakes the worker: %+v", c)
	default:
	}
	now := time.Now()
	if ids := resume(t, s, now); !slices.Equal(ids, []int64{a, b}) {
		t.Errorf("waiting %v", ids)
	}
	if got := walk(t, s, a); !slices.Equal(got, []string{"one", "two", "three"}) {
		t.Errorf("order %v", got)
	}
	first := must[trigger.Job](t)(s.Next(ctx, a, trigger.Delivery{}))
	if first.Event.ID != events[0].ID || first.Event.Metadata["k"] != "v" {
		t.Errorf("%+v", first)
	}
	// One that waits for its next attempt holds up nothing.
	record(t, s, first.Delivery, trigger.Pending, now.Add(time.Minute))
	if got := walk(t, s, a); !slices.Equal(got, []string{"two", "three", "one"}) {
		t.Errorf("after a failure: %v", got)
	}
	d := must[trigger.Delivery](t)(s.Delivery(ctx, first.Delivery.ID))
	if d.Attempts != 1 || d.LastStatus != 500 || d.LastError == "" {
		t.Errorf("%+v", d)
	}
	// A clock that was set back makes it due.
	resume(t, s, now.Add(-time.Hour))
	if d := must[trigger.Delivery](t)(s.Delivery(ctx, d.ID)); !d.NextAt.Equal(now.Add(-time.Hour).Truncate(0)) {
		t.Errorf("the clock was set back, but it waits until %v", d.NextAt)
	}
	record(t, s, d, trigger.Delivered, time.Time{})
	d = must[trigger.Delivery](t)(s.Delivery(ctx, d.ID))
	if d.State != trigger.Delivered || d.Attempts != 2 || !d.NextAt.IsZero() {
		t.Errorf("%+v", d)
	}
	// Redelivered, it keeps its id, and the attempt that was on its way meanwhile
	// is not its outcome.
	d = must[trigger.Delivery](t)(s.Redeliver(ctx, d.ID))
	if d.State != trigger.Pending || d.Attempts != 0 || d.ID != first.Delivery.ID {
		t.Errorf("%+v", d)
	}
	record(t, s, first.Delivery, trigger.Delivered, time.Time{})
	if d := must[trigger.Delivery](t)(s.Delivery(ctx, d.ID)); d.State != trigger.Pending {
		t.Errorf("a late outcome counts: %+v", d)
	}
	if _, err := s.Redeliver(ctx, "msg_nosuch"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := s.Delivery(ctx, "msg_nosuch"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	// A disabled trigger's wait; a removed one's go.
	tr := must[trigger.Trigger](t)(s.Trigger(ctx, a))
	tr.Enabled = false
	must[trigger.Trigger](t)(s.UpdateTrigger(ctx, tr))
	if ids := resume(t, s, now); !slices.Equal(ids, []int64{b}) {
		t.Errorf("waiting %v", ids)
	}
	if job := must[trigger.Job](t)(s.Next(ctx, a, trigger.Delivery{})); job.Trigger.ID != 0 || job.Delivery.ID != "" {
		t.Errorf("of a disabled trigger: %+v", job)
	}
	<-s.Changes()
	if err := s.DeleteTrigger(ctx, a); err != nil {
		t.Fatal(err)
	}
	if c := <-s.Changes(); !slices.Equal(c.Triggers, []int64{a}) {
		t.Errorf("changes %+v", c)
	}
	counted(t, s, 3, 0, 0)
	record(t, s, d, trigger.Delivered, time.Time{}) // it has gone
}

// counted checks the counts, and that they are those of the rows.
func counted(t *testing.T, s *Store, pending, delivered, dead int64) {
	t.Helper()
	n := must[map[trigger.State]int64](t)(s.DeliveryCounts(t.Context()))
	if n[trigger.Pending] != pending || n[trigger.Delivered] != delivered || n[trigger.Dead] != dead {
		t.Errorf("counts %v, want %d pending, %d delivered, %d dead", n, pending, delivered, dead)
	}
	rows, err := s.r.Query("SELECT state, count(*) FROM deliveries GROUP BY state")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var state trigger.State
		var rows_ int64
		if err := rows.Scan(&state, &rows_); err != nil || n[state] != rows_ {
			t.Errorf("%d are %s, %d counted, %v", rows_, state, n[state], err)
		}
	}
}

// Beyond its bound a trigger's oldest deliveries are given up, one event counts
// them, and no other trigger loses any.
func TestTooManyPending(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	s.maxPending = 10
	a, b := addTrigger(t, s, "a"), addTrigger(t, s, "b")
	for n := range 25 {
		emit(t, s, to(a), hit(fmt.Sprint(n), nil))
	}
	emit(t, s, to(b), hit("other", nil))
	counted(t, s, 11, 0, 15)
	if c := <-s.Changes(); !c.Dead {
		t.Errorf("changes %+v", c)
	}
	if got := walk(t, s, a); len(got) != 10 || got[0] != "15" {
		t.Errorf("kept %v", got)
	}
	if n := must[int](t)(s.ReportDead(ctx, to(a, b))); n != 1 {
		t.Errorf("%d reports", n)
	}
	if n := must[int](t)(s.ReportDead(ctx, to(a, b))); n != 0 {
		t.Errorf("%d more reports", n)
	}
	r := must[[]event.Event](t)(s.Events(ctx, EventFilter{Source: event.System}))
	if len(r) != 1 || r[0].Metadata["deliveries"] != 15.0 || !strings.Contains(r[0].Message, "15 deliveries were given up: more than 10 deliveries waited") {
		t.Errorf("%+v", r)
	}
	// They can be had again, as far as there is room.
	if n := must[int64](t)(s.RedeliverAll(ctx, a, trigger.Dead)); n != 0 {
		t.Errorf("%d redelivered without room", n)
	}
	for _, d := range must[[]trigger.Delivery](t)(s.Deliveries(ctx, DeliveryFilter{State: trigger.Pending, TriggerID: a, Limit: 4})) {
		record(t, s, d, trigger.Delivered, time.Time{})
	}
	if n := must[int64](t)(s.RedeliverAll(ctx, a, trigger.Dead)); n != 4 {
		t.Errorf("%d redelivered", n)
	}
	if got := walk(t, s, a); len(got) != 10 || !slices.Contains(got, "14") || slices.Contains(got, "10") {
		t.Errorf("redelivered: %v", got)
	}
	if _, err := s.RedeliverAll(ctx, 4711, trigger.Dead); !errors.Is(err, ErrNotFound) {
		t.Errorf("of no trigger: %v", err)
	}
	if _, err := s.w.Exec("ALTER TABLE triggers RENAME TO gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RedeliverAll(ctx, a, trigger.Dead); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("of a database that fails: %v", err)
	}
}

// What is looked up at each commit is looked up in an index, however much waits.
func TestPlansOfTheOutbox(t *testing.T) {
	s := openTest(t)
	for name, tt := range map[string]struct {
		query string
		args  []any
	}{
		"next":       {nextDelivery, []any{1, 5, 5}},
		"unreported": {"SELECT EXISTS (SELECT 1 FROM deliveries WHERE state = 'dead' AND reported = 0)", nil},
		"oldest":     {"SELECT seq FROM deliveries WHERE trigger_id = ? AND state = 'pending' ORDER BY seq LIMIT ?", []any{1, 1}},
		"turn":       {turn, []any{1, 1, 1}},
		"counts":     {"SELECT state, sum(n) FROM delivery_counts GROUP BY state", nil},
	} {
		rows, err := s.r.Query("EXPLAIN QUERY PLAN "+tt.query, tt.args...)
		if err != nil {
			t.Fatal(name, err)
		}
		var plan []string
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, detail)
		}
		rows.Close()
		text := strings.Join(plan, "; ")
		if strings.Contains(text, "SCAN deliveries") && !strings.Contains(text, "INDEX deliveries_unreported") || strings.Contains(text, "SCAN d ") || strings.Contains(text, "SCAN e") || name != "counts" && strings.Contains(text, "TEMP B-TREE") {
			t.Errorf("%s: %s", name, text)
		}
		if name == "next" && (!strings.Contains(text, "deliveries_due (trigger_id=? AND next_at=? AND rowid>?)") && !strings.Contains(text, "deliveries_due (trigger_id=? AND next_at=? AND seq>?)") || !strings.Contains(text, "deliveries_due (trigger_id=? AND next_at>?)")) {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestDeliveriesPage(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	a, b := addTrigger(t, s, "a"), addTrigger(t, s, "b")
	for n := range 5 {
		emit(t, s, to(a, b), hit(fmt.Sprint(n), nil))
	}
	var got []int64
	f := DeliveryFilter{TriggerID: b, Limit: 2}
	for {
		page := must[[]trigger.Delivery](t)(s.Deliveries(ctx, f))
		for _, d := range page {
			got = append(got, d.EventID)
		}
		if len(page) < f.Limit {
			break
		}
		f.Before = page[len(page)-1].ID
	}
	if !slices.Equal(got, []int64{5, 4, 3, 2, 1}) {
		t.Errorf("got %v", got)
	}
}

func TestReportDead(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	a, b := addTrigger(t, s, "a"), addTrigger(t, s, "b")
	emit(t, s, to(a), hit("one", nil), hit("two", nil), hit("three", nil))
	die := func(id int64, n int) {
		t.Helper()
		for range n {
			job := must[trigger.Job](t)(s.Next(ctx, id, trigger.Delivery{}))
			if job.Delivery.ID == "" {
				t.Fatal("nothing pending")
			}
			record(t, s, job.Delivery, trigger.Dead, time.Time{})
		}
	}
	report := func(route func(event.Event) []int64, want int) []event.Event {
		t.Helper()
		if n := must[int](t)(s.ReportDead(ctx, route)); n != want {
			t.Errorf("%d reports, want %d", n, want)
		}
		return must[[]event.Event](t)(s.Events(ctx, EventFilter{Source: event.System, Ascending: true}))
	}
	report(to(a, b), 0)
	die(a, 2)
	r := report(to(a, b), 1)
	if len(r) != 1 || r[0].Severity != "error" || !strings.Contains(r[0].Message, "2 deliveries") || r[0].Metadata["deliveries"] != 2.0 || r[0].Metadata["trigger_name"] != "a" || r[0].Metadata["last_status"] != 500.0 {
		t.Fatalf("%+v", r)
	}
	report(to(a, b), 0)
	// It goes to the other trigger only, though both were named.
	for _, d := range must[[]trigger.Delivery](t)(s.Deliveries(ctx, DeliveryFilter{State: trigger.Pending})) {
		if d.EventID == r[0].ID && d.TriggerID != b {
			t.Errorf("reported to %d", d.TriggerID)
		}
	}
	counted(t, s, 2, 0, 2)
	die(a, 1)
	if r := report(nil, 1); len(r) != 2 || !strings.Contains(r[1].Message, "1 delivery was") {
		t.Errorf("%v", r)
	}
	// That the report itself can't be delivered is not reported.
	die(b, 1)
	report(to(a, b), 0)
	// A hit that can't be, is.
	emit(t, s, to(b), hit("four", nil))
	die(b, 1)
	report(to(a, b), 1)
}

// What may be forgotten in a power cut leaves the rest as safe as it was.
func TestRelaxedIsForOneTransaction(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "logscan.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	safe := func(after string) {
		t.Helper()
		var level int
		if err := s.w.QueryRow("PRAGMA synchronous").Scan(&level); err != nil || level != 2 {
			t.Errorf("after %s: synchronous = %d, %v; want 2, FULL", after, level, err)
		}
	}
	if _, err := s.Commit(t.Context(), Batch{Cursors: []Cursor{{ContainerID: "a", Position: []byte("1"), State: []byte{}}}}, nil); err != nil {
		t.Fatal(err)
	}
	safe("cursors")
	if err := s.Record(t.Context(), []trigger.Delivery{{ID: "msg_1"}}); err != nil {
		t.Errorf("%v, want none: it has gone", err)
	}
	safe("an outcome of nothing")
	failed := errors.New("no")
	if err := s.relaxed(t.Context(), "test", func(*sql.Tx) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("%v, want %v", err, failed)
	}
	safe("one that failed")
	ctx, cancel := context.WithCancel(t.Context())
	s.relaxed(ctx, "test", func(*sql.Tx) error { cancel(); return nil })
	safe("one that was cancelled")
}
