package mail

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"slices"
	"strings"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"logscan/internal/channel"
	"logscan/internal/egress"
)

// deliver hands a message to the server.
func (m *Mail) deliver(ctx context.Context, message *mail.Msg) channel.Verdict {
	config := &tls.Config{ServerName: m.host}
	var atOnce *tls.Config
	if m.security == implicitTLS {
		atOnce = config
	}
	conn, err := m.client.Dial(ctx, net.JoinHostPort(m.host, m.port), atOnce)
	if err != nil {
		return m.failed(err, false)
	}
	defer conn.Close()
	session, err := m.signIn(conn, config)
	if err != nil {
		return m.failed(err, false)
	}
	if err := session.Mail(bracketed(m.from.Address)); err != nil {
		return m.failed(err, true)
	}
	var refused error
	taken := 0
	for _, to := range m.to {
		switch err := session.Rcpt(bracketed(to.Address)); {
		case err == nil:
			taken++
		case isFinal(err):
			refused = cmp.Or(refused, err)
		default:
			return m.failed(err, true)
		}
	}
	if taken == 0 {
		return m.failed(refused, true)
	}
	body, err := session.Data()
	if err != nil {
		return m.failed(err, true)
	}
	_, err = message.WriteTo(body)
	if err == nil {
		err = body.Close()
	}
	if err != nil {
		return m.failed(err, true)
	}
	session.Quit() // the server has the message, whatever it says now
	if refused == nil {
		return channel.Verdict{Status: 250}
	}
	v := m.failed(refused, true)
	v.Reason = fmt.Sprintf("%s for %d of %d recipients; the others have the message", v.Reason, len(m.to)-taken, len(m.to))
	return v
}

func bracketed(address string) string { return "<" + address + ">" }

// signIn takes a connection to where a message can be handed over.
func (m *Mail) signIn(conn net.Conn, config *tls.Config) (*smtp.Client, error) {
	session, err := smtp.NewClient(conn, m.host)
	if err != nil {
		return nil, err
	}
	session.SkipSMTPUTF8(true) // no address needs it, and a server further on may lack it
	if err := session.Hello(hello(conn)); err != nil {
		return nil, err
	}
	if m.security == startTLS {
		if ok, _ := session.Extension("STARTTLS"); !ok {
			return nil, egress.Failure("the server offers no STARTTLS; use smtps:// where it has TLS on a port of its own, or add tls=none where the network between is trusted")
		}
		if err := session.StartTLS(config); err != nil {
			return nil, err
		}
	}
	if m.user == "" {
		return session, nil
	}
	_, offered := session.Extension("AUTH")
	ways := strings.Fields(offered)
	for _, way := range []struct {
		name string
		auth smtp.Auth
	}{
		{"PLAIN", smtp.PlainAuth("", m.user, m.password, m.host, m.security == noTLS)},
		{"LOGIN", smtp.LoginAuth(m.user, m.password, m.host, m.security == noTLS)},
		{"SCRAM-SHA-256", smtp.ScramSHA256Auth(m.user, m.password)},
		{"CRAM-MD5", smtp.CRAMMD5Auth(m.user, m.password)},
	} {
		if slices.Contains(ways, way.name) {
			return session, session.Auth(way.auth)
		}
	}
	return nil, egress.Failure("the server takes no password by PLAIN, LOGIN, SCRAM-SHA-256 or CRAM-MD5; leave user and password away if it needs none")
}

// hello is the name of who has no name of its own: its address, by RFC 5321.
func hello(conn net.Conn) string {
	host, _, _ := net.SplitHostPort(conn.LocalAddr().String())
	if strings.Contains(host, ":") {
		host, _, _ = strings.Cut("IPv6:"+host, "%")
	}
	return "[" + host + "]"
}

// failed is the verdict on an attempt. What the server says to a message is final
// where SMTP says so; what it says before may change with a password or a
// configuration.
func (m *Mail) failed(err error, message bool) channel.Verdict {
	var answer *textproto.Error
	if errors.As(err, &answer) {
		return channel.Verdict{
			Status: answer.Code,
			Reason: fmt.Sprintf("the server answered %d%s", answer.Code, meanings[answer.Code]),
			Final:  message && isFinal(err),
			Said:   channel.Line(answer.Msg, maxSaid),
		}
	}
	return channel.Verdict{Reason: string(cmp.Or(egress.Describe(err, m.client.Timeout), "the receiver's answer is not SMTP"))}
}

// maxSaid is how many bytes of an answer a verdict has.
const maxSaid = 300

func isFinal(err error) bool {
	var answer *textproto.Error
	return errors.As(err, &answer) && answer.Code >= 500 && answer.Code < 600
}

// meanings say what to look at, by the codes of RFC 5321 and RFC 4954.
var meanings = map[int]string{
	530: ": it wants a user and a password",
	534: ": it doesn't take this password, or not in this way; some want one for applications",
	535: ": the user or the password is wrong",
	550: ": it refuses the sender or the recipient",
	552: ": the message is too large, or the mailbox full",
	553: ": it refuses the sender's or the recipient's address",
	554: ": it refuses the message",
}
