package query

import (
	"container/heap"
	"context"
	"math"
	"sync"
	"time"
)

// TailSkipped is what a tail has passed over since it last said so.
type TailSkipped struct {
	Lines     int64 // or chunks of long ones, since they weren't taken in time
	Bytes     int64 // of the logs, that these took
	Removed   int64 // bytes that retention took away, or that can't be read
	Undecided int64 // lines of which it takes too much work to find out whether they match
	Before    bool  // there may be more lines from before the tail: to look for them took too long
	// Unreadable is how many containers' logs can't be opened at present.
	Unreadable int
}

// waiting is lines that were read and aren't given yet, by time. One goroutine puts them
// in, and another one takes them.
type waiting struct {
	most  int           // bytes that they take
	delay time.Duration // how long each waits for others that were written before it

	more chan struct{} // holds one when there may be something to take
	room chan struct{} // holds one when something was taken

	mu      sync.Mutex // guards the rest
	lines   tailLines
	bytes   int
	upTo    int64 // lines of a later time may have others before them that aren't read yet
	skipped TailSkipped
}

func newWaiting(most int, delay time.Duration) *waiting {
	return &waiting{most: most, delay: delay, more: make(chan struct{}, 1), room: make(chan struct{}, 1), upTo: math.MaxInt64}
}

// put adds a line.
func (w *waiting) put(l *TailLine) {
	l.read = time.Now().UnixNano()
	w.mu.Lock()
	heap.Push(&w.lines, l)
	w.bytes += l.size()
	w.mu.Unlock()
	signal(w.more)
}

// skip notes what is passed over.
func (w *waiting) skip(s TailSkipped) {
	if s == (TailSkipped{}) {
		return
	}
	w.mu.Lock()
	w.skipped.add(s)
	w.mu.Unlock()
	signal(w.more)
}

func (s *TailSkipped) add(more TailSkipped) {
	s.Lines += more.Lines
	s.Bytes += more.Bytes
	s.Removed += more.Removed
	s.Undecided += more.Undecided
	s.Unreadable += more.Unreadable
	s.Before = s.Before || more.Before
}

// setUpTo says up to when all lines are read.
func (w *waiting) setUpTo(nano int64) {
	w.mu.Lock()
	later := nano > w.upTo
	w.upTo = nano
	w.mu.Unlock()
	if later {
		signal(w.more)
	}
}

// untilRoom waits until there is room for more, or ctx ends.
func (w *waiting) untilRoom(ctx context.Context) error {
	for {
		w.mu.Lock()
		full := w.bytes >= w.most
		w.mu.Unlock()
		if !full {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.room:
		}
	}
}

// age is how long the first line has waited.
func (w *waiting) age(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.lines) == 0 {
		return 0
	}
	return time.Duration(now.UnixNano() - w.lines[0].read)
}

// takeMost is about how many bytes of lines are taken at once.
const takeMost = 64 << 10

// take returns the lines whose turn it is, some of them, what was passed over before them,
// and, where there are none, after how long there may be; 0 for not before something comes.
func (w *waiting) take(now time.Time) (lines []*TailLine, skipped TailSkipped, wait time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	skipped, w.skipped = w.skipped, TailSkipped{}
	for size := 0; len(w.lines) > 0 && size < takeMost; {
		l := w.lines[0]
		// Where there are many, they wait for no others.
		if w.bytes < w.most/2 {
			if l.key > w.upTo {
				break
			}
			if wait = time.Duration(min(l.key, l.read) + int64(w.delay) - now.UnixNano()); wait > 0 {
				break
			}
		}
		heap.Pop(&w.lines)
		w.bytes -= l.size()
		size += l.size()
		lines = append(lines, l)
	}
	if len(lines) > 0 {
		signal(w.room)
		return lines, skipped, 0
	}
	return nil, skipped, max(0, wait)
}

// tailLines is a heap: first comes what was written first.
type tailLines []*TailLine

func (h tailLines) Len() int           { return len(h) }
func (h tailLines) Less(i, j int) bool { return h[i].before(h[j].place) }
func (h tailLines) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *tailLines) Push(x any)        { *h = append(*h, x.(*TailLine)) }
func (h *tailLines) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return l
}
