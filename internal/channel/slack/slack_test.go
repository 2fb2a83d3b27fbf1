package slack

import (
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/channel"
	ct "logscan/internal/channel/channeltest"
	"logscan/internal/egress"
)

const (
	path  = "/services/T000/B000/t0ken-t0ken"
	token = "xoxb-t0ken-t0ken"
)

// blocks are of the forms in https://docs.slack.dev/reference/block-kit/blocks/header-block
// and https://docs.slack.dev/reference/block-kit/blocks/rich-text-block.
const blocks = `"text": "[CRITICAL] oom: shop/shop-db-1 on node-1 (×3)",
	"blocks": [
		{"type": "header", "text": {"type": "plain_text", "text": "[CRITICAL] oom: shop/shop-db-1 on node-1 (×3)", "emoji": false}},
		{"type": "rich_text", "elements": [
			{"type": "rich_text_section", "elements": [{"type": "text", "text": "[` + ct.Mark + `]\n"}]},
			{"type": "rich_text_section", "elements": [{"type": "text", "text": "Rule: oom\nWorkload: shop\nContainer: shop-db-1\nHost: node-1\n"}]},
			{"type": "rich_text_preformatted", "elements": [{"type": "text", "text": "Out of memory: Killed process 4711 (postgres)\n  total-vm:812kB"}]},
			{"type": "rich_text_section", "elements": [{"type": "text", "text": "3 times since 2026-01-02 15:03:05 UTC, the last at 2026-01-02 15:04:04 UTC\n"}]},
			{"type": "rich_text_section", "elements": [{"type": "text", "text": "Before:\n"}]},
			{"type": "rich_text_preformatted", "elements": [{"type": "text", "text": "checkpoint starting"}]},
			{"type": "rich_text_section", "elements": [{"type": "text", "text": "After:\n"}]},
			{"type": "rich_text_preformatted", "elements": [{"type": "text", "text": "all processes terminated"}]},
			{"type": "rich_text_section", "elements": [
				{"type": "link", "text": "Acknowledge", "url": "https://logs.example.com/a/ack-t0ken"}, {"type": "text", "text": "   "},
				{"type": "link", "text": "Silence 1 h", "url": "https://logs.example.com/a/silence-t0ken"}, {"type": "text", "text": "   "},
				{"type": "link", "text": "Open logscan", "url": "https://logs.example.com/"}
			]}
		]}
	]`

// The request is of the form in
// https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks.
func TestWebhook(t *testing.T) {
	r := ct.Receive(t)
	r.Answer(ct.Answer{Body: "ok"})
	for u, secret := range map[string]string{path: "", "/services/T000/B000": "t0ken-t0ken"} {
		if v := ct.Open(t, Kind, "slack+http://"+r.Host+u, secret).Send(t.Context(), ct.Message()); v.Reason != "" {
			t.Fatal(v)
		}
		q := r.One(t)
		if q.Method != "POST" || q.URI != path || q.Header.Get("Authorization") != "" {
			t.Errorf("%s %s", q.Method, q.URI)
		}
		ct.Body(t, q, `{"unfurl_links": false, `+blocks+"}")
	}
}

// The request is of the form in https://docs.slack.dev/reference/methods/chat.postMessage.
func TestBot(t *testing.T) {
	r := ct.Receive(t)
	r.Answer(ct.Answer{Body: `{"ok":true,"ts":"1"}`})
	for u, secret := range map[string]string{r.Host + "/C0123456789": token, token + "@" + r.Host + "/C0123456789/": ""} {
		if v := ct.Open(t, Kind, "slack+http://"+u, secret).Send(t.Context(), ct.Message()); v.Reason != "" {
			t.Fatal(v)
		}
		q := r.One(t)
		if q.Method != "POST" || q.URI != "/api/chat.postMessage" || q.Header.Get("Authorization") != "Bearer "+token {
			t.Errorf("%s %s %s", q.Method, q.URI, q.Header)
		}
		ct.Body(t, q, `{"channel": "C0123456789", "unfurl_links": false, `+blocks+"}")
	}
}

const (
	post, update = "/api/chat.postMessage", "/api/chat.update"
	first        = `{"ok":true,"channel":"C0123456789","ts":"1503435956.000247","message":{"text":"cut`
	firstRef     = "C0123456789 1503435956.000247 general"
)

