package ingest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
	"logscan/internal/journal"
)

// host is a directory of FIFOs with an Ingest at work.
type host struct {
	t      *testing.T
	root   string
	dir    *journal.Dir
	in     *Ingest
	cancel func()
	done   chan struct{}
}

func newHost(t *testing.T) *host {
	h := &host{t: t, root: t.TempDir()}
	for _, d := range []string{"fifo", "data"} {
		os.MkdirAll(filepath.Join(h.root, d), 0o700)
	}
	return h
}

func open(root string, log *slog.Logger) (*journal.Dir, *Ingest, error) {
	dir, err := journal.OpenDir(journal.Config{Root: filepath.Join(root, "data", "journal"), SegmentMin: 1, Logger: log})
	if err != nil {
		return nil, nil, err
	}
	in, err := New(Config{
		FIFODir: filepath.Join(root, "fifo"), RecordDir: filepath.Join(root, "data", "attachments"),
		Journals: dir, Logger: log, StaleAge: 200 * time.Millisecond,
	})
	return dir, in, err
}

func (h *host) start() {
	h.t.Helper()
	log := logTo(h.t)
	var err error
	if h.dir, h.in, err = open(h.root, log); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel, h.done = cancel, make(chan struct{})
	go func() { defer close(h.done); h.in.Run(ctx) }()
	h.t.Cleanup(h.stop)
}

func (h *host) stop() {
	h.cancel()
	<-h.done
	h.dir.Close()
}

func logTo(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(writer{t}, nil)) }

type writer struct{ t *testing.T }

func (w writer) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// fifo makes one and opens it as dockerd does.
func (h *host) fifo(n int) (name string, f *os.File) {
	h.t.Helper()
	name = hex.EncodeToString(fmt.Appendf(nil, "%032d", n))
	path := filepath.Join(h.root, "fifo", name)
	if err := unix.Mkfifo(path, 0o700); err != nil {
		h.t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { f.Close() })
	return name, f
}

// age makes an attachment one of long ago.
func (h *host) age(name string) {
	a := h.in.lookup(name)
	a.mu.Lock()
	a.since = a.since.Add(-time.Hour)
	a.mu.Unlock()
}

func container(id string) journal.Container {
	return journal.Container{ID: id, Name: id, Options: journal.Options{MaxSize: -1, MaxFile: 1}}
}

func line(n int) []byte {
	return entry.Append(nil, &entry.Entry{Source: "stdout", TimeNano: int64(n + 1), Line: fmt.Appendf(nil, "%d %s", n, strings.Repeat("x", n%200))})
}

func lines(w io.Writer, from, to int) error {
	for n := from; n < to; n++ {
		if _, err := w.Write(line(n)); err != nil {
			return err
		}
	}
	return nil
}

// read returns the line numbers in a journal.
func read(t *testing.T, d *journal.Dir, id string) (out []int) {
	t.Helper()
	j, err := d.Acquire(id)
	if errors.Is(err, journal.ErrNotFound) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer j.Release()
	r := j.NewReader(0)
	defer r.Close()
	for {
		b, _, err := r.Next()
		if err == io.EOF {
			return out
		}
		for len(b) > 0 {
			f, rest, err := entry.Next(b)
			if err != nil {
				t.Fatal(err)
			}
			var e entry.Entry
			if err := entry.Decode(f[entry.HeaderLen:], &e); err != nil {
				t.Fatal(err)
			}
			var n int
			fmt.Sscanf(string(e.Line), "%d ", &n)
			out = append(out, n)
			b = rest
		}
	}
}

func wantRun(t *testing.T, got []int, n int) {
	t.Helper()
	for i := range min(len(got), n) {
		if got[i] != i {
			t.Fatalf("line %d is number %d", i, got[i])
		}
	}
	if len(got) != n {
		t.Fatalf("%d lines, want %d", len(got), n)
	}
}

// eventually polls a condition that another thread brings about.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

func (h *host) gone(name string) func() bool {
	return func() bool {
		_, err := os.Lstat(filepath.Join(h.root, "fifo", name))
		_, rerr := os.Lstat(filepath.Join(h.root, "data", "attachments", name+recordSuffix))
		return os.IsNotExist(err) && os.IsNotExist(rerr) && h.in.lookup(name) == nil
	}
}

