package scan

import (
	"io"
	"math"
	"sync/atomic"
	"time"

	"logscan/internal/correlate"
	"logscan/internal/echo"
	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/lines"
	"logscan/internal/rule"
	"logscan/internal/store"
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
	// heftOf is how many bytes of records count as an event.
	heftOf = 8 << 10
)

// follower scans one container's journal.
type follower struct {
	id        string
	state     atomic.Int32                   // who has it; see queue.go
	off       atomic.Bool                    // not to be scanned
	heavy     atomic.Bool                    // its last turn took far too long
	waitsFrom atomic.Int64                   // the time of the first line that was held back, or adds up with others, and isn't submitted, in nanoseconds; 0 for none
	wantsTick atomic.Bool                    // a turn at the next tick, whatever comes
	done      atomic.Int64                   // up to where its lines are evaluated, for Lag
	hold      atomic.Int64                   // where a restart would begin to read, as committed
	upTo      atomic.Int64                   // up to when its lines are evaluated while it isn't idle, in nanoseconds; 0 before its first turn
	stuck     atomic.Bool                    // its journal or cursor can't be read
	where     atomic.Pointer[rule.Container] // which rules are for it; nil until its journal was opened

	ended       atomic.Int64                    // the number of the latest run whose end is stored, or of which nothing is to be stored
	begins      atomic.Pointer[map[int64]int64] // from where on rules are evaluated that are awaited; not to be changed
	unknown     atomic.Bool                     // whether the container runs that ran: time doesn't pass for it
	uncommitted atomic.Int32                    // cursors that were submitted
	revision    atomic.Int64                    // of the stored cursor; the committer counts it on
	echoes      atomic.Int64                    // lines that were hidden from rules

	// The rest belongs to the worker that has it.
	scanner  *Scanner
	echo     func([]byte, int64) echo.Rules
	ready    func() bool
	loaded   bool           // at and rules
	failing  bool           // its journal or cursor can't be read, and that is logged
	at       lines.Position // while src is nil
	rules    rule.State
	records  records
	j        *journal.Journal // nil while closed
	src      *lines.Source    // of j's lines
	meta     journal.Container
	held     int64 // what j was told to hold
	snapshot *rule.Snapshot
	set      *rule.Set
	declared *time.Time    // the start of the container whose declarations are seen to; nil for none
	matching rule.Matching // of set, in a turn
	now      time.Time     // as the turn began
	read     time.Time     // when there last was something to read
	owed     bool          // something has changed since a cursor was last submitted
	sent     time.Time     // when that was

	hits     []rule.Hit // scratch
	look     func(rule.Line, int)
	alarm    *time.Timer // for records that may be over
	events   []event.Event
	inputs   []input       // for rules that add matches up
	noted    []store.Begin // where rules begin, that isn't submitted
	urgent   bool          // some may make a hit at once
	unsure   bool          // it isn't known yet whether the container runs
	runs     runs          // for rules of kind run
	heard    int64         // the latest run that ended whose last words are seen to
	run      int64         // the start that was submitted, in nanoseconds; stopped that there is none; 0 for neither
	unseen   int           // bytes of frames and lines since the clock was looked at
	heft     int           // bytes of the records of events and inputs
	lines    int64         // evaluated in this turn
	last     int64         // the time of the last one
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
	f := &follower{id: id, scanner: s, echo: s.cfg.Echo, ready: s.cfg.Ready}
	if s.listed.Load() { // it has written nothing before
		f.upTo.Store(s.now().UnixNano())
	}
	f.look = f.hide
	f.records.init(f.record)
	return f
}

// reset makes f what it is before its cursor is loaded.
func (f *follower) reset() {
	f.loaded, f.at, f.rules, f.owed, f.run, f.runs = false, lines.Position{}, rule.State{}, false, 0, runs{}
	f.records.ways, f.snapshot, f.declared = nil, nil, nil
	f.noted = nil
	f.begins.Store(nil)
	f.done.Store(0)
	f.hold.Store(0)
	f.waitsFrom.Store(0)
	f.revision.Store(0)
	f.stuck.Store(false)
}

