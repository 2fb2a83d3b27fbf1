package apprise

import (
	"strings"
	"testing"

	"logscan/internal/channel"
	"logscan/internal/channel/channeltest"
)

var taken = channeltest.Answer{Body: `{"error":"","details":[]}`}

// By https://github.com/caronc/apprise-api#api-details.
func TestRequest(t *testing.T) {
	r := channeltest.Receive(t)
	r.Answer(taken)
	const urls = "mailto://user:pass@example.com, json://example.com"
	for _, c := range []struct{ url, secret, uri, authorization, more string }{
		{"apprise+http://" + r.Host + "/notify/my-key", "", "/notify/my-key", "", ``},
		{"apprise+http://" + r.Host + "/my-key", "", "/notify/my-key", "", ``},
		{"apprise+http://me:pass@" + r.Host + "/base/notify/my-key/?tags=ops,night", "", "/base/notify/my-key", "Basic bWU6cGFzcw==", `,"tag":"ops,night"`},
		{"apprise+http://" + r.Host, urls, "/notify", "", `,"urls":"` + urls + `"`},
		{"apprise+http://" + r.Host + "/base/notify", urls, "/base/notify", "", `,"urls":"` + urls + `"`},
	} {
		if v := channeltest.Open(t, Kind, c.url, c.secret).Send(t.Context(), channeltest.Message()); v.Reason != "" {
			t.Fatalf("%+v", v)
		}
		got := r.One(t)
		if got.Method != "POST" || got.URI != c.uri || got.Header.Get("Authorization") != c.authorization || got.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %+v", c.url, got)
		}
		want := `{"title":"[CRITICAL] oom: shop/shop-db-1 on node-1 (×3)",` +
			`"body":"[` + channeltest.Mark + `]\n\nRule: oom\nWorkload: shop\nContainer: shop-db-1\nHost: node-1\n\n` +
			`Out of memory: Killed process 4711 (postgres)\n  total-vm:812kB\n\n3 times since 2026-01-02 15:03:05 UTC, the last at 2026-01-02 15:04:04 UTC\n\n` +
			`Before:\n\ncheckpoint starting\n\nAfter:\n\nall processes terminated\n\n` +
			`Acknowledge: https://logs.example.com/a/ack-t0ken  Silence 1 h: https://logs.example.com/a/silence-t0ken\n\nOpen logscan: https://logs.example.com/",` +
			`"type":"failure","format":"text"` + c.more + "}\n"
		if got.Body != want {
			t.Errorf("%s\nwant\n%s", got.Body, want)
		}
	}
}

func TestType(t *testing.T) {
	r := channeltest.Receive(t)
	c := channeltest.Open(t, Kind, "apprise+http://"+r.Host+"/k", "")
	for severity, want := range map[string]string{"critical": "failure", "error": "failure", "warn": "warning", "info": "info"} {
		c.Send(t.Context(), channeltest.Severity(severity))
		if got := r.One(t).JSON(t); got["type"] != want {
			t.Errorf("%s: %v", severity, got)
		}
	}
	c.Send(t.Context(), channeltest.Resolved())
	if got := r.One(t).JSON(t); got["type"] != "success" {
		t.Errorf("resolved: %v", got)
	}
}

func TestPromises(t *testing.T) {
	for name, s := range map[string]channeltest.Subject{
		"key":  {URL: func(host string) string { return "apprise+http://" + host + "/notify/s3cret-key" }},
		"URLs": {URL: func(host string) string { return "apprise+http://" + host }, Secret: "discord://s3cret-id/s3cret-token"},
	} {
		s.Kind, s.Hidden, s.OK, s.Limit, s.Size = Kind, []string{"s3cret"}, taken, maxText, channel.UTF16
		s.Text = func(t testing.TB, r channeltest.Request) string {
			v := r.JSON(t)
			both := v["title"].(string) + v["body"].(string)
			for _, mention := range []string{"@everyone", "@here", "<!channel", "<@U0", "@room"} {
				if strings.Contains(both, mention) {
					t.Errorf("mentions %s", mention)
				}
			}
			return v["body"].(string)
		}
		s.Fails = []channeltest.Fail{
			{Answer: channeltest.Answer{Status: 204}, Reason: "has no services under this key"},
			{Answer: channeltest.Answer{Status: 424, Body: `{"error":"One or more notification could not be sent"}`}, Reason: "some of its services could not be told"},
			{Answer: channeltest.Answer{Status: 404}, Reason: "404"},
		}
		t.Run(name, func(t *testing.T) { channeltest.Promises(t, s) })
	}
}

func TestRefused(t *testing.T) {
	const lacks = "needs the key of a configuration"
	channeltest.Refuse(t, Kind,
		[3]string{"apprise://apprise.example.com", "", lacks}, [3]string{"apprise://apprise.example.com/notify/", "", lacks},
		[3]string{"apprise:///notify/k", "", "has no host"}, [3]string{"apprise://apprise.example.com/notify/a.b", "", "isn't of A–Z"},
		[3]string{"apprise://apprise.example.com/notify/k", "json://example.com", "either from the key"},
		[3]string{"apprise://apprise.example.com", "hunter2", "no URL of a service"},
	)
}
