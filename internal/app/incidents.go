package app

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"logscan/internal/action"
	"logscan/internal/channel"
	"logscan/internal/incident"
	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/silence"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// incidents is what the store asks about incidents: the live rules, triggers and
// silences.
type incidents struct {
	router   *trigger.Router
	settings atomic.Pointer[map[int64]incident.Settings]
	labelled sync.Map // incident.Settings of rules that labels declare, by id: what was there last
	silences atomic.Pointer[silence.Set]
}

// Settings implements store.Incidents.
func (in *incidents) Settings(ruleID int64) incident.Settings {
	if s, ok := in.labelled.Load(ruleID); ok {
		return s.(incident.Settings)
	}
	if all := in.settings.Load(); all != nil {
		if s, ok := (*all)[ruleID]; ok {
			return s
		}
	}
	return incident.Defaults
}

// Policies implements store.Incidents.
func (in *incidents) Policies() []*trigger.Policy { return in.router.Policies() }

// Silenced implements store.Incidents.
func (in *incidents) Silenced(i *incident.Incident, at time.Time) int64 {
	if set := in.silences.Load(); set != nil {
		return set.By(i, at)
	}
	return 0
}

// lastLines is when each workload last wrote a line, of those whose logs are kept and
// have any.
func lastLines(journals *journal.Dir) map[string]time.Time {
	wrote := map[string]time.Time{}
	for _, j := range journals.List() {
		if j.Workload != "" && j.LastLine.After(wrote[j.Workload]) {
			wrote[j.Workload] = j.LastLine
		}
	}
	return wrote
}

// links returns what makes the links of messages; nil where people can't reach them.
func links(base string, key []byte) func(int64, time.Time) []channel.Action {
	if base == "" {
		return nil
	}
	return func(id int64, now time.Time) (out []channel.Action) {
		for _, v := range []action.Verb{action.Acknowledge, action.Snooze} {
			token := action.Token(key, action.Action{Incident: id, Verb: v, Until: now.Add(action.Good)})
			out = append(out, channel.Action{Label: v.Label(), URL: base + action.Path + token})
		}
		return out
	}
}

// presses returns what makes buttons of which services tell that they were pressed.
func presses(key []byte) func(int64, time.Time) []channel.Press {
	return func(id int64, now time.Time) (out []channel.Press) {
		for _, v := range []action.Verb{action.Acknowledge, action.Snooze} {
			out = append(out, channel.Press{Label: v.Label(), Data: action.Token(key, action.Action{Incident: id, Verb: v, Until: now.Add(action.Good)})})
		}
		return out
	}
}

// load makes rules and silences the live ones.
func (in *incidents) load(rules []rule.Rule, silences []silence.Silence) {
	settings := make(map[int64]incident.Settings, len(rules))
	for _, r := range rules {
		settings[r.ID] = r.Incidents()
	}
	in.settings.Store(&settings)
	in.labelled.Clear()
	in.setSilences(silences)
}

// setLabelled makes rules that labels declare live besides.
func (in *incidents) setLabelled(rules []rule.Rule) {
	for _, r := range rules {
		in.labelled.Store(r.ID, r.Incidents())
	}
}

func (in *incidents) setSilences(silences []silence.Silence) {
	in.silences.Store(silence.Compile(silences))
}

const (
	// passEvery is how often it is looked whether time alone changes an incident,
	// or ends what a trigger holds back.
	passEvery = time.Second
	// passLeast is how often it is looked in any case: triggers and rules may have
	// changed.
	passLeast = time.Minute
	// stood is how long a pause between two looks shows that this process, or the
	// machine, stood still: what containers wrote meanwhile isn't read yet, and for
	// so long nothing is taken for quiet.
	stood = 10 * time.Second
)

// passTime has time do to incidents what it does, until ctx ends.
func (s *scanning) passTime(ctx context.Context) {
	tick := time.NewTicker(passEvery)
	defer tick.Stop()
	looked := time.Now()
	quiet := looked.Add(stood)
	var passed time.Time
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		// The clock between them stands while the machine sleeps, the one on the wall doesn't.
		s.scanner.Tick()
		if max(now.Sub(looked), now.Round(0).Sub(looked.Round(0))) >= stood {
			quiet = now.Add(stood)
		}
		looked = now
		if !now.Before(quiet) {
			s.scanner.Pass()
		}
		if due := s.store.Due(); (due.IsZero() || due.After(now)) && now.Sub(passed) < passLeast {
			continue
		}
		passed = now
		var watermark time.Time
		if !now.Before(quiet) {
			watermark = s.scanner.Watermark()
		}
		err := s.store.Pass(ctx, watermark, now)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			s.log.Error("incidents not looked after; trying again", "err", err)
		}
		failing = err != nil
	}
}

// tellSilences has an event tell of what silences held back that have ended.
func (s *scanning) tellSilences(ctx context.Context, now time.Time) error {
	return s.store.TellSilences(ctx, func(v silence.Silence) bool { return v.Active(now) }, s.router.Match)
}

var _ store.Incidents = (*incidents)(nil)
