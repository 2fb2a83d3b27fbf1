// Package mail sends messages by e-mail, through the SMTP server that a URL names.
//
// What it promises besides what every channel does:
//   - Neither password nor message leaves without TLS, unless the URL says tls=none.
//   - A message goes to all recipients that the server takes, and to none as long as
//     it asks to come again for one: nobody gets it twice because of another.
package mail

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"html"
	"strings"

	"github.com/wneessen/go-mail"

	"logscan/internal/channel"
	"logscan/internal/egress"
)

// Kind is e-mail's.
var Kind = channel.Kind{
	Scheme: "smtp", Other: []string{"smtps", "mailto"}, Title: "e-mail",
	Example: "smtp://user@smtp.example.com:587/?from=logscan@example.com&to=ops@example.com",
	Secret:  "the password",
	Target:  target,
	New: func(c channel.Config) (channel.Channel, error) {
		s, err := parse(c.URL, c.Secret)
		if err != nil {
			return nil, err
		}
		return &Mail{c.Client, s}, nil
	},
}

// Mail sends to the same recipients through one server.
type Mail struct {
	client *egress.Client
	settings
}

// Send implements channel.Channel.
func (m *Mail) Send(ctx context.Context, message channel.Message) channel.Verdict {
	return m.deliver(ctx, m.compose(message))
}

// maxBody is how many bytes each form of a message has: webmails cut HTML that is
// longer than 102 KB, as Gmail does.
const maxBody = 100_000

// allLines is how many lines around a hit a message has: all there are.
const allLines = 200

// compose is the same for the same message.
func (m *Mail) compose(message channel.Message) *mail.Msg {
	worst := message.Worst()
	domain := m.from.Address[strings.LastIndexByte(m.from.Address, '@')+1:]
	out := mail.NewMsg(mail.WithNoDefaultUserAgent(), mail.WithBoundary("logscan"+digest(message.ID)))
	out.FromMailAddress(m.from)
	out.ToMailAddress(m.to...)
	out.Subject(message.Heading())
	out.SetDateWithValue(message.At)
	out.SetMessageIDWithValue(message.ID + "@" + domain)
	if worst.Key != "" {
		thread := "<incident-" + digest(worst.Key) + "@" + domain + ">"
		out.SetGenHeader(mail.HeaderInReplyTo, thread)
		out.SetGenHeader(mail.HeaderReferences, thread)
	}
	priority := priorities[worst.Severity]
	if worst.Calm() || priority == [2]string{} {
		priority = priorities["info"]
	}
	out.SetGenHeader(mail.HeaderXPriority, priority[0])
	out.SetGenHeader(mail.HeaderImportance, priority[1])
	// Who is away doesn't answer: RFC 3834, and Exchange's own way.
	out.SetGenHeader("Auto-Submitted", "auto-generated")
	out.SetGenHeader(mail.HeaderXAutoResponseSuppress, "All")
	out.SetBodyString(mail.TypeTextPlain, message.Text(channel.Style{Limit: maxBody, Around: allLines})+"\n")
	out.AddAlternativeString(mail.TypeTextHTML, page(message, worst))
	return out
}

// priorities are X-Priority and Importance, by severity.
var priorities = map[string][2]string{
	"critical": {"1", "high"}, "error": {"2", "high"}, "warn": {"3", "normal"}, "info": {"5", "low"},
}

// digest stands for an id in headers, whatever the id is made of.
func digest(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:16])
}

// colors are the severities', dark enough for white and light enough for black.
var colors = map[string]string{"critical": "#b3123a", "error": "#d4351c", "warn": "#c77700", "info": "#1d70b8"}

// page is the message in HTML.
func page(message channel.Message, worst channel.Notice) string {
	color := colors[worst.Severity]
	if worst.Kind == channel.Resolved {
		color = "#2e7d32"
	}
	text := message.Text(channel.Style{
		Limit:  maxBody,
		Around: allLines,
		Escape: html.EscapeString,
		Bold:   func(s string) string { return "<b>" + s + "</b>" },
		Block: func(lines string) string {
			return `<pre style="margin:0;padding:8px;background:#f3f2f1;color:#0b0c0c;font-size:13px;white-space:pre-wrap;overflow-wrap:anywhere">` + html.EscapeString(lines) + "</pre>"
		},
		Link: func(label, to string) string { return `<a href="` + html.EscapeString(to) + `">` + label + "</a>" },
		Join: func(paragraphs []string) string {
			return `<div style="margin:0 0 12px;white-space:pre-wrap">` + strings.Join(paragraphs, "</div>\n"+`<div style="margin:0 0 12px;white-space:pre-wrap">`) + "</div>"
		},
		Facts: func(pairs [][2]string) string {
			var rows strings.Builder
			for _, p := range pairs {
				rows.WriteString(`<tr><td style="padding:0 12px 2px 0;color:#505a5f">` + html.EscapeString(p[0]) + `</td><td style="padding:0 0 2px">` + html.EscapeString(p[1]) + "</td></tr>")
			}
			return `<table cellpadding="0" cellspacing="0" style="font-size:14px">` + rows.String() + "</table>"
		},
	})
	return `<!DOCTYPE html><html><head><meta charset="utf-8"></head><body style="margin:0;padding:12px;font:14px/1.4 sans-serif">` + "\n" +
		`<div style="border-left:6px solid ` + color + `;padding:2px 10px;margin:0 0 14px;font-size:17px;font-weight:bold">` + html.EscapeString(message.Heading()) + "</div>\n" +
		text + "\n</body></html>\n"
}
