package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/shape"
	"logscan/internal/silence"
	"logscan/internal/store/storetest"
	"logscan/internal/trigger"
)

// story is a long time of hits, of people who deal with incidents, and of time that
// passes, all of which follows from its seed. Its steps are numbered from 1; one that
// was interrupted can be done again.
type story struct {
	*live
	seed uint64
	hits int // of a step, at most
	// commit stores a step's hits.
	commit func(ctx context.Context, b Batch) error
}

func newStory(l *live, seed uint64, hits int) *story {
	s := &story{live: l, seed: seed, hits: hits}
	s.settings = incident.Settings{ResolveAfter: 10 * time.Minute, Repeat: 20 * time.Minute, TellResolved: true}
	s.commit = func(ctx context.Context, b Batch) error {
		_, err := s.Commit(ctx, b, s.router.Match)
		return err
	}
	return s
}

// begin has triggers of all sorts, and silences.
func (s *story) begin(t *testing.T) {
	t.Helper()
	s.t = t
	must[sql.Result](t)(s.w.Exec("UPDATE installation SET id = 'story'"))
	for _, c := range []struct {
		name string
		says func(*trigger.Trigger)
	}{
		{"usual", nil},
		{"each", func(t *trigger.Trigger) { t.GroupBy, t.GroupIntervalSeconds = "incident", 0 }},
		{"waiting", func(t *trigger.Trigger) { t.GroupBy, t.GroupWaitSeconds = "none", 60 }},
		{"few", func(t *trigger.Trigger) { t.AtMost = "3/h" }},
		{"hours", func(t *trigger.Trigger) { t.Active = "Sun 12:00-12:30,13:30-23:00" }},
		{"single", func(t *trigger.Trigger) { t.ActionURL = "alertmanager+http://10.0.0.1:9093" }},
		{"pager", func(t *trigger.Trigger) {
			t.ActionURL, t.AtMost = "pagerduty://0123456789abcdef0123456789abcdef@events.pagerduty.com", "40/h"
		}},
		{"curious", func(t *trigger.Trigger) { t.Notices = []string{"opened", "acknowledged", "system"} }},
		{"chat", func(t *trigger.Trigger) {
			t.ActionURL, t.GroupBy, t.GroupIntervalSeconds = "slack://slack.com/C0123456789", "incident", 0
		}},
		{"critical", func(t *trigger.Trigger) { t.MinSeverity, t.GroupIntervalSeconds = event.Critical, 0 }},
		{"second", func(t *trigger.Trigger) { t.UnacknowledgedForSeconds = 300 }},
		{"summary", func(t *trigger.Trigger) { t.Digest = "0 * * * *" }},
		{"each event", func(t *trigger.Trigger) { t.Mode = trigger.ModeEvents }},
	} {
		s.trigger(c.name, c.says)
	}
	for n := range 6 { // now and then, and of what doesn't happen to be resolved then
		v := silence.Silence{Matchers: []silence.Matcher{{Field: "rule", Op: silence.Is, Value: "rule-2"}}, Starts: t0.Add(time.Duration(n) * 50 * time.Minute)}
		v.Ends = v.Starts.Add(20 * time.Minute)
		must[silence.Silence](t)(s.CreateSilence(t.Context(), v))
	}
	s.reload()
}

var words = strings.Fields("disk memory socket upstream certificate quota thread queue replica index cache token")

// events are the hits of a step.
func (s *story) events(n int) []event.Event {
	rnd := rand.New(rand.NewPCG(s.seed, uint64(2*n)))
	events := make([]event.Event, 1+rnd.IntN(s.hits))
	for k := range events {
		// Times jump back a little: there are several containers.
		at := time.Duration(n)*storyStep - time.Duration(rnd.IntN(10))*time.Second
		e := seen(at, int64(1+rnd.IntN(3)), fmt.Sprintf("%s %d failed", words[min(rnd.IntN(len(words)), rnd.IntN(len(words)))], rnd.IntN(1000)))
		e.Severity = event.Severity(cmp.Or(map[int]event.Severity{0: event.Critical, 1: event.Error, 2: event.Error}[rnd.IntN(30)], event.Warn))
		e.Metadata["workload_id"] = fmt.Sprint("shop/", rnd.IntN(2))
		e.Metadata["container_name"] = fmt.Sprint("web-", rnd.IntN(3))
		events[k] = e
	}
	return events
}

