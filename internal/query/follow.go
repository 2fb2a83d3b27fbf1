package query

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"logscan/internal/entry"
	"logscan/internal/journal"
	"logscan/internal/lines"
	"logscan/internal/rule"
)

// followed is a container whose lines are followed.
type followed struct {
	container journal.Container
	grown     *atomic.Bool // its log has, since it was looked at
	behind    bool         // it is among tail.behind
	begun     bool         // at is set
	at        lines.Position
	from      int64    // lines are wanted whose last frame ends behind it, or that others end there; unknown for not known yet
	key       int64    // of its last line that was wanted
	seen      int64    // the greatest time of its lines
	failed    bool     // its log couldn't be opened
	streams   []string // that lines were of since at was set to where reading begins

	unfinished bool      // a line has begun
	read       time.Time // when the log was last found to have grown
	flush      bool      // the line is one as far as it goes, if it hasn't grown
	run        run
}

// unknown is the offset from which lines are wanted, as long as it isn't known where the
// log ends.
const unknown = -1

// turnBytes is how many bytes of frames are read of a container at once.
const turnBytes = 64 << 10

// follow shows lines as they are written.
func (t *tail) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- t.gather(ctx) }()
	ended := false
	defer func() {
		cancel()
		if !ended {
			<-done
		}
	}()
	alive := time.NewTicker(t.aliveEvery)
	defer alive.Stop()
	for {
		batch, skipped, wait := t.take(time.Now())
		if err := t.tellSkipped(&skipped); err != nil {
			return err
		}
		for _, l := range batch {
			if err := t.give(l); err != nil {
				return err
			}
		}
		if len(batch) > 0 {
			if err := t.sendNext(); err != nil {
				return err
			}
			alive.Reset(t.aliveEvery)
			continue
		}
		if err := t.out.Wait(); err != nil {
			return err
		}
		var due <-chan time.Time
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-done:
			ended = true
			return err
		case <-t.more:
		case <-due:
		case <-alive.C:
			if err := t.sendNext(); err != nil {
				return err
			}
		}
	}
}

// gather reads what is written, and has it wait to be given.
func (t *tail) gather(ctx context.Context) error {
	t.reading.ctx = ctx
	for {
		t.look()
		f := t.next()
		if f == nil {
			if err := t.rest(ctx); err != nil {
				return err
			}
			continue
		}
		t.setUpTo(f.seen)
		if err := t.untilRoom(ctx); err != nil {
			return err
		}
		if err := t.turn(ctx, f); err != nil {
			return err
		}
		t.waiting.skip(t.skips)
		t.skips = TailSkipped{}
	}
}

// rest waits until something has grown, and until the round is over, so that many lines
// share the next one.
func (t *tail) rest(ctx context.Context) error {
	t.setUpTo(math.MaxInt64)
	began := time.Now()
	for woken := false; !woken; {
		var due <-chan time.Time
		if wait := t.passTime(time.Now()); wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.grown.wake:
			woken = true
		case <-due:
		}
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(began.Add(t.roundEvery))):
		return nil
	}
}

// passTime does what is due although nothing is written, and returns when to come again; 0
// for not before something is.
func (t *tail) passTime(now time.Time) (wait time.Duration) {
	later := func(at time.Time) (due bool) {
		left := at.Sub(now)
		if left > 0 && (wait == 0 || left < wait) {
			wait = left
		}
		return left <= 0
	}
	for _, f := range t.followed {
		if f.run.last != nil && later(f.run.since.Add(t.foldFor)) {
			t.put(f.run.last)
			f.run.last = nil
		}
		if f.unfinished && later(f.read.Add(t.flushAfter)) {
			f.flush = true
			f.grown.Store(true)
			signal(t.grown.wake)
		}
	}
	return wait
}

// look finds containers that were created since.
func (t *tail) look() {
	if !t.grown.unknown.Swap(false) {
		return
	}
	all := t.Journals.Containers()
	kept := make(map[string]bool, len(all))
	for i := range all {
		c := &all[i]
		kept[c.ID] = true
		if _, known := t.grown.logs.Load(c.ID); known {
			continue
		}
		wanted := t.find.means(c, make([]bool, len(t.Containers)))
		flag := t.grown.know(c.ID, wanted)
		if wanted {
			t.followed[c.ID] = &followed{container: *c, grown: flag, from: c.Born}
		}
	}
	t.grown.logs.Range(func(id, _ any) bool {
		if !kept[id.(string)] {
			t.forget(id.(string))
		}
		return true
	})
}

// forget gives up a container whose log is removed.
func (t *tail) forget(id string) {
	t.grown.logs.Delete(id)
	if f := t.followed[id]; f != nil && f.run.last != nil {
		t.put(f.run.last)
	}
	delete(t.followed, id)
}

// next takes the container out of those that have grown whose next line may be the first;
// nil if there is none.
func (t *tail) next() *followed {
	for _, f := range t.followed {
		if f.grown.Swap(false) && !f.behind {
			f.behind = true
			t.behind = append(t.behind, f)
		}
	}
	if len(t.behind) == 0 {
		return nil
	}
	first := 0
	for i, f := range t.behind {
		if f.seen < t.behind[first].seen {
			first = i
		}
	}
	f := t.behind[first]
	f.behind = false
	t.behind = slices.Delete(t.behind, first, first+1)
	return f
}

