package scan

import (
	"os"
	"path/filepath"
	"testing"

	"logscan/internal/rule"
)

// What is damaged at the very end of a log is passed over and counted, a line
// that goes on there is evaluated as far as it goes, and the log is finished.
func TestDamageAtTheEnd(t *testing.T) {
	g := newRig(t)
	w := g.container(0)
	w.lines("a", "b")
	w.put(chunk("stdout", "1", "begun", false))
	_, good := w.j.Bounds()
	for range 60 { // more than the journal keeps in memory of its end
		w.put(chunk("stdout", "1", "the rest of a line, in some seventy bytes, of which nothing is left", false))
	}
	_, end := w.j.Bounds()
	segments, err := filepath.Glob(filepath.Join(g.root, "journal", containerID(0), "*.seg"))
	if err != nil || len(segments) != 1 {
		t.Fatal(segments, err)
	}
	f, err := os.OpenFile(segments[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		t.Fatal(err)
	} else if _, err = f.WriteAt(make([]byte, end-good), info.Size()-(end-good)); err != nil {
		t.Fatal(err)
	}
	g.start(compile(t, rule.Rule{Pattern: "^begun$"}))
	g.wait(1)
	eventually(t, "end of the log", func() bool { return g.s.Finished(containerID(0)) })
	if st := g.s.Stats(); st.Skipped != end-good || st.Lines != 3 {
		t.Errorf("%d bytes passed over, want %d; %d lines", st.Skipped, end-good, st.Lines)
	}
	w.lines("behind it")
	eventually(t, "line behind it", func() bool { return g.s.Stats().Lines == 4 })
	if st := g.s.Stats(); st.Skipped != end-good {
		t.Errorf("%d bytes passed over in the end, want %d", st.Skipped, end-good)
	}
	w.end()
}
