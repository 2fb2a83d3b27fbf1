package gotify

import (
	"testing"

	"logscan/internal/channel/channeltest"
)

var taken = channeltest.Answer{Body: `{"id":25,"appid":5,"message":"x","title":"y","priority":2}`}

// By https://gotify.net/api-docs#/message/createMessage and
// https://gotify.net/docs/msgextras.
func TestRequest(t *testing.T) {
	r := channeltest.Receive(t)
	r.Answer(taken)
	for _, c := range [][3]string{
		{"gotify+http://" + r.Host, "AKsjdf83.Jk_aB-", "/message"},
		{"gotify+http://" + r.Host + "/", "AKsjdf83.Jk_aB-", "/message"},
		{"gotify+http://AKsjdf83.Jk_aB-@" + r.Host + "/gotify/", "", "/gotify/message"},
		{"gotify+http://" + r.Host + "/gotify/message?token=AKsjdf83.Jk_aB-", "", "/gotify/message"},
	} {
		if v := channeltest.Open(t, Kind, c[0], c[1]).Send(t.Context(), channeltest.Message()); v.Reason != "" {
			t.Fatalf("%+v", v)
		}
		got := r.One(t)
		if got.Method != "POST" || got.URI != c[2] || got.Header.Get("X-Gotify-Key") != "AKsjdf83.Jk_aB-" || got.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %+v", c[0], got)
		}
		want := `{"title":"[CRITICAL] oom: shop/shop-db-1 on node-1 (×3)",` +
			`"message":"[` + channeltest.Mark + `]\n\nRule: oom\nWorkload: shop\nContainer: shop-db-1\nHost: node-1\n\n` +
			`Out of memory: Killed process 4711 (postgres)\n  total-vm:812kB\n\n3 times since 2026-01-02 15:03:05 UTC, the last at 2026-01-02 15:04:04 UTC\n\n` +
			`Before:\n\ncheckpoint starting\n\nAfter:\n\nall processes terminated\n\n` +
			`Acknowledge: https://logs.example.com/a/ack-t0ken  Silence 1 h: https://logs.example.com/a/silence-t0ken\n\nOpen logscan: https://logs.example.com/",` +
			`"priority":10,"extras":{"client::display":{"contentType":"text/plain"},"client::notification":{"click":{"url":"https://logs.example.com/"}}}}` + "\n"
		if got.Body != want {
			t.Errorf("%s\nwant\n%s", got.Body, want)
		}
	}
}

func TestPriority(t *testing.T) {
	r := channeltest.Receive(t)
	c := channeltest.Open(t, Kind, "gotify+http://"+r.Host, "A")
	for severity, want := range map[string]float64{"critical": 10, "error": 7, "warn": 5, "info": 2} {
		c.Send(t.Context(), channeltest.Severity(severity))
		if got := r.One(t).JSON(t); got["priority"] != want {
			t.Errorf("%s: %v", severity, got)
		}
	}
	m := channeltest.Resolved()
	m.URL = ""
	c.Send(t.Context(), m)
	if got := r.One(t).JSON(t); got["priority"] != 2.0 || len(got["extras"].(map[string]any)) != 1 {
		t.Errorf("resolved, without a page: %v", got)
	}
}

func TestPromises(t *testing.T) {
	channeltest.Promises(t, channeltest.Subject{
		Kind: Kind, URL: func(host string) string { return "gotify+http://" + host + "/base" }, Secret: "A-s3cret-token",
		Hidden: []string{"A-s3cret-token"}, OK: taken, Limit: maxText,
		Text: func(t testing.TB, r channeltest.Request) string { return r.JSON(t)["message"].(string) },
		Fails: []channeltest.Fail{
			{Answer: channeltest.Answer{Status: 401, Body: `{"error":"Unauthorized","errorCode":401,"errorDescription":"you need to provide a valid access token"}`}, Reason: "401"},
			{Answer: channeltest.Answer{Body: `{"error":"x","errorCode":400}`}, Reason: "is not one of Gotify"},
			{Answer: channeltest.Answer{Body: "<html>Log in</html>"}, Reason: "is not one of Gotify"},
		},
	})
}

func TestRefused(t *testing.T) {
	channeltest.Refuse(t, Kind,
		[3]string{"gotify://gotify.example.com", "", "page Apps"}, [3]string{"gotify:///message", "Abcd", "has no host"},
		[3]string{"gotify://gotify.example.com", "Abc\r\nX-Evil: 1", "a line break"},
		[3]string{"gotify://Abcd@gotify.example.com", "Efgh", "stands in the URL already"},
	)
}
