// Package gotify sends messages to a Gotify server
// (https://gotify.net/api-docs#/message/createMessage).
package gotify

import (
	"context"
	"errors"
	"strings"

	"logscan/internal/channel"
)

// Kind is Gotify's.
var Kind = channel.Kind{
	Scheme: "gotify", Plain: true, Title: "Gotify", Example: "gotify://gotify.example.com",
	Secret: "token of an application, from Gotify's page Apps", New: open,
}

// maxText bounds a message for people's sake: Gotify doesn't.
const maxText = 10_000 // bytes

type gotify struct {
	channel.Config
	url, token string
}

func open(c channel.Config) (channel.Channel, error) {
	if c.URL.Host == "" {
		return nil, errors.New("has no host: it is the one of your Gotify server, such as gotify://gotify.example.com")
	}
	token, err := channel.OneSecret(channel.UserInfo(c.URL)+c.URL.Query().Get("token"), c.Secret, "is missing: the token of an application, from Gotify's page Apps")
	if err != nil {
		return nil, err
	}
	base := channel.Base(c.URL)
	base.Path = strings.TrimSuffix(strings.TrimSuffix(c.URL.Path, "/"), "/message")
	return &gotify{c, base.JoinPath("message").String(), token}, nil
}

type message struct {
	Title    string         `json:"title"`
	Message  string         `json:"message"`
	Priority int            `json:"priority"`
	Extras   map[string]any `json:"extras"`
}

// From 8 on a phone rings, from 4 on it makes a sound, from 1 on it shows an icon.
var priorities = map[string]int{"CRITICAL": 10, "ERROR": 7, "WARN": 5, "INFO": 2, "ACKNOWLEDGED": 2, "RESOLVED": 2}

// Send implements channel.Channel.
func (g *gotify) Send(ctx context.Context, m channel.Message) channel.Verdict {
	out := message{
		Title: m.Heading(), Message: m.Text(channel.Style{Limit: maxText}), Priority: priorities[m.Worst().Name()],
		Extras: map[string]any{"client::display": map[string]string{"contentType": "text/plain"}},
	}
	if pages, _ := m.Buttons(1); len(pages) > 0 {
		out.Extras["client::notification"] = map[string]any{"click": map[string]string{"url": pages[0].URL}}
	}
	a, err := channel.PostJSON(ctx, g.Client, g.url, map[string]string{"X-Gotify-Key": g.token}, out)
	return channel.Judge(a, err, nil).Expect(channel.Fields(a)["id"] != nil, "Gotify")
}
