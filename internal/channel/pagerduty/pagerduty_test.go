package pagerduty

import (
	"testing"

	"logscan/internal/channel"
	ct "logscan/internal/channel/channeltest"
)

const (
	key = "0123456789abcdef0123456789abcdef"
	ok  = `{"status":"success","message":"Event processed","dedup_key":"inc_7"}`
)

// The requests are of the form in https://developer.pagerduty.com/docs/send-alert-event.
func TestRequests(t *testing.T) {
	r := ct.Receive(t)
	r.Answer(ct.Answer{Status: 202, Body: ok})
	for u, secret := range map[string]string{key + "@" + r.Host: "", r.Host + "/": key} {
		c := ct.Open(t, Kind, "pagerduty+http://"+u, secret)
		send := func(m channel.Message) ct.Request {
			if v := c.Send(t.Context(), m); v.Reason != "" {
				t.Fatal(v)
			}
			q := r.One(t)
			if q.Method != "POST" || q.URI != "/v2/enqueue" || q.Header.Get("Authorization") != "" {
				t.Errorf("%s %s", q.Method, q.URI)
			}
			return q
		}
		ct.Body(t, send(ct.Message()), `{
			"routing_key": "`+key+`", "event_action": "trigger", "dedup_key": "inc_7", "client": "logscan", "client_url": "https://logs.example.com/",
			"payload": {
				"summary": "[CRITICAL] oom: shop/shop-db-1 on node-1 (×3)", "source": "node-1", "severity": "critical", "timestamp": "2026-01-02T15:04:05Z",
				"component": "shop-db-1", "group": "shop", "class": "oom",
				"custom_details": {"message": "[`+ct.Mark+`]\n\nRule: oom\nWorkload: shop\nContainer: shop-db-1\nHost: node-1\n\nOut of memory: Killed process 4711 (postgres)\n  total-vm:812kB\n\n3 times since 2026-01-02 15:03:05 UTC, the last at 2026-01-02 15:04:04 UTC\n\nBefore:\n\ncheckpoint starting\n\nAfter:\n\nall processes terminated"}
			},
			"links": [
				{"href": "https://logs.example.com/a/ack-t0ken", "text": "Acknowledge"},
				{"href": "https://logs.example.com/a/silence-t0ken", "text": "Silence 1 h"},
				{"href": "https://logs.example.com/", "text": "Open logscan"}
			]
		}`)
		ct.Body(t, send(ct.Acknowledged()), `{"routing_key": "`+key+`", "event_action": "acknowledge", "dedup_key": "inc_7"}`)
		ct.Body(t, send(ct.Resolved()), `{"routing_key": "`+key+`", "event_action": "resolve", "dedup_key": "inc_7"}`)
	}
}

func TestSeverities(t *testing.T) {
	r := ct.Receive(t)
	c := ct.Open(t, Kind, "pagerduty+http://"+r.Host, key)
	for severity, want := range map[string]string{"info": "info", "warn": "warning", "error": "error", "critical": "critical", "": "error"} {
		c.Send(t.Context(), ct.Severity(severity))
		if got := ct.In(t, r.One(t).JSON(t), "payload", "severity"); got != want {
			t.Errorf("%s: %v", severity, got)
		}
	}
}

func TestPromises(t *testing.T) {
	ct.Promises(t, ct.Subject{
		Kind: Kind, URL: func(host string) string { return "pagerduty+http://" + key + "@" + host }, Hidden: []string{key},
		OK: ct.Answer{Status: 202, Body: ok}, Limit: maxText,
		Text: func(t testing.TB, r ct.Request) string {
			v := r.JSON(t)
			if len(r.Body) > 512<<10 || v["routing_key"] != key || len(v["dedup_key"].(string)) > maxKey {
				t.Errorf("%d bytes, %v", len(r.Body), v["dedup_key"])
			}
			if v["event_action"] != "trigger" {
				return "[" + ct.Mark + "]" // it has no text
			}
			for field, most := range map[string]int{"summary": 1024, "source": 1024, "severity": 10} {
				if got := ct.In(t, v, "payload", field).(string); got == "" || channel.UTF16(got) > most || got != channel.Line(got, 4*most) {
					t.Errorf("%s: %q", field, got)
				}
			}
			return ct.In(t, v, "payload", "custom_details", "message").(string)
		},
		Fails: []ct.Fail{
			{Answer: ct.Answer{Status: 400, Body: `{"status":"invalid event","errors":["'routing_key' is invalid"]}`}, Final: true, Reason: "400"},
			{Answer: ct.Answer{Status: 202, Body: `{"status":"invalid event"}`}, Reason: "not one of PagerDuty"},
			{Answer: ct.Answer{Body: "<html>"}, Reason: "not one of PagerDuty"},
		},
	})
}

func TestURLs(t *testing.T) {
	ct.Refuse(t, Kind,
		[3]string{"pagerduty://" + key, "", "before the @"},
		[3]string{"pagerduty://events.pagerduty.com/v2/enqueue", key, "before the @"},
		[3]string{"pagerduty://events.pagerduty.com", "", "lacks the routing key"},
		[3]string{"pagerduty://" + key + "@events.pagerduty.com", key, "already"},
		[3]string{"pagerduty://events.pagerduty.com", "u+" + key[2:], "no routing key"},
		[3]string{"pagerduty://events.pagerduty.com", key + "\n", "line break"},
	)
}
