package matrix

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"logscan/internal/channel"
	"logscan/internal/channel/channeltest"
)

const token = "syt_bG9nc2Nhbg_abcdefghij_0AbC12"

var taken = channeltest.Answer{Body: `{"event_id":"$YUwRidLecu:example.com"}`}

// By https://spec.matrix.org/v1.11/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid
// and #mroommessage.
func TestRequest(t *testing.T) {
	r := channeltest.Receive(t)
	r.Answer(taken)
	for _, c := range [][2]string{{"matrix+http://" + r.Host + "/!abc:example.com", token}, {"matrix+http://" + token + "@" + r.Host + "/!abc:example.com", ""}} {
		if v := channeltest.Open(t, Kind, c[0], c[1]).Send(t.Context(), channeltest.Message()); v.Reason != "" {
			t.Fatalf("%+v", v)
		}
		got := r.One(t)
		if got.Method != "PUT" || got.URI != "/_matrix/client/v3/rooms/%21abc:example.com/send/m.room.message/msg_2b5f" || got.Header.Get("Authorization") != "Bearer "+token || got.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%+v", got)
		}
		want := `{"msgtype":"m.text","body":"[CRITICAL] oom: shop/shop-db-1 on node-1 (×3)\n\n[` + channeltest.Mark + `]\n\n` +
			`Rule: oom\nWorkload: shop\nContainer: shop-db-1\nHost: node-1\n\nOut of memory: Killed process 4711 (postgres)\n  total-vm:812kB\n\n` +
			`3 times since 2026-01-02 15:03:05 UTC, the last at 2026-01-02 15:04:04 UTC\n\nBefore:\n\ncheckpoint starting\n\nAfter:\n\nall processes terminated\n\n` +
			`Acknowledge: https://logs.example.com/a/ack-t0ken  Silence 1 h: https://logs.example.com/a/silence-t0ken\n\nOpen logscan: https://logs.example.com/",` +
			`"format":"org.matrix.custom.html","formatted_body":"<p><strong>[CRITICAL] oom: shop/shop-db-1 on node-1 (×3)</strong></p><p>[` + channeltest.Mark + `]</p>` +
			`<p><strong>Rule:</strong> oom<br><strong>Workload:</strong> shop<br><strong>Container:</strong> shop-db-1<br><strong>Host:</strong> node-1</p>` +
			`<pre><code>Out of memory: Killed process 4711 (postgres)\n  total-vm:812kB</code></pre>` +
			`<p>3 times since 2026-01-02 15:03:05 UTC, the last at 2026-01-02 15:04:04 UTC</p><p>Before:</p><pre><code>checkpoint starting</code></pre>` +
			`<p>After:</p><pre><code>all processes terminated</code></pre>` +
			`<p><a href=\"https://logs.example.com/a/ack-t0ken\">Acknowledge</a>  <a href=\"https://logs.example.com/a/silence-t0ken\">Silence 1 h</a></p>` +
			`<p><a href=\"https://logs.example.com/\">Open logscan</a></p>","m.mentions":{}}` + "\n"
		if got.Body != want {
			t.Errorf("%s\nwant\n%s", got.Body, want)
		}
	}
}

// By https://spec.matrix.org/v1.11/client-server-api/#get_matrixclientv3directoryroomroomalias.
func TestAlias(t *testing.T) {
	r := channeltest.Receive(t)
	r.Answer(channeltest.Answer{Body: `{"room_id":"!abc:example.com","servers":["example.com"],"event_id":"$x"}`})
	for _, u := range []string{"/%23ops:example.com", "/#ops:example.com", "#ops:example.com"} {
		if v := channeltest.Open(t, Kind, "matrix+http://"+r.Host+u, token).Send(t.Context(), channeltest.Message()); v.Reason != "" {
			t.Fatalf("%s: %+v", u, v)
		}
		got := r.Take()
		if len(got) != 2 {
			t.Fatalf("%s: %+v", u, got)
		}
		if got[0].Method != "GET" || got[0].Body != "" || got[0].URI != "/_matrix/client/v3/directory/room/%23ops:example.com" || got[0].Header.Get("Authorization") != "Bearer "+token {
			t.Errorf("%s: %+v", u, got[0])
		}
		if got[1].Method != "PUT" || got[1].URI != "/_matrix/client/v3/rooms/%21abc:example.com/send/m.room.message/msg_2b5f" {
			t.Errorf("%s: %+v", u, got[1])
		}
	}
	c := channeltest.Open(t, Kind, "matrix+http://"+r.Host+"/#ops:example.com", token)
	for _, f := range []struct {
		answer channeltest.Answer
		reason string
		wait   time.Duration
	}{
		{channeltest.Answer{Status: 404, Body: `{"errcode":"M_NOT_FOUND","error":"no"}`}, "is there such a room?", 0},
		{channeltest.Answer{Status: 429, Body: `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":1500}`}, "429", 1500 * time.Millisecond},
		{channeltest.Answer{Body: `{"room_id":"../../x"}`}, "is not one of Matrix", 0},
		{channeltest.Answer{Body: `<html>`}, "is not one of Matrix", 0},
		{channeltest.Answer{Close: true}, "closed the connection", 0},
	} {
		r.Answer(f.answer)
		if v := c.Send(t.Context(), channeltest.Message()); !strings.Contains(v.Reason, f.reason) || v.Final || v.Wait != f.wait {
			t.Errorf("%+v: %+v", f, v)
		}
		for _, q := range r.Take() {
			if q.Method != "GET" {
				t.Errorf("%+v: sent all the same: %+v", f, q)
			}
		}
	}
}

