package telegram

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"logscan/internal/channel"
	"logscan/internal/channel/channeltest"
	"logscan/internal/egress"
)

const token = "123456789:AbC-dEf_0123456789"

var taken = channeltest.Answer{Body: `{"ok":true,"result":{"message_id":1}}`}

// By https://core.telegram.org/bots/api#sendmessage.
func TestRequest(t *testing.T) {
	r := channeltest.Receive(t)
	r.Answer(taken)
	c := channeltest.Open(t, Kind, "telegram+http://"+token+"@"+r.Host+"/-1001234567890/42", "")
	if v := c.Send(t.Context(), channeltest.Message()); v.Reason != "" {
		t.Fatalf("%+v", v)
	}
	got := r.One(t)
	if got.Method != "POST" || got.URI != "/bot"+token+"/sendMessage" || got.Header.Get("Authorization") != "" || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%+v", got)
	}
	want := `{"chat_id":"-1001234567890","message_thread_id":42,"text":"[CRITICAL] oom: shop/shop-db-1 on node-1 (×3)\n\n[` + channeltest.Mark + `]\n\n` +
		`Rule: oom\nWorkload: shop\nContainer: shop-db-1\nHost: node-1\n\nOut of memory: Killed process 4711 (postgres)\n  total-vm:812kB\n\n` +
		`3 times since 2026-01-02 15:03:05 UTC, the last at 2026-01-02 15:04:04 UTC\n\nBefore:\n\ncheckpoint starting\n\nAfter:\n\nall processes terminated",` +
		`"entities":[{"type":"bold","offset":0,"length":45},{"type":"pre","offset":159,"length":62},{"type":"pre","offset":308,"length":19},{"type":"pre","offset":337,"length":24}],` +
		`"link_preview_options":{"is_disabled":true},"reply_markup":{"inline_keyboard":[` +
		`[{"text":"Acknowledge","url":"https://logs.example.com/a/ack-t0ken"}],[{"text":"Silence 1 h","url":"https://logs.example.com/a/silence-t0ken"}],` +
		`[{"text":"Open logscan","url":"https://logs.example.com/"}]]}}` + "\n"
	if got.Body != want {
		t.Errorf("%s\nwant\n%s", got.Body, want)
	}
}

