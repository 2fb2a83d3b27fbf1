package journal

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
)

// cached returns how many pages of a file are in the page cache, and how many it has.
func cached(t *testing.T, name string) (n, all int) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	pages, err := residentPages(int(f.Fd()), 0, int(info.Size()))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		n += int(p & 1)
	}
	return n, len(pages)
}

// forget drops a file from the page cache.
func forget(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}

// TestPageCache reads segments that aren't in the page cache: those who stand aside leave
// it so, and leave there what was there before.
func TestPageCache(t *testing.T) {
	g := newRig(t, t.TempDir(), Options{MaxSize: 2 << 20, MaxFile: 9, Compress: true}, Config{})
	random := rand.New(rand.NewPCG(1, 2))
	line := make([]byte, 4000)
	for i := int64(1); len(g.j.Segments()) < 3; i++ {
		for k := range line[:1500] { // compressed, it is a third or so
			line[k] = byte(random.Uint32())
		}
		g.feed(entry.Append(nil, &entry.Entry{Source: "stdout", TimeNano: i, Line: line}))
	}
	g.dir.maintain(context.Background())
	name := segmentPath(g.j.path, g.j.Segments()[0].From, compressedSuffix)
	read := func(aside bool) {
		t.Helper()
		r := g.j.NewReader(g.j.Segments()[0].From)
		defer r.Close()
		r.Aside = aside
		for {
			if _, _, err := r.Next(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if r.Skipped != 0 {
			t.Errorf("%d bytes were skipped", r.Skipped)
		}
	}
	forget(t, name)
	if n, all := cached(t, name); n > all/10 {
		t.Fatalf("%d of %d pages can't be dropped", n, all)
	}
	read(true)
	if n, all := cached(t, name); n > all/4 { // the index, and pages of a block or two
		t.Errorf("%d of %d pages are in the cache after they were read aside", n, all)
	}
	read(false)
	if n, all := cached(t, name); n != all {
		t.Errorf("%d of %d pages are in the cache after they were read", n, all)
	}
	read(true)
	if n, all := cached(t, name); n != all {
		t.Errorf("%d of %d pages are left in the cache", n, all)
	}
}
