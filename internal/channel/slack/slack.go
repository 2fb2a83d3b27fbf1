// Package slack posts messages by an incoming webhook
// (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks) or, with
// a bot's token, by chat.postMessage
// (https://docs.slack.dev/reference/methods/chat.postMessage).
//
// With a token, what becomes of an incident is shown by the first message about it,
// which is changed (https://docs.slack.dev/reference/methods/chat.update). That rings
// nobody: what people have to know is said again in its thread, and shown in the
// channel too. A message that can't be changed is posted.
package slack

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"logscan/internal/channel"
	"logscan/internal/egress"
)

const (
	maxTitle = 150  // of a header, in characters
	maxText  = 3000 // of a block's text
)

// Kind is Slack's.
var Kind = channel.Kind{
	Scheme: "slack", Plain: true, Title: "Slack", Example: "slack://hooks.slack.com/services/T000/B000/TOKEN",
	Secret: "a bot's token (xoxb-…), where the URL names a channel: slack://slack.com/C0123456789; or the last part of a webhook's URL",
	Refers: func(u *url.URL) bool { return !strings.HasPrefix(u.Path, "/services/") },
	New: func(c channel.Config) (channel.Channel, error) {
		parts := strings.Split(strings.Trim(c.URL.Path, "/"), "/")
		switch base := channel.Base(c.URL); {
		case parts[0] == "services" && (len(parts) == 3 || len(parts) == 4) && c.URL.User == nil:
			token, err := channel.OneSecret(strings.Join(parts[3:], ""), c.Secret, "lacks the last part of the webhook's URL; Slack shows it at your app's settings, Incoming Webhooks")
			if err != nil {
				return nil, err
			}
			return &slack{client: c.Client, url: base.JoinPath("services", parts[1], parts[2], token).String()}, nil
		case len(parts) == 1 && channelName.MatchString(parts[0]):
			token, err := channel.OneSecret(c.URL.User.Username(), c.Secret, "lacks the bot's token (xoxb-…); Slack shows it at your app's settings, OAuth & Permissions")
			if err != nil {
				return nil, err
			}
			return &slack{c.Client, base.JoinPath("api").String(), parts[0], token}, nil
		}
		return nil, errors.New("must be an incoming webhook's URL with slack:// for https:// (slack://hooks.slack.com/services/T000/B000/TOKEN), or name a channel for a bot (slack://slack.com/C0123456789)")
	},
}

var channelName = regexp.MustCompile(`^[\p{L}\p{N}_-]{1,80}$`)

// slack posts to a webhook, or to a channel if it has a token: then its URL is the
// API's.
type slack struct {
	client              *egress.Client
	url, channel, token string
}

type payload struct {
	Channel   string  `json:"channel,omitempty"`
	TS        string  `json:"ts,omitempty"`              // of the message that is changed
	Thread    string  `json:"thread_ts,omitempty"`       // of the message that is answered
	Broadcast bool    `json:"reply_broadcast,omitempty"` // the answer is shown in the channel too
	Text      string  `json:"text"`                      // shown where blocks aren't, as in notifications
	Blocks    []block `json:"blocks"`
	Unfurl    *bool   `json:"unfurl_links,omitempty"` // of what is posted
}

// block is a header, with Text, or rich text, with Elements.
type block struct {
	Type     string    `json:"type"`
	Text     *text     `json:"text,omitempty"`
	Elements []element `json:"elements,omitempty"`
}

// element is a rich_text_section or rich_text_preformatted, with Elements, or the
// text or link in one. Nothing in these is interpreted.
type element struct {
	Type     string    `json:"type"`
	Elements []element `json:"elements,omitempty"`
	Text     string    `json:"text,omitempty"`
	URL      string    `json:"url,omitempty"`
}

type text struct {
	Type  string `json:"type"`
	Text  string `json:"text"`
	Emoji bool   `json:"emoji"`
}

// escape is that of mrkdwn, in which text is, but not what is in blocks.
var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// Send implements channel.Channel.
func (s *slack) Send(ctx context.Context, m channel.Message) channel.Verdict {
	p := content(m)
	if s.token == "" {
		a, err := channel.PostJSON(ctx, s.client, s.url, nil, posted(p))
		return channel.Judge(a, err, nil).Expect(strings.TrimSpace(string(a.Body)) == "ok", "Slack")
	}
	shown, known := s.parse(m.Ref)
	if known {
		changed := p
		changed.Channel, changed.TS = shown.channel, shown.ts
		a, v := s.call(ctx, "chat.update", changed)
		switch {
		case slices.Contains(unchangeable, code(a)):
			known = false
		case v.Reason != "" || m.Worst().Calm():
			return v
		}
	}
	p.Channel = s.channel
	if known {
		p.Channel, p.Thread, p.Broadcast = shown.channel, shown.ts, true
	}
	a, v := s.call(ctx, "chat.postMessage", posted(p))
	if v.Reason == "" && !known {
		v.Ref = s.ref(a)
	}
	return v
}

