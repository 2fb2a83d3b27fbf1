package scan

import (
	"container/heap"
	"context"
	"errors"
	"io"
	"math"
	"runtime"
	"slices"
	"time"

	"logscan/internal/correlate"
	"logscan/internal/journal"
	"logscan/internal/lines"
	"logscan/internal/rule"
	"logscan/internal/store"
)

// ReplayConfig says what is replayed.
type ReplayConfig struct {
	Config       // Workers and Ready don't matter; Store holds nothing yet
	Rules        *rule.Snapshot
	Since, Until time.Time               // lines from then on, and before then
	Wants        func(journal.Info) bool // containers; nil: all
	// Ends are behind the lines of each container, of no others, whose time may then be behind
	// Until too; nil: their present ends.
	Ends map[string]int64
	// Clock is told the time, before what was written up to then comes into Store; Pass has
	// it pass behind that.
	Clock func(time.Time)
	Pass  func(context.Context, time.Time) error
	// Due is when Pass has something to do; zero for never.
	Due func() time.Time
	// Turn waits until there may be read, for a moment, until done is called; nil: always.
	Turn    func(context.Context) (done func(), err error)
	Witness Witness // nil: nobody
}

// Witness is told what becomes of each record: Begin before it is evaluated, Text of each
// of its texts as it is matched, End behind all, and Match, later, of each of its matches of
// rules that add them up. What it is given is valid until it returns.
type Witness interface {
	Begin(c *journal.Container, r *rule.Record)
	// Text is told of a text with its number in the record, or -1 for the whole; hidden is
	// that it repeats what logscan has sent, so that some rules don't see it.
	Text(l rule.Line, n int, m *rule.Matching, hidden bool)
	End(m *rule.Matching)
	Match(c *correlate.Container, m *rule.Match)
}

// Replayed is what was replayed of a container.
type Replayed struct {
	journal.Container
	First, Last time.Time // of the lines; zero without any
	Lines       int64
	Whole       bool  // the log has all that was written from Since on
	Unread      int64 // bytes that were removed meanwhile, or can't be read
}

// replayStep is how much time passes at once while nothing is written.
const replayStep = 30 * time.Second

// Replay runs the steps that a Scanner runs, over lines that are kept, in the order of
// their time and with nothing known before: what comes into Store is what would have come
// if the rules had been there. It takes nothing that carries lines, and hands on the
// processor again and again. It ends early with ctx's error, and then says how far it came.
func Replay(ctx context.Context, cfg ReplayConfig) (all []Replayed, counts map[int64]rule.Counts, err error) {
	cfg.Ready = func() bool { return true }
	p := &replay{cfg: cfg, s: New(cfg.Config), at: cfg.Since.UnixNano(), clocks: map[string]int64{}}
	p.s.now = func() time.Time { return time.Unix(0, p.at) }
	p.s.snapshot.Store(cfg.Rules)
	defer func() {
		p.s.stopping.Store(true)
		p.s.seeders.Wait()
		p.close()
	}()
	if err = p.open(); err == nil {
		err = p.run(ctx)
	}
	for _, f := range p.feeds {
		f.out.Unread = f.src.Skipped
		all = append(all, f.out)
	}
	return all, p.s.RuleStats(), err
}

// replay is a Replay under way.
type replay struct {
	cfg     ReplayConfig
	s       *Scanner
	at      int64   // up to when all is evaluated, in nanoseconds
	feeds   []*feed // all there are
	ahead   feeds   // those with a line to come
	unended []*feed // those whose last lines may go on
	given   given
	stands  bool // time doesn't pass any more
	// Of the turn under way.
	done      func()
	evaluated int              // lines
	clocks    map[string]int64 // scratch
}

// feed is a container's log.
type feed struct {
	*follower
	line    lines.Line // the next one
	text    []byte     // of it
	end     int64      // the offset up to which there are lines
	over    bool       // there are no more
	history []journal.Run
	begun   int  // how many of these have begun
	running bool // the last of those hasn't ended
	untold  bool // that it has begun: it may turn out to be none, as long as it is silent
	out     Replayed
}

// turn is when the next of a container's runs begins, or the one under way ends, in
// nanoseconds; never where none does.
func (f *feed) turn() int64 {
	switch {
	case f.running && f.history[f.begun-1].Ended.IsZero():
		return never
	case f.running:
		return f.history[f.begun-1].Ended.UnixNano()
	case f.begun < len(f.history):
		return f.history[f.begun].Started.UnixNano()
	}
	return never
}