// What becomes of an incident is shown by the first message about it; what people have
// to know is posted in its thread besides. The request is of the form in
// https://docs.slack.dev/reference/methods/chat.update.
func TestChanges(t *testing.T) {
	r := ct.Receive(t)
	r.AnswerAt(post, ct.Answer{Body: first})
	r.AnswerAt(update, ct.Answer{Body: `{"ok":true,"channel":"C0123456789","ts":"1503435956.000247","text":"cut`})
	c := ct.Open(t, Kind, "slack+http://"+r.Host+"/general", token)
	send := func(m channel.Message, ref string) (channel.Verdict, []ct.Request) {
		t.Helper()
		m.Ref = ref
		v := c.Send(t.Context(), m)
		all := r.Take()
		if again := c.Send(t.Context(), m); again != v {
			t.Errorf("sent twice: %+v, then %+v", v, again)
		}
		for k, q := range r.Take() {
			if k >= len(all) || q.URI != all[k].URI || q.Body != all[k].Body {
				t.Errorf("sent twice, request %d isn't the same", k)
			}
		}
		return v, all
	}
	uris := func(all []ct.Request) (out []string) {
		for _, q := range all {
			out = append(out, q.URI)
		}
		return out
	}
	v, all := send(ct.Message(), "")
	if v != (channel.Verdict{Status: 200, Said: v.Said, Ref: firstRef}) || !slices.Equal(uris(all), []string{post}) {
		t.Fatalf("%+v, %v", v, uris(all))
	}
	// It is worse: the first message says so, and so does a new one.
	v, all = send(ct.Message(), firstRef)
	if v.Reason != "" || v.Ref != "" || !slices.Equal(uris(all), []string{update, post}) {
		t.Fatalf("%+v, %v", v, uris(all))
	}
	ct.Body(t, all[0], `{"channel": "C0123456789", "ts": "1503435956.000247", `+blocks+"}")
	ct.Body(t, all[1], `{"channel": "C0123456789", "thread_ts": "1503435956.000247", "reply_broadcast": true, "unfurl_links": false, `+blocks+"}")
	for name, m := range map[string]channel.Message{"acknowledged": ct.Acknowledged(), "resolved": ct.Resolved()} {
		v, all := send(m, firstRef)
		if v.Reason != "" || v.Ref != "" || !slices.Equal(uris(all), []string{update}) || !strings.Contains(seen(t, all[0]), strings.ToUpper(name[:1])+name[1:]) {
			t.Errorf("%s: %+v, %v", name, v, uris(all))
		}
	}
	// What isn't in the channel any more, or was made up, is not changed.
	for _, ref := range []string{"C0123456789 1503435956.000247 other", "C0123456789 x general", "general", "C1\n1.1 general", " general"} {
		if v, all := send(ct.Resolved(), ref); v.Ref != firstRef || !slices.Equal(uris(all), []string{post}) {
			t.Errorf("%q: %+v, %v", ref, v, uris(all))
		}
	}
	for _, code := range []string{"message_not_found", "cant_update_message", "edit_window_closed", "channel_not_found"} {
		r.AnswerAt(update, ct.Answer{Body: `{"ok":false,"error":"` + code + `"}`})
		if v, all := send(ct.Resolved(), firstRef); v.Reason != "" || v.Ref != firstRef || !slices.Equal(uris(all), []string{update, post}) || strings.Contains(all[1].Body, "thread_ts") {
			t.Errorf("%s: %+v, %v", code, v, uris(all))
		}
	}
	// What may succeed later is not posted instead.
	for _, f := range []ct.Fail{
		{Answer: ct.Answer{Body: `{"ok":false,"error":"ratelimited"}`, Header: map[string]string{"Retry-After": "9"}}, Wait: 9 * time.Second, Reason: "refused"},
		{Answer: ct.Answer{Status: 429, Body: `{"ok":false,"error":"ratelimited"}`, Header: map[string]string{"Retry-After": "9"}}, Wait: 9 * time.Second, Reason: "429"},
		{Answer: ct.Answer{Body: `{"ok":false,"error":"invalid_auth"}`}, Reason: "token"},
		{Answer: ct.Answer{Body: `{"ok":false,"error":"invalid_blocks"}`}, Final: true, Reason: "form"},
		{Answer: ct.Answer{Status: 500}, Reason: "500"},
		{Answer: ct.Answer{Body: "<html>"}, Reason: "not one of Slack"},
	} {
		r.AnswerAt(update, f.Answer)
		if v, all := send(ct.Message(), firstRef); !strings.Contains(v.Reason, f.Reason) || v.Wait != f.Wait || v.Final != f.Final || v.Ref != "" || !slices.Equal(uris(all), []string{update}) {
			t.Errorf("%s: %+v, %v", f.Answer.Body, v, uris(all))
		}
	}
	// An answer that doesn't say where the message is gives nothing to change it by.
	for _, answer := range []string{`{"ok":true}`, `{"ok":true,"channel":"C1","ts":7}`, `{"ok":true,"channel":"general","ts":"1.1"}`, `{"ok":true,"channel":"C1","ts":"1.1 x"}`, `{"ok":false,"error":"not_in_channel","channel":"C1","ts":"1.1"}`} {
		r.AnswerAt(post, ct.Answer{Body: answer})
		if v, _ := send(ct.Message(), ""); v.Ref != "" {
			t.Errorf("%s: %+v", answer, v)
		}
	}
	for rawURL, want := range map[string]bool{"slack://hooks.slack.com/services/T000/B000/TOKEN": false, "slack://slack.com/C0123456789": true, "slack://slack.com/services": true} {
		u, err := egress.Parse(rawURL)
		if err != nil || Kind.Refers(u) != want {
			t.Errorf("%s: %v, %v", rawURL, Kind.Refers(u), err)
		}
	}
}