// turn evaluates the lines of one block of f's journal.
func (s *Scanner) turn(f *follower) outcome {
	if s.snapshot.Load() == nil {
		return caughtUp // SetSnapshot calls again
	}
	if err := s.open(f); err != nil {
		return s.refuse(f, err)
	}
	if f.off.Load() {
		f.failing = false
		f.stuck.Store(false)
		return caughtUp
	}
	f.meta = f.j.Container()
	if s.cfg.Declare != nil && (f.declared == nil || !f.declared.Equal(f.meta.Started)) {
		if err := s.cfg.Declare(&f.meta); err != nil {
			return s.refuse(f, err)
		}
		f.declared = new(f.meta.Started)
	}
	f.failing = false
	f.stuck.Store(false)
	f.now = s.now()
	quiet := time.Duration(0)
	switch err := f.src.Fill(); {
	case err == nil:
		f.read = f.now
	case err != io.EOF:
		return s.refuse(f, err)
	default:
		if quiet = f.now.Sub(f.read); quiet >= s.cfg.FlushAfter && f.src.Unfinished() {
			f.src.End()
		}
	}
	// After the block: what was written behind SetSnapshot's return is
	// evaluated with what it set.
	if snapshot := s.snapshot.Load(); f.snapshot != snapshot {
		set := snapshot.ForContainer(scopeOf(&f.meta))
		changed := f.snapshot == nil || f.set != set
		if changed {
			f.endRecords()
		}
		f.noteBegins(f.snapshot, snapshot)
		f.snapshot, f.set = snapshot, set
		if changed && f.records.use(f.set) {
			f.owed = true // or a restart would still begin there
		}
	}
	f.rules.Retain(f.set)
	f.starts()
	f.lookAtRuns()
	s.evaluate(f, quiet)
	return s.endTurn(f)
}

// endRecords evaluates records that aren't over with the rules so far: no line is
// evaluated with those before and behind a change.
func (f *follower) endRecords() {
	if f.snapshot == nil {
		return
	}
	f.matching = f.set.Begin()
	f.records.end(math.MaxInt64)
	f.addUp()
	f.matching.End()
}

