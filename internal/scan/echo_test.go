package scan

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"logscan/internal/echo"
	"logscan/internal/entry"
	"logscan/internal/event"
	"logscan/internal/rule"
)

// Lines that repeat what logscan has sent are hidden from the rules that this was
// about: for these they are no hits and take no part in cooldowns. They are
// counted, by container. Other rules see them, whoever has copied the mark.
func TestEchoes(t *testing.T) {
	g := newRig(t)
	key := echo.NewKey()
	g.cfg.Echo = key.Verify
	quiet, w := g.container(0), g.container(1)
	defer quiet.end()
	defer w.end()
	g.start(compile(t, rule.Rule{Pattern: "boom", CooldownSeconds: 3600}, rule.Rule{Pattern: "compromised"}))
	boom := key.Sign(time.Unix(0, w.nano), echo.Rules(0).With(1))
	w.lines(
		"got ["+boom+"] boom", // a receiver
		"boom", "boom",
		`{"mark":"`+boom+`", "message":"boom"}`,
		"compromised "+boom, // a stranger
		"compromised, boom "+boom,
		boom,
	)
	quiet.lines("boom")
	events := g.wait(4)
	g.caughtUp()
	var got []string
	for _, e := range events {
		if e.Metadata["container_name"] == "c1" {
			got = append(got, fmt.Sprint(e.Metadata["rule_id"], " ", strings.ReplaceAll(e.Message, boom, "mark")))
		}
	}
	if want := "[1 boom 2 compromised mark 2 compromised, boom mark]"; fmt.Sprint(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if st := g.s.Stats(); st.Lines != 8 || st.Hits != 4 || st.Suppressed != 1 || st.Echoes != 3 {
		t.Errorf("%+v", st)
	}
	if echoes := g.s.Echoes(); len(echoes) != 1 || echoes[containerID(1)] != 3 {
		t.Errorf("echoes %v", echoes)
	}
}

// Hits of a streak are numbered from the 33rd on, each rule's in each container for
// itself, also over restarts; five minutes without one end it.
func TestStreaks(t *testing.T) {
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
	for i := range streakFrom + 2 {
		say(one, "a", 4*time.Minute)
		say(two, "a", rule.StreakGap) // never a streak
		if i%4 == 0 {
			say(one, "b", 0)
		}
		if i%10 == 4 {
			g.stop()
			g.start(rules)
		}
	}
	say(one, "a", 4*time.Minute+59*time.Second)
	say(one, "a", rule.StreakGap)
	var rows []string
	for _, e := range g.events() {
		if n := e.Metadata[event.InARow]; n != nil {
			rows = append(rows, fmt.Sprint(e.Metadata["container_name"], e.Message, n))
		}
	}
	if got, want := fmt.Sprint(rows), "[c0a33 c0a34 c0a35]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
