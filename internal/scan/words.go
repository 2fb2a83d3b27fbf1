package scan

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"logscan/internal/journal"
	"logscan/internal/lines"
	"logscan/internal/rule"
	"logscan/internal/store"
)

const (
	// wordsLines is how many of the last lines of a run are kept. The last streamLines of
	// each stream are among them: what the other one still had in its pipe, up to 64 KiB,
	// comes behind an error that was written later.
	wordsLines  = 50
	streamLines = 10
	// wordsRead is of how many lines they are chosen, and wordsBytes how much these are.
	wordsRead  = 20_000
	wordsBytes = 256 << 10
	// shortRun is how long a run is of which they are kept, whatever they say.
	shortRun = 10 * time.Second
	// wordsSince is how long ago a run may have ended that is yet to be looked at.
	wordsSince = 24 * time.Hour
	// wordsRuns is of how many runs that ended meanwhile they are looked for: the latest.
	wordsRuns = 16
	// wordsEvery is how often it is looked whether runs have ended.
	wordsEvery = 200 * time.Millisecond
)

// words keep the last lines of runs that are short, or end with an error, beside the
// scanning. Which runs were looked at is stored with them.
type words struct {
	scanner *Scanner
	wake    chan struct{} // holds a token while runs may have ended

	mu    sync.Mutex
	ended map[string]struct{} // containers of which a run has

	heard map[string]int64 // by container, the latest run that was looked at; nil until it is known
}

// add says that a run of a container has ended.
func (w *words) add(id string) {
	w.mu.Lock()
	w.ended[id] = struct{}{}
	w.mu.Unlock()
	signal(w.wake)
}

// take returns some of the containers of which runs have ended.
func (w *words) take() (ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.ended {
		if len(ids) == maxRound {
			signal(w.wake)
			break
		}
		ids = append(ids, id)
		delete(w.ended, id)
	}
	return ids
}

// run looks at runs that have ended, until ctx ends. Where there are many, it takes half
// of a processor at most.
func (w *words) run(ctx context.Context) {
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		began := time.Now()
		ids := w.take()
		err := w.round(ctx, ids)
		if err != nil {
			for _, id := range ids {
				w.add(id)
			}
			if !failing && ctx.Err() == nil {
				w.scanner.log.Error("the last lines of runs aren't kept; trying again", "err", err)
			}
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(wordsEvery, time.Since(began))):
		}
	}
}

// round looks at the runs of some containers, and keeps their last lines.
func (w *words) round(ctx context.Context, ids []string) error {
	if w.heard == nil {
		heard, err := w.scanner.cfg.Store.RunsHeard(ctx)
		if err != nil {
			return err
		}
		w.heard = heard
	}
	var put []store.LastWords
	for _, id := range ids {
		found, err := w.last(id)
		if errors.Is(err, journal.ErrNotFound) {
			delete(w.heard, id)
			continue
		}
		if err != nil {
			w.scanner.log.Warn("the last lines of a run can't be read", "container", id, "err", err)
			continue
		}
		put = append(put, found...)
	}
	if len(put) == 0 {
		return nil
	}
	if err := w.scanner.cfg.Store.PutLastWords(ctx, put); err != nil {
		return err
	}
	for _, p := range put {
		w.heard[p.Container] = p.Run
	}
	kept := w.scanner.cfg.Journals.IDs() // in order
	maps.DeleteFunc(w.heard, func(id string, _ int64) bool {
		_, found := slices.BinarySearch(kept, id)
		return !found
	})
	return nil
}

// last returns the last words of the runs of a container that have ended, and weren't
// looked at.
func (w *words) last(id string) (found []store.LastWords, err error) {
	j, err := w.scanner.cfg.Journals.Acquire(id)
	if err != nil {
		return nil, err
	}
	defer j.Release()
	runs, goesOn := j.Runs()
	_, end := j.Bounds()
	for n, r := range runs {
		if r.N <= w.heard[id] || n+1 == len(runs) && goesOn {
			continue
		}
		of := store.LastWords{Container: id, Run: r.N}
		to := end
		if n+1 < len(runs) {
			to = runs[n+1].From
		}
		if n >= len(runs)-1-wordsRuns && to > r.From && w.scanner.now().Sub(r.Ended) < wordsSince {
			all, err := lastLines(j, r.From, to)
			if err != nil {
				return found, err
			}
			if r.Ended.Sub(r.Started) <= shortRun || endsBadly(all) {
				of.Lines = w.scanner.keptLines(all)
			}
		}
		found = append(found, of)
	}
	return found, nil
}

// lastLines returns the last lines between two places in a journal.
func lastLines(j *journal.Journal, from, to int64) ([]lines.Line, error) {
	around, err := lines.ReadAround(j, lines.Place{From: to, To: to}, lines.Surroundings{
		Before: wordsRead, Bytes: wordsBytes, Max: contextLine + contextMargin, Last: true,
	})
	all := slices.DeleteFunc(around.Before, func(l lines.Line) bool { return l.From < from })
	if len(all) <= wordsLines {
		return all, err
	}
	of := map[string]int{} // lines that are chosen, by stream
	chosen, others := make([]bool, len(all)), wordsLines
	for n, l := range slices.Backward(all) {
		if of[l.Stream] < streamLines {
			of[l.Stream]++
			chosen[n] = true
			others--
		}
	}
	out := make([]lines.Line, 0, wordsLines)
	for n := range slices.Backward(all) {
		if !chosen[n] && others > 0 {
			chosen[n] = true
			others--
		}
	}
	for n, l := range all {
		if chosen[n] {
			out = append(out, l)
		}
	}
	return out, err
}

// endsBadly reports whether one of some lines looks like an error.
func endsBadly(all []lines.Line) bool {
	looks := rule.ErrorLike().Begin()
	defer looks.End()
	var state rule.State
	return slices.ContainsFunc(all, func(l lines.Line) bool {
		return looks.Match(&state, rule.Line{Stream: l.Stream, TimeNano: l.TimeNano, Text: l.Text})
	})
}

// hearLastWords has the last lines be kept of the runs of its container that have ended
// since it was last called.
func (f *follower) hearLastWords() {
	runs, goesOn := f.j.Runs()
	n := len(runs) - 1
	if n >= 0 && goesOn {
		n--
	}
	if n < 0 || runs[n].N <= f.heard {
		return
	}
	if !goesOn && !f.ready() { // it may only seem to have ended
		f.unsure = true
		return
	}
	f.heard = runs[n].N
	f.scanner.words.add(f.id)
}
