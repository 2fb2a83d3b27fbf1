package correlate

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"logscan/internal/incident"
	"logscan/internal/rule"
)

// ratioState is what is known of a key of a rule of kind ratio. Lines are counted in
// buckets, rule.WindowBuckets in a window, by the time of their entries. The share is
// told at the end of each bucket, of the window that ends there, once none of its lines
// can come any more.
type ratioState struct {
	Judged  int64        `json:"j,omitempty"` // the end of a bucket up to which all was told
	Above   int64        `json:"a,omitempty"` // while it is open: the latest end of a bucket at which the share was above
	Match   int64        `json:"m,omitempty"` // the time of the latest match
	Buckets ratioBuckets `json:"b,omitempty"` // those that windows to come have, in order
	Lines   []ratioLine  `json:"l,omitempty"` // the latest match of each bucket behind Judged, in order
	Last    *ratioLine   `json:"t,omitempty"` // the latest one before it
}

// ratioBuckets are stored as varints.
type ratioBuckets []ratioBucket

// ratioBucket counts the lines of a bucket.
type ratioBucket struct {
	n           int64 // its number, from the epoch on
	of, matches int64
	first       int64 // how far behind its begin the first match is, in nanoseconds
}

// ratioLine is a match.
type ratioLine struct {
	N      int64  `json:"n"` // its bucket
	Time   int64  `json:"t"`
	Text   string `json:"x"`
	Stream string `json:"s"`
}

func (e *Engine) matchRatio(rs *ruleState, s *state, m *rule.Match) {
	if s.ratio == nil {
		s.ratio = &ratioState{}
	}
	e.passRatio(rs, s, m.TimeNano-slack)
	s.ratio.add(rs.rule, m)
	if m.Until > m.TimeNano {
		e.passRatio(rs, s, m.Until-slack)
	}
	s.seen = max(s.seen, m.TimeNano, m.Until)
}

// add counts a line, unless it came too late for any window.
func (t *ratioState) add(r *rule.Rule, m *rule.Match) {
	n := rule.Slot(m.TimeNano, r.Bucket())
	begin := n * int64(r.Bucket())
	if begin+int64(r.Window()) <= t.Judged {
		return
	}
	at, found := slices.BinarySearchFunc(t.Buckets, n, func(b ratioBucket, n int64) int { return cmp.Compare(b.n, n) })
	if !found {
		t.Buckets = slices.Insert(t.Buckets, at, ratioBucket{n: n})
	}
	b := &t.Buckets[at]
	if m.Role == rule.Of {
		b.of += m.Lines
		return
	}
	if b.matches == 0 || m.TimeNano-begin < b.first {
		b.first = m.TimeNano - begin
	}
	b.matches++
	t.Match = max(t.Match, m.TimeNano)
	line := ratioLine{n, m.TimeNano, m.Text, m.Stream}
	at, found = slices.BinarySearchFunc(t.Lines, n, func(l ratioLine, n int64) int { return cmp.Compare(l.N, n) })
	switch {
	case !found:
		t.Lines = slices.Insert(t.Lines, at, line)
	case t.Lines[at].Time <= line.Time:
		t.Lines[at] = line
	}
}

// beginRatio forgets the lines up to the one that ended what was open.
func (e *Engine) beginRatio(rs *ruleState, s *state) {
	if s.ratio != nil {
		n := rule.Slot(s.cleared, rs.rule.Bucket())
		s.ratio.Buckets = slices.DeleteFunc(s.ratio.Buckets, func(b ratioBucket) bool { return b.n <= n })
		s.ratio.Lines = slices.DeleteFunc(s.ratio.Lines, func(l ratioLine) bool { return l.N <= n })
	}
}

// told is what there is to tell at the end of a bucket.
type told struct {
	at          int64
	of, matches int64 // in the window
	more        int64 // matches of the bucket, of what is open
	moreFrom    int64 // when the first of them was
	hit, end    bool
	idle        bool // no bucket counts any more
}

