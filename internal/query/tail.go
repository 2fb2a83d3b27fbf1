package query

import (
	"context"
	"math"
	"slices"
	"time"

	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/shape"
)

// Bounds of tails.
const (
	// MaxLast is how many lines there are at most before those that come.
	MaxLast = MaxLimit
	// maxHeld is how many bytes lines take that were read and aren't given yet, of a tail.
	maxHeld = 2 << 20
	// holdFor is how long a line waits for others that were written before it: the way of
	// a line into its journal takes up to 40 ms.
	holdFor = 300 * time.Millisecond
	// roundEvery is how often logs are looked at that grow all the time.
	roundEvery = 50 * time.Millisecond
	// maxLag is how many bytes of logs a tail is behind, all containers together, before
	// it passes over some: where its reader is slow, and never more than lagMost times
	// that.
	maxLag  = 16 << 20
	lagMost = 16
	// slowAfter is how long a line waits to be taken where a reader is slow.
	slowAfter = time.Second
	// beforeFor is how long the lines before those that come are looked for.
	beforeFor = 5 * time.Second
	// foldFor is how long repeats are counted before it is told how many there are.
	foldFor = 5 * time.Second
	// flushAfter is how long an unfinished line waits for its rest, as rules do.
	flushAfter = 10 * time.Second
	// aliveEvery is how often a tail of which nothing came shows that it is alive.
	aliveEvery = 15 * time.Second
)

// TailConfig is what a Tailer needs.
type TailConfig struct {
	Journals *journal.Dir
	Searcher *Searcher        // finds the lines before those that come
	Watch    *Watch           // is notified of what Journals carries
	Rules    func() LiveRules // marks lines; nil: none are marked
}

// Tailer runs tails. Safe concurrently.
type Tailer struct {
	TailConfig

	maxHeld                  int
	maxLag                   int64
	hold, slowAfter, foldFor time.Duration
	roundEvery, aliveEvery   time.Duration
	flushAfter               time.Duration
	beforeFor                time.Duration
}

// NewTailer returns a Tailer.
func NewTailer(cfg TailConfig) *Tailer {
	return &Tailer{
		TailConfig: cfg, maxHeld: maxHeld, maxLag: maxLag,
		hold: holdFor, slowAfter: slowAfter, foldFor: foldFor, roundEvery: roundEvery, aliveEvery: aliveEvery, flushAfter: flushAfter, beforeFor: beforeFor,
	}
}

// All as TailRequest.Last asks for all lines.
const All = -1

// TailRequest says which lines to show. Fields that a Request has too mean the same.
type TailRequest struct {
	Pattern                   string
	Fixed, IgnoreCase, Invert bool
	Where                     []string
	Stream                    string
	Since                     time.Time
	Containers                []string
	Workload                  string

	Last   int  // how many lines come that were written before; All, or 0 for none
	Follow bool // go on with lines as they are written, also those of containers that start later
	Fold   bool // show of lines of a container in a row that say the same the first, and how many there are
	// From is where a tail like this one was, which Output.Next told: all lines that lie
	// behind it come, whatever Last is.
	From string
}

// request is a search of the same lines, the oldest first.
func (r *TailRequest) request() Request {
	return Request{
		Pattern: r.Pattern, Fixed: r.Fixed, IgnoreCase: r.IgnoreCase, Invert: r.Invert, Where: r.Where, Stream: r.Stream,
		Since: r.Since, Containers: r.Containers, Workload: r.Workload, Order: Oldest, From: r.From,
	}
}

// TailLine is a line that is shown, and what is known of it.
type TailLine struct {
	Hit
	Marks []Mark // by rule id
	// Count is how many lines it stands for, where repeats are folded: it is the last of so
	// many, of which the first one was given.
	Count int64

	read int64 // when that was, in nanoseconds
}

// size is how many bytes it takes.
func (l *TailLine) size() int { return hitSize + len(l.Text) + 64*len(l.Marks) }

