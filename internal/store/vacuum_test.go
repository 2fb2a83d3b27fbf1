package store

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
)

// flood adds that many events of some hundred bytes.
func flood(t *testing.T, s *Store, n int) {
	t.Helper()
	events := make([]event.Event, 1000)
	for i := range events {
		events[i] = hit(strings.Repeat("flood ", 50), nil)
	}
	for ; n > 0; n -= len(events) {
		emit(t, s, nil, events[:min(n, len(events))]...)
	}
}

// After a flood, the file becomes small again while it is in use.
func TestFileShrinks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logscan.db")
	s := must[*Store](t)(Open(path, nil))
	defer s.Close()
	addTrigger(t, s, "kept")
	flood(t, s, 101_000)
	if _, err := s.w.Exec("PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
		t.Fatal(err)
	}
	size := func() int64 { return must[os.FileInfo](t)(os.Stat(path)).Size() }
	full := size()
	if err := s.Prune(t.Context(), 1000, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := s.GiveBack(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := must[pages](t)(readPages(t.Context(), s.r)); p.free*p.size != spareBytes {
		t.Errorf("%d pages are free", p.free)
	}
	for deadline := time.Now().Add(time.Minute); size() > full/4; runtime.Gosched() { // the checkpoint goes on beside
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes of %d", size(), full)
		}
	}
	if Size(path)-size() > logPages*4096*5/4 {
		t.Errorf("the log of changes has %d bytes", Size(path)-size())
	}
	if err := check(t.Context(), s.r); err != nil {
		t.Error(err)
	}
	if n := len(must[[]event.Event](t)(s.Events(t.Context(), EventFilter{}))); n != 1000 {
		t.Errorf("%d events", n)
	}
}

// wasted makes a closed database as earlier versions made them, mostly empty, with
// the trigger "kept" and 1,000 events.
func wasted(t *testing.T, path string) {
	t.Helper()
	s := must[*Store](t)(open(path, migrations()))
	defer s.Close()
	if _, err := s.w.Exec("PRAGMA auto_vacuum = NONE; VACUUM"); err != nil {
		t.Fatal(err)
	}
	addTrigger(t, s, "kept")
	flood(t, s, 60_000)
	if err := s.Prune(t.Context(), 1000, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := s.GiveBack(t.Context()); err != nil { // which it can't
		t.Fatal(err)
	}
	if p := must[pages](t)(readPages(t.Context(), s.r)); p.shrinks || p.free*p.size < copyFrom {
		t.Fatalf("%+v", p)
	}
}

// wantKept fails unless the database holds what wasted put there.
func wantKept(t *testing.T, s *Store) {
	t.Helper()
	if err := check(context.Background(), s.r); err != nil {
		t.Error(err)
	}
	events := must[[]event.Event](t)(s.Events(t.Context(), EventFilter{}))
	if len(events) != 1000 || events[0].ID != 60_000 {
		t.Errorf("%d events", len(events))
	}
	if got := must[int](t)(count(s, "triggers")); got != 1 {
		t.Errorf("%d triggers", got)
	}
	if v := version(t, s); v != len(migrations()) {
		t.Errorf("schema %d", v)
	}
}

func count(s *Store, table string) (n int, err error) {
	err = s.r.QueryRow("SELECT count(*) FROM " + table).Scan(&n)
	return n, err
}

// A database of an earlier version gives its space back at one start, and by small
// steps from then on. Ids go on where they were.
func TestOldFileIsCopied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logscan.db")
	wasted(t, path)
	before := Size(path)
	var log strings.Builder
	s := must[*Store](t)(Open(path, slog.New(slog.NewTextHandler(&log, nil))))
	defer s.Close()
	wantKept(t, s)
	p := must[pages](t)(readPages(t.Context(), s.r))
	if !p.shrinks || p.free != 0 || p.all*p.size > before/4 || !strings.Contains(log.String(), "level=INFO") {
		t.Errorf("%+v, before %d bytes; log: %s", p, before, log.String())
	}
	if info := must[os.FileInfo](t)(os.Stat(path)); info.Mode() != 0o600 || exists(path+replacement) {
		t.Errorf("mode %v", info.Mode())
	}
	if next := emit(t, s, nil, hit("next", nil)); next[0].ID != 60_001 {
		t.Errorf("the next id is %d", next[0].ID)
	}
}

// Where the disk has no room for a copy, or no longer has while it is made, the
// database stays as it is and is used.
func TestNoRoomForACopy(t *testing.T) {
	dir := smallBlocks(t, 96<<20)
	path := filepath.Join(dir, "logscan.db")
	wasted(t, path)
	for _, leave := range []int64{0, 100, 200, 400} {
		t.Run(fmt.Sprint(leave, " KiB"), func(t *testing.T) {
			s := must[*Store](t)(open(path, migrations()))
			undo := fill(t, dir, leave)
			if err := s.compact(path); err == nil {
				t.Error("copied")
			}
			if exists(path + replacement) {
				t.Error("a part of the copy is left")
			}
			undo()
			undo = fill(t, dir, 1024)
			defer undo()
			var log strings.Builder
			s = must[*Store](t)(Open(path, slog.New(slog.NewTextHandler(&log, nil))))
			defer s.Close()
			wantKept(t, s)
			if !strings.Contains(log.String(), "are needed") {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}

// The oldest events go while the file holds too much, but for the newest and those
// that are yet to be delivered.
func TestPruneToSize(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	emit(t, s, to(addTrigger(t, s, "waits")), hit("not delivered", nil))
	flood(t, s, 10_000)
	held := func() int64 {
		p := must[pages](t)(readPages(ctx, s.r))
		return (p.all - p.free) * p.size
	}
	full := held()
	for _, bytes := range []int64{full, full / 2, 0} {
		if err := s.PruneToSize(ctx, bytes); err != nil {
			t.Fatal(err)
		}
		n := must[int](t)(count(s, "event_log"))
		switch bytes {
		case full:
			if n != 10_001 {
				t.Errorf("%d events, all of which fit", n)
			}
		case 0:
			if n != 1+keepNewest {
				t.Errorf("%d events", n)
			}
		default:
			if held() > bytes || n < 3000 || n > 6000 {
				t.Errorf("%d bytes, %d events", held(), n)
			}
		}
		if _, err := s.Event(ctx, 1); err != nil {
			t.Error("not delivered: ", err)
		}
		if id, err := s.LastEventID(ctx); err != nil || id != 10_001 {
			t.Errorf("the newest is %d, %v", id, err)
		}
	}
}
