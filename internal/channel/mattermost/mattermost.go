// Package mattermost posts messages by an incoming webhook
// (https://developers.mattermost.com/integrate/webhooks/incoming/).
package mattermost

import (
	"context"
	"errors"
	"strings"

	"logscan/internal/channel"
	"logscan/internal/egress"
)

// maxText is the server's own limit of a post, in characters.
const maxText = 16383

// Kind is Mattermost's.
var Kind = channel.Kind{
	Scheme: "mattermost", Plain: true, Title: "Mattermost", Example: "mattermost://chat.example.com/hooks/KEY",
	Secret: "the webhook's key, where the URL ends with /hooks",
	New: func(c channel.Config) (channel.Channel, error) {
		before, key, ok := strings.Cut(strings.TrimSuffix(c.URL.Path, "/")+"/", "/hooks/")
		key = strings.TrimSuffix(key, "/")
		if !ok || strings.Contains(key, "/") || c.URL.User != nil {
			return nil, errors.New("must be the incoming webhook's URL with mattermost:// for https://: mattermost://chat.example.com/hooks/KEY")
		}
		key, err := channel.OneSecret(key, c.Secret, "lacks the webhook's key, the last part of its URL; Mattermost shows it at Integrations, Incoming Webhooks")
		if err != nil {
			return nil, err
		}
		return &mattermost{c.Client, channel.Base(c.URL).JoinPath(before, "hooks", key).String()}, nil
	},
}

type mattermost struct {
	client *egress.Client
	url    string
}

type payload struct {
	Username string `json:"username"`
	Text     string `json:"text"`
}

// Send implements channel.Channel.
func (d *mattermost) Send(ctx context.Context, m channel.Message) channel.Verdict {
	title := channel.Bold(channel.Markdown(m.Heading())) + "\n\n"
	a, err := channel.PostJSON(ctx, d.client, d.url, nil, payload{"logscan", title + m.Text(channel.Style{
		Limit: maxText - channel.UTF16(title), Size: channel.UTF16, Escape: channel.Markdown, Bold: channel.Bold, Block: channel.Fence, Link: channel.Link,
	})})
	return channel.Judge(a, err, nil).Expect(strings.TrimSpace(string(a.Body)) == "ok", "Mattermost")
}
