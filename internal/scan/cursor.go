package scan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/lines"
	"logscan/internal/rule"
	"logscan/internal/store"
)

// open opens f's journal at its cursor.
func (s *Scanner) open(f *follower) error {
	if f.j != nil {
		return nil
	}
	j, err := s.cfg.Journals.Acquire(f.id)
	if err != nil {
		return err
	}
	if !j.Container().Scan {
		j.Release()
		f.off.Store(true)
		f.wantsTick.Store(false)
		return nil
	}
	c := j.Container()
	where := scopeOf(&c)
	f.where.Store(&where)
	if !f.loaded {
		if err := s.load(f, j); err != nil {
			j.Release()
			return err
		}
	}
	if birth := j.State().Birth; f.at.Next < birth { // of another log, which was removed
		f.at = lines.Position{Next: birth}
		f.done.Store(birth)
		f.hold.Store(birth)
	}
	// Patient, since no rule sees what is passed over.
	cfg := lines.Config{Max: s.cfg.MaxLine, Gap: s.cfg.FlushAfter, Patient: true}
	f.j, f.src, f.held = j, lines.New(j, f.at, cfg), -1
	f.records.start = startOf(&c)
	return nil
}

// load reads f's cursor: where reading goes on, and with what state.
func (s *Scanner) load(f *follower, j *journal.Journal) error {
	c, ok, err := s.cfg.Store.Cursor(context.Background(), f.id)
	if err != nil {
		return err
	}
	var at lines.Position
	if ok {
		if err := at.UnmarshalBinary(c.Position); err != nil {
			s.log.Error("cursor not readable; scanning from the beginning", "container", f.id, "err", err)
		} else if state, err := f.records.load(c.State); err != nil {
			s.log.Error("records not readable; lines of those that go on are lost", "container", f.id, "err", err)
			_ = f.rules.UnmarshalBinary(state)
		} else if err := f.rules.UnmarshalBinary(state); err != nil {
			s.log.Error("engine state not readable; cooldowns begin anew", "container", f.id, "err", err)
		} else {
			adoptStreaks(&f.rules, c.Position)
		}
	}
	if awaited := s.awaited.Load(); awaited != nil && len(*awaited) > 0 {
		begins, err := s.cfg.Store.Begins(context.Background(), f.id)
		if err != nil {
			return err
		}
		f.begins.Store(&begins)
	}
	if _, end := j.Bounds(); at.Next > end {
		// The database survived a power cut that the log's end did not.
		s.log.Warn("log ends before its cursor; going on at its end", "container", f.id, "cursor", at.Next, "end", end)
		at = lines.Position{Next: end}
	}
	f.at, f.loaded, f.snapshot = at, true, nil
	f.read = s.now() // what may go on has its time
	f.revision.Store(c.Revision)
	f.done.Store(f.from(at.Next))
	f.hold.Store(f.from(at.Start()))
	return nil
}

// adoptStreaks takes over the streaks of a position in version 1, where they were
// kept: {"runs": {"<rule>": {"n": <hits>, "at": <time of the last>}}}.
func adoptStreaks(state *rule.State, position []byte) {
	var v struct {
		Runs map[int64]struct{ N, At int64 }
	}
	if !bytes.HasPrefix(position, []byte("{")) || json.Unmarshal(position, &v) != nil {
		return
	}
	for id, r := range v.Runs {
		state.SetStreak(id, r.N, r.At)
	}
}

// submit hands events and the cursor behind them to the committer.
func (s *Scanner) submit(f *follower, events []event.Event) {
	at := f.src.Position()
	position, _ := at.MarshalBinary()   // never fails
	state, _ := f.rules.MarshalBinary() // likewise
	state = f.records.append(nil, state)
	f.owed, f.sent = false, f.now
	f.uncommitted.Add(1)
	g := given{events: events, suppressed: suppressed(f.rules.TakeSuppressed(), &f.meta), inputs: f.inputs, begins: f.noted, urgent: f.urgent, heft: f.heft}
	f.inputs, f.noted, f.urgent, f.heft = nil, nil, false, 0
	s.commits.add(f, progress{
		n: 1, hold: f.from(at.Start()), ended: f.runs.ended(),
		cursor: store.Cursor{ContainerID: f.id, Position: position, State: state},
	}, g)
}

func (s *Scanner) closeJournal(f *follower) {
	if f.j != nil {
		f.at = f.src.Position()
		f.src.Close()
		f.j.Release()
		f.j, f.src = nil, nil
	}
}

// refuse deals with a journal or cursor that can't be opened: later, or never.
func (s *Scanner) refuse(f *follower, err error) outcome {
	f.wantsTick.Store(true)
	f.stuck.Store(true)
	if !errors.Is(err, journal.ErrNotFound) {
		if !f.failing {
			s.log.Error("scanning waits", "container", f.id, "err", err)
		}
		f.failing = true
		return caughtUp
	}
	if f.uncommitted.Load() > 0 {
		return caughtUp // its commit would bring the cursor back
	}
	if err := s.cfg.Store.DeleteCursor(context.Background(), f.id); err != nil {
		s.log.Warn("cursor of a removed container", "container", f.id, "err", err)
		return caughtUp
	}
	s.commits.gone(f.id)
	f.reset()
	return gone
}
