package channeltest

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"logscan/internal/channel"
)

// Subject is a channel whose promises are checked, and a service that it speaks HTTP
// to.
type Subject struct {
	Kind   channel.Kind
	URL    func(host string) string // of a service there, without TLS
	Secret string
	// Hidden is what no verdict may have: tokens, keys, passwords.
	Hidden []string
	// OK is what the service answers to a message that it took; its Status may be 0.
	OK Answer
	// Text takes from a request what people see of the message, without its title.
	Text func(t testing.TB, r Request) string
	// Limit is the most that the service takes of it, by Size (nil: bytes); 0 for
	// none.
	Limit int
	Size  func(string) int
	// Fails are answers of the service's own, and what must come of them.
	Fails []Fail
}

// Fail is an answer that isn't success.
type Fail struct {
	Answer Answer
	Final  bool
	Wait   time.Duration
	Reason string // a part of it
}

// Promises checks what every channel promises that speaks HTTP.
func Promises(t *testing.T, s Subject) {
	if s.Size == nil {
		s.Size = func(s string) int { return len(s) }
	}
	r := Receive(t)
	u := s.URL(r.Host)
	c := Open(t, s.Kind, u, s.Secret)
	send := func(t *testing.T, m channel.Message) channel.Verdict {
		v := c.Send(t.Context(), m)
		for _, h := range append(s.Hidden, u, r.Host) {
			if strings.Contains(v.Reason, h) {
				t.Errorf("the reason has %q: %s", h, v.Reason)
			}
		}
		if v.Said != channel.Line(v.Said, 1000) {
			t.Errorf("what the receiver said is no printable line: %q", v.Said)
		}
		return v
	}
	done := func(t *testing.T, m channel.Message) Request {
		t.Helper()
		r.Answer(s.OK)
		if v := send(t, m); v.Reason != "" || v.Final || v.Wait != 0 {
			t.Fatalf("%+v", v)
		}
		return r.One(t)
	}
	messages := map[string]channel.Message{
		"message": Message(), "acknowledged": Acknowledged(), "resolved": Resolved(), "line": Line("x"), "template": Template("A title", "A body"),
		"hostile template": Template("a\r\nX-Header: b", "x\u202e"+Hostile["long-escaped"]),
	}
	for name, line := range Hostile {
		messages[name] = Line(line)
		m := Message()
		n := &m.Notices[0]
		m.Test, n.Rule, n.Workload, n.Container, n.Host, n.Reason = true, line, line, line, line, line
		n.Before, n.After, n.Actions[0].Label, m.Held = []string{line, line}, []string{line}, line, channel.Held{Notices: 1, Why: line}
		messages[name+" everywhere"] = m
	}
	if !s.Kind.Single {
		messages["group"] = Group()
	}
	t.Run("messages", func(t *testing.T) {
		for name, m := range messages {
			first := done(t, m)
			if again := done(t, m); again.Body != first.Body || again.URI != first.URI || again.Method != first.Method {
				t.Errorf("%s: sent twice, it isn't the same", name)
			}
			text := s.Text(t, first)
			if !strings.HasPrefix(text, "["+Mark+"]") {
				t.Errorf("%s: doesn't begin with the mark: %.200q", name, text)
			}
			if n := s.Size(text); s.Limit > 0 && n > s.Limit {
				t.Errorf("%s: its size is %d, more than %d", name, n, s.Limit)
			}
			if !utf8.ValidString(first.Body) || !utf8.ValidString(text) {
				t.Errorf("%s: not UTF-8", name)
			}
			if i := strings.IndexFunc(text, func(r rune) bool {
				return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r)
			}); i >= 0 {
				t.Errorf("%s: has %q", name, text[i:min(len(text), i+10)])
			}
			for h, values := range first.Header {
				if strings.Contains(strings.ToLower(h), "bcc") || strings.Contains(strings.Join(values, ""), "evil") {
					t.Errorf("%s: the line became a header: %s: %q", name, h, values)
				}
			}
		}
	})
	t.Run("verdicts", func(t *testing.T) {
		fails := append([]Fail{
			{Answer: Answer{Status: 400, Body: `{"error":"bad"}`}, Final: true, Reason: "400"},
			{Answer: Answer{Status: 413}, Final: true, Reason: "413"},
			{Answer: Answer{Status: 429, Header: map[string]string{"Retry-After": "30"}}, Wait: 30 * time.Second, Reason: "429"},
			{Answer: Answer{Status: 429, Body: "\x1b[31mslow\r\ndown\u202e"}, Reason: "429"},
			{Answer: Answer{Status: 500}, Reason: "500"},
			{Answer: Answer{Status: 503, Header: map[string]string{"Retry-After": "120"}, Body: "<html><title>Starting</title></html>"}, Wait: 2 * time.Minute, Reason: "503"},
			{Answer: Answer{Status: 502, Header: map[string]string{"Content-Type": "text/html"}, Body: "<html>\xff" + strings.Repeat("<p>bad gateway", 10_000)}, Reason: "502"},
			{Answer: Answer{Status: 302, Header: map[string]string{"Location": "http://127.0.0.1:1/"}}, Reason: "redirect"},
			{Answer: Answer{Close: true}, Reason: "closed the connection"},
		}, s.Fails...)
		for _, f := range fails {
			r.Answer(f.Answer)
			v := send(t, Message())
			if v.Reason == "" || !strings.Contains(v.Reason, f.Reason) || v.Final != f.Final || v.Wait != f.Wait {
				t.Errorf("%d %.100q: %+v, want %q, final %v, wait %v", f.Answer.Status, f.Answer.Body, v, f.Reason, f.Final, f.Wait)
			}
			r.Take()
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		gone := Open(t, s.Kind, s.URL("127.0.0.1:1"), s.Secret)
		if v := gone.Send(t.Context(), Message()); v.Reason != "connection refused" || v.Final {
			t.Errorf("%+v", v)
		}
	})
}
