package alertmanager

import (
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"logscan/internal/channel"
	ct "logscan/internal/channel/channeltest"
)

// The requests are of the form in
// https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml: postableAlerts.
func TestRequests(t *testing.T) {
	const (
		labels = `"labels": {"alertname": "oom", "severity": "critical", "workload": "shop", "host": "node-1", "incident": "inc_7"}`
		text   = `"[` + ct.Mark + `]\n\nRule: oom\nWorkload: shop\nContainer: shop-db-1\nHost: node-1\n\nOut of memory: Killed process 4711 (postgres)\n  total-vm:812kB\n\n`
		rest   = `3 times since 2026-01-02 15:03:05 UTC, the last at 2026-01-02 15:04:04 UTC\n\nBefore:\n\ncheckpoint starting\n\nAfter:\n\nall processes terminated\n\n` +
			`Acknowledge: https://logs.example.com/a/ack-t0ken  Silence 1 h: https://logs.example.com/a/silence-t0ken\n\nOpen logscan: https://logs.example.com/"`
	)
	r := ct.Receive(t)
	for _, c := range []struct{ url, secret, uri, authorization string }{
		{r.Host, "", "/api/v2/alerts", ""},
		{r.Host + "/am/", "t0ken", "/am/api/v2/alerts", "Bearer t0ken"},
		{"user:pass@" + r.Host, "", "/api/v2/alerts", "Basic dXNlcjpwYXNz"},
		{"user@" + r.Host, "pass", "/api/v2/alerts", "Basic dXNlcjpwYXNz"},
	} {
		a := ct.Open(t, Kind, "alertmanager+http://"+c.url, c.secret)
		send := func(m channel.Message) ct.Request {
			if v := a.Send(t.Context(), m); v.Reason != "" {
				t.Fatal(v)
			}
			q := r.One(t)
			if q.Method != "POST" || q.URI != c.uri || q.Header.Get("Authorization") != c.authorization {
				t.Errorf("%s %s %s", q.Method, q.URI, q.Header)
			}
			return q
		}
		ct.Body(t, send(ct.Message()), `[{`+labels+`,
			"annotations": {"summary": "[CRITICAL] oom: shop/shop-db-1 on node-1 (×3)", "container": "shop-db-1", "image": "postgres:17", "description": `+text+rest+`},
			"startsAt": "2026-01-02T15:03:05Z", "endsAt": "2026-01-02T16:04:05Z", "generatorURL": "https://logs.example.com/"}]`)
		ct.Body(t, send(ct.Resolved()), `[{`+labels+`,
			"annotations": {"summary": "[RESOLVED] oom: shop/shop-db-1 on node-1 (×3)", "container": "shop-db-1", "image": "postgres:17", "description": `+text+`Resolved; quiet for 10 min; `+rest+`},
			"startsAt": "2026-01-02T15:03:05Z", "endsAt": "2026-01-02T15:04:04Z", "generatorURL": "https://logs.example.com/"}]`)
	}
	// What was told with another severity is another alert, and ends.
	worse := ct.Message()
	worse.Notices[0].Kind, worse.Notices[0].Was = channel.Escalated, "warn"
	if v := ct.Open(t, Kind, "alertmanager+http://"+r.Host, "").Send(t.Context(), worse); v.Reason != "" {
		t.Fatal(v)
	}
	q := r.One(t)
	var alerts []alert
	if err := json.Unmarshal([]byte(q.Body), &alerts); err != nil || len(alerts) != 2 {
		t.Fatal(err, q.Body)
	}
	was := alerts[0]
	was.Labels, was.EndsAt = maps.Clone(was.Labels), ct.At
	was.Labels["severity"] = "warn"
	if !reflect.DeepEqual(alerts[1], was) || alerts[0].Labels["severity"] != "critical" || !alerts[0].EndsAt.After(ct.At) {
		t.Errorf("%+v", alerts)
	}
	// Sent again, it lasts from then on, and what has ended stays away.
	want := alerts[0]
	worse.Again = ct.At.Add(3 * time.Hour)
	want.EndsAt = worse.Again.Add(lasts)
	ct.Open(t, Kind, "alertmanager+http://"+r.Host, "").Send(t.Context(), worse)
	alerts = nil
	if err := json.Unmarshal([]byte(r.One(t).Body), &alerts); err != nil || len(alerts) != 1 || !reflect.DeepEqual(alerts[0], want) {
		t.Errorf("%v, %+v", err, alerts)
	}
}

