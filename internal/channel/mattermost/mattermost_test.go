package mattermost

import (
	"strings"
	"testing"

	"logscan/internal/channel"
	ct "logscan/internal/channel/channeltest"
)

// The request is of the form in
// https://developers.mattermost.com/integrate/webhooks/incoming/#parameters.
func TestRequest(t *testing.T) {
	r := ct.Receive(t)
	r.Answer(ct.Answer{Body: "ok"})
	for given, want := range map[[2]string]string{
		{"/hooks/k3y-k3y", ""}: "/hooks/k3y-k3y", {"/hooks", "k3y-k3y"}: "/hooks/k3y-k3y", {"/hooks/", "k3y-k3y"}: "/hooks/k3y-k3y", {"/chat/hooks/k3y-k3y/", ""}: "/chat/hooks/k3y-k3y",
	} {
		if v := ct.Open(t, Kind, "mattermost+http://"+r.Host+given[0], given[1]).Send(t.Context(), ct.Message()); v.Reason != "" {
			t.Fatal(v)
		}
		q := r.One(t)
		if q.Method != "POST" || q.URI != want {
			t.Errorf("%s %s", q.Method, q.URI)
		}
		ct.Body(t, q, `{
			"username": "logscan",
			"text": "**\\[CRITICAL\\] oom: shop/shop-db-1 on node-1 (×3)**\n\n[`+ct.Mark+`]\n\n**Rule:** oom\n**Workload:** shop\n**Container:** shop-db-1\n**Host:** node-1\n\n`+
			"```\\nOut of memory: Killed process 4711 (postgres)\\n  total-vm:812kB\\n```\\n\\n"+
			`3 times since 2026-01-02 15:03:05 UTC, the last at 2026-01-02 15:04:04 UTC\n\n`+
			"Before:\\n\\n```\\ncheckpoint starting\\n```\\n\\nAfter:\\n\\n```\\nall processes terminated\\n```\\n\\n"+
			`[Acknowledge](https://logs.example.com/a/ack-t0ken)  [Silence 1 h](https://logs.example.com/a/silence-t0ken)\n\n[Open logscan](https://logs.example.com/)"
		}`)
	}
}

func TestPromises(t *testing.T) {
	ct.Promises(t, ct.Subject{
		Kind: Kind, URL: func(host string) string { return "mattermost+http://" + host + "/hooks/k3y-k3y" }, Hidden: []string{"k3y-k3y"},
		OK: ct.Answer{Body: "ok"}, Limit: maxText, Size: channel.UTF16,
		Text: func(t testing.TB, r ct.Request) string {
			all := r.JSON(t)["text"].(string)
			title, text, _ := strings.Cut(all, "\n\n")
			if channel.UTF16(all) > maxText || strings.Contains(title, "\n") {
				t.Errorf("%d characters, titled %q", channel.UTF16(all), title)
			}
			ct.Markdown(t, all)
			return text
		},
		Fails: []ct.Fail{
			{Answer: ct.Answer{Status: 404, Body: `{"id":"web.incoming_webhook.invalid.app_error"}`}, Reason: "404"},
			{Answer: ct.Answer{Body: "<html>Mattermost"}, Reason: "not one of Mattermost"},
		},
	})
}

func TestURLs(t *testing.T) {
	ct.Refuse(t, Kind,
		[3]string{"mattermost://chat.example.com", "", "incoming webhook's URL"},
		[3]string{"mattermost://chat.example.com/team/channels/town-square", "", "incoming webhook's URL"},
		[3]string{"mattermost://chat.example.com/hooks/a/b", "", "incoming webhook's URL"},
		[3]string{"mattermost://user@chat.example.com/hooks/a", "", "incoming webhook's URL"},
		[3]string{"mattermost://chat.example.com/hooks/", "", "lacks the webhook's key"},
		[3]string{"mattermost://chat.example.com/hooks/a", "k3y-k3y", "already"},
	)
}
