package scan

import (
	"context"
	"errors"
	"io"
	"maps"
	"sync/atomic"
	"time"

	"logscan/internal/entry"
	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/store"
)

const (
	// A turn ends early after this long or with this many events, so that
	// other containers get theirs.
	turnTime   = 20 * time.Millisecond
	turnEvents = 512
	// lingerFor is how long a journal stays open behind its last line.
	lingerFor = 2 * time.Second
)

// follower scans one container's journal.
type follower struct {
	id     string
	state  atomic.Int32 // who has it; see queue.go
	off    atomic.Bool  // not to be scanned
	attend atomic.Bool  // wants a turn at the next tick
	done   atomic.Int64 // next, for Lag
	hold   atomic.Int64 // where a restart would begin to read, as committed
	flight atomic.Int32 // submitted and not yet committed

	// The rest belongs to the worker that has it.
	echo     func([]byte, int64) bool
	loaded   bool
	trouble  bool // logged
	next     int64
	lines    *assembler
	rules    rule.State
	j        *journal.Journal
	r        *journal.Reader
	meta     journal.Container
	ends     uint64 // of j's attachments, seen
	held     int64  // what j was told to hold
	snapshot *rule.Snapshot
	set      *rule.Set
	matching rule.Matching // of set, in a turn
	owed     bool          // something has changed since it was last submitted
	sent     time.Time
	read     time.Time // when there last was something

	runs     map[int64]run // by rule
	hits     []rule.Hit    // scratch
	events   []store.Event
	count    int64 // lines
	overflow int64
	echoes   int64
}

// outcome of a turn.
type outcome int

const (
	caughtUp outcome = iota
	more
	gone // there is no such container any more
)

func (s *Scanner) newFollower(id string) *follower {
	f := &follower{id: id, echo: s.cfg.Echo}
	f.reset(s)
	return f
}

// reset makes f what it is before its cursor is loaded.
func (f *follower) reset(s *Scanner) {
	f.loaded, f.next, f.rules, f.runs, f.owed = false, 0, rule.State{}, map[int64]run{}, false
	f.lines = newAssembler(s.cfg.MaxLine, f.line)
	f.done.Store(0)
	f.hold.Store(0)
}

// line evaluates one line.
func (f *follower) line(source string, l entry.Line) {
	f.count++
	if l.Truncated {
		f.overflow++
	}
	line := rule.Line{Stream: source, TimeNano: l.TimeNano, Text: l.Text}
	if !f.matching.Match(line) {
		return
	}
	if f.echo(l.Text, l.TimeNano) {
		f.echoes++
		return
	}
	f.hits = f.matching.Admit(&f.rules, line, f.hits[:0])
	for i := range f.hits {
		h := &f.hits[i]
		e := event(h, &f.meta)
		if n := f.run(h.Rule.ID, h.TimeNano); n > rowFrom {
			e.Metadata[store.InARow] = n
		}
		f.events = append(f.events, e)
	}
}

// A run is a rule's hits in this container, each within rowGap of the one
// before. Events beyond rowFrom of them say how many there are, and so their
// messages carry a mark wherever they are sent (package trigger). It is kept in
// the cursor. A rule with the default cooldown never makes a run.
type run struct {
	N  int64 `json:"n"`
	At int64 `json:"at"` // the last hit's time
}

const (
	rowFrom = 32
	rowGap  = 5 * time.Minute
)

func (f *follower) run(rule, at int64) int64 {
	r := f.runs[rule]
	if time.Unix(0, at).Sub(time.Unix(0, r.At)) >= rowGap {
		r.N = 0
	}
	f.runs[rule] = run{r.N + 1, at}
	return r.N + 1
}

