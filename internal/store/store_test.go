package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/fields"
	"logscan/internal/rule"
	"logscan/internal/trigger"
)

func openTest(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "logscan.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func hit(message string, metadata map[string]any) event.Event {
	return event.Event{Source: event.Logscan, Severity: "warn", Message: message, Metadata: metadata}
}

func to(ids ...int64) func(event.Event) []int64 { return func(event.Event) []int64 { return ids } }

func addTrigger(t *testing.T, s *Store, name string) int64 {
	t.Helper()
	return must[trigger.Trigger](t)(s.CreateTrigger(t.Context(), trigger.Trigger{Name: name, Mode: trigger.ModeEvents, Enabled: true, ActionURL: "http://h/"})).ID
}

func emit(t *testing.T, s *Store, route func(event.Event) []int64, events ...event.Event) []event.Event {
	t.Helper()
	return must[[]event.Event](t)(s.Commit(t.Context(), Batch{Events: events}, route))
}

func aRule(name string) rule.Rule {
	r := rule.New()
	r.Name, r.Description, r.Pattern, r.CooldownSeconds = name, "d", "x", 90
	return r
}

func TestRules(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	r := must[rule.Rule](t)(s.CreateRule(ctx, aRule("one")))
	if r.ID != 1 || r.CreatedAt.IsZero() || r.UpdatedAt != r.CreatedAt {
		t.Errorf("created %+v", r)
	}
	if got := must[rule.Rule](t)(s.Rule(ctx, r.ID)); !reflect.DeepEqual(got, r) {
		t.Errorf("read %+v, want %+v", got, r)
	}
	r.Pattern, r.State, r.CooldownSeconds = "y", rule.Off, 0
	up := must[rule.Rule](t)(s.UpdateRule(ctx, r))
	if up.Pattern != "y" || up.Enabled || up.CooldownSeconds != 0 || up.CreatedAt != r.CreatedAt || up.UpdatedAt.Before(r.UpdatedAt) {
		t.Errorf("updated %+v", up)
	}
	two := must[rule.Rule](t)(s.CreateRule(ctx, aRule("two")))
	if all := must[[]rule.Rule](t)(s.Rules(ctx)); len(all) != 2 || !reflect.DeepEqual(all[0], up) || !reflect.DeepEqual(all[1], two) {
		t.Errorf("all %+v", all)
	}
	if err := s.DeleteRule(ctx, two.ID); err != nil {
		t.Fatal(err)
	}
	if r := must[rule.Rule](t)(s.CreateRule(ctx, aRule("three"))); r.ID != 3 {
		t.Errorf("an id was used again: %d", r.ID)
	}
	_, err := s.Rule(ctx, 2)
	_, err2 := s.UpdateRule(ctx, rule.Rule{ID: 2})
	for _, err := range []error{err, err2, s.DeleteRule(ctx, 2)} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("a rule that is gone: %v", err)
		}
	}
}

