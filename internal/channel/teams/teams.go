// Package teams posts messages as Adaptive Cards by a workflow of Power Automate that
// waits for webhook requests
// (https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using#send-adaptive-cards-using-an-incoming-webhook).
package teams

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"logscan/internal/channel"
	"logscan/internal/egress"
)

const (
	// maxCard is how much of the 28 KiB of a message is the card's text, by size.
	maxCard    = 24 << 10
	maxButtons = 6
)

// Kind is Teams'.
var Kind = channel.Kind{
	Scheme: "teams", Plain: true, Title: "Microsoft Teams", Example: "teams://prod-00.westeurope.logic.azure.com:443/workflows/ID/triggers/manual/paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=SIGNATURE",
	Secret: "the URL's sig, where the URL lacks it",
	New: func(c channel.Config) (channel.Channel, error) {
		if host := c.URL.Hostname(); strings.HasSuffix(host, ".webhook.office.com") || host == "outlook.office.com" {
			return nil, errors.New("is an Office 365 connector's, which Microsoft has ended: in Teams, make the workflow \"Post to a channel when a webhook request is received\" and take its URL")
		}
		if !strings.Contains(c.URL.Path, "/workflows/") || c.URL.User != nil {
			return nil, errors.New("must be the workflow's URL, with its query, and teams:// for https://; in Teams: the channel's …, Workflows, \"Post to a channel when a webhook request is received\"")
		}
		u := channel.Address(c.URL)
		query := u.Query()
		sig, err := channel.OneSecret(query.Get("sig"), c.Secret, "lacks the signature, what follows sig= in the workflow's URL; put the URL in quotes for the shell")
		if err != nil {
			return nil, err
		}
		query.Set("sig", sig)
		u.RawQuery = query.Encode()
		return &teams{c.Client, u.String()}, nil
	},
}

type teams struct {
	client *egress.Client
	url    string
}

type payload struct {
	Type        string       `json:"type"`
	Attachments []attachment `json:"attachments"`
}

type attachment struct {
	ContentType string  `json:"contentType"`
	ContentURL  *string `json:"contentUrl"` // null
	Content     card    `json:"content"`
}

type card struct {
	Schema  string   `json:"$schema"`
	Type    string   `json:"type"`
	Version string   `json:"version"`
	Width   width    `json:"msteams"`
	Body    []row    `json:"body"`
	Actions []action `json:"actions,omitempty"`
}

type width struct {
	Width string `json:"width"`
}

// row is a RichTextBlock: unlike a TextBlock, it isn't Markdown.
type row struct {
	Type    string `json:"type"`
	Inlines []run  `json:"inlines"`
	Spacing string `json:"spacing,omitempty"`
}

type run struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Size     string `json:"size,omitempty"`
	Weight   string `json:"weight,omitempty"`
	Color    string `json:"color,omitempty"`
	FontType string `json:"fontType,omitempty"`
}

type action struct {
	Type  string `json:"type"`
	Title string `json:"title"`
	URL   string `json:"url"`
}

var colors = map[string]string{"info": "accent", "warn": "warning", "error": "attention", "critical": "attention"}

// Send implements channel.Channel.
func (t *teams) Send(ctx context.Context, m channel.Message) channel.Verdict {
	worst := m.Worst()
	color := colors[worst.Severity]
	if worst.Kind == channel.Resolved {
		color = "good"
	}
	links, rest := m.Buttons(maxButtons)
	body := []row{{"RichTextBlock", []run{{Type: "TextRun", Text: m.Heading(), Size: "medium", Weight: "bolder", Color: color}}, ""}}
	for _, p := range rest.Parts(maxCard, size) {
		font, spacing := "", "default"
		if p.Code {
			font = "monospace"
		}
		for line := range strings.SplitSeq(p.Text, "\n") {
			body = append(body, row{"RichTextBlock", []run{{Type: "TextRun", Text: visible(line), FontType: font}}, spacing})
			spacing = "none"
		}
	}
	var actions []action
	for _, l := range links {
		actions = append(actions, action{"Action.OpenUrl", l.Label, l.URL})
	}
	a, err := channel.PostJSON(ctx, t.client, t.url, nil, payload{"message", []attachment{{
		"application/vnd.microsoft.card.adaptive", nil,
		card{"http://adaptivecards.io/schemas/adaptive-card.json", "AdaptiveCard", "1.4", width{"Full"}, body, actions},
	}}})
	return channel.Judge(a, err, nil)
}

// visible is a line whose beginning keeps its width, and which has a height.
func visible(line string) string {
	text := strings.TrimLeft(line, " \t")
	indent := strings.ReplaceAll(line[:len(line)-len(text)], "\t", "    ")
	if text == "" {
		indent = " "
	}
	return strings.Repeat("\u00a0", len(indent)) + text
}

// size is what a text takes in a card, in which each line is a row of its own.
func size(text string) int {
	const perRow = 110
	encoded, _ := json.Marshal(text)
	return len(encoded) + perRow*(1+strings.Count(text, "\n")+strings.Count(text, "\x00")) + 2*strings.Count(text, " ") + 8*strings.Count(text, "\t")
}