// posted is a payload of what is posted: Slack shows no preview of its links.
func posted(p payload) payload {
	p.Unfurl = new(bool)
	return p
}

// call calls a method of the API.
func (s *slack) call(ctx context.Context, method string, p payload) (egress.Answer, channel.Verdict) {
	a, err := channel.PostJSON(ctx, s.client, s.url+"/"+method, map[string]string{"Authorization": "Bearer " + s.token}, p)
	return a, judge(channel.Judge(a, err, nil), a)
}

// place is where a message is. Only its own answer says which channel that is by an
// id, which is what a message can be changed by.
type place struct{ channel, ts string }

var placeForm = regexp.MustCompile(`^[A-Z0-9]{1,40} [0-9]{1,20}\.[0-9]{1,20}$`)

// ref is what later messages get of the message that an answer is to: its place, and
// the channel that was asked for.
func (s *slack) ref(a egress.Answer) string {
	var p place
	fields := channel.Fields(a)
	json.Unmarshal(fields["channel"], &p.channel) // none: it isn't changed later
	json.Unmarshal(fields["ts"], &p.ts)
	if at := p.channel + " " + p.ts; placeForm.MatchString(at) {
		return at + " " + s.channel
	}
	return ""
}

// parse reads a ref, unless the message is in another channel than is asked for now.
func (s *slack) parse(ref string) (p place, ok bool) {
	at, ok := strings.CutSuffix(ref, " "+s.channel)
	if !ok || !placeForm.MatchString(at) {
		return p, false
	}
	p.channel, p.ts, _ = strings.Cut(at, " ")
	return p, true
}

// content is a message without where it goes.
func content(m channel.Message) payload {
	title := m.Heading()
	links, rest := m.Buttons(5)
	parts := rest.Parts(maxText, channel.UTF16)
	var shown []element
	for i, p := range parts {
		kind := "rich_text_section"
		if p.Code {
			kind = "rich_text_preformatted"
		} else if i < len(parts)-1 {
			p.Text += "\n"
		}
		if p.Text != "" {
			shown = append(shown, element{Type: kind, Elements: []element{{Type: "text", Text: p.Text}}})
		}
	}
	var line []element
	for i, l := range links {
		if i > 0 {
			line = append(line, element{Type: "text", Text: "   "})
		}
		line = append(line, element{Type: "link", Text: l.Label, URL: l.URL})
	}
	if line != nil {
		shown = append(shown, element{Type: "rich_text_section", Elements: line})
	}
	return payload{
		Text: escape.Replace(title),
		Blocks: []block{
			{Type: "header", Text: &text{"plain_text", channel.Line(title, maxTitle), false}},
			{Type: "rich_text", Elements: shown},
		},
	}
}

// judge reads an answer of the API, whose status doesn't say whether it failed.
func judge(v channel.Verdict, a egress.Answer) channel.Verdict {
	fields := channel.Fields(a)
	if v = v.Expect(fields["ok"] != nil, "Slack"); v.Reason != "" || string(fields["ok"]) == "true" {
		return v
	}
	switch code := code(a); {
	case slices.Contains(badMessage, code):
		v.Reason, v.Final = "Slack refused the message's form", true
	case slices.Contains(badToken, code):
		v.Reason = "Slack doesn't take the bot's token, or it lacks the scope chat:write"
	case slices.Contains(badChannel, code):
		v.Reason = "the channel doesn't exist, or the bot isn't in it: invite it there"
	default:
		v.Reason, v.Wait = "Slack refused the message", a.RetryAfter()
	}
	return v
}

// code is what an answer says why something failed; "" where it says nothing.
func code(a egress.Answer) (code string) {
	json.Unmarshal(channel.Fields(a)["error"], &code)
	return code
}

var (
	// unchangeable are why a message can't be changed, now or later: somebody deleted
	// it, the workspace lets nobody change it any more, or it is another bot's.
	unchangeable = []string{"message_not_found", "cant_update_message", "edit_window_closed", "channel_not_found", "is_inactive"}
	badMessage   = []string{"invalid_blocks", "invalid_blocks_format", "msg_too_long", "msg_blocks_too_long", "no_text", "invalid_arguments", "invalid_json"}
	badToken     = []string{"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "missing_scope", "no_permission", "not_allowed_token_type", "org_login_required"}
	badChannel   = []string{"channel_not_found", "not_in_channel", "is_archived", "restricted_action", "restricted_action_read_only_channel"}
)
