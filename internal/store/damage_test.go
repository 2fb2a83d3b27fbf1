package store

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"logscan/internal/event"
)

// Whoever follows events by their ids sees those of the new file, too.
func TestIDsGoOnAfterDamage(t *testing.T) {
	path := filled(t)
	s := must[*Store](t)(Open(path, nil))
	last := must[int64](t)(s.LastEventID(t.Context()))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("not a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = must[*Store](t)(Open(path, nil))
	defer s.Close()
	events := must[[]event.Event](t)(s.Events(t.Context(), EventFilter{After: last, Ascending: true}))
	if len(events) != 1 || events[0].Metadata["about"] != "database" {
		t.Errorf("after %d: %+v", last, events)
	}
	if id := addTrigger(t, s, "t"); id <= 1 {
		t.Errorf("the trigger's id is %d again", id)
	}
}

// Killed at any step, it is told of the damage once, and nothing is left behind.
func TestKilledWhileReplacing(t *testing.T) {
	for name, killed := range map[string]func(t *testing.T, path string){
		"before anything": func(*testing.T, string) {},
		"while the new file is made": func(t *testing.T, path string) {
			for _, suffix := range []string{"", "-wal"} {
				if err := os.WriteFile(path+replacement+suffix, []byte("half"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		},
		"before the damaged one is set aside": func(t *testing.T, path string) {
			tell := event.Event{Source: event.System, Severity: event.Error, Message: "m", Metadata: map[string]any{"about": "database"}}
			aside := must[string](t)(replace(path, time.Now(), tell))
			if err := os.Rename(path, path+replacement); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(aside, path); err != nil {
				t.Fatal(err)
			}
		},
		"before the new one takes its place": func(t *testing.T, path string) {
			tell := event.Event{Source: event.System, Severity: event.Error, Message: "m", Metadata: map[string]any{"about": "database"}}
			must[string](t)(replace(path, time.Now(), tell))
			if err := os.Rename(path, path+replacement); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "logscan.db")
			if err := os.WriteFile(path, []byte("not a database"), 0o600); err != nil {
				t.Fatal(err)
			}
			killed(t, path)
			s := must[*Store](t)(Open(path, nil))
			defer s.Close()
			events := must[[]event.Event](t)(s.Events(t.Context(), EventFilter{}))
			aside := must[[]string](t)(filepath.Glob(path + ".damaged-*"))
			if len(events) != 1 || len(aside) != 1 || events[0].Metadata["set_aside"] != filepath.Base(aside[0]) {
				t.Errorf("events %+v, set aside %v", events, aside)
			}
			if left := must[[]string](t)(filepath.Glob(path + replacement + "*")); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}
