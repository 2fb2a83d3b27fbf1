package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
)

const testID = "0123456789ab"

// rig is a journal fed through a real pipe.
type rig struct {
	t      *testing.T
	cfg    Config
	dir    *Dir
	j      *Journal
	a      *Writer
	r, w   int
	losses []Loss
}

func newRig(t *testing.T, root string, o Options, cfg Config) *rig {
	t.Helper()
	g := &rig{t: t, cfg: cfg}
	g.cfg.Root = root
	if g.cfg.SegmentMin == 0 {
		g.cfg.SegmentMin = 1
	}
	if g.cfg.Logger == nil {
		g.cfg.Logger = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	}
	g.cfg.OnLoss = func(l Loss) { g.losses = append(g.losses, l) }
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	g.r, g.w = p[0], p[1]
	unix.FcntlInt(uintptr(g.r), unix.F_SETPIPE_SZ, 1<<20)
	t.Cleanup(func() { unix.Close(g.r); unix.Close(g.w) })
	g.open(o, false)
	return g
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func (g *rig) open(o Options, resumed bool) {
	g.t.Helper()
	var err error
	if g.dir, err = OpenDir(g.cfg); err != nil {
		g.t.Fatal(err)
	}
	g.dir.now = func() int64 { return 0 } // offsets that are easily compared
	if g.j, err = g.dir.Create(Container{ID: testID, Name: "test", Options: o}); err != nil {
		g.t.Fatal(err)
	}
	g.a = g.j.Attach(resumed)
}

// reopen does what a kill and a restart do: nothing is closed properly.
func (g *rig) reopen() {
	o := g.j.Container().Options
	g.dir.Close()
	g.open(o, true)
}

// feed writes b into the pipe and ingests all of it.
func (g *rig) feed(b []byte) {
	g.t.Helper()
	for len(b) > 0 {
		n, err := unix.Write(g.w, b)
		if err != nil && err != unix.EAGAIN {
			g.t.Fatal(err)
		}
		b = b[max(n, 0):]
		if err := g.drain(); err != nil {
			g.t.Fatal(err)
		}
	}
}

func (g *rig) drain() error {
	for {
		_, err := g.a.Ingest(g.r, 1<<20)
		if err == unix.EAGAIN || err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func readAll(t *testing.T, j *Journal, from int64) []byte {
	t.Helper()
	r := j.NewReader(from)
	defer r.Close()
	var out []byte
	next := from
	for {
		b, off, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if off != next && len(out) > 0 && r.Skipped == 0 {
			t.Fatalf("block at %d, want %d", off, next)
		}
		next = off + int64(len(b))
		out = append(out, b...)
	}
}

func frame(i int, timeNano int64, size int) []byte {
	line := fmt.Appendf(nil, "%d ", i)
	for len(line) < size {
		line = append(line, "abcdefghij"[i%10])
	}
	return entry.Append(nil, &entry.Entry{Source: "stdout", TimeNano: timeNano, Line: line})
}

// numbers returns the line numbers in b, in order.
func numbers(t *testing.T, b []byte) []int {
	t.Helper()
	var out []int
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
	return out
}

func wantRun(t *testing.T, got []int, from, to int) {
	t.Helper()
	if len(got) != to-from {
		t.Fatalf("%d lines, want %d", len(got), to-from)
	}
	for i, n := range got {
		if n != from+i {
			t.Fatalf("line %d is number %d, want %d", i, n, from+i)
		}
	}
}

func (g *rig) segments() (names []string) {
	files, _ := os.ReadDir(filepath.Join(g.cfg.Root, testID))
	for _, f := range files {
		if strings.Contains(f.Name(), rawSuffix) {
			names = append(names, f.Name())
		}
	}
	return names
}

// What went in comes out, through rotation, compression and reopening, and
// every tail and time is found as by looking at each entry.
func TestReadBackAndSeek(t *testing.T) {
	for _, o := range []Options{
		{MaxSize: -1, MaxFile: 5},
		{MaxSize: 100_000, MaxFile: 1000},
		{MaxSize: 100_000, MaxFile: 1000, Compress: true},
		{MaxSize: 1000, MaxFile: 100000, Compress: true},
	} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, uint64(o.MaxSize)))
			g := newRig(t, t.TempDir(), o, Config{})
			var all []byte
			var offsets, times []int64
			clock := int64(1e18)
			for i := range 3000 {
				clock += rnd.Int64N(1000)
				if rnd.IntN(100) == 0 {
					clock -= 5000 // clocks step back
				}
				size := rnd.IntN(200)
				if rnd.IntN(200) == 0 {
					size = 16384
				}
				offsets, times = append(offsets, int64(len(all))), append(times, clock)
				all = append(all, frame(i, clock, size)...)
			}
			for rest := all; len(rest) > 0; { // torn anywhere
				n := min(len(rest), 1+rnd.IntN(100_000))
				g.feed(rest[:n])
				rest = rest[n:]
			}
			check := func(when string) {
				t.Helper()
				if got := readAll(t, g.j, 0); !bytes.Equal(got, all) {
					t.Fatalf("%s: read %d bytes, wrote %d", when, len(got), len(all))
				}
				for _, n := range []int64{0, 1, 2, 99, 2999, 3000, 3001, rnd.Int64N(3000), rnd.Int64N(3000)} {
					want := int64(len(all))
					if n > 0 {
						want = offsets[max(0, 3000-n)]
					}
					if got, err := g.j.SeekTail(n); err != nil || got != want {
						t.Errorf("%s: tail %d at %d, %v; want %d", when, n, got, err, want)
					}
				}
				for range 50 {
					since := 1e18 - 10 + rnd.Int64N(clock-1e18+100)
					first := int64(len(all))
					for i, ts := range times {
						if ts >= since {
							first = offsets[i]
							break
						}
					}
					got, err := g.j.SeekTime(since)
					if err != nil || got > first || first-got > blockSize+16500 {
						t.Errorf("%s: since %d at %d, %v; the first is at %d", when, since, got, err, first)
					}
				}
			}
			check("written")
			g.reopen()
			check("reopened")
			g.dir.maintain(context.Background())
			check("compressed")
			if o.Compress && !strings.HasSuffix(g.segments()[0], ".zst") {
				t.Error("nothing was compressed", g.segments())
			}
			g.reopen()
			check("reopened compressed")
			if o.MaxSize > 0 {
				for _, s := range g.j.segments {
					if s.size > o.MaxSize+16500 {
						t.Errorf("a segment of %d bytes with max-size %d", s.size, o.MaxSize)
					}
				}
			}
			if len(g.losses) > 0 {
				t.Error("losses:", g.losses)
			}
		})
	}
}

