package loss

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// saved is what a ledger that was saved at path, and has gone, leaves to the next.
func saved(t *testing.T, path string) map[Key]Sum {
	t.Helper()
	l := New()
	defer l.Close()
	if err := l.Resume(path); err != nil {
		t.Fatal(err)
	}
	return l.take()
}

// What was not told when a process stopped is told by the next one, once.
func TestSave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "losses")
	l := New()
	if err := l.Resume(path); err != nil {
		t.Fatal(err)
	}
	if err := l.Save(); err != nil { // nothing
		t.Fatal(err)
	}
	l.Add(dropped, Sum{1, 10, 2})
	l.Add(Key{"b", "torn"}, Sum{1, 7, 0})
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if told := saved(t, path); len(told) != 2 || told[dropped] != (Sum{1, 10, 2}) || told[Key{"b", "torn"}] != (Sum{1, 7, 0}) {
		t.Errorf("%v", told)
	}
	if told := saved(t, path); len(told) != 0 {
		t.Errorf("once more: %v", told)
	}
}

// The room for what is saved was made before the disk was full.
func TestSaveOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal("mount a small tmpfs (the tests run as root):", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	path := filepath.Join(dir, "losses")
	l := New()
	if err := l.Resume(path); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 2<<20), 0o600) // as much as fits
	l.Add(dropped, Sum{1, 10, 2})
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if told := saved(t, path); told[dropped] != (Sum{1, 10, 2}) {
		t.Errorf("%v", told)
	}
}

// Where there is no place for the file at first, there may be one in the end.
func TestSaveWithoutAPlaceAtFirst(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	path := filepath.Join(dir, "losses")
	l := New()
	if err := l.Resume(path); err == nil {
		t.Error("there is a place")
	}
	l.Add(dropped, Sum{1, 10, 2})
	if err := l.Save(); err == nil {
		t.Error("saved nowhere")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if told := saved(t, path); told[dropped] != (Sum{1, 10, 2}) {
		t.Errorf("%v", told)
	}
}

// A file that holds anything at all stops no process.
func TestSavedRubbish(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	path := filepath.Join(t.TempDir(), "losses")
	for range 100 {
		l := New()
		l.Resume(path)
		for range rnd.IntN(20) {
			l.Add(Key{string(rune('a' + rnd.IntN(26))), "dropped"}, Sum{1, 2, 3})
		}
		l.Add(dropped, Sum{1, 2, 3})
		if err := l.Save(); err != nil {
			t.Fatal(err)
		}
		l.Close()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for range rnd.IntN(300) {
			b[rnd.IntN(len(b))] = byte(rnd.Uint32())
		}
		if err := os.WriteFile(path, b[:rnd.IntN(len(b)+1)], 0o600); err != nil {
			t.Fatal(err)
		}
		l = New()
		if err := l.Resume(path); err != nil {
			t.Fatal(err)
		}
		l.PutBack()
		l.take()
		l.Told()
		l.Add(dropped, Sum{1, 2, 3})
		if _, told := l.Take(time.Now(), l.Waiting()); len(told) != 1 || told[dropped] != (Sum{1, 2, 3}) {
			t.Fatalf("%v", told)
		}
		l.Close()
	}
}
