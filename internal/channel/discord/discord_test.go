package discord

import (
	"strings"
	"testing"
	"time"

	"logscan/internal/channel"
	ct "logscan/internal/channel/channeltest"
)

const path = "/api/webhooks/123/t0ken-t0ken"

// The request is of the form in https://docs.discord.com/developers/resources/webhook#execute-webhook
// and https://docs.discord.com/developers/resources/message#embed-object.
func TestRequest(t *testing.T) {
	r := ct.Receive(t)
	r.Answer(ct.Answer{Body: `{"id":"1"}`})
	if v := ct.Open(t, Kind, "discord+http://"+r.Host+path+"?thread_id=5&x=y", "").Send(t.Context(), ct.Message()); v.Reason != "" {
		t.Fatal(v)
	}
	q := r.One(t)
	if q.Method != "POST" || q.URI != path+"?thread_id=5&wait=true" {
		t.Errorf("%s %s", q.Method, q.URI)
	}
	ct.Body(t, q, `{
		"allowed_mentions": {"parse": []},
		"embeds": [{
			"title": "\\[CRITICAL\\] oom: shop/shop-db-1 on node-1 (×3)",
			"description": "[`+ct.Mark+`]\n\n**Rule:** oom\n**Workload:** shop\n**Container:** shop-db-1\n**Host:** node-1\n\n`+
		"```\\nOut of memory: Killed process 4711 (postgres)\\n  total-vm:812kB\\n```\\n\\n"+
		`3 times since 2026-01-02 15:03:05 UTC, the last at 2026-01-02 15:04:04 UTC\n\n`+
		"Before:\\n\\n```\\ncheckpoint starting\\n```\\n\\nAfter:\\n\\n```\\nall processes terminated\\n```\\n\\n"+
		`[Acknowledge](https://logs.example.com/a/ack-t0ken)  [Silence 1 h](https://logs.example.com/a/silence-t0ken)\n\n[Open logscan](https://logs.example.com/)",
			"color": 15158332
		}]
	}`)
}

func TestColors(t *testing.T) {
	r := ct.Receive(t)
	r.Answer(ct.Answer{Body: `{}`})
	c := ct.Open(t, Kind, "discord+http://"+r.Host+"/api/webhooks/123", "t0ken")
	color := func(m channel.Message) any {
		c.Send(t.Context(), m)
		return ct.In(t, r.One(t).JSON(t), "embeds", 0, "color")
	}
	seen := map[any]bool{color(ct.Resolved()): true}
	for _, s := range []string{"info", "warn", "error", "critical"} {
		seen[color(ct.Severity(s))] = true
	}
	if len(seen) != 5 {
		t.Errorf("%v", seen)
	}
}

func TestPromises(t *testing.T) {
	ct.Promises(t, ct.Subject{
		Kind: Kind, URL: func(host string) string { return "discord+http://" + host + path }, Hidden: []string{"t0ken"},
		OK: ct.Answer{Body: `{"id":"1","embeds":[{"description":"` + strings.Repeat("x", 10_000)}, Limit: maxText, Size: channel.UTF16,
		Text: func(t testing.TB, r ct.Request) string {
			v := r.JSON(t)
			if parse, ok := ct.In(t, v, "allowed_mentions", "parse").([]any); !ok || len(parse) != 0 {
				t.Errorf("mentions are allowed")
			}
			if title := ct.In(t, v, "embeds", 0, "title").(string); title == "" || channel.UTF16(title) > maxTitle || strings.Contains(title, "@everyone") {
				t.Errorf("title: %q", title)
			}
			text := ct.In(t, v, "embeds", 0, "description").(string)
			ct.Markdown(t, text)
			return text
		},
		Fails: []ct.Fail{
			{Answer: ct.Answer{Status: 429, Body: `{"message":"You are being rate limited.","retry_after":64.57,"global":false}`}, Wait: 64570 * time.Millisecond, Reason: "429"},
			{Answer: ct.Answer{Status: 429, Header: map[string]string{"Retry-After": "65"}, Body: `{"retry_after":64.57}`}, Wait: 65 * time.Second, Reason: "429"},
			{Answer: ct.Answer{Status: 429, Body: `{"retry_after":1e99}`}, Wait: 24 * time.Hour, Reason: "429"},
			{Answer: ct.Answer{Status: 404, Body: `{"message":"Unknown Webhook","code":10015}`}, Final: true, Reason: "404"},
			{Answer: ct.Answer{Status: 404, Body: `<html>`}, Reason: "404"},
			{Answer: ct.Answer{Status: 401, Body: `{"message":"Invalid Webhook Token","code":50027}`}, Reason: "401"},
			{Answer: ct.Answer{Body: "<html>Log in"}, Reason: "not one of Discord"},
		},
	})
}

func TestURLs(t *testing.T) {
	ct.Refuse(t, Kind,
		[3]string{"discord://discord.com", "", "webhook's URL"},
		[3]string{"discord://discord.com/channels/1/2", "", "webhook's URL"},
		[3]string{"discord://discord.com/api/webhooks/", "", "webhook's URL"},
		[3]string{"discord://discord.com/api/webhooks/1/a/b", "", "webhook's URL"},
		[3]string{"discord://user@discord.com/api/webhooks/1/a", "", "webhook's URL"},
		[3]string{"discord://discord.com/api/webhooks/1", "", "token"},
		[3]string{"discord://discord.com/api/webhooks/1/a", "t0ken", "already"},
		[3]string{"discord://discord.com/api/webhooks/1", "t0ken\n", "line break"},
	)
}
