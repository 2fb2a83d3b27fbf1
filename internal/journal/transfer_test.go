package journal

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
)

// readNote is what the rig's note says.
func (g *rig) readNote() note {
	g.t.Helper()
	b, err := os.ReadFile(filepath.Join(g.j.path, noteName))
	if err != nil {
		g.t.Fatal(err)
	}
	return decodeNote(b)
}

// transferring returns a rig whose next turn is a transfer, with the lines up to
// 1,000 kept.
func transferring(t *testing.T, o Options) *rig {
	g := newRig(t, t.TempDir(), o, Config{})
	g.feed(frames(0, 500))
	g.feed(frames(500, 1000))
	if n := g.readNote(); n.phase != phaseWritten || n.length == 0 {
		t.Fatalf("no transfer: %+v", n)
	}
	return g
}

// A kill at any step of a transfer loses and doubles nothing, and neither does
// another one while that is mended.
func TestTransferKilled(t *testing.T) {
	o := Options{MaxSize: -1, MaxFile: 5}
	const to = 1300
	lines := frames(1000, to)
	whole := len(lines)
	for _, step := range []struct {
		name    string
		phase   uint32
		written int // bytes
		taken   bool
	}{
		{"noted", phaseWriting, 0, false},
		{"a byte", phaseWriting, 1, false},
		{"a header", phaseWriting, entry.HeaderLen, false},
		{"half", phaseWriting, whole / 2, false},
		{"all but a byte", phaseWriting, whole - 1, false},
		{"all", phaseWriting, whole, false},
		{"noted again", phaseWritten, whole, false},
		{"taken", phaseWritten, whole, true},
	} {
		for _, again := range []int{0, 2} {
			for _, behind := range []int{0, 500} { // lines in the pipe
				t.Run(fmt.Sprintf("%s, %d more kills, %d lines behind", step.name, again, behind), func(t *testing.T) {
					g := transferring(t, o)
					start := g.j.active.size
					if err := g.j.noteLocked(note{step.phase, g.j.segments[0].base, start, whole}); err != nil {
						t.Fatal(err)
					}
					if _, err := g.j.active.file.WriteAt(lines[:step.written], start); err != nil {
						t.Fatal(err)
					}
					if !step.taken {
						unix.Write(g.w, lines)
					}
					unix.Write(g.w, frames(to, to+behind))
					g.reopen()
					for range again {
						g.reopen()
					}
					if err := g.drain(); err != nil {
						t.Fatal(err)
					}
					wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, to+behind)
					g.reopen()
					g.feed(frames(to+behind, 3000))
					g.reopen()
					wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, 3000)
					if len(g.losses) > 0 {
						t.Errorf("%+v", g.losses)
					}
				})
			}
		}
	}
}

// Lines that are alike but for their time are not taken for those written last.
func TestTransferOfLikeLines(t *testing.T) {
	g := newRig(t, t.TempDir(), Options{MaxSize: -1, MaxFile: 5}, Config{})
	same := func(from, to int) (b []byte) {
		for i := from; i < to; i++ {
			b = append(b, frame(7, int64(1e18)+int64(i), 100)...)
		}
		return b
	}
	g.feed(same(0, 500))
	g.feed(same(500, 1000))
	for i := 1000; i < 5000; i += 500 {
		unix.Write(g.w, same(i, i+500))
		g.reopen()
		if err := g.drain(); err != nil {
			t.Fatal(err)
		}
	}
	if got := readAll(t, g.j, 0); !bytes.Equal(got, same(0, 5000)) {
		t.Errorf("%d bytes, want %d", len(got), len(same(0, 5000)))
	}
}