// behind is where the lines end that were written before the next run.
func (f *feed) behind() int64 {
	if f.begun < len(f.history) {
		return f.history[f.begun].From
	}
	return never
}

// done reports whether the lines before the next run are evaluated.
func (f *feed) done() bool { return f.over || f.line.From >= f.behind() }

// feeds are a heap by the time of the next line.
type feeds []*feed

func (h feeds) Len() int           { return len(h) }
func (h feeds) Less(i, j int) bool { return h[i].line.TimeNano < h[j].line.TimeNano }
func (h feeds) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *feeds) Push(x any)        { *h = append(*h, x.(*feed)) }
func (h *feeds) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

// open opens the logs.
func (p *replay) open() error {
	for _, info := range p.cfg.Journals.List() {
		set := p.cfg.Rules.ForContainer(scopeOf(&info.Container))
		if !info.Scan || p.cfg.Wants != nil && !p.cfg.Wants(info) || len(set.Rules()) == 0 {
			continue
		}
		j, err := p.cfg.Journals.Acquire(info.ID)
		if errors.Is(err, journal.ErrNotFound) {
			continue // it has just been removed
		}
		if err != nil {
			return err
		}
		from, err := j.SeekTime(p.at)
		if err != nil {
			j.Release()
			return err
		}
		end, wanted := p.cfg.Ends[info.ID]
		if p.cfg.Ends != nil && !wanted {
			j.Release()
			continue
		}
		f := &feed{follower: p.s.newFollower(info.ID)}
		f.j, f.meta, f.loaded = j, j.Container(), true
		if _, f.end = j.Bounds(); wanted {
			f.end = min(f.end, end)
		}
		f.src = lines.New(j, lines.Position{Next: from}, lines.Config{Max: p.s.cfg.MaxLine, Gap: p.s.cfg.FlushAfter})
		f.records.start = startOf(&f.meta)
		f.witnessed(p.cfg.Witness)
		f.snapshot, f.set = p.cfg.Rules, set
		f.records.use(set)
		f.now = p.s.now()
		f.lookAtRuns()
		f.remember()
		state := j.State()
		f.out = Replayed{Container: f.meta, Whole: state.First <= state.Birth || from > state.First}
		p.feeds = append(p.feeds, f)
		if err := p.read(f); err != nil {
			return err
		}
		if !f.over {
			heap.Push(&p.ahead, f)
		}
	}
	p.know()
	p.begin()
	return nil
}

// witnessed has a witness be told of a feed's records.
func (f *feed) witnessed(w Witness) {
	if w == nil {
		return
	}
	f.look = func(l rule.Line, n int) {
		hidden := f.hidden
		f.hide(l, n)
		w.Text(l, n, &f.matching, f.hidden > hidden)
	}
	f.records.init(func(r rule.Record) {
		w.Begin(&f.meta, &r)
		f.record(r)
		w.End(&f.matching)
	})
}

// remember has a feed know which runs its container has had that matter to lines from
// its place on.
func (f *feed) remember() {
	all, _ := f.j.Runs()
	for i := range all {
		silent := all[i].From >= f.end
		if i+1 < len(all) {
			silent = all[i].From == all[i+1].From
		}
		switch r := all[i]; {
		case r.N <= f.runs.told:
		case r.Asked && silent: // somebody has read the log of a container that didn't run
		default:
			f.history = append(f.history, r)
		}
	}
	f.runs.next = never // begins and ends are told here
}

// know has the engine know the rules from the beginning on, and what there was before them.
func (p *replay) know() {
	sums := &p.s.commits.sums
	sums.engine = correlate.New(p.cfg.Bucket)
	sums.step(nil, clocks{}, &store.Batch{})
	p.s.seeders.Wait()
	p.given.inputs = p.s.commits.takeInputs()
}

// begin passes over the time before anything was there.
func (p *replay) begin() {
	first := p.cfg.Until.UnixNano()
	for _, f := range p.feeds {
		first = min(first, f.turn())
	}
	if len(p.ahead) > 0 {
		first = min(first, p.ahead[0].line.TimeNano)
	}
	p.at = max(p.at, first)
}

func (p *replay) close() {
	for _, f := range p.feeds {
		f.src.Close()
		f.j.Release()
		if f.alarm != nil {
			f.alarm.Stop()
		}
	}
}

