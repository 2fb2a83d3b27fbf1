package trigger_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"logscan/internal/channel/all"
	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// folds are the incidents of a bench.
type folds struct{ *trigger.Router }

func (folds) Settings(int64) incident.Settings             { return incident.Defaults }
func (folds) Silenced(*incident.Incident, time.Time) int64 { return 0 }

// rounds is an outbox that counts how often all that is open has been gone through.
type rounds struct {
	inner
	n atomic.Int64
}

func (r *rounds) LastTold(ctx context.Context, id, after int64) (trigger.Job, error) {
	job, err := r.inner.LastTold(ctx, id, after)
	if err == nil && job.Delivery.ID == "" {
		r.n.Add(1)
	}
	return job, err
}

// sent is a request of what is told again, taken apart.
type sent struct {
	request
	severity  string
	line      string
	ends, was time.Time // of the alert, and of the one that it was before
}

// again is a bench with a trigger for an Alertmanager.
type again struct {
	*bench
	*receiver
	rounds  rounds
	trigger trigger.Trigger
}

func newAgain(t *testing.T, answer func(http.ResponseWriter, request) int) *again {
	b := &again{bench: newBench(t)}
	b.store.UseClock(b.clock.Now)
	b.store.UseIncidents(folds{b.router})
	b.rounds.inner = b.store
	b.config.Store = &b.rounds
	b.receiver = b.receive(answer)
	tr := trigger.Fields.New()
	tr.Name, tr.ActionURL = "prom", "alertmanager+"+b.receiver.URL
	b.trigger = must[trigger.Trigger](t)(b.store.CreateTrigger(t.Context(), tr))
	b.reload()
	return b
}

func (b *again) hit(severity event.Severity, message string) {
	b.t.Helper()
	e := event.Event{Source: event.Logscan, Severity: severity, Message: message, Time: b.clock.Now(), Metadata: map[string]any{"rule_id": 1, "rule_name": "r", "workload_id": "shop"}}
	must[[]event.Event](b.t)(b.store.Commit(b.t.Context(), store.Batch{Events: []event.Event{e}}, b.router.Match))
}

func (b *again) resolve(id int64) {
	b.t.Helper()
	must[incident.Incident](b.t)(b.store.ChangeIncident(b.t.Context(), id, func(i *incident.Incident) (incident.Notice, error) {
		return i.Resolve(b.clock.Now(), "me", "")
	}))
}

// alerts are the requests so far.
func (b *again) alerts() (out []sent) {
	b.t.Helper()
	for _, q := range b.all() {
		var alerts []struct {
			Labels, Annotations map[string]string
			EndsAt              time.Time
		}
		if err := json.Unmarshal([]byte(q.body), &alerts); err != nil || len(alerts) == 0 || len(alerts) > 2 {
			b.t.Fatalf("%v: %s", err, q.body)
		}
		s := sent{request: q, severity: alerts[0].Labels["severity"], ends: alerts[0].EndsAt}
		for _, line := range []string{"a broke", "b broke"} {
			if strings.Contains(alerts[0].Annotations["description"], line) {
				s.line = line
			}
		}
		if len(alerts) == 2 {
			s.was = alerts[1].EndsAt
		}
		out = append(out, s)
	}
	return out
}

// taken are the alerts that the receiver took, in order.
func (b *again) taken() []sent {
	return slices.DeleteFunc(b.alerts(), func(s sent) bool { return !s.answered })
}

func (b *again) untilTaken(n int) []sent {
	b.t.Helper()
	b.until("it was told", func() bool { return len(b.taken()) >= n && b.settled() })
	return b.taken()
}

// untilRounds lets so many rounds through what is open end that begin from now on.
func (b *again) untilRounds(n int64) {
	b.t.Helper()
	upTo := b.rounds.n.Load() + n + 1 // one may be under way
	b.until("some rounds have passed", func() bool { return b.rounds.n.Load() >= upTo })
}

const every = 5 * time.Minute // for an Alertmanager

// What is open is told again while it is, as it was told last, and as of then; none of
// it is on record, and what fails is left to the next round.
func TestResend(t *testing.T) {
	var status atomic.Int64
	status.Store(200)
	b := newAgain(t, func(http.ResponseWriter, request) int { return int(status.Load()) })
	b.start()
	b.hit("error", "a broke")
	b.hit("error", "b broke")
	b.untilTaken(2)
	told := b.deliveries("")
	all := b.untilTaken(8)[2:]
	for k, s := range all[2:] {
		was := all[k] // of the same incident, told again too
		if s.line != was.line || s.severity != "error" || !s.was.IsZero() {
			t.Errorf("%d: %+v", k, s)
		}
		if wait := s.at.Sub(was.at); wait < every || wait > 2*every {
			t.Errorf("%d: told again after %v", k, wait)
		}
		if lasts := s.ends.Sub(s.at); lasts < 50*time.Minute || lasts > 70*time.Minute {
			t.Errorf("%d: lasts %v", k, lasts)
		}
	}
	status.Store(500)
	before := len(b.alerts())
	b.until("it is refused", func() bool { return len(b.alerts()) > before+3 })
	status.Store(200)
	before = len(b.taken())
	b.untilTaken(before + 2)
	b.stop()
	if now := b.deliveries(""); !slices.Equal(now, told) {
		t.Errorf("on record is %+v\nnot %+v", now, told)
	}
	if events := b.systemEvents(); len(events) > 0 {
		t.Errorf("%+v", events)
	}
	if s := b.worker.Stats(); s.Delivered != 2 || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
	// After a restart it is told at once.
	clear(b.clock.waiters) // those of the worker that was stopped
	b.clock.advance(2 * every)
	at := b.clock.Now()
	before = len(b.taken())
	b.start()
	for _, s := range b.untilTaken(before + 2)[before : before+2] { // the next round may have come meanwhile
		if wait := s.at.Sub(at); wait > time.Minute {
			t.Errorf("told %v after the start", wait)
		}
	}
}

