package lines

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
	"logscan/internal/journal"
)

// log is a container's log that is written as dockerd and ingest would.
type log struct {
	t    testing.TB
	j    *journal.Journal
	a    *journal.Writer
	r, w int
	nano int64
}

func newLog(t testing.TB, o journal.Options) *log {
	t.Helper()
	dir, err := journal.OpenDir(journal.Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	j, err := dir.Create(journal.Container{ID: strings.Repeat("a", 64), Options: o})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Release)
	l := &log{t: t, j: j, a: j.Attach(false), nano: 1e18}
	t.Cleanup(func() { l.end() })
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	l.r, l.w = p[0], p[1]
	t.Cleanup(func() { unix.Close(l.r); unix.Close(l.w) })
	return l
}

// end ends the attachment, and attach begins the next.
func (l *log) end() {
	if l.a != nil {
		l.a.Detach()
		l.a = nil
	}
}

func (l *log) attach() { l.a = l.j.Attach(false) }

// put writes entries; those without a time get one a millisecond after the last.
func (l *log) put(entries ...entry.Entry) {
	l.t.Helper()
	var b []byte
	for _, e := range entries {
		if e.TimeNano == 0 {
			l.nano += int64(time.Millisecond)
			e.TimeNano = l.nano
		}
		b = entry.Append(b, &e)
	}
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
}

func whole(source, text string) entry.Entry { return entry.Entry{Source: source, Line: []byte(text)} }

// chunk is a part of a long line.
func chunk(source, id, text string, last bool) entry.Entry {
	return entry.Entry{Source: source, Line: []byte(text), Partial: true, HasMeta: true, ID: id, Last: last, Ordinal: 1}
}