// seen is the text of a request's blocks.
func seen(t testing.TB, r ct.Request) string {
	v := r.JSON(t)
	fallback := v["text"].(string)
	if strings.ContainsAny(fallback, "<>") || fallback == "" {
		t.Errorf("text: %q", fallback)
	}
	if title := ct.In(t, v, "blocks", 0, "text", "text").(string); title == "" || channel.UTF16(title) > maxTitle || ct.In(t, v, "blocks", 0, "text", "type") != "plain_text" {
		t.Errorf("title: %q", title)
	}
	var text strings.Builder
	for _, e := range ct.In(t, v, "blocks", 1, "elements").([]any) {
		for _, e := range ct.In(t, e, "elements").([]any) {
			if e := e.(map[string]any); e["type"] == "text" {
				text.WriteString(e["text"].(string))
			} else if e["type"] != "link" || !strings.HasPrefix(e["url"].(string), "https://logs.example.com/") {
				t.Errorf("%v", e)
			}
			if ct.In(t, e, "text") == "" {
				t.Error("an empty text, which Slack refuses")
			}
		}
	}
	return text.String()
}

func TestPromises(t *testing.T) {
	t.Run("webhook", func(t *testing.T) {
		ct.Promises(t, ct.Subject{
			Kind: Kind, URL: func(host string) string { return "slack+http://" + host + path }, Hidden: []string{"t0ken"},
			OK: ct.Answer{Body: "ok"}, Text: seen, Limit: maxText + 100, Size: channel.UTF16,
			Fails: []ct.Fail{
				{Answer: ct.Answer{Status: 403, Body: "action_prohibited"}, Reason: "403"},
				{Answer: ct.Answer{Status: 404, Body: "no_service"}, Reason: "404"},
				{Answer: ct.Answer{Status: 410, Body: "channel_is_archived"}, Final: true, Reason: "410"},
				{Answer: ct.Answer{Body: "<html>"}, Reason: "not one of Slack"},
			},
		})
	})
	t.Run("bot", func(t *testing.T) {
		ct.Promises(t, ct.Subject{
			Kind: Kind, URL: func(host string) string { return "slack+http://" + host + "/C0123456789" }, Secret: token, Hidden: []string{"t0ken"},
			OK: ct.Answer{Body: `{"ok":true,"message":{"text":"` + strings.Repeat("x", 10_000)}, Text: seen, Limit: maxText + 100, Size: channel.UTF16,
			Fails: []ct.Fail{
				{Answer: ct.Answer{Body: `{"ok":false,"error":"channel_not_found"}`}, Reason: "invite it there"},
				{Answer: ct.Answer{Body: `{"ok":false,"error":"invalid_auth"}`}, Reason: "token"},
				{Answer: ct.Answer{Body: `{"ok":false,"error":"invalid_blocks"}`}, Final: true, Reason: "form"},
				{Answer: ct.Answer{Body: `{"ok":false,"error":"ratelimited"}`, Header: map[string]string{"Retry-After": "9"}}, Wait: 9 * time.Second, Reason: "refused"},
				{Answer: ct.Answer{Body: `{"ok":false,"error":"https://evil.example/"}`}, Reason: "Slack refused the message"},
				{Answer: ct.Answer{Body: "ok"}, Reason: "not one of Slack"},
			},
		})
	})
}

func TestURLs(t *testing.T) {
	ct.Refuse(t, Kind,
		[3]string{"slack://hooks.slack.com", "", "incoming webhook's URL"},
		[3]string{"slack://hooks.slack.com/services/T000", "", "incoming webhook's URL"},
		[3]string{"slack://hooks.slack.com/workflows/T/A/1/x", "", "incoming webhook's URL"},
		[3]string{"slack://x@hooks.slack.com/services/T/B/x", "", "incoming webhook's URL"},
		[3]string{"slack://slack.com/a%20b", token, "incoming webhook's URL"},
		[3]string{"slack://hooks.slack.com/services/T/B", "", "last part of the webhook's URL"},
		[3]string{"slack://hooks.slack.com/services/T/B/x", token, "already"},
		[3]string{"slack://slack.com/C0123456789", "", "bot's token"},
		[3]string{"slack://slack.com/C0123456789", token + "\r\nX: y", "line break"},
	)
}
