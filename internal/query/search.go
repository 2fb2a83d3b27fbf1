package query

import (
	"container/heap"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"logscan/internal/journal"
	"logscan/internal/rule"
)

// Bounds of searches.
const (
	// maxTime is how long one looks; then it says where to go on.
	maxTime = 10 * time.Minute
	// maxWaiting is how many bytes hits take that wait for their turn, of a search;
	// those of one turn take maxTurn.
	maxWaiting = 8 << 20
	maxTurn    = 1 << 20
	// hitSize is what a hit takes besides its text.
	hitSize = 160
	// maxContextText is how many bytes of a line of context are kept.
	maxContextText = 8 << 10
	// maxSpans is how many matches of a line are told.
	maxSpans = 100
	// holdMost is how long journals are held that nothing else uses, and maxHeldLogs how
	// many of them a search has at once.
	holdMost    = time.Second
	maxHeldLogs = 32
	// showEvery is how often what was given is shown, but for what comes first.
	showEvery = 200 * time.Millisecond
	// tellEvery is how often a search says how far it is.
	tellEvery = time.Second
)

// Searcher runs searches. Safe concurrently.
type Searcher struct {
	journals *journal.Dir
	flush    func(ctx context.Context, id string)
	pool     *Pool

	maxTime             time.Duration
	maxWaiting, maxTurn int
}

// New returns a Searcher whose searches are some of a pool's queries. Flush has what a
// container has written be in its journal; it may be nil.
func New(journals *journal.Dir, pool *Pool, flush func(ctx context.Context, id string)) *Searcher {
	return &Searcher{journals: journals, flush: flush, pool: pool, maxTime: maxTime, maxWaiting: maxWaiting, maxTurn: maxTurn}
}

// Line is a line of a log.
type Line struct {
	Stream   string
	TimeNano int64
	Text     []byte // without what a terminal's line ends with
	Cut      bool   // there was more of it
	From, To int64  // where it lies in the log
}

// Hit is a line that was looked for.
type Hit struct {
	Line
	Container     *journal.Container
	Record        []Line  // the lines of the record that it lies in, where records are looked for
	Spans         [][]int // matches of the pattern, in bytes of Text; none where lines without one are looked for
	Before, After []Line  // of the log, whatever their stream

	place
}

// Found is a container with lines that were looked for.
type Found struct {
	Container *journal.Container
	Hits      int64 // 1 where they weren't counted
}

// Progress is how far a search is.
type Progress struct {
	Bytes, Total int64 // of logs: looked at or passed over, and in all
	Hits         int64
}

// Summary is what a search has done.
type Summary struct {
	Containers int   // that it was about
	Lines      int64 // that were looked at
	Bytes      int64 // of logs that were read for it
	Hits       int64
	Skipped    int64  // bytes that were removed meanwhile, or that couldn't be read
	Unreadable int    // containers whose logs can't be opened at present
	Undecided  int64  // lines of which it takes too much work to find out whether they match
	Next       string // a token; "" where there is no more
	OutOfTime  bool   // it took too long; Next is where it goes on
}

// Output takes what a search gives, in the goroutine that runs it. An error ends the search.
type Output struct {
	Hit      func(*Hit) error // is valid until it returns
	Found    func(Found) error
	Progress func(Progress) error
	// Wait is called where a while has passed, and behind what is given first: what was
	// given is to be shown.
	Wait func() error
}

// search is one that runs.
type search struct {
	Request
	*Searcher
	reading
	out     Output
	oldest  bool
	span    span
	ahead   span   // the times of the blocks that are to be looked at
	from    *place // that hits are to lie behind, in the order wanted
	set     *rule.Set
	has     having
	match   rule.Matching
	state   rule.State
	cursors cursors
	// turnMost is how many bytes the hits of a turn take, and widthLeast how many blocks it
	// has at least: where many containers have hits of one time, all of these fit.
	turnMost   int
	widthLeast int

	most       time.Duration    // how long it looks
	maxWaiting int              // as the Searcher's
	ends       map[string]int64 // up to where it looks, by container
	given      bool             // something since it was last shown
	shown      time.Time        // when that was
	waiting    int              // bytes that hits take
	counted    int64            // hits, where they aren't given
	sum        Summary
	done       Progress
	last       *place // of the last hit that was given
	deadline   time.Time
	told       time.Time
}