// Each row is what a crash or a fault left on disk; all are opened, read and
// written again.
func TestRecovery(t *testing.T) {
	const lines = 2000
	active := func(g *rig) string { s := g.segments(); return filepath.Join(g.cfg.Root, testID, s[len(s)-1]) }
	rows := map[string]struct {
		break_ func(g *rig)
		keep   int // lines that must still be there; -1: as many as make sense
	}{
		"nothing wrong":            {func(*rig) {}, lines},
		"index lost":               {func(g *rig) { removeAll(g, indexSuffix) }, lines},
		"index cut inside a point": {func(g *rig) { truncate(g.t, swap(active(g)), rawPointLen+5) }, lines},
		"index full of rubbish":    {func(g *rig) { overwrite(g.t, swap(active(g)), 0, bytes.Repeat([]byte{0xa5}, 300)) }, lines},
		"index of a longer file": {func(g *rig) {
			overwrite(g.t, swap(active(g)), 0, appendRawPoint(nil, point{offset: 1 << 40, frames: 5}))
		}, lines},
		"rubbish at the end": {func(g *rig) {
			appendTo(g.t, active(g), []byte{0xff, 0xff, 0xff, 0xff, 1, 2, 3})
		}, lines},
		"zeros at the end, as after a power cut": {func(g *rig) { appendTo(g.t, active(g), make([]byte, 5000)) }, lines},
		"both raw and compressed": {func(g *rig) {
			g.dir.maintain(context.Background())
			s := g.segments()[0]
			base, _, _ := parseName(s)
			raw := readAll(g.t, g.j, base)[:g.j.segments[0].size]
			os.WriteFile(segmentPath(filepath.Join(g.cfg.Root, testID), base, rawSuffix), raw, 0o600)
		}, lines},
		"compression cut short": {func(g *rig) {
			os.WriteFile(filepath.Join(g.cfg.Root, testID, fmt.Sprintf("%020d.seg.zst.tmp", 0)), []byte("half"), 0o600)
		}, lines},
		"compressed trailer damaged": {func(g *rig) {
			g.dir.maintain(context.Background())
			name := filepath.Join(g.cfg.Root, testID, g.segments()[0])
			info, _ := os.Stat(name)
			overwrite(g.t, name, info.Size()-30, []byte{1, 2, 3})
		}, lines},
		"compressed block damaged": {func(g *rig) {
			g.dir.maintain(context.Background())
			overwrite(g.t, filepath.Join(g.cfg.Root, testID, g.segments()[0]), 100, bytes.Repeat([]byte{7}, 50))
		}, -1},
		"raw segment damaged inside": {func(g *rig) { overwrite(g.t, active(g), 70_000, bytes.Repeat([]byte{0xff}, 100)) }, -1},
		"container.json empty": {func(g *rig) {
			os.WriteFile(filepath.Join(g.cfg.Root, testID, metaName), nil, 0o600)
		}, lines},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			o := Options{MaxSize: 150_000, MaxFile: 100, Compress: true}
			g := newRig(t, t.TempDir(), o, Config{})
			for i := range lines {
				g.feed(frame(i, int64(i+1), 100))
			}
			end := g.j.State().End
			row.break_(g)
			g.reopen()
			got := numbers(t, readAll(t, g.j, 0))
			if row.keep >= 0 {
				wantRun(t, got, 0, row.keep)
				if g.j.State().End != end {
					t.Errorf("end %d, was %d", g.j.State().End, end)
				}
			} else {
				if len(got) < lines/4 || len(got) == lines {
					t.Errorf("%d of %d lines left", len(got), lines)
				}
				for i := 1; i < len(got); i++ {
					if got[i] <= got[i-1] {
						t.Fatalf("line %d after %d", got[i], got[i-1])
					}
				}
			}
			g.feed(frame(lines, lines+1, 100))
			after := numbers(t, readAll(t, g.j, 0))
			if len(after) == 0 || after[len(after)-1] != lines || len(after) != len(got)+1 {
				t.Errorf("then a line was written, and %d lines were read", len(after))
			}
		})
	}
}

