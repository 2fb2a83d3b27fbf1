package teams

import (
	"strings"
	"testing"

	"logscan/internal/channel"
	ct "logscan/internal/channel/channeltest"
)

const path = "/workflows/1/triggers/manual/paths/invoke?api-version=2016-06-01&sig=s1g-s1g_&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0"

// The request is of the forms in
// https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using#send-adaptive-cards-using-an-incoming-webhook
// and https://adaptivecards.io/explorer/RichTextBlock.html.
func TestRequest(t *testing.T) {
	r := ct.Receive(t)
	r.Answer(ct.Answer{Status: 202})
	for u, secret := range map[string]string{path: "", strings.Replace(path, "&sig=s1g-s1g_", "", 1): "s1g-s1g_"} {
		if v := ct.Open(t, Kind, "teams+http://"+r.Host+u, secret).Send(t.Context(), ct.Message()); v.Reason != "" {
			t.Fatal(v)
		}
		q := r.One(t)
		if q.Method != "POST" || q.URI != path {
			t.Errorf("%s %s", q.Method, q.URI)
		}
		row := func(spacing, text string) string {
			return `{"type": "RichTextBlock", "spacing": "` + spacing + `", "inlines": [{"type": "TextRun", "text": "` + text + `"}]}`
		}
		code := func(spacing, text string) string {
			return `{"type": "RichTextBlock", "spacing": "` + spacing + `", "inlines": [{"type": "TextRun", "fontType": "monospace", "text": "` + text + `"}]}`
		}
		ct.Body(t, q, `{"type": "message", "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null, "content": {
			"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4", "msteams": {"width": "Full"},
			"body": [
				{"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": "[CRITICAL] oom: shop/shop-db-1 on node-1 (×3)", "size": "medium", "weight": "bolder", "color": "attention"}]},
				`+strings.Join([]string{
			row("default", "["+ct.Mark+"]"), row("default", "Rule: oom"), row("none", "Workload: shop"), row("none", "Container: shop-db-1"), row("none", "Host: node-1"),
			code("default", "Out of memory: Killed process 4711 (postgres)"), code("none", "\u00a0\u00a0total-vm:812kB"),
			row("default", "3 times since 2026-01-02 15:03:05 UTC, the last at 2026-01-02 15:04:04 UTC"),
			row("default", "Before:"), code("default", "checkpoint starting"), row("default", "After:"), code("default", "all processes terminated"),
		}, ", ")+`
			],
			"actions": [
				{"type": "Action.OpenUrl", "title": "Acknowledge", "url": "https://logs.example.com/a/ack-t0ken"},
				{"type": "Action.OpenUrl", "title": "Silence 1 h", "url": "https://logs.example.com/a/silence-t0ken"},
				{"type": "Action.OpenUrl", "title": "Open logscan", "url": "https://logs.example.com/"}
			]
		}}]}`)
	}
}

func TestColors(t *testing.T) {
	r := ct.Receive(t)
	c := ct.Open(t, Kind, "teams+http://"+r.Host+path, "")
	for want, m := range map[string]channel.Message{
		"good": ct.Resolved(), "accent": ct.Severity("info"), "warning": ct.Severity("warn"), "attention": ct.Severity("error"),
	} {
		c.Send(t.Context(), m)
		if got := ct.In(t, r.One(t).JSON(t), "attachments", 0, "content", "body", 0, "inlines", 0, "color"); got != want {
			t.Errorf("%v, want %s", got, want)
		}
	}
}

func TestPromises(t *testing.T) {
	ct.Promises(t, ct.Subject{
		Kind: Kind, URL: func(host string) string { return "teams+http://" + host + path }, Hidden: []string{"s1g"},
		OK: ct.Answer{Status: 202}, Limit: 28 << 10,
		Text: func(t testing.TB, r ct.Request) string {
			if len(r.Body) > 28<<10 {
				t.Errorf("the message has %d bytes", len(r.Body))
			}
			var lines []string
			for i, row := range ct.In(t, r.JSON(t), "attachments", 0, "content", "body").([]any) {
				line := ct.In(t, row, "inlines", 0, "text").(string)
				if ct.In(t, row, "type") != "RichTextBlock" || strings.Contains(line, "\n") || line == "" {
					t.Errorf("%v", row)
				}
				if i > 0 {
					lines = append(lines, line)
				}
			}
			return strings.Join(lines, "\n")
		},
		Fails: []ct.Fail{
			{Answer: ct.Answer{Status: 404, Body: `{"error":{"code":"WorkflowNotFound"}}`}, Reason: "404"},
			{Answer: ct.Answer{Status: 401, Body: `{"error":{"code":"DirectApiAuthorizationRequired"}}`}, Reason: "401"},
		},
	})
}

func TestURLs(t *testing.T) {
	ct.Refuse(t, Kind,
		[3]string{"teams://example.webhook.office.com/webhookb2/x/IncomingWebhook/y/z", "", "ended"},
		[3]string{"teams://teams.microsoft.com/l/channel/1", "", "workflow's URL"},
		[3]string{"teams://user@h.example/workflows/1/triggers/manual/paths/invoke?sig=x", "", "workflow's URL"},
		[3]string{"teams://h.example/workflows/1/triggers/manual/paths/invoke?api-version=1", "", "quotes"},
		[3]string{"teams://h.example" + path, "s1g-s1g", "already"},
	)
}
