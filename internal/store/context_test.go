package store

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
)

// hitAround is a hit that lines around it are owed to.
func hitAround(n int64) event.Event {
	return event.Event{Source: event.Logscan, Severity: event.Warn, Message: fmt.Sprint("hit ", n), Metadata: map[string]any{"rule_id": int64(1), "workload_id": "w"},
		Around: &event.Around{Container: "c", Stream: "stdout", From: n, To: n + 1, At: n, Before: 2, After: 3}}
}

func contextLine(text string) event.ContextLine {
	return event.ContextLine{Time: time.Unix(7, 5).UTC(), Stream: "stderr", Text: text, Own: true}
}

// What is owed is kept with the event until it is whole, also by another process, and goes
// with it.
func TestContext(t *testing.T) {
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "x.db")
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	none := hitAround(9)
	none.Around = nil
	if _, err := s.Commit(ctx, Batch{Events: []event.Event{hitAround(1), none, hitAround(2)}}, nil); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if s, err = Open(path, nil); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	owed, err := s.OwedContexts(ctx, 0, 10)
	if err != nil || len(owed) != 2 || owed[0] != (Owed{1, *hitAround(1).Around}) || owed[1].EventID != 3 {
		t.Fatal(owed, err)
	}
	if rest, err := s.OwedContexts(ctx, 1, 10); err != nil || len(rest) != 1 {
		t.Fatal(rest, err)
	}
	lines := []event.ContextLine{contextLine("a\n\"é"), {Time: time.Unix(8, 0).UTC(), Stream: "stdout", Text: "", Cut: true}}
	see := func(id int64, want Context) {
		t.Helper()
		want.EventID = id
		if got, err := s.Context(ctx, id); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	see(1, Context{})
	see(2, Context{Whole: true})
	put := func(c ...Context) {
		t.Helper()
		if err := s.PutContexts(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	put(Context{EventID: 1, Lines: lines[:1]}, Context{EventID: 77, Lines: lines})
	see(1, Context{Lines: lines[:1]})
	put(Context{EventID: 1, Lines: lines, Whole: true}, Context{EventID: 3, Whole: true})
	see(1, Context{Lines: lines, Whole: true})
	see(3, Context{Whole: true})
	if owed, err := s.OwedContexts(ctx, 0, 10); err != nil || len(owed) != 0 {
		t.Error(owed, err)
	}
	if err := s.Prune(ctx, 1, time.Time{}); err != nil {
		t.Fatal(err)
	}
	see(1, Context{Whole: true})
	var rows int
	if err := s.r.QueryRow("SELECT count(*) FROM event_context").Scan(&rows); err != nil || rows != 1 {
		t.Error(rows, err)
	}
}

// Context is bounded as a whole: that of the oldest events goes.
func TestPruneContext(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "x.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := context.Background()
	var b Batch
	var all []Context
	for n := range int64(2500) {
		b.Events = append(b.Events, hitAround(n))
		all = append(all, Context{EventID: n + 1, Lines: []event.ContextLine{contextLine(strings.Repeat("x", 100))}, Whole: n%2 == 0})
	}
	if _, err := s.Commit(ctx, b, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.PutContexts(ctx, all); err != nil {
		t.Fatal(err)
	}
	var size int64
	if err := s.r.QueryRow("SELECT sum(size) / count(*) FROM event_context").Scan(&size); err != nil {
		t.Fatal(err)
	}
	if err := s.pruneContext(ctx, 100*size); err != nil {
		t.Fatal(err)
	}
	var rows, first, sum int64
	if err := s.r.QueryRow("SELECT count(*), min(event_id), sum(size) FROM event_context").Scan(&rows, &first, &sum); err != nil {
		t.Fatal(err)
	}
	if sum > 100*size || rows < 90 || first != 2501-rows {
		t.Errorf("%d rows from %d on, %d bytes of %d", rows, first, sum, 100*size)
	}
}