// read reads a feed's next line.
func (p *replay) read(f *feed) error {
	for {
		if f.src.Offset() >= f.end && !f.src.Unfinished() {
			f.over = true
			return nil
		}
		l, err := f.src.Next()
		switch {
		case err == io.EOF:
			f.over = true
			return nil
		case err != nil:
			return err
		case l.From >= f.end || p.cfg.Ends == nil && l.TimeNano >= p.cfg.Until.UnixNano():
			f.over = true
			return nil
		case l.TimeNano < p.cfg.Since.UnixNano(), l.To > f.end: // such as one that wasn't whole there
			_, _ = f.src.TakeEnd()
			continue
		}
		f.text = append(f.text[:0], l.Text...)
		f.line, f.line.Text = l, f.text
		return nil
	}
}

// run has all time pass.
func (p *replay) run(ctx context.Context) error {
	until := p.cfg.Until.UnixNano()
	for p.at < until {
		p.at = min(p.next(), until)
		if err := p.step(ctx); err != nil {
			return err
		}
	}
	if len(p.ahead) == 0 {
		return nil
	}
	p.stands, p.at = true, p.at+int64(aheadOf)
	return p.step(ctx)
}

// step has time pass up to p.at.
func (p *replay) step(ctx context.Context) error {
	err := p.nextTurn(ctx)
	if err == nil {
		err = p.second(ctx)
	}
	p.endTurn()
	if err != nil {
		return err
	}
	return p.commit(ctx)
}

// linesATurn is how many lines are evaluated in a turn.
const linesATurn = 256

// nextTurn ends the turn under way, if there is one, and waits for another.
func (p *replay) nextTurn(ctx context.Context) (err error) {
	p.endTurn()
	p.evaluated = 0
	if p.cfg.Turn != nil {
		p.done, err = p.cfg.Turn(ctx)
		return err
	}
	runtime.Gosched()
	return ctx.Err()
}

func (p *replay) endTurn() {
	if p.done != nil {
		p.done()
		p.done = nil
	}
}

// aheadOf is by how much lines may be behind Until.
const aheadOf = 24 * time.Hour

// next is up to when time passes now: a second where something is written, more while
// nothing is, without a moment being passed over at which something is due.
func (p *replay) next() int64 {
	next := p.at + int64(replayStep)
	if !p.s.commits.sums.waiting() && len(p.unended) == 0 {
		next = math.MaxInt64
	}
	if len(p.unended) > 0 {
		next = p.at + int64(time.Second)
	}
	upTo := func(at int64) { // what is due before comes first
		if at > p.at {
			next = min(next, at)
		} else {
			next = min(next, p.at+int64(time.Second))
		}
	}
	if len(p.ahead) > 0 {
		upTo(p.ahead[0].line.TimeNano)
	}
	for _, f := range p.feeds {
		if at := f.turn(); at >= p.at {
			upTo(at)
		}
		if f.untold {
			upTo(p.at)
		}
	}
	if due := p.cfg.Due(); !due.IsZero() {
		next = min(next, max(due.UnixNano(), p.at+int64(time.Second)))
	}
	return next
}

// second evaluates the lines that were written up to p.at.
func (p *replay) second(ctx context.Context) error {
	for _, f := range p.feeds {
		p.turns(f, p.at)
	}
	for len(p.ahead) > 0 && p.ahead[0].line.TimeNano < p.at {
		if p.evaluated >= linesATurn {
			if err := p.nextTurn(ctx); err != nil {
				return err
			}
		}
		f := p.ahead[0]
		if err := p.lines(f); err != nil {
			return err
		}
		if f.over {
			heap.Pop(&p.ahead)
		} else {
			heap.Fix(&p.ahead, 0)
		}
		if !slices.Contains(p.unended, f) {
			p.unended = append(p.unended, f)
		}
	}
	p.unended = slices.DeleteFunc(p.unended, func(f *feed) bool { return p.settle(f) })
	for _, f := range p.feeds {
		p.turns(f, p.at)
		if f.untold {
			if _, sure := f.history[f.begun-1].Sure(p.s.now(), false); sure {
				f.tellBegin()
				p.take(f)
			}
		}
	}
	return nil
}

// turns has runs of a feed's container begin and end that did before a time, behind the
// lines of those before.
func (p *replay) turns(f *feed, before int64) {
	if f.turn() >= before || p.stands {
		return
	}
	f.now = p.s.now()
	f.matching = f.set.Begin()
	for f.turn() < before && (!f.running || f.done()) {
		p.turn(f)
	}
	f.matching.End()
	p.take(f)
}

