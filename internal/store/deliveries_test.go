package store

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func record(t *testing.T, s *Store, d Delivery, state string, next time.Time) {
	t.Helper()
	d.State, d.NextAt = state, next
	if state != Delivered {
		d.LastStatus, d.LastError = 500, "the receiver answered 500"
	}
	if err := s.RecordAttempts(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

func TestOutbox(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	a, b := addTrigger(t, s, "a"), addTrigger(t, s, "b")
	<-s.Outbox()
	events := emit(t, s, to(a, b), hit("one", map[string]any{"k": "v"}), hit("two", nil), hit("three", nil))
	select {
	case <-s.Outbox():
	default:
		t.Error("not signalled")
	}
	if ids := must[[]int64](t)(s.Undelivered(ctx)); !slices.Equal(ids, []int64{a, b}) {
		t.Errorf("undelivered %v", ids)
	}
	now := time.Now().Add(time.Second)
	walk := func(now time.Time) (out []string) {
		t.Helper()
		var seq int64
		for {
			d, e, ok, err := s.NextDelivery(ctx, a, seq, now)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				return out
			}
			if d.EventID != e.ID || d.TriggerID != a || d.State != Pending {
				t.Errorf("%+v with %+v", d, e)
			}
			seq, out = d.Seq, append(out, e.Message)
		}
	}
	if got := walk(now); !slices.Equal(got, []string{"one", "two", "three"}) {
		t.Errorf("order %v", got)
	}
	first, e, _, err := s.NextDelivery(ctx, a, 0, now)
	if err != nil || e.ID != events[0].ID || e.Metadata["k"] != "v" {
		t.Errorf("%+v, %v", e, err)
	}
	// One that waits is returned all the same, until it is overtaken.
	record(t, s, first, Pending, now.Add(time.Minute))
	if got := walk(now); len(got) != 3 {
		t.Errorf("waiting: %v", got)
	}
	if err := s.Overtake(ctx, first.ID); err != nil {
		t.Fatal(err)
	}
	if got := walk(now); !slices.Equal(got, []string{"two", "three"}) {
		t.Errorf("overtaken: %v", got)
	}
	if got := walk(now.Add(time.Minute)); len(got) != 3 {
		t.Errorf("overtaken and due: %v", got)
	}
	if at := must[time.Time](t)(s.NextOvertaken(ctx, a, now)); !at.Equal(now.Add(time.Minute)) {
		t.Errorf("due at %v", at)
	}
	if at := must[time.Time](t)(s.NextOvertaken(ctx, b, now)); !at.IsZero() {
		t.Errorf("b: due at %v", at)
	}
	d := must[Delivery](t)(s.Delivery(ctx, first.ID))
	if d.Attempts != 1 || d.LastStatus != 500 || d.LastError == "" || !d.Overtaken {
		t.Errorf("%+v", d)
	}
	record(t, s, d, Delivered, time.Time{})
	d = must[Delivery](t)(s.Delivery(ctx, first.ID))
	if d.State != Delivered || d.Attempts != 2 || !d.NextAt.IsZero() {
		t.Errorf("%+v", d)
	}
	if err := s.Overtake(ctx, first.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("overtaking what is done: %v", err)
	}
	// Redelivered: the same id, in its old place.
	d = must[Delivery](t)(s.Redeliver(ctx, first.ID))
	if d.State != Pending || d.Attempts != 0 || d.ID != first.ID || d.Overtaken {
		t.Errorf("%+v", d)
	}
	if got := walk(time.Now()); !slices.Equal(got, []string{"one", "two", "three"}) {
		t.Errorf("redelivered: %v", got)
	}
	// The attempt that was on its way meanwhile is not its outcome.
	if err := s.RecordAttempts(ctx, first); !errors.Is(err, ErrNotFound) {
		t.Errorf("late outcome: %v", err)
	}
	if _, err := s.Redeliver(ctx, "msg_nosuch"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := s.Delivery(ctx, "msg_nosuch"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	// A disabled trigger's wait; a removed one's go.
	tr := must[Trigger](t)(s.Trigger(ctx, a))
	tr.Enabled = false
	must[Trigger](t)(s.UpdateTrigger(ctx, tr))
	if ids := must[[]int64](t)(s.Undelivered(ctx)); !slices.Equal(ids, []int64{b}) {
		t.Errorf("undelivered %v", ids)
	}
	if err := s.DeleteTrigger(ctx, a); err != nil {
		t.Fatal(err)
	}
	if n := must[map[string]int64](t)(s.DeliveryCounts(ctx)); n[Pending] != 3 || n[Delivered] != 0 || n[Dead] != 0 {
		t.Errorf("%v", n)
	}
	if err := s.RecordAttempts(ctx, d); !errors.Is(err, ErrNotFound) {
		t.Errorf("outcome of what has gone: %v", err)
	}
}

func TestReportDead(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	a, b := addTrigger(t, s, "a"), addTrigger(t, s, "b")
	emit(t, s, to(a), hit("one", nil), hit("two", nil), hit("three", nil))
	die := func(trigger int64, n int) {
		t.Helper()
		for range n {
			d, _, ok, err := s.NextDelivery(ctx, trigger, 0, time.Now())
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			record(t, s, d, Dead, time.Time{})
		}
	}
	reports := func() []Event {
		t.Helper()
		return must[[]Event](t)(s.Events(ctx, EventFilter{Source: SourceSystem, Ascending: true}))
	}
	unreported := func(want ...int64) {
		t.Helper()
		if ids := must[[]int64](t)(s.Unreported(ctx)); !slices.Equal(ids, want) {
			t.Errorf("unreported %v, want %v", ids, want)
		}
	}
	if err := s.ReportDead(ctx, a, to(a, b)); err != nil || len(reports()) != 0 {
		t.Errorf("nothing to report: %v, %v", reports(), err)
	}
	die(a, 2)
	unreported(a)
	if err := s.ReportDead(ctx, a, to(a, b)); err != nil {
		t.Fatal(err)
	}
	unreported()
	r := reports()
	if len(r) != 1 || r[0].Severity != "error" || !strings.Contains(r[0].Message, "2 deliveries") || r[0].Metadata["deliveries"] != 2.0 || r[0].Metadata["trigger_name"] != "a" {
		t.Fatalf("%+v", r)
	}
	// It goes to the other trigger only, though both were named.
	for _, d := range must[[]Delivery](t)(s.Deliveries(ctx, Pending, 0)) {
		if d.EventID == r[0].ID && d.TriggerID != b {
			t.Errorf("reported to %d", d.TriggerID)
		}
	}
	if n := must[map[string]int64](t)(s.DeliveryCounts(ctx)); n[Pending] != 2 {
		t.Errorf("%v", n)
	}
	die(a, 1)
	if err := s.ReportDead(ctx, a, nil); err != nil || len(reports()) != 2 || !strings.Contains(reports()[1].Message, "1 delivery was") {
		t.Errorf("%v, %v", reports(), err)
	}
	// That the report itself can't be delivered is not reported.
	die(b, 1)
	unreported()
	// A hit that can't be, is.
	emit(t, s, to(b), hit("four", nil))
	die(b, 1)
	unreported(b)
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
	if err := s.RecordAttempts(t.Context(), Delivery{ID: "msg_1"}); err != ErrNotFound {
		t.Errorf("%v, want ErrNotFound", err)
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