// tags are those of a text of HTML, which has to be well-formed.
func tags(t testing.TB, text string) (all []string) {
	d := xml.NewDecoder(strings.NewReader("<x>" + strings.ReplaceAll(text, "<br>", "<br/>") + "</x>"))
	d.Entity = xml.HTMLEntity
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Errorf("%v: %.300q", err, text)
			return all
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local != "x" {
			all = append(all, e.Name.Local)
			for _, a := range e.Attr {
				all = append(all, a.Name.Local+"="+a.Value)
			}
		}
	}
}

func TestPromises(t *testing.T) {
	channeltest.Promises(t, channeltest.Subject{
		Kind: Kind, URL: func(host string) string { return "matrix+http://" + host + "/!s3cret:example.com" }, Secret: token,
		Hidden: []string{token, "s3cret"}, OK: taken, Limit: maxPlain, Size: channel.JSONSize,
		Text: func(t testing.TB, r channeltest.Request) string {
			if len(r.Body) > 64_000 { // of an event's 65,536, which its server fills
				t.Errorf("%d bytes", len(r.Body))
			}
			v := r.JSON(t)
			if mentions, ok := v["m.mentions"].(map[string]any); !ok || len(mentions) != 0 {
				t.Errorf("mentions: %v", v["m.mentions"])
			}
			for _, tag := range tags(t, v["formatted_body"].(string)) {
				if !strings.Contains(" p strong br pre code a href=https://logs.example.com/ href=https://logs.example.com/a/ack-t0ken href=https://logs.example.com/a/silence-t0ken ", " "+tag+" ") {
					t.Errorf("the line became %s", tag)
				}
			}
			if rich := v["formatted_body"].(string); !strings.Contains(rich, "</strong></p><p>["+channeltest.Mark+"]</p>") {
				t.Errorf("no mark: %.300q", rich)
			}
			_, text, _ := strings.Cut(v["body"].(string), "\n\n")
			return text
		},
		Fails: []channeltest.Fail{
			{Answer: channeltest.Answer{Status: 429, Body: `{"errcode":"M_LIMIT_EXCEEDED","error":"Too many requests","retry_after_ms":2000}`}, Wait: 2 * time.Second, Reason: "429"},
			{Answer: channeltest.Answer{Status: 401, Body: `{"errcode":"M_UNKNOWN_TOKEN","error":"x"}`}, Reason: "the access token doesn't hold"},
			{Answer: channeltest.Answer{Status: 403, Body: `{"errcode":"M_FORBIDDEN","error":"x"}`}, Reason: "is the account in the room"},
			{Answer: channeltest.Answer{Status: 413, Body: `{"errcode":"M_TOO_LARGE","error":"x"}`}, Final: true, Reason: "413"},
			{Answer: channeltest.Answer{Body: `{"errcode":"M_UNKNOWN"}`}, Reason: "is not one of Matrix"},
			{Answer: channeltest.Answer{Body: "<html>Log in</html>"}, Reason: "is not one of Matrix"},
		},
	})
}

func TestRefused(t *testing.T) {
	const room = "needs a room"
	channeltest.Refuse(t, Kind,
		[3]string{"matrix://matrix.example.com", token, room}, [3]string{"matrix://matrix.example.com/", token, room},
		[3]string{"matrix://matrix.example.com/room", token, room}, [3]string{"matrix://matrix.example.com/@user:example.com", token, room},
		[3]string{"matrix://matrix.example.com/!a/../b", token, room}, [3]string{"matrix://matrix.example.com/!a%20b", token, room},
		[3]string{"matrix://matrix.example.com/!" + strings.Repeat("a", 255), token, room},
		[3]string{"matrix://matrix.to/#/!room:example.com", token, "your homeserver"}, [3]string{"matrix:///!room:example.com", token, "has no host"},
		[3]string{"matrix://matrix.example.com/!a:b", "", "access token"}, [3]string{"matrix://matrix.example.com/!a:b", "syt_a\nX: y", "a line break"},
		[3]string{"matrix://" + token + "@matrix.example.com/!a:b", token, "stands in the URL already"},
	)
}