// suppressed is what was held back in a step: also of shapes that there is no incident
// of.
func (s *story) suppressed(n int) []incident.Hit {
	rnd := rand.New(rand.NewPCG(s.seed+1, uint64(n)))
	out := make([]incident.Hit, rnd.IntN(4))
	for k := range out {
		at := t0.Add(time.Duration(n) * storyStep)
		text := fmt.Sprintf("%s %d failed", words[rnd.IntN(len(words))], rnd.IntN(1000))
		rule := int64(1 + rnd.IntN(3))
		out[k] = incident.Hit{
			Key: incident.Key{RuleID: rule, Workload: fmt.Sprint("shop/", rnd.IntN(2)), Shape: shape.Of([]byte(text)).String()},
			At:  at, Rule: fmt.Sprint("rule-", rule), Severity: event.Warn, Container: fmt.Sprint("web-", rnd.IntN(3)), Text: text,
			Others: rnd.IntN(3) != 0, Suppressed: int64(1 + rnd.IntN(40)), SuppressedSince: at.Add(-storyStep),
		}
	}
	return out
}

const storyStep = 30 * time.Second

// step does what happens in one.
func (s *story) step(ctx context.Context, n int) error {
	rnd := rand.New(rand.NewPCG(s.seed, uint64(2*n+1)))
	s.at = t0.Add(time.Duration(n) * storyStep)
	if rnd.IntN(3) == 0 {
		if err := s.Pass(ctx, s.at.Add(-10*time.Second), s.at); err != nil {
			return err
		}
	}
	if rnd.IntN(5) == 0 {
		var id int64
		err := s.r.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM incidents WHERE rule_id = ? AND data ->> '$.first_text' LIKE ?",
			1+rnd.IntN(3), words[rnd.IntN(len(words)/2)]+"%").Scan(&id)
		if err != nil {
			return err
		}
		_, err = s.ChangeIncidentOnce(ctx, id, fmt.Sprint(n), s.at.Add(time.Hour), func(i *incident.Incident) (none incident.Notice, _ error) {
			switch rnd.IntN(4) {
			case 0:
				return i.Acknowledge(s.at, "me", "known")
			case 1:
				return none, i.SnoozeUntil(incident.Snooze{Until: s.at.Add(5 * time.Minute), Hits: 5}, s.at, "me", "")
			case 2:
				return none, i.Reopen(s.at)
			}
			return i.Resolve(s.at, "me", "done")
		})
		if err != nil && !errors.Is(err, incident.ErrResolved) && !errors.Is(err, ErrUsed) && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return s.commit(ctx, Batch{Events: s.events(n), Suppressed: s.suppressed(n), Cursors: []Cursor{{ContainerID: "c", Position: fmt.Append(nil, n)}}})
}

// remembered is all that is known of incidents of rules, without ids: what logscan
// says about itself has some of these too.
func (s *story) remembered(t *testing.T) []string {
	t.Helper()
	return s.dump(t, `SELECT i.rule_id || i.workload || i.shape || i.first_at AS of, 'incident', i.state, i.severity, i.last_at, i.ended_at, i.due_at, json_remove(i.data, '$.before.id') FROM incidents i WHERE rule_id <> 0
		UNION ALL SELECT i.rule_id || i.workload || i.shape || i.first_at, n.kind, n.reason, n.severity, n.matches, n.at, n.created_at, n.silenced_by FROM notices n JOIN incidents i ON i.id = n.incident_id WHERE rule_id <> 0
		ORDER BY 1, 2, 7, 3`)
}

// dump is what queries find, a line for each row.
func (s *story) dump(t *testing.T, queries ...string) (out []string) {
	t.Helper()
	for _, q := range queries {
		rows := must[*sql.Rows](t)(s.r.Query(q))
		values := make([]any, len(must[[]string](t)(rows.Columns())))
		for k := range values {
			values[k] = new(any)
		}
		lines := must[[]string](t)(collect(rows, nil, func(r row) (string, error) {
			err := r.Scan(values...)
			var line strings.Builder
			for _, v := range values {
				fmt.Fprintf(&line, "%v\t", *v.(*any))
			}
			return line.String(), err
		}))
		out = append(out, lines...)
	}
	return out
}

