package scan

import (
	"fmt"
	"testing"
	"time"

	"logscan/internal/entry"
	"logscan/internal/rule"
)

// A machine's clock that is stepped back and forth an hour, while lines come and
// the scanner is restarted, neither loses nor doubles a hit, and no cooldown
// holds anything back for that hour.
func TestClockSteps(t *testing.T) {
	const (
		steps   = 12 // back and forth by turns
		between = 2000
		every   = 100 // one marked line in so many
	)
	g := newRig(t)
	rules := compile(t, rule.Rule{Pattern: "MARK"}, rule.Rule{Pattern: "COOL", CooldownSeconds: 60})
	g.start(rules)
	w := g.container(0)
	defer w.end()
	var times []int64
	for step := range steps {
		if step%2 == 0 {
			w.nano -= int64(time.Hour)
		} else {
			w.nano += int64(time.Hour)
		}
		// The hit before is more than a cooldown away, in the future or the past.
		w.lines(fmt.Sprintf("COOL %d", step))
		for i := range between {
			text := "line"
			if i%every == 0 {
				text = fmt.Sprintf("MARK %d", len(times))
			}
			w.lines(text)
			if text != "line" {
				times = append(times, w.nano)
			}
		}
		if step%3 == 2 {
			g.caughtUp()
			g.stop()
			w.put(entry.Entry{Line: []byte("while nobody scans")})
			g.start(rules)
		}
	}
	g.caughtUp()
	marks, cool := 0, 0
	for _, ev := range g.events() {
		if ev.Message == fmt.Sprintf("COOL %d", cool) {
			cool++
			continue
		}
		if ev.Message != fmt.Sprintf("MARK %d", marks) {
			t.Fatalf("event %q instead of MARK %d or COOL %d", ev.Message, marks, cool)
		}
		if got, want := ev.Metadata["line_time"], time.Unix(0, times[marks]).UTC().Format(time.RFC3339Nano); got != want {
			t.Errorf("MARK %d is of %v instead of %s", marks, got, want)
		}
		marks++
	}
	if marks != len(times) || cool != steps {
		t.Errorf("%d of %d marked lines hit; %d of %d after a step", marks, len(times), cool, steps)
	}
}
