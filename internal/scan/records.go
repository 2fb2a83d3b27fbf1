package scan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"regexp"
	"slices"
	"time"

	"logscan/internal/journal"
	"logscan/internal/lines"
	"logscan/internal/rule"
)

// records are a container's, made in each way in which the rules that are for it have
// them made.
type records struct {
	ways []recordWay // as rule.Set.Ways has them
	// start says how records begin that go by their form; nil: that tells.
	start    *regexp.Regexp
	evaluate func(rule.Record)
	give     func(*lines.Record) // take
	way      int                 // that it is about
	taken    rule.Record         // scratch
}

// startReach is how many bytes of a line a container's own pattern for first lines sees.
const startReach = 4096

// startOf compiles a container's own pattern for first lines; nil where it has none that
// can be used.
func startOf(c *journal.Container) *regexp.Regexp {
	if c.RecordStart == "" {
		return nil
	}
	re, err := regexp.Compile(c.RecordStart)
	if err != nil { // logdriver accepts none such
		return nil
	}
	return re
}

type recordWay struct {
	text string
	lines.Records
}

// init has what comes of lines be told to evaluate.
func (r *records) init(evaluate func(rule.Record)) { r.evaluate, r.give = evaluate, r.take }

// take hands on a record.
func (r *records) take(of *lines.Record) {
	r.taken.Way, r.taken.Lines = r.way, r.taken.Lines[:0]
	r.taken.From, r.taken.To = of.From, of.To
	for i := range of.Lines {
		l := &of.Lines[i]
		r.taken.Lines = append(r.taken.Lines, rule.Line{Stream: l.Stream, TimeNano: l.TimeNano, Text: l.Text})
	}
	r.evaluate(r.taken)
}

// use has records be made in the ways of a set. What isn't over is kept of those that
// there were; it reports whether there were others, of which something isn't.
func (r *records) use(set *rule.Set) (dropped bool) {
	was := r.ways
	r.ways = nil
	for _, text := range set.Ways() {
		w := recordWay{text: text}
		if n := slices.IndexFunc(was, func(w recordWay) bool { return w.text == text }); n >= 0 {
			w.Records = was[n].Records
		}
		r.ways = append(r.ways, w)
	}
	return slices.ContainsFunc(was, func(w recordWay) bool {
		_, _, open := w.First()
		return open && !slices.ContainsFunc(r.ways, func(now recordWay) bool { return now.text == w.text })
	})
}

// add takes a line that a source has given; nil for none.
func (r *records) add(from *lines.Source, l *lines.Line, m *rule.Matching) {
	end, ended := from.TakeEnd()
	if ended && (l == nil || l.From >= end) {
		r.end(end)
		ended = false
	}
	if l != nil {
		r.line(l, m)
	}
	if ended {
		r.end(end)
	}
}

func (r *records) line(l *lines.Line, m *rule.Matching) {
	if len(r.ways) == 1 && r.start == nil { // as nearly always
		r.way = 0
		r.ways[0].Add(l, nil, r.give)
		return
	}
	begins := m.Begins(rule.Line{Stream: l.Stream, Text: l.Text})
	for n := range r.ways {
		r.way = n
		starts := func([]byte) bool { return begins[n] }
		switch {
		case n > 0:
		case r.start == nil:
			starts = nil
		default:
			starts = func(text []byte) bool {
				return r.start.Match(bytes.TrimRight(text[:min(len(text), startReach)], "\r"))
			}
		}
		r.ways[n].Add(l, starts, r.give)
	}
}

// end ends the records that began before an offset.
func (r *records) end(before int64) {
	for n := range r.ways {
		r.way = n
		r.ways[n].End(before, r.give)
	}
}

// quiet ends the records that go on no more when nothing was written for so long.
func (r *records) quiet(d time.Duration) {
	for n := range r.ways {
		r.way = n
		r.ways[n].Quiet(d, r.give)
	}
}

// wait is after how long a quiet something ends; 0 for never.
func (r *records) wait() (d time.Duration) {
	for n := range r.ways {
		if w := r.ways[n].Wait(); w != 0 && (d == 0 || w < d) {
			d = w
		}
	}
	return d
}

// first is the offset of the first line that isn't evaluated in each way, at most up to,
// and the earliest time of such lines, in nanoseconds; 0 for none.
func (r *records) first(upTo int64) (from, nano int64) {
	from = upTo
	for n := range r.ways {
		if off, at, ok := r.ways[n].First(); ok {
			from = min(from, off)
			if nano == 0 || at < nano {
				nano = at
			}
		}
	}
	return from, nano
}

// The stored form of a follower's state is the rule engine's, and with records, whose
// version can't be one of the engine's:
//
//	+-------------+--------+-------+-------+-------------------------------------------+
//	| version (1) | length | state | count | count × (length, pattern, length, records) |
//	+-------------+--------+-------+-------+-------------------------------------------+
const recordsVersion = 128

var errRecords = errors.New("scan: not a state with records")

// append appends the stored form of a state with records.
func (r *records) append(b, state []byte) []byte {
	b = append(b, recordsVersion)
	b = appendBytes(b, state)
	b = binary.AppendUvarint(b, uint64(len(r.ways)))
	for n := range r.ways {
		b = appendBytes(b, []byte(r.ways[n].text))
		kept, _ := r.ways[n].AppendBinary(nil) // never fails
		b = appendBytes(b, kept)
	}
	return b
}

func appendBytes(b, v []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// load makes r what was stored, and returns the rule engine's state with it.
func (r *records) load(b []byte) (state []byte, err error) {
	r.ways = nil
	if len(b) == 0 || b[0] != recordsVersion {
		return b, nil
	}
	ok := true
	count := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > math.MaxInt32 {
			ok = false
			return 0
		}
		b = b[n:]
		return v
	}
	cut := func() (v []byte) {
		if n := count(); ok && n <= uint64(len(b)) {
			v, b = b[:n], b[n:]
			return v
		}
		ok = false
		return nil
	}
	b = b[1:]
	state = cut()
	var ways []recordWay
	for n := count(); ok && n > 0; n-- {
		w := recordWay{text: string(cut())}
		if kept := cut(); ok && w.UnmarshalBinary(kept) != nil {
			ok = false
		}
		ways = append(ways, w)
	}
	if !ok || len(b) > 0 {
		return state, errRecords
	}
	r.ways = ways
	return state, nil
}