// judge looks at the ends of buckets, up to the first at which there is something to
// tell, or to a time.
func (t *ratioState) judge(r *rule.Rule, open bool, upTo int64) (told, bool) {
	length := int64(r.Bucket())
	all := t.Buckets
	var w told
	for lo, hi := 0, 0; open || len(all) > 0; {
		end := t.Judged/length + 1 // the number of the bucket behind
		if lo == hi && hi < len(all) && !open {
			end = max(end, all[hi].n+1)
		}
		if end*length > upTo {
			break
		}
		for ; hi < len(all) && all[hi].n < end; hi++ {
			w.of, w.matches = w.of+all[hi].of, w.matches+all[hi].matches
		}
		for ; lo < hi && all[lo].n < end-rule.WindowBuckets; lo++ {
			w.of, w.matches = w.of-all[lo].of, w.matches-all[lo].matches
		}
		t.Judged, t.Buckets = end*length, all[lo:]
		w.at = t.Judged
		above := w.of >= r.Least() && w.matches*rule.Whole > r.Share()*w.of
		if above {
			t.Above = max(t.Above, w.at)
		}
		if last := hi - 1; open && last >= lo && all[last].n == end-1 && all[last].matches > 0 {
			w.more, w.moreFrom = all[last].matches, all[last].n*length+all[last].first
		}
		w.hit, w.end = above && !open, open && w.at-t.Above >= int64(r.Window())
		w.idle = !open && hi == len(all) && all[hi-1].n+rule.WindowBuckets <= end
		if w.hit || w.end || w.idle || w.more > 0 {
			return w, true
		}
	}
	return told{}, false
}

// first is when the first match in the window up to Judged was.
func (t *ratioState) first(r *rule.Rule) int64 {
	for _, b := range t.Buckets {
		if b.matches > 0 {
			return b.n*int64(r.Bucket()) + b.first
		}
	}
	return 0
}

// settle keeps of the matches up to Judged the latest alone.
func (t *ratioState) settle(r *rule.Rule) {
	for len(t.Lines) > 0 && (t.Lines[0].N+1)*int64(r.Bucket()) <= t.Judged {
		if t.Last == nil || t.Last.Time <= t.Lines[0].Time {
			last := t.Lines[0]
			t.Last = &last
		}
		t.Lines = t.Lines[1:]
	}
}

func (s *state) dueRatio(rs *ruleState) int64 {
	if s.ratio == nil {
		return 0
	}
	ahead := *s.ratio
	w, ok := ahead.judge(rs.rule, s.open, math.MaxInt64)
	if !ok {
		return 0
	}
	return w.at + slack
}

func (e *Engine) passRatio(rs *ruleState, s *state, upTo int64) {
	t := s.ratio
	if t == nil {
		return
	}
	for {
		w, ok := t.judge(rs.rule, s.open, upTo)
		t.settle(rs.rule)
		if !ok {
			return
		}
		switch {
		case w.hit:
			e.hitRatio(rs, s, w)
			continue
		case w.idle:
			t.Buckets, t.Last = nil, nil
			continue
		}
		if w.more > 0 {
			e.grow(s, w.more, w.moreFrom, t.Last.Time, t.Last.Text)
		}
		if w.end {
			e.end(rs, s, w.at, endOfRatio(rs.rule, w))
		}
	}
}

func (e *Engine) hitRatio(rs *ruleState, s *state, w told) {
	r, last := rs.rule, s.ratio.Last // there is a match in the window
	s.open = true
	e.hit(rs, s, Hit{
		TimeNano: w.at, Line: last.Text, Stream: last.Stream, LineTime: last.Time, Matches: w.matches, Since: s.ratio.first(r),
		Text: fmt.Sprintf("%s of %s lines in %s match (%s), over %s%s; the last: %s", percent(w.matches, w.of, r.Share()), rule.Thousands(w.of), incident.Span(r.Window()), rule.Thousands(w.matches), rule.Percent(r.Share()), s.of(), last.Text),
	})
}

