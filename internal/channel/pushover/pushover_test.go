package pushover

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"logscan/internal/channel/channeltest"
	"logscan/internal/egress"
)

const (
	user  = "uQiRzpo4DXghDmr9QzzfQu27cmVRsG"
	token = "azGDORePK8gMaC0QOYAMyEEuzJnyUi"
)

var taken = channeltest.Answer{Body: `{"status":1,"request":"647d2300-702c-4b38-8b2f-d56326ae460b"}`}

// By https://pushover.net/api#messages.
func TestRequest(t *testing.T) {
	r := channeltest.Receive(t)
	r.Answer(taken)
	for _, c := range [][2]string{{"pushover+http://" + r.Host + "/phone,tablet", user + ":" + token}, {"pushover+http://" + user + ":" + token + "@" + r.Host + "/phone,tablet", ""}} {
		if v := channeltest.Open(t, Kind, c[0], c[1]).Send(t.Context(), channeltest.Message()); v.Reason != "" {
			t.Fatalf("%+v", v)
		}
		got := r.One(t)
		if got.Method != "POST" || got.URI != "/1/messages.json" {
			t.Errorf("%+v", got)
		}
		want := url.Values{
			"user": {user}, "token": {token}, "device": {"phone,tablet"}, "priority": {"2"}, "retry": {"60"}, "expire": {"1800"},
			"timestamp": {"1767366245"}, "url": {"https://logs.example.com/"}, "url_title": {"Open logscan"},
			"title": {"[CRITICAL] oom: shop/shop-db-1 on node-1 (×3)"},
			"message": {"[" + channeltest.Mark + "]\n\nRule: oom\nWorkload: shop\nContainer: shop-db-1\nHost: node-1\n\n" +
				"Out of memory: Killed process 4711 (postgres)\n  total-vm:812kB\n\n3 times since 2026-01-02 15:03:05 UTC, the last at 2026-01-02 15:04:04 UTC\n\n" +
				"Before:\n\ncheckpoint starting\n\nAfter:\n\nall processes terminated\n\n" +
				"Acknowledge: https://logs.example.com/a/ack-t0ken  Silence 1 h: https://logs.example.com/a/silence-t0ken"},
		}
		if form := got.Form(t); !reflect.DeepEqual(form, want) {
			t.Errorf("%q\nwant\n%q", form, want)
		}
	}
}

func TestPriority(t *testing.T) {
	r := channeltest.Receive(t)
	for most, all := range map[string]map[string]string{
		"":             {"critical": "2", "error": "1", "warn": "0", "info": "-1"},
		"?priority=1":  {"critical": "1", "error": "1", "warn": "0", "info": "-1"},
		"?priority=-2": {"critical": "-2", "error": "-2", "warn": "-2", "info": "-2"},
	} {
		c := channeltest.Open(t, Kind, "pushover+http://"+r.Host+most, user+":"+token)
		for severity, want := range all {
			c.Send(t.Context(), channeltest.Severity(severity))
			form := r.One(t).Form(t)
			if emergency := form.Has("retry") && form.Has("expire"); form.Get("priority") != want || emergency != (want == "2") {
				t.Errorf("%q, %s: %q", most, severity, form)
			}
		}
	}
	c := channeltest.Open(t, Kind, "pushover+http://"+r.Host, user+":"+token)
	c.Send(t.Context(), channeltest.Resolved())
	if form := r.One(t).Form(t); form.Get("priority") != "-1" {
		t.Errorf("resolved: %q", form)
	}
}

func TestPromises(t *testing.T) {
	channeltest.Promises(t, channeltest.Subject{
		Kind: Kind, URL: func(host string) string { return "pushover+http://" + host }, Secret: user + ":" + token,
		Hidden: []string{user, token}, OK: taken, Limit: maxText, Size: utf8.RuneCountInString,
		Text: func(t testing.TB, r channeltest.Request) string {
			form := r.Form(t)
			if n := utf8.RuneCountInString(form.Get("title")); n == 0 || n > maxTitle || form.Has("html") || len(form.Get("url")) > maxLink || len(form.Get("url_title")) > 100 {
				t.Errorf("%q", form)
			}
			for name, values := range form {
				if len(values) != 1 {
					t.Errorf("%s: %q", name, values)
				}
			}
			return form.Get("message")
		},
		Fails: []channeltest.Fail{
			{Answer: channeltest.Answer{Status: 400, Body: `{"user":"invalid","errors":["user identifier is invalid"],"status":0,"request":"5042853c"}`}, Final: true, Reason: "400"},
			{Answer: channeltest.Answer{Status: 429, Header: map[string]string{"X-Limit-App-Reset": fmt.Sprint(channeltest.At.Add(time.Hour).Unix())}, Body: `{"status":0}`}, Wait: time.Hour, Reason: "429"},
			{Answer: channeltest.Answer{Status: 429, Header: map[string]string{"X-Limit-App-Reset": "99999999999999"}, Body: `{"status":0}`}, Wait: egress.MaxWait, Reason: "429"},
			{Answer: channeltest.Answer{Body: `{"status":0,"errors":["x"]}`}, Reason: "is not one of Pushover"},
			{Answer: channeltest.Answer{Body: "<html>Log in</html>"}, Reason: "is not one of Pushover"},
		},
	})
}

func TestRefused(t *testing.T) {
	const keys = "is not USER_KEY:APP_TOKEN"
	channeltest.Refuse(t, Kind,
		[3]string{"pushover://api.pushover.net", "", "the key from Pushover's first page"}, [3]string{"pushover://api.pushover.net", user, keys},
		[3]string{"pushover://api.pushover.net", user + ":" + token[1:], keys}, [3]string{"pushover://" + user + "@api.pushover.net", "", keys},
		[3]string{"pushover://" + user + ":" + token + "@api.pushover.net", user + ":" + token, "stands in the URL already"},
		[3]string{"pushover://api.pushover.net/my phone", user + ":" + token, "name of a device"},
		[3]string{"pushover://api.pushover.net/" + strings.Repeat("x", 26), user + ":" + token, "name of a device"},
		[3]string{"pushover://api.pushover.net?priority=3", user + ":" + token, "from -2 to 2"}, [3]string{"pushover://api.pushover.net?priority=high", user + ":" + token, "from -2 to 2"},
	)
}

func TestTarget(t *testing.T) {
	for rawURL, want := range map[string]string{"pushover://": "api.pushover.net", "pushover:///phone": "api.pushover.net", "pushover+http://relay.lan:80/": "relay.lan:80"} {
		u, err := egress.Parse(rawURL)
		if err != nil || Kind.Target(u) != want {
			t.Errorf("%s leads to %s, %v", rawURL, Kind.Target(u), err)
		}
	}
}
