package trigger

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"logscan/internal/channel"
	"logscan/internal/channel/all"
	"logscan/internal/channel/webhook"
	"logscan/internal/event"
)

// TestResult is what a test came to.
type TestResult struct {
	Status  int // of the answer; 0 for none, or no number
	Latency time.Duration
	Error   string // "" where the receiver took it
	Said    string // the beginning of its answer, without the trigger's URL and secret
}

// Test sends a made-up message, marked as a test, to a trigger's URL, once and now:
// a sample incident, or to a webhook that is told of each event an event with all
// that the event of a hit always has. The trigger need not be stored or enabled.
func (w *Worker) Test(ctx context.Context, t Trigger) (TestResult, error) {
	now, id := w.Now().UTC(), "msg_"+rand.Text()
	c, err := all.Open(t.ActionURL, t.ActionSecret, w.client)
	if err != nil {
		return TestResult{Error: "the trigger's URL: " + err.Error()}, nil
	}
	began := time.Now()
	var out channel.Verdict
	if _, posts := c.(*webhook.Webhook); posts && t.Mode == ModeEvents {
		out = w.sendEvent(ctx, c, t, id, sampleHit(t.Name, now), nil, true)
	} else {
		out = c.Send(ctx, w.sample(t, id, now))
	}
	return TestResult{Status: out.Status, Latency: time.Since(began), Error: out.Reason, Said: t.redact(out.Said)}, ctx.Err()
}

// sample is the message of a test.
func (w *Worker) sample(t Trigger, id string, now time.Time) channel.Message {
	m := channel.Sample(id, t.Name, now)
	if t.Mode != ModeEvents {
		m.Title, m.Body = rendered(t.Title, m), rendered(t.Body, m)
	}
	m.Mark = w.markOf(m)
	return m
}

// rendered is what a template makes of a message; "" where it can't, so that the
// usual text is sent.
func rendered(template string, m channel.Message) string {
	t, err := channel.ParseTemplate(template)
	if err != nil {
		return ""
	}
	text, err := t.Render(m)
	if err != nil {
		return ""
	}
	return text
}

// sampleHit is an event that there never was.
func sampleHit(trigger string, now time.Time) event.Event {
	return event.Event{
		Source: event.Logscan, Severity: "info", Message: "This is a test of the trigger " + trigger,
		Metadata: map[string]any{
			"workload_id": "test", "container_id": strings.Repeat("0", 64), "container_name": "test", "image": "test",
			"rule_id": 0, "rule_name": "test", "stream": "stdout", "line_time": now.Format(time.RFC3339Nano),
		},
		CreatedAt: now,
	}
}
