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
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/fields"
	"logscan/internal/rule"
	"logscan/internal/trigger"
)

// filled makes a closed database of some hundred pages, and returns its path.
func filled(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "logscan.db")
	s := must[*Store](t)(Open(path, nil))
	addTrigger(t, s, "t")
	var events []event.Event
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
			events := must[[]event.Event](t)(s.Events(t.Context(), EventFilter{}))
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
			if len(events) != 1 || events[0].Source != event.System || events[0].Severity != "error" || events[0].Metadata["set_aside"] != filepath.Base(aside[0]) {
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
	if n := len(must[[]event.Event](t)(s.Events(t.Context(), EventFilter{}))); n != 1000 {
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
		"CREATE TABLE more (x); INSERT INTO more SELECT definition ->> '$.name' FROM rules")
	for from := 1; from < len(steps); from++ {
		path := filepath.Join(t.TempDir(), "logscan.db")
		s := must[*Store](t)(open(path, steps[:from]))
		if v := version(t, s); v != from {
			t.Fatalf("schema %d, want %d", v, from)
		}
		if from < definitions {
			oldRule(t, s, aRule("kept"))
		} else if from < len(migrations()) {
			definition := must[[]byte](t)(rule.Fields.MarshalDefinition(aRule("kept")))
			if _, err := s.w.Exec("INSERT INTO rules (definition, workload_id, created_at, updated_at) VALUES (?, '', 0, 0)", string(definition)); err != nil {
				t.Fatal(err)
			}
		} else if _, err := s.CreateRule(t.Context(), aRule("kept")); err != nil {
			t.Fatal(err)
		}
		s.Close()
		for range 2 { // and again: nothing to do
			s = must[*Store](t)(open(path, steps))
			var added string
			err := s.w.QueryRow("SELECT added FROM rules JOIN more ON more.x = rules.definition ->> '$.name'").Scan(&added)
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

// definitions is the schema since which a rule is stored as a definition.
const definitions = 9

// oldRule stores a rule as was done before.
func oldRule(t *testing.T, s *Store, r rule.Rule) {
	t.Helper()
	_, err := s.w.Exec(`INSERT INTO rules (name, description, pattern, severity, streams, cooldown, enabled, workload_id, overrides_id, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, nullif(?, 0), ?, ?)`,
		r.Name, r.Description, r.Pattern, r.Severity, r.Streams, int64(r.Cooldown()), r.Enabled, r.WorkloadID, r.OverridesID, nanos(r.CreatedAt), nanos(r.UpdatedAt))
	if err != nil {
		t.Fatal(err)
	}
}

// Rules of the released version are the same ones afterwards, whatever they
// hold, and what the database looks after goes on.
func TestOldRulesAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logscan.db")
	s := must[*Store](t)(open(path, migrations()[:3]))
	at := time.Unix(1_800_000_000, 123).UTC()
	want := []rule.Rule{
		{Name: "global", Description: "two\nlines \x1b[2J \u202e", Pattern: `a"\\\d{2}'é%`, Severity: "warn", Streams: "all", CooldownSeconds: 300, Enabled: true},
		{Name: "override", Pattern: "x", Severity: "error", Streams: "stderr", WorkloadID: strings.Repeat("w", 500), OverridesID: 1},
		{Name: "own", Pattern: "y", Severity: "info", Streams: "stdout", CooldownSeconds: 31536000, Enabled: true, WorkloadID: "shop/web"},
	}
	for i := range want {
		want[i].ID, want[i].CreatedAt, want[i].UpdatedAt = int64(i+1), at, at.Add(time.Hour)
		oldRule(t, s, want[i])
		now, old := rule.New(), want[i] // what is said about rules since then has its default
		now.ID, now.Name, now.Description, now.Pattern, now.Severity, now.Streams = old.ID, old.Name, old.Description, old.Pattern, old.Severity, old.Streams
		now.CooldownSeconds, now.Enabled, now.WorkloadID, now.OverridesID = old.CooldownSeconds, old.Enabled, old.WorkloadID, old.OverridesID
		now.CreatedAt, now.UpdatedAt, now.ManagedBy = old.CreatedAt, old.UpdatedAt, fields.API
		now.State = map[bool]string{true: rule.On, false: rule.Off}[old.Enabled]
		want[i] = now
	}
	s.Close()
	s = must[*Store](t)(Open(path, nil))
	defer s.Close()
	if got := must[[]rule.Rule](t)(s.Rules(t.Context())); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := s.DeleteRule(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	again := want[1]
	if _, err := s.CreateRule(t.Context(), again); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second override: %v", err)
	}
	if r := must[rule.Rule](t)(s.CreateRule(t.Context(), aRule("new"))); r.ID != 4 {
		t.Errorf("an id is used again: %d", r.ID)
	}
	if err := s.DeleteRule(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if got := must[[]rule.Rule](t)(s.Rules(t.Context())); len(got) != 1 || got[0].Name != "new" {
		t.Errorf("after its base, the override is left: %+v", got)
	}
}

// Triggers of the released version are the same ones afterwards, and tell each event
// by itself as before.
func TestOldTriggersAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logscan.db")
	s := must[*Store](t)(open(path, migrations()[:3]))
	at := time.Unix(1_800_000_000, 123).UTC()
	want := []trigger.Trigger{
		{Name: `a "b" \ é`, Enabled: true, Severities: []event.Severity{"error", "warn"}, Sources: []event.Source{"logscan"}, MessageRegex: `^"\d`, ActionURL: "https://u:p@h/?t=1", ActionSecret: "s3cr3t"},
		{Name: "off", ActionURL: "http://h/"},
	}
	for i := range want {
		w := &want[i]
		w.ID, w.CreatedAt, w.UpdatedAt = int64(i+1), at, at.Add(time.Hour)
		w.ManagedBy = fields.API
		w.Mode, w.GroupBy, w.GroupIntervalSeconds, w.ContextWaitSeconds = trigger.ModeEvents, "workload", 300, trigger.ContextWait
		_, err := s.w.Exec(`INSERT INTO triggers (name, enabled, severities, sources, message_regex, action_url, action_secret, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			w.Name, w.Enabled, w.Severities.String(), w.Sources.String(), w.MessageRegex, w.ActionURL, w.ActionSecret, nanos(w.CreatedAt), nanos(w.UpdatedAt))
		if err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	s = must[*Store](t)(Open(path, nil))
	defer s.Close()
	got := must[[]trigger.Trigger](t)(s.Triggers(t.Context()))
	if !reflect.DeepEqual(got, want) {
		for i := range got {
			b, _ := trigger.Fields.MarshalDefinition(got[i])
			t.Errorf("got %d, %v to %v: %s", got[i].ID, got[i].CreatedAt, got[i].UpdatedAt, b)
		}
	}
	// What is sent is what an enabled trigger waits for.
	emit(t, s, to(1, 2), hit("m", nil))
	if ids := must[[]int64](t)(s.Resume(t.Context(), time.Now())); !slices.Equal(ids, []int64{1}) {
		t.Errorf("waited for by %v", ids)
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
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
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
	told := 0
	receive := func() {
		t.Helper()
		for {
			select {
			case _, open := <-live:
				if told++; open {
					continue
				}
				// A commit failed, and may have been persisted: look, and go on.
				live, _ = s.Subscribe(1000)
				told = len(must[[]event.Event](t)(s.Events(t.Context(), EventFilter{})))
			default:
				return
			}
		}
	}
	commit := func(n int) error {
		_, err := s.Commit(t.Context(), Batch{
			Events:  []event.Event{hit(strings.Repeat("x", 3000), nil)},
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
		if got := len(must[[]event.Event](t)(s.Events(t.Context(), EventFilter{}))); got != n {
			t.Errorf("%d events, want %d", got, n)
		}
		if c, _, err := s.Cursor(t.Context(), "c"); err != nil || n > 0 && string(c.Position) != fmt.Sprint(n) {
			t.Errorf("cursor %q, want %d, %v", c.Position, n, err)
		}
		if receive(); told != n {
			t.Errorf("%d published, want %d", told, n)
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
		receive()
	}
	check()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s = must[*Store](t)(Open(path, nil))
	if got := len(must[[]event.Event](t)(s.Events(t.Context(), EventFilter{}))); got != n {
		t.Errorf("%d events after reopening, want %d", got, n)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// The file of a version that knew two sources takes others too, and keeps what
// it has.
func TestMigrateSources(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logscan.db")
	old := must[*Store](t)(open(path, migrations()[:6]))
	insert := func(source, message string) error {
		_, err := old.w.ExecContext(t.Context(), "INSERT INTO event_log (source, severity, message, metadata, created_at) VALUES (?, 'error', ?, '{}', 1)", source, message)
		return err
	}
	if err := insert("logscan", "kept"); err != nil {
		t.Fatal(err)
	}
	future := event.Event{Source: "future", Severity: event.Critical, Message: "m"}
	if err := insert("future", "m"); err == nil {
		t.Error("the old schema has no CHECK")
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	s := must[*Store](t)(Open(path, nil))
	defer s.Close()
	emit(t, s, nil, future)
	if events := must[[]event.Event](t)(s.Events(t.Context(), EventFilter{Ascending: true})); len(events) != 2 || events[0].Message != "kept" || events[1].Source != "future" {
		t.Errorf("%+v", events)
	}
	if err := check(t.Context(), s.w); err != nil {
		t.Error(err)
	}
}
