package googlechat

import (
	"html"
	"regexp"
	"strings"
	"testing"

	"logscan/internal/channel"
	ct "logscan/internal/channel/channeltest"
)

const (
	space = "/v1/spaces/AAA/messages"
	hook  = space + "?key=k3y&token=t0ken-t0ken%3D"
)

// The request is of the forms in
// https://developers.google.com/workspace/chat/api/reference/rest/v1/spaces.messages
// and https://developers.google.com/workspace/chat/api/reference/rest/v1/cards.
func TestRequest(t *testing.T) {
	r := ct.Receive(t)
	r.Answer(ct.Answer{Body: `{"name":"spaces/AAA/messages/1"}`})
	for u, secret := range map[string]string{hook: "", space + "?key=k3y": "t0ken-t0ken="} {
		if v := ct.Open(t, Kind, "googlechat+http://"+r.Host+u, secret).Send(t.Context(), ct.Message()); v.Reason != "" {
			t.Fatal(v)
		}
		q := r.One(t)
		if q.Method != "POST" || q.URI != space+"?key=k3y&messageReplyOption=REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD&requestId=msg_2b5f&token=t0ken-t0ken%3D" {
			t.Errorf("%s %s", q.Method, q.URI)
		}
		ct.Body(t, q, `{
			"fallbackText": "[CRITICAL] oom: shop/shop-db-1 on node-1 (×3)",
			"thread": {"threadKey": "inc_7"},
			"cardsV2": [{"cardId": "incident", "card": {
				"header": {"title": "[CRITICAL] oom: shop/shop-db-1 on node-1 (×3)"},
				"sections": [{"widgets": [
					{"textParagraph": {"text": "[`+ct.Mark+`]"}},
					{"textParagraph": {"text": "Rule: oom<br>Workload: shop<br>Container: shop-db-1<br>Host: node-1"}},
					{"textParagraph": {"text": "Out of memory: Killed process 4711 (postgres)<br>\u00a0 total-vm:812kB"}},
					{"textParagraph": {"text": "3 times since 2026-01-02 15:03:05 UTC, the last at 2026-01-02 15:04:04 UTC"}},
					{"textParagraph": {"text": "Before:"}}, {"textParagraph": {"text": "checkpoint starting"}},
					{"textParagraph": {"text": "After:"}}, {"textParagraph": {"text": "all processes terminated"}},
					{"buttonList": {"buttons": [
						{"text": "Acknowledge", "onClick": {"openLink": {"url": "https://logs.example.com/a/ack-t0ken"}}},
						{"text": "Silence 1 h", "onClick": {"openLink": {"url": "https://logs.example.com/a/silence-t0ken"}}},
						{"text": "Open logscan", "onClick": {"openLink": {"url": "https://logs.example.com/"}}}
					]}}
				]}]
			}}]
		}`)
	}
}

// Messages about several incidents belong to no thread.
func TestGroup(t *testing.T) {
	r := ct.Receive(t)
	ct.Open(t, Kind, "googlechat+http://"+r.Host+hook, "").Send(t.Context(), ct.Group())
	if got := r.One(t).JSON(t)["thread"]; got != nil {
		t.Error(got)
	}
}

var tag = regexp.MustCompile(`<br>|&(amp|lt|gt);`)

func TestPromises(t *testing.T) {
	ct.Promises(t, ct.Subject{
		Kind: Kind, URL: func(host string) string { return "googlechat+http://" + host + hook }, Hidden: []string{"t0ken", "k3y"},
		OK: ct.Answer{Body: `{"name":"spaces/AAA/messages/1","cardsV2":[{"card":"` + strings.Repeat("x", 10_000)}, Limit: 32_000,
		Text: func(t testing.TB, r ct.Request) string {
			if len(r.Body) > 32_000 {
				t.Errorf("the message has %d bytes", len(r.Body))
			}
			var texts []string
			widgets := ct.In(t, r.JSON(t), "cardsV2", 0, "card", "sections", 0, "widgets").([]any)
			if len(widgets) > 100 {
				t.Errorf("%d widgets", len(widgets))
			}
			for _, w := range widgets {
				if p, ok := w.(map[string]any)["textParagraph"]; ok {
					text := ct.In(t, p, "text").(string)
					if strings.ContainsAny(tag.ReplaceAllString(text, ""), "<>&") {
						t.Errorf("interpreted: %.200q", text)
					}
					texts = append(texts, html.UnescapeString(text))
				}
			}
			return strings.Join(texts, "\n")
		},
		Fails: []ct.Fail{
			{Answer: ct.Answer{Body: `{"error":{"code":400,"status":"INVALID_ARGUMENT"}}`}, Reason: "not one of Google Chat"},
			{Answer: ct.Answer{Body: "<html>Sign in"}, Reason: "not one of Google Chat"},
			{Answer: ct.Answer{Status: 403, Body: `{"error":{"code":403}}`}, Reason: "403"},
			{Answer: ct.Answer{Status: 429, Body: `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}`}, Reason: "429"},
		},
	})
}

func TestURLs(t *testing.T) {
	ct.Refuse(t, Kind,
		[3]string{"googlechat://chat.googleapis.com", "", "webhook URL"},
		[3]string{"googlechat://chat.googleapis.com/v1/spaces/A", "", "webhook URL"},
		[3]string{"googlechat://chat.googleapis.com" + space, "t0ken", "quotes"},
		[3]string{"googlechat://u@chat.googleapis.com" + hook, "", "webhook URL"},
		[3]string{"googlechat://chat.googleapis.com" + space + "?key=k3y", "", "lacks the webhook's token"},
		[3]string{"googlechat://chat.googleapis.com" + hook, "t0ken", "already"},
	)
}

func TestSize(t *testing.T) {
	m := channel.Message{Notices: []channel.Notice{{Text: strings.Repeat(strings.Repeat("<", 100)+"\n", 1000)}}}
	var total int
	for _, p := range m.Parts(maxText, size) {
		total += len(escape.Replace(p.Text))
	}
	if total > maxText {
		t.Errorf("%d bytes of HTML", total)
	}
}
