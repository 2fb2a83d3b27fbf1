package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
	"logscan/internal/journal"
)

func (h *host) mustStart(name, id string) {
	h.t.Helper()
	if err := h.in.Start(context.Background(), name, container(id)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) state(id string) journal.State {
	h.t.Helper()
	j, err := h.dir.Acquire(id)
	if err != nil {
		h.t.Fatal(err)
	}
	defer j.Release()
	return j.State()
}

// A pipe that holds many segments' worth is still emptied in one turn: else a
// small max-size would slow the container down to a segment a nap.
func TestSmallSegments(t *testing.T) {
	h := newHost(t)
	log := slog.New(slog.NewTextHandler(writer{t}, nil))
	dir, in, err := open(h.root, log)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	close(in.resumed) // no loop: the test takes the turns
	name, f := h.fifo(1)
	c := container("a")
	c.Options = journal.Options{MaxSize: 1000, MaxFile: 1000}
	if err := in.Start(context.Background(), name, c); err != nil {
		t.Fatal(err)
	}
	lines(f, 0, 300)
	in.lookup(name).visit()
	wantRun(t, read(t, dir, "a"), 300)
}

// A FIFO is announced while it is inside an entry: that entry stays whole,
// under the name that it was found by.
func TestAnnouncedInsideEntry(t *testing.T) {
	h := newHost(t)
	h.start()
	name, f := h.fifo(1)
	eventually(t, "found", func() bool { h.in.sweep(); return h.in.lookup(name) != nil })
	unknown := "unknown-" + name[:12]
	first := line(0)
	f.Write(first[:10])
	eventually(t, "its beginning is kept", func() bool {
		as := h.in.Attachments()
		return as[0].Bytes == 10 && as[0].Unknown && as[0].ContainerID == unknown
	})
	if err := h.in.Start(context.Background(), name, container("a")); !errors.Is(err, errInside) {
		t.Fatal("Start inside an entry that doesn't end:", err)
	}
	time.AfterFunc(50*time.Millisecond, func() { f.Write(first[10:]) }) // its end comes while Start waits
	h.mustStart(name, "a")
	lines(f, 0, 50)
	eventually(t, "the rest reaches its container", func() bool { return len(read(t, h.dir, "a")) == 50 })
	wantRun(t, read(t, h.dir, "a"), 50)
	wantRun(t, read(t, h.dir, unknown), 1)
	if as := h.in.Attachments(); as[0].Unknown || as[0].ContainerID != "a" {
		t.Errorf("%+v", as)
	}
}

// A process that ends within a Start leaves what was remembered of it. The next
// one gets the same call, and it is as if it were the first.
func TestStartedTwice(t *testing.T) {
	for _, at := range []string{"remembered", "attached"} {
		t.Run(at, func(t *testing.T) {
			h := newHost(t)
			h.start()
			before, f := h.fifo(1)
			h.mustStart(before, "a")
			h.in.Stop(t.Context(), before)
			f.Close()
			eventually(t, "its end", h.gone(before))
			name, f := h.fifo(2)
			c := container("a")
			c.Workload = "another"
			if at == "attached" {
				if err := h.in.Start(t.Context(), name, c); err != nil {
					t.Fatal(err)
				}
			} else if err := h.in.remember(name, record{"a", time.Now()}); err != nil {
				t.Fatal(err)
			}
			h.stop()
			h.start()
			if err := h.in.Start(t.Context(), name, c); err != nil {
				t.Fatal(err)
			}
			if known, _ := h.dir.Container("a"); known.Workload != "another" {
				t.Errorf("its workload is %q", known.Workload)
			}
			if as := h.in.Attachments(); len(as) != 1 {
				t.Errorf("attachments: %+v", as)
			}
			lines(f, 0, 50)
			if err := h.in.Stop(t.Context(), name); err != nil {
				t.Error(err)
			}
			if err := h.in.Stop(t.Context(), name); err != nil { // that too
				t.Error(err)
			}
			f.Close()
			eventually(t, "its end", h.gone(name))
			wantRun(t, read(t, h.dir, "a"), 50)
		})
	}
}

// Two attachments of one container write at once, in pieces: entries never
// mix.
func TestTwoWriters(t *testing.T) {
	h := newHost(t)
	h.start()
	const n = 20
	var wg sync.WaitGroup
	for k, source := range []string{"stdout", "stderr"} {
		name, f := h.fifo(k)
		h.mustStart(name, "a")
		wg.Go(func() {
			for i := range n {
				frame := entry.Append(nil, &entry.Entry{Source: source, TimeNano: 1, Line: fmt.Appendf(nil, "%d %s", i, strings.Repeat(source, 1000))})
				for piece := range slices.Chunk(frame, 1500) {
					if _, err := f.Write(piece); err != nil {
						t.Error(err)
					}
				}
			}
			h.in.Stop(context.Background(), name)
			f.Close()
		})
	}
	wg.Wait()
	eventually(t, "both ended", func() bool { return h.in.Stats().Attachments == 0 })
	j, err := h.dir.Acquire("a")
	if err != nil {
		t.Fatal(err)
	}
	defer j.Release()
	r := j.NewReader(0)
	defer r.Close()
	next := map[string]int{}
	for {
		b, _, err := r.Next()
		if err == io.EOF {
			break
		}
		for len(b) > 0 {
			var e entry.Entry
			f, rest, err := entry.Next(b)
			if err != nil || entry.Decode(f[entry.HeaderLen:], &e) != nil {
				t.Fatal("entries mixed")
			}
			if want := fmt.Sprintf("%d %s", next[e.Source], strings.Repeat(e.Source, 1000)); string(e.Line) != want {
				t.Fatalf("%s: %.20q, want %.20q", e.Source, e.Line, want)
			}
			next[e.Source]++
			b = rest
		}
	}
	if next["stdout"] != n || next["stderr"] != n {
		t.Error(next)
	}
}

// `docker logs` of a container that is just starting attaches it once more, for
// a moment. That must not end the log for those who follow it.
func TestReaderWhileStarting(t *testing.T) {
	h := newHost(t)
	h.start()
	container, f := h.fifo(1)
	reader, g := h.fifo(2)
	h.mustStart(container, "a")
	h.mustStart(reader, "a")
	h.in.Stop(context.Background(), reader)
	g.Close()
	eventually(t, "reader's gone", h.gone(reader))
	if s := h.state("a"); s.Attached != 1 || s.Ends != 0 {
		t.Errorf("%+v", s)
	}
	lines(f, 0, 10)
	h.in.Stop(context.Background(), container)
	wantRun(t, read(t, h.dir, "a"), 10)
}

// Of several attachments of one container, a new process goes on with the
// newest; an orphan is heard if it speaks.
func TestResumeOrphan(t *testing.T) {
	h := newHost(t)
	h.start()
	orphan, f := h.fifo(1)
	current, g := h.fifo(2)
	h.mustStart(orphan, "a")
	lines(f, 0, 10)
	h.mustStart(current, "a")
	lines(g, 10, 20)
	h.stop()
	if err := h.in.remember(orphan, record{"a", time.Now().Add(-time.Hour)}); err != nil {
		t.Fatal(err)
	}
	h.start()
	lines(g, 20, 30)
	eventually(t, "lines of the newest", func() bool { return len(read(t, h.dir, "a")) == 30 })
	j, err := h.dir.Acquire("a")
	if err != nil {
		t.Fatal(err)
	}
	defer j.Release()
	if s := j.State(); s.Attached != 1 {
		t.Errorf("%+v", s)
	}
	h.in.Stop(context.Background(), current)
	g.Close()
	eventually(t, "newest ended", h.gone(current))
	if s := j.State(); s.Attached != 0 || s.Ends != 1 {
		t.Errorf("%+v", s)
	}
	lines(f, 30, 40)
	eventually(t, "the orphan's lines", func() bool { return len(read(t, h.dir, "a")) == 40 })
	wantRun(t, read(t, h.dir, "a"), 40)
	f.Close()
	eventually(t, "orphan ended", h.gone(orphan))
}

// What a new process finds on disk may be damaged; lines are read all the same.
func TestResumeDamaged(t *testing.T) {
	h := newHost(t)
	h.start()
	noJournal, f := h.fifo(1)
	badRecord, g := h.fifo(2)
	noFIFO, _ := h.fifo(3)
	half, k := h.fifo(4)
	h.mustStart(noJournal, "a")
	h.mustStart(badRecord, "b")
	h.mustStart(noFIFO, "c")
	h.mustStart(half, "d")
	k.Write(line(0)[:5])
	eventually(t, "half an entry", func() bool { return h.in.Stats().Bytes == 5 })
	h.stop()
	k.Close() // its other half never comes
	records := filepath.Join(h.root, "data", "attachments")
	os.RemoveAll(filepath.Join(h.root, "data", "journal", "a"))
	os.WriteFile(filepath.Join(records, badRecord+recordSuffix), []byte("{"), 0o600)
	os.WriteFile(filepath.Join(records, badRecord+recordSuffix+tmpSuffix), []byte("{"), 0o600)
	os.Remove(filepath.Join(h.root, "fifo", noFIFO))
	h.start()
	lines(f, 0, 10)
	lines(g, 0, 10)
	eventually(t, "lines read", func() bool {
		return len(read(t, h.dir, "a")) == 10 && len(read(t, h.dir, "unknown-"+badRecord[:12])) == 10
	})
	eventually(t, "the dead ones cleared away", func() bool { return h.gone(noFIFO)() && h.gone(half)() })
	if _, err := os.Lstat(filepath.Join(records, badRecord+recordSuffix+tmpSuffix)); !os.IsNotExist(err) {
		t.Error("unfinished record left:", err)
	}
	// A complete entry follows where the half one was.
	again, k := h.fifo(5)
	h.mustStart(again, "d")
	lines(k, 0, 3)
	h.in.Stop(context.Background(), again)
	wantRun(t, read(t, h.dir, "d"), 3)
}

// The FIFO of a start that we refused is removed, and nothing else is.
func TestRefuse(t *testing.T) {
	h := newHost(t)
	refused, _ := h.fifo(1)
	met, _ := h.fifo(2)
	used, f := h.fifo(3)
	file := strings.Repeat("d", 64)
	os.WriteFile(filepath.Join(h.root, "fifo", file), nil, 0o600)
	h.start()
	h.mustStart(used, "a")
	eventually(t, "the sweep has met it", func() bool { return h.in.lookup(met) != nil })
	for _, name := range []string{refused, met, used, file, "../data", "", strings.Repeat("e", 64)} {
		h.in.Refuse("/run/docker/logging/" + name)
	}
	eventually(t, "removed", func() bool { return h.gone(refused)() && h.gone(met)() })
	lines(f, 0, 5)
	h.in.Stop(context.Background(), used)
	wantRun(t, read(t, h.dir, "a"), 5)
	if _, err := os.Lstat(filepath.Join(h.root, "fifo", file)); err != nil {
		t.Error(err)
	}
}

// An end that came before the FIFO was opened is noticed.
func TestWriterGoneBeforeStart(t *testing.T) {
	h := newHost(t)
	h.start()
	if err := h.in.Ready(t.Context()); err != nil { // else it may be taken for one left behind
		t.Fatal(err)
	}
	name, f := h.fifo(1)
	f.Close()
	h.mustStart(name, "a")
	eventually(t, "ended", h.gone(name))
	if s := h.state("a"); s.Attached != 0 {
		t.Errorf("%+v", s)
	}
}

// Stop says when the disk is full, and what it could not write is not lost.
func TestStopWhileFull(t *testing.T) {
	h := newHost(t)
	data := filepath.Join(h.root, "data")
	if err := unix.Mount("tmpfs", data, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal("mount a small tmpfs (the tests run as root):", err)
	}
	t.Cleanup(func() { unix.Unmount(data, unix.MNT_DETACH) })
	h.start()
	name, f := h.fifo(1)
	h.mustStart(name, "a")
	filler := filepath.Join(data, "filler")
	os.WriteFile(filler, make([]byte, 1<<20), 0o600) // as much as fits
	lines(f, 0, 100)
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := h.in.Stop(short, name); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Stop on a full disk: %v", err)
	}
	f.Close()
	os.Remove(filler)
	eventually(t, "written and ended", h.gone(name))
	wantRun(t, read(t, h.dir, "a"), 100)
}

// Start and Stop after the end of Run fail or do nothing; neither hangs.
func TestAfterRun(t *testing.T) {
	h := newHost(t)
	h.start()
	first, f := h.fifo(1)
	second, _ := h.fifo(2)
	h.mustStart(first, "a")
	h.stop()
	lines(f, 0, 5)
	h.in.Stop(context.Background(), first)
	if err := h.in.Start(context.Background(), second, container("b")); err == nil {
		t.Error("attached to a stopped Ingest")
	}
	h.start()
	eventually(t, "lines wait for the next process", func() bool { return len(read(t, h.dir, "a")) == 5 })
}