func swap(seg string) string { return strings.TrimSuffix(seg, rawSuffix) + indexSuffix }

func removeAll(g *rig, suffix string) {
	names, _ := filepath.Glob(filepath.Join(g.cfg.Root, testID, "*"+suffix))
	if len(names) == 0 {
		g.t.Fatal("nothing to remove")
	}
	for _, n := range names {
		os.Remove(n)
	}
}

func truncate(t *testing.T, name string, n int64) {
	if err := os.Truncate(name, n); err != nil {
		t.Fatal(err)
	}
}

func overwrite(t *testing.T, name string, off int64, b []byte) {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(b, off)
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func appendTo(t *testing.T, name string, b []byte) {
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, name, info.Size(), b)
}

// A frame that a kill left unfinished is completed by its own writer, and
// removed when a new one comes.
func TestUnfinishedFrame(t *testing.T) {
	for cut := 1; cut < len(frame(1, 2, 100)); cut += 7 {
		g := newRig(t, t.TempDir(), DefaultOptions, Config{})
		g.feed(frame(0, 1, 100))
		f := frame(1, 2, 100)
		g.feed(f[:cut])
		wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, 1)
		g.reopen()
		wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, 1)
		g.feed(f[cut:])
		wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, 2)

		g.feed(frame(2, 3, 100)[:cut])
		g.dir.Close()
		g.open(DefaultOptions, false)
		g.feed(frame(2, 3, 100))
		wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, 3)
		if len(g.losses) != 1 || g.losses[0].Reason != "torn" || g.losses[0].Bytes != int64(cut) {
			t.Fatalf("cut at %d: losses %+v", cut, g.losses)
		}
		g.feed(frame(3, 4, 100)[:cut])
		if torn := g.a.Detach(); torn != int64(cut) {
			t.Fatalf("torn %d, want %d", torn, cut)
		}
		if s := g.j.State(); s.Attached != 0 || s.Ends != 1 || s.LastEnd != s.End {
			t.Fatalf("state %+v", s)
		}
	}
}