// turn reads some of what a container has written since it was last read.
func (t *tail) turn(ctx context.Context, f *followed) error {
	done, err := t.Searcher.pool.turn(ctx)
	if err != nil {
		return err
	}
	more, err := t.read(f)
	done()
	if more && !f.behind {
		f.behind = true
		t.behind = append(t.behind, f)
	}
	return err
}

// read is what turn does of its own; more is to be read if it says so. The log isn't held
// afterwards.
func (t *tail) read(f *followed) (more bool, err error) {
	switch err := t.open(t.Journals, f.container.ID); {
	case errors.Is(err, journal.ErrNotFound):
		t.forget(f.container.ID)
		return false, nil
	case err != nil: // it is tried again when more is written
		if !f.failed {
			t.skips.Unreadable++
		}
		f.failed = true
		return false, nil
	}
	defer t.close()
	f.failed = false
	_, end := t.journal.Bounds()
	t.start(f, end)
	if err := t.catchUp(f, end); err != nil {
		return false, err
	}
	t.src.Restart(f.at)
	from := f.at.Next
	began := from
	more = true
	for left := int64(turnBytes); more && left > 0; {
		if more, err = t.step(f); err != nil {
			break // the disk fails; the rest is tried again when more is written
		}
		if at := t.src.Offset(); at > from {
			left, from = left-(at-from), at
		}
	}
	if f.flush && !more && from == began {
		t.src.End()
		for more := true; more && err == nil; {
			more, err = t.step(f)
		}
	}
	f.flush = false
	if from > began || f.read.IsZero() {
		f.read = time.Now()
	}
	for _, n := range t.state.TakeCounts() {
		t.skips.Undecided += n.GivenUp
	}
	t.skips.Removed += t.src.Skipped
	if !t.src.Replaying() {
		f.at = t.src.Position()
	}
	f.unfinished = t.src.Unfinished()
	return more && err == nil, t.ctx.Err()
}

// step reads on by a frame, or a block of them; not more at the log's present end.
func (t *tail) step(f *followed) (more bool, err error) {
	at := t.src.Offset()
	l, more := t.src.Step()
	if l != nil {
		return true, t.line(f, l, at >= f.from)
	}
	if more {
		return true, nil
	}
	switch err := t.src.Fill(); {
	case err == nil:
		return true, nil
	case !errors.Is(err, io.EOF):
		return false, err
	}
	for l, _ := t.src.Step(); l != nil; l, _ = t.src.Step() {
		if err := t.line(f, l, true); err != nil {
			return false, err
		}
	}
	return false, nil
}

// start finds out where the log is to be read from, at first.
func (t *tail) start(f *followed, end int64) {
	if f.begun {
		return
	}
	f.begun = true
	if f.from == unknown {
		f.from = end
	}
	// From a block's beginning on, so that it is known which lines have begun there.
	at := t.journal.Boundary(f.from)
	if at > f.from {
		t.skips.Removed += at - f.from
		f.from = at
	}
	f.at, f.streams = lines.Position{Next: at}, nil
}

// catchUp passes over what is too far behind.
func (t *tail) catchUp(f *followed, end int64) error {
	share := t.maxLag / int64(len(t.behind)+1)
	lag := end - max(f.at.Next, f.from)
	if lag <= share || lag <= lagMost*share && t.age(time.Now()) < t.slowAfter {
		return nil
	}
	to := t.journal.Boundary(end - share/2)
	from := max(f.at.Next, f.from)
	if to <= from {
		return nil
	}
	r := t.journal.NewReader(from)
	r.Aside = true
	defer r.Close()
	for r.Offset() < to {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		at := r.Offset()
		block, off, err := r.Next()
		if err != nil {
			break
		}
		t.skips.Removed += off - at
		block = block[:min(int64(len(block)), max(0, to-off))]
		_, n, _ := entry.Skip(block, math.MaxInt64)
		t.skips.Lines += n
		t.skips.Bytes += int64(len(block))
	}
	f.at, f.from, f.streams = lines.Position{Next: to}, to, nil
	return nil
}

// line has a line be shown that is new, if it is wanted.
func (t *tail) line(f *followed, l *lines.Line, isNew bool) error {
	f.seen = max(f.seen, l.TimeNano)
	first := !slices.Contains(f.streams, l.Stream)
	if first {
		f.streams = append(f.streams, l.Stream)
	}
	if !isNew {
		return nil
	}
	if l.Torn && first { // reading may have begun behind its beginning
		whole, err := t.whole(l)
		if whole == nil || err != nil {
			return err
		}
		l = whole
	}
	line := rule.Line{Stream: l.Stream, TimeNano: l.TimeNano, Text: l.Text}
	if t.Stream != rule.Streams[0] && t.Stream != "" && l.Stream != t.Stream || !t.match.Match(&t.state, line) {
		return nil
	}
	f.key = max(f.key, l.TimeNano)
	shown := &TailLine{Hit: Hit{Line: lineOf(l, len(l.Text)), place: place{f.key, f.container.ID, l.To}}}
	if !t.Invert && t.Pattern != "" {
		shown.Spans = t.match.Spans(rule.Line{Text: shown.Text}, maxSpans)
	}
	for _, l := range t.shown(f, shown) {
		t.put(l)
	}
	return nil
}