// evaluate evaluates the lines that there are until the turn is over, and what is over
// where nothing was written for so long.
func (s *Scanner) evaluate(f *follower, quiet time.Duration) {
	f.matching = f.set.Begin()
	defer func() {
		f.addUp()
		f.matching.End()
	}()
	f.unseen = 0
	for n := 1; ; n++ {
		from := f.src.Offset()
		line, ok := f.src.Step()
		if ok {
			f.owed = true
		}
		f.unseen += int(f.src.Offset() - from)
		if line != nil {
			f.count(line)
		}
		f.records.add(f.src, line, &f.matching)
		if !ok {
			if quiet >= s.cfg.RecordAfter {
				f.records.quiet(quiet)
			}
			return
		}
		if len(f.events)+f.matching.Matches()/4+(f.heft+f.matching.Heft())/heftOf >= turnEvents || s.stopping.Load() || s.late(f, n) {
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

// count counts a line.
func (f *follower) count(l *lines.Line) {
	f.lines++
	f.last = l.TimeNano
	f.unseen += len(l.Text)
	if l.Cut {
		f.overflow++
	}
	if l.From >= f.runs.next {
		f.records.end(l.From) // what belongs to the run before
		f.tellRuns(l.From, true, false)
	}
	f.runs.lines++
}

// record evaluates a record.
func (f *follower) record(r rule.Record) {
	f.owed = true
	f.hits = f.matching.Evaluate(&f.rules, r, f.hits[:0], f.look)
	for i := range f.hits {
		f.events = append(f.events, f.scanner.hitEvent(&f.hits[i], &f.meta))
		f.heft += len(f.hits[i].Record)
	}
}

// hide hides a text from the rules that it is no news to.
func (f *follower) hide(l rule.Line, _ int) {
	if !f.matching.Matched() {
		return
	}
	if hides := f.echo(l.Text, l.TimeNano); hides != 0 && f.matching.Except(hides.Has) > 0 {
		f.echoes.Add(1)
		f.hidden++
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
	if !f.atEnd() {
		return
	}
	f.run, f.owed = stopped, true
	f.inputs = append(f.inputs, input{container: f.container(), stopped: f.stoppedAt()})
}

// stoppedAt is when the container, which doesn't run, stopped, in nanoseconds; now where
// its log doesn't know.
func (f *follower) stoppedAt() int64 {
	runs, goesOn := f.j.Runs()
	if goesOn || len(runs) == 0 {
		return f.now.UnixNano()
	}
	return min(runs[len(runs)-1].Ended.UnixNano(), f.now.UnixNano())
}

// atEnd reports whether all lines there are, and records, are evaluated.
func (f *follower) atEnd() bool {
	_, end := f.j.Bounds()
	from, _ := f.records.first(end)
	return f.src.Offset() >= end && !f.src.Unfinished() && from >= end
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
		f.heft += len(m.Record)
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
	if _, at := f.records.first(0); at != 0 && (first == 0 || at < first) {
		first = at
	}
	return first
}

// from is the offset of the first line that isn't evaluated, at most off: a restart would
// have it in a record that may go on.
func (f *follower) from(off int64) int64 {
	off, _ = f.records.first(off)
	return off
}

// wake gives f a turn when a record may be over to which nothing was added.
func (s *Scanner) wake(f *follower) {
	wait := f.records.wait()
	if wait == 0 {
		return
	}
	wait = max(wait, s.cfg.RecordAfter) - f.now.Sub(f.read)
	if f.alarm == nil {
		f.alarm = time.AfterFunc(wait, func() { s.notify(f) })
	} else {
		f.alarm.Reset(wait)
	}
}

// endTurn hands on what the turn gave, and says what comes next.
func (s *Scanner) endTurn(f *follower) outcome {
	s.counters.lines.Add(f.lines)
	s.counters.overflow.Add(f.overflow)
	s.counters.echoes.Add(f.hidden)
	s.counters.malformed.Add(f.src.Malformed)
	s.counters.skipped.Add(f.src.Skipped)
	s.count(f.id, f.rules.TakeCounts())
	s.countIgnored(f.rules.TakeIgnored())
	f.owed = f.owed || f.src.Skipped > 0
	f.lines, f.overflow, f.hidden, f.src.Malformed, f.src.Skipped = 0, 0, 0, 0, 0
	f.stops()
	f.endRuns()
	f.hearLastWords()
	if f.owed && !f.src.Replaying() && (len(f.events) > 0 || f.urgent || f.heft >= turnEvents*heftOf || len(f.inputs) >= 4*turnEvents || f.now.Sub(f.sent) >= cursorEvery) {
		events := f.events
		f.events = nil
		s.submit(f, events)
	}
	done := f.from(f.src.Taken())
	f.waitsFrom.Store(f.firstWaiting())
	_, end := f.j.Bounds()
	if f.src.Offset() < end {
		f.upTo.Store(f.last)
	} else { // all that was written before this turn
		f.upTo.Store(f.now.UnixNano())
	}
	f.done.Store(done) // behind submit: what is in no lag is stored, or waits to be
	if h := f.hold.Load(); h != f.held {
		f.j.SetHold(h)
		f.held = h
	}
	f.src.Release()
	if _, end = f.j.Bounds(); f.src.Offset() < end {
		return more
	}
	if !f.owed && !f.unsure && !f.src.Unfinished() && f.hold.Load() == done && f.held == done && f.now.Sub(f.read) >= lingerFor {
		s.closeJournal(f)
	}
	f.wantsTick.Store(f.j != nil)
	s.wake(f)
	return caughtUp
}
