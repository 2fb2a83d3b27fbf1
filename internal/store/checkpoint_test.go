package store

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// However many commits there are, the log is written anew from its beginning
// now and then, without the writer's doing.
func TestLogStaysShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logscan.db")
	s := must[*Store](t)(Open(path, nil))
	defer s.Close()
	if _, err := s.w.Exec("PRAGMA wal_autocheckpoint = 0"); err != nil {
		t.Fatal(err)
	}
	size := func() int64 { return must[os.FileInfo](t)(os.Stat(path + "-wal")).Size() }
	n := 0
	commit := func() {
		n++
		c := Cursor{ContainerID: strconv.Itoa(n % 8), Position: make([]byte, 3000), State: []byte{}}
		if _, err := s.Commit(t.Context(), Batch{Cursors: []Cursor{c}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range checkpointEvery {
		commit()
	}
	// The checkpoint that this asked for ends some time, and the next commit
	// begins the log anew: it stops growing, which it else would with each.
	for grown, same := size(), 0; same < checkpointEvery/2; {
		if commit(); size() > grown {
			grown, same = size(), 0
		} else {
			same++
		}
		if n > 1000*checkpointEvery {
			t.Fatalf("%d bytes after %d commits", grown, n)
		}
	}
	// And what was copied meanwhile is all there.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = must[*Store](t)(Open(path, nil))
	defer s.Close()
	if c := must[[]Cursor](t)(s.Cursors(t.Context())); len(c) != 8 {
		t.Errorf("%d cursors", len(c))
	}
}