func TestOverrides(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	add := func(workload string, overrides int64) (rule.Rule, error) {
		r := aRule("r")
		r.WorkloadID, r.OverridesID = workload, overrides
		return s.CreateRule(ctx, r)
	}
	global := must[rule.Rule](t)(add("", 0))
	other := must[rule.Rule](t)(add("", 0))
	own := must[rule.Rule](t)(add("web", 0))
	over := must[rule.Rule](t)(add("web", global.ID))
	over2 := must[rule.Rule](t)(add("db", global.ID))
	must[rule.Rule](t)(s.UpdateRule(ctx, over)) // in place: doesn't stand in its own way

	edit := func(r rule.Rule, workload string, overrides int64) error {
		r.WorkloadID, r.OverridesID = workload, overrides
		_, err := s.UpdateRule(ctx, r)
		return err
	}
	create := func(workload string, overrides int64) error {
		_, err := add(workload, overrides)
		return err
	}
	for name, tt := range map[string]struct {
		err   error
		field string
		says  string
	}{
		"of an override":          {create("web", over.ID), "overrides_id", "override itself"},
		"of a workload's rule":    {create("web", own.ID), "overrides_id", "workload's own"},
		"of none":                 {create("web", 99), "overrides_id", "no rule 99"},
		"negative":                {create("web", -1), "overrides_id", "no rule -1"},
		"global":                  {create("", global.ID), "workload_id", "required"},
		"twice":                   {create("web", global.ID), "overrides_id", "already"},
		"of itself":               {edit(own, "web", own.ID), "overrides_id", "itself"},
		"moved onto another":      {edit(over2, "web", global.ID), "overrides_id", "already"},
		"base becomes workload's": {edit(global, "web", 0), "workload_id", "overridden in 2 workloads"},
		"base becomes override":   {edit(global, "web", other.ID), "workload_id", "overridden in 2 workloads"},
	} {
		var fe *fields.Error
		if !errors.As(tt.err, &fe) || fe.Field != tt.field || !strings.Contains(fe.Reason, tt.says) {
			t.Errorf("%s: %v", name, tt.err)
		}
	}
	if n := len(must[[]rule.Rule](t)(s.Rules(ctx))); n != 5 {
		t.Fatalf("%d rules after refusals", n)
	}
	// A global rule takes its overrides along, and nothing else.
	if err := s.DeleteRule(ctx, global.ID); err != nil {
		t.Fatal(err)
	}
	var left []int64
	for _, r := range must[[]rule.Rule](t)(s.Rules(ctx)) {
		left = append(left, r.ID)
	}
	if !slices.Equal(left, []int64{other.ID, own.ID}) {
		t.Errorf("left: %v", left)
	}
}

