package store

import (
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/trigger"
)

// A message shows the record of the hit that it is about: of the first where something
// begins, also where it was held, of the last where it goes on, and none at its end.
func TestRecordsAreTold(t *testing.T) {
	l := newLive(t)
	l.settings.TellResolved = true
	id := l.trigger("ops", nil)
	hit := func(message, record string) {
		t.Helper()
		e := seen(l.at.Sub(t0), 1, message)
		e.Severity = event.Error
		if record != "" {
			e.Metadata[event.Record] = record
		}
		emit(t, l.Store, nil, e)
	}
	hit("a broke", "a broke\n\tat x")
	l.expect(id, "opened a broke\n\tat x ×1")
	l.pass(time.Minute)
	hit("b broke", "b broke\n\tat y")
	hit("b broke", "b broke\n\tat z")
	hit("c broke", "")
	l.pass(5 * time.Minute)
	l.expect(id, "opened a broke\n\tat x ×1", "opened b broke\n\tat y ×2, opened c broke ×1")
	l.pass(time.Hour)
	if got := l.told(id); !strings.Contains(got[len(got)-1], "resolved a broke ×1") {
		t.Errorf("%q", got)
	}
	single := l.trigger("each", func(trig *trigger.Trigger) { trig.GroupBy = "none" })
	l.pass(2 * time.Hour)
	hit("d broke", "d broke"+strings.Repeat("\n\tat w", 20_000))
	got := l.messages(single)[0].Notices[0].Text
	if len(got) > maxTold+len("…") || !strings.HasSuffix(got, "…") {
		t.Errorf("%d bytes: …%q", len(got), got[max(0, len(got)-20):])
	}
}
