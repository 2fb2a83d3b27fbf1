package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
	"logscan/internal/journal"
)

// written is a line as a container wrote it.
type written struct {
	stream   string
	nano     int64
	status   int // 0 for none
	chunks   []piece
	finished bool
}

// piece is a chunk of a line, and where it lies.
type piece struct {
	text     string
	from, to int64
}

func (w *written) to() int64 { return w.chunks[len(w.chunks)-1].to }

// text is what there is of the line from an offset on.
func (w *written) text(first int64) string {
	var b strings.Builder
	for _, p := range w.chunks {
		if p.from >= first {
			b.WriteString(p.text)
		}
	}
	return b.String()
}

// log is a container's log, and what was written into it.
type log struct {
	t     testing.TB
	rand  *rand.Rand
	j     *journal.Journal
	a     *journal.Writer
	r, w  int
	at    int64 // offset
	nano  int64
	lines []*written
	open  map[string]*written // unfinished, by stream
	n     int
}

// roots are where the logs of newDir lie.
var roots = map[*journal.Dir]string{}

func newDir(t testing.TB, cfg journal.Config) *journal.Dir {
	t.Helper()
	cfg.Root, cfg.SegmentMin = t.TempDir(), 1
	dir, err := journal.OpenDir(cfg)
	if err != nil {
		t.Fatal(err)
	}
	roots[dir] = cfg.Root
	t.Cleanup(func() { dir.Close() })
	return dir
}

func newLog(t testing.TB, dir *journal.Dir, c journal.Container, random *rand.Rand) *log {
	t.Helper()
	j, err := dir.Create(c)
	if err != nil {
		t.Fatal(err)
	}
	l := &log{t: t, rand: random, j: j, a: j.Attach(false), nano: 1e18, at: j.State().End, open: map[string]*written{}}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	l.r, l.w = p[0], p[1]
	t.Cleanup(func() { l.stop(); unix.Close(l.r); unix.Close(l.w) })
	return l
}

// stop has the container end.
func (l *log) stop() {
	if l.a == nil {
		return
	}
	l.a.Detach()
	l.j.Release()
	l.a = nil
	for _, w := range l.open {
		w.finished = true
	}
	clear(l.open)
}

// put writes an entry.
func (l *log) put(e entry.Entry) (from, to int64) {
	l.t.Helper()
	b := entry.Append(nil, &e)
	from, to = l.at, l.at+int64(len(b))
	l.at = to
	for len(b) > 0 {
		n, err := unix.Write(l.w, b)
		if err != nil && err != unix.EAGAIN {
			l.t.Fatal(err)
		}
		b = b[max(n, 0):]
		for {
			if _, err := l.a.Ingest(l.r, 1<<20); errors.Is(err, unix.EAGAIN) || err == io.EOF {
				break
			} else if err != nil {
				l.t.Fatal(err)
			}
		}
	}
	return from, to
}

// line writes a whole line.
func (l *log) line(stream, text string, status int) {
	l.nano += int64(l.rand.IntN(2_000_000))
	from, to := l.put(entry.Entry{Source: stream, TimeNano: l.nano, Line: []byte(text)})
	if w := l.open[stream]; w != nil {
		w.finished = true
		delete(l.open, stream)
	}
	l.lines = append(l.lines, &written{stream, l.nano, status, []piece{{text, from, to}}, true})
}

// chunk goes on the stream's line, or begins one.
func (l *log) chunk(stream, text string, last bool) {
	l.nano += int64(l.rand.IntN(2_000_000))
	w := l.open[stream]
	if w == nil {
		w = &written{stream: stream, nano: l.nano}
		l.n++
		l.open[stream] = w
		l.lines = append(l.lines, w)
	}
	from, to := l.put(entry.Entry{
		Source: stream, TimeNano: w.nano, Line: []byte(text), Partial: true, HasMeta: true, Last: last,
		ID: fmt.Sprint(stream, w.nano), Ordinal: int32(len(w.chunks)) + 1,
	})
	w.chunks = append(w.chunks, piece{text, from, to})
	if w.finished = last; last {
		delete(l.open, stream)
	}
}

var words = strings.Fields("timeout upstream Error error user=7 GET /index POST ÄRGER ärger 10.0.0.1 out of memory kernel a1b2c3 \xff\xfe")

// some writes lines of all sorts.
func (l *log) some(n int) {
	l.t.Helper()
	for range n {
		stream := []string{"stdout", "stderr"}[min(1, l.rand.IntN(4)/3)]
		var text []string
		for range 1 + l.rand.IntN(12) {
			text = append(text, words[l.rand.IntN(len(words))])
		}
		switch k := l.rand.IntN(20); {
		case l.open[stream] != nil && k < 14, k == 0:
			l.chunk(stream, strings.Join(text, " ")+strings.Repeat("x", l.rand.IntN(4000)), l.rand.IntN(3) == 0)
		case k == 1:
			l.line(stream, strings.Join(text, " ")+"\r", 0)
		case k < 6:
			status := 100 * (1 + l.rand.IntN(5))
			l.line(stream, fmt.Sprintf("%s status=%d", strings.Join(text, " "), status), status)
		default:
			l.line(stream, strings.Join(text, " "), 0)
		}
	}
}

// files returns how many segments of a container are compressed, and how many aren't.
func files(t testing.TB, root, id string) (compressed, raw int) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, id))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		switch {
		case strings.HasSuffix(e.Name(), ".seg.zst"):
			compressed++
		case strings.HasSuffix(e.Name(), ".seg"):
			raw++
		}
	}
	return compressed, raw
}

// maintain compresses and removes in the background until the test ends.
func maintain(t testing.TB, dir *journal.Dir) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { dir.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
}

// until waits for a state.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not so after a minute: " + what)
		}
	}
}

// entryOf is a line on stdout.
func entryOf(nano int64, text string) entry.Entry {
	return entry.Entry{Source: "stdout", TimeNano: nano, Line: []byte(text)}
}