// Search looks for lines. An error of a request is a *fields.Error or wraps ErrNoContainer;
// ErrBusy asks to try again.
func (s *Searcher) Search(ctx context.Context, r Request, out Output) (Summary, error) {
	leave, err := s.pool.enter(false)
	if err != nil {
		return Summary{}, err
	}
	defer leave()
	return s.within(ctx, r, out)
}

// within is Search as a part of a query.
func (s *Searcher) within(ctx context.Context, r Request, out Output) (Summary, error) {
	run, err := s.prepare(ctx, r, out)
	if err != nil {
		return Summary{}, err
	}
	return run.search(s.journals.Containers())
}

// search looks for lines of those containers, of all there are, that the request is about.
func (s *search) search(all []journal.Container) (Summary, error) {
	chosen, err := s.choose(all)
	if err != nil {
		return Summary{}, err
	}
	s.match = s.set.Begin()
	defer s.match.End()
	defer s.close()
	if err := s.plan(chosen); err != nil {
		return s.summary(), err
	}
	if s.Show == Lines {
		err = s.merge()
	} else {
		err = s.count()
	}
	return s.summary(), err
}

// prepare checks a request.
func (s *Searcher) prepare(ctx context.Context, r Request, out Output) (*search, error) {
	run := &search{Request: r, Searcher: s, reading: reading{ctx: ctx}, out: out, span: span{math.MinInt64, math.MaxInt64}, most: s.maxTime, maxWaiting: s.maxWaiting, ends: map[string]int64{}}
	if err := run.settle(); err != nil {
		return nil, err
	}
	run.oldest = run.Order == Oldest
	if !r.Since.IsZero() {
		run.span.since = r.Since.UnixNano()
	}
	if !r.Until.IsZero() {
		run.span.until = r.Until.UnixNano()
	}
	if r.From != "" {
		p, err := parseToken(r.From, run.oldest)
		if err != nil {
			return nil, err
		}
		run.from = &p
	}
	var err error
	run.set, run.has, err = run.compile()
	return run, err
}

// summary is what was done so far.
func (s *search) summary() Summary {
	s.sum.Skipped += s.skipped
	s.skipped = 0
	return s.sum
}

// plan finds out what is to be looked at.
func (s *search) plan(chosen []journal.Container) error {
	now := time.Now()
	s.deadline, s.told = now.Add(s.most), now
	s.sum.Containers = len(chosen)
	of := s.span
	if s.from != nil && s.oldest {
		of.since = max(of.since, s.from.key)
	} else if s.from != nil && s.from.key < math.MaxInt64 {
		of.until = min(of.until, s.from.key+1)
	}
	s.ahead = of
	for _, c := range chosen {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		s.letGo()
		if s.flush != nil {
			s.flush(s.ctx, c.ID)
		}
		err := s.open(s.journals, c.ID)
		if errors.Is(err, journal.ErrNotFound) {
			continue // just removed
		}
		if err != nil {
			s.sum.Unreadable++
			continue
		}
		_, end := s.journal.Bounds() // of a log without segments
		segments := s.journal.Segments()
		if len(segments) > 0 {
			end = segments[len(segments)-1].To
		}
		s.ends[c.ID] = end
		cursor := newCursor(c, segments, of, s.oldest)
		s.done.Total += cursor.size()
		if _, _, more := cursor.next(); more {
			s.cursors = append(s.cursors, cursor)
		}
	}
	s.turnMost, s.widthLeast = min(s.maxTurn, s.maxWaiting/max(1, len(s.cursors))), widthLeast
	if s.turnMost < s.maxTurn/widthLeast {
		s.widthLeast = 1
	}
	return nil
}

