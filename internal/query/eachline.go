package query

import (
	"context"
	"errors"
	"io"

	"logscan/internal/journal"
	"logscan/internal/lines"
)

// linesATurn is how many lines are read in one turn, where all of a log is.
const linesATurn = 256

// eachLine calls f with the lines of a container's log that are of a time or later, up to
// where the log ends now. It is bounded by ctx, and reads in turns; what it couldn't read is
// skipped bytes.
func (p *Pool) eachLine(ctx context.Context, journals *journal.Dir, id string, since int64, f func(*lines.Source, *lines.Line)) (skipped int64, err error) {
	j, err := journals.Acquire(id)
	if errors.Is(err, journal.ErrNotFound) {
		return 0, nil // it has just been removed
	}
	if err != nil {
		return 0, err
	}
	defer j.Release()
	from, err := j.SeekTime(since)
	if err != nil {
		return 0, err
	}
	_, end := j.Bounds()
	src := lines.New(j, lines.Position{Next: from}, lines.Config{Aside: true})
	defer src.Close()
	for err == nil && src.Offset() < end {
		var done func()
		if done, err = p.turn(ctx); err != nil {
			break
		}
		for n := 0; n < linesATurn && src.Offset() < end; n++ {
			var l lines.Line
			if l, err = src.Next(); err != nil {
				break
			}
			if l.TimeNano >= since {
				f(src, &l)
			}
		}
		done()
	}
	if err == io.EOF {
		err = nil
	}
	return src.Skipped, err
}
