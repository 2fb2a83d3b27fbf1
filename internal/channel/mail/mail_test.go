package mail

import (
	"crypto/tls"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"golang.org/x/net/html"

	"logscan/internal/channel"
	"logscan/internal/channel/channeltest"
	"logscan/internal/egress"
)

var ca = channeltest.TrustedCA()

const (
	host     = "127.0.0.1"
	user     = "logscan@example.com"
	password = "p4ss/w0rd%"
)

// server is an SMTP server that keeps what it gets, and refuses what it is told to.
type server struct {
	addr string

	mu     sync.Mutex
	refuse map[string]int // code, by step: "auth", "mail", an address or "data"
	mails  []received
	began  int // transactions
}

type received struct {
	user, from string
	to         []string
	tls        bool
	body       string
}

type session struct {
	*server
	conn *smtp.Conn
	received
}

// serve starts a server for the length of a test. A config without implicit is for
// STARTTLS.
func serve(t *testing.T, config *tls.Config, implicit bool) *server {
	s := &server{refuse: map[string]int{}}
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{server: s, conn: c}, nil
	}))
	server.AllowInsecureAuth = true
	server.EnableSMTPUTF8 = true
	server.ErrorLog = quiet{}
	if implicit {
		l = tls.NewListener(l, config)
	} else {
		server.TLSConfig = config
	}
	done := make(chan struct{})
	go func() { server.Serve(l); close(done) }()
	t.Cleanup(func() { l.Close(); server.Close(); <-done })
	return s
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

func (s *server) answer(step string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if code := s.refuse[step]; code != 0 {
		return &smtp.SMTPError{Code: code, EnhancedCode: smtp.NoEnhancedCode, Message: "no, \x1b[31m" + user + "\u202e"}
	}
	return nil
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, name, pass string) error {
		if err := s.answer("auth"); err != nil {
			return err
		}
		if name != user || pass != password {
			return smtp.ErrAuthFailed
		}
		s.user = name
		return nil
	}), nil
}

func (s *session) Mail(from string, o *smtp.MailOptions) error {
	s.mu.Lock()
	s.began++
	s.mu.Unlock()
	if o.UTF8 {
		return &smtp.SMTPError{Code: 555, Message: "SMTPUTF8 is not needed"}
	}
	s.from, s.to = from, nil
	_, s.tls = s.conn.TLSConnectionState()
	return s.answer("mail")
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if err := s.answer(to); err != nil {
		return err
	}
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	body, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := s.answer("data"); err != nil {
		return err
	}
	s.body = string(body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, s.received)
	return nil
}

func (*session) Reset()        {}
func (*session) Logout() error { return nil }

// take returns the only mail since the last call.
func (s *server) take(t *testing.T) received {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mails) != 1 {
		t.Fatalf("%d mails, not 1", len(s.mails))
	}
	m := s.mails[0]
	s.mails = nil
	return m
}

// send makes one attempt and checks that its verdict tells no secret.
func send(t *testing.T, rawURL, secret string, m channel.Message) channel.Verdict {
	t.Helper()
	v := channeltest.Open(t, Kind, rawURL, secret).Send(t.Context(), m)
	for _, hidden := range []string{password, url.QueryEscape(password), "example.com", "ops"} {
		if strings.Contains(v.Reason, hidden) {
			t.Errorf("the reason has %q: %s", hidden, v.Reason)
		}
	}
	if v.Said != channel.Line(v.Said, 1000) {
		t.Errorf("what the server said is no printable line: %q", v.Said)
	}
	return v
}

const recipients = "ops@example.com,%22Night%20shift%22%20%3Cnight+1@example.com%3E"

