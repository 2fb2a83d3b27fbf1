package store

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"logscan/internal/event"
)

// smallBlocks mounts a filesystem of that many bytes, of blocks of 1 KiB.
func smallBlocks(t *testing.T, size int64) (dir string) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "disk")
	dir = t.TempDir()
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"mkfs.ext4", "-q", "-m", "0", "-b", "1024", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", args, err, out)
		}
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes all the space there is but for some KiB.
func fill(t *testing.T, dir string, leave int64) (undo func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := int64(0)
	for n := 64 << 10; n >= 512; {
		m, err := f.Write(make([]byte, n))
		size += int64(m)
		if errors.Is(err, unix.ENOSPC) {
			n /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(size - leave<<10); err != nil {
		t.Fatal(err)
	}
	return func() { os.Remove(f.Name()) }
}

// TestFullDiskOfSmallBlocks has a disk as good as full, whose blocks are smaller
// than the pages of SQLite's index, before the database is opened and while it is
// open: that is an error each time, until there is space again, and not the end of
// the process.
func TestFullDiskOfSmallBlocks(t *testing.T) {
	dir := smallBlocks(t, 8<<20)
	path := filepath.Join(dir, "logscan.db")
	first, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	commit := func(s *Store) error {
		_, err := s.Commit(t.Context(), Batch{Events: []event.Event{{Source: event.System, Severity: "info", Message: strings.Repeat("filling ", 200)}}}, nil)
		return err
	}
	kept, refused, failed := 0, 0, 0
	for leave := int64(0); leave <= 160; leave += 8 {
		undo := fill(t, dir, leave)
		s, err := Open(path, nil)
		switch {
		case err == nil:
			undoAgain := func() {}
			for n := range 100 {
				if n == 50 {
					undoAgain = fill(t, dir, 0)
				}
				if commit(s) == nil {
					kept++
				} else {
					failed++
				}
			}
			undoAgain()
		case errors.Is(err, unix.ENOSPC) && strings.Contains(err.Error(), "64 are needed"):
			refused++
		default:
			t.Errorf("with %d KiB free: %v", leave, err)
		}
		undo()
		if s == nil {
			if s, err = Open(path, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := commit(s); err != nil {
			t.Errorf("with space again: %v", err)
		}
		kept++
		if err := check(t.Context(), s.r); err != nil {
			t.Error(err)
		}
		if events, err := s.Events(t.Context(), EventFilter{}); err != nil || len(events) != kept {
			t.Fatalf("%d events of %d: %v", len(events), kept, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("opening refused %d times, %d commits failed, %d events kept", refused, failed, kept)
	if refused == 0 || failed == 0 {
		t.Error("the disk was never full")
	}
}