// As long as a message about an incident waits, what was told before it is told no
// more; nor is anything, once its end is told.
func TestResendOvertakesNothing(t *testing.T) {
	var critical, hang atomic.Bool // refuse what is critical; hold up what comes
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	b := newAgain(t, func(_ http.ResponseWriter, q request) int {
		if hang.CompareAndSwap(true, false) {
			arrived <- struct{}{}
			<-release
		}
		if critical.Load() && strings.Contains(q.body, `"severity":"critical"`) {
			return 503
		}
		return 200
	})
	b.start()
	b.hit("error", "a broke")
	b.hit("warn", "b broke")
	b.untilTaken(4)
	critical.Store(true)
	b.hit("critical", "a broke")
	b.until("it is refused", func() bool { return b.deliveries("")[0].Attempts > 1 })
	before := len(b.alerts())
	b.untilRounds(3)
	for _, s := range b.alerts()[before:] {
		if s.line == "a broke" && s.severity != "critical" {
			t.Errorf("told again while something waits: %+v", s)
		}
	}
	critical.Store(false)
	b.until("all is told", b.settled)
	before = len(b.taken())
	for _, s := range b.untilTaken(before + 4)[before:] {
		if s.line == "a broke" && (s.severity != "critical" || !s.was.IsZero()) {
			t.Errorf("%+v", s)
		}
	}
	// One that ends while it is being told again is told to have ended after it.
	hang.Store(true)
	b.until("it is being told again", func() bool { return len(arrived) > 0 })
	<-arrived
	b.resolve(1)
	b.resolve(2)
	close(release)
	b.until("both ends are told", b.settled)
	ended := b.taken()
	for _, s := range ended[len(ended)-2:] {
		if s.ends.After(s.at) {
			t.Errorf("the last is no end: %+v", s)
		}
	}
	b.untilRounds(3)
	if late := b.taken()[len(ended):]; len(late) != 0 {
		t.Errorf("told after the end: %+v", late)
	}
}

// What fails at first is told before what came after it: a beginning that comes behind
// its end would never end.
func TestResentKindsKeepTheOrder(t *testing.T) {
	var well atomic.Bool
	b := newAgain(t, func(http.ResponseWriter, request) int {
		if well.Load() {
			return 200
		}
		return 503
	})
	b.start()
	b.hit("error", "a broke")
	b.until("it is refused again and again", func() bool { return b.deliveries("")[0].Attempts > 6 })
	b.resolve(1)
	well.Store(true)
	all := b.untilTaken(2)
	if !all[0].ends.After(all[0].at.Add(-time.Hour)) || all[1].ends.After(all[1].at) || len(all) != 2 || !all[0].ends.After(all[1].ends) {
		t.Errorf("%+v", all)
	}
	b.untilRounds(2)
	if n := len(b.taken()); n != 2 {
		t.Errorf("%d told after the end", n-2)
	}
}

// A trigger that is off tells nothing, nor does one that is for another service now,
// or for events.
func TestResendOfTriggersThatChange(t *testing.T) {
	b := newAgain(t, always(200))
	other := b.receive(always(200))
	b.start()
	b.hit("error", "a broke")
	b.untilTaken(1)
	for name, change := range map[string]func(*trigger.Trigger){
		"off":     func(t *trigger.Trigger) { t.Enabled = false },
		"webhook": func(t *trigger.Trigger) { t.ActionURL = other.URL },
		"events":  func(t *trigger.Trigger) { t.Mode, t.Severities = trigger.ModeEvents, []event.Severity{"error"} },
	} {
		tr := b.trigger
		change(&tr)
		b.update(tr)
		b.stop() // with what is under way
		before := len(b.alerts())
		b.start()
		b.clock.advance(3 * every)
		b.bench.trigger("witness "+name, other.URL)
		b.emit(name) // a warning, later than what is due at the start
		b.until("the witness has it", func() bool { return strings.Contains(other.got(), name) && b.settled() })
		if n := len(b.alerts()) - before; n != 0 {
			t.Errorf("%s: told %d times", name, n)
		}
		b.update(b.trigger)
		b.untilTaken(before + 1)
	}
}

// A clock that is set back keeps nothing from being told again.
func TestResendWhenTheClockIsSetBack(t *testing.T) {
	b := newAgain(t, always(200))
	b.start()
	b.hit("error", "a broke")
	b.untilTaken(2)
	b.clock.mu.Lock()
	b.clock.now = b.clock.now.Add(-24 * time.Hour)
	at := b.clock.now
	for ch, due := range b.clock.waiters { // they wait for a time to pass
		b.clock.waiters[ch] = due.Add(-24 * time.Hour)
	}
	b.clock.mu.Unlock()
	before := len(b.taken())
	all := b.untilTaken(before + 2)
	if took := all[before].at.Sub(at); took > every {
		t.Errorf("told again after %v", took)
	}
}

// What is told again is one incident's.
func TestResendIsOfSingleKinds(t *testing.T) {
	n := 0
	for _, k := range all.Kinds {
		if k.Resend > 0 {
			n++
		}
		if k.Resend > 0 && !k.Single {
			t.Error(k.Scheme)
		}
	}
	if n == 0 {
		t.Error("none is told again")
	}
}