// tellBegin tells that the run under way is one.
func (f *feed) tellBegin() {
	if f.untold {
		f.untold = false
		f.beginRun(&f.history[f.begun-1], true)
	}
}

// turn has the next run of a feed's container begin, or the one under way end.
func (p *replay) turn(f *feed) {
	waits := p.cfg.Rules.Waits()
	if !f.running {
		r := &f.history[f.begun]
		f.begun, f.running = f.begun+1, true
		if waits {
			f.inputs = append(f.inputs, input{container: f.container(), started: max(r.Started.UnixNano(), p.cfg.Since.UnixNano())})
		}
		f.untold = f.runs.on
		return
	}
	f.records.end(f.behind())
	f.tellBegin()
	f.addUp()
	f.running = false
	if waits {
		f.inputs = append(f.inputs, input{container: f.container(), stopped: f.history[f.begun-1].Ended.UnixNano()})
	}
	if f.runs.on {
		f.endRun()
	}
}

// lines evaluates a feed's lines up to p.at, up to the next one of another feed, or as many
// as a turn has.
func (p *replay) lines(f *feed) error {
	upTo := p.at
	for i := 1; i < min(len(p.ahead), 3); i++ {
		upTo = min(upTo, max(p.ahead[i].line.TimeNano, f.line.TimeNano)+1)
	}
	f.now = p.s.now()
	f.matching = f.set.Begin()
	defer f.matching.End()
	for ; !f.over && f.line.TimeNano < upTo && p.evaluated < linesATurn; p.evaluated++ {
		for f.line.From >= f.behind() { // its run has begun, whatever the clock said
			p.turn(f)
		}
		f.tellBegin()
		f.count(&f.line)
		f.records.add(f.src, &f.line, &f.matching)
		at := time.Unix(0, f.line.TimeNano).UTC()
		if f.out.Lines++; f.out.First.IsZero() {
			f.out.First = at
		}
		f.out.Last = at
		if err := p.read(f); err != nil {
			return err
		}
	}
	f.addUp()
	p.take(f)
	return nil
}

// settle ends what goes on no more of a feed's lines, and reports whether no record is open.
func (p *replay) settle(f *feed) bool {
	f.now = p.s.now()
	f.matching = f.set.Begin()
	if quiet := time.Duration(p.at - f.last); quiet > 0 {
		f.records.quiet(quiet)
	}
	f.addUp()
	f.matching.End()
	p.take(f)
	return f.records.wait() == 0
}

// take takes what a feed gave.
func (p *replay) take(f *feed) {
	p.s.count(f.id, f.rules.TakeCounts())
	p.s.countIgnored(f.rules.TakeIgnored())
	if w := p.cfg.Witness; w != nil {
		for _, in := range f.inputs {
			if in.match != nil {
				w.Match(in.container, in.match)
			}
		}
	}
	p.given.add(given{events: f.events, suppressed: suppressed(f.rules.TakeSuppressed(), &f.meta), inputs: f.inputs})
	f.events, f.inputs, f.urgent, f.heft, f.lines = nil, nil, false, 0, 0
}

// commit puts what was given into the store, and has time pass there.
func (p *replay) commit(ctx context.Context) error {
	sums := &p.s.commits.sums
	var c clocks
	if sums.waiting() && !p.stands {
		c = clocks{now: p.at, all: p.at, of: p.clocks}
		for _, f := range p.feeds {
			p.clocks[f.id] = p.at
		}
	}
	p.cfg.Clock(time.Unix(0, p.at))
	b := store.Batch{Events: p.given.events, Suppressed: p.given.suppressed}
	inputs := p.given.inputs
	p.given = given{}
	sums.step(inputs, c, &b)
	b.Correlated = nil
	if len(b.Events)+len(b.Suppressed)+len(b.Outcomes) > 0 {
		if _, err := p.cfg.Store.Commit(ctx, b, p.cfg.Route); err != nil {
			return err
		}
	}
	at := time.Unix(0, p.at)
	if due := p.cfg.Due(); due.IsZero() || due.After(at) {
		return nil
	}
	return p.cfg.Pass(ctx, at)
}

// takeInputs returns what wasn't committed yet.
func (c *committer) takeInputs() []input {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.waits.inputs
	c.waits = given{}
	return out
}