// An alert lasts as long as what it is of, and always for a time.
func TestTimes(t *testing.T) {
	r := ct.Receive(t)
	c := ct.Open(t, Kind, "alertmanager+http://"+r.Host, "")
	for kind, want := range map[string]time.Duration{
		channel.Opened: lasts, channel.Escalated: lasts, channel.Repeated: lasts, channel.Acknowledged: lasts, channel.Hit: lasts, channel.System: lasts, channel.Digest: lasts, channel.Resolved: 0,
	} {
		for _, first := range []time.Time{ct.At, {}, ct.At.Add(time.Hour)} {
			m := ct.Message()
			m.Notices[0].Kind, m.Notices[0].First, m.Notices[0].Last = kind, first, ct.At
			c.Send(t.Context(), m)
			var got []struct{ StartsAt, EndsAt time.Time }
			if err := json.Unmarshal([]byte(r.One(t).Body), &got); err != nil || len(got) != 1 {
				t.Fatal(err, got)
			}
			if !got[0].EndsAt.After(got[0].StartsAt) || got[0].StartsAt.IsZero() {
				t.Errorf("%s: %+v", kind, got)
			}
			if first.Equal(ct.At) && got[0].EndsAt.Sub(ct.At).Round(time.Second) != want {
				t.Errorf("%s: ends %v after it was told, not %v", kind, got[0].EndsAt.Sub(ct.At), want)
			}
		}
	}
}

func TestPromises(t *testing.T) {
	ct.Promises(t, ct.Subject{
		Kind: Kind, URL: func(host string) string { return "alertmanager+http://user@" + host }, Secret: "s3cret-s3cret",
		Hidden: []string{"s3cret", "dXNlcjpzM2NyZXQtczNjcmV0"}, Limit: maxText,
		Text: func(t testing.TB, r ct.Request) string {
			var alerts []alert
			if err := json.Unmarshal([]byte(r.Body), &alerts); err != nil || len(alerts) != 1 {
				t.Fatalf("%v: %.300s", err, r.Body)
			}
			for name, value := range alerts[0].Labels {
				if value == "" || len(value) > maxLabel || value != channel.Line(value, maxLabel) {
					t.Errorf("%s: %q", name, value)
				}
			}
			if alerts[0].Labels["alertname"] == "" {
				t.Error("an alert without a name")
			}
			return alerts[0].Annotations["description"]
		},
		Fails: []ct.Fail{
			{Answer: ct.Answer{Status: 400, Body: `"start time must be before end time"`}, Final: true, Reason: "400"},
			{Answer: ct.Answer{Status: 401}, Reason: "401"},
		},
	})
}

func TestURLs(t *testing.T) {
	ct.Refuse(t, Kind,
		[3]string{"alertmanager://h.example/api/v2/alerts", "", "without /api/v2/alerts"},
		[3]string{"alertmanager://h.example/?x=y", "", "own address"},
		[3]string{"alertmanager://user@h.example", "", "lacks the password"},
		[3]string{"alertmanager://user:pass@h.example", "s3cret", "already"},
		[3]string{"alertmanager://h.example", "s3cret\nX: y", "line break"},
	)
	if !strings.HasPrefix(Kind.Example, Kind.Scheme+"://") {
		t.Error(Kind.Example)
	}
}
