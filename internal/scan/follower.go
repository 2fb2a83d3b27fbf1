package scan

import (
	"io"
	"sync/atomic"
	"time"

	"logscan/internal/correlate"
	"logscan/internal/echo"
	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/lines"
	"logscan/internal/rule"
)

const (
	// A turn ends early after this long or with this many events, so that
	// other containers get theirs.
	turnTime   = 20 * time.Millisecond
	turnEvents = 512
	// lookFrames and lookBytes are how much is done between two looks at the
	// clock: so little that a turn ends on time however dear its lines are.
	lookFrames = 64
	lookBytes  = 4 << 10
	// lingerFor is how long a journal stays open behind its last line.
	lingerFor = 2 * time.Second
)

// follower scans one container's journal.
type follower struct {
	id        string
	state     atomic.Int32 // who has it; see queue.go
	off       atomic.Bool  // not to be scanned
	heavy     atomic.Bool  // its last turn took far too long
	waitsFrom atomic.Int64 // the time of the first line that was held back, or adds up with others, and isn't submitted, in nanoseconds; 0 for none
	wantsTick atomic.Bool  // a turn at the next tick, whatever comes
	done      atomic.Int64 // up to where its lines are evaluated, for Lag
	hold      atomic.Int64 // where a restart would begin to read, as committed
	upTo      atomic.Int64 // the time of the last line that was evaluated, for Watermark

	ended       atomic.Int64 // the number of the latest run whose end is stored, or of which nothing is to be stored
	unknown     atomic.Bool  // whether the container runs that ran: time doesn't pass for it
	uncommitted atomic.Int32 // cursors that were submitted
	revision    atomic.Int64 // of the stored cursor; the committer counts it on
	echoes      atomic.Int64 // lines that were hidden from rules

	// The rest belongs to the worker that has it.
	echo     func([]byte, int64) echo.Rules
	ready    func() bool
	loaded   bool           // at and rules
	failing  bool           // its journal or cursor can't be read, and that is logged
	at       lines.Position // while src is nil
	rules    rule.State
	j        *journal.Journal // nil while closed
	src      *lines.Source    // of j's lines
	meta     journal.Container
	held     int64 // what j was told to hold
	snapshot *rule.Snapshot
	set      *rule.Set
	matching rule.Matching // of set, in a turn
	now      time.Time     // as the turn began
	read     time.Time     // when there last was something to read
	owed     bool          // something has changed since a cursor was last submitted
	sent     time.Time     // when that was

	hits     []rule.Hit // scratch
	events   []event.Event
	inputs   []input // for rules that add matches up
	urgent   bool    // some may make a hit at once
	unsure   bool    // it isn't known yet whether the container runs
	runs     runs    // for rules of kind run
	run      int64   // the start that was submitted, in nanoseconds; stopped that there is none; 0 for neither
	unseen   int     // bytes of frames and lines since the clock was looked at
	lines    int64   // evaluated in this turn
	last     int64   // the time of the last one
	overflow int64
	hidden   int64
}

// outcome of a turn.
type outcome int

const (
	caughtUp outcome = iota
	more
	gone // there is no such container any more
)

func (s *Scanner) newFollower(id string) *follower {
	return &follower{id: id, echo: s.cfg.Echo, ready: s.cfg.Ready}
}

// reset makes f what it is before its cursor is loaded.
func (f *follower) reset() {
	f.loaded, f.at, f.rules, f.owed, f.run, f.runs = false, lines.Position{}, rule.State{}, false, 0, runs{}
	f.done.Store(0)
	f.hold.Store(0)
	f.waitsFrom.Store(0)
	f.revision.Store(0)
}

// turn evaluates the lines of one block of f's journal.
func (s *Scanner) turn(f *follower) outcome {
	if s.snapshot.Load() == nil {
		return caughtUp // SetSnapshot calls again
	}
	if err := s.open(f); err != nil {
		return s.refuse(f, err)
	}
	f.failing = false
	if f.off.Load() {
		return caughtUp
	}
	f.meta = f.j.Container()
	f.now = s.now()
	switch err := f.src.Fill(); {
	case err == nil:
		f.read = f.now
	case err != io.EOF:
		return s.refuse(f, err)
	case f.src.Unfinished() && f.now.Sub(f.read) >= s.cfg.FlushAfter:
		f.src.End()
	}
	// After the block: what was written behind SetSnapshot's return is
	// evaluated with what it set.
	if snapshot := s.snapshot.Load(); f.snapshot != snapshot {
		f.snapshot, f.set = snapshot, snapshot.ForContainer(scopeOf(&f.meta))
	}
	f.rules.Retain(f.set)
	f.starts()
	f.lookAtRuns()
	s.evaluate(f)
	return s.endTurn(f)
}

// evaluate evaluates the lines that there are until the turn is over.
func (s *Scanner) evaluate(f *follower) {
	f.matching = f.set.Begin()
	defer func() {
		f.addUp()
		f.matching.End()
	}()
	f.unseen = 0
	for n := 1; ; n++ {
		from := f.src.Offset()
		line, ok := f.src.Step()
		if !ok {
			return
		}
		f.owed = true
		f.unseen += int(f.src.Offset() - from)
		if line != nil {
			f.line(line)
		}
		if len(f.events)+f.matching.Matches()/4 >= turnEvents || s.stopping.Load() || s.late(f, n) {
			return
		}
	}
}