// TailOutput takes what a tail gives, in the goroutine that runs it. An error ends the
// tail.
type TailOutput struct {
	Line    func(*TailLine) error // is valid until it returns
	Skipped func(TailSkipped) error
	// Next tells, as a token, up to where lines were given, for TailRequest.From. It comes
	// behind some lines, and now and then where there are none.
	Next func(token string) error
	// Wait is called where a while passes: what was given is to be shown.
	Wait func() error
}

// tail is one that runs.
type tail struct {
	TailRequest
	*Tailer
	reading
	out   TailOutput
	find  Request
	set   *rule.Set
	match rule.Matching
	state rule.State
	marks marker
	grown *grown
	*waiting

	followed map[string]*followed // by container
	behind   []*followed          // those that have grown
	last     place                // of the lines that were given
	skips    TailSkipped          // not said yet; of who reads
}

// Tail shows lines until it has shown all there are or, where it follows, until ctx ends
// or an output fails. An error of a request is a *fields.Error or wraps ErrNoContainer;
// ErrBusy asks to try again.
func (s *Tailer) Tail(ctx context.Context, r TailRequest, out TailOutput) error {
	t := &tail{
		TailRequest: r, Tailer: s, reading: reading{ctx: ctx}, out: out, find: r.request(), marks: marker{rules: s.Rules},
		grown: newGrown(), waiting: newWaiting(s.maxHeld, s.hold), followed: map[string]*followed{},
	}
	if r.Last < All || r.Last > MaxLast {
		return refuse("last", "must be from 0 to %d, or all", MaxLast)
	}
	leave, err := s.Searcher.pool.enter(r.Follow)
	if err != nil {
		return err
	}
	defer leave()
	if r.Follow {
		defer s.Watch.add(t.grown)()
	}
	defer t.marks.end()
	if err := t.past(ctx); err != nil || !r.Follow {
		return err
	}
	if err := t.sendNext(); err != nil {
		return err
	}
	t.match = t.set.Begin()
	defer t.match.End()
	return t.follow(ctx)
}

// past shows what was written before the tail began, and plans what is to be followed.
func (t *tail) past(ctx context.Context) error {
	began := time.Now()
	all := t.Journals.Containers()
	from, err := t.begin(ctx, all)
	if err != nil {
		return err
	}
	for first := true; first || from != nil; first = false {
		out := Output{Hit: t.hit, Wait: func() error {
			if t.Follow && t.last != (place{}) {
				return t.sendNext()
			}
			return t.out.Wait()
		}}
		s, err := t.Searcher.prepare(ctx, t.find, out)
		if err != nil {
			return err
		}
		if from != nil {
			s.from = from
		}
		s.maxWaiting = t.maxHeld
		t.set = s.set
		sum, err := s.search(all)
		if err != nil {
			return err
		}
		t.skips.add(TailSkipped{Removed: sum.Skipped, Undecided: sum.Undecided, Unreadable: sum.Unreadable})
		if from = nil; sum.Next != "" {
			p, err := parseToken(sum.Next, true)
			if err != nil {
				return err
			}
			from = &p
			continue
		}
		t.plan(all, s.ends)
	}
	if t.last == (place{}) {
		t.last = place{began.Add(-t.hold).UnixNano(), "", 0}
		if t.From != "" {
			t.last, _ = parseToken(t.From, true)
		}
	}
	if err := t.tellFolded(!t.Follow); err != nil {
		return err
	}
	return t.tellSkipped(&t.skips)
}