// A note that is none, or of what is no longer there, changes nothing.
func TestTransferNoteDamaged(t *testing.T) {
	rubbish := make([]byte, noteLen)
	rand.Read(rubbish)
	for name, b := range map[string][]byte{
		"empty": {}, "rubbish": rubbish, "long": make([]byte, 1<<16),
		"another segment": note{phaseWritten, 12345, 0, 5000}.encode(),
		"behind the end":  note{phaseWritten, 0, 1 << 30, 5000}.encode(),
		"endless":         note{phaseWritten, 0, 0, 1 << 31}.encode(),
		"of no bytes":     note{phaseWritten, 0, 0, 0}.encode(),
		"from the start":  note{phaseWritten, 0, 0, 5000}.encode(),
		"written nowhere": note{phaseWriting, 12345, 10, 5000}.encode(),
		"written before":  note{phaseWriting, 0, 10, 5000}.encode(),
		"unknown phase":   note{9, 0, 10, 5000}.encode(),
	} {
		t.Run(name, func(t *testing.T) {
			g := transferring(t, Options{MaxSize: -1, MaxFile: 5})
			if err := os.WriteFile(filepath.Join(g.j.path, noteName), b, 0o600); err != nil {
				t.Fatal(err)
			}
			unix.Write(g.w, frames(1000, 1500))
			g.reopen()
			if err := g.drain(); err != nil {
				t.Fatal(err)
			}
			g.feed(frames(1500, 2000))
			g.reopen()
			wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, 2000)
		})
	}
}

// A transfer that can't be written, or whose note can't, loses and doubles
// nothing, whether what failed was done or not; and so is it after a kill.
func TestTransferFails(t *testing.T) {
	for _, kill := range []bool{false, true} {
		for _, which := range []string{"segment", "note"} {
			t.Run(fmt.Sprint(which, ", kill ", kill), func(t *testing.T) {
				g := transferring(t, Options{MaxSize: -1, MaxFile: 5})
				g.j.noSplice = true // the fault would refuse it
				f := g.j.active.file
				if which == "note" {
					f = g.j.active.note
				}
				failing(t, f) // for good: another segment takes its place
				unix.Write(g.w, frames(1000, 2000))
				if err := g.drain(); !errors.Is(err, unix.EIO) {
					t.Fatal(err)
				}
				if kill {
					g.reopen()
				}
				if err := g.drain(); err != nil {
					t.Fatal(err)
				}
				g.feed(frames(2000, 3000))
				g.reopen()
				wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, 3000)
				if len(g.losses) > 0 {
					t.Errorf("%+v", g.losses)
				}
			})
		}
	}
}

// A transfer stops at max-size, and at what is no frame.
func TestTransferBounds(t *testing.T) {
	g := transferring(t, Options{MaxSize: 300_000, MaxFile: 1000})
	for i := 1000; i < 20_000; i += 3000 {
		g.feed(frames(i, min(i+3000, 20_000)))
	}
	wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, 20_000)
	for _, s := range g.j.segments {
		if s.size > 300_000+tornMax {
			t.Errorf("a segment of %d bytes", s.size)
		}
	}
	g.feed(append(append(frames(20_000, 21_000), "rubbish that is no frame"...), frames(21_000, 22_000)...))
	g.feed(frames(22_000, 23_000))
	got := numbers(t, readAll(t, g.j, 0))
	wantRun(t, got, 0, 23_000)
	if n, _ := g.lost("corrupt"); n != int64(len("rubbish that is no frame")) {
		t.Errorf("%d bytes told as corrupt", n)
	}
}

// Blocks that were just written come to the first reader from memory, and are
// those in the file.
func TestFreshBlocks(t *testing.T) {
	g := newRig(t, t.TempDir(), Options{MaxSize: 1 << 20, MaxFile: 1000}, Config{})
	g.j.meta.Scan = true
	before := freshBlocks.Load()
	var readers []*Reader
	got := make([][]byte, 3)
	for range got {
		readers = append(readers, g.j.NewReader(0))
	}
	var want []byte
	for i := range 60 {
		b := frames(i*500, i*500+500)
		want = append(want, b...)
		g.feed(b)
		for k, r := range readers {
			if i%(k*7+1) != 0 {
				continue // some are further behind
			}
			for range k + 1 {
				block, off, err := r.Next()
				if err != nil {
					break
				}
				if off != int64(len(got[k])) {
					t.Fatalf("reader %d: block at %d, want %d", k, off, len(got[k]))
				}
				got[k] = append(got[k], block...)
				if k == 1 {
					r.Release()
				}
			}
		}
	}
	if n := freshBlocks.Load() - before; n > freshMax {
		t.Errorf("%d blocks in memory", n)
	}
	for k, r := range readers {
		rest := readAll(t, g.j, r.Offset())
		if !bytes.Equal(append(got[k], rest...), want) {
			t.Errorf("reader %d: other bytes than were written", k)
		}
		r.Close()
	}
	g.a.Detach()
	g.j.Release()
	if n := freshBlocks.Load() - before; n != 0 {
		t.Errorf("%d blocks kept in memory", n)
	}
}
