package query

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"logscan/internal/journal"
	"logscan/internal/lines"
	"logscan/internal/rule/match"
)

// block is a run of frames, between two points of an index, whose lines are wanted.
type block struct {
	at        int64 // where it begins
	after, to int64 // lines are wanted that end behind the one offset, and up to the other
	before    int64 // the greatest time before it: of none of its lines the time is less
	max       int64 // nor greater than this
	run       int64 // the time of the last hit before after, see assign; else before
}

// reading reads journals, one at a time, and holds those that it has read.
type reading struct {
	ctx     context.Context
	*held                    // the one that is read; nil while there is none
	all     map[string]*held // by container
	opened  time.Time        // when the first of them was
	stop    int64            // up to where lines are wanted; what each calls may lower it
	skipped int64            // bytes that were no longer there
}

// held is a container's journal, and what reads it.
type held struct {
	id      string
	journal *journal.Journal
	src     *lines.Source
	behind  *lines.Source // for lines that began before where src does; nil until there is one
}

// open has a container's journal be the one that is read.
func (r *reading) open(journals *journal.Dir, id string) error {
	if r.held != nil && r.id == id {
		return nil
	}
	if r.held != nil {
		r.src.Release()
		if r.behind != nil {
			r.behind.Release()
		}
	}
	if r.held = r.all[id]; r.held != nil {
		return nil
	}
	if len(r.all) >= maxHeldLogs {
		r.close()
	}
	j, err := journals.Acquire(id)
	if err != nil {
		return err
	}
	r.held = &held{id: id, journal: j, src: lines.New(j, lines.Position{}, lines.Config{Aside: true})}
	if len(r.all) == 0 {
		r.all, r.opened = map[string]*held{}, time.Now()
	}
	r.all[id] = r.held
	return nil
}

// letGo gives up all journals where some have been held for long.
func (r *reading) letGo() {
	if len(r.all) > 0 && time.Since(r.opened) > holdMost {
		r.close()
	}
}

// close gives up all journals.
func (r *reading) close() {
	for _, h := range r.all {
		if h.behind != nil {
			h.behind.Close()
		}
		h.src.Close()
		h.journal.Release()
	}
	r.held, r.all = nil, nil
}

// each calls f with the wanted lines of adjacent blocks and the number of their block, in
// the order in which the lines end, but for those that others end. Where a finder says that
// they aren't wanted, it passes over some, and returns how many.
func (r *reading) each(blocks []block, finder *match.Finder, f func(l *lines.Line, of int) error) (passed int64, err error) {
	first, last := &blocks[0], &blocks[len(blocks)-1]
	of := 0
	r.stop = last.to
	skim := func() {
		if finder != nil && r.src.Offset() >= first.after {
			passed += r.src.Skim(finder, r.stop)
		}
	}
	err = r.from(r.src, first.at, skim, func(l *lines.Line) error {
		if l.To <= first.after || l.To > r.stop {
			return nil
		}
		if l.Torn {
			whole, err := r.whole(l)
			if whole == nil || err != nil {
				return err
			}
			l = whole
		}
		for of > 0 && l.To <= blocks[of].at {
			of--
		}
		for of+1 < len(blocks) && l.To > blocks[of+1].at {
			of++
		}
		return f(l, of)
	}, func(from, to int64) {
		r.skipped += max(0, min(to, last.to)-max(from, first.after))
	})
	return passed, err
}

// noSkim passes over nothing.
func noSkim() {}

// from calls f with all lines from an offset on, until none is to come that ends at
// r.stop or before; skim may pass over some, and gone is told what is no longer there.
func (r *reading) from(src *lines.Source, off int64, skim func(), f func(*lines.Line) error, gone func(from, to int64)) error {
	src.Restart(lines.Position{Next: off})
	for {
		skim()
		line, more := src.Step()
		if line != nil {
			if err := f(line); err != nil {
				return err
			}
		}
		if src.Offset() >= r.stop && !src.UnfinishedTo(r.stop) {
			return nil
		}
		if line != nil || more {
			continue
		}
		if err := r.ctx.Err(); err != nil {
			return err
		}
		before := src.Offset()
		err := src.Fill()
		if after := src.Offset(); after > before {
			gone(before, after)
		}
		if errors.Is(err, io.EOF) {
			for line, _ := src.Step(); line != nil; line, _ = src.Step() {
				if err := f(line); err != nil {
					return err
				}
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// How far back the beginning of a line is looked for, in bytes: first, and at most, which
// is further than a line reaches.
const (
	backFirst = 256 << 10
	backMost  = 32 << 20
)

// whole returns the line that ends where one does whose beginning may be missing; nil if
// that is no line, but the rest of one that was too long. What it returns is valid until
// its next call.
func (r *reading) whole(torn *lines.Line) (found *lines.Line, err error) {
	if r.behind == nil {
		r.behind = lines.New(r.journal, lines.Position{}, lines.Config{Aside: true})
	}
	stop := r.stop
	defer func() { r.stop = stop }()
	r.stop = torn.To
	first, _ := r.journal.Bounds()
	for back := int64(backFirst); ; back *= 8 {
		from := max(r.journal.Boundary(max(torn.From-back, first)), first)
		if from > torn.From {
			return torn, nil // its beginning is removed
		}
		found = nil
		gone := false
		err := r.from(r.behind, from, noSkim, func(l *lines.Line) error {
			if l.To == torn.To {
				line := *l
				line.Text = slices.Clone(l.Text)
				found = &line
			}
			return nil
		}, func(int64, int64) { gone = true })
		if err == nil && found == nil && gone {
			return torn, nil // its beginning is removed
		}
		if err != nil || found != nil && !found.Torn || from <= first || back >= backMost {
			return found, err
		}
	}
}