func TestBounds(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	for range MaxTriggers {
		addTrigger(t, s, "t")
	}
	_, err := s.CreateTrigger(ctx, trigger.Trigger{})
	var full *FullError
	if !errors.As(err, &full) || full.What != "triggers" || full.Most != MaxTriggers {
		t.Errorf("one trigger too many: %v", err)
	}
	if _, err := s.w.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < ?)
		INSERT INTO rules (definition, workload_id, created_at, updated_at) SELECT '{"version":1,"name":"n","pattern":"x"}', '', 0, 0 FROM n`, MaxRules); err != nil {
		t.Fatal(err)
	}
	_, err = s.CreateRule(ctx, aRule("r"))
	if !errors.As(err, &full) || full.What != "rules" || full.Most != MaxRules {
		t.Errorf("one rule too many: %v", err)
	}
}

func TestTriggers(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	in := trigger.Trigger{Name: "ops", Mode: trigger.ModeEvents, Enabled: true, Severities: []event.Severity{"error"}, Sources: []event.Source{"logscan"}, MessageRegex: "x", ActionURL: "https://bob:hunter2@h/?token=t0k3n", ActionSecret: "s3cr3t"}
	tr := must[trigger.Trigger](t)(s.CreateTrigger(ctx, in))
	if got := must[trigger.Trigger](t)(s.Trigger(ctx, tr.ID)); !reflect.DeepEqual(got, tr) || got.ActionSecret != "s3cr3t" || got.ActionURL != in.ActionURL {
		t.Error("not read back as written")
	}
	tr.Enabled, tr.ActionSecret = false, ""
	if up := must[trigger.Trigger](t)(s.UpdateTrigger(ctx, tr)); up.Enabled || up.ActionSecret != "" || up.CreatedAt != tr.CreatedAt {
		t.Error("not updated")
	}
	if all := must[[]trigger.Trigger](t)(s.Triggers(ctx)); len(all) != 1 {
		t.Errorf("%d triggers", len(all))
	}
	if err := s.DeleteTrigger(ctx, tr.ID); err != nil {
		t.Fatal(err)
	}
	_, err := s.Trigger(ctx, tr.ID)
	_, err2 := s.UpdateTrigger(ctx, tr)
	for _, err := range []error{err, err2, s.DeleteTrigger(ctx, tr.ID)} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("a trigger that is gone: %v", err)
		}
	}
}

// However a trigger gets into a log line, an error or JSON, its secret and URL
// don't.
func TestTriggerHidesItsSecrets(t *testing.T) {
	tr := trigger.Trigger{Name: "ops", Mode: trigger.ModeEvents, ActionURL: "https://bob:hunter2@h/?token=t0k3n", ActionSecret: "s3cr3t"}
	var log strings.Builder
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("m", "trigger", tr, "pointer", &tr, "all", []trigger.Trigger{tr}, "wrapped", struct{ T trigger.Trigger }{tr})
	}
	js := must[[]byte](t)(json.Marshal([]any{tr, &tr}))
	out := log.String() + string(js) + fmt.Sprintf("%v %+v %#v %s %v %+v", tr, tr, tr, tr, &tr, []trigger.Trigger{tr})
	for _, secret := range []string{"s3cr3t", "hunter2", "t0k3n"} {
		if strings.Contains(out, secret) {
			t.Errorf("%s is in %s", secret, out)
		}
	}
}

// Events, cursors and deliveries of a batch are there together.
func TestCommit(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	a, b := addTrigger(t, s, "a"), addTrigger(t, s, "b")
	live, cancel := s.Subscribe(10)
	defer cancel()
	before := time.Now()
	out := must[[]event.Event](t)(s.Commit(ctx, Batch{
		Cursors: []Cursor{{ContainerID: "c1", Position: []byte("p1"), State: []byte{0, 1}}, {ContainerID: "c2"}},
		Events:  []event.Event{hit("one", map[string]any{"n": 1.0, "nested": map[string]any{"x": "ü<>"}}), hit("two \xff", nil)},
	}, func(e event.Event) []int64 {
		if e.ID == 0 || e.CreatedAt.IsZero() {
			t.Errorf("routed unfinished: %+v", e)
		}
		if e.Message == "one" {
			return []int64{a, b, 4711} // the last is gone already
		}
		return []int64{b}
	}))
	if len(out) != 2 || out[0].ID != 1 || out[1].ID != 2 || out[0].CreatedAt.Before(before.Truncate(0)) {
		t.Fatalf("%+v", out)
	}
	if out[1].Message != "two \uFFFD" {
		t.Errorf("message %q", out[1].Message)
	}
	for _, want := range out {
		if got := <-live; !reflect.DeepEqual(got, want) {
			t.Errorf("published %+v, want %+v", got, want)
		}
		got := must[event.Event](t)(s.Event(ctx, want.ID))
		if want.Metadata == nil {
			want.Metadata = map[string]any{}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("read %+v, want %+v", got, want)
		}
	}
	if c, ok, err := s.Cursor(ctx, "c1"); err != nil || !ok || string(c.Position) != "p1" || len(c.State) != 2 {
		t.Errorf("cursor %+v, %v, %v", c, ok, err)
	}
	if cs := must[[]Cursor](t)(s.Cursors(ctx)); len(cs) != 2 || cs[1].ContainerID != "c2" {
		t.Errorf("cursors %+v", cs)
	}
	ds := must[[]trigger.Delivery](t)(s.Deliveries(ctx, DeliveryFilter{}))
	if len(ds) != 3 || ds[0].EventID != 2 || ds[0].TriggerID != b || ds[2].TriggerID != a {
		t.Fatalf("deliveries %+v", ds)
	}
	for _, d := range ds {
		if !strings.HasPrefix(d.ID, "msg_") || d.State != trigger.Pending || d.NextAt.IsZero() || d.Attempts != 0 {
			t.Errorf("delivery %+v", d)
		}
	}
	// Overwritten, deleted.
	must[[]event.Event](t)(s.Commit(ctx, Batch{Cursors: []Cursor{{ContainerID: "c1", Position: []byte("p2")}}}, nil))
	if c, _, _ := s.Cursor(ctx, "c1"); string(c.Position) != "p2" || len(c.State) != 0 {
		t.Errorf("cursor %+v", c)
	}
	if err := s.DeleteCursor(ctx, "c1"); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Cursor(ctx, "c1"); ok || err != nil {
		t.Errorf("deleted cursor: %v, %v", ok, err)
	}
	// Nothing of a batch that can't be stored.
	_, err := s.Commit(ctx, Batch{Cursors: []Cursor{{ContainerID: "c9"}}, Events: []event.Event{hit("x", nil), hit("bad", map[string]any{"f": func() {}})}}, to(a))
	if err == nil {
		t.Fatal("unstorable metadata stored")
	}
	if _, ok, _ := s.Cursor(ctx, "c9"); ok || len(must[[]event.Event](t)(s.Events(ctx, EventFilter{}))) != 2 {
		t.Error("half a batch is stored")
	}
	select {
	case e := <-live:
		t.Errorf("published though not stored: %+v", e)
	default:
	}
}

func TestEventFilters(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	start := time.Unix(1_700_000_000, 0)
	for n := range 10 {
		e := hit(fmt.Sprint(n), map[string]any{"workload_id": fmt.Sprint("w", n%2), "container_id": fmt.Sprintf("%dabc", n), "container_name": "web", "rule_name": fmt.Sprint("r", n%3)})
		e.Severity = []event.Severity{"info", "warn", "error"}[n%3]
		e.CreatedAt = start.Add(time.Duration(n) * time.Minute)
		if n == 9 {
			e.Source, e.Metadata = event.System, nil
		}
		emit(t, s, nil, e)
	}
	for name, tt := range map[string]struct {
		f    EventFilter
		want string
	}{
		"all":        {EventFilter{}, "9876543210"},
		"ascending":  {EventFilter{Ascending: true, Limit: 3}, "012"},
		"severities": {EventFilter{Severities: []event.Severity{"info", "error"}}, "986532" + "0"},
		"source":     {EventFilter{Source: "system"}, "9"},
		"workload":   {EventFilter{Workload: "w1"}, "7531"},
		"container":  {EventFilter{Container: "web", Limit: 2}, "87"},
		"id":         {EventFilter{Container: "4ab"}, "4"},
		"no pattern": {EventFilter{Container: "%"}, ""},
		"rule":       {EventFilter{Rule: "r2"}, "852"},
		"since":      {EventFilter{Since: start.Add(7 * time.Minute)}, "987"},
		"until":      {EventFilter{Until: start.Add(2 * time.Minute)}, "10"},
		"after":      {EventFilter{After: 8, Ascending: true}, "89"},
		"before":     {EventFilter{Before: 4, Limit: 2}, "21"},
		"anded":      {EventFilter{Rule: "r2", Workload: "w0"}, "82"},
	} {
		var got string
		for _, e := range must[[]event.Event](t)(s.Events(ctx, tt.f)) {
			got += e.Message
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	if _, err := s.Event(ctx, 99); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestPrune(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	id := addTrigger(t, s, "t")
	now := time.Unix(1_700_000_000, 0)
	s.now = func() time.Time { return now }
	const n = 2*pruneStep + 500
	var events []event.Event
	for i := range n {
		e := hit("old", nil)
		e.CreatedAt = now.Add(time.Duration(i-n) * time.Second)
		events = append(events, e)
	}
	emit(t, s, func(e event.Event) []int64 {
		if e.ID <= 2 {
			return []int64{id}
		}
		return nil
	}, events...)
	ds := must[[]trigger.Delivery](t)(s.Deliveries(ctx, DeliveryFilter{})) // newest first
	done := ds[0]
	done.State = trigger.Delivered
	if err := s.Record(ctx, []trigger.Delivery{done}); err != nil {
		t.Fatal(err)
	}
	count := func() int { t.Helper(); return len(must[[]event.Event](t)(s.Events(ctx, EventFilter{}))) }
	if err := s.Prune(ctx, 0, time.Time{}); err != nil || count() != n {
		t.Errorf("no bounds: %d left, %v", count(), err)
	}
	if err := s.Prune(ctx, n-10, time.Time{}); err != nil || count() != n-10+1 { // one waits for its delivery
		t.Errorf("by count: %d left, %v", count(), err)
	}
	if err := s.Prune(ctx, 0, now.Add(-100*time.Second)); err != nil || count() != 100+1 {
		t.Errorf("by age: %d left, %v", count(), err)
	}
	ds = must[[]trigger.Delivery](t)(s.Deliveries(ctx, DeliveryFilter{}))
	if len(ds) != 1 || ds[0].EventID != 1 || ds[0].State != trigger.Pending {
		t.Errorf("deliveries %+v", ds)
	}
	if e := emit(t, s, nil, hit("new", nil)); e[0].ID != n+1 {
		t.Errorf("new id %d", e[0].ID)
	}
}

// A subscriber that doesn't read is dropped; the others, and the writer, don't
// notice.
func TestSubscribe(t *testing.T) {
	s := openTest(t)
	slow, cancelSlow := s.Subscribe(3)
	fast, cancelFast := s.Subscribe(100)
	for n := range 20 {
		emit(t, s, nil, hit(fmt.Sprint(n), nil))
	}
	for n := range 3 {
		if e, ok := <-slow; !ok || e.Message != fmt.Sprint(n) {
			t.Errorf("slow: %+v, %v", e, ok)
		}
	}
	if _, ok := <-slow; ok {
		t.Error("the slow one was not dropped")
	}
	for n := range 20 {
		if e := <-fast; e.Message != fmt.Sprint(n) {
			t.Errorf("fast: %+v", e)
		}
	}
	cancelSlow()
	cancelFast()
	cancelFast()
	if _, ok := <-fast; ok {
		t.Error("not ended")
	}
	emit(t, s, nil, hit("nobody there", nil))
	last, cancel := s.Subscribe(0)
	s.Close()
	if _, ok := <-last; ok {
		t.Error("not ended by Close")
	}
	cancel()
	if c, _ := s.Subscribe(1); c == nil {
		t.Error("no channel")
	} else if _, ok := <-c; ok {
		t.Error("subscribed to what is closed")
	}
	if _, err := s.Commit(t.Context(), Batch{Events: []event.Event{hit("late", nil)}}, nil); err == nil {
		t.Error("committed after Close")
	}
}

// Many at once: every event once, in the order of ids for each subscriber.
func TestConcurrency(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	id := addTrigger(t, s, "t")
	live, cancel := s.Subscribe(1000)
	defer cancel()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for n := range 20 {
				if _, err := s.Commit(ctx, Batch{Events: []event.Event{hit("x", nil)}, Cursors: []Cursor{{ContainerID: fmt.Sprint(w), Position: []byte{byte(n)}}}}, to(id)); err != nil {
					t.Error(err)
				}
				if _, err := s.Events(ctx, EventFilter{Limit: 5}); err != nil {
					t.Error(err)
				}
				if _, err := s.Next(ctx, id, trigger.Delivery{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for n := range 160 {
		if e := <-live; e.ID != int64(n+1) {
			t.Fatalf("event %d came at %d", e.ID, n)
		}
	}
	if n := must[map[trigger.State]int64](t)(s.DeliveryCounts(ctx)); n[trigger.Pending] != 160 {
		t.Errorf("%v", n)
	}
}

func TestFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd name?#%41.db")
	s := must[*Store](t)(Open(path, nil))
	defer s.Close()
	emit(t, s, nil, hit("x", nil))
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if st, err := os.Stat(path + suffix); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", suffix, st, err)
		}
	}
	for name, want := range map[string]string{"journal_mode": "wal", "foreign_keys": "1", "synchronous": "2"} {
		var got string
		if err := s.w.QueryRow("PRAGMA " + name).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, %v", name, got, err)
		}
	}
	if _, err := s.r.Exec("DELETE FROM rules"); err == nil {
		t.Error("a reader can write")
	}
}