// Each preformatted entity holds what the container wrote, and nothing else.
func TestEntities(t *testing.T) {
	r := channeltest.Receive(t)
	m := channeltest.Line("😀 @admin /start\n#tag ünï")
	m.Notices[0].Rule = "😀 @ü"
	channeltest.Open(t, Kind, "telegram+http://"+r.Host+"/1", token).Send(t.Context(), m)
	body := r.One(t).JSON(t)
	text := utf16.Encode([]rune(body["text"].(string)))
	var parts []string
	for _, e := range body["entities"].([]any) {
		e := e.(map[string]any)
		offset, length := int(e["offset"].(float64)), int(e["length"].(float64))
		parts = append(parts, e["type"].(string)+": "+string(utf16.Decode(text[offset:offset+length])))
	}
	want := "bold: [CRITICAL] 😀 @\u200bü: shop/shop-db-1 on node-1|pre: 😀 @admin /start\n#tag ünï"
	if got := strings.Join(parts, "|"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSilent(t *testing.T) {
	r := channeltest.Receive(t)
	c := channeltest.Open(t, Kind, "telegram+http://"+r.Host+"/@channel_name", "bot"+token)
	for severity, want := range map[string]any{"critical": nil, "error": nil, "warn": nil, "info": true} {
		c.Send(t.Context(), channeltest.Severity(severity))
		if got := r.One(t).JSON(t); got["disable_notification"] != want || got["chat_id"] != "@channel_name" {
			t.Errorf("%s: %v", severity, got)
		}
	}
	for name, m := range map[string]channel.Message{"resolved": channeltest.Resolved(), "acknowledged": channeltest.Acknowledged()} {
		c.Send(t.Context(), m)
		if got := r.One(t).JSON(t); got["disable_notification"] != true {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Telegram would refuse the whole message for a button whose host has no dot.
func TestButtons(t *testing.T) {
	r := channeltest.Receive(t)
	c := channeltest.Open(t, Kind, "telegram+http://"+r.Host+"/1", token)
	for url, buttons := range map[string]bool{"http://192.168.0.2:8080/": true, "https://nas.lan/": true, "http://nas:8080/": false, "http://localhost/": false, "": false} {
		m := channeltest.Message()
		m.URL, m.Notices[0].Actions = url, []channel.Action{{Label: "Acknowledge", URL: url}}
		c.Send(t.Context(), m)
		got := r.One(t).JSON(t)
		if _, ok := got["reply_markup"]; ok != buttons {
			t.Errorf("%q: buttons: %v", url, ok)
		}
		if linked := strings.Contains(got["text"].(string), "Acknowledge: "+url); linked != (!buttons && url != "") {
			t.Errorf("%q: a link in the text: %v", url, linked)
		}
	}
}

// Without a reachable page, buttons carry what they do: all of an incident that stands
// alone, and one for each of several.
func TestPresses(t *testing.T) {
	r := channeltest.Receive(t)
	c := channeltest.Open(t, Kind, "telegram+http://"+r.Host+"/1", token)
	rows := func(m channel.Message) any {
		t.Helper()
		if v := c.Send(t.Context(), m); v.Reason != "" && v.Reason != "the receiver's answer is not one of Telegram" {
			t.Fatalf("%+v", v)
		}
		return channeltest.In(t, r.One(t).JSON(t), "reply_markup", "inline_keyboard")
	}
	pressed := func(m channel.Message) channel.Message {
		m.URL = ""
		for k := range m.Notices {
			m.Notices[k].Actions, m.Notices[k].Presses = nil, []channel.Press{{Label: "Acknowledge", Data: fmt.Sprint("ack-", k)}, {Label: "Snooze 1 h", Data: fmt.Sprint("snooze-", k)}}
		}
		return m
	}
	row := func(text, data string) any { return []any{map[string]any{"text": text, "callback_data": data}} }
	if got, want := rows(pressed(channeltest.Message())), []any{row("Acknowledge", "ack-0"), row("Snooze 1 h", "snooze-0")}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	group := pressed(channeltest.Group())
	group.Notices[2].Presses = nil
	if got, want := rows(group), []any{row("Acknowledge: oom: shop/shop-db-1 on node-1", "ack-0"), row("Acknowledge: slow: shop/shop-db-1 on node-1", "ack-1")}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	hostile := pressed(channeltest.Message())
	hostile.Notices = append(hostile.Notices, hostile.Notices[0])
	hostile.Notices[0].Rule = "a\r\nb\u202e" + strings.Repeat("long ", 100)
	if got := channeltest.In(t, rows(hostile), 0, 0, "text").(string); len(got) > maxLabel || got != channel.Line(got, maxLabel) {
		t.Errorf("%q", got)
	}
}

func TestPromises(t *testing.T) {
	channeltest.Promises(t, channeltest.Subject{
		Kind: Kind, URL: func(host string) string { return "telegram+http://" + host + "/-100123" }, Secret: token,
		Hidden: []string{token, "AbC-dEf"}, OK: taken, Limit: maxText, Size: channel.UTF16,
		Text: func(t testing.TB, r channeltest.Request) string {
			v := r.JSON(t)
			if v["parse_mode"] != nil {
				t.Error("Telegram would parse the text")
			}
			all := v["text"].(string)
			units, end := channel.UTF16(all), 0.0
			if units > maxText {
				t.Errorf("%d characters", units)
			}
			for _, e := range v["entities"].([]any) {
				e := e.(map[string]any)
				if e["offset"].(float64) < end || e["length"].(float64) < 1 {
					t.Errorf("%v", e)
				}
				if end = e["offset"].(float64) + e["length"].(float64); int(end) > units {
					t.Errorf("%v ends behind %d", e, units)
				}
			}
			_, text, _ := strings.Cut(all, "\n\n")
			return text
		},
		Fails: []channeltest.Fail{
			{Answer: channeltest.Answer{Status: 429, Body: `{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 7","parameters":{"retry_after":7}}`}, Wait: 7 * time.Second, Reason: "429"},
			{Answer: channeltest.Answer{Status: 403, Body: `{"ok":false,"error_code":403,"description":"Forbidden: bot was kicked"}`}, Reason: "was the bot removed"},
			{Answer: channeltest.Answer{Status: 401, Body: `{"ok":false,"error_code":401,"description":"Unauthorized"}`}, Reason: "token still hold"},
			{Answer: channeltest.Answer{Status: 404, Body: `{"ok":false,"error_code":404,"description":"Not Found"}`}, Reason: "token still hold"},
			{Answer: channeltest.Answer{Status: 400, Body: `{"ok":false,"description":"Bad Request: group chat was upgraded","parameters":{"migrate_to_chat_id":-1009}}`}, Final: true, Reason: "another id"},
			{Answer: channeltest.Answer{Body: `{"ok":false,"description":"no"}`}, Reason: "is not one of Telegram"},
			{Answer: channeltest.Answer{Body: "<html>Log in</html>"}, Reason: "is not one of Telegram"},
		},
	})
}

func TestRefused(t *testing.T) {
	const chat, bad = "needs the chat", "is not the token of a bot"
	channeltest.Refuse(t, Kind,
		[3]string{"telegram://api.telegram.org", token, chat}, [3]string{"telegram://api.telegram.org/room", token, chat},
		[3]string{"telegram://api.telegram.org/@a", token, chat}, [3]string{"telegram://api.telegram.org/-1/x", token, "number of a topic"},
		[3]string{"telegram://api.telegram.org/-1/0", token, "number of a topic"},
		[3]string{"telegram://api.telegram.org/-1", "", "@BotFather"}, [3]string{"telegram://api.telegram.org/-1", "123:short", bad},
		[3]string{"telegram://api.telegram.org/-1", "123:short/../x", bad}, [3]string{"telegram://api.telegram.org/-1", token + "\n", "a line break"},
		[3]string{"telegram://" + token + "@api.telegram.org/-1", token, "stands in the URL already"},
	)
}

func TestTarget(t *testing.T) {
	for rawURL, want := range map[string]string{"telegram:///1": "api.telegram.org", "telegram://" + token + "@/1": "api.telegram.org", "telegram+http://bots.lan:8081/1": "bots.lan:8081"} {
		u, err := egress.Parse(rawURL)
		if err != nil || Kind.Target(u) != want {
			t.Errorf("%s leads to %s, %v", rawURL, Kind.Target(u), err)
		}
	}
}
