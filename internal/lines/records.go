package lines

import "time"

// Record is lines of one stream that belong together, in order, at least one. It is
// valid until the next call of the Records that gave it, and as long as the line is that
// it was given last.
type Record struct {
	Lines    []Line
	From, To int64 // from its first frame on, up to behind its last
}

// Records makes records of a container's lines. What is of a record that isn't over is
// part of its state, which takes MaxRecord bytes of text and MaxRecordLines lines for each
// stream at the most. The zero Records begins at any line.
type Records struct {
	streams [len(streams)]unended
	one     [1]Line // scratch
	given   Record  // likewise
}

// unended is a record that may go on, and what is known of its stream.
type unended struct {
	grouping
	kept []Line // without their texts
	ends []int  // in text, of each of them
	text []byte
}

// Starts says whether a pattern matches the first line of a record; nil: records are
// known by their form.
type Starts func(text []byte) bool

// Add takes a line, and gives the records that are over then: those of other streams that
// the line's time ends, the one before the line, and the line itself where nothing can go
// on with it.
func (r *Records) Add(l *Line, starts Starts, give func(*Record)) {
	i := streamIndex(l.Stream)
	for k := range r.streams {
		if s := &r.streams[k]; len(s.kept) > 0 && k != i && distance(s.last, l.TimeNano) >= uint64(s.wait()) {
			r.end(s, give)
		}
	}
	s, how := &r.streams[i], byForm
	if starts != nil {
		if how = continues; starts(l.Text) {
			how = begins
		}
	} else if s.single(l.Text, l.TimeNano) {
		r.alone(l, give)
		return
	}
	if !s.next(l.Text, l.TimeNano, how) {
		if len(s.kept) > 0 {
			r.give(s, give)
		}
		if !s.isOpen() {
			r.alone(l, give)
			return
		}
	}
	s.text = append(s.text, l.Text...)
	kept := *l
	kept.Text = nil
	s.kept, s.ends = append(s.kept, kept), append(s.ends, len(s.text))
	if !s.isOpen() {
		r.give(s, give)
	}
}

// alone gives a line that is a record by itself.
func (r *Records) alone(l *Line, give func(*Record)) {
	r.one[0] = *l
	r.given = Record{r.one[:], l.From, l.To}
	give(&r.given)
}

// give gives what is kept of a record.
func (r *Records) give(s *unended, give func(*Record)) {
	if len(s.kept) == 0 {
		return
	}
	from := 0
	for n := range s.kept {
		s.kept[n].Text = s.text[from:s.ends[n]:s.ends[n]]
		from = s.ends[n]
	}
	r.given = Record{s.kept, s.kept[0].From, s.kept[len(s.kept)-1].To}
	give(&r.given)
	if cap(s.text) > 4<<10 || cap(s.kept) > 64 { // few are so long
		s.text, s.kept, s.ends = nil, nil, nil
	}
	s.text, s.kept, s.ends = s.text[:0], s.kept[:0], s.ends[:0]
}

// end ends a record.
func (r *Records) end(s *unended, give func(*Record)) {
	s.close()
	r.give(s, give)
}

// End ends the records that began before an offset.
func (r *Records) End(before int64, give func(*Record)) {
	for i := range r.streams {
		if s := &r.streams[i]; len(s.kept) > 0 && s.kept[0].From < before {
			r.end(s, give)
		}
	}
}

// Quiet ends the records that go on no more when nothing was written for so long.
func (r *Records) Quiet(d time.Duration, give func(*Record)) {
	for i := range r.streams {
		if s := &r.streams[i]; len(s.kept) > 0 && d >= s.wait() {
			r.end(s, give)
		}
	}
}

// Wait is after how long a quiet Quiet gives something; 0 for never.
func (r *Records) Wait() (d time.Duration) {
	for i := range r.streams {
		if s := &r.streams[i]; len(s.kept) > 0 && (d == 0 || s.wait() < d) {
			d = s.wait()
		}
	}
	return d
}

// First is the offset of the first line that is in no record that was given, and the
// earliest time of such lines in nanoseconds; not ok where there is none.
func (r *Records) First() (from, nano int64, ok bool) {
	for i := range r.streams {
		s := &r.streams[i]
		for n := range s.kept {
			if l := &s.kept[n]; !ok {
				from, nano, ok = l.From, l.TimeNano, true
			} else {
				from, nano = min(from, l.From), min(nano, l.TimeNano)
			}
		}
	}
	return from, nano, ok
}
