// Package discord posts messages to a channel by one of its webhooks
// (https://docs.discord.com/developers/resources/webhook#execute-webhook).
package discord

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"logscan/internal/channel"
	"logscan/internal/egress"
)

const (
	maxTitle = 256  // of an embed, in characters
	maxText  = 4096 // of its description
	// unknownWebhook is the code of an answer about a webhook that was deleted.
	unknownWebhook = "10015"
)

// Kind is Discord's.
var Kind = channel.Kind{
	Scheme: "discord", Plain: true, Title: "Discord", Example: "discord://discord.com/api/webhooks/ID/TOKEN",
	Secret: "the webhook's token, where the URL ends with its ID",
	New: func(c channel.Config) (channel.Channel, error) {
		before, path, _ := strings.Cut(strings.TrimSuffix(c.URL.Path, "/"), "/webhooks/")
		id, token, _ := strings.Cut(path, "/")
		if id == "" || strings.Contains(token, "/") || c.URL.User != nil {
			return nil, errors.New("must be the webhook's URL with discord:// for https://: discord://discord.com/api/webhooks/ID/TOKEN")
		}
		token, err := channel.OneSecret(token, c.Secret, "lacks the webhook's token, the last part of its URL; Discord shows it at the channel's settings, Integrations, Webhooks, Copy Webhook URL")
		if err != nil {
			return nil, err
		}
		u := channel.Base(c.URL).JoinPath(before, "webhooks", id, token)
		query := url.Values{"wait": {"true"}} // else it answers before the message is stored
		if thread := c.URL.Query().Get("thread_id"); thread != "" {
			query.Set("thread_id", thread)
		}
		u.RawQuery = query.Encode()
		return &discord{c.Client, u.String()}, nil
	},
}

type discord struct {
	client *egress.Client
	url    string
}

type payload struct {
	Embeds          []embed  `json:"embeds"`
	AllowedMentions mentions `json:"allowed_mentions"`
}

type embed struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	Color       int    `json:"color"`
}

// mentions are none.
type mentions struct {
	Parse []string `json:"parse"`
}

var colors = map[string]int{"info": 0x3498db, "warn": 0xf1c40f, "error": 0xe67e22, "critical": 0xe74c3c}

const resolvedColor = 0x2ecc71

// Send implements channel.Channel.
func (d *discord) Send(ctx context.Context, m channel.Message) channel.Verdict {
	worst := m.Worst()
	color := colors[worst.Severity]
	if worst.Kind == channel.Resolved {
		color = resolvedColor
	}
	a, err := channel.PostJSON(ctx, d.client, d.url, nil, payload{
		Embeds: []embed{{
			Title: channel.Fit(m.Heading(), maxTitle, channel.Markdown),
			Description: m.Text(channel.Style{
				Limit: maxText, Size: channel.UTF16, Escape: channel.Markdown, Bold: channel.Bold, Block: channel.Fence, Link: channel.Link,
			}),
			Color: color,
		}},
		AllowedMentions: mentions{[]string{}},
	})
	v := channel.Judge(a, err, nil)
	fields := channel.Fields(a)
	switch v.Status {
	case http.StatusTooManyRequests:
		var seconds float64
		json.Unmarshal(fields["retry_after"], &seconds)
		v.Wait = max(v.Wait, channel.Seconds(seconds))
	case http.StatusNotFound:
		v.Final = string(fields["code"]) == unknownWebhook
	}
	return v.Expect(fields != nil, "Discord")
}
