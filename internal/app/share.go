package app

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"logscan/internal/api"
	"logscan/internal/journal"
	"logscan/internal/lines"
	"logscan/internal/rule"
)

// shareBounds are how much is read to say which share of lines a rule matches.
type shareBounds struct {
	since time.Duration // how far back
	lines int64
	bytes int64 // of logs, uncompressed; up to twice as many where lines differ in length
	time  time.Duration
}

var usualShare = shareBounds{since: time.Hour, lines: 100_000, bytes: 8 << 20, time: 500 * time.Millisecond}

// share tries a rule on the lines that the containers which it holds for have written
// lately. Where these are more than the bounds allow, it has the newest of each. It takes
// nothing that carries lines: it reads what is kept, as docker logs does.
func share(ctx context.Context, journals *journal.Dir, r rule.Rule, now time.Time, most shareBounds) (api.Hint, error) {
	workload := r.WorkloadID
	r.State, r.WorkloadID, r.OverridesID = rule.On, "", 0
	r.RecordStart = "" // it is tried on lines
	snapshot, bad := rule.Compile([]rule.Rule{r})
	if len(bad) > 0 {
		return api.Hint{}, bad[0]
	}
	since := now.Add(-most.since)
	t := trial{rule: &r, since: since.UnixNano(), end: time.Now().Add(most.time), lines: most.lines, out: api.Hint{Since: since.UTC()}}
	t.matching = snapshot.For("").Begin()
	defer t.matching.End()
	infos := slices.DeleteFunc(journals.List(), func(i journal.Info) bool {
		of := rule.Container{Workload: i.Workload, Name: i.Name, Image: i.Image, Labels: i.Labels}
		return !i.Scan || i.LastLine.Before(since) || workload != "" && i.Workload != workload || !r.Holds(of)
	})
	// The smallest first: what one doesn't use of its share is the next ones'.
	slices.SortStableFunc(infos, func(a, b journal.Info) int { return cmp.Compare(a.Bytes, b.Bytes) })
	for k, i := range infos {
		if t.over() {
			t.out.Sample = true
			break
		}
		left := int64(len(infos) - k)
		err := t.read(ctx, journals, i.ID, most.lines/left, most.bytes/left)
		if err != nil {
			return api.Hint{}, err
		}
		most.lines, most.bytes = t.lines, max(0, most.bytes-t.took)
	}
	t.out.GivenUp = t.state.TakeCounts()[r.ID].GivenUp
	return t.out, nil
}

// trial is a rule being tried.
type trial struct {
	rule     *rule.Rule
	matching rule.Matching
	state    rule.State
	since    int64     // in nanoseconds: older lines don't count
	end      time.Time // of it
	lines    int64     // that may still be read
	took     int64     // bytes of the log that was read last
	out      api.Hint
}

func (t *trial) over() bool { return t.lines <= 0 || !time.Now().Before(t.end) }

// read tries the rule on a container's newest lines, at most so many lines, and at most
// about twice so many bytes. What can't be read is left out.
func (t *trial) read(ctx context.Context, journals *journal.Dir, id string, most, bytes int64) error {
	t.took = 0
	j, err := journals.Acquire(id)
	if err != nil {
		return nil // it has just been removed
	}
	defer j.Release()
	from, end, whole := newest(j, t.since, most, bytes)
	t.out.Sample = t.out.Sample || !whole
	src := lines.New(j, lines.Position{Next: from}, lines.Config{})
	defer src.Close()
	for n := 0; ; n++ {
		l, err := src.Next()
		if err != nil {
			t.out.Sample = t.out.Sample || !errors.Is(err, io.EOF) || src.Skipped > 0
			return nil
		}
		t.took = l.To - from
		if l.From >= end {
			return nil
		}
		if n%100 == 0 || len(l.Text) > 4096 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if t.over() || t.took > 2*bytes { // lines are of very different length
				t.out.Sample = true
				return nil
			}
		}
		t.lines--
		if l.TimeNano < t.since || t.rule.Streams != "all" && t.rule.Streams != l.Stream {
			continue
		}
		t.out.Lines++
		if t.matching.Match(&t.state, rule.Line{Stream: l.Stream, TimeNano: l.TimeNano, Text: l.Text}) {
			t.out.Matched++
		}
	}
}

// leastFrame is the bytes that a line takes at least in a log, about.
const leastFrame = 16

// newest is from where up to where a log has its newest lines, at most so many, and of at
// most twice so many bytes, of those since a time; whole says that these are all of them.
func newest(j *journal.Journal, since, most, bytes int64) (from, end int64, whole bool) {
	_, end = j.Bounds()
	from, err := j.SeekTime(since)
	if err != nil {
		return end, end, false
	}
	whole, most = true, min(most, (end-from)/leastFrame+1)
	for range 12 { // how long lines are isn't known before
		tail, err := j.SeekTail(most)
		if err != nil {
			return end, end, false
		}
		if tail > from {
			from, whole = tail, false
		}
		size := end - from
		if size <= 2*bytes || most <= 1 {
			break
		}
		most = max(1, most*bytes/size)
	}
	return from, end, whole
}