func TestManyComeAndGo(t *testing.T) {
	h := newHost(t)
	h.start()
	goroutines, fds := runtime.NumGoroutine(), openFDs(t)
	const n, count = 200, 300
	var wg sync.WaitGroup
	for k := range n {
		name, f := h.fifo(k)
		wg.Go(func() {
			id := fmt.Sprintf("c%d", k)
			if err := h.in.Start(context.Background(), "/run/docker/logging/"+name, container(id)); err != nil {
				t.Error(err)
				return
			}
			lines(f, 0, count)
			if k%3 > 0 { // a third end without StopLogging, as with a killed dockerd
				h.in.Stop(context.Background(), "/run/docker/logging/"+name)
				if got := len(read(t, h.dir, id)); got != count {
					t.Errorf("%d lines after StopLogging", got)
				}
			}
			f.Close()
		})
	}
	wg.Wait()
	eventually(t, "all attachments gone", func() bool { return h.in.Stats().Attachments == 0 })
	for k := range n {
		wantRun(t, read(t, h.dir, fmt.Sprintf("c%d", k)), count)
	}
	left, _ := os.ReadDir(filepath.Join(h.root, "fifo"))
	records, _ := os.ReadDir(filepath.Join(h.root, "data", "attachments"))
	if len(left)+len(records) > 0 {
		t.Errorf("%d FIFOs and %d records left", len(left), len(records))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	h.dir.Run(ended) // closes the logs that nobody uses any more
	eventually(t, "goroutines and descriptors back", func() bool {
		return runtime.NumGoroutine() <= goroutines+1 && openFDs(t) <= fds+2 // the probe's pipe
	})
}

func openFDs(t *testing.T) int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// Lines written while nobody is there wait in the pipe, and the next process
// finds its attachments again.
func TestResume(t *testing.T) {
	h := newHost(t)
	h.start()
	name, f := h.fifo(1)
	dead, g := h.fifo(2)
	if err := h.in.Start(context.Background(), name, container("a")); err != nil {
		t.Fatal(err)
	}
	if err := h.in.Start(context.Background(), dead, container("b")); err != nil {
		t.Fatal(err)
	}
	lines(f, 0, 100)
	lines(g, 0, 50)
	h.stop()
	lines(f, 100, 200)
	g.Close() // its content goes with its last holder, as a pipe's does
	h.start()
	eventually(t, "the dead one is cleared away", h.gone(dead))
	lines(f, 200, 300)
	eventually(t, "all lines there", func() bool { return len(read(t, h.dir, "a")) == 300 })
	wantRun(t, read(t, h.dir, "a"), 300)
	f.Close()
	eventually(t, "ended", h.gone(name))
}

func TestUnknownFIFO(t *testing.T) {
	h := newHost(t)
	name, f := h.fifo(1)
	quiet, _ := h.fifo(2)
	dead, g := h.fifo(3)
	g.Close()
	os.WriteFile(filepath.Join(h.root, "fifo", strings.Repeat("a", 64)), nil, 0o600)
	os.Symlink("/dev/null", filepath.Join(h.root, "fifo", strings.Repeat("b", 64)))
	lines(f, 0, 20)
	h.start()
	id := "unknown-" + name[:12]
	eventually(t, "its lines are kept", func() bool { return len(read(t, h.dir, id)) == 20 })
	eventually(t, "the one without a writer is unlinked", h.gone(dead))
	// StartLogging arrives late.
	if err := h.in.Start(context.Background(), quiet, container("late")); err != nil {
		t.Fatal(err)
	}
	if err := h.in.Start(context.Background(), name, container("later")); err != nil {
		t.Fatal(err)
	}
	lines(f, 0, 30)
	eventually(t, "lines reach their container", func() bool { return len(read(t, h.dir, "later")) == 30 })
	for _, bad := range []string{strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64), "../../etc/passwd", ""} {
		if err := h.in.Start(context.Background(), bad, container("x")); err == nil {
			t.Errorf("Start(%q) succeeded", bad)
		}
	}
}

