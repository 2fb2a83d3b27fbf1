package scan

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"logscan/internal/entry"
	"logscan/internal/rule"
	"logscan/internal/store"
)

// Lines that logscan has sent are no hits and take no part in cooldowns; they
// are counted.
func TestEchoes(t *testing.T) {
	g := newRig(t)
	g.cfg.Echo = func(text []byte, nano int64) bool { return bytes.Contains(text, []byte("echo")) && nano > 0 }
	w := g.container(0)
	defer w.end()
	g.start(compile(t, rule.Rule{Pattern: "boom", Cooldown: time.Hour}))
	w.lines("an echo of boom", "boom", "boom", "echo: boom")
	g.caughtUp()
	events := g.wait(1)
	if st := g.s.Stats(); events[0].Message != "boom" || st.Lines != 4 || st.Hits != 1 || st.Suppressed != 1 || st.Echoes != 2 {
		t.Errorf("%v, %+v", events, st)
	}
}

// Hits in a row are numbered from the 33rd on, each rule's in each container for
// itself, also over restarts; five minutes without one end the row.
func TestHitsInARow(t *testing.T) {
	g := newRig(t)
	rules := compile(t, rule.Rule{Pattern: "^a"}, rule.Rule{Pattern: "^b"})
	one, two := g.container(0), g.container(1)
	defer one.end()
	defer two.end()
	g.start(rules)
	n := 0
	say := func(w *writer, line string, after time.Duration) {
		w.nano += int64(after)
		w.put(entry.Entry{Line: []byte(line)})
		n++
		g.wait(n) // so that events are in this order
	}
	for i := range rowFrom + 2 {
		say(one, "a", 4*time.Minute)
		say(two, "a", rowGap) // never a row
		if i%4 == 0 {
			say(one, "b", 0)
		}
		if i%10 == 4 {
			g.stop()
			g.start(rules)
		}
	}
	say(one, "a", 4*time.Minute+59*time.Second)
	say(one, "a", rowGap)
	var rows []string
	for _, e := range g.events() {
		if n := e.Metadata[store.InARow]; n != nil {
			rows = append(rows, fmt.Sprint(e.Metadata["container_name"], e.Message, n))
		}
	}
	if got, want := fmt.Sprint(rows), "[c0a33 c0a34 c0a35]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
