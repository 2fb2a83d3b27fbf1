package scan

import (
	"os"
	"path/filepath"
	"testing"

	"logscan/internal/journal"
	"logscan/internal/rule"
)

// A segment that was removed by hand costs its own lines: those behind it are
// evaluated, what is missing is counted, and the scanner comes to rest.
func TestSegmentRemovedByHand(t *testing.T) {
	g := newRig(t)
	w := g.attach(0, journal.Options{MaxSize: 2000, MaxFile: 1000}, true, false)
	defer w.end()
	for range 100 {
		w.lines("a line of some length, so that a few of them fill one of the segments, which are small here")
	}
	w.lines("ERROR one")
	segments, err := filepath.Glob(filepath.Join(g.root, "journal", containerID(0), "*.seg"))
	if err != nil || len(segments) < 4 {
		t.Fatal(segments, err)
	}
	info, err := os.Stat(segments[1])
	if err == nil {
		err = os.Remove(segments[1])
	}
	if err != nil {
		t.Fatal(err)
	}
	g.start(compile(t, rule.Rule{Pattern: "ERROR"}))
	g.wait(1)
	eventually(t, "the end", func() bool { return g.s.Finished(containerID(0)) && len(g.s.Lag()) == 0 })
	if st := g.s.Stats(); st.Skipped != info.Size() {
		t.Errorf("%d bytes passed over of %d", st.Skipped, info.Size())
	}
	f, ok := g.s.followers.Load(containerID(0))
	if !ok {
		t.Fatal("not followed")
	}
	eventually(t, "rest", func() bool { return f.(*follower).state.Load() == idle })
	w.lines("ERROR two")
	g.wait(2)
}
