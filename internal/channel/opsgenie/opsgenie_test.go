package opsgenie

import (
	"regexp"
	"testing"
	"time"

	"logscan/internal/channel"
	ct "logscan/internal/channel/channeltest"
)

const (
	key = "eb243592-k3y-4a1d"
	ok  = `{"result":"Request will be processed","took":0.302,"requestId":"43a29c5c"}`
	// text is the message's description; the end's differs in one line.
	text  = `[` + ct.Mark + `]\n\nRule: oom\nWorkload: shop\nContainer: shop-db-1\nHost: node-1\n\nOut of memory: Killed process 4711 (postgres)\n  total-vm:812kB\n\n`
	often = `3 times since 2026-01-02 15:03:05 UTC, the last at 2026-01-02 15:04:04 UTC\n\nBefore:\n\ncheckpoint starting\n\nAfter:\n\nall processes terminated\n\n`
	rest  = often + `Acknowledge: https://logs.example.com/a/ack-t0ken  Silence 1 h: https://logs.example.com/a/silence-t0ken\n\nOpen logscan: https://logs.example.com/`
)

// The requests are of the forms in https://docs.opsgenie.com/docs/alert-api#create-alert
// and https://docs.opsgenie.com/docs/alert-api#close-alert, which are those of
// https://docs.opsgenie.com/docs/alert-api#acknowledge-alert too.
func TestRequests(t *testing.T) {
	r := ct.Receive(t)
	r.Answer(ct.Answer{Status: 202, Body: ok})
	for u, secret := range map[string]string{key + "@" + r.Host: "", r.Host + "/": key} {
		c := ct.Open(t, Kind, "opsgenie+http://"+u, secret)
		send := func(m channel.Message, uri string) ct.Request {
			if v := c.Send(t.Context(), m); v.Reason != "" {
				t.Fatal(v)
			}
			q := r.One(t)
			if q.Method != "POST" || q.URI != uri || q.Header.Get("Authorization") != "GenieKey "+key {
				t.Errorf("%s %s %s", q.Method, q.URI, q.Header)
			}
			return q
		}
		ct.Body(t, send(ct.Message(), "/v2/alerts"), `{
			"message": "[CRITICAL] oom: shop/shop-db-1 on node-1 (×3)", "alias": "inc_7", "description": "`+text+rest+`",
			"tags": ["logscan", "critical", "oom"], "entity": "shop", "source": "logscan", "priority": "P1",
			"details": {"container": "shop-db-1", "host": "node-1", "image": "postgres:17", "rule": "oom", "workload": "shop"}
		}`)
		ct.Body(t, send(ct.Acknowledged(), "/v2/alerts/inc_7/acknowledge?identifierType=alias"), `{"source": "logscan", "note": "`+text+`Acknowledged; by alice: disk is on its way; `+often+`Open logscan: https://logs.example.com/"}`)
		ct.Body(t, send(ct.Resolved(), "/v2/alerts/inc_7/close?identifierType=alias"), `{"source": "logscan", "note": "`+text+`Resolved; quiet for 10 min; `+rest+`"}`)
	}
}

func TestPriorities(t *testing.T) {
	r := ct.Receive(t)
	c := ct.Open(t, Kind, "opsgenie+http://"+r.Host, key)
	for severity, want := range map[string]string{"info": "P5", "warn": "P3", "error": "P2", "critical": "P1", "": "P3"} {
		c.Send(t.Context(), ct.Severity(severity))
		if got := r.One(t).JSON(t)["priority"]; got != want {
			t.Errorf("%s: %v", severity, got)
		}
	}
}

var html = regexp.MustCompile(`<[a-zA-Z/!?]`)

func TestPromises(t *testing.T) {
	ct.Promises(t, ct.Subject{
		Kind: Kind, URL: func(host string) string { return "opsgenie+http://" + key + "@" + host }, Hidden: []string{key},
		OK: ct.Answer{Status: 202, Body: ok}, Limit: maxText, Size: channel.UTF16,
		Text: func(t testing.TB, r ct.Request) string {
			if html.MatchString(r.Body) {
				t.Errorf("HTML: %.200q", r.Body)
			}
			v := r.JSON(t)
			if note, ok := v["note"]; ok {
				return note.(string)
			}
			if message := v["message"].(string); message == "" || channel.UTF16(message) > maxMessage {
				t.Errorf("message: %q", message)
			}
			for _, tag := range v["tags"].([]any) {
				if channel.UTF16(tag.(string)) > maxTag {
					t.Errorf("tag: %q", tag)
				}
			}
			return v["description"].(string)
		},
		Fails: []ct.Fail{
			{Answer: ct.Answer{Status: 422, Body: `{"message":"Request body is not processable"}`}, Final: true, Reason: "422"},
			{Answer: ct.Answer{Status: 403, Body: `{"message":"API Key is invalid"}`}, Reason: "403"},
			{Answer: ct.Answer{Status: 429, Header: map[string]string{"Retry-After": "7"}}, Wait: 7 * time.Second, Reason: "429"},
			{Answer: ct.Answer{Body: "<html>"}, Reason: "not one of Opsgenie"},
		},
	})
}

func TestURLs(t *testing.T) {
	ct.Refuse(t, Kind,
		[3]string{"opsgenie://" + key, "", "before the @"},
		[3]string{"opsgenie://api.opsgenie.com/v2/alerts", key, "before the @"},
		[3]string{"opsgenie://api.opsgenie.com", "", "lacks the API key"},
		[3]string{"opsgenie://" + key + "@api.opsgenie.com", key, "already"},
		[3]string{"opsgenie://api.opsgenie.com", key + "\r\nX: y", "line break"},
	)
}
