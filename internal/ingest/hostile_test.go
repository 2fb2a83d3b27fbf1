package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
	"logscan/internal/journal"
)

// lossCount gathers what a journal could not keep.
type lossCount struct {
	mu            sync.Mutex
	bytes, frames map[string]int64 // by reason
}

func (l *lossCount) add(x journal.Loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes[x.Reason] += x.Bytes
	l.frames[x.Reason] += x.Frames
}

func (l *lossCount) of(reason string) (bytes, frames int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes[reason], l.frames[reason]
}

// startCounting is start with losses counted, and with the journal's own work
// in the background.
func (h *host) startCounting() *lossCount {
	h.t.Helper()
	losses := &lossCount{bytes: map[string]int64{}, frames: map[string]int64{}}
	log := slog.New(slog.NewTextHandler(writer{h.t}, nil))
	var err error
	if h.dir, err = journal.OpenDir(journal.Config{Root: filepath.Join(h.root, "data", "journal"), Logger: log, OnLoss: losses.add}); err != nil {
		h.t.Fatal(err)
	}
	if h.in, err = New(Config{FIFODir: filepath.Join(h.root, "fifo"), RecordDir: filepath.Join(h.root, "data", "attachments"), Journals: h.dir, Logger: log}); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { h.in.Run(ctx) })
	wg.Go(func() { h.dir.Run(ctx) })
	h.cancel, h.done = cancel, make(chan struct{})
	go func() { defer close(h.done); wg.Wait() }()
	h.t.Cleanup(h.stop)
	return losses
}