// However hits are parted into commits, what becomes of them, and what is told of it,
// is the same.
func TestCommitsOfAnySize(t *testing.T) {
	for seed := range uint64(4) {
		var first []string
		for _, size := range []func(left int) int{
			func(left int) int { return left },
			func(int) int { return 1 },
			func(left int) int { return 1 + int(seed+uint64(left))%7 },
		} {
			s := newStory(newLive(t), seed, 20)
			s.commit = func(ctx context.Context, b Batch) error {
				for events, held := b.Events, b.Suppressed; len(events)+len(held) > 0; {
					n := size(len(events) + len(held))
					k := min(n, len(events))
					m := min(n-k, len(held))
					b.Events, b.Suppressed = events[:k], held[:m]
					if _, err := s.Commit(ctx, b, s.router.Match); err != nil {
						return err
					}
					events, held = events[k:], held[m:]
				}
				return nil
			}
			s.begin(t)
			must[sql.Result](t)(s.w.Exec("PRAGMA synchronous = OFF"))
			for n := 1; n <= 120; n++ {
				if err := s.step(t.Context(), n); err != nil {
					t.Fatal(err)
				}
			}
			storetest.Check(t, s.r)
			got := s.dump(t, "SELECT * FROM incidents ORDER BY id", "SELECT * FROM notices ORDER BY id", "SELECT * FROM held ORDER BY seq", "SELECT * FROM groups ORDER BY trigger_id, group_key",
				"SELECT seq, event_id, trigger_id, created_at, json_remove(nullif(message, ''), '$.id'), incident_id, about_dead FROM deliveries ORDER BY trigger_id, seq")
			if first == nil {
				first = got
			}
			same(t, got, first)
		}
		t.Logf("seed %d: %d rows", seed, len(first))
	}
}

// goOn goes on with a story from where its cursor is, and has the outbox work.
func goOn(path string) error {
	st, err := Open(path, nil)
	if err != nil {
		return err
	}
	ctx, l := context.Background(), liven(st)
	if err := l.load(ctx); err != nil {
		return err
	}
	s := newStory(l, storySeed, 10)
	n, err := s.reached(ctx)
	for err == nil {
		n++
		if err = s.step(ctx, n); err != nil {
			return err
		}
		fmt.Println(n)
		err = s.work(ctx)
	}
	return err
}

const storySeed = 12

// reached is up to which step a story has come.
func (s *story) reached(ctx context.Context) (n int, err error) {
	c, found, err := s.Cursor(ctx, "c")
	if err == nil && found {
		n, err = strconv.Atoi(string(c.Position))
	}
	return n, err
}

// work does what the outbox does, and tells what that and silences gave.
func (s *story) work(ctx context.Context) error {
	triggers, err := s.Resume(ctx, s.at)
	if err != nil {
		return err
	}
	for _, id := range triggers {
		job, err := s.Next(ctx, id, trigger.Delivery{})
		if err != nil {
			return err
		}
		job.Delivery.State, job.Delivery.Ref = trigger.Delivered, "ref"
		if rand.IntN(20) == 0 {
			job.Delivery.State, job.Delivery.LastError = trigger.Dead, "test"
		}
		if err := s.Record(ctx, []trigger.Delivery{job.Delivery}); err != nil {
			return err
		}
	}
	if _, err := s.ReportDead(ctx, s.router.Match); err != nil {
		return err
	}
	return s.TellSilences(ctx, func(v silence.Silence) bool { return v.Active(s.at) }, s.router.Match)
}