func endOfRatio(r *rule.Rule, w told) string {
	window := incident.Span(r.Window())
	if w.of < r.Least() {
		return fmt.Sprintf("%s of lines or less match for %s, or there were too few to tell: %s now, and %s would do", rule.Percent(r.Share()), window, rule.Thousands(w.of), rule.Thousands(r.Least()))
	}
	return fmt.Sprintf("%s of lines or less match for %s: %s of %s now", rule.Percent(r.Share()), window, percent(w.matches, w.of, -1), rule.Thousands(w.of))
}

// percent is a part as "7.3 %", with as many places as show that it is more than a share.
func percent(part, all, share int64) string {
	value := 100 * float64(part) / float64(all)
	for places := 1; ; places++ {
		text := strconv.FormatFloat(value, 'f', places, 64)
		if shown, _ := strconv.ParseFloat(text, 64); shown > 100*float64(share)/float64(rule.Whole) || places == 8 {
			return strings.TrimSuffix(text, ".0") + " %"
		}
	}
}

// setBackRatio has no line be later than now.
func (t *ratioState) setBack(r *rule.Rule, now int64) {
	n := rule.Slot(now, r.Bucket())
	t.Buckets = slices.DeleteFunc(t.Buckets, func(b ratioBucket) bool { return b.n > n })
	t.Lines = slices.DeleteFunc(t.Lines, func(l ratioLine) bool { return l.N > n })
	begin := n * int64(r.Bucket())
	t.Judged, t.Above, t.Match = min(t.Judged, begin), min(t.Above, begin), min(t.Match, now)
}

// stood has calm begin anew at a time: nothing is known of the time before.
func (t *ratioState) stood(r *rule.Rule, upTo int64) {
	t.Above = max(t.Above, rule.Slot(upTo, r.Bucket())*int64(r.Bucket()))
}

// MarshalJSON has buckets be as short as can be.
func (all ratioBuckets) MarshalJSON() ([]byte, error) {
	var b []byte
	last := int64(0)
	for _, v := range all {
		for _, n := range [...]int64{v.n - last, v.of, v.matches, v.first} {
			b = binary.AppendVarint(b, n)
		}
		last = v.n
	}
	return json.Marshal(b)
}

// UnmarshalJSON refuses what isn't in order.
func (all *ratioBuckets) UnmarshalJSON(text []byte) error {
	var b []byte
	if err := json.Unmarshal(text, &b); err != nil {
		return err
	}
	var r varints = b
	var out ratioBuckets
	for last := int64(0); len(r) > 0; {
		v := ratioBucket{last + r.next(), r.next(), r.next(), r.next()}
		if r == nil || len(out) > 0 && v.n <= last || min(v.of, v.matches, v.first) < 0 {
			return errOrder
		}
		out, last = append(out, v), v.n
	}
	*all = out
	return nil
}

var errOrder = errors.New("correlate: counts are not in order")

// varints are numbers; nil behind the first that can't be read.
type varints []byte

func (v *varints) next() int64 {
	n, size := binary.Varint(*v)
	if size <= 0 {
		*v = nil
		return 0
	}
	*v = (*v)[size:]
	return n
}

// sound reports whether what was read is as if it had been written: there is a match to
// tell of each bucket that has some.
func (t *ratioState) sound() bool {
	inOrder := slices.IsSortedFunc(t.Lines, func(a, b ratioLine) int { return cmp.Or(cmp.Compare(a.N, b.N), -1) })
	return inOrder && !slices.ContainsFunc(t.Buckets, func(b ratioBucket) bool {
		_, found := slices.BinarySearchFunc(t.Lines, b.n, func(l ratioLine, n int64) int { return cmp.Compare(l.N, n) })
		return b.matches > 0 && !found && t.Last == nil
	})
}
