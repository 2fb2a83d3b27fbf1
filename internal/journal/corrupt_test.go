package journal

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"logscan/internal/entry"
)

// lineCounter counts what is logged.
type lineCounter struct{ n atomic.Int64 }

func (c *lineCounter) Write(b []byte) (int, error) {
	c.n.Add(int64(bytes.Count(b, []byte("\n"))))
	return len(b), nil
}

// damage changes some bytes of a file, and says which.
func damage(t *testing.T, rnd *rand.Rand, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) == 0 {
		return filepath.Base(name) + " is empty"
	}
	at, n := rnd.IntN(len(b)), 1+rnd.IntN(300)
	what := ""
	switch rnd.IntN(6) {
	case 0:
		b, what = b[:at], "cut off"
	case 1:
		clear(b[at:min(at+n, len(b))])
		what = "zeroed"
	case 2:
		b[at] ^= 1 << rnd.IntN(8)
		n, what = 1, "a bit flipped"
	case 3:
		for i := at; i < min(at+n, len(b)); i++ {
			b[i] = byte(rnd.Uint32())
		}
		what = "overwritten"
	case 4:
		b, what = append(b[:at], b[min(at+n, len(b)):]...), "removed"
	case 5:
		b, what = append(b[:at:at], append(bytes.Repeat([]byte{0xa5}, n), b[at:]...)...), "put in"
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s: %d bytes at %d %s", filepath.Base(name), n, at, what)
}

// Whatever is damaged in a journal's files, it opens, serves all lines but those
// that were hit and their neighbours, says that some are missing, and goes on.
func TestDamage(t *testing.T) {
	const lines = 3000
	o := Options{MaxSize: 150_000, MaxFile: 100, Compress: true}
	template := t.TempDir()
	g := newRig(t, template, o, Config{})
	write := func(from, to int) {
		for i := from; i < to; i++ {
			g.feed(frame(i, int64(i+1), 100))
		}
	}
	write(0, lines/2)
	g.dir.maintain(context.Background())
	o.Compress = false
	g.j.meta.Options = o
	write(lines/2, lines)
	g.dir.Close()
	files, err := os.ReadDir(filepath.Join(template, testID))
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	perFile := 24
	if testing.Short() {
		perFile = 6
	}
	for k, f := range files {
		if strings.HasSuffix(f.Name(), indexSuffix) && f.Name() < files[len(files)/2].Name() {
			continue
		}
		for seed := range perFile {
			rnd := rand.New(rand.NewPCG(uint64(k), uint64(seed)))
			root := t.TempDir()
			if err := os.CopyFS(root, os.DirFS(template)); err != nil {
				t.Fatal(err)
			}
			what := damage(t, rnd, filepath.Join(root, testID, f.Name()))
			if seed%3 == 2 {
				what += "; " + damage(t, rnd, filepath.Join(root, testID, files[rnd.IntN(len(files))].Name()))
			}
			// What hangs shows where.
			watch := time.AfterFunc(time.Minute, func() {
				b := make([]byte, 1<<20)
				panic(what + ":\n" + string(b[:runtime.Stack(b, true)]))
			})
			checkDamaged(t, root, lines, what, seed%3 == 2)
			watch.Stop()
		}
	}
}

func checkDamaged(t *testing.T, root string, lines int, what string, twice bool) {
	t.Helper()
	var logged lineCounter
	var g *rig
	g = &rig{t: t, cfg: Config{Root: root, Logger: slog.New(slog.NewTextHandler(&logged, nil)), OnLoss: func(l Loss) { g.losses = append(g.losses, l) }}}
	var err error
	if g.dir, err = OpenDir(g.cfg); err != nil {
		t.Fatal(what, err)
	}
	if g.j, err = g.dir.Acquire(testID); err != nil {
		t.Fatal(what, err)
	}
	defer g.dir.Close()
	r := g.j.NewReader(0)
	defer r.Close()
	intact, changed := 0, 0
	last := -1
	var served []byte
	for blocks := 0; ; blocks++ {
		b, _, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil || blocks > 10_000 {
			t.Fatal(what, blocks, err)
		}
		for len(b) > 0 {
			var f []byte
			if f, b, err = entry.Next(b); err != nil {
				t.Fatal(what, "not whole frames")
			}
			if served, err = entry.AppendServed(served[:0], f); err != nil {
				changed++
				continue // is not served
			}
			var e entry.Entry
			if err := entry.Decode(served[entry.HeaderLen:], &e); err != nil {
				t.Fatal(what, "what is served does not decode")
			}
			n := 0
			fmt.Sscanf(string(e.Line), "%d ", &n)
			if want, _ := entry.AppendServed(nil, frame(n, int64(n+1), 100)); bytes.Equal(served, want) {
				if n <= last {
					t.Fatalf("%s: line %d after %d", what, n, last)
				}
				last = n
				intact++
			} else {
				changed++
			}
		}
	}
	allowed := 300/100 + 4 // those hit, and neighbours
	switch {
	case strings.Contains(what, "container.json") || strings.Contains(what, indexSuffix):
		allowed = 0
	case strings.Contains(what, compressedSuffix):
		allowed = blockSize/100 + 10 // a block
		if strings.Contains(what, "put in") || strings.Contains(what, "removed") {
			allowed = 1400 // a segment: the index tells wrong places
		}
	}
	if strings.Contains(what, "cut off") || twice {
		allowed = lines
	}
	if lines-intact > allowed {
		t.Errorf("%s: %d lines of %d are intact", what, intact, lines)
	}
	if changed > 12 {
		t.Errorf("%s: %d lines are not what they were", what, changed)
	}
	rec := g.j.recovery
	if said := r.Skipped + rec.Torn + rec.Cut + rec.Missing; lines-intact > changed && said == 0 {
		t.Errorf("%s: %d lines are missing and nobody says so", what, lines-intact)
	}
	if n := logged.n.Load(); n > 20 {
		t.Errorf("%s: %d lines logged", what, n)
	}
	for _, n := range []int64{1, 100, int64(lines)} {
		if at, err := g.j.SeekTail(n); err == nil && at > g.j.State().End {
			t.Errorf("%s: tail %d at %d", what, n, at)
		}
	}
	g.dir.maintain(context.Background())
	g.a = g.j.Attach(false)
	g.ingest(frame(lines, int64(lines+1), 100))
	g.ingest(frame(lines+1, int64(lines+2), 100))
	for range 2 {
		var tail []byte
		r := g.j.NewReader(g.j.State().First)
		for {
			b, _, err := r.Next()
			if err != nil {
				break
			}
			tail = append(tail[:0], b...)
		}
		r.Close()
		want := append(frame(lines, int64(lines+1), 100), frame(lines+1, int64(lines+2), 100)...)
		if !bytes.HasSuffix(tail, want) {
			t.Fatalf("%s: new lines are not there", what)
		}
		g.a.Detach()
		g.j.Release()
		if g.j, err = g.dir.Acquire(testID); err != nil {
			t.Fatal(what, err)
		}
	}
}
