package store

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"logscan/internal/rule"
)

// filled makes a closed database of some hundred pages, and returns its path.
func filled(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "logscan.db")
	s := must[*Store](t)(Open(path, nil))
	addTrigger(t, s, "t")
	var events []Event
	for n := range 1000 {
		events = append(events, hit(fmt.Sprintf("%d %x", n, sha256.Sum256([]byte{byte(n)})), nil))
	}
	emit(t, s, nil, events...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// What a damaged file looks like, and whether it has to be set aside.
func TestDamage(t *testing.T) {
	for name, tt := range map[string]struct {
		damage func(b []byte) []byte
		aside  bool
	}{
		"none":                  {func(b []byte) []byte { return b }, false},
		"empty":                 {func([]byte) []byte { return nil }, false},
		"other file":            {func([]byte) []byte { return bytes.Repeat([]byte("not a database\n"), 1000) }, true},
		"short other file":      {func([]byte) []byte { return []byte("oops") }, true},
		"zeros":                 {func(b []byte) []byte { return make([]byte, len(b)) }, true},
		"first page zeroed":     {func(b []byte) []byte { clear(b[:4096]); return b }, true},
		"second half missing":   {func(b []byte) []byte { return b[:len(b)/2] }, true},
		"cut inside a page":     {func(b []byte) []byte { return b[:len(b)/2+100] }, true},
		"cut inside the header": {func(b []byte) []byte { return b[:50] }, true},
		"pages overwritten":     {func(b []byte) []byte { return overwrite(b, len(b)/2, 3*4096) }, true},
		"the schema overwritten": {func(b []byte) []byte {
			return bytes.ReplaceAll(b, []byte("CREATE TABLE rules"), []byte("CREATE\x00\xffABLE rules"))
		}, true},
		"a page within a B-tree":  {func(b []byte) []byte { return overwrite(b, len(b)/8192*4096, 64) }, true},
		"the last page half gone": {func(b []byte) []byte { clear(b[len(b)-4096:]); return b }, true},
		"appended zeros":          {func(b []byte) []byte { return append(b, make([]byte, 8192)...) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filled(t)
			b := must[[]byte](t)(os.ReadFile(path))
			b = tt.damage(b)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			var log strings.Builder
			s, err := Open(path, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			aside := must[[]string](t)(filepath.Glob(path + ".damaged-*"))
			events := must[[]Event](t)(s.Events(t.Context(), EventFilter{}))
			if !tt.aside {
				if len(aside) != 0 || log.Len() != 0 {
					t.Errorf("set aside: %v; log: %s", aside, log.String())
				}
				if want := 1000; len(b) > 0 && len(events) != want {
					t.Errorf("%d events", len(events))
				}
				return
			}
			if len(aside) == 0 {
				t.Fatal("not set aside")
			}
			if kept := must[[]byte](t)(os.ReadFile(aside[0])); !bytes.Equal(kept, b) {
				t.Errorf("what was set aside is not what was there: %d bytes of %d", len(kept), len(b))
			}
			if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), filepath.Base(aside[0])) {
				t.Errorf("log: %s", log.String())
			}
			if len(events) != 1 || events[0].Source != SourceSystem || events[0].Severity != "error" || events[0].Metadata["set_aside"] != filepath.Base(aside[0]) {
				t.Errorf("events: %+v", events)
			}
			addTrigger(t, s, "works again")
		})
	}
}

func overwrite(b []byte, at, n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		b[at+i] = byte(r.Uint32())
	}
	return b
}

