package trigger

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"logscan/internal/mark"
	"logscan/internal/store"
)

func TestRetryAfterHeader(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"":                               0,
		"0":                              0,
		"20":                             20 * time.Second,
		" 20 ":                           20 * time.Second,
		"-1":                             0,
		"1.5":                            0,
		"soon":                           0,
		"86400":                          24 * time.Hour,
		"86401":                          24 * time.Hour,
		"99999999999999999999999":        24 * time.Hour,
		"Fri, 02 Jan 2026 03:05:05 GMT":  time.Minute,
		"Friday, 02-Jan-26 03:05:05 GMT": time.Minute, // RFC 850
		"Fri Jan  2 03:05:05 2026":       time.Minute, // asctime
		"Fri, 02 Jan 2026 03:04:00 GMT":  0,           // past
		"Fri, 02 Jan 2037 03:04:00 GMT":  24 * time.Hour,
		"Fri, 32 Jan 2026 03:04:00 GMT":  0,
		"Fri, 02 Jan 2026 04:05:05 CET":  0, // not a form of HTTP's
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

// The mark comes first in a payload, and in the message where a receiver that
// logs messages could have the rule see them again for ever.
func TestMarkedPayloads(t *testing.T) {
	m := mark.New()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	event := func(metadata map[string]any) store.Event {
		return store.Event{Source: store.SourceLogscan, Severity: "warn", Message: "Out of <memory>", Metadata: metadata, CreatedAt: at}
	}
	read := func(e store.Event, mark string) (string, payload) {
		t.Helper()
		b := must[[]byte](t)(newPayload(e, false, mark))
		var p payload
		if err := json.Unmarshal(b, &p); err != nil {
			t.Fatal(err)
		}
		return string(b), p
	}
	body, p := read(event(nil), m.At(at))
	if !strings.HasPrefix(body, `{"mark":"logscan-`) || !m.In([]byte(body[:50]), at.UnixNano()) || p.Data.Message != "Out of <memory>" {
		t.Errorf("payload %s", body)
	}
	body, p = read(event(map[string]any{store.InARow: 9}), m.At(at))
	if want := "[" + m.At(at) + "] Out of <memory>"; p.Data.Message != want || p.Data.Metadata[store.InARow] != 9.0 {
		t.Errorf("payload %s", body)
	}
	if !m.In([]byte(p.Data.Message), at.UnixNano()) {
		t.Error("the message is not marked")
	}
	body, p = read(event(map[string]any{store.InARow: 9}), "")
	if strings.Contains(body, "logscan-") || p.Data.Message != "Out of <memory>" {
		t.Errorf("payload without a mark %s", body)
	}
}
