package app

import (
	"log/slog"

	"logscan/internal/echo"
	"logscan/internal/event"
	"logscan/internal/rule"
)

// marker makes the marks of what is sent.
type marker struct {
	key   *echo.Key
	rules func() *rule.Snapshot
}

// openKey falls back on a key that is gone with this process, and then isn't kept: an old
// message that is logged after the next start is then a line like any other, and nothing
// can be sealed.
func openKey(path string, log *slog.Logger) (key *echo.Key, kept bool) {
	key, err := echo.OpenKey(path)
	if err != nil {
		log.Error("marks", "err", err)
		return echo.NewKey(), false
	}
	return key, true
}

// mark returns the mark of an event that goes out with this body. It hides the
// event's echoes from its own rule; from all that match the message or the whole
// body, in any workload, for a receiver may log the one or the other; and from
// those of the marks in the message. So where a receiver's line makes a hit after
// all, for what it adds itself, what is sent of that hit is hidden from all rules
// of the first message and from this one: each round has more of them, and a ring
// has an end.
func (m marker) mark(e event.Event, body []byte) string {
	rules := m.key.Verify([]byte(e.Message), e.CreatedAt.UnixNano())
	switch id := e.Metadata["rule_id"].(type) {
	case float64:
		rules = rules.With(int64(id))
	case int64:
		rules = rules.With(id)
	}
	snapshot := m.rules()
	for _, text := range [][]byte{[]byte(e.Message), body} {
		for _, id := range snapshot.Matches(text) {
			rules = rules.With(id)
		}
	}
	return m.key.Sign(e.CreatedAt, rules)
}