// A second damaged file in the same second doesn't replace the first, and a log
// of changes isn't left for the new file.
func TestSetAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logscan.db")
	now := time.Now()
	var names []string
	for _, content := range []string{"one", "two", "three"} {
		for _, suffix := range []string{"", "-wal"} {
			if err := os.WriteFile(path+suffix, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		names = append(names, must[string](t)(setAside(path, now)))
		if exists(path) || exists(path+"-wal") {
			t.Error("something is left")
		}
	}
	for i, content := range []string{"one", "two", "three"} {
		for _, suffix := range []string{"", "-wal"} {
			if b, err := os.ReadFile(names[i] + suffix); err != nil || string(b) != content {
				t.Errorf("%s%s: %q, %v", names[i], suffix, b, err)
			}
		}
	}
	if _, err := setAside(path, now); err == nil {
		t.Error("nothing set aside without an error")
	}
}

// A damaged log of changes costs what was in it, at most; a broken file system
// is an error and no damage.
func TestNoDamage(t *testing.T) {
	path := filled(t)
	if err := os.WriteFile(path+"-wal", bytes.Repeat([]byte{7}, 9000), 0o600); err != nil {
		t.Fatal(err)
	}
	s := must[*Store](t)(Open(path, nil))
	if n := len(must[[]Event](t)(s.Events(t.Context(), EventFilter{}))); n != 1000 {
		t.Errorf("%d events", n)
	}
	s.Close()
	dir := filepath.Join(t.TempDir(), "dir.db")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, nil); err == nil || damaged(err) {
		t.Errorf("a directory: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "no", "such", "x.db"), nil); err == nil || damaged(err) {
		t.Errorf("no directory: %v", err)
	}
	if all := must[[]string](t)(filepath.Glob(dir + "*")); len(all) != 1 {
		t.Errorf("set aside: %v", all)
	}
}

func version(t *testing.T, s *Store) (v int) {
	t.Helper()
	if err := s.w.QueryRow("PRAGMA user_version").Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// A file of each older schema is brought up to date with its content kept.
func TestMigrations(t *testing.T) {
	steps := append(migrations(),
		"ALTER TABLE rules ADD COLUMN added TEXT NOT NULL DEFAULT 'new'",
		"CREATE TABLE more (x); INSERT INTO more SELECT name FROM rules")
	for from := 1; from < len(steps); from++ {
		path := filepath.Join(t.TempDir(), "logscan.db")
		s := must[*Store](t)(open(path, steps[:from]))
		if v := version(t, s); v != from {
			t.Fatalf("schema %d, want %d", v, from)
		}
		if _, err := s.CreateRule(t.Context(), aRule("kept")); err != nil {
			t.Fatal(err)
		}
		s.Close()
		for range 2 { // and again: nothing to do
			s = must[*Store](t)(open(path, steps))
			var added string
			err := s.w.QueryRow("SELECT added FROM rules JOIN more ON more.x = rules.name").Scan(&added)
			if from > len(migrations()) && err == sql.ErrNoRows {
				err = nil
			}
			if v := version(t, s); v != len(steps) || err != nil {
				t.Errorf("from %d: schema %d, %v", from, v, err)
			}
			if rules := must[[]rule.Rule](t)(s.Rules(t.Context())); len(rules) != 1 || rules[0].Name != "kept" {
				t.Errorf("from %d: rules %+v", from, rules)
			}
			s.Close()
		}
	}
}

// A step that fails leaves the file as it was; a newer file is left alone.
func TestMigrationFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logscan.db")
	s := must[*Store](t)(Open(path, nil))
	addTrigger(t, s, "kept")
	s.Close()
	_, err := open(path, append(migrations(), "CREATE TABLE half (x); CREATE TABLE rules (x)"))
	if err == nil || !strings.Contains(err.Error(), "already exists") || damaged(err) {
		t.Errorf("bad step: %v", err)
	}
	s = must[*Store](t)(Open(path, nil))
	if v := version(t, s); v != len(migrations()) {
		t.Errorf("schema %d", v)
	}
	if _, err := s.w.Exec("SELECT * FROM half"); err == nil {
		t.Error("half a step was taken")
	}
	if _, err := s.w.Exec("PRAGMA user_version = 1000"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := Open(path, nil); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("newer file: %v", err)
	}
	if all := must[[]string](t)(filepath.Glob(path + "*")); len(all) != 1 {
		t.Errorf("files: %v", all)
	}
}

// A full disk is an error that changes nothing and passes with it.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal("mount (root is needed): ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	path, filler := filepath.Join(dir, "logscan.db"), filepath.Join(dir, "filler")
	fill := func() {
		t.Helper()
		f, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
	}
	empty := func() {
		t.Helper()
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}

	fill()
	if _, err := Open(path, nil); err == nil {
		t.Fatal("opened on a full disk")
	}
	empty()
	s := must[*Store](t)(Open(path, nil))
	id := addTrigger(t, s, "t")
	live, cancel := s.Subscribe(1000)
	defer cancel()
	commit := func(n int) error {
		_, err := s.Commit(t.Context(), Batch{
			Events:  []Event{hit(strings.Repeat("x", 3000), nil)},
			Cursors: []Cursor{{ContainerID: "c", Position: fmt.Append(nil, n)}},
		}, to(id))
		return err
	}
	fill()
	n := 0
	for {
		if err := commit(n + 1); err != nil {
			break
		}
		if n++; n > 100 {
			t.Fatal("never full")
		}
	}
	check := func() {
		t.Helper()
		if got := len(must[[]Event](t)(s.Events(t.Context(), EventFilter{}))); got != n {
			t.Errorf("%d events, want %d", got, n)
		}
		if c, _, err := s.Cursor(t.Context(), "c"); err != nil || n > 0 && string(c.Position) != fmt.Sprint(n) {
			t.Errorf("cursor %q, want %d, %v", c.Position, n, err)
		}
		if len(live) != n {
			t.Errorf("%d published, want %d", len(live), n)
		}
	}
	for range 3 {
		if err := commit(n + 1); err == nil {
			t.Error("committed on a full disk")
		}
	}
	check()
	empty()
	for range 10 {
		n++
		if err := commit(n); err != nil {
			t.Fatal(err)
		}
	}
	check()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s = must[*Store](t)(Open(path, nil))
	live = nil
	if got := len(must[[]Event](t)(s.Events(t.Context(), EventFilter{}))); got != n {
		t.Errorf("%d events after reopening, want %d", got, n)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
