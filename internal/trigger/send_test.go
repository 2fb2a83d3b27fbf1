package trigger

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"logscan/internal/echo"
	"logscan/internal/event"
)

// The mark comes first in a payload, and in the message where a receiver that
// logs messages could have the rule see them again for ever.
func TestMarkedPayloads(t *testing.T) {
	k, rules := echo.NewKey(), echo.Rules(0).With(3)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	hit := func(metadata map[string]any) event.Event {
		return event.Event{Source: event.Logscan, Severity: "warn", Message: "Out of <memory>", Metadata: metadata, CreatedAt: at}
	}
	read := func(e event.Event, mark string) (string, payload) {
		t.Helper()
		b := must[[]byte](t)(newPayload(e, nil, false, mark))
		var p payload
		if err := json.Unmarshal(b, &p); err != nil {
			t.Fatal(err)
		}
		return string(b), p
	}
	body, p := read(hit(nil), k.Sign(at, rules))
	if !strings.HasPrefix(body, `{"mark":"logscan-`) || k.Verify([]byte(body[:70]), at.UnixNano()) != rules || p.Data.Message != "Out of <memory>" {
		t.Errorf("payload %s", body)
	}
	body, p = read(hit(map[string]any{event.InARow: 9}), k.Sign(at, rules))
	if want := "[" + k.Sign(at, rules) + "] Out of <memory>"; p.Data.Message != want || p.Data.Metadata[event.InARow] != 9.0 {
		t.Errorf("payload %s", body)
	}
	if k.Verify([]byte(p.Data.Message), at.UnixNano()) != rules {
		t.Error("the message is not marked")
	}
	body, p = read(hit(map[string]any{event.InARow: 9}), "")
	if strings.Contains(body, "logscan-") || p.Data.Message != "Out of <memory>" {
		t.Errorf("payload without a mark %s", body)
	}
}