// A disk that stays full for good: the containers write on, stop, and start
// anew; every line is in the log or counted, and with space again all is well.
func TestDiskStaysFull(t *testing.T) {
	h := newHost(t)
	data := filepath.Join(h.root, "data")
	if err := unix.Mount("tmpfs", data, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatal("mount a small tmpfs (the tests run as root):", err)
	}
	t.Cleanup(func() { unix.Unmount(data, unix.MNT_DETACH) })
	losses := h.startCounting()
	stays, f := h.fifo(1)
	stops, g := h.fifo(2)
	h.mustStart(stays, "stays")
	h.mustStart(stops, "stops")
	filler := filepath.Join(data, "filler")
	os.WriteFile(filler, make([]byte, 4<<20), 0o600) // as much as fits
	const n = 40_000                                 // several pipes full
	var wg sync.WaitGroup
	for _, w := range []*os.File{f, g} {
		wg.Go(func() {
			if err := lines(w, 0, n); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait() // nobody is blocked for good
	if c := h.dir.Losses()["dropped"]; c.Frames == 0 {
		t.Errorf("not counted at once: %+v", c)
	}
	if err := h.in.Stop(context.Background(), stops); err != nil {
		t.Errorf("Stop: %v", err)
	}
	g.Close()
	eventually(t, "ended", h.gone(stops))
	starts, k := h.fifo(3)
	if err := h.in.Start(context.Background(), starts, container("starts")); err != nil {
		t.Fatal("a container can't start on a full disk:", err)
	}
	lines(k, 0, 10)
	os.Remove(filler)
	m := n
	eventually(t, "written again", func() bool {
		lines(f, m, m+1)
		m++
		return len(read(t, h.dir, "stays")) > 0
	})
	lines(f, m, m+100)
	lines(k, 10, 20)
	for _, x := range []struct {
		fifo, id string
		f        *os.File
	}{{stays, "stays", f}, {starts, "starts", k}} {
		if err := h.in.Stop(context.Background(), x.fifo); err != nil {
			t.Error(err)
		}
		x.f.Close()
		eventually(t, "ended", h.gone(x.fifo))
	}
	got := read(t, h.dir, "stays")
	if len(got) < 100 || got[len(got)-1] != m+99 {
		t.Fatalf("%d lines are kept", len(got))
	}
	kept := len(got) + len(read(t, h.dir, "stops")) + len(read(t, h.dir, "starts"))
	if _, frames := losses.of("dropped"); kept+int(frames) != n+m+100+20 {
		t.Errorf("%d lines are kept and %d reported; %d were written", kept, frames, n+m+100+20)
	}
}

// A journal that can't be opened keeps nobody waiting: its lines are dropped,
// counted, until it can be.
func TestJournalNotOpened(t *testing.T) {
	h := newHost(t)
	h.start()
	name, f := h.fifo(1)
	h.mustStart(name, "a")
	lines(f, 0, 100)
	eventually(t, "read", func() bool { return len(read(t, h.dir, "a")) == 100 })
	h.stop()
	// A file where the directory was.
	journalDir, aside := filepath.Join(h.root, "data", "journal", "a"), filepath.Join(h.root, "aside")
	if err := errors.Join(os.Rename(journalDir, aside), os.WriteFile(journalDir, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	losses := h.startCounting()
	const n = 20_000
	if err := lines(f, 100, n); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pipe is empty", func() bool {
		left, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCINQ)
		return err == nil && left == 0
	})
	if err := errors.Join(os.Remove(journalDir), os.Rename(aside, journalDir)); err != nil {
		t.Fatal(err)
	}
	lines(f, n, n+10)
	h.in.Stop(context.Background(), name)
	got := read(t, h.dir, "a")
	if len(got) < 110 || got[99] != 99 || got[len(got)-1] != n+9 {
		t.Fatalf("%d lines", len(got))
	}
	if _, frames := losses.of("dropped"); len(got)+int(frames) != n+10 {
		t.Errorf("%d lines are kept and %d reported", len(got), frames)
	}
}

// Whatever one FIFO holds, its attachment finds the entries behind it or ends,
// with a count, and others know nothing of it.
func TestHostileFrames(t *testing.T) {
	h := newHost(t)
	losses := h.startCounting()
	good, g := h.fifo(0)
	h.mustStart(good, "good")
	rows := map[string][]byte{
		"length 0":          {0, 0, 0, 0},
		"length 2³¹":        {0x80, 0, 0, 0, 'x'},
		"length 2³²-1":      {0xff, 0xff, 0xff, 0xff},
		"half a header":     {0xff, 0xff},
		"zeros":             make([]byte, 200_000),
		"text":              bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 20_000),
		"0xff":              bytes.Repeat([]byte{0xff}, 300_000),
		"entries reversed":  reversed(line(1)),
		"a length too long": append([]byte{0xff}, line(1)[1:]...),
	}
	n := 1
	var rubbish int64
	for name, b := range rows {
		fifo, f := h.fifo(n)
		n++
		id := fmt.Sprintf("c%d", n)
		h.mustStart(fifo, id)
		lines(f, 0, 10)
		f.Write(b)
		lines(f, 10, 60)
		lines(g, 0, 100)
		if err := h.in.Stop(context.Background(), fifo); err != nil {
			t.Errorf("%s: Stop: %v", name, err)
		}
		f.Close()
		eventually(t, name+": ended", h.gone(fifo))
		got := read(t, h.dir, id)
		if len(got) < 59 || got[len(got)-1] != 59 { // half a header takes a line with it
			t.Errorf("%s: %d lines of 60", name, len(got))
		}
		rubbish += int64(len(b))
	}
	if lost, _ := losses.of("corrupt"); lost < rubbish {
		t.Errorf("%d bytes of rubbish, %d reported", rubbish, lost)
	}
	// A body that is no entry is kept in its place, and harms nobody.
	fifo, f := h.fifo(n)
	h.mustStart(fifo, "body")
	lines(f, 0, 5)
	f.Write([]byte{0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0xff})
	lines(f, 5, 10)
	h.in.Stop(context.Background(), fifo)
	j, err := h.dir.Acquire("body")
	if err != nil {
		t.Fatal(err)
	}
	defer j.Release()
	if first, end := j.Bounds(); int(end-first) != 9+len(entries(0, 10)) {
		t.Errorf("%d bytes are kept", end-first)
	}
	// A writer that dies inside an entry.
	fifo, f = h.fifo(n + 1)
	h.mustStart(fifo, "dies")
	lines(f, 0, 5)
	f.Write(line(5)[:20])
	f.Close()
	eventually(t, "ended", h.gone(fifo))
	wantRun(t, read(t, h.dir, "dies"), 5)
	if lost, _ := losses.of("torn"); lost != 20 {
		t.Errorf("%d bytes reported", lost)
	}
	h.in.Stop(context.Background(), good)
	if got := read(t, h.dir, "good"); len(got) != 100*len(rows) {
		t.Errorf("%d lines of the good one", len(got))
	}
}

func reversed(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := range b {
		out = append(out, b[len(b)-1-i])
	}
	return out
}

func entries(from, to int) []byte {
	var b bytes.Buffer
	lines(&b, from, to)
	return b.Bytes()
}

// FuzzFIFO writes anything into one FIFO while another is used as usual.
func FuzzFIFO(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add(entries(0, 3), uint16(30))
	f.Add(append([]byte{0x80, 0, 0, 0}, entries(0, 2)...), uint16(2))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		h := newHost(t)
		losses := h.startCounting()
		defer h.stop()
		bad, w := h.fifo(1)
		good, g := h.fifo(2)
		h.mustStart(bad, "bad")
		h.mustStart(good, "good")
		at := min(int(cut), len(b))
		w.Write(b[:at])
		lines(g, 0, 10)
		h.in.Flush(context.Background(), "bad")
		w.Write(b[at:])
		lines(g, 10, 20)
		for fifo, file := range map[string]*os.File{bad: w, good: g} {
			if err := h.in.Stop(context.Background(), fifo); err != nil {
				t.Error(err)
			}
			file.Close()
			eventually(t, "ended", h.gone(fifo))
		}
		wantRun(t, read(t, h.dir, "good"), 20)
		j, err := h.dir.Acquire("bad")
		if err != nil {
			t.Fatal(err)
		}
		defer j.Release()
		first, end := j.Bounds()
		corrupt, _ := losses.of("corrupt")
		torn, _ := losses.of("torn")
		dropped, _ := losses.of("dropped")
		if end-first+corrupt+torn+dropped != int64(len(b)) {
			t.Errorf("%d bytes written; kept %d, corrupt %d, torn %d, dropped %d", len(b), end-first, corrupt, torn, dropped)
		}
		r := j.NewReader(0)
		defer r.Close()
		var kept int64
		for {
			block, _, err := r.Next()
			if err != nil {
				break
			}
			kept += int64(len(block))
			for len(block) > 0 {
				if _, block, err = entry.Next(block); err != nil {
					t.Fatal("not whole frames")
				}
			}
		}
		if kept != end-first {
			t.Errorf("%d bytes of %d can be read", kept, end-first)
		}
	})
}

// Whatever is in an attachment's record, the FIFO is read, under some name.
func TestRecordDamage(t *testing.T) {
	h := newHost(t)
	h.start()
	name, f := h.fifo(1)
	h.mustStart(name, "a")
	h.stop()
	path := h.in.recordPath(name)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	bad := [][]byte{
		nil, []byte("null"), []byte("[]"), []byte(`{"container_id": 7}`), []byte(`{"container_id": "../../etc"}`),
		[]byte(`{"container_id": "` + strings.Repeat("x", 1<<20) + `"}`), bytes.Repeat([]byte("["), 1<<20),
	}
	for range 25 {
		b := bytes.Clone(good)
		b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8)
		bad = append(bad, b, good[:rnd.IntN(len(good))])
	}
	for k, b := range bad {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		lines(f, k*10, k*10+10)
		h.start()
		eventually(t, "read", func() bool {
			n := 0
			for _, c := range h.dir.List() {
				n += len(read(t, h.dir, c.ID))
			}
			return n == k*10+10
		})
		h.stop()
	}
}