func TestWaysToAServer(t *testing.T) {
	starttls, implicit, plain := serve(t, ca.TLS(host), false), serve(t, ca.TLS(host), true), serve(t, nil, false)
	for name, c := range map[string]struct {
		server      *server
		url, secret string
		user        string
		tls         bool
	}{
		"STARTTLS":          {starttls, "smtp://" + user + "@" + starttls.addr + "/?to=" + recipients, password, user, true},
		"STARTTLS, no user": {starttls, "smtp://" + starttls.addr + "?from=logscan@example.com&to=" + recipients, "", "", true},
		"password in URL":   {starttls, "smtp://" + url.UserPassword(user, password).String() + "@" + starttls.addr + "/?to=" + recipients, "", user, true},
		"TLS":               {implicit, "smtps://" + user + "@" + implicit.addr + "/?to=" + recipients, password, user, true},
		"no TLS":            {plain, "smtp://" + user + "@" + plain.addr + "/?tls=none&to=" + recipients, password, user, false},
		"no TLS, no user":   {plain, "smtp://" + plain.addr + "/?tls=none&from=logscan@example.com&to=" + recipients, "", "", false},
		"mailto":            {starttls, "mailto:" + recipients + "?server=" + starttls.addr + "&user=" + user, password, user, true},
		"mailto, no TLS":    {plain, "mailto:" + recipients + "?server=" + plain.addr + "&from=logscan@example.com&tls=none", "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if v := send(t, c.url, c.secret, channeltest.Message()); v != (channel.Verdict{Status: 250}) {
				t.Fatalf("%+v", v)
			}
			got := c.server.take(t)
			if got.user != c.user || got.tls != c.tls || got.from != "logscan@example.com" || strings.Join(got.to, " ") != "ops@example.com night+1@example.com" {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestWithoutTLSNothingIsSaid(t *testing.T) {
	plain := serve(t, nil, false)
	v := send(t, "smtp://"+user+"@"+plain.addr+"/?to=ops@example.com", password, channeltest.Message())
	if !strings.Contains(v.Reason, "no STARTTLS") || v.Final || plain.began != 0 {
		t.Errorf("%+v", v)
	}
	v = send(t, "smtps://"+user+"@"+plain.addr+"/?to=ops@example.com", password, channeltest.Message())
	if v.Reason != "the receiver does not speak TLS" || v.Final || plain.began != 0 {
		t.Errorf("%+v", v)
	}
}

func TestCertificates(t *testing.T) {
	for name, c := range map[string]struct {
		config *tls.Config
		reason string
	}{
		"another name": {ca.TLS("mail.example.com"), "the receiver's certificate is for another name"},
		"not trusted":  {channeltest.NewCA().TLS(host), "the receiver's certificate is not trusted or not valid now"},
	} {
		for scheme, implicit := range map[string]bool{"smtp": false, "smtps": true} {
			s := serve(t, c.config, implicit)
			v := send(t, scheme+"://"+user+"@"+s.addr+"/?to=ops@example.com", password, channeltest.Message())
			if v.Reason != c.reason || v.Final || s.began != 0 {
				t.Errorf("%s, %s: %+v", name, scheme, v)
			}
		}
	}
}

func TestVerdicts(t *testing.T) {
	s := serve(t, ca.TLS(host), false)
	to := "smtp://" + user + "@" + s.addr + "/?to=ops@example.com,night@example.com"
	for _, c := range []struct {
		refuse map[string]int
		status int
		final  bool
		reason string
		mails  int
	}{
		{map[string]int{"mail": 451}, 451, false, "the server answered 451", 0},
		{map[string]int{"mail": 550}, 550, true, "the server answered 550: it refuses", 0},
		{map[string]int{"mail": 530}, 530, true, "the server answered 530: it wants a user", 0},
		{map[string]int{"data": 421}, 421, false, "the server answered 421", 0},
		{map[string]int{"data": 451}, 451, false, "the server answered 451", 0},
		{map[string]int{"data": 452}, 452, false, "the server answered 452", 0},
		{map[string]int{"data": 552}, 552, true, "the server answered 552: the message is too large", 0},
		{map[string]int{"data": 554}, 554, true, "the server answered 554: it refuses the message", 0},
		{map[string]int{"ops@example.com": 550, "night@example.com": 553}, 550, true, "the server answered 550", 0},
		// Who is refused for good doesn't keep it from the others.
		{map[string]int{"ops@example.com": 550}, 550, true, "the server answered 550: it refuses the sender or the recipient for 1 of 2 recipients; the others have the message", 1},
		// Who isn't taken yet does: they would get it twice.
		{map[string]int{"night@example.com": 450}, 450, false, "the server answered 450", 0},
		{map[string]int{"ops@example.com": 550, "night@example.com": 450}, 450, false, "the server answered 450", 0},
		// A password may be being changed.
		{map[string]int{"auth": 535}, 535, false, "the server answered 535: the user or the password is wrong", 0},
		{map[string]int{"auth": 454}, 454, false, "the server answered 454", 0},
	} {
		s.mu.Lock()
		s.refuse, s.mails = c.refuse, nil
		s.mu.Unlock()
		v := send(t, to, password, channeltest.Message())
		if v.Status != c.status || v.Final != c.final || !strings.HasPrefix(v.Reason, c.reason) || len(s.mails) != c.mails {
			t.Errorf("%v: %+v and %d mails", c.refuse, v, len(s.mails))
		}
		if !strings.HasPrefix(v.Said, "no, "+user) {
			t.Errorf("%v: said %q", c.refuse, v.Said)
		}
	}
	s.mu.Lock()
	s.refuse = nil
	s.mu.Unlock()
	if v := send(t, to, "wrong", channeltest.Message()); v.Status != 535 || v.Final {
		t.Errorf("%+v", v)
	}
}

// TestOddServers has servers that don't speak SMTP, or not for long.
func TestOddServers(t *testing.T) {
	for name, c := range map[string]struct {
		says, reason string
		status       int
	}{
		"closes":                {"", "the receiver closed the connection without an answer", 0},
		"HTTP":                  {"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html>", "the receiver's answer is not SMTP", 0},
		"HTML":                  {"<html>\r\n", "the receiver's answer is not SMTP", 0},
		"no service":            {"554 no service here\r\n", "the server answered 554: it refuses the message", 554},
		"too busy":              {"421 too busy\r\n", "the server answered 421", 421},
		"endless":               {strings.Repeat("220-"+strings.Repeat("x", 500)+"\r\n", 1000), "the receiver's answer is too large", 0},
		"endless line":          {"220 " + strings.Repeat("x", 1<<20), "the receiver's answer is too large", 0},
		"refuses EHLO and HELO": {"220 hi\r\n550 no\r\n550 no\r\n", "the server answered 550: it refuses the sender or the recipient", 550},
		"closes after MAIL":     {"220 hi\r\n250 hi\r\n250 ok\r\n", "the receiver closed the connection without an answer", 0},
		"answers twice":         {"220 hi\r\n250 hi\r\n999 \xff\x1b\r\n", "the server answered 999", 999},
	} {
		t.Run(name, func(t *testing.T) {
			addr := channeltest.Say(t, c.says)
			v := send(t, "smtp://"+addr+"/?tls=none&from=logscan@example.com&to=ops@example.com", "", channeltest.Message())
			if v.Reason != c.reason || v.Status != c.status || v.Final {
				t.Errorf("%+v", v)
			}
		})
	}
	form := func(scheme string) func(string) string {
		return func(hostport string) string {
			return scheme + "://" + hostport + "/?from=logscan@example.com&to=ops@example.com"
		}
	}
	channeltest.Unreachable(t, Kind, form("smtp"), form("smtps"))
	t.Run("where nothing may be sent", func(t *testing.T) {
		s := serve(t, nil, false)
		g, _ := egress.NewGuard(egress.Targets{}, nil)
		u, _ := url.Parse("smtp://" + s.addr + "/?tls=none&from=logscan@example.com&to=ops@example.com")
		c, err := Kind.New(channel.Config{URL: u, Client: egress.NewClient(g, 0, nil)})
		if err != nil {
			t.Fatal(err)
		}
		if v := c.Send(t.Context(), channeltest.Message()); !strings.Contains(v.Reason, "a loopback address") || s.began != 0 {
			t.Errorf("%+v", v)
		}
	})
}

// parsed is a mail as a reader sees it.
type parsed struct {
	mail.Header
	subject, text, html string
}

// read parses a mail with Go's own parsers, which didn't write it.
func read(t *testing.T, raw string) (p parsed) {
	t.Helper()
	for line := range strings.SplitSeq(raw, "\n") {
		if len(line) > 998 { // RFC 5322
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	if i := strings.IndexFunc(raw, func(r rune) bool { return r > '~' || r < ' ' && r != '\r' && r != '\n' }); i >= 0 {
		t.Errorf("not ASCII: %q", raw[i:])
	}
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	p.Header = m.Header
	if p.subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		t.Error(err)
	}
	kind, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("%v: %s", err, kind)
	}
	parts := multipart.NewReader(m.Body, parameters["boundary"])
	for i, into := range []*string{&p.text, &p.html} {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := part.Header.Get("Content-Type"), []string{"text/plain; charset=UTF-8", "text/html; charset=UTF-8"}[i]; got != want {
			t.Errorf("%s, not %s", got, want)
		}
		if got := part.Header.Get("Content-Transfer-Encoding"); got != "quoted-printable" {
			t.Error(got)
		}
		content, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			t.Error(err)
		}
		*into = strings.ReplaceAll(string(content), "\r\n", "\n")
	}
	if _, err := parts.NextRawPart(); err != io.EOF {
		t.Errorf("a third part: %v", err)
	}
	return p
}

func TestMessage(t *testing.T) {
	s := serve(t, ca.TLS(host), false)
	to := "smtp://" + user + "@" + s.addr + "/?from=Logscan%20%3Clogscan@example.com%3E&to=" + recipients
	get := func(m channel.Message) (parsed, string) {
		t.Helper()
		if v := send(t, to, password, m); v.Reason != "" {
			t.Fatalf("%+v", v)
		}
		raw := s.take(t).body
		return read(t, raw), raw
	}
	p, first := get(channeltest.Message())
	for name, want := range map[string]string{
		"From":           `"Logscan" <logscan@example.com>`,
		"To":             `<ops@example.com>, "Night shift" <night+1@example.com>`,
		"Date":           "Fri, 02 Jan 2026 15:04:05 +0000",
		"Message-ID":     "<msg_2b5f@example.com>",
		"Auto-Submitted": "auto-generated",
		"X-Priority":     "1",
		"Importance":     "high",
		"Mime-Version":   "1.0",
	} {
		if got := p.Get(name); got != want {
			t.Errorf("%s: %s, not %s", name, got, want)
		}
	}
	if want := channeltest.Message().Heading(); p.subject != want {
		t.Errorf("subject %q, not %q", p.subject, want)
	}
	for _, want := range []string{"[" + channeltest.Mark + "]", "Out of memory: Killed process 4711 (postgres)\n  total-vm:812kB", "3 times since", "checkpoint starting"} {
		if !strings.Contains(p.text, want) || !strings.Contains(p.html, want) {
			t.Errorf("lacks %q: %s\n%s", want, p.text, p.html)
		}
	}
	if !strings.HasPrefix(p.text, "["+channeltest.Mark+"]") {
		t.Errorf("doesn't begin with the mark: %s", p.text)
	}
	if !strings.Contains(p.text, "Acknowledge: https://logs.example.com/a/ack-t0ken") || !strings.Contains(p.html, `<a href="https://logs.example.com/a/ack-t0ken">Acknowledge</a>`) {
		t.Errorf("lacks the link: %s\n%s", p.text, p.html)
	}
	if _, again := get(channeltest.Message()); again != first {
		t.Error("sent twice, it isn't the same")
	}

	// All mails about an incident are one thread, of its own.
	thread := p.Get("References")
	if !regexp.MustCompile(`^<incident-[0-9a-f]{32}@example\.com>$`).MatchString(thread) || p.Get("In-Reply-To") != thread {
		t.Errorf("thread %q", thread)
	}
	end, _ := get(channeltest.Resolved())
	if end.Get("References") != thread || end.Get("X-Priority") != "5" || !strings.HasPrefix(end.subject, "[RESOLVED]") {
		t.Errorf("%q", end.Header)
	}
	other := channeltest.Message()
	other.Notices[0].Key = "inc_8"
	if o, _ := get(other); o.Get("References") == thread {
		t.Error("another incident is in the same thread")
	}
	for severity, want := range map[string]string{"critical": "1", "error": "2", "warn": "3", "info": "5"} {
		if p, _ := get(channeltest.Severity(severity)); p.Get("X-Priority") != want {
			t.Errorf("%s: X-Priority %s", severity, p.Get("X-Priority"))
		}
	}
	if p, _ := get(channeltest.Template("Own title\r\nBcc: x@example.com", "Own <b>body</b>\nof two lines")); p.subject != "Own title Bcc: x@example.com" || p.Get("Bcc") != "" ||
		!strings.Contains(p.text, "\n\nOwn <b>body</b>\nof two lines\n") || !strings.Contains(p.html, "Own &lt;b&gt;body&lt;/b&gt;\nof two lines") {
		t.Errorf("%q\n%s\n%s", p.Header, p.text, p.html)
	}
	get(channeltest.Group())
}

func TestHostileLines(t *testing.T) {
	s := serve(t, ca.TLS(host), false)
	to := "smtp://" + user + "@" + s.addr + "/?to=ops@example.com"
	for name, line := range channeltest.Hostile {
		everywhere := channeltest.Message()
		n := &everywhere.Notices[0]
		n.Rule, n.Workload, n.Container, n.Host, n.Reason, n.Key = line, line, line, line, line, line
		n.Before, n.After, n.Actions[0], everywhere.Held = []string{line, line}, []string{line}, channel.Action{Label: line, URL: "javascript:" + line}, channel.Held{Notices: 1, Why: line}
		for _, m := range []channel.Message{channeltest.Line(line), everywhere, channeltest.Template(line, line)} {
			if v := send(t, to, password, m); v.Reason != "" {
				t.Fatalf("%s: %+v", name, v)
			}
			got := s.take(t)
			p := read(t, got.body)
			if len(got.to) != 1 || len(p.Header) != 13 || p.Get("Bcc") != "" {
				t.Errorf("%s: to %q with %q", name, got.to, p.Header)
			}
			if p.subject != channel.Line(p.subject, 1000) {
				t.Errorf("%s: subject %q", name, p.subject)
			}
			for _, body := range []string{p.text, p.html} {
				if !utf8.ValidString(body) || len(body) > maxBody+2000 || strings.ContainsFunc(body, func(r rune) bool {
					return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r)
				}) {
					t.Errorf("%s: %d bytes: %.300q", name, len(body), body)
				}
			}
			for tag, links := range elements(t, p.html) {
				if !slices.Contains([]string{"html", "head", "meta", "body", "div", "pre", "b", "a", "table", "tr", "td"}, tag) {
					t.Errorf("%s: the line became a <%s>", name, tag)
				}
				for _, link := range links {
					if !strings.HasPrefix(link, "https://logs.example.com/") {
						t.Errorf("%s: the line became a link: %s", name, link)
					}
				}
			}
		}
	}
}

// elements are the tags that a browser makes elements of, with what they lead to
// or load.
func elements(t *testing.T, page string) map[string][]string {
	all := map[string][]string{}
	for tokens := html.NewTokenizer(strings.NewReader(page)); ; {
		switch tokens.Next() {
		case html.ErrorToken:
			if err := tokens.Err(); err != io.EOF {
				t.Error(err)
			}
			return all
		case html.StartTagToken, html.SelfClosingTagToken:
			tag := tokens.Token()
			all[tag.Data] = append(all[tag.Data], []string{}...)
			for _, a := range tag.Attr {
				if a.Key == "href" || a.Key == "src" {
					all[tag.Data] = append(all[tag.Data], a.Val)
				}
			}
		}
	}
}

func TestURLs(t *testing.T) {
	channeltest.Refuse(t, Kind, [][3]string{
		{"smtp://smtp.example.com:587/", "", "no sender"},
		{"smtp://smtp.example.com:587/?from=a@example.com", "", "no recipient"},
		{"smtp://smtp.example.com:587/?to=a@example.com", "", "no sender"},
		{"smtp://joe@smtp.example.com:587/?to=a@example.com", "secret", "no sender"},
		{"smtp://joe@example.com@smtp.example.com:587/?to=a@example.com", "", "is needed"},
		{"smtp://smtp.example.com:587/?from=a@example.com&to=b@example.com", "secret", "no user"},
		{"smtp:///?from=a@example.com&to=b@example.com", "", "no mail server"},
		{"smtp://smtp.example.com/?from=a@example.com&to=b", "", "not a mail address"},
		{"smtp://smtp.example.com/?from=a@example.com&to=b@example.com%0d%0aBcc:c@example.com", "", "not a mail address"},
		{"smtp://smtp.example.com/?from=a@example.com&to=%22b%20c%22@example.com", "", "not a mail address"},
		{"smtp://smtp.example.com/?from=a@example.com&to=b@ex%C3%A4mple.com", "", "not a mail address"},
		{"smtp://smtp.example.com/?from=a@example.com,b@example.com&to=b@example.com", "", "sender (from)"},
		{"smtp://smtp.example.com/?from=a@example.com&to=" + strings.Repeat("b@example.com,", 100) + "b@example.com", "", "more than 100"},
		{"smtp://smtp.example.com/?from=a@example.com&to=b@example.com&tls=off", "", "none sends without TLS"},
		{"smtps://smtp.example.com/?from=a@example.com&to=b@example.com&tls=none", "", "write smtp://"},
		{"smtp://smtp.example.com/?from=a@example.com&to=b@example.com&tsl=none", "", "from, to, tls"},
		{"smtp://a%0a:b@smtp.example.com/?from=a@example.com&to=b@example.com", "", "line break"},
		{"smtp://joe@smtp.example.com/?from=a@example.com&to=b@example.com", "two\nlines", "line break"},
		{"mailto:ops@example.com?from=a@example.com", "", "no mail server"},
		{"mailto://ops@example.com?server=smtp.example.com&from=a@example.com", "", "without slashes"},
		{"mailto:?server=smtp.example.com&from=a@example.com", "", "no recipient"},
		{"mailto:ops@example.com?server=smtp.example.com&from=a@example.com&user=joe&password=secret", "", "belongs into the secret"},
	}...)
}

func TestTarget(t *testing.T) {
	for raw, want := range map[string]struct {
		target   string
		security security
	}{
		"smtp://smtp.example.com/?from=a@example.com&to=b@example.com":           {"smtp.example.com:587", startTLS},
		"smtp://smtp.example.com:465/?from=a@example.com&to=b@example.com":       {"smtp.example.com:465", implicitTLS},
		"smtps://smtp.example.com/?from=a@example.com&to=b@example.com":          {"smtp.example.com:465", implicitTLS},
		"smtps://[fd00::1]:2465/?from=a@example.com&to=b@example.com":            {"[fd00::1]:2465", implicitTLS},
		"smtp://10.0.0.1:25/?from=a@example.com&to=b@example.com&tls=none":       {"10.0.0.1:25", noTLS},
		"mailto:b@example.com?server=smtp.example.com&from=a@example.com":        {"smtp.example.com:587", startTLS},
		"mailto:b@example.com?server=smtp.example.com:465&from=a@example.com":    {"smtp.example.com:465", implicitTLS},
		"mailto:b+c@example.com?server=[fd00::1]:25&from=a@example.com&tls=none": {"[fd00::1]:25", noTLS},
	} {
		u, err := egress.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		s, err := parse(u, "")
		if err != nil || s.security != want.security || Kind.Target(u) != want.target || net.JoinHostPort(s.host, s.port) != want.target {
			t.Errorf("%s: %v, %+v, %s", raw, err, s, Kind.Target(u))
		}
	}
	for _, raw := range []string{"mailto:b@example.com", "mailto:b@example.com?server=%zz", "smtp:///"} {
		if u, err := egress.Parse(raw); err == nil && Kind.Target(u) != "" {
			t.Errorf("%s: %s", raw, Kind.Target(u))
		}
	}
}

// TestOtherWaysToSignIn has servers without PLAIN.
func TestOtherWaysToSignIn(t *testing.T) {
	for offered, says := range map[string]string{
		"LOGIN":    "220 hi\r\n250-hi\r\n250 AUTH LOGIN\r\n334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n221 bye\r\n",
		"CRAM-MD5": "220 hi\r\n250-hi\r\n250 AUTH CRAM-MD5 OTHER\r\n334 PDEyMz4=\r\n235 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n221 bye\r\n",
	} {
		if v := send(t, "smtp://"+user+"@"+channeltest.Say(t, says)+"/?tls=none&to=ops@example.com", password, channeltest.Message()); v != (channel.Verdict{Status: 250}) {
			t.Errorf("%s: %+v", offered, v)
		}
	}
	if v := send(t, "smtp://"+user+"@"+channeltest.Say(t, "220 hi\r\n250-hi\r\n250 AUTH GSSAPI\r\n")+"/?tls=none&to=ops@example.com", password, channeltest.Message()); !strings.Contains(v.Reason, "takes no password by PLAIN") || v.Final {
		t.Errorf("%+v", v)
	}
}
