package journal

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
)

// One of two attachments stays inside a frame for ever: the other one gets its
// turn, and both go on with whole frames.
func TestStalledAttachment(t *testing.T) {
	for _, cut := range []int{2, 30} {
		g := newRig(t, t.TempDir(), DefaultOptions, Config{})
		g.dir.stallAfter = 0
		f := frame(1, 1, 100)
		g.feed(f[:cut])
		other := g.j.Attach(false)
		var p [2]int
		unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC)
		defer unix.Close(p[0])
		defer unix.Close(p[1])
		unix.Write(p[1], frame(2, 2, 100))
		if n, err := other.Ingest(p[0], 1<<20); n == 0 || err != nil {
			t.Fatal(n, err)
		}
		g.feed(append(f[cut:], frame(3, 3, 100)...))
		wantRun(t, numbers(t, readAll(t, g.j, 0)), 2, 4)
		g.a.Detach()
		other.Detach()
		if bytes, frames := g.lost("torn"); int(bytes) != len(f) || frames != 1 {
			t.Errorf("cut at %d: %+v", cut, g.losses)
		}
	}
}

// Behind rubbish the Engine's frames are found again, and the rubbish is counted
// to the byte.
func TestResync(t *testing.T) {
	for name, rubbish := range map[string][]byte{
		"length 0":         make([]byte, 4),
		"length 2³¹":       {0x80, 0, 0, 0},
		"zeros":            make([]byte, 70_000),
		"text":             bytes.Repeat([]byte("rubbish "), 50_000),
		"a lookalike":      append([]byte{0xff, 0xff, 0xff, 0xff}, "\x0a\x06stdout\x10"...),
		"a broken entry":   append([]byte{0xff, 0, 0, 20}, "\x0a\x06stdout\x10\x01\x1a\xffxxxxxxxxxxxxxx"...),
		"half of an entry": append([]byte{0xff, 0, 0}, frame(7, 7, 100)[:40]...),
	} {
		t.Run(name, func(t *testing.T) {
			for _, together := range []bool{true, false} {
				if name == "half of an entry" && !together {
					continue // then nothing tells what follows from its other half
				}
				g := newRig(t, t.TempDir(), DefaultOptions, Config{})
				g.feed(frame(0, 1, 100))
				if together {
					g.feed(append(rubbish, frames(1, 50)...))
				} else {
					g.feed(rubbish)
					g.feed(frames(1, 50))
				}
				wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, 50)
				g.a.Detach()
				if bytes, _ := g.lost("corrupt"); int(bytes) != len(rubbish) || len(g.losses) == 0 {
					t.Errorf("together %v: %d bytes of rubbish, reported %+v", together, len(rubbish), g.losses)
				}
				g.reopen()
				wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, 50)
			}
		})
	}
}

func FuzzIngest(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add(frames(1, 4), uint16(5))
	f.Add([]byte{0x80, 0, 0, 0, 1, 2, 3}, uint16(2))
	f.Add(append(make([]byte, 9), frames(1, 3)...), uint16(11))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		g := newRig(t, t.TempDir(), Options{MaxSize: 1000, MaxFile: 1 << 20}, Config{})
		g.feed(b[:min(int(cut), len(b))])
		g.feed(b[min(int(cut), len(b)):])
		torn := g.a.Detach()
		kept := readAll(t, g.j, 0)
		for rest := kept; len(rest) > 0; {
			var err error
			if _, rest, err = entry.Next(rest); err != nil {
				t.Fatal("not whole frames")
			}
		}
		var lost int64
		for _, l := range g.losses {
			lost += l.Bytes
		}
		if int64(len(kept))+lost != int64(len(b)) || torn > lost {
			t.Errorf("%d bytes kept and %d reported of %d", len(kept), lost, len(b))
		}
		g.a = g.j.Attach(false)
		g.feed(frames(7, 8))
		if after := readAll(t, g.j, 0); !bytes.Equal(after, append(kept, frames(7, 8)...)) {
			t.Error("what follows is not kept")
		}
	})
}
