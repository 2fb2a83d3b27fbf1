package journal

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// A process that is killed leaves what it wrote last out of the index. When
// several are killed one after the other, before any of them wrote a point, the
// gaps must not add up to a block that is too large to be unpacked.
func TestIndexGapsOfManyKills(t *testing.T) {
	const kills, batch = 8, 5000 // of 100 bytes
	o := DefaultOptions
	g := newRig(t, t.TempDir(), o, Config{})
	index := filepath.Join(g.cfg.Root, testID, "00000000000000000000"+indexSuffix)
	n := 0
	feed := func() {
		for range batch {
			g.feed(frame(n, int64(n+1), 100))
			n++
		}
	}
	feed()
	for range kills {
		info, err := os.Stat(index)
		if err != nil {
			t.Fatal(err)
		}
		feed()
		g.dir.Close()
		// As if it had been killed between moving the bytes and looking at them.
		truncate(t, index, info.Size())
		g.open(o, true)
	}
	if info, _ := os.Stat(index); info.Size() < kills*batch*100/blockSize*rawPointLen {
		t.Errorf("the index has %d points after %d kills", info.Size()/rawPointLen, kills)
	}
	feed()
	wantCompressedWhole(t, g, n)
}

// An index that has such a gap, say because the disk was full, is not believed
// beyond it.
func TestIndexWithAGap(t *testing.T) {
	g := newRig(t, t.TempDir(), DefaultOptions, Config{})
	n := 0
	for ; n < 80_000; n++ {
		g.feed(frame(n, int64(n+1), 100))
	}
	g.dir.Close()
	index := filepath.Join(g.cfg.Root, testID, "00000000000000000000"+indexSuffix)
	b, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) < 100*rawPointLen {
		t.Fatalf("%d points", len(b)/rawPointLen)
	}
	gap := append(b[:20*rawPointLen:20*rawPointLen], b[80*rawPointLen:]...)
	if err := os.WriteFile(index, gap, 0o600); err != nil {
		t.Fatal(err)
	}
	g.open(DefaultOptions, true)
	wantCompressedWhole(t, g, n)
}

// wantCompressedWhole rotates, compresses and reads all n lines back.
func wantCompressedWhole(t *testing.T, g *rig, n int) {
	t.Helper()
	o := g.j.Container().Options
	o.MaxSize = 1 // the next line opens a segment
	var err error
	if g.j, err = g.dir.Create(Container{ID: testID, Name: "test", Options: o}); err != nil {
		t.Fatal(err)
	}
	g.feed(frame(n, int64(n+1), 100))
	g.dir.maintain(context.Background())
	if s := g.segments(); s[0] != "00000000000000000000"+compressedSuffix {
		t.Fatalf("segments %v", s)
	}
	wantRun(t, numbers(t, readAll(t, g.j, 0)), 0, n+1)
}