// merge gives the hits of all containers in the order wanted.
func (s *search) merge() error {
	for i, c := range s.cursors {
		c.index = i
	}
	heap.Init(&s.cursors)
	for len(s.cursors) > 0 {
		c := s.cursors[0]
		p, hit, more := c.next()
		switch {
		case !more:
			heap.Pop(&s.cursors)
			continue
		case hit:
			if err := s.give(c); err != nil {
				return err
			}
			if s.sum.Hits >= int64(s.Limit) {
				s.sum.Next = token(*s.last, s.oldest)
				return nil
			}
		default:
			if s.beyond(p) && time.Now().After(s.deadline) {
				s.sum.OutOfTime, s.sum.Next = true, token(s.reached(p), s.oldest)
				return nil
			}
			if err := s.advance(c); err != nil {
				return err
			}
			s.makeRoom(c)
		}
		heap.Fix(&s.cursors, c.index)
	}
	return nil
}

// reached is a place up to which all hits were given, where none to come lies before p.
func (s *search) reached(p place) place {
	if s.last != nil && s.last.key == p.key {
		return *s.last
	}
	if s.oldest {
		return place{p.key, "", 0}
	}
	return place{p.key, lastID, math.MaxInt64}
}

// beyond reports whether a search that went on from where this one would end, if none to
// come lies before p, would begin further on than this one has.
func (s *search) beyond(p place) bool {
	switch at := s.reached(p); {
	case s.from == nil:
		return s.sum.Bytes > 0
	case s.oldest:
		return s.from.before(at)
	default:
		return at.before(*s.from)
	}
}

// give gives the next hit of a container.
func (s *search) give(c *cursor) error {
	h := &c.hits[0]
	again := false
	if s.Records {
		var err error
		if again, err = s.widen(c, h); err != nil {
			return err
		}
	}
	if s.Before+s.After > 0 && !again {
		if err := s.surround(c, h); err != nil {
			return err
		}
	}
	if !s.Invert && s.Pattern != "" && s.match.Match(&s.state, rule.Line{Stream: h.Stream, TimeNano: h.TimeNano, Text: h.Text}) {
		h.Spans = s.match.Spans(rule.Line{Text: h.Text}, maxSpans)
	}
	last := h.place
	s.last = &last
	size := hitSize + len(h.Text)
	c.bytes -= size
	s.waiting -= size
	c.hits = c.hits[1:]
	if again {
		return nil
	}
	s.sum.Hits++
	s.given = true
	return s.out.Hit(h)
}

// makeRoom evicts the hits that are furthest from being given, but for those of one
// container.
func (s *search) makeRoom(but *cursor) {
	for s.waiting > s.maxWaiting {
		var far *cursor
		for _, c := range s.cursors {
			if c == but || len(c.hits) == 0 {
				continue
			}
			if far == nil || far.hits[0].before(c.hits[0].place) == s.oldest {
				far = c
			}
		}
		if far == nil {
			return
		}
		s.waiting -= far.bytes
		far.evict() // its place in the heap is what it was
	}
}

// count tells which containers have lines that are looked for, and how many.
func (s *search) count() error {
	slices.SortStableFunc(s.cursors, func(a, b *cursor) int { return strings.Compare(a.container.Name, b.container.Name) })
	for _, c := range s.cursors {
		found := Found{Container: &c.container}
		c.width = widthMost
		for {
			if _, _, more := c.next(); !more || found.Hits > 0 && s.Show == Containers {
				break
			}
			if time.Now().After(s.deadline) {
				s.sum.OutOfTime = true
				break
			}
			if err := s.advance(c); err != nil {
				return err
			}
			found.Hits += s.counted
			s.counted = 0
		}
		if found.Hits == 0 || s.sum.OutOfTime {
			continue
		}
		if s.Show == Containers {
			found.Hits = 1
		}
		s.sum.Hits += found.Hits
		s.given = true
		if err := s.out.Found(found); err != nil {
			return err
		}
	}
	return nil
}
