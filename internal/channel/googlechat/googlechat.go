// Package googlechat posts messages as cards by a space's webhook
// (https://developers.google.com/workspace/chat/quickstart/webhooks).
package googlechat

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"strings"

	"logscan/internal/channel"
	"logscan/internal/egress"
)

const (
	// maxText is how much of the 32 KB of a message is the card's text, by size.
	maxText    = 28 << 10
	maxButtons = 6
)

// Kind is Google Chat's.
var Kind = channel.Kind{
	Scheme: "googlechat", Plain: true, Title: "Google Chat", Example: "googlechat://chat.googleapis.com/v1/spaces/SPACE/messages?key=KEY&token=TOKEN",
	Secret: "the URL's token, where the URL lacks it",
	New: func(c channel.Config) (channel.Channel, error) {
		given := c.URL.Query()
		if !path.MatchString(c.URL.Path) || given.Get("key") == "" || c.URL.User != nil {
			return nil, errors.New("must be the space's webhook URL, with its query, and googlechat:// for https://: googlechat://chat.googleapis.com/v1/spaces/SPACE/messages?key=KEY&token=TOKEN; put it in quotes for the shell")
		}
		token, err := channel.OneSecret(given.Get("token"), c.Secret, "lacks the webhook's token, what follows token= in its URL; put the URL in quotes for the shell")
		if err != nil {
			return nil, err
		}
		return &googlechat{c.Client, channel.Base(c.URL).JoinPath(c.URL.Path).String(), url.Values{
			"key": {given.Get("key")}, "token": {token}, "messageReplyOption": {"REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD"},
		}}, nil
	},
}

var path = regexp.MustCompile(`^/v1/spaces/[^/]+/messages$`)

type googlechat struct {
	client *egress.Client
	url    string
	query  url.Values
}

type payload struct {
	Fallback string   `json:"fallbackText"` // shown where cards aren't, as in notifications
	Cards    []withID `json:"cardsV2"`
	Thread   *thread  `json:"thread,omitempty"`
}

type withID struct {
	ID   string `json:"cardId"`
	Card card   `json:"card"`
}

type card struct {
	Header   header    `json:"header"`
	Sections []section `json:"sections"`
}

type header struct {
	Title string `json:"title"`
}

type section struct {
	Widgets []widget `json:"widgets"`
}

// widget has one of the two.
type widget struct {
	Text    *paragraph `json:"textParagraph,omitempty"`
	Buttons *buttons   `json:"buttonList,omitempty"`
}

type paragraph struct {
	Text string `json:"text"` // HTML
}

type buttons struct {
	Buttons []button `json:"buttons"`
}

type button struct {
	Text    string  `json:"text"`
	OnClick onClick `json:"onClick"`
}

type onClick struct {
	OpenLink openLink `json:"openLink"`
}

type openLink struct {
	URL string `json:"url"`
}

type thread struct {
	Key string `json:"threadKey"`
}

// Send implements channel.Channel. What is said of one incident goes into one
// thread.
func (g *googlechat) Send(ctx context.Context, m channel.Message) channel.Verdict {
	links, rest := m.Buttons(maxButtons)
	var widgets []widget
	for _, p := range rest.Parts(maxText, size) {
		widgets = append(widgets, widget{Text: &paragraph{markup(p.Text)}})
	}
	if links != nil {
		list := &buttons{}
		for _, l := range links {
			list.Buttons = append(list.Buttons, button{l.Label, onClick{openLink{l.URL}}})
		}
		widgets = append(widgets, widget{Buttons: list})
	}
	p := payload{Fallback: m.Heading(), Cards: []withID{{"incident", card{header{m.Heading()}, []section{{widgets}}}}}}
	if len(m.Notices) == 1 && m.Notices[0].Key != "" {
		p.Thread = &thread{m.Notices[0].Key}
	}
	query := url.Values{"requestId": {m.ID}} // the same request makes one message
	for name, values := range g.query {
		query[name] = values
	}
	a, err := channel.PostJSON(ctx, g.client, g.url+"?"+query.Encode(), nil, p)
	fields := channel.Fields(a)
	return channel.Judge(a, err, nil).Expect(fields != nil && fields["error"] == nil, "Google Chat")
}

var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\n", "<br>", "\t", "\u00a0\u00a0\u00a0\u00a0", "  ", "\u00a0 ")

func markup(text string) string { return escape.Replace(text) }

// size is what a text takes in a card, in which each part is a widget.
func size(text string) int {
	const perPart = 30
	encoded, _ := json.Marshal(markup(text))
	return len(encoded) + perPart*(1+strings.Count(text, "\x00"))
}
