package trigger

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"logscan/internal/channel"
	"logscan/internal/channel/all"
	"logscan/internal/channel/webhook"
	"logscan/internal/egress"
	"logscan/internal/event"
)

// payload is the body of an event's delivery; see the package's documentation.
type payload = webhook.Payload[data]

// data is an event as receivers get it, whatever becomes of ours.
type data struct {
	ID        int64          `json:"id"`
	Source    string         `json:"source"`
	Severity  string         `json:"severity"`
	Message   string         `json:"message"`
	Metadata  map[string]any `json:"metadata"`
	CreatedAt time.Time      `json:"created_at"`
	Context   []contextLine  `json:"context,omitempty"`
}

// contextLine is a line around an event, or one that it is about.
type contextLine struct {
	Time   time.Time `json:"time"`
	Stream string    `json:"stream"`
	Text   string    `json:"text"`
	Cut    bool      `json:"cut,omitempty"`
	Own    bool      `json:"own,omitempty"`
}

func newPayload(e event.Event, around []event.ContextLine, test bool, mark string) ([]byte, error) {
	kind := "logscan.hit"
	if e.Source == event.System {
		kind = "logscan.system"
	}
	d := data{ID: e.ID, Source: string(e.Source), Severity: string(e.Severity), Message: e.Message, Metadata: e.Metadata, CreatedAt: e.CreatedAt.UTC()}
	if d.Metadata == nil {
		d.Metadata = map[string]any{}
	}
	for _, l := range around {
		d.Context = append(d.Context, contextLine{l.Time.UTC(), l.Stream, l.Text, l.Cut, l.Own})
	}
	if _, many := d.Metadata[event.InARow]; many && mark != "" {
		d.Message = "[" + mark + "] " + d.Message
	}
	return json.Marshal(payload{Mark: mark, Type: kind, Timestamp: d.CreatedAt, Test: test, Data: d})
}

// payload is the body of an event's delivery, with its mark.
func (w *Worker) payload(e event.Event, around []event.ContextLine, test bool) ([]byte, error) {
	body, err := newPayload(e, around, test, "")
	if err != nil || w.Mark == nil {
		return body, err
	}
	return newPayload(e, around, test, w.Mark(e, body))
}

// send makes one attempt.
func (w *Worker) send(ctx context.Context, job Job) channel.Verdict {
	t := job.Trigger
	c, err := all.Open(t.ActionURL, t.ActionSecret, w.client)
	if err != nil {
		return channel.Verdict{Reason: "the trigger's URL: " + err.Error()}
	}
	if job.Message != nil {
		m := *job.Message
		m.Mark = w.markOf(m)
		return c.Send(ctx, m)
	}
	return w.sendEvent(ctx, c, t, job.Delivery.ID, job.Event, job.Context, false)
}

// markOf is the mark of a message: it hides what is told from the rules that match
// it.
func (w *Worker) markOf(m channel.Message) string {
	if w.Mark == nil {
		return ""
	}
	var lines strings.Builder
	for _, n := range m.Notices {
		lines.WriteString(n.Text)
		lines.WriteByte('\n')
	}
	return w.Mark(event.Event{Message: lines.String(), CreatedAt: m.At}, []byte(m.Heading()+"\n"+m.Text(channel.Style{})))
}

// sendEvent makes one attempt to tell of an event.
func (w *Worker) sendEvent(ctx context.Context, c channel.Channel, t Trigger, id string, e event.Event, around []event.ContextLine, test bool) channel.Verdict {
	body, err := w.payload(e, around, test)
	if err != nil {
		return channel.Verdict{Reason: "the event can't be encoded", Final: true}
	}
	if c, ok := c.(*webhook.Webhook); ok {
		return c.Post(ctx, id, body)
	}
	m := w.message(t, id, e)
	channel.AddContext(&m.Notices[0], around)
	m.Test = test
	if w.Mark != nil {
		m.Mark = w.Mark(e, body)
	}
	return c.Send(ctx, m)
}

// message is what a channel is given to tell of an event.
func (w *Worker) message(t Trigger, id string, e event.Event) channel.Message {
	text := func(key string) string {
		s, _ := e.Metadata[key].(string)
		return s
	}
	n := channel.Notice{
		Kind: channel.Hit, Key: id, Severity: string(e.Severity), Rule: text("rule_name"), Workload: text("workload_id"),
		Container: text("container_name"), Image: text("image"), Text: e.Message, Count: 1, First: e.CreatedAt, Last: e.CreatedAt,
	}
	if e.Source == event.System {
		n.Kind, n.Rule = channel.System, cmp.Or(n.Rule, "logscan")
	} else if record := text(event.Record); record != "" {
		n.Text = record
	}
	m := channel.Message{ID: id, At: e.CreatedAt, Trigger: t.Name, Notices: []channel.Notice{n}}
	if at, err := time.Parse(time.RFC3339Nano, text("line_time")); err == nil {
		m.Notices[0].First, m.Notices[0].Last = at, at
	}
	if held, _ := e.Metadata["suppressed"].(float64); held > 0 {
		m.Held = channel.Held{Notices: int(held), Hits: int64(held), Why: "cooldown of the rule"}
		m.Held.Since, _ = time.Parse(time.RFC3339Nano, text("suppressed_since"))
	}
	return m
}

// CheckTarget says why nothing may be sent to a URL. A name that can't be resolved
// now is accepted, since each address is checked again when it is dialled. The error
// doesn't repeat the URL.
func CheckTarget(rawURL string, targets egress.Targets) error {
	g, _ := egress.NewGuard(targets, nil)
	return all.CheckTarget(rawURL, g)
}