// turn scans one block of f's journal.
func (s *Scanner) turn(f *follower) outcome {
	if s.snapshot.Load() == nil {
		return caughtUp // SetSnapshot calls again
	}
	if err := s.open(f); err != nil {
		return s.refuse(f, err)
	}
	f.trouble = false
	if f.off.Load() {
		return caughtUp
	}
	f.meta = f.j.Container()
	f.lines.now = time.Now()
	st := f.j.State() // before the block: what ended has been written
	from := f.r.Offset()
	block, off, err := f.r.Next()
	// After the block: what was written behind SetSnapshot's return is
	// evaluated with what it set.
	if snapshot := s.snapshot.Load(); f.snapshot != snapshot || f.set == nil {
		f.snapshot, f.set = snapshot, snapshot.For(f.meta.Workload)
		maps.DeleteFunc(f.runs, func(id int64, _ run) bool { return !snapshot.Known(id) })
	}
	f.rules.Enter(f.set)
	f.matching = f.set.Begin()
	defer f.matching.End()
	if len(block) > 0 {
		if off > from && off > f.next {
			// Retention was faster: unfinished lines have lost their rest.
			s.counters.skipped.Add(off - f.next)
			f.lines.flushBefore(off)
			f.next = off
		}
		s.block(f, st, block, off)
		f.read, f.owed = f.lines.now, true
	} else if err != io.EOF {
		return s.refuse(f, err)
	}
	if st.Ends > f.ends && f.r.Offset() >= st.LastEnd {
		f.ends = st.Ends
		f.owed = f.lines.flushBefore(st.LastEnd) || f.owed
	}
	if len(block) == 0 && f.lines.pending() {
		f.owed = f.lines.flushIdle(s.cfg.FlushAfter) || f.owed
	}
	return s.endTurn(f)
}

// block evaluates the frames of a block at offset off.
func (s *Scanner) block(f *follower, st journal.State, block []byte, off int64) {
	var e entry.Entry
	for n := 1; len(block) > 0; n++ {
		frame, rest, err := entry.Next(block)
		if err != nil {
			s.counters.malformed.Add(1) // the reader gives whole frames
			f.next = max(f.next, off+int64(len(block)))
			return
		}
		switch err := entry.Decode(frame[entry.HeaderLen:], &e); {
		case err != nil && off >= f.next:
			s.counters.malformed.Add(1)
		case err != nil:
		case off < f.next:
			f.lines.replay(off, &e)
		default:
			if st.Ends > f.ends && off >= st.LastEnd {
				f.ends = st.Ends
				f.lines.flushBefore(st.LastEnd)
			}
			f.lines.add(off, &e)
		}
		off += int64(len(frame))
		f.next = max(f.next, off)
		block = rest
		if len(block) > 0 && (len(f.events) >= turnEvents || s.stopping.Load() || n%64 == 0 && time.Since(f.lines.now) > turnTime) {
			f.r.SetOffset(off)
			return
		}
	}
}

// endTurn hands on what the turn gave, and says what comes next.
func (s *Scanner) endTurn(f *follower) outcome {
	s.counters.lines.Add(f.count)
	s.counters.overflow.Add(f.overflow)
	s.counters.echoes.Add(f.echoes)
	s.count(f.rules.TakeCounts())
	f.count, f.overflow, f.echoes = 0, 0, 0
	if f.owed && !f.replaying() && (len(f.events) > 0 || f.lines.now.Sub(f.sent) >= cursorEvery) {
		events := f.events
		f.events = nil
		s.submit(f, events)
	}
	f.done.Store(f.next) // behind submit: what is in no lag is stored, or waits to be
	if h := f.hold.Load(); h != f.held {
		f.j.SetHold(h)
		f.held = h
	}
	f.r.Release()
	if _, end := f.j.Bounds(); f.r.Offset() < end {
		return more
	}
	if !f.owed && !f.lines.pending() && f.hold.Load() == f.next && f.held == f.next && f.lines.now.Sub(f.read) >= lingerFor {
		s.closeJournal(f)
	}
	f.attend.Store(f.j != nil)
	return caughtUp
}

