package journal

import (
	"slices"
	"sync/atomic"
)

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

// fresh is blocks of whole frames as they were written, for the first reader that
// comes to them: so it need not read them back from the file.
type fresh []freshBlock

type freshBlock struct {
	at  int64   // offset
	n   int     // bytes
	buf *[]byte // of buffers
}

const (
	// freshMax is how many a journal has at most, and freshTotal all together. A
	// reader that is further behind reads the file.
	freshMax   = 4
	freshTotal = 16
)

// freshBlocks counts those of all journals.
var freshBlocks atomic.Int32

// add takes over the buffer, unless there are too many.
func (f *fresh) add(at int64, buf *[]byte, n int) bool {
	if len(*f) >= freshMax {
		return false
	}
	if freshBlocks.Add(1) > freshTotal {
		freshBlocks.Add(-1)
		return false
	}
	*f = append(*f, freshBlock{at, n, buf})
	return true
}

// from returns the frames from offset pos on and the buffer that they lie in,
// which is the caller's now, and gives up what lies before; nil if there are none.
func (f *fresh) from(pos int64) (b []byte, buf *[]byte) {
	for len(*f) > 0 && (*f)[0].at <= pos {
		first := (*f)[0]
		*f = slices.Delete(*f, 0, 1)
		freshBlocks.Add(-1)
		if end := first.at + int64(first.n); pos < end {
			return (*first.buf)[pos-first.at : first.n], first.buf
		}
		buffers.Put(first.buf)
	}
	return nil, nil
}

// drop gives up all.
func (f *fresh) drop() {
	for _, b := range *f {
		buffers.Put(b.buf)
		freshBlocks.Add(-1)
	}
	*f = nil
}