// late reports whether f's turn, of n frames so far, has taken its time. It
// looks at the clock only now and then.
func (s *Scanner) late(f *follower, n int) bool {
	if n%lookFrames != 0 && f.unseen < lookBytes {
		return false
	}
	f.unseen = 0
	return s.now().Sub(f.now) > turnTime
}

// line evaluates one line.
func (f *follower) line(l *lines.Line) {
	f.lines++
	f.last = l.TimeNano
	f.unseen += len(l.Text)
	if l.Cut {
		f.overflow++
	}
	if l.From >= f.runs.next {
		f.tellRuns(l.From, true, false)
	}
	f.runs.lines++
	line := rule.Line{Stream: l.Stream, TimeNano: l.TimeNano, Text: l.Text}
	if !f.matching.Match(&f.rules, line) {
		return
	}
	if hides := f.echo(l.Text, l.TimeNano); hides != 0 && f.matching.Except(hides.Has) > 0 {
		f.echoes.Add(1)
		f.hidden++
	}
	f.hits = f.matching.Admit(&f.rules, line, f.hits[:0])
	for i := range f.hits {
		f.events = append(f.events, hitEvent(&f.hits[i], &f.meta))
	}
}

// stopped is a follower's run where its container doesn't run.
const stopped = -1

// starts notes that the container has been started.
func (f *follower) starts() {
	if at := f.meta.Started.UnixNano(); f.snapshot.Waits() && f.run != at && f.j.State().Attached > 0 {
		f.run, f.owed = at, true
		f.inputs = append(f.inputs, input{container: f.container(), started: at})
	}
}

// stops notes, behind its last line, that the container runs no more.
func (f *follower) stops() {
	if f.unsure = false; f.run == stopped || !f.snapshot.Waits() || f.j.State().Attached > 0 {
		return
	}
	if !f.ready() {
		f.unsure = true
		return
	}
	if _, end := f.j.Bounds(); f.src.Offset() < end || f.src.Unfinished() {
		return
	}
	f.run, f.owed = stopped, true
	f.inputs = append(f.inputs, input{container: f.container(), stopped: f.now.UnixNano()})
}

// matched notes matches of rules that add them up.
func (f *follower) matched(matches []rule.Match) {
	if len(matches) == 0 {
		return
	}
	c := f.container()
	for i := range matches {
		m := &matches[i]
		f.inputs = append(f.inputs, input{container: c, match: m})
		f.urgent = f.urgent || m.Rule.Kind != rule.KindAbsent && m.Rule.Kind != rule.KindRun && m.Rule.Kind != rule.KindRatio
	}
}

// container is f's as package correlate sees it.
func (f *follower) container() *correlate.Container {
	return &correlate.Container{ID: f.id, Name: f.meta.Name, Workload: f.meta.Workload, Image: f.meta.Image, Labels: f.meta.Labels}
}

// firstWaiting is the time of the first line of which what it gave isn't submitted, in
// nanoseconds; 0 for none.
func (f *follower) firstWaiting() int64 {
	first := f.rules.SuppressedFrom()
	if at := firstMatch(f.inputs); at != 0 && (first == 0 || at < first) {
		first = at
	}
	return first
}

// endTurn hands on what the turn gave, and says what comes next.
func (s *Scanner) endTurn(f *follower) outcome {
	s.counters.lines.Add(f.lines)
	s.counters.overflow.Add(f.overflow)
	s.counters.echoes.Add(f.hidden)
	s.counters.malformed.Add(f.src.Malformed)
	s.counters.skipped.Add(f.src.Skipped)
	s.count(f.id, f.rules.TakeCounts())
	f.owed = f.owed || f.src.Skipped > 0
	f.lines, f.overflow, f.hidden, f.src.Malformed, f.src.Skipped = 0, 0, 0, 0, 0
	f.stops()
	f.endRuns()
	if f.owed && !f.src.Replaying() && (len(f.events) > 0 || f.urgent || f.now.Sub(f.sent) >= cursorEvery) {
		events := f.events
		f.events = nil
		s.submit(f, events)
	}
	done := f.src.Taken()
	f.waitsFrom.Store(f.firstWaiting())
	f.upTo.Store(f.last)
	f.done.Store(done) // behind submit: what is in no lag is stored, or waits to be
	if h := f.hold.Load(); h != f.held {
		f.j.SetHold(h)
		f.held = h
	}
	f.src.Release()
	if _, end := f.j.Bounds(); f.src.Offset() < end {
		return more
	}
	if !f.owed && !f.unsure && !f.src.Unfinished() && f.hold.Load() == done && f.held == done && f.now.Sub(f.read) >= lingerFor {
		s.closeJournal(f)
	}
	f.wantsTick.Store(f.j != nil)
	return caughtUp
}