// replaying reports whether what was read last lies before the cursor. There is
// no new cursor until that is over: unfinished lines that the replay hasn't
// come to yet would lose their beginning.
func (f *follower) replaying() bool { return f.r != nil && f.r.Offset() < f.next }

// submit hands events and the cursor behind them to the committer.
func (s *Scanner) submit(f *follower, events []store.Event) {
	p := f.lines.position(f.next)
	p.Runs = f.runs
	state, _ := f.rules.MarshalBinary() // never fails
	f.owed, f.sent = false, f.lines.now
	f.flight.Add(1)
	s.commits.add(progress{
		f: f, n: 1, hold: p.start(),
		cursor: store.Cursor{ContainerID: f.id, Position: p.encode(), State: state},
	}, events)
}

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
		f.attend.Store(false)
		return nil
	}
	start := f.next
	if !f.loaded {
		if start, err = s.load(f, j); err != nil {
			j.Release()
			return err
		}
	}
	f.j, f.r, f.ends, f.held = j, j.NewReader(start), 0, -1
	f.r.Patient = true // what it passes over no rule sees
	return nil
}

// load reads f's cursor, and returns where reading has to begin.
func (s *Scanner) load(f *follower, j *journal.Journal) (start int64, err error) {
	c, ok, err := s.cfg.Store.Cursor(context.Background(), f.id)
	if err != nil {
		return 0, err
	}
	var p position
	if ok {
		if p, err = decodePosition(c.Position); err != nil {
			s.log.Error("cursor not readable; scanning from the beginning", "container", f.id, "err", err)
		} else if err := f.rules.UnmarshalBinary(c.State); err != nil {
			s.log.Error("engine state not readable; cooldowns begin anew", "container", f.id, "err", err)
		}
	}
	if _, end := j.Bounds(); p.Next > end {
		// The database survived a power cut that the log's end did not.
		s.log.Warn("log ends before its cursor; going on at its end", "container", f.id, "cursor", p.Next, "end", end)
		p = position{Next: end}
	}
	f.lines.restore(p)
	if p.Runs != nil {
		f.runs = p.Runs
	}
	f.next, f.loaded = p.Next, true
	f.done.Store(p.Next)
	f.hold.Store(p.start())
	return p.start(), nil
}

func (s *Scanner) closeJournal(f *follower) {
	if f.j != nil {
		f.r.Close()
		f.j.Release()
		f.j, f.r = nil, nil
	}
}

// refuse deals with a journal or cursor that can't be opened: later, or never.
func (s *Scanner) refuse(f *follower, err error) outcome {
	f.attend.Store(true)
	if !errors.Is(err, journal.ErrNotFound) {
		if !f.trouble {
			s.log.Error("scanning waits", "container", f.id, "err", err)
		}
		f.trouble = true
		return caughtUp
	}
	if f.flight.Load() > 0 {
		return caughtUp // its commit would bring the cursor back
	}
	if err := s.cfg.Store.DeleteCursor(context.Background(), f.id); err != nil {
		s.log.Warn("cursor of a removed container", "container", f.id, "err", err)
		return caughtUp
	}
	f.reset(s)
	return gone
}

// event is what a hit becomes.
func event(h *rule.Hit, c *journal.Container) store.Event {
	m := map[string]any{
		"workload_id":    c.Workload,
		"container_id":   c.ID,
		"container_name": c.Name,
		"image":          c.Image,
		"rule_id":        h.Rule.ID,
		"rule_name":      h.Rule.Name,
		"stream":         h.Stream,
		"line_time":      timestamp(h.TimeNano),
	}
	if len(h.Captures) > 0 {
		m["captures"] = h.Captures
	}
	if h.Suppressed > 0 {
		m["suppressed"] = h.Suppressed
		m["suppressed_since"] = timestamp(h.SuppressedSince)
	}
	return store.Event{Source: store.SourceLogscan, Severity: h.Rule.Severity, Message: h.Text, Metadata: m}
}

func timestamp(nano int64) string { return time.Unix(0, nano).UTC().Format(time.RFC3339Nano) }