// dockerd never closes a FIFO whose StopLogging went unanswered. The
// container's next attachment takes its place; if it speaks after all, nothing
// is lost.
func TestOrphan(t *testing.T) {
	h := newHost(t)
	h.start()
	first, f := h.fifo(1)
	second, g := h.fifo(2)
	h.in.Start(context.Background(), first, container("a"))
	lines(f, 0, 100)
	h.age(first)
	if err := h.in.Start(context.Background(), second, container("a")); err != nil {
		t.Fatal(err)
	}
	if got := len(read(t, h.dir, "a")); got != 100 {
		t.Fatalf("%d lines of the first before the second starts", got)
	}
	j, err := h.dir.Acquire("a")
	if err != nil {
		t.Fatal(err)
	}
	lines(g, 100, 200)
	h.in.Stop(context.Background(), second)
	g.Close()
	eventually(t, "second gone", h.gone(second))
	if s := j.State(); s.Attached != 0 || s.Ends != 1 {
		t.Errorf("%+v", s)
	}
	j.Release()
	lines(f, 200, 300)
	eventually(t, "the orphan is heard", func() bool { return len(read(t, h.dir, "a")) == 300 })
	wantRun(t, read(t, h.dir, "a"), 300)
}

func TestDiskFull(t *testing.T) {
	h := newHost(t)
	data := filepath.Join(h.root, "data")
	if err := unix.Mount("tmpfs", data, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal("mount a small tmpfs (the tests run as root):", err)
	}
	t.Cleanup(func() { unix.Unmount(data, unix.MNT_DETACH) })
	h.start()
	name, f := h.fifo(1)
	if err := h.in.Start(context.Background(), name, container("a")); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(data, "filler")
	os.WriteFile(filler, make([]byte, 900_000), 0o600)
	const n = 4000
	done := make(chan error, 1)
	go func() { done <- lines(f, 0, n) }()
	eventually(t, "the disk is full", func() bool { return h.in.Stats().Failures > 1 })
	os.Remove(filler)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	h.in.Stop(context.Background(), name)
	got := read(t, h.dir, "a")
	if lost := h.dir.Losses()["dropped"].Frames; lost == 0 {
		wantRun(t, got, n)
	} else if len(got)+int(lost) != n { // the machine took longer than lines wait
		t.Errorf("%d lines are kept and %d dropped", len(got), lost)
	}
}

// With nothing to carry the loop sleeps.
func TestIdleLoopSleeps(t *testing.T) {
	h := newHost(t)
	h.start()
	for k := range 20 {
		name, _ := h.fifo(k)
		if err := h.in.Start(context.Background(), name, container(fmt.Sprint("c", k))); err != nil {
			t.Fatal(err)
		}
	}
	before := h.in.Stats().Rounds
	time.Sleep(300 * time.Millisecond)
	if after := h.in.Stats().Rounds; after > before+1 {
		t.Errorf("%d rounds while nothing was written", after-before)
	}
}

// A FIFO that is busy is taken out of epoll, and put back when it no longer is:
// then the loop sleeps until something comes, and learns of the end.
func TestBusyLeavesEpoll(t *testing.T) {
	h := newHost(t)
	h.start()
	name, f := h.fifo(1)
	h.mustStart(name, "a")
	a := h.in.lookup(name)
	direct := func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.direct
	}
	n := 0
	for range 3 {
		eventually(t, "visits without epoll", func() bool {
			lines(f, n, n+1000) // about 120 KB
			n += 1000
			return direct()
		})
		eventually(t, "epoll again", func() bool { return !direct() })
		before := h.in.Stats().Rounds
		time.Sleep(200 * time.Millisecond)
		if after := h.in.Stats().Rounds; after > before+2 {
			t.Errorf("%d rounds while idle", after-before)
		}
		lines(f, n, n+1)
		n++
		eventually(t, "one line", func() bool { return len(read(t, h.dir, "a")) == n })
	}
	f.Close()
	eventually(t, "the end", h.gone(name))
	wantRun(t, read(t, h.dir, "a"), n)
}
