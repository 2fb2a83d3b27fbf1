package lines

import (
	"io"
	"strings"
	"testing"

	"logscan/internal/journal"
)

// A log that was empty when it was opened begins at its first line: nothing
// before that was missed.
func TestNothingSkippedBeforeTheFirstLine(t *testing.T) {
	l := newLog(t, journal.DefaultOptions)
	l.end()
	root := t.TempDir()
	id := strings.Repeat("b", 64)
	var j *journal.Journal
	for range 2 { // by a process before, and by this one
		dir, err := journal.OpenDir(journal.Config{Root: root})
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		if j, err = dir.Create(journal.Container{ID: id, Options: journal.DefaultOptions}); err != nil {
			t.Fatal(err)
		}
	}
	s := New(j, Position{Next: j.State().End}, Config{})
	defer s.Close()
	if _, err := s.Next(); err != io.EOF {
		t.Fatal(err)
	}
	l.j, l.a = j, j.Attach(false)
	l.put(whole("stdout", "first"))
	line, err := s.Next()
	if err != nil || string(line.Text) != "first" || line.From != j.State().Birth || s.Skipped != 0 {
		t.Errorf("%+v, %v; skipped %d", line, err, s.Skipped)
	}
}
