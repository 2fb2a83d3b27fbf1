package ntfy

import (
	"strings"
	"testing"
	"time"

	"logscan/internal/channel/channeltest"
)

// By https://docs.ntfy.sh/publish/#publish-as-json.
func TestRequest(t *testing.T) {
	r := channeltest.Receive(t)
	r.Answer(channeltest.Answer{Body: `{"id":"x","event":"message"}`})
	c := channeltest.Open(t, Kind, "ntfy+http://"+r.Host+"/base/my-topic", "tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2")
	if v := c.Send(t.Context(), channeltest.Message()); v.Reason != "" {
		t.Fatalf("%+v", v)
	}
	got := r.One(t)
	if got.Method != "POST" || got.URI != "/base/" || got.Header.Get("Authorization") != "Bearer tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2" || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%+v", got)
	}
	want := `{"topic":"my-topic","title":"[CRITICAL] oom: shop/shop-db-1 on node-1 (×3)",` +
		`"message":"[` + channeltest.Mark + `]\n\nRule: oom\nWorkload: shop\nContainer: shop-db-1\nHost: node-1\n\n` +
		`Out of memory: Killed process 4711 (postgres)\n  total-vm:812kB\n\n3 times since 2026-01-02 15:03:05 UTC, the last at 2026-01-02 15:04:04 UTC\n\n` +
		`Before:\n\ncheckpoint starting\n\nAfter:\n\nall processes terminated","priority":5,"tags":["rotating_light"],"click":"https://logs.example.com/",` +
		`"actions":[{"action":"view","label":"Acknowledge","url":"https://logs.example.com/a/ack-t0ken"},` +
		`{"action":"view","label":"Silence 1 h","url":"https://logs.example.com/a/silence-t0ken"},{"action":"view","label":"Open logscan","url":"https://logs.example.com/"}]}` + "\n"
	if got.Body != want {
		t.Errorf("%s\nwant\n%s", got.Body, want)
	}
}

func TestAuthorization(t *testing.T) {
	r := channeltest.Receive(t)
	r.Answer(channeltest.Answer{Body: `{"id":"x"}`})
	for _, c := range [][3]string{
		{"", "", ""},
		{"", "tk_abc", "Bearer tk_abc"},
		{"tk_abc@", "", "Bearer tk_abc"},
		{":tk_abc@", "", "Bearer tk_abc"},
		{"", "phil:my pass", "Basic cGhpbDpteSBwYXNz"},
		{"phil:my%20pass@", "", "Basic cGhpbDpteSBwYXNz"},
	} {
		channeltest.Open(t, Kind, "ntfy+http://"+c[0]+r.Host+"/t", c[1]).Send(t.Context(), channeltest.Line("x"))
		if got := r.One(t); got.Header.Get("Authorization") != c[2] || got.URI != "/" {
			t.Errorf("%q: %+v", c, got)
		}
	}
}

func TestPriority(t *testing.T) {
	r := channeltest.Receive(t)
	c := channeltest.Open(t, Kind, "ntfy+http://"+r.Host+"/t", "")
	for severity, want := range map[string]float64{"critical": 5, "error": 4, "warn": 3, "info": 2} {
		c.Send(t.Context(), channeltest.Severity(severity))
		if got := r.One(t).JSON(t); got["priority"] != want || len(got["tags"].([]any)) != 1 {
			t.Errorf("%s: %v", severity, got)
		}
	}
	c.Send(t.Context(), channeltest.Resolved())
	if got := r.One(t).JSON(t); got["priority"] != 2.0 || got["tags"].([]any)[0] != "white_check_mark" {
		t.Errorf("resolved: %v", got)
	}
}

func TestPromises(t *testing.T) {
	channeltest.Promises(t, channeltest.Subject{
		Kind: Kind, URL: func(host string) string { return "ntfy+http://" + host + "/s3cret-topic" }, Secret: "phil:hunter22",
		Hidden: []string{"s3cret-topic", "hunter22"}, OK: channeltest.Answer{Body: `{"id":"hwQ2YpKdmg","time":1,"event":"message","topic":"s3cret-topic"}`},
		Text: func(t testing.TB, r channeltest.Request) string {
			// A message of 4,096 bytes would be an attachment, and all of 8,192 is too much.
			if len(r.Body) > 8192 || strings.ContainsAny(r.Body[:len(r.Body)-1], "\r\n") {
				t.Errorf("%d bytes: %.100q", len(r.Body), r.Body)
			}
			return r.JSON(t)["message"].(string)
		},
		Limit: 4095,
		Fails: []channeltest.Fail{
			{Answer: channeltest.Answer{Body: "<html>Log in</html>"}, Reason: "is not one of ntfy"},
			{Answer: channeltest.Answer{Body: `{"code":40301,"http":403,"error":"forbidden"}`}, Reason: "is not one of ntfy"},
			{Answer: channeltest.Answer{Status: 429, Header: map[string]string{"Retry-After": "5"}, Body: `{"code":42901,"http":429,"error":"limit reached"}`}, Wait: 5 * time.Second, Reason: "429"},
			{Answer: channeltest.Answer{Status: 403, Body: `{"code":40301,"http":403,"error":"forbidden"}`}, Reason: "403"},
		},
	})
}

func TestRefused(t *testing.T) {
	const topic, secret = "needs a topic", "neither an access token"
	channeltest.Refuse(t, Kind,
		[3]string{"ntfy://ntfy.sh", "", topic}, [3]string{"ntfy://ntfy.sh/", "", topic}, [3]string{"ntfy://ntfy.sh/a.b", "", topic},
		[3]string{"ntfy://ntfy.sh/" + strings.Repeat("x", 65), "", topic}, [3]string{"ntfy:///t", "", "has no host"},
		[3]string{"ntfy://ntfy.sh/t", "hunter2", secret}, [3]string{"ntfy://tk_a%0d%0ab@ntfy.sh/t", "", secret},
		[3]string{"ntfy://a:b@ntfy.sh/t", "tk_abc", "stands in the URL already"},
	)
}
