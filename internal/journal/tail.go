package journal

// tailMax is how much of its end a journal keeps in memory, in bytes: a few
// lines.
const tailMax = 2 << 10

// tail is a copy of a journal's newest whole frames, for readers that follow it
// closely: where many containers write a line now and then, reading each back
// from the file a second time costs as much as writing it.
type tail struct {
	at int64 // offset of the first
	b  []byte
}

// add takes the frames at offset at, which are the newest.
func (t *tail) add(at int64, b []byte) {
	if at != t.at+int64(len(t.b)) || len(t.b)+len(b) > tailMax {
		t.at, t.b = at, t.b[:0]
	}
	t.b = append(t.b, b...)
}

// from returns the frames from offset pos on, or nothing where it doesn't have
// them all.
func (t *tail) from(pos int64) []byte {
	if pos < t.at || pos >= t.at+int64(len(t.b)) {
		return nil
	}
	return t.b[pos-t.at:]
}

// next reads from the journal's tail.
func (r *Reader) next() (block []byte) {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	b := r.j.tail.from(r.pos)
	if len(b) == 0 || r.pos < r.j.state.First {
		return nil
	}
	if newest := r.j.segments[len(r.j.segments)-1]; r.file != nil && newest.base != r.seg.base {
		r.closeFile() // held open, it would take its room on the disk when it is removed
	}
	r.end = append(r.end[:0], b...)
	return r.end
}