// begin is the place behind which lines are wanted; nil where it is the beginning, or where
// the request has it.
func (t *tail) begin(ctx context.Context, all []journal.Container) (*place, error) {
	switch {
	case t.From != "" || t.Last == All:
		return nil, nil
	case t.Last == 0:
		return &place{math.MaxInt64, lastID, math.MaxInt64}, nil
	}
	back := t.find
	back.Order, back.Limit = Newest, t.Last
	at := place{math.MaxInt64, lastID, math.MaxInt64}
	s, err := t.Searcher.prepare(ctx, back, Output{Hit: func(h *Hit) error { at = h.place; return nil }})
	if err != nil {
		return nil, err
	}
	s.most, s.maxWaiting = t.beforeFor, t.maxHeld
	sum, err := s.search(all)
	if err != nil {
		return nil, err
	}
	t.skips.Before = sum.OutOfTime
	if sum.Hits > 0 {
		at.to-- // it is wanted too
	}
	return &at, nil
}

// plan has containers be followed from the offsets on that were looked at.
func (t *tail) plan(all []journal.Container, ends map[string]int64) {
	if !t.Follow {
		return
	}
	for _, c := range all {
		f := t.followed[c.ID]
		if f == nil {
			f = &followed{container: c}
		}
		end, wanted := ends[c.ID]
		if !wanted {
			end = unknown
			wanted = t.find.means(&c, make([]bool, len(t.Containers)))
		}
		f.from, f.grown = end, t.grown.know(c.ID, wanted)
		if wanted {
			t.followed[c.ID] = f
		}
	}
}

// hit shows a line that was written before.
func (t *tail) hit(h *Hit) error {
	f := t.followed[h.Container.ID]
	if f == nil {
		f = &followed{container: *h.Container}
		t.followed[h.Container.ID] = f
	}
	f.key = h.key
	for _, l := range t.shown(f, &TailLine{Hit: *h}) {
		if err := t.give(l); err != nil {
			return err
		}
	}
	return nil
}

// give gives a line.
func (t *tail) give(l *TailLine) error {
	if t.last.before(l.place) {
		t.last = l.place
	}
	return t.out.Line(l)
}

// shown returns what is to be shown where a container writes a line, with its marks.
func (t *tail) shown(f *followed, l *TailLine) []*TailLine {
	l.Container = &f.container
	l.Marks = t.marks.of(l.Container, rule.Line{Stream: l.Stream, TimeNano: l.TimeNano, Text: l.Text})
	if !t.Fold {
		l.Count = 1
		return []*TailLine{l}
	}
	return f.run.add(l)
}

// run is lines of a container in a row that say the same.
type run struct {
	shape  shape.Shape
	stream string
	marks  []Mark
	count  int64
	last   *TailLine // of those that aren't told; nil for none
	since  time.Time // when the first of them came
}

// add returns what is to be shown, in order.
func (r *run) add(l *TailLine) (out []*TailLine) {
	of := shape.Of(l.Text)
	if r.count > 0 && of == r.shape && l.Stream == r.stream && slices.Equal(l.Marks, r.marks) {
		r.count++
		l.Count = r.count
		if r.last == nil {
			r.since = time.Now()
		}
		r.last = l
		return nil
	}
	if r.last != nil {
		out = append(out, r.last)
	}
	l.Count = 1
	*r = run{shape: of, stream: l.Stream, marks: l.Marks, count: 1}
	return append(out, l)
}

// tellFolded gives the repeats that aren't told, where no more are to come.
func (t *tail) tellFolded(end bool) error {
	if !end {
		return nil
	}
	var left []*TailLine
	for _, f := range t.followed {
		if f.run.last != nil {
			left = append(left, f.run.last)
		}
	}
	slices.SortFunc(left, func(a, b *TailLine) int {
		if a.before(b.place) {
			return -1
		}
		return 1
	})
	for _, l := range left {
		if err := t.give(l); err != nil {
			return err
		}
	}
	return nil
}

// tellSkipped says what was passed over, if anything was.
func (t *tail) tellSkipped(s *TailSkipped) error {
	if *s == (TailSkipped{}) {
		return nil
	}
	said := *s
	*s = TailSkipped{}
	return t.out.Skipped(said)
}

// sendNext tells where the tail is, and has that be shown.
func (t *tail) sendNext() error {
	if err := t.out.Next(token(t.last, true)); err != nil {
		return err
	}
	return t.out.Wait()
}
