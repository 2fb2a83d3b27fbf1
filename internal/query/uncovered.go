package query

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"logscan/internal/journal"
	"logscan/internal/lines"
	"logscan/internal/redact"
	"logscan/internal/rule"
	"logscan/internal/shape"
)

// UncoveredQuery says of which lines it is asked what no rule is about.
type UncoveredQuery struct {
	Since    time.Time
	Workload string // "" for all
	Limit    int    // shapes that are told; 0 for all that are known
	Redact   *redact.Redactor
}

// Uncovered is the lines that look like errors, and that no rule matches.
type Uncovered struct {
	Shapes []UncoveredShape // the most frequent first, of as many the newest
	More   int              // shapes beyond the query's limit
	Others int64            // errors of shapes that there was no room for
	Lines  int64            // that were read
	Errors int64            // of them, or records that begin with them, what looks like an error
	Missed int64            // of these, what no rule matches
	Until  time.Time        // what is newer was not read
	// Unread is bytes that the logs no longer had, or that can't be read.
	Unread int64
}

// UncoveredShape is such lines of one shape in one workload.
type UncoveredShape struct {
	Workload    string
	Shape       shape.Shape
	Lines       int64 // or records
	First, Last time.Time
	Container   string // name of the one that wrote the last of them
	Sample      string // that line, as a hit's text
	Pattern     string // that lines of the shape match; "" where none was found
}

// maxShapes is how many shapes are told apart.
const maxShapes = 5000

// FindUncovered reads what is kept of logs, and returns the lines that look like errors
// and that none of some rules matches by its own conditions. Of records, as a stack
// trace, it is the first line that counts, and it is covered where any of the record's
// lines is. What is read is bounded by ctx alone; it is a query of a pool, and ErrBusy asks
// to try again.
func FindUncovered(ctx context.Context, journals *journal.Dir, pool *Pool, rules []rule.Rule, q UncoveredQuery) (Uncovered, error) {
	leave, err := pool.enter(false)
	if err != nil {
		return Uncovered{}, err
	}
	defer leave()
	rules = slices.Clone(rules)
	for i := range rules {
		rules[i].RecordStart = "" // records are made by their form here
	}
	snapshot, _ := rule.Compile(rules) // those that can't be used cover nothing
	u := uncovering{since: q.Since.UnixNano(), redact: q.Redact, shapes: map[shapeKey]*UncoveredShape{}, looks: rule.ErrorLike().Begin()}
	defer u.looks.End()
	u.out.Until = time.Now().UTC()
	for _, info := range journals.List() {
		if !info.Scan || info.LastLine.Before(q.Since) || q.Workload != "" && info.Workload != q.Workload {
			continue
		}
		u.info = info
		if err := u.read(ctx, journals, pool, snapshot.ForContainer(rule.Container{Workload: info.Workload, Name: info.Name, Image: info.Image, Labels: info.Labels})); err != nil {
			return Uncovered{}, err
		}
	}
	return u.result(q.Limit), nil
}

type shapeKey struct {
	workload string
	shape    shape.Shape
}

// uncovering is a query under way.
type uncovering struct {
	since  int64 // nanoseconds
	redact *redact.Redactor
	shapes map[shapeKey]*UncoveredShape
	looks  rule.Matching
	out    Uncovered

	// Of the container that is read.
	info     journal.Info
	matching rule.Matching
	record   rule.Record // scratch
}

// read reads a container's log.
func (u *uncovering) read(ctx context.Context, journals *journal.Dir, pool *Pool, set *rule.Set) error {
	u.matching = set.Begin()
	defer u.matching.End()
	var records lines.Records
	skipped, err := pool.eachLine(ctx, journals, u.info.ID, u.since, func(src *lines.Source, l *lines.Line) {
		u.out.Lines++
		if at, ended := src.TakeEnd(); ended {
			records.End(at, u.take)
		}
		records.Add(l, nil, u.take)
	})
	u.out.Unread += skipped
	if err == nil {
		records.End(math.MaxInt64, u.take)
	}
	return err
}

// take looks at a record.
func (u *uncovering) take(of *lines.Record) {
	first := &of.Lines[0]
	line := rule.Line{Stream: first.Stream, TimeNano: first.TimeNano, Text: first.Text}
	var none rule.State
	if !u.looks.Match(&none, line) {
		return
	}
	u.out.Errors++
	u.record.Lines = u.record.Lines[:0]
	for i := range of.Lines {
		l := &of.Lines[i]
		u.record.Lines = append(u.record.Lines, rule.Line{Stream: l.Stream, TimeNano: l.TimeNano, Text: l.Text})
	}
	covered := false
	var state rule.State
	u.matching.Evaluate(&state, u.record, nil, func(rule.Line, int) {
		covered = covered || len(u.matching.Telling()) > 0
	})
	u.matching.TakeMatches()
	if covered {
		return
	}
	u.out.Missed++
	u.add(first)
}

// add notes a line that no rule matches.
func (u *uncovering) add(l *lines.Line) {
	k := shapeKey{u.info.Workload, shape.Of(l.Text)}
	at := time.Unix(0, l.TimeNano).UTC()
	s := u.shapes[k]
	if s == nil {
		if len(u.shapes) >= maxShapes {
			u.out.Others++
			return
		}
		s = &UncoveredShape{Workload: k.workload, Shape: k.shape, First: at, Last: at}
		u.shapes[k] = s
	}
	s.Lines++
	if at.Before(s.First) {
		s.First = at
	}
	if s.Sample == "" || !at.Before(s.Last) {
		s.Last, s.Container, s.Sample = at, u.info.Name, rule.Shown(l.Text, u.redact)
	}
}

// result orders what was found.
func (u *uncovering) result(limit int) Uncovered {
	for _, s := range u.shapes {
		u.out.Shapes = append(u.out.Shapes, *s)
	}
	slices.SortFunc(u.out.Shapes, func(a, b UncoveredShape) int {
		return cmp.Or(cmp.Compare(b.Lines, a.Lines), b.Last.Compare(a.Last), cmp.Compare(a.Workload, b.Workload), cmp.Compare(a.Sample, b.Sample))
	})
	if limit > 0 && len(u.out.Shapes) > limit {
		u.out.More, u.out.Shapes = len(u.out.Shapes)-limit, u.out.Shapes[:limit]
	}
	for i := range u.out.Shapes {
		u.out.Shapes[i].Pattern = patternOf(u.out.Shapes[i].Sample)
	}
	return u.out
}