// Two writers of one journal never end up inside each other's frames.
func TestTwoAttachments(t *testing.T) {
	g := newRig(t, t.TempDir(), DefaultOptions, Config{})
	f := frame(0, 1, 100)
	g.feed(f[:50])
	second := g.j.Attach(false)
	var p [2]int
	unix.Pipe2(p[:], unix.O_NONBLOCK)
	defer unix.Close(p[0])
	unix.Write(p[1], frame(1, 2, 100))
	if _, err := second.Ingest(p[0], 1000); err != ErrBusy {
		t.Fatal(err)
	}
	g.feed(f[50:])
	if n, err := second.Ingest(p[0], 1000); n == 0 || err != nil {
		t.Fatal(n, err)
	}
	unix.Close(p[1])
	if _, err := second.Ingest(p[0], 1000); err != io.EOF {
		t.Fatal(err)
	}
	second.Detach()
	if s := g.j.State(); s.Attached != 1 || s.Ends != 0 {
		t.Fatalf("%+v", s)
	}
	wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, 2)
}

// A stream that is none of entries ends there; what came before stays, and the
// writer is never blocked.
func TestCorruptStream(t *testing.T) {
	g := newRig(t, t.TempDir(), DefaultOptions, Config{})
	g.feed(frame(0, 1, 100))
	bad := binary.BigEndian.AppendUint32(nil, 1<<31)
	g.feed(append(bad, bytes.Repeat([]byte("x"), 300_000)...))
	wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, 1)
	if len(g.losses) != 1 || g.losses[0].Reason != "corrupt" {
		t.Fatalf("%+v", g.losses)
	}
	g.a.Detach()
	g.a = g.j.Attach(false)
	g.feed(frame(1, 2, 100))
	wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, 2)
}

func TestRetention(t *testing.T) {
	for _, c := range []struct {
		name      string
		hold      int64
		max       int64
		wantFirst bool // the first line must still be there
		wantLoss  bool
	}{
		{"nothing held", math.MaxInt64, 0, false, false},
		{"all held", 0, 1 << 30, true, false},
		{"held too long", 0, 300_000, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t, t.TempDir(), Options{MaxSize: 50_000, MaxFile: 3}, Config{HoldMax: c.max})
			g.j.SetHold(c.hold)
			const lines = 5000
			for i := range lines {
				g.feed(frame(i, int64(i), 100))
			}
			g.dir.maintain(context.Background())
			got := numbers(t, readAll(t, g.j, 0))
			wantRun(t, got, got[0], lines)
			if (got[0] == 0) != c.wantFirst {
				t.Errorf("first line %d", got[0])
			}
			var lost int64
			for _, l := range g.losses {
				lost += l.Bytes
			}
			first, _ := g.j.Bounds()
			if c.wantLoss != (lost > 0) || c.wantLoss && lost != first {
				t.Errorf("lost %d bytes of %d removed", lost, first)
			}
			if n := len(g.segments()); !c.wantFirst && !c.wantLoss && n != 3 {
				t.Errorf("%d segments", n)
			}
			g.j.SetHold(math.MaxInt64)
			g.dir.maintain(context.Background())
			if n := len(g.segments()); n != 3 {
				t.Errorf("%d segments once nothing is held", n)
			}
		})
	}
}

