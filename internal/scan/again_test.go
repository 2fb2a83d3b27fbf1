package scan

import (
	"testing"

	"logscan/internal/rule"
)

// A container whose log was removed, by age or budget, starts again: all lines of
// its new log are evaluated, whoever kept the cursor of the old one, and nothing
// counts as lost that never was.
func TestLogMadeAgain(t *testing.T) {
	for name, running := range map[string]bool{"while the scanner runs": true, "without the scanner": false} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t)
			rules := compile(t, rule.Rule{Pattern: "ERROR"})
			w := g.container(0)
			for range 100 {
				w.lines("nothing to see here, nothing to see here, nothing to see here")
			}
			if !running { // what ended inside it is no line of the next log
				w.put(chunk("stdout", "1", "ERROR begun", false))
			}
			g.start(rules)
			eventually(t, "scan", func() bool { return g.s.Stats().Lines >= 100 && len(g.s.Lag()) == 0 })
			if running {
				eventually(t, "scan", func() bool { return g.s.Finished(containerID(0)) })
			} else {
				g.stop()
				g.s = nil
			}
			w.end()
			eventually(t, "removal", func() bool { return g.dir.Remove(containerID(0)) }) // once the scanner has closed it
			w = g.container(0)
			defer w.end()
			w.lines("ERROR one", "ERROR two")
			if !running {
				g.start(rules)
			}
			g.wait(2)
			for range 10 {
				w.lines("ERROR more and more and more and more")
			}
			events := len(g.wait(12))
			eventually(t, "the end", func() bool { return g.s.Finished(containerID(0)) })
			if st := g.s.Stats(); events != 12 || st.Skipped != 0 {
				t.Errorf("%d events of 12; %d bytes were skipped", events, st.Skipped)
			}
		})
	}
}

// A log to which nothing was written is finished, and nobody goes on looking at
// it.
func TestEmptyLog(t *testing.T) {
	g := newRig(t)
	w := g.container(0)
	g.start(compile(t, rule.Rule{Pattern: "ERROR"}))
	eventually(t, "the end", func() bool { return g.s.Finished(containerID(0)) })
	w.end()
	eventually(t, "its journal is closed", func() bool { return g.dir.Remove(containerID(0)) })
	if lag := g.s.Lag(); len(lag) > 0 {
		t.Errorf("%v", lag)
	}
}
