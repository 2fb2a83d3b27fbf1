package scan

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"logscan/internal/rule"
	"logscan/internal/store"
)

// A cursor that version 1 wrote goes on where it was: no line is evaluated twice
// or left out, the unfinished ones neither, and cooldown, token bucket and streak
// hold on.
func TestCursorOfVersion1(t *testing.T) {
	g := newRig(t)
	g.cfg.MaxLine, g.cfg.FlushAfter = 100, time.Hour
	w := g.container(0)
	defer w.end()
	base, _ := w.j.Bounds()
	for i := range 34 {
		w.lines(fmt.Sprint("every ", i))
	}
	w.lines("cool 0", "cool 1", "cool 2")
	for i := range 20 {
		w.lines(fmt.Sprint("flood ", i))
	}
	_, begun := w.j.Bounds()
	w.put(chunk("stderr", "id-e", "begun ", false))
	w.put(chunk("stdout", "id-o", strings.Repeat("x", 150), false))
	_, next := w.j.Bounds()
	if next-base != 2027 || begun-base != 1798 {
		t.Fatalf("%d bytes, the last line begins at %d", next-base, begun-base)
	}
	// As it was stored behind these lines, with the same rules.
	position := fmt.Sprintf(`{"next":%d,"streams":[{"source":"stdout","skipping":true,"id":"id-o"},{"source":"stderr","start":%d}],`+
		`"runs":{"3":{"n":34,"at":1000000000034000000},"4":{"n":1,"at":1000000000035000000},"9":{"n":15,"at":1000000000052000000}}}`, next, begun)
	state, err := hex.DecodeString("0180ec9387ba018081ceacf5acdbe01b02040380bbd097f5acdbe01b0280c4ca98f5acdbe01b05020580dde5a8f5acdbe01b")
	if err != nil {
		t.Fatal(err)
	}
	cursor := store.Cursor{ContainerID: containerID(0), Position: []byte(position), State: state}
	if _, err := g.db.Commit(t.Context(), store.Batch{Cursors: []store.Cursor{cursor}}, nil); err != nil {
		t.Fatal(err)
	}
	rules, bad := rule.Compile([]rule.Rule{
		{ID: 3, Name: "streak", Pattern: "every|begun", Severity: "warn", Streams: "all", Enabled: true},
		{ID: 4, Name: "cooldown", Pattern: "cool", Severity: "warn", Streams: "all", CooldownSeconds: 3600, Enabled: true},
		{ID: 9, Name: "bucket", Pattern: "flood", Severity: "warn", Streams: "all", Enabled: true},
	}, rule.WithBucket(rule.Bucket{Burst: 50, Refill: time.Second}))
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	g.start(rules)
	w.lines("flood 20") // the bucket is empty still
	w.nano += int64(10 * time.Second)
	w.lines("every 34")
	w.put(chunk("stderr", "id-e", "and ended", true))
	w.lines("cool 3", "flood 21")
	w.nano += int64(time.Hour)
	w.lines("cool 4", "every 35")
	events := g.wait(5)
	g.caughtUp()
	var got []string
	for _, e := range events {
		m := e.Metadata
		got = append(got, fmt.Sprint(e.Message, " suppressed ", m["suppressed"], " in a row ", m["in_a_row"]))
	}
	want := []string{
		"every 34 suppressed <nil> in a row 35",
		"begun and ended suppressed <nil> in a row 36",
		"flood 21 suppressed 6 in a row <nil>",
		"cool 4 suppressed 3 in a row <nil>",
		"every 35 suppressed <nil> in a row <nil>", // an hour later
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if st := g.s.Stats(); st.Lines != 7 || st.Overflow != 0 || st.Malformed != 0 {
		t.Errorf("%+v", st)
	}
}