func TestBudget(t *testing.T) {
	root := t.TempDir()
	g := newRig(t, root, Options{MaxSize: 50_000, MaxFile: 100}, Config{Budget: 200_000})
	for i := range 3 {
		j, err := g.dir.Create(Container{ID: fmt.Sprintf("stopped%d", i), Options: DefaultOptions})
		if err != nil {
			t.Fatal(err)
		}
		os.WriteFile(filepath.Join(root, j.id, "filler"), make([]byte, 40_000), 0o600)
		j.Release()
	}
	for i := range 4000 {
		g.feed(frame(i, int64(i), 100))
	}
	g.dir.retain()
	var total int64
	for _, i := range g.dir.List() {
		total += i.Bytes
	}
	if total > 200_000 {
		t.Errorf("%d bytes left", total)
	}
	if infos := g.dir.List(); len(infos) != 1 || infos[0].ID != testID {
		t.Errorf("left: %+v", infos)
	}
	got := numbers(t, readAll(t, g.j, 0))
	wantRun(t, got, got[0], 4000)
}

// A reader at work is not disturbed by compression or removal around it.
func TestReaderOutlivesItsSegment(t *testing.T) {
	g := newRig(t, t.TempDir(), Options{MaxSize: 300_000, MaxFile: 100, Compress: true}, Config{})
	const lines = 20_000
	for i := range lines {
		g.feed(frame(i, int64(i), 100))
	}
	r := g.j.NewReader(0)
	defer r.Close()
	var got []byte
	for n := 0; ; n++ {
		b, _, err := r.Next()
		if err == io.EOF {
			break
		}
		got = append(got, b...)
		if n == 0 {
			g.dir.maintain(context.Background())
		}
	}
	wantRun(t, numbers(t, got), 0, lines)
	if _, err := g.dir.Acquire("nobody"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// Where there is no space the bytes wait in the pipe, and nothing is lost.
func TestDiskFull(t *testing.T) {
	root := t.TempDir()
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal("mount a small tmpfs (the tests run as root):", err)
	}
	defer unix.Unmount(root, unix.MNT_DETACH)
	for _, noSplice := range []bool{false, true} {
		sub := filepath.Join(root, fmt.Sprint(noSplice))
		g := newRig(t, sub, Options{MaxSize: 200_000, MaxFile: 100}, Config{})
		g.j.noSplice = noSplice
		g.dir.gracePeriod = time.Hour // however slow this machine is
		filler := filepath.Join(root, "filler")
		os.WriteFile(filler, make([]byte, 700_000), 0o600)
		var all []byte
		var full bool
		for i := 0; len(all) < 450_000; i++ {
			f := frame(i, int64(i+1), 100)
			all = append(all, f...)
			for len(f) > 0 {
				n, err := unix.Write(g.w, f)
				if err != nil {
					t.Fatal(err)
				}
				f = f[n:]
			}
			if err := g.drain(); errors.Is(err, unix.ENOSPC) && !full {
				full = true
			} else if err != nil && !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
		}
		if !full {
			t.Fatal("the disk never was full")
		}
		os.Remove(filler)
		if err := g.drain(); err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, g.j, 0); !bytes.Equal(got, all) {
			t.Fatalf("splice %v: %d bytes of %d", !noSplice, len(got), len(all))
		}
		g.a.Detach()
		g.j.Release()
		os.RemoveAll(sub)
	}
}

func FuzzIndex(f *testing.F) {
	ps := []point{{maxTime: noTime}, {offset: 70000, frames: 50, maxTime: 5, pos: 100}}
	f.Add(appendRawPoint(nil, ps[1]))
	f.Add(appendTrailer(nil, summary{size: 80000, frames: 60, maxTime: 7}, ps)[skippableLen:])
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, p := range rawPoints(b, 1<<20)[1:] {
			if p.offset <= 0 || p.offset > 1<<20 {
				t.Fatalf("point %+v", p)
			}
		}
		if s, ps, err := sealedPoints(b); err == nil && (s.size <= 0 || ps[len(ps)-1].offset >= s.size) {
			t.Fatalf("summary %+v", s)
		}
	})
}
