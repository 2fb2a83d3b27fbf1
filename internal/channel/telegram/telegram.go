// Package telegram sends messages to chats as a bot, by Telegram's Bot API
// (https://core.telegram.org/bots/api#sendmessage), and asks what people press below
// them.
package telegram

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"logscan/internal/channel"
)

// Kind is Telegram's.
var Kind = channel.Kind{
	Scheme: "telegram", Plain: true, Title: "Telegram", Example: "telegram://api.telegram.org/-1001234567890",
	Secret: "token of the bot, from @BotFather", Target: func(u *url.URL) string { return service(u).Host }, New: open, Asked: true,
}

const (
	maxText    = 4096 // UTF-16 code units
	maxButtons = 8
	maxLabel   = 60
)

var (
	tokenForm = regexp.MustCompile(`^[0-9]+:[A-Za-z0-9_-]{10,}$`)
	chatForm  = regexp.MustCompile(`^(-?[0-9]{1,19}|@[A-Za-z][A-Za-z0-9_]{3,31})$`)
)

// service is Telegram's own where a URL has no host.
func service(u *url.URL) *url.URL { return channel.BaseAt(u, "api.telegram.org") }

type telegram struct {
	channel.Config
	methods, chat string // the URL of the bot's methods, with its token
	thread        int
}

func open(c channel.Config) (channel.Channel, error) {
	t, err := parse(c)
	if err != nil {
		return nil, err
	}
	return t, nil
}

func parse(c channel.Config) (*telegram, error) {
	chat, thread, _ := strings.Cut(strings.Trim(c.URL.Path, "/"), "/")
	t := &telegram{Config: c, chat: chat}
	if !chatForm.MatchString(chat) {
		return nil, errors.New("needs the chat behind the host, such as telegram://api.telegram.org/-1001234567890: its id, or @name of a public channel")
	}
	if thread != "" {
		n, err := strconv.ParseInt(thread, 10, 32)
		if err != nil || n < 1 {
			return nil, errors.New("has something behind the chat that isn't the number of a topic")
		}
		t.thread = int(n)
	}
	token, err := channel.OneSecret(channel.UserInfo(c.URL), c.Secret, "is missing: the bot's token, which @BotFather gives")
	if err != nil {
		return nil, err
	}
	if token = strings.TrimPrefix(token, "bot"); !tokenForm.MatchString(token) {
		return nil, channel.SecretError("is not the token of a bot, which looks like 123456789:AbC-dEf…")
	}
	t.methods = service(c.URL).JoinPath("bot"+token).String() + "/"
	return t, nil
}

type message struct {
	Chat    string   `json:"chat_id"`
	Thread  int      `json:"message_thread_id,omitempty"`
	Text    string   `json:"text"`
	Format  []entity `json:"entities"`
	Preview struct {
		Disabled bool `json:"is_disabled"`
	} `json:"link_preview_options"`
	Silent bool    `json:"disable_notification,omitempty"`
	Markup *markup `json:"reply_markup,omitempty"`
}

// entity is a format of a part of the text, by UTF-16 code units. Telegram parses
// nothing in it, but for mentions, links and the like outside of preformatted parts.
type entity struct {
	Type   string `json:"type"`
	Offset int    `json:"offset"`
	Length int    `json:"length"`
}

type markup struct {
	Rows [][]button `json:"inline_keyboard"`
}

// button opens a page, or its press is told to who asks.
type button struct {
	Text string `json:"text"`
	URL  string `json:"url,omitempty"`
	Data string `json:"callback_data,omitempty"` // 64 bytes at most
}

// Send implements channel.Channel.
func (t *telegram) Send(ctx context.Context, m channel.Message) channel.Verdict {
	out := message{Chat: t.chat, Thread: t.thread}
	out.Preview.Disabled = true
	worst := m.Worst()
	out.Silent = worst.Calm() || worst.Severity == "info"
	rows := presses(m.Notices)
	if buttons, rest := m.Buttons(maxButtons); allowed(buttons) {
		m = rest
		for _, b := range buttons {
			rows = append(rows, []button{{Text: channel.Line(b.Label, maxLabel), URL: b.URL}})
		}
	}
	if rows != nil {
		out.Markup = &markup{rows}
	}
	out.add(m.Heading(), "bold")
	size := func(text string) int { // with a second line break between two parts, and what quiet adds
		return channel.UTF16(text) + strings.Count(text, "\x00") + strings.Count(text, "@")
	}
	for _, p := range m.Parts(maxText-size(out.Text)-len("\n\n"), size) {
		format := ""
		if p.Code {
			format = "pre"
		}
		out.add(p.Text, format)
	}
	a, err := channel.PostJSON(ctx, t.Client, t.methods+"sendMessage", nil, out)
	return verdict(channel.Judge(a, err, nil), channel.Fields(a))
}

// presses are the buttons whose presses logscan asks for: all of a notice that stands
// alone, and the first one of each of several.
func presses(notices []channel.Notice) (rows [][]button) {
	for _, n := range notices[:min(len(notices), maxButtons)] {
		of, all := "", n.Presses
		if len(notices) > 1 {
			of, all = ": "+n.Rule+": "+n.Place(), all[:min(len(all), 1)]
		}
		for _, p := range all {
			rows = append(rows, []button{{Text: channel.Line(p.Label+of, maxLabel), Data: p.Data}})
		}
	}
	return rows
}

// add appends a paragraph.
func (m *message) add(text, format string) {
	if m.Text != "" {
		m.Text += "\n\n"
	}
	offset := channel.UTF16(m.Text)
	if format != "pre" {
		text = strings.ReplaceAll(text, "@", "@\u200b") // mentions nobody
	}
	m.Text += text
	if length := channel.UTF16(text); format != "" && strings.TrimSpace(text) != "" {
		m.Format = append(m.Format, entity{format, offset, length})
	}
}

// allowed reports whether there are buttons that Telegram takes: it refuses a
// message with a URL whose host is a name without a dot.
func allowed(buttons []channel.Action) bool {
	for _, b := range buttons {
		u, err := url.Parse(b.URL)
		if err != nil {
			return false
		}
		if _, err := netip.ParseAddr(u.Hostname()); err != nil && !strings.Contains(u.Hostname(), ".") {
			return false
		}
	}
	return len(buttons) > 0
}

// verdict adds what only Telegram says.
func verdict(v channel.Verdict, fields map[string]json.RawMessage) channel.Verdict {
	var parameters struct {
		After float64     `json:"retry_after"`
		Chat  json.Number `json:"migrate_to_chat_id"`
	}
	json.Unmarshal(fields["parameters"], &parameters) // none: nothing is asked for
	switch {
	case v.Reason == "":
	case parameters.Chat != "":
		v.Reason += "; the group has another id now: `docker logscan trigger test` shows it"
	case v.Status == 401 || v.Status == 404:
		v.Reason += "; does the bot's token still hold?"
	case v.Status == 403:
		v.Reason += "; was the bot removed from the chat, or blocked?"
	case v.Status == 429:
		v.Wait = max(v.Wait, channel.Seconds(parameters.After))
	}
	return v.Expect(string(fields["ok"]) == "true", "Telegram")
}