// Killed at any instant, again and again, hits are folded once and people are told
// once: all is as if nobody had been killed.
func TestKillIncidents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logscan.db")
	l := liven(must[*Store](t)(Open(path, nil)))
	newStory(l, storySeed, 10).begin(t)
	l.Close()
	n := 0
	for round := range 25 {
		acked := runAndKill(t, storyEnv, path, n, n+4+round%5, time.Duration(rand.IntN(20_000))*time.Microsecond)
		killed := newStory(liven(must[*Store](t)(Open(path, nil))), storySeed, 10)
		var err error
		if n, err = killed.reached(t.Context()); err != nil || n < acked {
			t.Errorf("round %d: step %d was acknowledged, %d is there: %v", round, acked, n, err)
		}
		var want []string
		matches := int64(0)
		for k := 1; k <= n; k++ {
			for _, e := range killed.events(k) {
				want = append(want, e.Message)
				matches++
			}
			for _, h := range killed.suppressed(k) {
				matches += h.Suppressed
			}
		}
		if got := killed.dump(t, "SELECT sum(data ->> '$.matches') FROM incidents WHERE rule_id <> 0"); len(got) != 1 || got[0] != fmt.Sprintf("%d\t", matches) {
			t.Errorf("round %d: incidents count %s matches, not %d", round, got, matches)
		}
		got := killed.dump(t, "SELECT message FROM event_log WHERE source <> 'system' ORDER BY id")
		if !slices.EqualFunc(got, want, func(a, b string) bool { return a == b+"\t" }) {
			t.Fatalf("round %d: %d hits, not the %d up to step %d", round, len(got), len(want), n)
		}
		storetest.Check(t, killed.r)
		if err := killed.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	smooth := newStory(newLive(t), storySeed, 10)
	smooth.begin(t)
	for k := 1; k <= n; k++ {
		if err := smooth.step(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	killed := newStory(liven(must[*Store](t)(Open(path, nil))), storySeed, 10)
	defer killed.Close()
	killed.t = t
	// The step after the last one may have been begun.
	if err := killed.step(t.Context(), n+1); err != nil {
		t.Fatal(err)
	}
	if err := smooth.step(t.Context(), n+1); err != nil {
		t.Fatal(err)
	}
	same(t, killed.remembered(t), smooth.remembered(t))
	t.Logf("%d steps", n)
}

// same fails for the first difference.
func same(t *testing.T, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	k := 0
	for k < min(len(got), len(want))-1 && got[k] == want[k] {
		k++
	}
	t.Fatalf("%d rows, not %d:\n%s\n%s", len(got), len(want), got[k], want[k])
}

// What is wrong with incidents, and with what is told of them, is found.
func TestChecks(t *testing.T) {
	s := newStory(newLive(t), 1, 10)
	s.begin(t)
	for n := 1; n <= 60; n++ {
		if err := s.step(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	storetest.Check(t, s.r)
	for _, damage := range []string{
		"DELETE FROM event_log WHERE id = 5",
		"INSERT INTO event_log (source, severity, message, metadata, created_at, incident_id) SELECT source, severity, message, metadata, created_at, incident_id FROM event_log WHERE id = 5",
		"UPDATE event_log SET incident_id = NULL WHERE id = 5",
		"UPDATE event_log SET incident_id = incident_id % 2 + 1 WHERE id = 5",
		"DELETE FROM notices WHERE id = 3",
		"INSERT INTO notices SELECT NULL, incident_id, kind, reason, severity, matches, at, created_at, silenced_by, shadow FROM notices WHERE id = 3",
		"UPDATE notices SET incident_id = 1 WHERE id = 3",
		"INSERT INTO held SELECT NULL, trigger_id, group_key, notice_id, why, due_at, created_at FROM held LIMIT 1",
		"UPDATE incidents SET data = json_set(data, '$.hits', 1000) WHERE id = 1",
		"UPDATE deliveries SET message = json_set(message, '$.id', 'x') WHERE seq = (SELECT max(seq) FROM deliveries WHERE message <> '')",
		"INSERT INTO deliveries (id, trigger_id, state, next_at, since, created_at, message, incident_id) SELECT 'x', trigger_id, state, next_at, since, created_at, json_set(message, '$.id', 'x'), incident_id FROM deliveries WHERE message <> '' AND incident_id = 1 LIMIT 1",
		"DELETE FROM deliveries WHERE trigger_id = 2 AND incident_id = 1",
		"DELETE FROM held WHERE trigger_id = 4",
		"UPDATE incidents SET state = 'resolved', due_at = 0 WHERE id = (SELECT max(id) FROM incidents)",
	} {
		if _, err := s.tx(t.Context(), func(tx *sql.Tx) ([]event.Event, error) {
			res, err := tx.Exec(damage)
			if err := found(res, err); err != nil {
				return nil, err
			}
			r := &recorder{TB: t}
			storetest.CheckTx(r, tx)
			if r.failures == 0 {
				t.Errorf("not found: %s", damage)
			}
			return nil, context.Canceled // takes it back
		}); err != context.Canceled {
			t.Errorf("%s: %v", damage, err)
		}
	}
	storetest.Check(t, s.r)
}

// recorder counts what would fail a test.
type recorder struct {
	testing.TB
	failures int
}

func (r *recorder) Errorf(string, ...any) { r.failures++ }
func (r *recorder) Failed() bool          { return r.failures > 0 }
