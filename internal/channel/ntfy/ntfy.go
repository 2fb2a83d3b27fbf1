// Package ntfy publishes messages to a topic of ntfy, as JSON
// (https://docs.ntfy.sh/publish/#publish-as-json).
package ntfy

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"path"
	"regexp"
	"strings"

	"logscan/internal/channel"
)

// Kind is ntfy's.
var Kind = channel.Kind{
	Scheme: "ntfy", Plain: true, Title: "ntfy", Example: "ntfy://ntfy.sh/my-topic",
	Secret: "access token, tk_…, or NAME:PASSWORD, where the topic is protected", New: open,
}

const (
	maxText    = 4000 // bytes, in JSON; ntfy makes an attachment of a message of 4,096 bytes, and takes 8,192 with all members
	maxButtons = 3
	maxLabel   = 50
)

var topicForm = regexp.MustCompile(`^[-_A-Za-z0-9]{1,64}$`)

type ntfy struct {
	channel.Config
	server, topic, authorization string
}

func open(c channel.Config) (channel.Channel, error) {
	dir, topic := path.Split(strings.TrimSuffix(c.URL.Path, "/"))
	switch {
	case c.URL.Host == "":
		return nil, errors.New("has no host: ntfy.sh, or your own server, such as ntfy://ntfy.sh/my-topic")
	case !topicForm.MatchString(topic):
		return nil, errors.New("needs a topic behind the host, such as ntfy://ntfy.sh/my-topic: at most 64 characters of A–Z, a–z, 0–9, - and _")
	}
	base := channel.Base(c.URL)
	base.Path = dir
	authorization, err := authorize(c.URL, c.Secret)
	return &ntfy{c, base.String(), topic, authorization}, err
}

// authorize returns a header for what stands in a URL or beside it.
func authorize(u *url.URL, secret string) (string, error) {
	inURL := channel.UserInfo(u)
	if inURL != "" && secret != "" {
		return "", channel.SecretError("stands in the URL already: leave it out of one of the two")
	}
	switch secret = inURL + secret; {
	case secret == "":
		return "", nil
	case strings.Contains(secret, ":"):
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(secret)), nil
	case strings.HasPrefix(secret, "tk_") && topicForm.MatchString(secret):
		return "Bearer " + secret, nil
	}
	return "", channel.SecretError("is neither an access token, which begins with tk_, nor NAME:PASSWORD")
}

type message struct {
	Topic    string   `json:"topic"`
	Title    string   `json:"title"`
	Message  string   `json:"message"`
	Priority int      `json:"priority"`
	Tags     []string `json:"tags"`
	Click    string   `json:"click,omitempty"`
	Actions  []action `json:"actions,omitempty"`
}

type action struct {
	Action string `json:"action"`
	Label  string `json:"label"`
	URL    string `json:"url"`
}

var (
	priorities = map[string]int{"CRITICAL": 5, "ERROR": 4, "WARN": 3, "INFO": 2, "ACKNOWLEDGED": 2, "RESOLVED": 2}
	tags       = map[string]string{"CRITICAL": "rotating_light", "ERROR": "x", "WARN": "warning", "INFO": "information_source", "ACKNOWLEDGED": "eyes", "RESOLVED": "white_check_mark"}
)

// Send implements channel.Channel.
func (n *ntfy) Send(ctx context.Context, m channel.Message) channel.Verdict {
	buttons, rest := m.Buttons(maxButtons)
	level := m.Worst().Name()
	out := message{
		Topic: n.topic, Title: m.Heading(), Priority: priorities[level], Tags: []string{tags[level]},
		Message: rest.Text(channel.Style{Limit: maxText, Size: channel.JSONSize}),
	}
	for _, b := range buttons {
		out.Actions = append(out.Actions, action{"view", channel.Line(b.Label, maxLabel), b.URL})
	}
	if pages, _ := m.Buttons(1); len(pages) > 0 {
		out.Click = pages[0].URL
	}
	headers := map[string]string{}
	if n.authorization != "" {
		headers["Authorization"] = n.authorization
	}
	a, err := channel.PostJSON(ctx, n.Client, n.server, headers, out)
	return channel.Judge(a, err, nil).Expect(channel.Fields(a)["id"] != nil, "ntfy")
}
